/* SPDX-License-Identifier: Apache-2.0
 *
 * help.c — the help, of the whole and of each command.
 */
#include <stdio.h>
#include <string.h>

#include "documents.h"
#include "output.h"

enum { COLUMNS = 80 };

/* Prints a text in lines of COLUMNS, each behind `indent` spaces; empty lines part paragraphs. */
static void print_wrapped(const char *text, int indent) {
    int column = 0;
    for (const char *word = text; *word != '\0';) {
        if (*word == '\n') {
            sdi_cli_print(column > 0 ? "\n" : "");
            column = 0;
            if (word[1] == '\n') sdi_cli_print("\n");
            word += strspn(word, "\n");
            continue;
        }
        int length = (int)strcspn(word, " \n");
        if (column > 0 && column + 1 + length > COLUMNS) {
            sdi_cli_print("\n");
            column = 0;
        }
        sdi_cli_print("%*s%.*s", column == 0 ? indent : 1, "", length, word);
        column += (column == 0 ? indent : 1) + length;
        word += length;
        if (*word == ' ') word++;
    }
    sdi_cli_print("\n");
}

static void print_option(const sdi_cli_option *option) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s--%s%s%s", option->short_name != NULL ? "-" : "    ",
             option->short_name != NULL ? option->short_name : "", option->short_name != NULL ? ", " : "",
             option->long_name, option->argument != NULL ? " " : "",
             option->argument != NULL ? option->argument : "");
    sdi_cli_print("  %-24s  %s\n", left, option->help);
}

static void print_exit_statuses(void) {
    sdi_cli_print("\nExit status:\n");
    for (size_t i = 0; i < sdi_cli_exit_count; i++) {
        sdi_cli_print("  %d  %s\n", sdi_cli_exit_table[i].status, sdi_cli_exit_table[i].text);
    }
}

void sdi_cli_help(void) {
    sdi_cli_print("simdrive: a store of many aligned payloads in one file\n\n"
                  "Usage: simdrive STORE COMMAND [OPTION...] [ARGUMENT...]\n"
                  "       simdrive help [COMMAND]\n"
                  "       simdrive man | completion bash|zsh|fish\n\n");
    print_wrapped(sdi_cli_about, 0);
    sdi_cli_print("\nCommands:\n");
    for (size_t i = 0; i < sdi_cli_command_count; i++) {
        const sdi_cli_command *command = &sdi_cli_command_table[i];
        char left[64];
        snprintf(left, sizeof left, "%s %s", command->name, command->operands);
        sdi_cli_print("  %-19s  %s\n", left, command->summary);
    }
    sdi_cli_print("\nOptions (each command's help tells which it takes):\n");
    for (size_t i = 0; i < SDI_CLI_OPTION_COUNT; i++) print_option(&sdi_cli_option_table[i]);
    sdi_cli_print("\n");
    print_wrapped(sdi_cli_about_sync, 0);
    sdi_cli_print("\nExamples:\n"
                  "  simdrive notes.store write greeting 'hello world'\n"
                  "  simdrive notes.store read greeting\n"
                  "  simdrive site.store import public/\n"
                  "  simdrive site.store info --json\n");
    print_exit_statuses();
}

void sdi_cli_help_command(const sdi_cli_command *command) {
    sdi_cli_print("simdrive STORE %s: %s\n\nUsage: simdrive STORE %s [OPTION...]%s%s\n\n", command->name,
                  command->summary, command->name, command->operands[0] != '\0' ? " " : "", command->operands);
    print_wrapped(command->description, 0);
    sdi_cli_print("\nOptions:\n");
    for (unsigned i = 0; i < SDI_CLI_OPTION_COUNT; i++) {
        if (sdi_cli_command_takes(command, i)) print_option(&sdi_cli_option_table[i]);
    }
    if (command->json != NULL) {
        sdi_cli_print("\nJSON:\n");
        print_wrapped(command->json, 2);
    }
    sdi_cli_print("\nExamples:\n");
    for (size_t i = 0; i < SDI_CLI_EXAMPLES && command->examples[i].line != NULL; i++) {
        sdi_cli_print("  %s\n      %s\n", command->examples[i].line, command->examples[i].what);
    }
    print_exit_statuses();
}
