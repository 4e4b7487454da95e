/* SPDX-License-Identifier: Apache-2.0 */
/* test_little_memory.c — a saved index with damaged parts, and no memory to make them again: what cannot be known is
 * not said.
 *
 * The sources of the index that allocate are compiled into this program with allocators that fail while told to; the
 * rest comes from the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/os.h"

static bool refuse; /* allocations of the index */

static void *grudging_malloc(size_t size) {
    return refuse ? NULL : malloc(size);
}
static void *grudging_calloc(size_t count, size_t size) {
    return refuse ? NULL : calloc(count, size);
}
static void *grudging_realloc(void *old, size_t size) {
    return refuse ? NULL : realloc(old, size);
}
static void *grudging_pages(size_t size) {
    return refuse ? NULL : sdi_pages_acquire(size);
}

#define malloc grudging_malloc
#define calloc grudging_calloc
#define realloc grudging_realloc
#define sdi_pages_acquire grudging_pages
#include "index/growth.c"
#include "index/image.c"
#include "index/segments.c"
#undef malloc
#undef calloc
#undef realloc
#undef sdi_pages_acquire

#include "support/stores.h"

enum { KEYS = 40000, OVERWRITTEN = 100, DELETED = 100, HEADER_PAGE = 4096, DAMAGE_STEP = 16384 };

static void put(simdrive_store *store, uint64_t key, uint64_t value) {
    CHECK_OK(simdrive_write_hash(store, test_key_hash(key), &value, sizeof value, NULL));
}

/* Opens a store, some keys of which were written twice and some deleted, from an index whose segments are damaged. */
static simdrive_store *open_damaged(const test_bench *bench) {
    simdrive_open_options options = {.struct_size = sizeof options, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS};
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    simdrive_store *store = NULL;
    char index[TEST_PATH_MAX];
    size_t size;
    CHECK_OK(simdrive_open(bench->path, &options, &store));
    for (uint64_t key = 1; key <= KEYS; key++) put(store, key, key);
    for (uint64_t key = 1; key <= OVERWRITTEN; key++) put(store, key, key + 1);
    for (uint64_t key = KEYS - DELETED + 1; key <= KEYS; key++)
        CHECK_OK(simdrive_delete_hash(store, test_key_hash(key), NULL));
    CHECK_OK(simdrive_close(store));
    test_path(&bench->folder, "store.index", index);
    uint8_t *bytes = test_file_get(index, &size);
    for (size_t at = 2 * HEADER_PAGE; at < size / 2; at += DAMAGE_STEP) bytes[at] ^= 0x55;
    test_file_put(index, bytes, size);
    free(bytes);
    options.read_only = true;
    CHECK_OK(simdrive_open(bench->path, &options, &store));
    CHECK_OK(simdrive_get_statistics(store, &statistics));
    CHECK(statistics.open_from_saved_index);
    return store;
}

/* It answered false for all keys of which the index could not tell. */
static void exists_is_true_without_memory_too(void **state) {
    const test_bench *bench = *state;
    simdrive_store *store = open_damaged(bench);
    size_t unknown = 0;
    refuse = true;
    for (uint64_t key = 1; key <= KEYS + 50; key += key > OVERWRITTEN && key < KEYS - 300 ? 397 : 7) {
        simdrive_entry entry = {0};
        uint64_t hash = test_key_hash(key);
        test_context("key %llu", (unsigned long long)key);
        unknown += simdrive_read_hash(store, hash, &entry) == SIMDRIVE_ERROR_NO_MEMORY;
        simdrive_entry_release(&entry);
        CHECK(simdrive_exists_hash(store, hash) == (key <= KEYS - DELETED));
    }
    refuse = false;
    CHECK(unknown > 0);
    CHECK_OK(simdrive_close(store));
}

/* It went on behind what it had failed at, and left that out. */
static void an_iterator_that_has_failed_keeps_failing(void **state) {
    const test_bench *bench = *state;
    simdrive_store *store = open_damaged(bench);
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *lent;
    simdrive_entry entry;
    CHECK_OK(simdrive_iterate(store, &iterator));
    refuse = true;
    CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, simdrive_iterator_peek_next(iterator, &lent));
    refuse = false;
    for (int again = 0; again < 3; again++) {
        CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, simdrive_iterator_peek_next(iterator, &lent));
        CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, simdrive_iterator_next(iterator, &entry));
        CHECK(!lent && !entry.data);
    }
    simdrive_iterator_close(iterator);
    CHECK_OK(simdrive_close(store));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exists_is_true_without_memory_too, test_bench_begin, test_bench_end),
        cmocka_unit_test_setup_teardown(an_iterator_that_has_failed_keeps_failing, test_bench_begin, test_bench_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
