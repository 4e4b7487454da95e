/* SPDX-License-Identifier: Apache-2.0
 *
 * documents.h — what is generated from the command table: help, the man page, shell completions. All of it goes to
 * standard output, except that the short usage may go to standard error.
 */
#ifndef SDI_CLI_DOCUMENTS_H
#define SDI_CLI_DOCUMENTS_H

#include "command_table.h"

void sdi_cli_help(void);
void sdi_cli_help_command(const sdi_cli_command *command);

/* simdrive(1) in the man macros. */
void sdi_cli_man_page(void);

/* For "bash", "zsh" or "fish"; false for another shell. */
bool sdi_cli_completion(const char *shell);

#endif
