/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_threads.c — three readers beside a writer that puts, replaces, grows and moves the base: what was put
 * before a lookup began is found by it, or what replaced it (X1). For the thread sanitizer as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "index/index.h"
#include "os/os.h"

enum { READERS = 3, KEYS = 100000, PUTS = 2 * KEYS, STRIDE = 16, BATCH = 100 };

static struct {
    sdi_index *index;
    uint8_t *files[2]; /* the same bytes at two addresses */
    _Atomic uint64_t *known; /* the offset that key n had at least */
    _Atomic uint64_t keys;
    _Atomic bool done;
    _Atomic uint64_t failures;
    _Atomic uint64_t lookups;
    bool discards;
} shared;

static uint64_t mix(uint64_t z) {
    z = (z + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static bool is_right(sdi_index_hit hit, uint64_t hash, uint64_t at_least) {
    if (hit.offset == SDI_INDEX_NONE) return shared.discards;
    return hit.offset >= at_least && sdi_load64(hit.base + hit.offset) == hash;
}

static void look_at_one(uint64_t random) {
    uint64_t keys = atomic_load_explicit(&shared.keys, memory_order_acquire);
    if (keys == 0) return;
    uint64_t key = random % 4 == 0 ? keys - 1 : (random >> 8) % keys; /* the newest one often */
    uint64_t at_least = atomic_load_explicit(&shared.known[key], memory_order_acquire);
    if (!is_right(sdi_index_find(shared.index, mix(key)), mix(key), at_least)) atomic_fetch_add(&shared.failures, 1);
    uint64_t missing = mix(key + (UINT64_C(1) << 40));
    if (sdi_index_find(shared.index, missing).offset != SDI_INDEX_NONE) atomic_fetch_add(&shared.failures, 1);
}

static void look_at_batch(uint64_t random) {
    uint64_t hashes[BATCH], at_least[BATCH];
    sdi_index_hit hits[BATCH];
    uint64_t keys = atomic_load_explicit(&shared.keys, memory_order_acquire);
    if (keys == 0) return;
    for (uint64_t i = 0; i < BATCH; i++) {
        uint64_t key = mix(random + i) % keys;
        hashes[i] = mix(key);
        at_least[i] = atomic_load_explicit(&shared.known[key], memory_order_acquire);
    }
    sdi_index_find_batch(shared.index, hashes, BATCH, hits);
    for (uint64_t i = 0; i < BATCH; i++)
        if (!is_right(hits[i], hashes[i], at_least[i])) atomic_fetch_add(&shared.failures, 1);
}

static void read_until_done(void *user) {
    uint64_t state = (uint64_t)(uintptr_t)user, rounds = 0;
    do {
        for (int i = 0; i < 50; i++) look_at_one(mix(state++));
        look_at_batch(mix(state++));
        rounds++;
    } while (!atomic_load(&shared.done));
    atomic_fetch_add(&shared.lookups, rounds * (50 + BATCH));
}

static void start(sdi_thread *readers) {
    for (int i = 0; i < 2; i++) shared.files[i] = calloc(PUTS + 1, STRIDE);
    shared.known = calloc(KEYS, sizeof *shared.known);
    shared.index = sdi_index_create_seeded(0, shared.files[0], READERS);
    atomic_store(&shared.keys, 0);
    atomic_store(&shared.done, false);
    atomic_store(&shared.failures, 0);
    for (uintptr_t i = 0; i < READERS; i++) {
        void *number = (void *)(i * 1000000);
        assert_int_equal(sdi_thread_start(&readers[i], read_until_done, number), SIMDRIVE_OK);
    }
}

static void finish(sdi_thread *readers) {
    atomic_store(&shared.done, true);
    for (int i = 0; i < READERS; i++) sdi_thread_join(&readers[i]);
    sdi_index_destroy(shared.index);
    for (int i = 0; i < 2; i++) free(shared.files[i]);
    free((void *)(uintptr_t)shared.known);
    assert_int_equal(atomic_load(&shared.failures), 0);
    assert_true(atomic_load(&shared.lookups) > 0);
}

/* Every second put is of a new key, the others replace. */
static void put_all(void) {
    uint64_t keys = 0;
    for (uint64_t n = 0; n < PUTS; n++) {
        uint64_t key = n % 2 == 0 ? keys : mix(n) % keys, hash = mix(key), offset = (n + 1) * STRIDE;
        for (int i = 0; i < 2; i++) sdi_store64(shared.files[i] + offset, hash);
        if (n % 1000 == 0) sdi_index_set_base(shared.index, shared.files[n / 1000 % 2]);
        assert_int_equal(sdi_index_reserve(shared.index, &hash, 1), SIMDRIVE_OK);
        uint64_t old = sdi_index_put(shared.index, hash, offset);
        assert_int_equal(old, atomic_load_explicit(&shared.known[key], memory_order_relaxed));
        atomic_store_explicit(&shared.known[key], offset, memory_order_release);
        if (key == keys) atomic_store_explicit(&shared.keys, ++keys, memory_order_release);
    }
}

static void test_readers_find_all_that_was_put(void **state) {
    (void)state;
    sdi_thread readers[READERS];
    shared.discards = false;
    start(readers);
    put_all();
    finish(readers);
}

static void test_readers_survive_a_discard(void **state) {
    (void)state;
    sdi_thread readers[READERS];
    shared.discards = true;
    start(readers);
    put_all();
    sdi_index_discard(shared.index);
    uint64_t before = atomic_load(&shared.failures);
    for (int i = 0; i < 1000; i++) look_at_one(mix((uint64_t)i));
    assert_int_equal(before, 0);
    finish(readers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_find_all_that_was_put),
        cmocka_unit_test(test_readers_survive_a_discard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
