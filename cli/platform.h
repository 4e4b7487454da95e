/* SPDX-License-Identifier: Apache-2.0
 *
 * platform.h — the few things that the command line asks of the system beside the C library. platform_posix.c and
 * platform_windows.c fill it in; the build chooses.
 */
#ifndef SDI_CLI_PLATFORM_H
#define SDI_CLI_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SDI_CLI_STDIN = 0, SDI_CLI_STDOUT = 1, SDI_CLI_STDERR = 2 };

/* Before anything else: the three standard streams are open (so that no store ever gets their numbers), carry bytes
 * unchanged, and a closed pipe is an error of the write instead of a signal. Replaces the arguments by UTF-8 ones
 * where the system has others. */
void sdi_cli_platform_start(int *argc, char ***argv);

bool sdi_cli_is_terminal(int stream);

/* Whether the terminal of standard error understands control sequences. */
bool sdi_cli_terminal_draws(void);
unsigned sdi_cli_terminal_columns(void);

/* Reads up to `capacity` bytes of standard input. Returns 0 at its end, below 0 on an error (errno). An interruption
 * by a signal that asks to stop is such an error. */
ptrdiff_t sdi_cli_read_stdin(void *buffer, size_t capacity);

uint64_t sdi_cli_monotonic_ns(void);
const char *sdi_cli_system_text(int os_error);

/* From now on, Ctrl-C and a request to terminate are noticed instead of obeyed; the second one ends the process. */
void sdi_cli_interrupts_catch(void);
bool sdi_cli_interrupted(void);
/* Ends the process by the signal that was noticed, so that the shell sees it; returns when there was none. */
void sdi_cli_interrupts_obey(void);
/* For a command that runs until it is interrupted, and has done all it should then. */
void sdi_cli_interrupts_forget(void);

/* Whether standard output is a pipe that nobody reads any more; false where that cannot be told. */
bool sdi_cli_output_is_closed(void);

/* Whether both paths lead to one existing file. */
bool sdi_cli_same_file(const char *a, const char *b);
bool sdi_cli_remove_file(const char *path);

/* A new file to write bytes to, for its owner only. NULL and errno on failure: EEXIST when that name is taken. */
FILE *sdi_cli_create_file(const char *path);
/* Closes it; before that, with `sync`, makes bytes and name durable. False and errno when anything of it failed. */
bool sdi_cli_finish_file(FILE *file, const char *path, bool sync);

/* What the file takes of the disk; 0 when nobody knows. */
uint64_t sdi_cli_disk_bytes(const char *path);

#endif
