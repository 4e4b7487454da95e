/* SPDX-License-Identifier: Apache-2.0
 *
 * command_table.h — the commands: the one source of their help, the man page and the completions.
 */
#ifndef SDI_CLI_COMMAND_TABLE_H
#define SDI_CLI_COMMAND_TABLE_H

#include <stdbool.h>

#include "cli.h"

enum { SDI_CLI_EXAMPLES = 3, SDI_CLI_MANY = 1 << 30 };

typedef struct sdi_cli_example {
    const char *line;
    const char *what;
} sdi_cli_example;

struct sdi_cli_command {
    const char *name;
    const char *operands;     /* as the synopsis shows them */
    const char *summary;      /* one line, begins with a verb */
    const char *description;  /* paragraphs, parted by empty lines */
    const char *json;         /* what --json prints; NULL for a command that does not report */
    uint32_t options;         /* SDI_CLI_BIT()s beside the common ones */
    size_t least_operands;
    size_t most_operands;
    const char *completes;    /* what its last operand is: "file", "folder", or NULL for what can't be guessed */
    sdi_cli_exit (*run)(const sdi_cli *cli);
    sdi_cli_example examples[SDI_CLI_EXAMPLES];
};

extern const sdi_cli_command sdi_cli_command_table[];
extern const size_t sdi_cli_command_count;

/* The exit statuses, as the help and the man page explain them. */
typedef struct sdi_cli_exit_text {
    sdi_cli_exit status;
    const char *text;
} sdi_cli_exit_text;

extern const sdi_cli_exit_text sdi_cli_exit_table[];
extern const size_t sdi_cli_exit_count;

/* Said once for all commands. */
extern const char sdi_cli_about[];
extern const char sdi_cli_about_json[];
extern const char sdi_cli_about_sync[];

const sdi_cli_command *sdi_cli_command_find(const char *name);
bool sdi_cli_command_takes(const sdi_cli_command *command, unsigned option);

#endif
