/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_cli.c — any arguments to the command line. Its main() is called in this process, under another name, in a folder
 * of its own in memory that has a store `s` and a damaged one `d`.
 *
 * The exit status is one of those that the manual lists; a call that is wrong changes nothing; `d` is never changed but
 * by what was told to write to it; `s` is a whole store afterwards, whatever was done.
 *
 *   input  arguments: each a byte that tells its kind, and what the kind needs
 *
 * Left out: `bench`, which takes its time; `watch` without --no-wait; and arguments with a slash or two dots, which
 * would lead out of the folder.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cli/cli.h"
#include "../cli/command_table.h"
#define FUZZ_CALLS_MAIN
#include "cli_main.h"
#include "fuzz.h"

enum { MOST_ARGUMENTS = 12, MOST_TEXT = 64, LAST_STATUS = SDI_CLI_STALE };

const char *__asan_default_options(void);

/* Buffers of any size can be asked for: what cannot be had is an error of the command line's. */
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

typedef struct call {
    char texts[MOST_ARGUMENTS + 2][MOST_TEXT];
    char *arguments[MOST_ARGUMENTS + 3];
    int count;
} call;

/* --- arguments --------------------------------------------------------------------------------------------------- */

static size_t take_text(fuzz_input *input, char *out, size_t capacity) {
    size_t size = 0;
    for (uint8_t byte; size + 1 < capacity && (byte = fuzz_byte(input)) != 0;) out[size++] = (char)byte;
    out[size] = '\0';
    return size;
}

static void take_option(fuzz_input *input, char out[MOST_TEXT], bool with_text) {
    const sdi_cli_option *option = &sdi_cli_option_table[fuzz_byte(input) % SDI_CLI_OPTION_COUNT];
    int size = snprintf(out, MOST_TEXT, "--%s%s", option->long_name, with_text ? "=" : "");
    if (with_text) take_text(input, out + size, MOST_TEXT - (size_t)size);
}

static void take_argument(fuzz_input *input, char out[MOST_TEXT]) {
    static const char *const names[] = {"s", "d", "t", "key-1", "key-2", "folder", "help", "-", "0", "4K", "--", "man"};
    unsigned kind = fuzz_byte(input);
    switch (kind % 6) {
    case 0: snprintf(out, MOST_TEXT, "%s", names[fuzz_byte(input) % (sizeof names / sizeof *names)]); break;
    case 1: snprintf(out, MOST_TEXT, "%s", sdi_cli_command_table[fuzz_byte(input) % sdi_cli_command_count].name); break;
    case 2: take_option(input, out, false); break;
    case 3: take_option(input, out, true); break;
    default: take_text(input, out, MOST_TEXT);
    }
}

static bool is_left_out(const call *c) {
    bool waits = false, no_wait = false;
    for (int i = 0; i < c->count; i++) {
        const char *text = c->arguments[i];
        if (strchr(text, '/') || strstr(text, "..") || strcmp(text, "bench") == 0) return true;
        waits |= strcmp(text, "watch") == 0;
        no_wait |= strcmp(text, "--no-wait") == 0;
    }
    return waits && !no_wait;
}

static void take_call(fuzz_input *input, call *c) {
    strcpy(c->texts[0], "simdrive");
    for (c->count = 1; c->count <= MOST_ARGUMENTS && fuzz_left(input) > 0; c->count++)
        take_argument(input, c->texts[c->count]);
    for (int i = 0; i < c->count; i++) c->arguments[i] = c->texts[i];
    c->arguments[c->count] = NULL;
}

/* --- the folder -------------------------------------------------------------------------------------------------- */

static void make_stores(void) {
    test_image image = {0};
    test_random random = {1};
    test_image_generate(&image, TEST_SHAPE_TOMBSTONES, 30, 40, &random);
    test_image_put(&image, test_key_hash(1), "first value", 11);
    test_image_put(&image, test_key_hash(2), "second value", 12);
    test_file_put("s", image.bytes, image.size);
    image.bytes[image.records[image.count / 2].end + 10] ^= 1; /* a link */
    test_file_put("d", image.bytes, image.size);
    test_image_free(&image);
}

/* The command line closes what it prints to; both streams are its own here. */
static int run_call(call *c) {
    FILE *own_output = stdout, *own_errors = stderr;
    stdout = fopen("/dev/null", "w");
    stderr = fopen("/dev/null", "w");
    if (!stdout || !stderr) abort();
    int status = simdrive_cli_main(c->count, c->arguments);
    fclose(stderr);
    stdout = own_output;
    stderr = own_errors;
    return status;
}

static void check_store(void) {
    if (!test_file_exists("s")) return; /* it was moved, or replaced by nothing */
    simdrive_store *store = test_open_read_only("s");
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    simdrive_close(store);
}

static void run_in_folder(const test_folder *folder, call *c) {
    size_t size, damaged_size;
    make_stores();
    uint8_t *before = test_file_get("s", &size), *damaged = test_file_get("d", &damaged_size);
    int status = run_call(c);
    CHECK(status >= SDI_CLI_DONE && status <= LAST_STATUS);
    if (status == SDI_CLI_USAGE) {
        CHECK(test_file_equals("s", before, size));
        CHECK(test_file_equals("d", damaged, damaged_size));
        CHECK_U64(2, test_folder_count(folder, "", NULL));
    }
    check_store();
    free(before);
    free(damaged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int home = -1;
    static bool has_no_input;
    fuzz_input input = {data, data + size};
    call c = {.count = 0};
    take_call(&input, &c);
    if (is_left_out(&c)) return 0;
    if (!has_no_input) has_no_input = freopen("/dev/null", "r", stdin) != NULL;
    if (home < 0) home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    test_folder folder = test_folder_create();
    CHECK(chdir(folder.path) == 0);
    run_in_folder(&folder, &c);
    CHECK(fchdir(home) == 0);
    test_folder_remove(&folder);
    return 0;
}
