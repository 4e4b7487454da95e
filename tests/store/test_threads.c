/* SPDX-License-Identifier: Apache-2.0
 *
 * test_threads.c — threads on one store: a key that is always there is never missed, a value is always one that was
 * written, never an older one than was seen before; what was acquired stays valid in whatever thread releases it,
 * after the store is closed, after compaction.
 */
#include "support/stores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 64, MOST_READERS = 8, VALUE_MAX = 3000, VALUE_MIN = 16 };

/* A value tells its key and its version, and the rest of it follows from these. */
static size_t make_value(uint8_t *value, uint64_t key, uint64_t version) {
    size_t size = VALUE_MIN + (size_t)((key * 131 + version * 37) % (VALUE_MAX - VALUE_MIN));
    memcpy(value, &key, 8);
    memcpy(value + 8, &version, 8);
    for (size_t i = VALUE_MIN; i < size; i++) value[i] = (uint8_t)(key * 7 + version * 13 + i);
    return size;
}

/* The version of a value of that key, after looking at all of it. */
static uint64_t check_value(uint64_t key, const void *data, size_t size) {
    uint8_t expected[VALUE_MAX];
    uint64_t version;
    CHECK(data && size >= VALUE_MIN && size < VALUE_MAX);
    memcpy(&version, (const uint8_t *)data + 8, 8);
    CHECK_U64(make_value(expected, key, version), size);
    CHECK(memcmp(expected, data, size) == 0);
    return version;
}

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    simdrive_store *store;
    uint64_t hashes[KEYS];
    _Atomic uint64_t acknowledged[KEYS]; /* version last written and returned from */
    atomic_bool stop;
    atomic_uint_fast64_t reads;
} bench;

static void bench_begin(bench *b, const char *what) {
    test_context("%s", what);
    memset(b, 0, sizeof *b);
    b->folder = test_folder_create();
    b->store = test_open(test_path(&b->folder, "store", b->path));
    uint8_t value[VALUE_MAX];
    for (uint64_t key = 0; key < KEYS; key++) {
        b->hashes[key] = test_key_hash(key);
        size_t size = make_value(value, key, 1);
        CHECK_OK(simdrive_write_hash(b->store, b->hashes[key], value, size, NULL));
        atomic_store(&b->acknowledged[key], 1);
    }
}

static void bench_end(bench *b) {
    if (b->store) CHECK_OK(simdrive_close(b->store));
    test_folder_remove(&b->folder);
}

/* --- readers of every kind -------------------------------------------------------------------------------------- */

typedef struct reader_state {
    bench *b;
    unsigned kind;
    test_random random;
    uint64_t seen[KEYS];
} reader_state;

/* A value may not be older than one acknowledged before the read began, nor than one seen before. */
static void saw(reader_state *r, uint64_t key, uint64_t floor, const void *data, size_t size) {
    uint64_t version = check_value(key, data, size);
    CHECK(version >= floor && version >= r->seen[key]);
    r->seen[key] = version;
}

static void read_single(reader_state *r) {
    uint64_t key = test_random_below(&r->random, KEYS);
    uint64_t floor = atomic_load(&r->b->acknowledged[key]);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_hash(r->b->store, r->b->hashes[key], &entry));
    CHECK(simdrive_entry_key_hash(&entry) == r->b->hashes[key]);
    saw(r, key, floor, entry.data, entry.size);
    simdrive_entry_release(&entry);
}

static void read_batch(reader_state *r) {
    simdrive_entry entries[KEYS];
    memset(entries, 0, sizeof entries);
    uint64_t floors[KEYS];
    size_t found = 0;
    for (int i = 0; i < KEYS; i++) floors[i] = atomic_load(&r->b->acknowledged[i]);
    CHECK_OK(simdrive_read_batch_hash(r->b->store, r->b->hashes, KEYS, entries, &found));
    CHECK_U64(KEYS, found);
    for (uint64_t i = 0; i < KEYS; i++) saw(r, i, floors[i], entries[i].data, entries[i].size);
    simdrive_entries_release(entries, KEYS);
}

static void read_session(reader_state *r) {
    simdrive_session *session = NULL;
    CHECK_OK(simdrive_session_begin(r->b->store, &session));
    for (int i = 0; i < 20; i++) {
        uint64_t key = test_random_below(&r->random, KEYS);
        simdrive_bytes payload = {0};
        CHECK_OK(simdrive_session_read_hash(session, r->b->hashes[key], &payload));
        check_value(key, payload.data, payload.size);
    }
    simdrive_bytes payloads[KEYS];
    size_t found = 0;
    CHECK_OK(simdrive_session_read_batch_hash(session, r->b->hashes, KEYS, payloads, &found));
    CHECK_U64(KEYS, found);
    for (uint64_t i = 0; i < KEYS; i++) check_value(i, payloads[i].data, payloads[i].size);
    simdrive_session_end(session);
}

static uint64_t key_of_hash(const bench *b, uint64_t hash) {
    for (uint64_t key = 0; key < KEYS; key++) {
        if (b->hashes[key] == hash) return key;
    }
    CHECK(!"a hash that was never written");
    return 0;
}

static void read_iterating(reader_state *r) {
    uint64_t floors[KEYS];
    for (int i = 0; i < KEYS; i++) floors[i] = atomic_load(&r->b->acknowledged[i]);
    simdrive_iterator *iterator = NULL;
    CHECK_OK(simdrive_iterate(r->b->store, &iterator));
    const simdrive_entry *entry = NULL;
    uint64_t keys = 0, last = UINT64_MAX;
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        uint64_t key = key_of_hash(r->b, simdrive_entry_key_hash(entry));
        uint64_t start, end;
        simdrive_entry_offset_range(entry, &start, &end);
        CHECK(start < last);
        last = start;
        CHECK(!(keys >> key & 1));
        keys |= UINT64_C(1) << key;
        saw(r, key, floors[key], entry->data, entry->size);
    }
    CHECK(keys == UINT64_MAX); /* all 64 of them */
    simdrive_iterator_close(iterator);
}

typedef struct visit_state {
    bench *b;
    _Atomic uint64_t keys;
} visit_state;

static simdrive_status visit_one(void *user, unsigned thread, const simdrive_entry *entry) {
    visit_state *state = user;
    (void)thread;
    uint64_t key = key_of_hash(state->b, simdrive_entry_key_hash(entry));
    check_value(key, entry->data, entry->size);
    uint64_t before = atomic_fetch_or(&state->keys, UINT64_C(1) << key);
    return before >> key & 1 ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK;
}

static void read_visiting(reader_state *r) {
    visit_state state = {.b = r->b};
    CHECK_OK(simdrive_visit(r->b->store, 2, visit_one, &state));
    CHECK(atomic_load(&state.keys) == UINT64_MAX);
}

static void read_small_questions(reader_state *r) {
    uint64_t key = test_random_below(&r->random, KEYS);
    char text[32];
    size_t text_size = test_key(key, text);
    CHECK(simdrive_exists_hash(r->b->store, r->b->hashes[key]));
    CHECK(simdrive_exists(r->b->store, text, text_size));
    CHECK_U64(KEYS, simdrive_count(r->b->store));
    simdrive_metadata metadata;
    CHECK_OK(simdrive_read_metadata(r->b->store, text, text_size, &metadata));
    CHECK(metadata.key_hash == r->b->hashes[key]);
    simdrive_info info = {.struct_size = sizeof info};
    CHECK_OK(simdrive_get_info(r->b->store, &info));
}

static void read_last(reader_state *r) {
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_last(r->b->store, &entry));
    check_value(key_of_hash(r->b, simdrive_entry_key_hash(&entry)), entry.data, entry.size);
    simdrive_entry_release(&entry);
}

static void read_copying(reader_state *r) {
    uint64_t key = test_random_below(&r->random, KEYS), size = 0;
    uint64_t floor = atomic_load(&r->b->acknowledged[key]);
    char text[32];
    size_t text_size = test_key(key, text), copied = 0;
    uint8_t buffer[VALUE_MAX];
    CHECK_OK(simdrive_read_copy(r->b->store, text, text_size, 0, buffer, sizeof buffer, &size, &copied));
    CHECK_U64(size, copied);
    saw(r, key, floor, buffer, copied);
}

static void read_streaming(reader_state *r) {
    uint64_t key = test_random_below(&r->random, KEYS);
    char text[32];
    size_t text_size = test_key(key, text), size = 0, copied = 0;
    uint8_t buffer[VALUE_MAX];
    simdrive_reader *reader = NULL;
    CHECK_OK(simdrive_reader_open(r->b->store, text, text_size, &reader));
    simdrive_status status;
    while ((status = simdrive_reader_next(reader, buffer + size, sizeof buffer - size, &copied)) == SIMDRIVE_OK)
        size += copied;
    CHECK_STATUS(SIMDRIVE_END, status);
    check_value(key, buffer, size);
    simdrive_reader_close(reader);
}

static void (*const READERS[])(reader_state *) = {read_single,          read_batch, read_session, read_iterating,
                                                  read_small_questions, read_last,  read_copying, read_streaming,
                                                  read_visiting};
enum { READER_KINDS = sizeof READERS / sizeof READERS[0] };

static void *reader_main(void *user) {
    reader_state *r = user;
    do {
        READERS[r->kind](r);
        atomic_fetch_add(&r->b->reads, 1);
    } while (!atomic_load(&r->b->stop));
    return NULL;
}

/* --- writers ---------------------------------------------------------------------------------------------------- */

static void write_version(bench *b, uint64_t key, uint64_t version) {
    uint8_t value[VALUE_MAX];
    size_t size = make_value(value, key, version);
    CHECK_OK(simdrive_write_hash(b->store, b->hashes[key], value, size, NULL));
    atomic_store(&b->acknowledged[key], version);
}

static void write_batch(bench *b, uint64_t version) {
    static uint8_t values[KEYS][VALUE_MAX];
    simdrive_bytes payloads[KEYS];
    for (uint64_t key = 0; key < KEYS; key++)
        payloads[key] = (simdrive_bytes){values[key], make_value(values[key], key, version)};
    CHECK_OK(simdrive_write_batch_hash(b->store, b->hashes, payloads, KEYS, NULL));
    for (uint64_t key = 0; key < KEYS; key++) atomic_store(&b->acknowledged[key], version);
}

static void write_streamed(bench *b, uint64_t key, uint64_t version) {
    uint8_t value[VALUE_MAX];
    size_t size = make_value(value, key, version);
    test_source source = {.bytes = value, .size = size, .piece = 700};
    CHECK_OK(simdrive_write_stream_hash(b->store, b->hashes[key], test_source_read, &source, 512, NULL));
    atomic_store(&b->acknowledged[key], version);
}

/* The writer of the test: overwrites of all kinds, other keys coming and going is left out so that the count holds. */
static void write_for_a_while(bench *b, uint64_t steps, bool compacting) {
    test_random random = test_random_begin(500);
    uint64_t version = 2;
    for (uint64_t step = 0; step < steps; step++, version++) {
        uint64_t key = test_random_below(&random, KEYS);
        if (step % 97 == 50)
            write_batch(b, version);
        else if (step % 13 == 5)
            write_streamed(b, key, version);
        else
            write_version(b, key, version);
        if (compacting && step % 400 == 399) CHECK_OK(simdrive_compact(b->store, NULL, NULL));
    }
}

static void run_readers_beside_writer(const char *what, unsigned kind, unsigned readers, uint64_t steps,
                                      bool compacting) {
    bench b;
    bench_begin(&b, what);
    pthread_t threads[MOST_READERS];
    reader_state *states = calloc(readers, sizeof *states);
    for (unsigned i = 0; i < readers; i++) {
        states[i].b = &b;
        states[i].kind = kind == READER_KINDS ? i % READER_KINDS : kind;
        states[i].random = test_random_begin(510 + i);
        CHECK(pthread_create(&threads[i], NULL, reader_main, &states[i]) == 0);
    }
    write_for_a_while(&b, steps, compacting);
    while (atomic_load(&b.reads) < 2 * readers) sched_yield();
    atomic_store(&b.stop, true);
    for (unsigned i = 0; i < readers; i++) pthread_join(threads[i], NULL);
    free(states);
    CHECK_OK(simdrive_verify(b.store, NULL, NULL, NULL, NULL));
    bench_end(&b);
}

static void readers_of_each_kind_never_miss_a_key(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < READER_KINDS; kind++)
        run_readers_beside_writer("one writer, two readers of one kind", kind, 2, 6000, false);
}

static void readers_beside_compaction_never_miss_a_key(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < READER_KINDS; kind++)
        run_readers_beside_writer("writer that compacts, two readers of one kind", kind, 2, 4000, true);
    run_readers_beside_writer("writer that compacts, readers of all kinds", READER_KINDS, MOST_READERS, 4000, true);
}

/* --- several writers -------------------------------------------------------------------------------------------- */

typedef struct writer_state {
    bench *b;
    uint64_t first_key; /* its own keys: first_key, first_key + 4, ... */
} writer_state;

static void *writer_main(void *user) {
    writer_state *w = user;
    uint64_t version = 2;
    for (int round = 0; round < 60; round++) {
        for (uint64_t key = w->first_key; key < KEYS; key += 4, version++) {
            if (round % 7 == 3)
                write_streamed(w->b, key, version);
            else
                write_version(w->b, key, version);
            simdrive_entry entry = {0};
            CHECK_OK(simdrive_read_hash(w->b->store, w->b->hashes[key], &entry));
            CHECK_U64(version, check_value(key, entry.data, entry.size)); /* own writes are read at once */
            simdrive_entry_release(&entry);
        }
        uint64_t gone = simdrive_hash_key(&w->first_key, 8);
        CHECK_OK(simdrive_write_hash(w->b->store, gone, "to be deleted", 13, NULL));
        CHECK_OK(simdrive_delete_hash(w->b->store, gone, NULL));
        CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_delete_hash(w->b->store, gone, NULL));
    }
    return NULL;
}

static void several_writers_at_once(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "four writers");
    pthread_t threads[4];
    writer_state states[4];
    for (unsigned i = 0; i < 4; i++) {
        states[i] = (writer_state){&b, i};
        CHECK(pthread_create(&threads[i], NULL, writer_main, &states[i]) == 0);
    }
    for (int i = 0; i < 5; i++) CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK_OK(simdrive_verify(b.store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(b.store));
    b.store = test_open_read_only(b.path);
    CHECK_U64(KEYS, simdrive_count(b.store));
    for (uint64_t key = 0; key < KEYS; key++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(b.store, b.hashes[key], &entry));
        CHECK_U64(atomic_load(&b.acknowledged[key]), check_value(key, entry.data, entry.size));
        simdrive_entry_release(&entry);
    }
    bench_end(&b);
}

/* --- several writers, each of whose writes is synced -------------------------------------------------------------- */

enum { SYNCED_WRITERS = 6, SYNCED_WRITES = 40 };

typedef struct synced_writer {
    simdrive_store *store;
    uint64_t first_key; /* its own keys: from there on */
} synced_writer;

static void *synced_writer_main(void *user) {
    synced_writer *w = user;
    for (uint64_t i = 0; i < SYNCED_WRITES; i++) {
        uint64_t key = w->first_key + i, tail = 0;
        simdrive_statistics statistics = {.struct_size = sizeof statistics};
        CHECK_OK(simdrive_write(w->store, &key, sizeof key, "value", 5, &tail));
        CHECK_OK(simdrive_get_statistics(w->store, &statistics));
        CHECK(statistics.durable_tail >= tail);
    }
    return NULL;
}

/* Whoever leads a group, and whoever he waits for: a write that has returned is durable, and costs one sync at most. */
static void synced_writers_share_their_syncs(void **state) {
    (void)state;
    test_context("synced writers");
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_COMMIT};
    simdrive_store *store = NULL;
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    pthread_t threads[SYNCED_WRITERS];
    synced_writer writers[SYNCED_WRITERS];
    CHECK_OK(simdrive_open(test_path(&folder, "store", path), &options, &store));
    CHECK_OK(simdrive_write(store, "first", 5, "value", 5, NULL)); /* whose mark is a sync of its own */
    CHECK_OK(simdrive_get_statistics(store, &statistics));
    uint64_t syncs_before = statistics.syncs;
    for (uint64_t i = 0; i < SYNCED_WRITERS; i++) {
        writers[i] = (synced_writer){store, i * SYNCED_WRITES};
        CHECK(pthread_create(&threads[i], NULL, synced_writer_main, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < SYNCED_WRITERS; i++) pthread_join(threads[i], NULL);
    CHECK_OK(simdrive_get_statistics(store, &statistics));
    CHECK(statistics.syncs - syncs_before <= SYNCED_WRITERS * SYNCED_WRITES);
    CHECK_U64(SYNCED_WRITERS * SYNCED_WRITES + 1, statistics.entries);
    CHECK_OK(simdrive_close(store));
    store = test_open_read_only(path);
    CHECK_U64(SYNCED_WRITERS * SYNCED_WRITES + 1, simdrive_count(store));
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    test_folder_remove(&folder);
}

/* --- what was acquired stays -------------------------------------------------------------------------------------- */

typedef struct released {
    simdrive_entry entries[KEYS];
    simdrive_iterator *iterator;
    simdrive_reader *reader;
    simdrive_session *session;
    simdrive_bytes lent;
} released;

static void *release_main(void *user) {
    released *r = user;
    for (uint64_t key = 0; key < KEYS; key++) {
        simdrive_entry copy = {0};
        CHECK_U64(1, check_value(key, r->entries[key].data, r->entries[key].size));
        CHECK(simdrive_entry_is_valid(&r->entries[key]));
        simdrive_entry_clone(&r->entries[key], &copy);
        simdrive_entry_release(&r->entries[key]);
        CHECK_U64(1, check_value(key, copy.data, copy.size));
        simdrive_entry_release(&copy);
    }
    simdrive_entry entry = {0};
    size_t left = 0;
    while (simdrive_iterator_next(r->iterator, &entry) == SIMDRIVE_OK) {
        left++;
        CHECK(entry.size >= VALUE_MIN);
        simdrive_entry_release(&entry);
    }
    CHECK_U64(KEYS - 1, left);
    simdrive_iterator_close(r->iterator);
    uint8_t buffer[VALUE_MAX];
    size_t size = 0, copied = 0;
    while (simdrive_reader_next(r->reader, buffer + size, 100, &copied) == SIMDRIVE_OK) size += copied;
    CHECK_U64(1, check_value(5, buffer, size));
    simdrive_reader_close(r->reader);
    CHECK_U64(1, check_value(7, r->lent.data, r->lent.size));
    simdrive_bytes payload = {0};
    CHECK_OK(simdrive_session_read_hash(r->session, test_key_hash(9), &payload));
    check_value(9, payload.data, payload.size);
    simdrive_session_end(r->session);
    return NULL;
}

static void what_was_acquired_outlives(const char *what, bool compact, bool close) {
    bench b;
    bench_begin(&b, what);
    released r = {0};
    size_t found;
    char text[32];
    size_t text_size = test_key(5, text);
    simdrive_entry first = {0};
    CHECK_OK(simdrive_read_batch_hash(b.store, b.hashes, KEYS, r.entries, &found));
    CHECK_OK(simdrive_iterate(b.store, &r.iterator));
    CHECK_OK(simdrive_iterator_next(r.iterator, &first));
    CHECK_OK(simdrive_reader_open(b.store, text, text_size, &r.reader));
    CHECK_OK(simdrive_session_begin(b.store, &r.session));
    CHECK_OK(simdrive_session_read_hash(r.session, b.hashes[7], &r.lent));
    write_for_a_while(&b, 300, false);
    for (int i = 0; compact && i < 3; i++) {
        CHECK_OK(simdrive_delete_hash(b.store, b.hashes[i], NULL));
        CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    }
    if (close) {
        CHECK_OK(simdrive_close(b.store));
        b.store = NULL;
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_main, &r) == 0);
    pthread_join(thread, NULL);
    simdrive_entry_release(&first);
    bench_end(&b);
}

static void entries_outlive_overwrites_compaction_and_close(void **state) {
    (void)state;
    what_was_acquired_outlives("overwritten", false, false);
    what_was_acquired_outlives("compacted", true, false);
    what_was_acquired_outlives("closed", false, true);
    what_was_acquired_outlives("compacted and closed", true, true);
}

/* --- growth under readers ---------------------------------------------------------------------------------------- */

typedef struct growth {
    simdrive_store *store;
    _Atomic uint64_t written;
    atomic_bool stop;
} growth;

static void *growth_reader(void *user) {
    growth *g = user;
    test_random random = test_random_begin(600);
    while (!atomic_load(&g->stop)) {
        uint64_t written = atomic_load(&g->written);
        if (written == 0) continue;
        uint64_t number = test_random_below(&random, 4) ? test_random_below(&random, written) : written - 1;
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read(g->store, &number, sizeof number, &entry));
        CHECK(entry.size == 8 && memcmp(entry.data, &number, 8) == 0);
        simdrive_entry_release(&entry);
        CHECK(simdrive_count(g->store) >= written);
    }
    return NULL;
}

/* The index and the map grow many times over while readers look; tiny reserve: many maps. */
static void keys_stay_found_while_index_and_map_grow(void **state) {
    (void)state;
    for (int tiny_reserve = 0; tiny_reserve < 2; tiny_reserve++) {
        test_context("growing store, reserve %s", tiny_reserve ? "tiny" : "default");
        test_folder folder = test_folder_create();
        char path[TEST_PATH_MAX];
        simdrive_open_options options = {.struct_size = sizeof options};
        options.map_reserve_bytes = tiny_reserve ? 4096 : 0;
        growth g = {0};
        CHECK_OK(simdrive_open(test_path(&folder, "store", path), &options, &g.store));
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, growth_reader, &g) == 0);
        for (uint64_t number = 0; number < 60000; number++) {
            uint64_t value = number;
            CHECK_OK(simdrive_write(g.store, &number, sizeof number, &value, sizeof value, NULL));
            atomic_store(&g.written, number + 1);
        }
        atomic_store(&g.stop, true);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        CHECK_U64(60000, simdrive_count(g.store));
        CHECK_OK(simdrive_close(g.store));
        test_folder_remove(&folder);
    }
}

/* --- the interval policy's own thread ---------------------------------------------------------------------------- */

static void interval_sync_beside_writes(void **state) {
    (void)state;
    test_context("interval sync");
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_INTERVAL};
    options.sync_interval_ms = 1;
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(test_path(&folder, "store", path), &options, &store));
    for (uint64_t i = 0; i < 3000; i++) {
        CHECK_OK(simdrive_write(store, &i, sizeof i, "value", 5, NULL));
        if (i % 1000 == 999) CHECK_OK(simdrive_compact(store, NULL, NULL));
    }
    CHECK_OK(simdrive_close(store));
    store = test_open_read_only(path);
    CHECK_U64(3000, simdrive_count(store));
    CHECK_OK(simdrive_close(store));
    test_folder_remove(&folder);
}

enum { HANG_SECONDS = 500 };

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_of_each_kind_never_miss_a_key),
        cmocka_unit_test(readers_beside_compaction_never_miss_a_key),
        cmocka_unit_test(several_writers_at_once),
        cmocka_unit_test(synced_writers_share_their_syncs),
        cmocka_unit_test(entries_outlive_overwrites_compaction_and_close),
        cmocka_unit_test(keys_stay_found_while_index_and_map_grow),
        cmocka_unit_test(interval_sync_beside_writes),
    };
    alarm(HANG_SECONDS); /* a deadlock ends the program */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
