/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h — the options of the command line: one table, from which they are parsed, explained and completed.
 *
 * Options may stand anywhere; `--` ends them, so that keys and values may begin with a dash. Short options may be
 * joined (-xq), and take their argument joined or apart (-b4M, -b 4M); long ones with = or apart.
 */
#ifndef SDI_CLI_OPTIONS_H
#define SDI_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simdrive.h"

typedef enum sdi_cli_option_id {
    SDI_CLI_OPTION_HELP,
    SDI_CLI_OPTION_VERSION,
    SDI_CLI_OPTION_QUIET,
    SDI_CLI_OPTION_VERBOSE,
    SDI_CLI_OPTION_JSON,
    SDI_CLI_OPTION_PROMETHEUS,
    SDI_CLI_OPTION_HEX,
    SDI_CLI_OPTION_NAMESPACE,
    SDI_CLI_OPTION_BUFFER_SIZE,
    SDI_CLI_OPTION_FORCE,
    SDI_CLI_OPTION_SYNC,
    SDI_CLI_OPTION_CHECKSUM,
    SDI_CLI_OPTION_PROGRESS,
    SDI_CLI_OPTION_NO_PROGRESS,
    SDI_CLI_OPTION_ENTRIES,
    SDI_CLI_OPTION_VALUE_SIZE,
    SDI_CLI_OPTION_SINCE,
    SDI_CLI_OPTION_COUNT_OF,
    SDI_CLI_OPTION_TIMEOUT,
    SDI_CLI_OPTION_NO_WAIT,
    SDI_CLI_OPTION_AT,
    SDI_CLI_OPTION_IF_STALE,
    SDI_CLI_OPTION_SAVED_INDEX,
    SDI_CLI_OPTION_APPEND,
    SDI_CLI_OPTION_COUNT
} sdi_cli_option_id;

#define SDI_CLI_BIT(name) (1u << SDI_CLI_OPTION_##name)

/* Options that every command takes. */
#define SDI_CLI_COMMON_OPTIONS                                                                                        \
    (SDI_CLI_BIT(HELP) | SDI_CLI_BIT(VERSION) | SDI_CLI_BIT(QUIET) | SDI_CLI_BIT(VERBOSE) | SDI_CLI_BIT(SAVED_INDEX))

typedef struct sdi_cli_option {
    const char *short_name; /* one letter, or NULL */
    const char *long_name;
    const char *argument;   /* what the help calls its argument; NULL for a switch */
    const char *choices;    /* the only arguments it takes, parted by spaces; NULL for any */
    const char *help;
} sdi_cli_option;

extern const sdi_cli_option sdi_cli_option_table[SDI_CLI_OPTION_COUNT];

typedef enum sdi_cli_progress_mode {
    SDI_CLI_PROGRESS_AUTO, /* where standard error is a terminal */
    SDI_CLI_PROGRESS_ALWAYS,
    SDI_CLI_PROGRESS_NEVER
} sdi_cli_progress_mode;

typedef struct sdi_cli_options {
    uint32_t given; /* SDI_CLI_BIT of each option that was there */
    int verbosity;  /* -1 quiet, 0, 1 verbose */
    bool help;
    bool version;
    bool json;
    bool prometheus;
    bool hex;
    bool force;
    bool sync;
    sdi_cli_progress_mode progress;
    simdrive_checksum_kind checksum;
    const char *name_space; /* never NULL; "" for none */
    size_t buffer_size;     /* 0 when not given */
    uint64_t entries;       /* 0 when not given */
    uint64_t value_size;    /* 0 when not given */
    simdrive_position since; /* zero when not given */
    uint64_t count;         /* 0 when not given */
    uint64_t timeout_ms;    /* 0 when not given */
    bool no_wait;
    uint64_t at;            /* 0 when not given */
    unsigned if_stale;      /* percent; 0 when not given */
    simdrive_saved_index saved_index;
    simdrive_append_mode append;
} sdi_cli_options;

/* Splits `arguments` (without the program's name) into options and operands; `operands` has room for all of them. On
 * false the mistake was told on standard error. */
bool sdi_cli_options_parse(char *const *arguments, size_t count, sdi_cli_options *options, char **operands,
                           size_t *operand_count);

/* A number of bytes with an optional suffix K, M or G (powers of 1024); false for anything else, and for 0. */
bool sdi_cli_parse_size(const char *text, uint64_t *size);

#endif
