/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reclaim.c — reclaiming against a model: an image of the store as it would be without (support/builder.h), and
 * which of its entries must have lost their whole pages. What is punched is compared byte by byte. Stores with
 * reclaimed entries are then cut and damaged beside the same stores without, and must show no less.
 */
#include "support/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

enum {
    PAGE = 4096,
    KEYS = 14,
    SKIPPED = 77,
    SECTOR = 512,
    FIRST_SLICE = 3 /* calls of the progress function after which something has been given back */
};

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], other[TEST_PATH_MAX];
    test_image image;
    bool *punched; /* of each record */
    size_t punched_capacity;
    size_t durable; /* tail of the last reclaim */
    test_random random;
    simdrive_store *store;
} bench;

static void bench_begin(bench *b, uint64_t seed) {
    memset(b, 0, sizeof *b);
    b->folder = test_folder_create();
    b->random = test_random_begin(seed);
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "other", b->other);
    b->store = test_open(b->path);
}

static void bench_end(bench *b) {
    if (b->store) CHECK_OK(simdrive_close(b->store));
    test_image_free(&b->image);
    free(b->punched);
    test_folder_remove(&b->folder);
}

static void put(bench *b, uint64_t key, size_t size) {
    uint8_t *payload = test_alloc(size);
    test_random_fill(&b->random, payload, size);
    if (test_random_below(&b->random, 8) == 0) memset(payload, 0, size - size / 3); /* zeros of its own */
    payload[size - 1] = 1;
    CHECK_OK(simdrive_write_hash(b->store, test_key_hash(key), payload, size, NULL));
    test_image_put(&b->image, test_key_hash(key), payload, size);
    free(payload);
}

static size_t some_size(bench *b, size_t largest) {
    size_t limit = (size_t)1 << test_random_below(&b->random, 19);
    return 1 + (size_t)test_random_below(&b->random, limit < largest ? limit : largest);
}

static void step(bench *b, size_t largest) {
    uint64_t key = test_random_below(&b->random, KEYS);
    if (test_random_below(&b->random, 6) > 0) {
        put(b, key, some_size(b, largest));
    } else if (test_image_find(&b->image, test_key_hash(key))) {
        CHECK_OK(simdrive_delete_hash(b->store, test_key_hash(key), NULL));
        test_image_delete(&b->image, test_key_hash(key));
    }
}

static bool is_newest(const test_image *image, size_t i) {
    for (size_t k = i + 1; k < image->count; k++) {
        if (image->records[k].key_hash == image->records[i].key_hash) return false;
    }
    return true;
}

/* What a reclaim at this moment must give back. */
static void mark_punched(bench *b) {
    if (b->punched_capacity < b->image.count) {
        b->punched = realloc(b->punched, b->image.count);
        CHECK(b->punched);
        memset(b->punched + b->punched_capacity, 0, b->image.count - b->punched_capacity);
        b->punched_capacity = b->image.count;
    }
    for (size_t i = 1; i < b->image.count; i++) {
        const test_record *record = &b->image.records[i];
        if (!record->tombstone && test_can_be_reclaimed(record) && !is_newest(&b->image, i)) b->punched[i] = true;
    }
}

static bool is_punched(const bench *b, size_t i) {
    return i < b->punched_capacity && b->punched[i];
}

/* The bytes that the file must have. */
static uint8_t *expected_bytes(const bench *b) {
    uint8_t *bytes = test_alloc(b->image.size);
    memcpy(bytes, b->image.bytes, b->image.size);
    for (size_t i = 0; i < b->image.count; i++) {
        if (is_punched(b, i)) test_reclaim_record(bytes, &b->image.records[i]);
    }
    return bytes;
}

static size_t punched_count(const bench *b) {
    size_t count = 0;
    for (size_t i = 0; i < b->image.count; i++) count += is_punched(b, i);
    return count;
}

static void check_verified(simdrive_store *store, size_t reclaimed) {
    simdrive_report report = {.struct_size = sizeof report};
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, &report));
    CHECK_U64(reclaimed, report.entries_reclaimed);
    CHECK_U64(0, report.entries_corrupt);
}

static void check_store(bench *b) {
    uint8_t *bytes = expected_bytes(b);
    size_t reclaimed = punched_count(b);
    CHECK(test_file_equals(b->path, bytes, b->image.size));
    test_check_shows(b->store, &b->image);
    check_verified(b->store, reclaimed);
    CHECK_OK(simdrive_close(b->store));
    simdrive_open_options options = {.struct_size = sizeof options, .verify_all = true};
    CHECK_OK(simdrive_open(b->path, &options, &b->store));
    simdrive_info info = test_info(b->store);
    CHECK_U64(SIMDRIVE_DAMAGE_NONE, info.damage);
    CHECK_U64(0, info.corrupt_entries);
    test_check_shows(b->store, &b->image);
    check_verified(b->store, reclaimed);
    free(bytes);
}

/* Leaves the test when there are no holes where the test files are. */
static void reclaim(bench *b) {
    uint64_t reclaimed;
    simdrive_status status = simdrive_reclaim(b->store, NULL, &reclaimed);
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) {
        bench_end(b);
        exit(SKIPPED);
    }
    CHECK_OK(status);
    mark_punched(b);
    b->durable = b->image.size;
}

static void what_is_stale_goes_and_the_rest_stays(void **state) {
    (void)state;
    for (uint64_t round = 0; round < (test_exhaustive() ? 60 : 8); round++) {
        test_context("round %u of random writes and reclaims", (unsigned)round);
        bench b;
        bench_begin(&b, 900 + round);
        for (size_t i = 0; i < 100; i++) {
            step(&b, 256 << 10);
            if (test_random_below(&b.random, 12) == 0) reclaim(&b);
            if (test_random_below(&b.random, 40) == 0) check_store(&b);
        }
        reclaim(&b);
        check_store(&b);
        reclaim(&b); /* holes are there already */
        check_store(&b);
        bench_end(&b);
    }
}

static uint64_t disk_bytes(const char *path) {
    sdi_file_info info;
    CHECK_OK(sdi_os_native()->path_info(sdi_os_native(), path, &info));
    return info.disk_bytes;
}

static void the_file_takes_less_of_the_disk(void **state) {
    (void)state;
    test_context("disk space of a store of replaced blobs");
    bench b;
    bench_begin(&b, 950);
    for (uint64_t i = 0; i < 16; i++) put(&b, i % 4, 1 << 20);
    CHECK_OK(simdrive_sync(b.store, NULL));
    uint64_t before = disk_bytes(b.path), reclaimed = 0, size = test_file_size(b.path);
    simdrive_status status = simdrive_reclaim(b.store, NULL, &reclaimed);
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
    CHECK_OK(status);
    mark_punched(&b);
    CHECK_U64(before - reclaimed, disk_bytes(b.path));
    CHECK(reclaimed >= 11 * ((1 << 20) - 2 * PAGE)); /* twelve are stale; one of them is the first */
    CHECK_U64(size, test_file_size(b.path));
    CHECK_OK(simdrive_reclaim(b.store, NULL, &reclaimed));
    CHECK_U64(0, reclaimed);
    check_store(&b);
    bench_end(&b);
}

/* --- refusals ---------------------------------------------------------------------------------------------------- */

static void check_refused(bench *b, simdrive_status expected) {
    size_t size;
    uint8_t *before = test_file_get(b->path, &size);
    uint64_t reclaimed = 7;
    CHECK_STATUS(expected, simdrive_reclaim(b->store, NULL, &reclaimed));
    CHECK_U64(0, reclaimed);
    CHECK(test_file_equals(b->path, before, size));
    free(before);
    put(b, 100, 10); /* nothing is stuck */
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_hash(b->store, test_key_hash(100), &entry));
    simdrive_entry_release(&entry);
}

static void whoever_may_be_looking_is_left_alone(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 960);
    for (uint64_t i = 0; i < 9; i++) put(&b, i % 3, 20000 + (size_t)i);

    test_context("an entry is held");
    simdrive_entry entry = {0}, nested = {0};
    CHECK_OK(simdrive_read_hash(b.store, test_key_hash(1), &entry));
    put(&b, 1, 30000);
    uint8_t *copy = test_alloc(entry.size);
    memcpy(copy, entry.data, entry.size);
    check_refused(&b, SIMDRIVE_ERROR_BUSY);
    CHECK(memcmp(copy, entry.data, entry.size) == 0);
    simdrive_entry_release(&entry);
    free(copy);

    test_context("an iterator is open");
    simdrive_iterator *iterator = NULL;
    CHECK_OK(simdrive_iterate(b.store, &iterator));
    check_refused(&b, SIMDRIVE_ERROR_BUSY);
    simdrive_iterator_close(iterator);

    test_context("a session is open");
    simdrive_session *session = NULL;
    CHECK_OK(simdrive_session_begin(b.store, &session));
    check_refused(&b, SIMDRIVE_ERROR_BUSY);
    simdrive_session_end(session);

    test_context("a nested store is open");
    size_t size;
    uint8_t *bytes = test_file_get(b.path, &size);
    CHECK_OK(simdrive_write(b.store, "nested", 6, bytes, size, NULL));
    free(bytes);
    simdrive_store *inner = NULL;
    CHECK_OK(simdrive_read(b.store, "nested", 6, &nested));
    CHECK_OK(simdrive_open_nested(&nested, &inner));
    simdrive_entry_release(&nested);
    check_refused(&b, SIMDRIVE_ERROR_BUSY);
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_reclaim(inner, NULL, NULL));
    CHECK_OK(simdrive_close(inner));

    test_context("a reader has the file open");
    simdrive_store *reader = test_open_read_only(b.path);
    check_refused(&b, SIMDRIVE_ERROR_BUSY);
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_reclaim(reader, NULL, NULL));
    CHECK_OK(simdrive_close(reader));

    test_context("a stream is open");
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin(b.store, "s", 1, 0, &stream));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_reclaim(b.store, NULL, NULL));
    simdrive_stream_abort(stream);
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_reclaim(NULL, NULL, NULL));

    test_context("nobody is there");
    uint64_t reclaimed;
    simdrive_status status = simdrive_reclaim(b.store, NULL, &reclaimed);
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
    CHECK_OK(status);
    CHECK(reclaimed > 0);
    bench_end(&b);
}

typedef struct pipes {
    bench *b;
    int to_child[2], to_parent[2];
} pipes;

static void a_reading_process(void *user) {
    pipes *p = user;
    char byte = 0;
    simdrive_store *reader = test_open_read_only(p->b->path);
    CHECK(write(p->to_parent[1], "r", 1) == 1);
    CHECK(read(p->to_child[0], &byte, 1) == 1);
    test_check_shows(reader, &p->b->image);
    CHECK_OK(simdrive_close(reader));
}

static void a_reading_process_is_left_alone(void **state) {
    (void)state;
    test_context("another process reads");
    bench b;
    bench_begin(&b, 970);
    for (uint64_t i = 0; i < 9; i++) put(&b, i % 3, 50000);
    CHECK_OK(simdrive_close(b.store));
    b.store = NULL;
    pipes p = {.b = &b};
    CHECK(pipe(p.to_child) == 0 && pipe(p.to_parent) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        close(p.to_child[1]); /* so that it ends when its parent does */
        a_reading_process(&p);
        _exit(0);
    }
    char byte;
    CHECK(read(p.to_parent[0], &byte, 1) == 1);
    b.store = test_open(b.path);
    uint8_t *before = expected_bytes(&b);
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_reclaim(b.store, NULL, NULL));
    CHECK(test_file_equals(b.path, before, b.image.size));
    free(before);
    CHECK(write(p.to_child[1], "g", 1) == 1);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    reclaim(&b);
    check_store(&b);
    for (int i = 0; i < 2; i++) {
        close(p.to_child[i]);
        close(p.to_parent[i]);
    }
    bench_end(&b);
}

/* --- damage beside reclaimed entries ----------------------------------------------------------------------------- */

/* What a file shows, opened for reading with all checksums looked at. */
typedef struct sight {
    simdrive_status opened;
    simdrive_status as_writer;
    simdrive_damage damage;
    uint64_t tail;
    simdrive_status keys[KEYS];
    uint64_t sizes[KEYS];
    uint32_t checksums[KEYS]; /* of what was read, computed */
} sight;

static void look(const char *path, const uint8_t *bytes, size_t size, sight *out) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .verify_all = true};
    simdrive_open_options writing = {.struct_size = sizeof writing, .must_exist = true};
    simdrive_store *store = NULL;
    memset(out, 0, sizeof *out);
    test_file_put(path, bytes, size);
    out->as_writer = simdrive_open(path, &writing, &store);
    if (out->as_writer == SIMDRIVE_OK) CHECK_OK(simdrive_close(store));
    out->opened = simdrive_open(path, &options, &store);
    CHECK(test_file_equals(path, bytes, size));
    if (out->opened != SIMDRIVE_OK) return;
    simdrive_info info = test_info(store);
    out->damage = info.damage;
    out->tail = info.tail;
    for (uint64_t key = 0; key < KEYS; key++) {
        simdrive_entry entry = {0};
        out->keys[key] = simdrive_read_hash(store, test_key_hash(key), &entry);
        if (out->keys[key] != SIMDRIVE_OK) continue;
        out->sizes[key] = entry.size;
        out->checksums[key] = test_crc(SIMDRIVE_CHECKSUM_CRC32C, entry.data, entry.size);
        simdrive_entry_release(&entry);
    }
    simdrive_status verdict = simdrive_verify(store, NULL, NULL, NULL, NULL);
    CHECK(verdict == SIMDRIVE_OK || verdict == SIMDRIVE_ERROR_CORRUPT);
    CHECK_OK(simdrive_close(store));
}

static bool same_value(const sight *a, const sight *b, uint64_t key) {
    return a->keys[key] == b->keys[key] && a->sizes[key] == b->sizes[key] && a->checksums[key] == b->checksums[key];
}

/* Small enough for many damages, with reclaimed entries of one page and of many, side by side and apart. */
static void bench_of_damages(bench *b, uint64_t seed) {
    bench_begin(b, seed);
    for (size_t i = 0; i < 40; i++) step(b, 24 << 10);
    reclaim(b);
    for (size_t i = 0; i < 6; i++) step(b, 9000);
}

/* Whatever is damaged: only bytes that were written under that key are read. */
static void check_honest(bench *b, uint8_t *bytes, size_t size) {
    sight seen;
    look(b->other, bytes, size, &seen);
    for (uint64_t key = 0; key < KEYS; key++) {
        bool known = seen.keys[key] != SIMDRIVE_OK;
        for (size_t i = 0; i < b->image.count && !known; i++) {
            const test_record *record = &b->image.records[i];
            known = record->checksum == seen.checksums[key] && test_record_size(record) == seen.sizes[key];
        }
        CHECK(known);
    }
}

/* Every live value that can be read in spite of some damage can be read as well when there are reclaimed entries. */
static void compare_damaged(bench *b, uint8_t *without, uint8_t *with, size_t size, bool one_entry) {
    sight plain, punched, whole;
    look(b->other, without, size, &plain);
    look(b->other, with, size, &punched);
    look(b->other, b->image.bytes, b->image.size, &whole);
    if (plain.opened == SIMDRIVE_OK) CHECK_OK(punched.opened);
    if (plain.as_writer == SIMDRIVE_OK && plain.tail >= b->durable) CHECK_OK(punched.as_writer);
    for (uint64_t key = 0; key < KEYS && plain.opened == SIMDRIVE_OK; key++) {
        if (whole.keys[key] == SIMDRIVE_OK && same_value(&plain, &whole, key))
            CHECK(same_value(&punched, &whole, key));
        /* An old value does not come back where damage was told, unless neighbours were damaged with it. */
        if (one_entry && plain.keys[key] == SIMDRIVE_ERROR_CORRUPT) CHECK(punched.keys[key] == SIMDRIVE_ERROR_CORRUPT);
    }
}

typedef void (*damage_maker)(bench *b, test_random *random, uint8_t *bytes, size_t *size);

static size_t some_record(bench *b, test_random *random) {
    return (size_t)test_random_below(random, b->image.count);
}

static void flip_in_metadata(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    const test_record *record = &b->image.records[some_record(b, random)];
    size_t at = record->end + (size_t)test_random_below(random, TEST_METADATA_SIZE);
    (void)size;
    bytes[at] ^= (uint8_t)(1u << test_random_below(random, 8));
}

static void flip_in_payload(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    const test_record *record = &b->image.records[some_record(b, random)];
    (void)size;
    bytes[record->start + (size_t)test_random_below(random, test_record_size(record))] ^= 0x10;
}

static void lose_a_sector(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    size_t sector = (size_t)test_random_below(random, b->image.size / SECTOR) * SECTOR;
    if (test_random_below(random, 2))
        memset(bytes + sector, 0, SECTOR);
    else
        memset(bytes + sector, 0xA5, SECTOR);
    (void)size;
}

static void cut_the_last_entry(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    size_t last = b->image.size - b->image.records[b->image.count - 1].prev;
    *size = b->image.size - (size_t)test_random_below(random, last);
    (void)bytes;
}

/* As a loss of power leaves what was not synced. */
static void lose_new_sectors(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    (void)size;
    for (size_t at = b->durable; at < b->image.size;) {
        size_t next = (at / SECTOR + 1) * SECTOR;
        if (next > b->image.size) next = b->image.size;
        if (test_random_below(random, 4) == 0) memset(bytes + at, 0, next - at);
        at = next;
    }
}

static void two_damages(bench *b, test_random *random, uint8_t *bytes, size_t *size) {
    flip_in_metadata(b, random, bytes, size);
    (test_random_below(random, 2) ? flip_in_metadata : flip_in_payload)(b, random, bytes, size);
}

/* The same damage to both. Of two at once nothing is promised but that no wrong bytes are given out. */
static void compare_with(bench *b, damage_maker damage, test_random random) {
    uint8_t *without = test_alloc(b->image.size), *with = expected_bytes(b);
    size_t size = b->image.size, other_size = b->image.size;
    test_random again = random;
    memcpy(without, b->image.bytes, b->image.size);
    damage(b, &random, without, &size);
    damage(b, &again, with, &other_size);
    if (damage == two_damages)
        check_honest(b, with, size);
    else
        compare_damaged(b, without, with, size, damage == flip_in_metadata || damage == flip_in_payload);
    free(without);
    free(with);
}

static const struct {
    const char *name;
    damage_maker make;
} DAMAGES[] = {
    {"a flipped bit in metadata", flip_in_metadata}, {"a flipped bit in a payload", flip_in_payload},
    {"a lost sector", lose_a_sector},                {"a torn last entry", cut_the_last_entry},
    {"sectors that were never written", lose_new_sectors}, {"two damages", two_damages},
};

static void damage_takes_no_more_than_without_reclaim(void **state) {
    (void)state;
    for (uint64_t round = 0; round < (test_exhaustive() ? 40 : 4); round++) {
        bench b;
        bench_of_damages(&b, 1000 + round);
        for (size_t kind = 0; kind < sizeof DAMAGES / sizeof *DAMAGES; kind++) {
            for (size_t sample = 0; sample < 60; sample++) {
                test_context("round %u, %s, sample %zu", (unsigned)round, DAMAGES[kind].name, sample);
                test_random random = b.random;
                random.state += kind * 1000 + sample;
                compare_with(&b, DAMAGES[kind].make, random);
            }
        }
        bench_end(&b);
    }
}

/* Each bit of each link, which a reclaimed entry cannot prove by its checksum. */
static void each_bit_of_each_link_may_flip(void **state) {
    (void)state;
    bench b;
    bench_of_damages(&b, 1100);
    uint8_t *without = test_alloc(b.image.size), *with = expected_bytes(&b);
    memcpy(without, b.image.bytes, b.image.size);
    for (size_t i = 0; i < b.image.count; i++) {
        for (unsigned bit = 0; bit < 24; bit++) {
            test_context("bit %u of the link of entry %zu", bit, i);
            size_t at = b.image.records[i].end + 8 + bit / 8;
            without[at] ^= (uint8_t)(1u << bit % 8);
            with[at] ^= (uint8_t)(1u << bit % 8);
            compare_damaged(&b, without, with, b.image.size, true);
            without[at] ^= (uint8_t)(1u << bit % 8);
            with[at] ^= (uint8_t)(1u << bit % 8);
        }
    }
    free(without);
    free(with);
    bench_end(&b);
}

/* The first entries of a cut store: one whose payload is gone is there like any other, and damaged when it is live now.
 */
static void check_prefix(bench *b, const uint8_t *bytes, size_t size) {
    size_t count = test_image_complete(&b->image, size);
    sight seen;
    look(b->other, bytes, size, &seen);
    if (count == 0) return;
    test_view view;
    test_view_build(&view, &b->image, count);
    CHECK_OK(seen.opened);
    CHECK_U64(view.tail, seen.tail);
    CHECK(seen.damage <= SIMDRIVE_DAMAGE_TAIL);
    for (uint64_t key = 0; key < KEYS; key++) {
        const test_record *newest = NULL;
        for (size_t i = 0; i < view.live_count; i++) {
            if (view.live[i]->key_hash == test_key_hash(key)) newest = view.live[i];
        }
        if (!newest) {
            CHECK_STATUS(SIMDRIVE_NOT_FOUND, seen.keys[key]);
        } else if (is_punched(b, (size_t)(newest - b->image.records))) {
            CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, seen.keys[key]);
        } else {
            CHECK_OK(seen.keys[key]);
            CHECK_U64(newest->checksum, seen.checksums[key]);
        }
    }
    test_view_free(&view);
}

static void every_prefix_shows_what_is_intact_in_it(void **state) {
    (void)state;
    for (uint64_t round = 0; round < (test_exhaustive() ? 30 : 3); round++) {
        bench b;
        bench_of_damages(&b, 1200 + round);
        uint8_t *bytes = expected_bytes(&b);
        for (size_t i = 0; i < b.image.count; i++) {
            size_t tail = b.image.records[i].tail;
            const int around[] = {-TEST_METADATA_SIZE - 1, -TEST_METADATA_SIZE, -9, -1, 0, 1, 70};
            for (size_t k = 0; k < sizeof around / sizeof *around; k++) {
                size_t size = (size_t)((int64_t)tail + around[k]);
                if (size > b.image.size) continue;
                test_context("round %u, %zu bytes, %d from the end of entry %zu", (unsigned)round, size, around[k], i);
                check_prefix(&b, bytes, size);
            }
        }
        free(bytes);
        bench_end(&b);
    }
}

/* --- beside the rest --------------------------------------------------------------------------------------------- */

static void compaction_backup_and_salvage_go_on(void **state) {
    (void)state;
    test_context("compaction, backup and salvage of a reclaimed store");
    bench b;
    bench_begin(&b, 1300);
    for (size_t i = 0; i < 80; i++) step(&b, 64 << 10);
    reclaim(&b);
    uint8_t *bytes = expected_bytes(&b);
    size_t reclaimed = punched_count(&b);
    CHECK(reclaimed > 0);

    CHECK_OK(simdrive_backup(b.store, b.other, NULL, NULL));
    CHECK(test_file_equals(b.other, bytes, b.image.size));
    simdrive_store *backup = test_open(b.other);
    test_check_shows(backup, &b.image);
    check_verified(backup, reclaimed);
    CHECK_OK(simdrive_close(backup));
    CHECK(unlink(b.other) == 0);

    simdrive_report report = {.struct_size = sizeof report};
    CHECK_OK(simdrive_salvage(b.path, b.other, NULL, NULL, NULL, &report));
    CHECK_U64(reclaimed, report.entries_reclaimed);
    CHECK_U64(0, report.entries_corrupt);
    test_image compacted;
    test_image_clone(&b.image, &compacted);
    test_image_compact(&compacted);
    test_check_file(b.other, &compacted);

    CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    test_check_shows(b.store, &compacted);
    CHECK(test_file_equals(b.path, compacted.bytes, compacted.size));
    CHECK_OK(simdrive_reclaim(b.store, NULL, NULL));
    CHECK(test_file_equals(b.path, compacted.bytes, compacted.size));
    test_image_free(&compacted);
    free(bytes);
    bench_end(&b);
}

typedef struct work_watch {
    bench *b;
    simdrive_store *reader;
    uint64_t calls, stop_at, last_done;
} work_watch;

static simdrive_status watch_work(void *user, uint64_t done, uint64_t total) {
    work_watch *watch = user;
    CHECK(done <= total && done >= watch->last_done);
    watch->last_done = done;
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact(watch->b->store, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_reclaim(watch->b->store, NULL, NULL));
    CHECK_OK(simdrive_compact_wait(watch->b->store, UINT32_MAX, NULL)); /* that is none, to be waited for */
    if (++watch->calls == 1) put(watch->b, 0, 9000); /* a writer has his turn: what he replaces stays for once */
    if (watch->stop_at == 0 && watch->calls == FIRST_SLICE) watch->reader = test_open_read_only(watch->b->path);
    return watch->stop_at == watch->calls ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK;
}

static void a_long_reclaim_gives_turns_and_can_be_stopped(void **state) {
    (void)state;
    for (uint64_t pass = 0; pass < 3; pass++) {
        uint64_t stop_at = pass > 0 ? FIRST_SLICE + pass : 0;
        test_context("reclaim in slices, %s", stop_at ? "cancelled" : "ended by a reader");
        bench b;
        bench_begin(&b, 1400);
        for (uint64_t i = 0; i < 40; i++) put(&b, i % 5, 2 << 20);
        work_watch watch = {.b = &b, .stop_at = stop_at};
        simdrive_work_options options = {.struct_size = sizeof options, .progress = watch_work, .user = &watch};
        uint64_t reclaimed;
        simdrive_status status = simdrive_reclaim(b.store, &options, &reclaimed);
        if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
        CHECK_STATUS(stop_at ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_ERROR_BUSY, status);
        CHECK(reclaimed > 0 && reclaimed < 34 * (UINT64_C(2) << 20));
        if (watch.reader) test_check_shows(watch.reader, &b.image);
        CHECK_OK(simdrive_close(watch.reader));
        test_check_shows(b.store, &b.image);
        CHECK_OK(simdrive_verify(b.store, NULL, NULL, NULL, NULL));
        reclaim(&b);
        check_store(&b);
        bench_end(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stale_goes_and_the_rest_stays),
        cmocka_unit_test(the_file_takes_less_of_the_disk),
        cmocka_unit_test(whoever_may_be_looking_is_left_alone),
        cmocka_unit_test(a_reading_process_is_left_alone),
        cmocka_unit_test(damage_takes_no_more_than_without_reclaim),
        cmocka_unit_test(each_bit_of_each_link_may_flip),
        cmocka_unit_test(every_prefix_shows_what_is_intact_in_it),
        cmocka_unit_test(compaction_backup_and_salvage_go_on),
        cmocka_unit_test(a_long_reclaim_gives_turns_and_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
