/* SPDX-License-Identifier: Apache-2.0
 *
 * test_walks.c — walks over many entries: opening, which takes a thread for them, finds what was written, with the
 * figures of a model; an iteration shows the entries of its moment, whether or not it asks the index which are live.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "stores.h"

/* --- opening ----------------------------------------------------------------------------------------------------- */

enum { CHANGES = 200000, KEYS = 90000, GROUP = 1000, VALUE_MAX = 48 };

/* What the store holds, by key: size 0 is nothing. */
typedef struct model {
    uint8_t sizes[KEYS];
    uint64_t values[KEYS];
    uint64_t entries, tombstones, stale_entries, live_bytes, stale_bytes;
} model;

static void apply_to_model(model *m, uint64_t key, uint64_t value, uint8_t size) {
    if (m->sizes[key] > 0) {
        m->stale_entries++;
        m->stale_bytes += m->sizes[key];
        m->entries--;
        m->live_bytes -= m->sizes[key];
    }
    m->entries += size > 0;
    m->live_bytes += size;
    m->tombstones += size == 0;
    m->values[key] = value;
    m->sizes[key] = size;
}

/* Puts of random keys; with `deletes`, one change in eight is one. */
static void write_many(simdrive_store *store, model *m, test_random *random, bool deletes) {
    static uint64_t payloads[GROUP][VALUE_MAX / 8];
    simdrive_change changes[GROUP];
    for (size_t done = 0; done < CHANGES; done += GROUP) {
        for (size_t i = 0; i < GROUP; i++) {
            uint64_t key = test_random_below(random, KEYS), value = done + i + 1;
            uint8_t size = (uint8_t)(8 + test_random_below(random, VALUE_MAX - 8));
            bool removed = deletes && test_random_below(random, 8) == 0;
            payloads[i][0] = value;
            changes[i] = (simdrive_change){removed ? SIMDRIVE_DELETE : SIMDRIVE_PUT, test_key_hash(key),
                                           {payloads[i], removed ? 0 : size}};
            if (!removed) apply_to_model(m, key, value, size);
            else if (m->sizes[key] > 0) apply_to_model(m, key, 0, 0);
        }
        CHECK_OK(simdrive_apply(store, changes, GROUP, SIMDRIVE_BATCH_ATOMIC, NULL));
    }
}

static void check_figures(const simdrive_store *store, const model *m) {
    simdrive_info info = test_info(store);
    CHECK_U64(m->entries, info.entries);
    CHECK_U64(m->tombstones, info.tombstones);
    CHECK_U64(m->stale_entries, info.stale_entries);
    CHECK_U64(m->live_bytes, info.live_bytes);
    CHECK_U64(m->stale_bytes, info.stale_bytes);
}

static void check_content(simdrive_store *store, const model *m) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *shown = NULL;
    uint64_t count = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        simdrive_entry entry = {0};
        CHECK_STATUS(m->sizes[key] > 0 ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND,
                     simdrive_read_hash(store, test_key_hash(key), &entry));
        CHECK_U64(m->sizes[key], entry.size);
        CHECK(entry.size == 0 || memcmp(entry.data, &m->values[key], 8) == 0);
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &shown) == SIMDRIVE_OK) count++;
    simdrive_iterator_close(iterator);
    CHECK_U64(m->entries, count);
}

static simdrive_store *open_walking(const char *path) {
    simdrive_store *store = NULL;
    const simdrive_open_options options = {.struct_size = sizeof options, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    CHECK_OK(simdrive_open(path, &options, &store));
    return store;
}

static void check_reopened(void **state, bool deletes) {
    test_bench *b = *state;
    test_random random = test_random_begin(deletes);
    model *m = test_alloc(sizeof *m);
    memset(m, 0, sizeof *m);
    simdrive_store *store = open_walking(b->path);
    write_many(store, m, &random, deletes);
    check_figures(store, m);
    CHECK_OK(simdrive_close(store));
    store = open_walking(b->path);
    check_figures(store, m);
    check_content(store, m);
    CHECK_OK(simdrive_close(store));
    free(m);
}

static void many_entries_are_opened_as_they_were_written(void **state) {
    check_reopened(state, false);
}

static void many_entries_and_tombstones_are_opened_as_they_were_written(void **state) {
    check_reopened(state, true);
}

/* The payload's first byte is damaged: of the first entry with a smaller offset than `below`. */
static uint64_t damage_payload(const char *path, uint64_t below) {
    size_t size;
    sdi_record record = {.prev = UINT64_MAX};
    uint8_t *file = test_file_get(path, &size);
    for (uint64_t tail = size; record.prev >= below; tail = record.prev)
        CHECK(sdi_decode(file, tail - SDI_METADATA_SIZE, &record));
    file[record.start] ^= 1;
    test_file_put(path, file, size);
    free(file);
    return record.end;
}

static void a_damaged_payload_among_many_is_found_by_opening(void **state) {
    test_bench *b = *state;
    enum { COUNT = 100000 };
    simdrive_store *store = open_walking(b->path);
    for (uint64_t i = 0; i < COUNT; i++) CHECK_OK(simdrive_write_hash(store, test_key_hash(i), &i, sizeof i, NULL));
    uint64_t tail = simdrive_tail(store);
    CHECK_OK(simdrive_close(store));
    damage_payload(b->path, tail / 3);
    damage_payload(b->path, tail / 2);
    store = test_open_read_only(b->path);
    CHECK_U64(2, test_info(store).corrupt_entries);
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry;
    uint64_t shown = 0;
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) shown++;
    CHECK_U64(COUNT - 2, shown);
    simdrive_iterator_close(iterator);
    CHECK_OK(simdrive_close(store));
}

/* --- iteration --------------------------------------------------------------------------------------------------- */

enum { SHOWN = 3000 };

/* A value tells its key and its version. */
typedef struct value {
    uint64_t key, version;
} value;

static void write_versions(simdrive_store *store, uint64_t first, uint64_t count, uint64_t version) {
    for (uint64_t key = first; key < first + count; key++) {
        const value v = {key, version};
        CHECK_OK(simdrive_write_hash(store, test_key_hash(key), &v, sizeof v, NULL));
    }
}

/* Marks the key in `seen`; each comes once. Returns the version. */
static uint64_t see(uint8_t *seen, const simdrive_entry *entry) {
    value v;
    CHECK_U64(sizeof v, entry->size);
    memcpy(&v, entry->data, sizeof v);
    CHECK(v.key < SHOWN && !seen[v.key]);
    seen[v.key] = 1;
    return v.version;
}

/* `changed_after` entries were handed out when the store is changed under the iterator. */
static void check_iterated_as_of_its_beginning(void **state, uint64_t changed_after, bool some_stale) {
    test_bench *b = *state;
    uint8_t seen[SHOWN] = {0};
    simdrive_store *store = test_open(b->path);
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry;
    uint64_t count = 0;
    if (some_stale) write_versions(store, 0, 1, 0);
    write_versions(store, 0, SHOWN, 1);
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        CHECK_U64(1, see(seen, entry));
        if (count++ != changed_after) continue;
        write_versions(store, 0, SHOWN / 2, 2);
        write_versions(store, SHOWN, 100, 2);
        for (uint64_t key = SHOWN / 3; key < SHOWN; key += 7)
            CHECK_OK(simdrive_delete_hash(store, test_key_hash(key), NULL));
        if (some_stale) CHECK_OK(simdrive_compact(store, NULL, NULL));
    }
    simdrive_iterator_close(iterator);
    CHECK_U64(SHOWN, count);
    CHECK_OK(simdrive_close(store));
}

static void an_iteration_of_what_is_all_live_shows_its_moment(void **state) {
    check_iterated_as_of_its_beginning(state, 500, false);
}

static void an_iteration_of_a_store_with_stale_entries_shows_its_moment(void **state) {
    check_iterated_as_of_its_beginning(state, 500, true);
}

typedef struct race {
    simdrive_store *store;
    atomic_bool begun;
} race;

static void overwrite_all(void *user) {
    race *r = user;
    atomic_store(&r->begun, true);
    write_versions(r->store, 0, SHOWN, 2);
}

/* A store in which nothing is stale until a writer begins, while iterations go on: in each of them every key comes
 * once, whether it began before or after. */
static void every_key_comes_once_while_the_first_entries_go_stale(void **state) {
    test_bench *b = *state;
    enum { ROUNDS = 20 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        simdrive_open_options options = {.struct_size = sizeof options};
        race r = {.begun = false};
        sdi_thread writer;
        CHECK_OK(simdrive_open(b->path, &options, &r.store));
        write_versions(r.store, 0, SHOWN, 1);
        CHECK_OK(simdrive_compact(r.store, NULL, NULL)); /* without what the round before has left */
        CHECK_U64(0, test_info(r.store).stale_entries);
        CHECK_OK(sdi_thread_start(&writer, overwrite_all, &r));
        while (!atomic_load(&r.begun)) sdi_thread_yield();
        for (bool all_replaced = false; !all_replaced;) {
            uint8_t seen[SHOWN] = {0};
            simdrive_iterator *iterator = NULL;
            const simdrive_entry *entry;
            uint64_t count = 0, sum = 0;
            CHECK_OK(simdrive_iterate(r.store, &iterator));
            for (; simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK; count++) sum += see(seen, entry);
            simdrive_iterator_close(iterator);
            CHECK_U64(SHOWN, count);
            all_replaced = sum == 2 * SHOWN;
        }
        sdi_thread_join(&writer);
        CHECK_OK(simdrive_close(r.store));
    }
}

static simdrive_status count_visited(void *user, unsigned thread, const simdrive_entry *entry) {
    atomic_uint *seen = user;
    value v;
    (void)thread;
    memcpy(&v, entry->data, sizeof v);
    CHECK(v.key < SHOWN);
    atomic_fetch_add(&seen[v.key], 1);
    return SIMDRIVE_OK;
}

static void a_visit_by_threads_shows_every_entry_once(void **state) {
    test_bench *b = *state;
    static atomic_uint seen[SHOWN];
    simdrive_store *store = test_open(b->path);
    write_versions(store, 0, SHOWN, 1);
    for (unsigned threads = 1; threads <= 4; threads++) {
        CHECK_OK(simdrive_visit(store, threads, count_visited, seen));
        for (size_t i = 0; i < SHOWN; i++) CHECK_U64(threads, atomic_load(&seen[i]));
    }
    CHECK_OK(simdrive_close(store));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_bench_begin, test_bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(many_entries_are_opened_as_they_were_written),
        TEST(many_entries_and_tombstones_are_opened_as_they_were_written),
        TEST(a_damaged_payload_among_many_is_found_by_opening),
        TEST(an_iteration_of_what_is_all_live_shows_its_moment),
        TEST(an_iteration_of_a_store_with_stale_entries_shows_its_moment),
        TEST(every_key_comes_once_while_the_first_entries_go_stale),
        TEST(a_visit_by_threads_shows_every_entry_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
