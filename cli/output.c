/* SPDX-License-Identifier: Apache-2.0
 *
 * output.c — prints data, JSON and messages; see output.h for the rules.
 */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"

static char status_line[256]; /* what stands on the terminal's last line, "" when nothing does */
static int output_error;      /* errno of the first failed write to standard output */
static bool redirected;       /* what is printed goes to standard error */

/* ----- UTF-8 ----- */

size_t sdi_cli_utf8_length(const unsigned char *data, size_t size) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (size == 0) return 0;
    if (data[0] < 0x80) return 1;
    size_t length = data[0] >= 0xF0 ? 4 : data[0] >= 0xE0 ? 3 : 2;
    if (data[0] < 0xC2 || data[0] > 0xF4 || length > size) return 0;
    uint32_t point = data[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xC0) != 0x80) return 0;
        point = point << 6 | (data[i] & 0x3Fu);
    }
    if (point < smallest[length] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return 0;
    return length;
}

/* Control characters of ASCII and of Latin-1 (which terminals obey, too). */
static bool is_control(const unsigned char *at, size_t length) {
    if (length == 1) return at[0] < 0x20 || at[0] == 0x7F;
    return length == 2 && at[0] == 0xC2 && at[1] < 0xA0;
}

static void put_escaped(FILE *file, const unsigned char *data, size_t size, bool escape_backslash) {
    for (size_t i = 0; i < size;) {
        size_t length = sdi_cli_utf8_length(data + i, size - i);
        if (length == 0 || is_control(data + i, length)) {
            size_t count = length == 0 ? 1 : length;
            while (count-- > 0) fprintf(file, "\\x%02x", data[i++]);
        } else if (length == 1 && data[i] == '\\' && escape_backslash) {
            fputs("\\\\", file);
            i++;
        } else {
            fwrite(data + i, 1, length, file);
            i += length;
        }
    }
}

/* ----- messages ----- */

void sdi_cli_status_line(const char *line) {
    if (line == NULL && status_line[0] == '\0') return;
    if (!sdi_cli_is_terminal(SDI_CLI_STDERR)) {
        if (line != NULL) fprintf(stderr, "%s\n", line);
        return;
    }
    fprintf(stderr, "\r%s\033[K", line != NULL ? line : "");
    fflush(stderr);
    snprintf(status_line, sizeof status_line, "%s", line != NULL ? line : "");
}

static char *format_text(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text != NULL) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

static void put_message(const char *before, const char *format, va_list arguments, const char *after) {
    char shown[sizeof status_line];
    memcpy(shown, status_line, sizeof shown);
    sdi_cli_status_line(NULL);
    char *text = format_text(format, arguments);
    const char *body = text != NULL ? text : format;
    fprintf(stderr, "simdrive: %s", before);
    put_escaped(stderr, (const unsigned char *)body, strlen(body), false);
    fprintf(stderr, "%s\n", after);
    free(text);
    if (shown[0] != '\0') sdi_cli_status_line(shown);
}

sdi_cli_exit sdi_cli_exit_of(simdrive_status status) {
    switch (status) {
    case SIMDRIVE_OK: return SDI_CLI_DONE;
    case SIMDRIVE_NOT_FOUND: return SDI_CLI_NOT_FOUND;
    case SIMDRIVE_ERROR_INVALID_ARGUMENT:
    case SIMDRIVE_ERROR_INVALID_PAYLOAD: return SDI_CLI_USAGE;
    case SIMDRIVE_ERROR_NOT_A_STORE:
    case SIMDRIVE_ERROR_CORRUPT:
    case SIMDRIVE_ERROR_ALIGNMENT: return SDI_CLI_DAMAGED;
    case SIMDRIVE_ERROR_LOCKED: return SDI_CLI_LOCKED;
    case SIMDRIVE_COMPACTED:
    case SIMDRIVE_ERROR_STALE_OFFSET: return SDI_CLI_STALE;
    default: return SDI_CLI_IO;
    }
}

/* What the user can do about it. */
static const char *advice(simdrive_status status) {
    switch (status) {
    case SIMDRIVE_NOT_FOUND: return "check the key, and -x or --namespace if the key was written with it";
    case SIMDRIVE_ERROR_INVALID_PAYLOAD: return "give a value of other bytes; import can keep such files";
    case SIMDRIVE_ERROR_TOO_LARGE: return "compact the store, or begin another one";
    case SIMDRIVE_ERROR_NO_SUCH_FILE: return "check the path; a store is created by write, import, copy and move";
    case SIMDRIVE_ERROR_PERMISSION: return "check the permissions of the file and of its folder";
    case SIMDRIVE_ERROR_NO_SPACE: return "nothing was changed: free some space and try again";
    case SIMDRIVE_ERROR_NO_MEMORY: return "nothing was changed: free some memory and try again";
    case SIMDRIVE_ERROR_LOCKED: return "try again when the other process has ended; reading is possible meanwhile";
    case SIMDRIVE_ERROR_EXISTS: return "give another name, or remove that file first";
    case SIMDRIVE_ERROR_NOT_A_FILE: return "give the path of a regular file";
    case SIMDRIVE_ERROR_POISONED: return "run the command again, and verify";
    case SIMDRIVE_ERROR_NOT_A_STORE: return "the file was left as it is; check the path, or try salvage";
    case SIMDRIVE_ERROR_CORRUPT: return "run verify to see the damage, and salvage to save the rest";
    case SIMDRIVE_ERROR_ALIGNMENT: return "use a build of simdrive with the alignment that it was written with";
    case SIMDRIVE_ERROR_CANCELLED: return "the store is valid; run the same command again to finish";
    case SIMDRIVE_ERROR_IO: return "check the disk and try again";
    case SIMDRIVE_ERROR_STALE_OFFSET: return "offsets are void after a compaction: begin without one";
    default: return "see 'simdrive help'";
    }
}

/* Whether the system's own words say more than the status does. */
static bool system_knows_more(simdrive_status status) {
    return status == SIMDRIVE_ERROR_IO || status == SIMDRIVE_ERROR_PERMISSION || status == SIMDRIVE_ERROR_NO_SPACE ||
           status == SIMDRIVE_ERROR_POISONED;
}

sdi_cli_exit sdi_cli_fail(simdrive_status status, const char *what, ...) {
    int os_error = simdrive_last_os_error();
    char after[512];
    if (os_error != 0 && system_knows_more(status)) {
        snprintf(after, sizeof after, ": %s (%s); %s", simdrive_status_text(status),
                 sdi_cli_system_text(os_error), advice(status));
    } else {
        snprintf(after, sizeof after, ": %s; %s", simdrive_status_text(status), advice(status));
    }
    va_list arguments;
    va_start(arguments, what);
    put_message("cannot ", what, arguments, after);
    va_end(arguments);
    return sdi_cli_exit_of(status);
}

static const char *system_advice(int os_error) {
    switch (os_error) {
    case EACCES:
    case EPERM: return "check its permissions";
    case ENOENT: return "check the path";
    case ENOSPC: return "free some space and try again";
    case EEXIST: return "give -f to replace it, or another folder";
    case ELOOP:
    case ENOTDIR: return "something that is no folder is in its way";
    case EMFILE: return "raise the limit of open files (ulimit -n)";
    default: return "check it and try again";
    }
}

sdi_cli_exit sdi_cli_fail_system(int os_error, const char *what, ...) {
    char after[512];
    snprintf(after, sizeof after, ": %s; %s", sdi_cli_system_text(os_error), system_advice(os_error));
    va_list arguments;
    va_start(arguments, what);
    put_message("cannot ", what, arguments, after);
    va_end(arguments);
    return SDI_CLI_IO;
}

sdi_cli_exit sdi_cli_usage_error(const char *command, const char *text, ...) {
    char after[128];
    snprintf(after, sizeof after, "; see 'simdrive help%s%s'", command != NULL ? " " : "",
             command != NULL ? command : "");
    va_list arguments;
    va_start(arguments, text);
    put_message("", text, arguments, after);
    va_end(arguments);
    return SDI_CLI_USAGE;
}

void sdi_cli_error(const char *text, ...) {
    va_list arguments;
    va_start(arguments, text);
    put_message("", text, arguments, "");
    va_end(arguments);
}

void sdi_cli_note(const sdi_cli *cli, const char *text, ...) {
    if (cli->options.verbosity < 0) return;
    va_list arguments;
    va_start(arguments, text);
    put_message("note: ", text, arguments, "");
    va_end(arguments);
}

void sdi_cli_detail(const sdi_cli *cli, const char *text, ...) {
    if (cli->options.verbosity < 1) return;
    va_list arguments;
    va_start(arguments, text);
    put_message("", text, arguments, "");
    va_end(arguments);
}

/* ----- standard output ----- */

/* Remembers why the first write failed: errno is gone by the time the stream is closed. */
static bool output_ok(bool written) {
    if (!written && output_error == 0) output_error = errno != 0 ? errno : EIO;
    return output_error == 0;
}

static FILE *out(void) {
    return redirected ? stderr : stdout;
}

void sdi_cli_print_to_stderr(void) {
    redirected = true;
}

bool sdi_cli_flush(void) {
    errno = 0;
    return output_ok(fflush(stdout) == 0);
}

bool sdi_cli_print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    errno = 0;
    int printed = vfprintf(out(), format, arguments);
    va_end(arguments);
    return output_ok(printed >= 0);
}

bool sdi_cli_print_bytes(const void *data, size_t size) {
    errno = 0;
    return output_ok(fwrite(data, 1, size, out()) == size);
}

bool sdi_cli_print_escaped(const void *data, size_t size) {
    errno = 0;
    put_escaped(out(), data, size, true);
    return output_ok(!ferror(out()));
}

bool sdi_cli_output_flush(void) {
    errno = 0;
    return output_ok(fflush(stdout) == 0);
}

sdi_cli_exit sdi_cli_output_finish(sdi_cli_exit status) {
    sdi_cli_status_line(NULL);
    errno = 0;
    output_ok(fclose(stdout) == 0);
    if (output_error == 0) return status;
    if (output_error != EPIPE) sdi_cli_fail_system(output_error, "write to standard output");
    return status == SDI_CLI_DONE ? SDI_CLI_IO : status;
}

/* ----- JSON ----- */

static void json_characters(const unsigned char *data, size_t size) {
    sdi_cli_print("\"");
    for (size_t i = 0; i < size;) {
        size_t length = sdi_cli_utf8_length(data + i, size - i);
        if (length == 0) {
            sdi_cli_print("\\ufffd");
            i++;
        } else if (length == 1 && (data[i] < 0x20 || data[i] == 0x7F)) {
            sdi_cli_print("\\u%04x", data[i++]);
        } else {
            if (data[i] == '"' || data[i] == '\\') sdi_cli_print("\\");
            sdi_cli_print_bytes(data + i, length);
            i += length;
        }
    }
    sdi_cli_print("\"");
}

static void json_name(sdi_cli_json *json, const char *name) {
    if (json->comma) sdi_cli_print(", ");
    json->comma = true;
    if (name != NULL) sdi_cli_print("\"%s\": ", name);
}

void sdi_cli_json_object(sdi_cli_json *json, const char *name) {
    json_name(json, name);
    sdi_cli_print("{");
    json->comma = false;
}

void sdi_cli_json_object_end(sdi_cli_json *json) {
    sdi_cli_print("}");
    json->comma = true;
}

void sdi_cli_json_list(sdi_cli_json *json, const char *name) {
    json_name(json, name);
    sdi_cli_print("[");
    json->comma = false;
}

void sdi_cli_json_list_end(sdi_cli_json *json) {
    sdi_cli_print("]");
    json->comma = true;
}

static bool is_utf8(const unsigned char *data, size_t size) {
    for (size_t i = 0, length; i < size; i += length) {
        length = sdi_cli_utf8_length(data + i, size - i);
        if (length == 0) return false;
    }
    return true;
}

void sdi_cli_json_bytes(sdi_cli_json *json, const char *name, const void *data, size_t size) {
    const unsigned char *bytes = data;
    json_name(json, name);
    json_characters(bytes, size);
    if (name == NULL || is_utf8(bytes, size)) return;
    sdi_cli_print(", \"%s_hex\": \"", name);
    for (size_t i = 0; i < size; i++) sdi_cli_print("%02x", bytes[i]);
    sdi_cli_print("\"");
}

void sdi_cli_json_text(sdi_cli_json *json, const char *name, const char *text) {
    sdi_cli_json_bytes(json, name, text, strlen(text));
}

void sdi_cli_json_number(sdi_cli_json *json, const char *name, uint64_t number) {
    json_name(json, name);
    sdi_cli_print("%" PRIu64, number);
}

void sdi_cli_json_decimal(sdi_cli_json *json, const char *name, double number) {
    json_name(json, name);
    sdi_cli_print("%.9f", number);
}

void sdi_cli_json_bool(sdi_cli_json *json, const char *name, bool value) {
    json_name(json, name);
    sdi_cli_print(value ? "true" : "false");
}

void sdi_cli_json_hash(sdi_cli_json *json, const char *name, uint64_t hash) {
    json_name(json, name);
    sdi_cli_print("\"%016" PRIx64 "\"", hash);
}

void sdi_cli_json_line_end(sdi_cli_json *json) {
    sdi_cli_print("\n");
    json->comma = false;
}
