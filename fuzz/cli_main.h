/* SPDX-License-Identifier: Apache-2.0
 *
 * cli_main.h — gives the command line's main() another name, so that it can be called: included before each of its
 * files.
 */
#ifndef FUZZ_CLI_MAIN_H
#define FUZZ_CLI_MAIN_H

int simdrive_cli_main(int argc, char **argv);

#ifndef FUZZ_CALLS_MAIN
#define main simdrive_cli_main
#endif

#endif
