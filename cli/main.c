/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c — finds out what is wanted, and has it done. The first operand is the store, the second the command; `help`,
 * `man` and `completion` come without a store.
 */
#include <stdlib.h>
#include <string.h>

#include "documents.h"
#include "output.h"
#include "platform.h"

static sdi_cli_exit print_version(void) {
    sdi_cli_print("simdrive %s (alignment %zu, kernels %s)\n", simdrive_version(), simdrive_alignment(),
                  simdrive_kernels());
    return SDI_CLI_DONE;
}

static sdi_cli_exit print_help(const char *name) {
    if (name == NULL) {
        sdi_cli_help();
        return SDI_CLI_DONE;
    }
    const sdi_cli_command *command = sdi_cli_command_find(name);
    if (command == NULL) return sdi_cli_usage_error(NULL, "there is no command '%s'", name);
    sdi_cli_help_command(command);
    return SDI_CLI_DONE;
}

static sdi_cli_exit print_completion(const char *shell) {
    if (shell == NULL) return sdi_cli_usage_error(NULL, "completion for which shell? Give bash, zsh or fish");
    if (sdi_cli_completion(shell)) return SDI_CLI_DONE;
    return sdi_cli_usage_error(NULL, "no completion for '%s'; give bash, zsh or fish", shell);
}

/* The words that stand where a store would. */
static bool run_without_store(char *const *operands, size_t count, sdi_cli_exit *status) {
    const char *second = count > 1 ? operands[1] : NULL;
    if (count == 0 || count > 2) return false;
    if (strcmp(operands[0], "help") == 0) {
        *status = print_help(second);
    } else if (strcmp(operands[0], "completion") == 0) {
        *status = print_completion(second);
    } else if (strcmp(operands[0], "man") == 0 && count == 1) {
        sdi_cli_man_page();
        *status = SDI_CLI_DONE;
    } else {
        return false;
    }
    return true;
}

static sdi_cli_exit check_options(const sdi_cli *cli) {
    for (unsigned i = 0; i < SDI_CLI_OPTION_COUNT; i++) {
        if ((cli->options.given >> i & 1u) == 0 || sdi_cli_command_takes(cli->command, i)) continue;
        return sdi_cli_usage_error(cli->command->name, "%s does not take --%s", cli->command->name,
                                   sdi_cli_option_table[i].long_name);
    }
    return SDI_CLI_DONE;
}

static sdi_cli_exit check_operands(const sdi_cli *cli) {
    const sdi_cli_command *command = cli->command;
    if (cli->operand_count < command->least_operands) {
        return sdi_cli_usage_error(command->name, "%s needs %s", command->name, command->operands);
    }
    if (cli->operand_count > command->most_operands) {
        return sdi_cli_usage_error(command->name, "'%s' is too much for %s", cli->operands[command->most_operands],
                                   command->name);
    }
    return SDI_CLI_DONE;
}

static sdi_cli_exit run_command(sdi_cli *cli, char *const *operands, size_t count) {
    if (count == 0) return sdi_cli_usage_error(NULL, "give a store and a command");
    if (count == 1) {
        return sdi_cli_usage_error(NULL, "give a command behind the store '%s', as in: simdrive STORE info",
                                   operands[0]);
    }
    cli->command = sdi_cli_command_find(operands[1]);
    if (cli->command == NULL) return sdi_cli_usage_error(NULL, "there is no command '%s'", operands[1]);
    if (cli->options.help) {
        sdi_cli_help_command(cli->command);
        return SDI_CLI_DONE;
    }
    cli->store_path = operands[0];
    cli->operands = operands + 2;
    cli->operand_count = count - 2;
    sdi_cli_exit status = check_options(cli);
    if (status == SDI_CLI_DONE) status = check_operands(cli);
    return status == SDI_CLI_DONE ? cli->command->run(cli) : status;
}

static sdi_cli_exit run(char **arguments, size_t argument_count, char **operands) {
    sdi_cli cli = {0};
    sdi_cli_exit status = SDI_CLI_DONE;
    size_t count = 0;
    if (!sdi_cli_options_parse(arguments, argument_count, &cli.options, operands, &count)) return SDI_CLI_USAGE;
    if (cli.options.version) return print_version();
    if (run_without_store(operands, count, &status)) return status;
    if (cli.options.help && count < 2) return print_help(NULL);
    return run_command(&cli, operands, count);
}

int main(int argc, char **argv) {
    sdi_cli_platform_start(&argc, &argv);
    size_t count = argc > 0 ? (size_t)argc - 1 : 0;
    char **operands = calloc(count + 1, sizeof *operands);
    sdi_cli_exit status = operands != NULL ? run(argv + 1, count, operands)
                                           : sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "begin");
    free(operands);
    status = sdi_cli_output_finish(status);
    sdi_cli_interrupts_obey();
    return status;
}
