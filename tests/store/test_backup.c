/* SPDX-License-Identifier: Apache-2.0
 *
 * test_backup.c — a backup has the store's bytes: copied, brought up to date step by step, or put together from
 * streams, while others write and compact. What is no earlier state of the store is refused and stays as it is. Holes
 * stay holes, and nothing is lost where the system calls something a hole that is none.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "support/stores.h"

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], backup[TEST_PATH_MAX], other[TEST_PATH_MAX];
    test_random random;
} bench;

static int begin(void **state) {
    bench *b = calloc(1, sizeof *b);
    CHECK(b);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "backup", b->backup);
    test_path(&b->folder, "other", b->other);
    b->random = test_random_begin(900);
    *state = b;
    return 0;
}

static int end(void **state) {
    bench *b = *state;
    test_folder_remove(&b->folder);
    free(b);
    return 0;
}

static simdrive_report empty_report(void) {
    return (simdrive_report){.struct_size = sizeof(simdrive_report)};
}

static void check_same_files(const char *a, const char *b) {
    size_t size;
    uint8_t *bytes = test_file_get(a, &size);
    CHECK(bytes);
    CHECK_U64(size, test_file_size(b));
    CHECK(test_file_equals(b, bytes, size));
    free(bytes);
}

/* What a sink was given. */
typedef struct collected {
    uint8_t *bytes;
    size_t size, capacity;
    size_t fail_at; /* call that fails; 0: none */
    size_t calls;
} collected;

static simdrive_status collect(void *user, const void *data, size_t size) {
    collected *c = user;
    CHECK(size > 0);
    if (++c->calls == c->fail_at) return SIMDRIVE_ERROR_BUSY;
    if (c->size + size > c->capacity) {
        c->capacity = 2 * (c->size + size);
        c->bytes = realloc(c->bytes, c->capacity);
        CHECK(c->bytes);
    }
    memcpy(c->bytes + c->size, data, size);
    c->size += size;
    return SIMDRIVE_OK;
}

static void image_to_file(const test_image *image, const char *path) {
    test_file_put(path, image->bytes, image->size);
}

/* --- chains of updates ------------------------------------------------------------------------------------------- */

static void change_something(simdrive_store *store, test_random *random) {
    static uint8_t payload[20000];
    uint64_t what = test_random_below(random, 10), key = test_random_below(random, 30);
    size_t size = 1 + test_random_below(random, test_random_below(random, 4) ? 200 : sizeof payload - 1);
    test_random_fill(random, payload, size);
    payload[0] |= 1;
    if (what < 6) {
        CHECK_OK(simdrive_write_hash(store, key, payload, size, NULL));
    } else if (what < 8) {
        simdrive_status status = simdrive_delete_hash(store, key, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_NOT_FOUND);
    } else {
        uint64_t hashes[3] = {key, key + 1, key + 2};
        simdrive_bytes payloads[3] = {{payload, size}, {payload, 1}, {payload, 1 + size / 2}};
        CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, 3, NULL));
    }
}

static uint64_t entries_of(simdrive_store *store) {
    simdrive_info info = test_info(store);
    return info.entries + info.stale_entries + info.tombstones;
}

static void a_chain_of_updates_equals_the_store(void **state) {
    bench *b = *state;
    for (size_t history = 0; history < (test_exhaustive() ? 100 : 12); history++) {
        simdrive_store *store = test_open(b->path);
        bool empty = test_random_below(&b->random, 2);
        if (empty) test_file_put(b->backup, "\0\0\0", test_random_below(&b->random, 2) * 3);
        else CHECK_OK(simdrive_backup(store, b->backup, NULL, NULL));
        uint64_t tail = 0, entries = 0;
        for (size_t step = 0; step < 25; step++) {
            test_context("history %zu, update %zu, %s", history, step, empty ? "from empty" : "from a copy");
            for (uint64_t n = test_random_below(&b->random, 6); n > 0; n--) change_something(store, &b->random);
            simdrive_report report = empty_report();
            CHECK_OK(simdrive_backup_update(store, b->backup, NULL, &report));
            CHECK_U64(simdrive_tail(store) - tail, report.bytes_written);
            CHECK_U64(entries_of(store) - entries, report.entries_written);
            tail = simdrive_tail(store);
            entries = entries_of(store);
            if (tail > 0) check_same_files(b->path, b->backup);
            CHECK_U64(0, test_folder_count(&b->folder, "backup.", NULL));
        }
        CHECK_OK(simdrive_close(store));
        store = test_open_read_only(b->path);
        CHECK_OK(simdrive_backup_update(store, b->backup, NULL, NULL));
        CHECK_OK(simdrive_close(store));
        CHECK(unlink(b->path) == 0 && unlink(b->backup) == 0);
    }
}

static void nothing_new_writes_nothing(void **state) {
    bench *b = *state;
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_TEXT, 20, 100, &b->random);
    image_to_file(&image, b->path);
    image_to_file(&image, b->backup);
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
    CHECK(utimensat(AT_FDCWD, b->backup, long_ago, 0) == 0);
    simdrive_store *store = test_open(b->path);
    simdrive_report report = empty_report();
    CHECK_OK(simdrive_backup_update(store, b->backup, NULL, &report));
    CHECK_U64(0, report.bytes_written);
    CHECK_U64(0, report.entries_written);
    struct stat found;
    CHECK(stat(b->backup, &found) == 0);
    CHECK(found.st_mtim.tv_sec == 2000 && found.st_mtim.tv_nsec == 5);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

/* What an interrupted update, or anything else, has left behind the last entry. */
static void what_lies_behind_the_last_entry_is_cut_off(void **state) {
    bench *b = *state;
    uint8_t rubbish[3000];
    test_random_fill(&b->random, rubbish, sizeof rubbish);
    for (size_t size = 1; size < sizeof rubbish; size += 1 + size / 3) {
        test_context("%zu bytes of rubbish", size);
        test_image image = {0};
        test_image_generate(&image, TEST_SHAPE_RANDOM, 20, 100, &b->random);
        image_to_file(&image, b->path);
        size_t tail = image.records[10].tail;
        test_file_put(b->backup, image.bytes, tail);
        test_file_append(b->backup, rubbish, size);
        simdrive_store *store = test_open(b->path);
        simdrive_report report = empty_report();
        CHECK_OK(simdrive_backup_update(store, b->backup, NULL, &report));
        CHECK_U64(image.size - tail, report.bytes_written);
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        CHECK_U64(0, test_folder_count(&b->folder, "backup.tail", NULL));
        CHECK_OK(simdrive_close(store));
        test_image_free(&image);
    }
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

/* All that is streamed since `since` is what the image has there. */
static void check_stream(simdrive_store *store, const test_image *image, const simdrive_position *since) {
    collected got = {0};
    simdrive_position at = {1, 1}, now;
    simdrive_report report = empty_report();
    size_t from = since ? (size_t)since->offset : 0;
    CHECK_OK(simdrive_backup_stream(store, since, collect, &got, NULL, &at, &report));
    CHECK_U64(image->size - from, got.size);
    CHECK(got.size == 0 || memcmp(got.bytes, image->bytes + from, got.size) == 0);
    CHECK_U64(got.size, report.bytes_written);
    CHECK_U64(image->count - test_image_complete(image, from), report.entries_written);
    CHECK_OK(simdrive_get_position(store, &now));
    CHECK(at.offset == now.offset && at.check == now.check);
    free(got.bytes);
}

static bool is_tail(const test_image *image, size_t offset) {
    for (size_t i = 0; i < image->count; i++) {
        if (image->records[i].tail == offset) return true;
    }
    return offset == 0;
}

/* Every offset, without a check. */
static void check_all_offsets(simdrive_store *store, const test_image *image) {
    for (size_t offset = 0; offset <= image->size + 100; offset++) {
        test_context("stream since %zu", offset);
        simdrive_position since = {offset, 0}, at = {1, 1};
        if (is_tail(image, offset)) {
            check_stream(store, image, &since);
            continue;
        }
        collected got = {0};
        CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET,
                     simdrive_backup_stream(store, &since, collect, &got, NULL, &at, NULL));
        CHECK(at.offset == 0 && at.check == 0 && got.calls == 0);
    }
}

static void every_position_and_the_bytes_before_it_make_the_store(void **state) {
    bench *b = *state;
    for (int shape = 0; shape < TEST_SHAPE_COUNT; shape++) {
        test_image image = {0};
        test_image_generate(&image, (test_shape)shape, 25, 60, &b->random);
        image_to_file(&image, b->path);
        simdrive_store *store = test_open_read_only(b->path);
        test_context("%s: from the beginning", test_shape_name((test_shape)shape));
        check_stream(store, &image, NULL);
        check_all_offsets(store, &image);
        CHECK_OK(simdrive_close(store));
        test_image_free(&image);
    }
}

/* Positions are taken while the store grows; each of them has its check, and no other. */
static void positions_are_known_again_until_a_compaction(void **state) {
    enum { POSITIONS = 20 };
    bench *b = *state;
    simdrive_position positions[POSITIONS];
    simdrive_store *store = test_open(b->path);
    for (size_t i = 0; i < POSITIONS; i++) {
        CHECK_OK(simdrive_get_position(store, &positions[i]));
        change_something(store, &b->random);
        CHECK_OK(simdrive_write_hash(store, 1, "again", 5, NULL));
    }
    test_image image = {0};
    size_t size;
    uint8_t *bytes = test_file_get(b->path, &size);
    test_image_parse(&image, bytes, size);
    for (size_t i = 0; i < POSITIONS; i++) {
        test_context("position %zu", i);
        check_stream(store, &image, &positions[i]);
        simdrive_position wrong = {positions[i].offset, positions[i].check ^ 1};
        CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET,
                     simdrive_backup_stream(store, &wrong, collect, &(collected){0}, NULL, NULL, NULL));
    }
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    for (size_t i = 0; i < POSITIONS; i++) {
        CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET,
                     simdrive_backup_stream(store, &positions[i], collect, &(collected){0}, NULL, NULL, NULL));
    }
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    free(bytes);
}

static simdrive_status stop_progress(void *user, uint64_t done, uint64_t total) {
    CHECK(done <= total);
    return --*(int *)user < 0 ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK;
}

/* A store of several buffers: given up at each of them, by the sink and by progress. */
static void a_stream_is_given_up_when_the_sink_says_so(void **state) {
    bench *b = *state;
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_ONE_BIG, 50, 200000, &b->random);
    image_to_file(&image, b->path);
    simdrive_store *store = test_open(b->path);
    size_t calls = image.size / (1 << 20) + 1;
    for (size_t n = 1; n <= calls; n++) {
        collected got = {.fail_at = n};
        simdrive_position at = {1, 1};
        simdrive_report report = empty_report();
        CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_backup_stream(store, NULL, collect, &got, NULL, &at, &report));
        CHECK_U64(n, got.calls);
        CHECK(at.offset == 0 && at.check == 0 && report.bytes_written == 0);
        free(got.bytes);
    }
    int allowed = 0;
    simdrive_work_options work = {sizeof work, stop_progress, &allowed};
    collected got = {0};
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_backup_stream(store, NULL, collect, &got, &work, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_backup(store, b->backup, &work, NULL));
    CHECK(!test_file_exists(b->backup));
    size_t tail = image.records[0].tail;
    test_file_put(b->backup, image.bytes, tail);
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_backup_update(store, b->backup, &work, NULL));
    CHECK(test_file_equals(b->backup, image.bytes, tail));
    free(got.bytes);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

static void stores_in_memory_are_backed_up(void **state) {
    bench *b = *state;
    test_image image = {0}, outer = {0};
    test_image_generate(&image, TEST_SHAPE_TOMBSTONES, 30, 100, &b->random);
    size_t alignment = simdrive_alignment();
    uint8_t *aligned = aligned_alloc(alignment, (image.size + alignment - 1) / alignment * alignment);
    CHECK(aligned);
    memcpy(aligned, image.bytes, image.size);
    test_image_put(&outer, 5, image.bytes, image.size);
    image_to_file(&outer, b->other);
    simdrive_store *stores[2], *file = test_open(b->other);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_open_memory(aligned, image.size, &stores[0]));
    CHECK_OK(simdrive_read_hash(file, 5, &entry));
    CHECK_OK(simdrive_open_nested(&entry, &stores[1]));
    for (size_t i = 0; i < 2; i++) {
        test_context("%s", i ? "nested" : "in memory");
        check_stream(stores[i], &image, NULL);
        check_stream(stores[i], &image, &(simdrive_position){image.records[7].tail, 0});
        CHECK_OK(simdrive_backup(stores[i], b->backup, NULL, NULL));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        test_file_truncate(b->backup, image.records[3].tail);
        CHECK_OK(simdrive_backup_update(stores[i], b->backup, NULL, NULL));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        CHECK(unlink(b->backup) == 0);
        CHECK_OK(simdrive_close(stores[i]));
    }
    simdrive_entry_release(&entry);
    CHECK_OK(simdrive_close(file));
    free(aligned);
    test_image_free(&image);
    test_image_free(&outer);
}

/* --- what is refused --------------------------------------------------------------------------------------------- */

static void check_refused(bench *b, simdrive_status expected) {
    size_t size;
    uint8_t *bytes = test_file_get(b->backup, &size);
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    CHECK(bytes && utimensat(AT_FDCWD, b->backup, long_ago, 0) == 0);
    simdrive_store *store = test_open(b->path);
    simdrive_report report = empty_report();
    CHECK_STATUS(expected, simdrive_backup_update(store, b->backup, NULL, &report));
    CHECK_U64(0, report.bytes_written);
    CHECK_OK(simdrive_close(store));
    struct stat found;
    CHECK(test_file_equals(b->backup, bytes, size) && stat(b->backup, &found) == 0);
    CHECK_U64(2000, found.st_mtim.tv_sec);
    CHECK_U64(0, test_folder_count(&b->folder, "backup.", NULL));
    free(bytes);
}

static void what_is_no_earlier_state_is_refused_and_untouched(void **state) {
    bench *b = *state;
    test_image image = {0}, longer, other = {0};
    test_image_generate(&image, TEST_SHAPE_TOMBSTONES, 40, 100, &b->random);
    image_to_file(&image, b->path);

    test_context("the backup is ahead");
    test_image_clone(&image, &longer);
    test_image_put(&longer, 1, "more", 4);
    image_to_file(&longer, b->backup);
    check_refused(b, SIMDRIVE_ERROR_STALE_OFFSET);

    test_context("another store");
    test_image_generate(&other, TEST_SHAPE_TEXT, 10, 100, &b->random);
    image_to_file(&other, b->backup);
    check_refused(b, SIMDRIVE_ERROR_STALE_OFFSET);

    test_context("one payload is another one of the same size");
    test_image_free(&other);
    for (size_t i = 0; i < 20; i++) {
        const test_record *record = &image.records[i];
        size_t size = test_record_size(record);
        uint8_t *payload = test_alloc(size);
        memcpy(payload, image.bytes + record->start, size);
        payload[size / 2] ^= i == 9 ? 4 : 0;
        if (record->tombstone) test_image_delete(&other, record->key_hash);
        else test_image_put(&other, record->key_hash, payload, size);
        free(payload);
    }
    bool differs = memcmp(other.bytes, image.bytes, other.size) != 0;
    image_to_file(&other, b->backup);
    if (differs) check_refused(b, SIMDRIVE_ERROR_STALE_OFFSET);

    test_context("not a store");
    test_file_put(b->backup, "this is no store, but a text of some length", 43);
    check_refused(b, SIMDRIVE_ERROR_NOT_A_STORE);

    test_context("a first write that was interrupted");
    uint8_t mark[100] = {0};
    memcpy(mark, sdi_first_write_mark, sizeof sdi_first_write_mark);
    memset(mark + 8, 'x', sizeof mark - 8);
    test_file_put(b->backup, mark, sizeof mark);
    check_refused(b, SIMDRIVE_ERROR_STALE_OFFSET);

    test_context("the store was compacted");
    test_file_put(b->backup, image.bytes, image.records[30].tail);
    test_image_compact(&image);
    image_to_file(&image, b->path);
    check_refused(b, SIMDRIVE_ERROR_STALE_OFFSET);
    test_image_free(&image);
    test_image_free(&longer);
    test_image_free(&other);
}

static bool in_padding(const test_image *image, size_t at) {
    for (size_t i = 0; i < image->count; i++) {
        if (at >= image->records[i].prev && at < image->records[i].start) return true;
    }
    return false;
}

/* Each bit of a backup: it is refused and stays as it is, or the damage is gone. */
static void a_damaged_backup_is_refused_or_mended(void **state) {
    bench *b = *state;
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_TOMBSTONES, 14, 60, &b->random);
    image_to_file(&image, b->path);
    size_t size = image.records[10].tail, mended = 0, refused = 0;
    simdrive_store *store = test_open(b->path);
    uint8_t *damaged = test_alloc(size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        if (in_padding(&image, bit / 8)) continue;
        test_context("bit %zu of byte %zu", bit % 8, bit / 8);
        memcpy(damaged, image.bytes, size);
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        test_file_put(b->backup, damaged, size);
        simdrive_status status = simdrive_backup_update(store, b->backup, NULL, NULL);
        if (status == SIMDRIVE_OK) {
            CHECK(test_file_equals(b->backup, image.bytes, image.size));
            CHECK(bit / 8 >= image.records[10].prev); /* the last entry looked unfinished */
            mended++;
        } else {
            CHECK(status == SIMDRIVE_ERROR_STALE_OFFSET || status == SIMDRIVE_ERROR_CORRUPT);
            CHECK(test_file_equals(b->backup, damaged, size));
            refused++;
        }
    }
    CHECK(mended > 0 && refused > mended);
    free(damaged);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

static void a_damaged_store_is_copied_as_it_is_and_updates_nothing(void **state) {
    bench *b = *state;
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_RANDOM, 30, 100, &b->random);
    test_file_put(b->backup, image.bytes, image.records[5].tail);
    image.bytes[image.records[12].end + 8] ^= 0x40; /* a link */
    image_to_file(&image, b->path);
    simdrive_store *store = test_open_read_only(b->path);
    simdrive_report report = empty_report();
    CHECK_U64(SIMDRIVE_DAMAGE_MIDDLE, test_info(store).damage);
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_backup_update(store, b->backup, NULL, NULL));
    CHECK(test_file_equals(b->backup, image.bytes, image.records[5].tail));
    CHECK_OK(simdrive_backup(store, b->other, NULL, &report));
    CHECK_U64(SIMDRIVE_DAMAGE_MIDDLE, report.damage);
    CHECK(test_file_equals(b->other, image.bytes, image.size));
    check_stream(store, &image, &(simdrive_position){image.records[20].tail, 0});
    check_stream(store, &image, &(simdrive_position){image.records[3].tail, 0});
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

static void the_store_itself_and_what_is_locked_are_refused(void **state) {
    bench *b = *state;
    char link_path[TEST_PATH_MAX];
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_TEXT, 10, 50, &b->random);
    image_to_file(&image, b->path);
    CHECK(symlink(b->path, test_path(&b->folder, "link", link_path)) == 0);
    CHECK(link(b->path, b->other) == 0);
    for (int read_only = 0; read_only < 2; read_only++) {
        simdrive_store *store = read_only ? test_open_read_only(b->path) : test_open(b->path);
        const simdrive_status refused = SIMDRIVE_ERROR_INVALID_ARGUMENT;
        CHECK_STATUS(refused, simdrive_backup_update(store, b->path, NULL, NULL));
        CHECK_STATUS(refused, simdrive_backup_update(store, link_path, NULL, NULL));
        CHECK_STATUS(refused, simdrive_backup_update(store, b->other, NULL, NULL));
        CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_backup_update(store, b->backup, NULL, NULL));
        CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_backup_update(store, b->folder.path, NULL, NULL));
        image_to_file(&image, b->backup);
        simdrive_store *writer = test_open(b->backup);
        CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_backup_update(store, b->backup, NULL, NULL));
        CHECK_OK(simdrive_close(writer));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        CHECK(unlink(b->backup) == 0);
        CHECK_OK(simdrive_close(store));
    }
    test_image_free(&image);
}

static void wrong_calls_are_refused(void **state) {
    bench *b = *state;
    simdrive_store *store = test_open(b->path);
    const simdrive_status refused = SIMDRIVE_ERROR_INVALID_ARGUMENT;
    collected got = {0};
    CHECK_STATUS(refused, simdrive_backup_stream(NULL, NULL, collect, &got, NULL, NULL, NULL));
    CHECK_STATUS(refused, simdrive_backup_stream(store, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK_STATUS(refused, simdrive_backup_update(NULL, b->backup, NULL, NULL));
    CHECK_STATUS(refused, simdrive_backup_update(store, NULL, NULL, NULL));
    CHECK_STATUS(refused, simdrive_backup_update(store, "", NULL, NULL));
    simdrive_report report = {0};
    CHECK_STATUS(refused, simdrive_backup_update(store, b->backup, NULL, &report));
    CHECK_STATUS(refused, simdrive_backup_stream(store, NULL, collect, &got, NULL, NULL, &report));
    simdrive_work_options work = {0};
    CHECK_STATUS(refused, simdrive_backup_update(store, b->backup, &work, NULL));
    CHECK_STATUS(refused, simdrive_backup_stream(store, NULL, collect, &got, &work, NULL, NULL));
    CHECK_OK(simdrive_close(store));
}

/* --- holes ------------------------------------------------------------------------------------------------------- */

enum { HOLE = 4 << 20 };

/* A store with a large payload of zeros among others, written as a file with holes. */
static void make_sparse(const test_image *image, const char *path) {
    static const uint8_t zeros[4096];
    int file = open(path, O_CREAT | O_TRUNC | O_RDWR, 0666);
    CHECK(file >= 0 && ftruncate(file, (off_t)image->size) == 0);
    for (size_t at = 0; at < image->size; at += sizeof zeros) {
        size_t size = image->size - at < sizeof zeros ? image->size - at : sizeof zeros;
        if (memcmp(image->bytes + at, zeros, size) == 0) continue;
        CHECK(pwrite(file, image->bytes + at, size, (off_t)at) == (ssize_t)size);
    }
    CHECK(close(file) == 0);
}

static uint64_t disk_bytes(const char *path) {
    struct stat found;
    CHECK(stat(path, &found) == 0);
    return (uint64_t)found.st_blocks * 512;
}

/* In the folder where the test runs, for file systems in memory fill the holes of what is looked at through a map. */
static void move_to_disk(bench *b) {
    test_folder_remove(&b->folder);
    snprintf(b->folder.path, sizeof b->folder.path, "simdrive-test-XXXXXX");
    CHECK(mkdtemp(b->folder.path));
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "backup", b->backup);
    test_path(&b->folder, "other", b->other);
}

static void image_with_holes(bench *b, test_image *image) {
    uint8_t *zeros = calloc(1, HOLE);
    CHECK(zeros);
    test_image_generate(image, TEST_SHAPE_RANDOM, 10, 500, &b->random);
    test_image_put(image, 1, zeros, HOLE);
    for (uint64_t i = 0; i < 10; i++) test_image_put(image, 100 + i, "some bytes between", 18);
    test_image_put(image, 2, zeros, HOLE / 2);
    test_image_put(image, 3, "the end", 7);
    free(zeros);
}

static void holes_stay_holes(void **state) {
    bench *b = *state;
    test_image image = {0};
    move_to_disk(b);
    image_with_holes(b, &image);
    make_sparse(&image, b->path);
    simdrive_store *store = test_open(b->path);
    bool sparse = disk_bytes(b->path) < HOLE;
    if (!sparse) print_message("no holes on this file system\n");
    CHECK_OK(simdrive_backup(store, b->other, NULL, NULL));
    CHECK(test_file_equals(b->other, image.bytes, image.size));
    if (sparse) CHECK(disk_bytes(b->other) < HOLE);
    for (size_t from = 0; from < image.count; from++) {
        test_context("update from entry %zu", from);
        make_sparse(&image, b->backup);
        test_file_truncate(b->backup, image.records[from].tail);
        CHECK_OK(simdrive_backup_update(store, b->backup, NULL, NULL));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        if (sparse) CHECK(disk_bytes(b->backup) < HOLE);
    }
    check_stream(store, &image, NULL);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

/* Systems that tell of holes what they like. */
static unsigned lie;

static simdrive_status lying_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start,
                                       uint64_t *end) {
    sdi_file_info info;
    CHECK_OK(os->info(os, file, &info));
    *start = *end = info.size; /* 0: all is a hole */
    if (lie == 1) *start = offset;
    if (lie == 2) *start = offset + 1000;
    if (lie == 2) *end = offset + 1001;
    if (lie == 3) *start = *end = offset;
    if (lie == 4) *start = *end = UINT64_MAX;
    return SIMDRIVE_OK;
}

static void nothing_is_lost_when_a_hole_is_none(void **state) {
    bench *b = *state;
    sdi_os os = *sdi_os_native();
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_ONE_BIG, 60, 20000, &b->random);
    image_to_file(&image, b->path);
    os.next_data = lying_next_data;
    for (lie = 0; lie < 5; lie++) {
        test_context("lie %u", lie);
        simdrive_store *store = NULL;
        CHECK_OK(sdi_open_with_os(&os, b->path, NULL, &store));
        CHECK_OK(simdrive_backup(store, b->backup, NULL, NULL));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        test_file_truncate(b->backup, image.records[2].tail);
        CHECK_OK(simdrive_backup_update(store, b->backup, NULL, NULL));
        CHECK(test_file_equals(b->backup, image.bytes, image.size));
        CHECK(unlink(b->backup) == 0);
        CHECK_OK(simdrive_close(store));
    }
    test_image_free(&image);
}

/* --- beside writers and compactions ------------------------------------------------------------------------------ */

enum { CHANGES_OF_A_ROUND = 100 };

typedef struct traffic {
    simdrive_store *store;
    test_random random;
    atomic_bool stop;
    atomic_int allowed; /* changes: so that the store grows no faster than backups of it are looked at */
} traffic;

static void *write_on(void *user) {
    traffic *t = user;
    while (!atomic_load(&t->stop)) {
        if (atomic_fetch_sub(&t->allowed, 1) > 0) {
            change_something(t->store, &t->random);
            continue;
        }
        atomic_fetch_add(&t->allowed, 1);
        sdi_thread_yield();
    }
    return NULL;
}

static void *compact_on(void *user) {
    traffic *t = user;
    while (!atomic_load(&t->stop)) {
        CHECK_OK(simdrive_compact(t->store, NULL, NULL));
        for (int i = 0; i < 200 && !atomic_load(&t->stop); i++) sdi_thread_yield();
    }
    return NULL;
}

/* A whole store, all of its checksums right, and as many entries as was said. */
static void check_whole(const char *path, uint64_t size, uint64_t entries) {
    simdrive_store *store = test_open_read_only(path);
    simdrive_report report = empty_report();
    CHECK_U64(size, simdrive_tail(store));
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, &report));
    CHECK_U64(0, report.damaged_tail_bytes);
    CHECK_U64(entries, report.entries_checked);
    CHECK_OK(simdrive_close(store));
}

static void check_stream_beside(bench *b, simdrive_store *store, collected *all, simdrive_position *at,
                                uint64_t *entries) {
    simdrive_report report = empty_report();
    simdrive_status status = simdrive_backup_stream(store, at, collect, all, NULL, at, &report);
    if (status == SIMDRIVE_ERROR_STALE_OFFSET) { /* compacted since; `at` is the beginning now */
        all->size = *entries = 0;
        CHECK(at->offset == 0);
        CHECK_OK(simdrive_backup_stream(store, NULL, collect, all, NULL, at, &report));
    } else {
        CHECK_OK(status);
    }
    *entries += report.entries_written;
    test_file_put(b->other, all->bytes, all->size);
    check_whole(b->other, at->offset, *entries);
}

static void check_file_beside(bench *b, simdrive_store *store, uint64_t *entries, uint64_t *size) {
    simdrive_report report = empty_report();
    simdrive_status status = *size ? simdrive_backup_update(store, b->backup, NULL, &report) : SIMDRIVE_OK;
    if (status == SIMDRIVE_ERROR_STALE_OFFSET) {
        CHECK(unlink(b->backup) == 0);
        *entries = *size = 0;
    } else {
        CHECK_OK(status);
    }
    if (*size == 0) CHECK_OK(simdrive_backup(store, b->backup, NULL, &report));
    *entries += report.entries_written;
    *size += report.bytes_written;
    check_whole(b->backup, *size, *entries);
}

static void run_beside_traffic(bench *b, bool compacts) {
    traffic t = {.random = test_random_begin(901)};
    pthread_t writer, compactor;
    collected all = {0};
    simdrive_position at = {0};
    uint64_t entries = 0, file_entries = 0, file_size = 0;
    t.store = test_open(b->path);
    CHECK_OK(simdrive_write_hash(t.store, 1, "first", 5, NULL));
    CHECK(pthread_create(&writer, NULL, write_on, &t) == 0);
    if (compacts) CHECK(pthread_create(&compactor, NULL, compact_on, &t) == 0);
    for (size_t i = 0; i < (test_exhaustive() ? 500 : 40); i++) {
        test_context("round %zu, %s compactions", i, compacts ? "with" : "without");
        atomic_store(&t.allowed, CHANGES_OF_A_ROUND);
        check_stream_beside(b, t.store, &all, &at, &entries);
        check_file_beside(b, t.store, &file_entries, &file_size);
    }
    atomic_store(&t.stop, true);
    CHECK(pthread_join(writer, NULL) == 0);
    if (compacts) CHECK(pthread_join(compactor, NULL) == 0);
    check_file_beside(b, t.store, &file_entries, &file_size);
    check_same_files(b->path, b->backup);
    CHECK_OK(simdrive_close(t.store));
    free(all.bytes);
}

static void backups_beside_a_writer_are_whole(void **state) {
    run_beside_traffic(*state, false);
}

static void backups_beside_compactions_are_whole(void **state) {
    run_beside_traffic(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_chain_of_updates_equals_the_store),
        TEST(nothing_new_writes_nothing),
        TEST(what_lies_behind_the_last_entry_is_cut_off),
        TEST(every_position_and_the_bytes_before_it_make_the_store),
        TEST(positions_are_known_again_until_a_compaction),
        TEST(a_stream_is_given_up_when_the_sink_says_so),
        TEST(stores_in_memory_are_backed_up),
        TEST(what_is_no_earlier_state_is_refused_and_untouched),
        TEST(a_damaged_backup_is_refused_or_mended),
        TEST(a_damaged_store_is_copied_as_it_is_and_updates_nothing),
        TEST(the_store_itself_and_what_is_locked_are_refused),
        TEST(wrong_calls_are_refused),
        TEST(holes_stay_holes),
        TEST(nothing_is_lost_when_a_hole_is_none),
        TEST(backups_beside_a_writer_are_whole),
        TEST(backups_beside_compactions_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
