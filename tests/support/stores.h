/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.h — opening stores in tests with one line, and sources for streams that give out given bytes.
 */
#ifndef TEST_STORES_H
#define TEST_STORES_H

#include "builder.h"
#include "check.h"
#include "files.h"

/* Opens for writing with all defaults, or for reading only; must succeed. */
simdrive_store *test_open(const char *path);
simdrive_store *test_open_read_only(const char *path);

simdrive_info test_info(const simdrive_store *store);

/* A source that gives `size` bytes in pieces of at most `piece`, then the end; or fails with `failure` when
 * `fail_at` bytes were given (SIMDRIVE_OK: never). */
typedef struct test_source {
    const uint8_t *bytes;
    size_t size;
    size_t piece;
    size_t fail_at;
    simdrive_status failure;
    size_t given;
    size_t calls;
} test_source;

simdrive_status test_source_read(void *user, void *buffer, size_t capacity, size_t *produced);

/* Whether a stale entry gives its whole pages back when asked to, and how its bytes in `file` are then. */
bool test_can_be_reclaimed(const test_record *record);
void test_reclaim_record(uint8_t *file, const test_record *record);

/* The file at `path`, opened anew for reading, shows exactly the image and passes verification. */
void test_check_file(const char *path, const test_image *image);

/* A folder of the test's own, and the path of a store in it: cmocka's setup and teardown for tests of one store. */
typedef struct test_bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
} test_bench;

int test_bench_begin(void **state);
int test_bench_end(void **state);

#endif
