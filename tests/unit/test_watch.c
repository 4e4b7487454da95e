/* SPDX-License-Identifier: Apache-2.0
 *
 * test_watch.c — watches: a wait ends when the file is written to, cut or replaced, also when that came before the
 * wait; other files in the folder end none. A wait that should end and does not shows as a test that never ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "os/os.h"

enum { LONG_MS = 3600 * 1000, SHORT_MS = 60, SKIPPED = 77 };

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], other[TEST_PATH_MAX];
    const sdi_os *os;
    sdi_watch *watch;
} bench;

static int bench_begin(void **state) {
    bench *b = test_alloc(sizeof *b);
    b->folder = test_folder_create();
    b->os = sdi_os_native();
    test_file_put(test_path(&b->folder, "watched", b->path), "first", 5);
    test_file_put(test_path(&b->folder, "other", b->other), "other", 5);
    CHECK_OK(b->os->watch_begin(b->os, b->path, &b->watch));
    *state = b;
    return 0;
}

static int bench_end(void **state) {
    bench *b = *state;
    b->os->watch_end(b->os, b->watch);
    test_folder_remove(&b->folder);
    free(b);
    return 0;
}

static void a_write_ends_the_wait(void **state) {
    bench *b = *state;
    for (unsigned i = 0; i < 20; i++) {
        test_file_append(b->path, "more", 4);
        b->os->watch_wait(b->os, b->watch, LONG_MS);
    }
}

static void a_cut_ends_the_wait(void **state) {
    bench *b = *state;
    test_file_truncate(b->path, 2);
    b->os->watch_wait(b->os, b->watch, LONG_MS);
}

static void another_file_of_that_name_ends_the_wait(void **state) {
    bench *b = *state;
    for (unsigned i = 0; i < 5; i++) {
        test_file_put(b->other, "new", 3);
        CHECK_OK(b->os->rename(b->os, b->other, b->path));
        b->os->watch_wait(b->os, b->watch, LONG_MS);
    }
}

static uint64_t waited_ms(const bench *b, uint32_t timeout_ms) {
    uint64_t began = sdi_monotonic_ns();
    b->os->watch_wait(b->os, b->watch, timeout_ms);
    return (sdi_monotonic_ns() - began) / 1000000;
}

static void other_files_end_no_wait(void **state) {
    bench *b = *state;
    char path[TEST_PATH_MAX];
    CHECK(waited_ms(b, SHORT_MS) >= SHORT_MS - 1);
    for (unsigned i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%u", i);
        test_file_put(test_path(&b->folder, name, path), "x", 1);
    }
    test_file_append(b->other, "x", 1);
    CHECK(waited_ms(b, SHORT_MS) >= SHORT_MS - 1);
}

static void what_is_not_there_is_not_watched(void **state) {
    bench *b = *state;
    char path[TEST_PATH_MAX];
    sdi_watch *watch = NULL;
    CHECK(b->os->watch_begin(b->os, test_path(&b->folder, "nothing", path), &watch) != SIMDRIVE_OK);
    CHECK(watch == NULL);
    b->os->watch_end(b->os, NULL);
}

static int count_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void watches_go_with_their_descriptors(void **state) {
    bench *b = *state;
    int before = count_descriptors();
    for (unsigned i = 0; i < 1000; i++) {
        sdi_watch *watch = NULL;
        CHECK_OK(b->os->watch_begin(b->os, b->path, &watch));
        if (i % 100 == 0) CHECK(count_descriptors() == before + 1);
        b->os->watch_end(b->os, watch);
    }
    CHECK(count_descriptors() == before);
}

/* In a child, which closes its standard streams. */
static void begin_without_streams(void *user) {
    bench *b = user;
    sdi_watch *watch = NULL;
    for (int fd = 0; fd < 3; fd++) close(fd);
    int before = count_descriptors();
    if (b->os->watch_begin(b->os, b->path, &watch) != SIMDRIVE_OK || count_descriptors() != before + 1) _exit(1);
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) >= 0) _exit(2);
    b->os->watch_end(b->os, watch);
    _exit(count_descriptors() == before ? 0 : 3);
}

static void descriptors_are_never_standard_ones(void **state) {
    CHECK(test_in_child(begin_without_streams, *state));
}

#define WATCH_TEST(test) cmocka_unit_test_setup_teardown(test, bench_begin, bench_end)

static bool is_supported(void) {
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    sdi_watch *watch = NULL;
    test_file_put(test_path(&folder, "any", path), "", 0);
    simdrive_status status = sdi_os_native()->watch_begin(sdi_os_native(), path, &watch);
    sdi_os_native()->watch_end(sdi_os_native(), watch);
    test_folder_remove(&folder);
    return status != SIMDRIVE_ERROR_UNSUPPORTED;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WATCH_TEST(a_write_ends_the_wait),
        WATCH_TEST(a_cut_ends_the_wait),
        WATCH_TEST(another_file_of_that_name_ends_the_wait),
        WATCH_TEST(other_files_end_no_wait),
        WATCH_TEST(what_is_not_there_is_not_watched),
        WATCH_TEST(watches_go_with_their_descriptors),
        WATCH_TEST(descriptors_are_never_standard_ones),
    };
    if (!is_supported()) return SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
