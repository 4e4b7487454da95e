/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_memory.c — an index that gets no memory: says so, loses nothing, and goes on when there is some again.
 *
 * The sources that allocate are compiled into this program with allocators that fail when told to; the rest of the
 * index comes from the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "os/os.h"

/* Allocations that still succeed, then how many fail. */
static uint64_t succeed, fail_then;

static bool grants(void) {
    if (succeed > 0) {
        succeed--;
        return true;
    }
    if (fail_then == 0) return true;
    fail_then--;
    return false;
}

static void *grudging_calloc(size_t count, size_t size) {
    return grants() ? calloc(count, size) : NULL;
}
static void *grudging_realloc(void *old, size_t size) {
    return grants() ? realloc(old, size) : NULL;
}
static size_t most_pages; /* bytes that were asked for at once */

static void *grudging_pages(size_t size) {
    if (size > most_pages) most_pages = size;
    return grants() ? sdi_pages_acquire(size) : NULL;
}

#define calloc grudging_calloc
#define realloc grudging_realloc
#define sdi_pages_acquire grudging_pages
#include "index/growth.c"
#include "index/segments.c"
#undef calloc
#undef realloc
#undef sdi_pages_acquire

enum { KEYS = 120000, STRIDE = 16 };
static const uint64_t seed = 20; /* of places */

static uint8_t file[(KEYS + 1) * STRIDE];

static uint64_t hash_of(uint64_t n) {
    uint64_t z = (n + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t offset_of(uint64_t n) {
    return (n + 1) * STRIDE;
}

static int fill_file(void **state) {
    (void)state;
    for (uint64_t n = 0; n < KEYS; n++) sdi_store64(file + offset_of(n), hash_of(n));
    return 0;
}

static void assert_all_there(const sdi_index *index, uint64_t count) {
    for (uint64_t n = 0; n < count; n++) assert_int_equal(sdi_index_find(index, hash_of(n)).offset, offset_of(n));
}

static simdrive_status put(sdi_index *index, uint64_t n) {
    uint64_t hash = hash_of(n);
    simdrive_status status = sdi_index_reserve(index, &hash, 1);
    if (status == SIMDRIVE_OK) assert_int_equal(sdi_index_put(index, hash, offset_of(n)), SDI_INDEX_NONE);
    return status;
}

static void test_every_allocation_may_fail_once(void **state) {
    (void)state;
    unsigned refusals = 0;
    for (uint64_t allowed = 0;; allowed++) {
        succeed = allowed;
        fail_then = 1;
        sdi_index *index = sdi_index_create_seeded(0, file, seed);
        if (!index) continue;
        for (uint64_t n = 0; n < KEYS; n++) {
            simdrive_status status = put(index, n);
            if (status == SIMDRIVE_OK) continue;
            assert_int_equal(status, SIMDRIVE_ERROR_NO_MEMORY);
            refusals++;
            if (allowed % 4 == 0) assert_all_there(index, n);
            assert_int_equal(put(index, n), SIMDRIVE_OK);
        }
        assert_all_there(index, KEYS);
        sdi_index_destroy(index);
        if (fail_then > 0) break; /* more were allowed than it takes */
    }
    fail_then = 0;
    assert_true(refusals > 40);
}

static void test_refused_for_long_it_keeps_what_it_has(void **state) {
    (void)state;
    succeed = 60;
    fail_then = UINT64_MAX;
    sdi_index *index = sdi_index_create_seeded(0, file, seed);
    assert_non_null(index);
    uint64_t n = 0;
    while (n < KEYS && put(index, n) == SIMDRIVE_OK) n++;
    assert_true(n < KEYS);
    sdi_index_stats before, after;
    sdi_index_get_stats(index, &before);
    for (int i = 0; i < 100; i++) assert_int_equal(put(index, n), SIMDRIVE_ERROR_NO_MEMORY);
    sdi_index_get_stats(index, &after);
    assert_int_equal(before.slots, after.slots);
    assert_all_there(index, n);

    fail_then = 0;
    for (; n < KEYS; n++) assert_int_equal(put(index, n), SIMDRIVE_OK);
    assert_all_there(index, KEYS);
    sdi_index_destroy(index);
}

/* Whether a reserve succeeds or not, it counts for nothing in a later one. */
static void test_a_reserve_leaves_no_key_pending(void **state) {
    (void)state;
    static uint64_t hashes[KEYS];
    for (uint64_t n = 0; n < KEYS; n++) hashes[n] = hash_of(n);
    for (uint64_t allowed = 8; allowed < 80; allowed += 12) {
        succeed = allowed;
        fail_then = UINT64_MAX;
        sdi_index *index = sdi_index_create_seeded(0, file, seed);
        for (uint64_t count = 1000; count <= KEYS; count *= 2) {
            simdrive_status status = sdi_index_reserve(index, hashes, (size_t)count);
            assert_true(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_NO_MEMORY);
        }
        succeed = 0; /* what there was room for without these, there is room for with them */
        const sdi_tally *tally = &index->tallies[sdi_first_place(sdi_own_root(index), sdi_own_word(index, 0), 0)];
        size_t fitting = 0;
        for (uint64_t n = 0; n < KEYS && fitting < tally->limit; n++)
            if (sdi_own_word(index, sdi_place_of(index->seed, hash_of(n)).u) == sdi_own_word(index, 0))
                hashes[fitting++] = hash_of(n);
        assert_int_equal(sdi_index_reserve(index, hashes, fitting), SIMDRIVE_OK);
        for (uint64_t n = 0; n < KEYS; n++) hashes[n] = hash_of(n);
        sdi_index_destroy(index);
    }
    fail_then = 0;
}

static void test_create_and_add_refuse_too(void **state) {
    (void)state;
    for (uint64_t allowed = 0;; allowed++) {
        succeed = allowed;
        fail_then = UINT64_MAX;
        sdi_index *index = sdi_index_create_seeded(KEYS, file, seed);
        fail_then = 0;
        sdi_index_destroy(index);
        if (index) break;
    }
    static uint64_t hashes[KEYS], offsets[KEYS], existing[KEYS];
    for (uint64_t n = 0; n < KEYS; n++) {
        hashes[n] = hash_of(n);
        offsets[n] = offset_of(n);
    }
    sdi_index *index = sdi_index_create_seeded(0, file, seed);
    succeed = 20;
    fail_then = 1;
    assert_int_equal(sdi_index_add_batch(index, hashes, offsets, KEYS, existing), SIMDRIVE_ERROR_NO_MEMORY);
    assert_int_equal(sdi_index_add_batch(index, hashes, offsets, KEYS, existing), SIMDRIVE_OK);
    assert_all_there(index, KEYS);
    sdi_index_destroy(index);
}

/* Who finds a block used up, a writer, gets no more at once than the system clears without a stall; who expects much
 * (opening) may have huge pages. */
static void test_growth_takes_no_huge_page(void **state) {
    (void)state;
    enum { SEGMENTS = 2000, EXPECTED = 64, HUGE_PAGE_BYTES = 2 << 20 };
    sdi_segments segments = {0};
    most_pages = 0;
    for (unsigned i = 0; i < SEGMENTS; i++) assert_non_null(sdi_segments_take(&segments, SDI_SEGMENT_LINES_LOG2));
    assert_true(most_pages >= HUGE_PAGE_BYTES / 4);
    assert_true(most_pages < HUGE_PAGE_BYTES);
    assert_true(sdi_segments_expect(&segments, EXPECTED));
    assert_true(most_pages >= HUGE_PAGE_BYTES);
    sdi_segments_release(&segments);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail_once),
        cmocka_unit_test(test_refused_for_long_it_keeps_what_it_has),
        cmocka_unit_test(test_a_reserve_leaves_no_key_pending),
        cmocka_unit_test(test_create_and_add_refuse_too),
        cmocka_unit_test(test_growth_takes_no_huge_page),
    };
    print_message("seed %llx\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, fill_file, NULL);
}
