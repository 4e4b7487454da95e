/* SPDX-License-Identifier: Apache-2.0
 *
 * test_walk_pieces.c — a walk may be cut into pieces where the index says that entries begin, and what threads make of
 * them; and what a walk asks of the system on its way, told by a system that only notes it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "stores.h"

/* --- pieces ------------------------------------------------------------------------------------------------------ */

enum { KEYS = 4000, PIECES = 32, BLOCK = 64 };

/* Random sizes, overwrites and deletes, one payload larger than all others together. */
static void fill(simdrive_store *store, test_random *random, size_t changes) {
    enum { LARGE = 4 << 20, SMALL = 200 };
    uint8_t *payload = test_alloc(LARGE);
    memset(payload, 'p', LARGE);
    for (size_t i = 0; i < changes; i++) {
        uint64_t key = test_key_hash(test_random_below(random, KEYS));
        size_t size = i == changes / 3 ? LARGE : 1 + (size_t)test_random_below(random, SMALL);
        if (test_random_below(random, 10) > 0) CHECK_OK(simdrive_write_hash(store, key, payload, size, NULL));
        else CHECK(simdrive_delete_hash(store, key, NULL) <= SIMDRIVE_NOT_FOUND);
    }
    free(payload);
}

/* Ends of the records that a walk gives out, in order. */
static size_t ends_of(sdi_walk *walk, uint64_t *ends, size_t capacity) {
    sdi_record records[BLOCK];
    size_t count = 0, more;
    while ((more = sdi_walk_block(walk, records, BLOCK)) > 0) {
        for (size_t i = 0; i < more; i++) {
            CHECK(count < capacity);
            ends[count++] = records[i].end;
        }
    }
    CHECK(!walk->broken);
    return count;
}

static void check_pieces(simdrive_store *store, size_t capacity) {
    enum { MOST = 2 * KEYS };
    static uint64_t whole[MOST], parts[MOST], samples[PIECES * SDI_SPLIT_SAMPLES];
    sdi_walk pieces[PIECES];
    sdi_snapshot *snapshot = NULL;
    sdi_record record;
    size_t expected = 0, found = 0, more;
    CHECK_OK(sdi_snapshot_begin(store, SDI_WALK_TO_READ, &snapshot));
    size_t count = sdi_snapshot_split(snapshot, samples, pieces, capacity);
    CHECK(count >= 1 && count <= capacity);
    for (size_t i = 0; i < count; i++) found += ends_of(&pieces[i], parts + found, MOST - found);
    while (sdi_snapshot_walk(snapshot, &record, 1, &more) == SIMDRIVE_OK && more > 0) whole[expected++] = record.end;
    CHECK_U64(expected, found);
    CHECK(memcmp(whole, parts, expected * sizeof *whole) == 0);
    sdi_snapshot_end(snapshot);
}

static void pieces_of_a_walk_are_the_walk(void **state) {
    test_bench *b = *state;
    test_random random = test_random_begin(1);
    for (size_t changes = 0; changes < KEYS; changes = 2 * changes + 1) {
        simdrive_store *store = test_open(b->path);
        fill(store, &random, changes);
        for (size_t capacity = 1; capacity <= PIECES; capacity *= 2) check_pieces(store, capacity);
        CHECK_OK(simdrive_close(store));
        CHECK(remove(b->path) == 0);
    }
}

/* What the index does not know of cannot be cut off unseen: a piece that does not arrive where the next begins. */
static void a_piece_that_misses_its_end_is_broken(void **state) {
    test_bench *b = *state;
    sdi_walk walk;
    sdi_record record;
    uint64_t count = 0;
    simdrive_store *store = test_open(b->path);
    for (uint64_t i = 0; i < 100; i++) CHECK_OK(simdrive_write_hash(store, test_key_hash(i), "value", 5, NULL));
    sdi_pin *pin = sdi_pin_current(store);
    uint64_t tail = sdi_tail(pin->generation);
    sdi_walk_begin(&walk, sdi_base(pin->generation), &pin->generation->damage, tail);
    sdi_walk_end_at(&walk, tail / 2 + 1);
    while (sdi_walk_next(&walk, &record)) count++;
    CHECK(walk.broken && count < 100);
    sdi_unpin(pin, 1);
    CHECK_OK(simdrive_close(store));
}

/* --- visits ------------------------------------------------------------------------------------------------------ */

/* Their size makes chunks end in the middle of stretches, and the other way about. */
enum { VISITED = 20000, VISITED_SIZE = 150 };

typedef struct visited {
    atomic_uint seen[VISITED];
    atomic_uint count;
    unsigned let_go_at; /* the thread that meets the newest key stays there until so many were seen */
    atomic_bool held[16];
    atomic_uint stop_at;
} visited;

static simdrive_status see(void *user, unsigned thread, const simdrive_entry *entry) {
    visited *v = user;
    uint32_t key;
    CHECK(thread < sizeof v->held / sizeof *v->held && !atomic_load(&v->held[thread]));
    memcpy(&key, entry->data, sizeof key);
    CHECK(key < VISITED);
    atomic_fetch_add(&v->seen[key], 1);
    unsigned count = atomic_fetch_add(&v->count, 1) + 1;
    if (count == atomic_load(&v->stop_at)) return SIMDRIVE_ERROR_CANCELLED;
    if (key == VISITED - 1 && v->let_go_at > 0) {
        atomic_store(&v->held[thread], true);
        while (atomic_load(&v->count) < v->let_go_at) sdi_thread_yield();
        atomic_store(&v->held[thread], false);
    }
    return SIMDRIVE_OK;
}

static simdrive_store *open_filled(const char *path) {
    simdrive_store *store = test_open(path);
    uint8_t payload[VISITED_SIZE] = {0};
    for (uint32_t key = 0; key < VISITED; key++) {
        memcpy(payload, &key, sizeof key);
        CHECK_OK(simdrive_write_hash(store, test_key_hash(key), payload, sizeof payload, NULL));
    }
    return store;
}

static void a_visit_comes_to_every_entry_once(void **state) {
    test_bench *b = *state;
    simdrive_store *store = open_filled(b->path);
    for (unsigned threads = 1; threads <= 8; threads++) {
        visited *v = test_alloc(sizeof *v);
        memset(v, 0, sizeof *v);
        CHECK_OK(simdrive_visit(store, threads, see, v));
        for (size_t i = 0; i < VISITED; i++) CHECK_U64(1, atomic_load(&v->seen[i]));
        free(v);
    }
    CHECK_OK(simdrive_close(store));
}

/* Whoever is held up by an entry holds up his own chunk and nothing else. */
static void a_thread_that_stays_at_an_entry_does_not_keep_others_from_the_rest(void **state) {
    test_bench *b = *state;
    enum { CHUNK = 128 };
    simdrive_store *store = open_filled(b->path);
    for (unsigned threads = 2; threads <= 3; threads++) {
        visited *v = test_alloc(sizeof *v);
        memset(v, 0, sizeof *v);
        v->let_go_at = VISITED - CHUNK;
        CHECK_OK(simdrive_visit(store, threads, see, v));
        CHECK_U64(VISITED, atomic_load(&v->count));
        free(v);
    }
    CHECK_OK(simdrive_close(store));
}

static void a_visitor_ends_the_visit_of_all_threads(void **state) {
    test_bench *b = *state;
    simdrive_store *store = open_filled(b->path);
    for (unsigned stop_at = 1; stop_at < VISITED; stop_at = 3 * stop_at + 1) {
        visited *v = test_alloc(sizeof *v);
        memset(v, 0, sizeof *v);
        atomic_store(&v->stop_at, stop_at);
        CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_visit(store, 3, see, v));
        for (size_t i = 0; i < VISITED; i++) CHECK(atomic_load(&v->seen[i]) <= 1);
        free(v);
    }
    CHECK_OK(simdrive_close(store));
}

/* --- what is asked of the system --------------------------------------------------------------------------------- */

enum { ADVICES = 1000 };

/* A file of memory, and what was advised of it. */
static struct {
    const uint8_t *file;
    bool resident;
    struct {
        uint64_t bottom, top;
        sdi_advice advice;
    } given[ADVICES];
    size_t count;
} notes;

static bool note_advice(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)os;
    CHECK(notes.count < ADVICES);
    uint64_t bottom = (uint64_t)(address - notes.file);
    notes.given[notes.count].bottom = bottom;
    notes.given[notes.count].top = bottom + size;
    notes.given[notes.count++].advice = advice;
    return advice == SDI_ADVICE_WILL_NEED && !notes.resident;
}

/* `count` payloads of that size, as bytes of a store. */
static void image_of(test_image *image, size_t count, size_t size) {
    uint8_t *payload = test_alloc(size);
    memset(payload, 'p', size);
    for (size_t i = 0; i < count; i++) test_image_put(image, test_key_hash(i), payload, size);
    free(payload);
}

/* Walks the image; each time a block was given out, everything in it must still be there. */
static void walk_noting(const test_image *image, sdi_walk_purpose purpose, bool resident) {
    static const sdi_damage_map none = {.kind = SIMDRIVE_DAMAGE_NONE};
    sdi_os os = *sdi_os_native();
    sdi_record records[BLOCK];
    sdi_walk walk;
    size_t count = 0, more;
    os.advise = note_advice;
    notes.file = image->bytes;
    notes.resident = resident;
    notes.count = 0;
    sdi_walk_begin(&walk, image->bytes, &none, image->size);
    sdi_walk_read_ahead(&walk, &os, purpose);
    while ((more = sdi_walk_block(&walk, records, BLOCK)) > 0) {
        uint64_t lowest = sdi_record_tail(&records[0]);
        for (size_t i = 0; i < notes.count; i++) {
            if (notes.given[i].advice == SDI_ADVICE_DONT_NEED && notes.given[i].bottom < lowest)
                lowest = notes.given[i].bottom;
        }
        CHECK(lowest >= sdi_record_tail(&records[0]));
        count += more;
    }
    CHECK_U64(image->count, count);
}

/* Sums up what was advised, each byte at most once and from above. */
static uint64_t advised(sdi_advice advice) {
    uint64_t sum = 0, above = UINT64_MAX;
    for (size_t i = 0; i < notes.count; i++) {
        if (notes.given[i].advice != advice) continue;
        CHECK(notes.given[i].bottom < notes.given[i].top && notes.given[i].top <= above);
        above = notes.given[i].bottom;
        sum += notes.given[i].top - notes.given[i].bottom;
    }
    return sum;
}

static void a_walk_asks_for_all_and_lets_go_of_what_it_fetched(void **state) {
    static const size_t sizes[] = {8, 100, 4096, 100000, 5 << 20};
    enum { BYTES = 20 << 20, NOT_YET_LEFT = 16 << 20 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_image image = {0};
        image_of(&image, BYTES / (sizes[i] + 100) + 1, sizes[i]);
        walk_noting(&image, SDI_WALK_TO_READ, false);
        uint64_t asked = advised(SDI_ADVICE_WILL_NEED), let_go = advised(SDI_ADVICE_DONT_NEED);
        CHECK(sizes[i] > 4096 ? asked > 0 : asked == image.size);
        CHECK(let_go + NOT_YET_LEFT > image.size && let_go <= image.size);
        test_image_free(&image);
    }
}

static void what_is_in_memory_stays_there(void **state) {
    test_image image = {0};
    (void)state;
    image_of(&image, 5000, 2000);
    walk_noting(&image, SDI_WALK_TO_READ, true);
    CHECK(advised(SDI_ADVICE_WILL_NEED) == image.size);
    CHECK_U64(0, advised(SDI_ADVICE_DONT_NEED));
    test_image_free(&image);
}

/* Only pages with metadata are looked at then. */
static void large_payloads_are_not_asked_for_where_links_are_wanted(void **state) {
    test_image image = {0};
    (void)state;
    image_of(&image, 100, 200000);
    walk_noting(&image, SDI_WALK_TO_LINK, false);
    CHECK(advised(SDI_ADVICE_WILL_NEED) <= 3 << 18);
    test_image_free(&image);
}

/* --- compaction -------------------------------------------------------------------------------------------------- */

static atomic_ullong fetched, let_go, written_back;

static bool advise_of_cold_files(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)os;
    sdi_os_native()->advise(sdi_os_native(), address, size, advice);
    if (advice == SDI_ADVICE_WILL_NEED) atomic_fetch_add(&fetched, size);
    if (advice == SDI_ADVICE_DONT_NEED) atomic_fetch_add(&let_go, size);
    return advice == SDI_ADVICE_WILL_NEED;
}

static bool advise_of_warm_files(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    advise_of_cold_files(os, address, size, advice);
    return false;
}

static void note_write_back(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
    sdi_os_native()->begin_write_back(sdi_os_native(), file, offset, size);
    atomic_fetch_add(&written_back, size);
}

/* Half of the entries are stale, in all of the file, and one payload is longer than what is asked for together. */
static void compact_on(const char *path, sdi_os *os) {
    enum { ENTRIES = 20000, SIZE = 2000, LARGE = 9 << 20 };
    uint8_t *payload = test_alloc(LARGE);
    simdrive_store *store = NULL;
    simdrive_entry entry = {0};
    os->begin_write_back = note_write_back;
    CHECK_OK(sdi_open_with_os(os, path, NULL, &store));
    for (uint64_t i = 0; i < ENTRIES; i++) {
        size_t size = i == ENTRIES / 2 ? LARGE : SIZE;
        memset(payload, (int)(i / 2 % 251), size);
        CHECK_OK(simdrive_write_hash(store, test_key_hash(i / 2), payload, size, NULL));
        if (i == ENTRIES / 2) i++; /* so that it is live */
    }
    uint64_t before = simdrive_tail(store);
    atomic_store(&fetched, 0);
    atomic_store(&let_go, 0);
    atomic_store(&written_back, 0);
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK(simdrive_tail(store) < before * 3 / 4);
    for (uint64_t key = 0; key < ENTRIES / 2; key++) {
        CHECK_OK(simdrive_read_hash(store, test_key_hash(key), &entry));
        CHECK_U64(key == ENTRIES / 4 ? LARGE : SIZE, entry.size);
        const uint8_t *data = entry.data;
        CHECK(data[0] == key % 251 && memcmp(data, data + 1, entry.size - 1) == 0);
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    free(payload);
}

static void a_compaction_lets_go_of_a_cold_file_and_writes_back_as_it_goes(void **state) {
    test_bench *b = *state;
    enum { LEFT = 24 << 20 };
    sdi_os os = *sdi_os_native();
    os.advise = advise_of_cold_files;
    compact_on(b->path, &os);
    CHECK(atomic_load(&fetched) > 0 && atomic_load(&written_back) >= 8 << 20);
    CHECK(atomic_load(&let_go) + LEFT > atomic_load(&fetched));
}

static void a_compaction_leaves_a_file_mapped_that_is_in_memory(void **state) {
    test_bench *b = *state;
    sdi_os os = *sdi_os_native();
    os.advise = advise_of_warm_files;
    compact_on(b->path, &os);
    CHECK(atomic_load(&fetched) > 0);
    CHECK_U64(0, atomic_load(&let_go));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_bench_begin, test_bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pieces_of_a_walk_are_the_walk),
        TEST(a_piece_that_misses_its_end_is_broken),
        TEST(a_visit_comes_to_every_entry_once),
        TEST(a_thread_that_stays_at_an_entry_does_not_keep_others_from_the_rest),
        TEST(a_visitor_ends_the_visit_of_all_threads),
        cmocka_unit_test(a_walk_asks_for_all_and_lets_go_of_what_it_fetched),
        cmocka_unit_test(what_is_in_memory_stays_there),
        TEST(a_compaction_lets_go_of_a_cold_file_and_writes_back_as_it_goes),
        TEST(a_compaction_leaves_a_file_mapped_that_is_in_memory),
        cmocka_unit_test(large_payloads_are_not_asked_for_where_links_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
