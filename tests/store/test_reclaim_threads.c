/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reclaim_threads.c — reclaiming again and again beside threads that read, iterate, verify and write: nobody ever
 * sees a byte that was not written, and nobody misses a key. A reclaim may be refused each time, as the machine will
 * have it; when the threads have stopped it is not.
 */
#include "support/stores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

enum { KEYS = 16, SIZE = 40000, READERS = 3, RECLAIMS = 60, WRITES = 600, SKIPPED = 77 };

typedef struct bench {
    simdrive_store *store;
    atomic_bool stop;
    atomic_uint_fast64_t reads, reclaims;
} bench;

static void make_value(uint64_t *value, uint64_t key, uint64_t version) {
    for (size_t i = 0; i < SIZE / 8; i++) value[i] = key << 32 | (version + 1);
}

static void check_value(uint64_t key, const void *data, size_t size) {
    const uint64_t *words = data;
    CHECK_U64(SIZE, size);
    CHECK(words[0] >> 32 == key && (uint32_t)words[0] > 0);
    for (size_t i = 1; i < SIZE / 8; i++) CHECK(words[i] == words[0]);
}

static void read_one(bench *b, uint64_t key) {
    simdrive_entry entry = {0}, copy = {0};
    CHECK_OK(simdrive_read_hash(b->store, test_key_hash(key), &entry));
    simdrive_entry_clone(&entry, &copy);
    check_value(key, entry.data, entry.size);
    simdrive_entry_release(&entry);
    check_value(key, copy.data, copy.size);
    simdrive_entry_release(&copy);
}

static void read_all(bench *b) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry;
    size_t count = 0;
    CHECK_OK(simdrive_iterate(b->store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        check_value(((const uint64_t *)entry->data)[0] >> 32, entry->data, entry->size);
        count++;
    }
    CHECK_U64(KEYS, count);
    simdrive_iterator_close(iterator);
}

/* As long as a read takes: who holds something nearly all the time is never found without. */
static void rest(uint64_t *scratch, uint64_t turn) {
    make_value(scratch, turn % KEYS, turn);
    for (unsigned i = 0; i < 4; i++) check_value(turn % KEYS, scratch, SIZE);
    sdi_thread_yield();
}

static void *reader(void *user) {
    bench *b = user;
    uint64_t scratch[SIZE / 8];
    for (uint64_t turn = 0; !atomic_load(&b->stop); turn++) {
        read_one(b, turn % KEYS);
        if (turn % 64 == 0) read_all(b);
        rest(scratch, turn);
        atomic_fetch_add(&b->reads, 1);
    }
    return NULL;
}

static void *verifier(void *user) {
    bench *b = user;
    while (!atomic_load(&b->stop)) {
        CHECK_OK(simdrive_verify(b->store, NULL, NULL, NULL, NULL));
        uint64_t next = atomic_load(&b->reclaims) + 5; /* while it runs none succeeds */
        while (atomic_load(&b->reclaims) < next && !atomic_load(&b->stop)) sdi_thread_yield();
    }
    return NULL;
}

static void *writer(void *user) {
    bench *b = user;
    uint64_t value[SIZE / 8];
    for (uint64_t turn = 0; !atomic_load(&b->stop) && turn < WRITES; turn++) {
        make_value(value, turn % KEYS, turn);
        CHECK_OK(simdrive_write_hash(b->store, test_key_hash(turn % KEYS), value, SIZE, NULL));
        sdi_thread_yield();
    }
    return NULL;
}

static void busy_readers_see_no_hole(void **state) {
    (void)state;
    test_context("reclaim beside readers, a verification and a writer");
    char path[TEST_PATH_MAX];
    test_folder folder = test_folder_create();
    bench b = {.store = test_open(test_path(&folder, "store", path))};
    uint64_t value[SIZE / 8], total = 0, done = 0;
    pthread_t threads[READERS + 2];
    for (uint64_t i = 0; i < 2 * KEYS; i++) {
        make_value(value, i % KEYS, i);
        CHECK_OK(simdrive_write_hash(b.store, test_key_hash(i % KEYS), value, SIZE, NULL));
    }
    for (size_t i = 0; i < READERS; i++) CHECK(pthread_create(&threads[i], NULL, reader, &b) == 0);
    CHECK(pthread_create(&threads[READERS], NULL, verifier, &b) == 0);
    CHECK(pthread_create(&threads[READERS + 1], NULL, writer, &b) == 0);
    for (size_t i = 0; i < RECLAIMS; i++) {
        uint64_t reclaimed;
        simdrive_status status = simdrive_reclaim(b.store, NULL, &reclaimed);
        if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY);
        done += status == SIMDRIVE_OK;
        total += reclaimed;
        atomic_fetch_add(&b.reclaims, 1);
    }
    atomic_store(&b.stop, true);
    for (size_t i = 0; i < READERS + 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    print_message("%llu of %d reclaims, %llu bytes, %llu reads\n", (unsigned long long)done, RECLAIMS,
                  (unsigned long long)total, (unsigned long long)atomic_load(&b.reads));
    CHECK_OK(simdrive_reclaim(b.store, NULL, NULL));
    read_all(&b);
    CHECK_OK(simdrive_verify(b.store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(b.store));
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_readers_see_no_hole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
