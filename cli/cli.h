/* SPDX-License-Identifier: Apache-2.0
 *
 * cli.h — what every command of the command line is given, and what it gives back: the parsed invocation, and an exit
 * status. The command line uses only the public header of the library.
 */
#ifndef SDI_CLI_H
#define SDI_CLI_H

#include <stddef.h>

#include "options.h"
#include "simdrive.h"

typedef struct sdi_cli_command sdi_cli_command;

/* Exit statuses are part of the interface: scripts depend on them. */
typedef enum sdi_cli_exit {
    SDI_CLI_DONE = 0,
    SDI_CLI_NOT_FOUND = 1, /* a key is not there */
    SDI_CLI_USAGE = 2,     /* the call itself is wrong; nothing was done */
    SDI_CLI_IO = 3,        /* the system refused, or a pipe was closed early */
    SDI_CLI_DAMAGED = 4,   /* damaged, or not a store */
    SDI_CLI_LOCKED = 5,    /* another process has the store open for writing */
    SDI_CLI_STALE = 6      /* an offset that was given is none of the store (any more) */
} sdi_cli_exit;

/* One invocation. Strings live as long as the process. */
typedef struct sdi_cli {
    const sdi_cli_command *command;
    const char *store_path;
    char *const *operands; /* what follows the command's name */
    size_t operand_count;  /* already within the limits of the command table */
    sdi_cli_options options;
} sdi_cli;

/* The commands, each in the file of its name (move is in cmd_copy.c; import and export in tree_import.c and
 * tree_export.c, or in tree_unsupported.c where the system has no Unix file tree). */
sdi_cli_exit sdi_cli_read(const sdi_cli *cli);
sdi_cli_exit sdi_cli_write(const sdi_cli *cli);
sdi_cli_exit sdi_cli_copy(const sdi_cli *cli);
sdi_cli_exit sdi_cli_move(const sdi_cli *cli);
sdi_cli_exit sdi_cli_rename(const sdi_cli *cli);
sdi_cli_exit sdi_cli_delete(const sdi_cli *cli);
sdi_cli_exit sdi_cli_compact(const sdi_cli *cli);
sdi_cli_exit sdi_cli_reclaim(const sdi_cli *cli);
sdi_cli_exit sdi_cli_info(const sdi_cli *cli);
sdi_cli_exit sdi_cli_stats(const sdi_cli *cli);
sdi_cli_exit sdi_cli_metadata(const sdi_cli *cli);
sdi_cli_exit sdi_cli_exists(const sdi_cli *cli);
sdi_cli_exit sdi_cli_list(const sdi_cli *cli);
sdi_cli_exit sdi_cli_import(const sdi_cli *cli);
sdi_cli_exit sdi_cli_export(const sdi_cli *cli);
sdi_cli_exit sdi_cli_verify(const sdi_cli *cli);
sdi_cli_exit sdi_cli_salvage(const sdi_cli *cli);
sdi_cli_exit sdi_cli_backup(const sdi_cli *cli);
sdi_cli_exit sdi_cli_bench(const sdi_cli *cli);
sdi_cli_exit sdi_cli_watch(const sdi_cli *cli);
sdi_cli_exit sdi_cli_history(const sdi_cli *cli);

#endif
