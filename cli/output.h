/* SPDX-License-Identifier: Apache-2.0
 *
 * output.h — all that the command line prints. Data goes to standard output, as text or JSON; everything else goes to
 * standard error, where a message is one line: what failed, where, and what to do next.
 *
 * Invariants
 *   P1  A message never holds a control character: names that do are shown with \xNN.
 *   P2  JSON is valid UTF-8. Bytes that are not (keys and file names may be any) are shown as U+FFFD in the member, and
 *       in full by a second member with `_hex` behind its name, which is there only then.
 *   P3  A failure to write standard output is never lost: sdi_cli_output_finish() turns it into an exit status.
 */
#ifndef SDI_CLI_OUTPUT_H
#define SDI_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

#if defined(__MINGW32__) && !defined(__clang__)
#define SDI_CLI_FORMAT(string, arguments) __attribute__((format(gnu_printf, string, arguments)))
#elif defined(__GNUC__)
#define SDI_CLI_FORMAT(string, arguments) __attribute__((format(printf, string, arguments)))
#else
#define SDI_CLI_FORMAT(string, arguments)
#endif

/* ----- messages ----- */

/* "simdrive: cannot WHAT: REASON; ADVICE" after a status of the library. Returns the exit status that belongs to it. */
sdi_cli_exit sdi_cli_fail(simdrive_status status, const char *what, ...) SDI_CLI_FORMAT(2, 3);

/* The same after a failed system call with this errno. Returns SDI_CLI_IO. */
sdi_cli_exit sdi_cli_fail_system(int os_error, const char *what, ...) SDI_CLI_FORMAT(2, 3);

/* "simdrive: TEXT; see 'simdrive help COMMAND'". Returns SDI_CLI_USAGE. `command` may be NULL. */
sdi_cli_exit sdi_cli_usage_error(const char *command, const char *text, ...) SDI_CLI_FORMAT(2, 3);

/* "simdrive: TEXT": an error in our own words. */
void sdi_cli_error(const char *text, ...) SDI_CLI_FORMAT(1, 2);

/* Worth knowing, and no error: left out with -q. The second form speaks only with -v. */
void sdi_cli_note(const sdi_cli *cli, const char *text, ...) SDI_CLI_FORMAT(2, 3);
void sdi_cli_detail(const sdi_cli *cli, const char *text, ...) SDI_CLI_FORMAT(2, 3);

/* The last line of standard error, drawn over and over by a progress bar; messages are printed above it. NULL takes it
 * away. */
void sdi_cli_status_line(const char *line);

sdi_cli_exit sdi_cli_exit_of(simdrive_status status);

/* ----- standard output ----- */

/* Both return false when standard output cannot be written any more; the reason is told by sdi_cli_output_finish(). */
bool sdi_cli_print(const char *format, ...) SDI_CLI_FORMAT(1, 2);
bool sdi_cli_print_bytes(const void *data, size_t size);

/* Sends on what was printed so far. False as above. */
bool sdi_cli_flush(void);

/* From now on all that is printed here, JSON too, goes to standard error: for commands whose standard output carries
 * nothing but bytes. */
void sdi_cli_print_to_stderr(void);

/* Prints bytes of a key or a path within a line: control characters and backslashes escaped (P1), and bytes that are
 * not UTF-8. */
bool sdi_cli_print_escaped(const void *data, size_t size);

/* What was printed so far goes out now: for output that others wait for. False as above. */
bool sdi_cli_output_flush(void);

/* Flushes and closes standard output. Returns `status`, or SDI_CLI_IO where that was SDI_CLI_DONE and not everything
 * could be written. A pipe closed by its reader is not worth a message. */
sdi_cli_exit sdi_cli_output_finish(sdi_cli_exit status);

/* Bytes of the valid UTF-8 character at `data`, 0 when there is none. */
size_t sdi_cli_utf8_length(const unsigned char *data, size_t size);

/* ----- JSON on standard output ----- */

/* `name` is NULL within a list and at the top. */
typedef struct sdi_cli_json {
    bool comma; /* a value was written before at this level */
} sdi_cli_json;

void sdi_cli_json_object(sdi_cli_json *json, const char *name);
void sdi_cli_json_object_end(sdi_cli_json *json);
void sdi_cli_json_list(sdi_cli_json *json, const char *name);
void sdi_cli_json_list_end(sdi_cli_json *json);
void sdi_cli_json_bytes(sdi_cli_json *json, const char *name, const void *data, size_t size);
void sdi_cli_json_text(sdi_cli_json *json, const char *name, const char *text);
void sdi_cli_json_number(sdi_cli_json *json, const char *name, uint64_t number);
void sdi_cli_json_decimal(sdi_cli_json *json, const char *name, double number);
void sdi_cli_json_bool(sdi_cli_json *json, const char *name, bool value);
void sdi_cli_json_hash(sdi_cli_json *json, const char *name, uint64_t hash); /* 16 hexadecimal digits */
void sdi_cli_json_line_end(sdi_cli_json *json);

#endif
