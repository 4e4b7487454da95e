/* SPDX-License-Identifier: Apache-2.0
 *
 * test_regressions.c — faults of the storage engine that were found once, each by the name of what must hold instead.
 */
#include "support/faulty.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults;
} bench;

static void bench_begin(bench *b, const char *what) {
    test_context("%s", what);
    b->folder = test_folder_create();
    b->faults = sdi_fault_os_create();
    test_path(&b->folder, "store", b->path);
}

static void bench_end(bench *b) {
    sdi_fault_os_destroy(b->faults);
    test_folder_remove(&b->folder);
}

static simdrive_store *open_recorded(bench *b, const char *path, simdrive_sync_policy sync) {
    simdrive_open_options options = {.struct_size = sizeof options, .sync = sync};
    simdrive_store *store = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(b->faults), path, &options, &store));
    return store;
}

/* --- compaction -------------------------------------------------------------------------------------------------- */

enum { COMPACTERS = 4, COMPACTIONS = 5000 };

static void *compact_often(void *user) {
    simdrive_store *store = user;
    for (int i = 0; i < COMPACTIONS; i++) {
        simdrive_status status = simdrive_compact(store, NULL, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY);
    }
    return NULL;
}

static void a_refused_compaction_does_not_stop_later_ones(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "compactions of several threads");
    simdrive_store *store = test_open(b.path);
    for (int round = 0; round < 4; round++) {
        pthread_t threads[COMPACTERS];
        for (int i = 0; i < COMPACTERS; i++) CHECK(pthread_create(&threads[i], NULL, compact_often, store) == 0);
        for (int i = 0; i < COMPACTERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_OK(simdrive_compact(store, NULL, NULL));
    }
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

/* Of two names of a file only one would name the new one. */
static void a_file_with_two_names_is_not_compacted(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "compaction of a file with a hard link");
    char second[TEST_PATH_MAX];
    simdrive_store *store = test_open(b.path);
    CHECK_OK(simdrive_write(store, "k", 1, "old", 3, NULL));
    CHECK(link(b.path, test_path(&b.folder, "second", second)) == 0);
    CHECK_OK(simdrive_compact(store, NULL, NULL)); /* nothing to gain, nothing done */
    CHECK_OK(simdrive_write(store, "k", 1, "new", 3, NULL));
    uint64_t tail = simdrive_tail(store), saved = 1;
    CHECK_STATUS(SIMDRIVE_ERROR_UNSUPPORTED, simdrive_compact(store, NULL, &saved));
    CHECK_U64(0, saved);
    CHECK_U64(tail, test_file_size(b.path));
    CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
    CHECK(unlink(second) == 0);
    CHECK_OK(simdrive_compact(store, NULL, &saved));
    CHECK(saved > 0);
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

/* A second name that appears while the new file is being written. */
static simdrive_status link_meanwhile(void *user, uint64_t done, uint64_t total) {
    bench *b = user;
    char second[TEST_PATH_MAX];
    (void)done;
    (void)total;
    test_path(&b->folder, "second", second);
    CHECK(test_file_exists(second) || link(b->path, second) == 0);
    return SIMDRIVE_OK;
}

static void a_file_that_gets_a_second_name_meanwhile_is_not_replaced(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "hard link during compaction");
    simdrive_store *store = test_open(b.path);
    CHECK_OK(simdrive_write(store, "k", 1, "old", 3, NULL));
    CHECK_OK(simdrive_write(store, "k", 1, "new", 3, NULL));
    uint64_t tail = simdrive_tail(store);
    simdrive_work_options options = {.struct_size = sizeof options, .progress = link_meanwhile, .user = &b};
    CHECK_STATUS(SIMDRIVE_ERROR_UNSUPPORTED, simdrive_compact(store, &options, NULL));
    CHECK_U64(tail, test_file_size(b.path));
    CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
    CHECK_OK(simdrive_write(store, "l", 1, "more", 4, NULL));
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

/* --- time that grows with the square ----------------------------------------------------------------------------- */

/* With a table that all of them fall into one place of, this would take hours. */
static void deletes_of_hashes_in_sequence_take_linear_time(void **state) {
    (void)state;
    enum { COUNT = 1 << 20 };
    static const unsigned shifts[] = {0, 7, 20, 32, 44};
    bench b;
    bench_begin(&b, "hashes in sequence");
    simdrive_store *store = test_open(b.path);
    uint64_t *hashes = test_alloc(COUNT * sizeof *hashes);
    for (size_t s = 0; s < sizeof shifts / sizeof shifts[0]; s++) {
        for (uint64_t i = 0; i < COUNT; i++) hashes[i] = i << shifts[s];
        size_t deleted = 1;
        CHECK_OK(simdrive_delete_batch_hash(store, hashes, COUNT, &deleted, NULL));
        CHECK_U64(0, deleted);
    }
    free(hashes);
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

/* A delete after a put of the same batch, by hashes that differ in a few bits only. */
static void a_batch_knows_its_own_keys_apart(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    bench b;
    bench_begin(&b, "a batch's own keys");
    simdrive_store *store = test_open(b.path);
    for (unsigned shift = 0; shift <= 48; shift += 8) {
        simdrive_change changes[3 * COUNT];
        for (uint64_t i = 0; i < COUNT; i++) {
            changes[i] = (simdrive_change){SIMDRIVE_PUT, i << shift, {"value", 5}};
            changes[COUNT + i] = (simdrive_change){SIMDRIVE_DELETE, i << shift, {NULL, 0}};
            changes[2 * COUNT + i] = changes[COUNT + i]; /* writes nothing */
        }
        uint64_t tombstones = test_info(store).tombstones;
        CHECK_OK(simdrive_apply(store, changes, 3 * COUNT, SIMDRIVE_BATCH_ATOMIC, NULL));
        CHECK_U64(tombstones + COUNT, test_info(store).tombstones);
        CHECK_U64(0, simdrive_count(store));
    }
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

/* The list of mended links is looked up, not gone through. */
static void verification_names_every_mended_link(void **state) {
    (void)state;
    enum { COUNT = 4000, STEP = 4 };
    bench b;
    bench_begin(&b, "verification of many mended links");
    test_image image = {0};
    uint8_t payload[44];
    for (uint64_t i = 0; i < COUNT; i++) {
        memset(payload, 'a' + (int)(i % 26), sizeof payload);
        test_image_put(&image, i, payload, sizeof payload);
    }
    size_t broken = 0;
    for (size_t i = STEP; i + STEP < COUNT; i += STEP, broken++)
        image.bytes[image.records[i].end + SDI_PREV_FIELD + 6] ^= 0x55;
    test_file_put(b.path, image.bytes, image.size);
    simdrive_store *store = test_open_read_only(b.path);
    simdrive_report report = {.struct_size = sizeof report};
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_verify(store, NULL, NULL, NULL, &report));
    CHECK_U64(COUNT, report.entries_checked);
    CHECK_U64(broken, report.entries_corrupt);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

/* --- calls that change nothing ----------------------------------------------------------------------------------- */

static simdrive_status no_source(void *user, void *buffer, size_t capacity, size_t *produced) {
    (void)user;
    (void)buffer;
    (void)capacity;
    *produced = 0;
    return SIMDRIVE_OK;
}

static void check_untouched(const bench *b, const uint8_t *bytes, size_t size) {
    CHECK(test_file_equals(b->path, bytes, size));
    CHECK_U64(1, test_folder_count(&b->folder, "store", NULL));
}

static void calls_that_write_nothing_leave_a_damaged_tail(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "calls without effect on a damaged tail");
    char other_path[TEST_PATH_MAX];
    simdrive_store *other = test_open(test_path(&b.folder, "other", other_path));
    test_image image = {0};
    test_image_put(&image, simdrive_hash_key("a", 1), "a value", 7);
    test_image_put(&image, simdrive_hash_key("b", 1), "another", 7);
    test_file_put(b.path, image.bytes, image.size);
    test_file_append(b.path, "what is left of a write", 23);
    size_t size;
    uint8_t *bytes = test_file_get(b.path, &size);
    simdrive_store *store = test_open(b.path);
    simdrive_stream *stream = NULL;
    const simdrive_change unknown = {(simdrive_operation)7, 1, {"v", 1}};

    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write(store, "k", 1, "", 0, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write(store, "k", 1, "\0", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_apply(store, &unknown, 1, SIMDRIVE_BATCH_ATOMIC, NULL));
    CHECK_OK(simdrive_apply(store, NULL, 0, SIMDRIVE_BATCH_ATOMIC, NULL));
    CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_delete(store, "k", 1, NULL));
    CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_rename(store, "k", 1, "l", 1, NULL));
    CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_transfer(store, "k", 1, other, NULL));
    CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_transfer(other, "k", 1, store, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write_stream(store, "k", 1, no_source, NULL, 0, NULL));
    CHECK_OK(simdrive_stream_begin(store, "k", 1, 0, &stream));
    CHECK_OK(simdrive_stream_append(stream, "some bytes", 10));
    CHECK_OK(simdrive_stream_abort(stream));
    CHECK_OK(simdrive_stream_begin(store, "k", 1, 0, &stream));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_stream_commit(stream, NULL));
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK_OK(simdrive_sync(store, NULL));
    check_untouched(&b, bytes, size);
    CHECK_U64(23, test_info(store).damaged_tail_bytes);

    CHECK_OK(simdrive_write(store, "k", 1, "value", 5, NULL));
    test_image_put(&image, simdrive_hash_key("k", 1), "value", 5);
    test_check_shows(store, &image);
    CHECK(test_file_equals(b.path, image.bytes, image.size));
    CHECK_U64(2, test_folder_count(&b.folder, "store", NULL));
    CHECK_U64(23, test_info(store).quarantined_bytes);
    CHECK_OK(simdrive_close(store));
    CHECK_OK(simdrive_close(other));
    test_image_free(&image);
    free(bytes);
    bench_end(&b);
}

/* Whatever writes first moves the damaged bytes aside: a stream, and a compaction, which would lose them. */
static void the_first_bytes_that_are_written_move_a_damaged_tail(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        bench b;
        bench_begin(&b, kind ? "compaction of a damaged tail" : "stream on a damaged tail");
        test_image image = {0};
        test_image_put(&image, simdrive_hash_key("a", 1), "a value", 7);
        test_image_put(&image, simdrive_hash_key("a", 1), "another", 7);
        test_file_put(b.path, image.bytes, image.size);
        test_file_append(b.path, "what is left of a write", 23);
        simdrive_store *store = test_open(b.path);
        char found[TEST_PATH_MAX], full[TEST_PATH_MAX];
        if (kind == 0) {
            simdrive_stream *stream = NULL;
            CHECK_OK(simdrive_stream_begin(store, "k", 1, 0, &stream));
            CHECK_OK(simdrive_stream_append(stream, "some bytes", 10));
            CHECK_OK(simdrive_stream_commit(stream, NULL));
            test_image_put(&image, simdrive_hash_key("k", 1), "some bytes", 10);
        } else {
            CHECK_OK(simdrive_compact(store, NULL, NULL));
            test_image_compact(&image);
        }
        test_check_shows(store, &image);
        CHECK(test_file_equals(b.path, image.bytes, image.size));
        CHECK_U64(1, test_folder_count(&b.folder, "store.tail-", found));
        CHECK(test_file_equals(test_path(&b.folder, found, full), "what is left of a write", 23));
        CHECK_U64(0, test_info(store).damaged_tail_bytes);
        CHECK_OK(simdrive_close(store));
        test_image_free(&image);
        bench_end(&b);
    }
}

/* --- check_on_read ----------------------------------------------------------------------------------------------- */

static simdrive_status count_intact(void *user, unsigned thread, const simdrive_entry *entry) {
    (void)thread;
    __atomic_fetch_add((uint64_t *)user, 1, __ATOMIC_RELAXED);
    CHECK(simdrive_entry_is_valid(entry));
    return SIMDRIVE_OK;
}

static size_t count_iterated(simdrive_store *store) {
    simdrive_iterator *iterator = NULL;
    simdrive_entry entry = {0};
    size_t count = 0;
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_next(iterator, &entry) == SIMDRIVE_OK) {
        CHECK(simdrive_entry_is_valid(&entry));
        simdrive_entry_release(&entry);
        count++;
    }
    simdrive_iterator_close(iterator);
    return count;
}

/* Bytes that go bad after opening, in the last entry's payload, which is longer than what is read at once. */
static void what_fails_the_check_on_reading_is_not_given_out(void **state) {
    (void)state;
    enum { BIG = 200000 };
    bench b;
    bench_begin(&b, "check_on_read");
    test_image image = {0};
    uint8_t *payload = test_alloc(BIG), *buffer = test_alloc(BIG);
    memset(payload, 'p', BIG);
    test_image_put(&image, simdrive_hash_key("good", 4), "good value", 10);
    test_image_put(&image, simdrive_hash_key("bad", 3), payload, BIG);
    test_file_put(b.path, image.bytes, image.size);
    simdrive_open_options options = {.struct_size = sizeof options, .check_on_read = true};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(b.path, &options, &store));
    size_t copied = 0;
    uint64_t size = 0, visited = 0;
    CHECK_OK(simdrive_read_copy(store, "bad", 3, 7, buffer, 100, &size, &copied));
    CHECK(size == BIG && copied == 100 && memcmp(buffer, payload, 100) == 0);
    CHECK_OK(simdrive_read_copy(store, "bad", 3, 0, buffer, BIG, &size, &copied));
    CHECK(size == BIG && copied == BIG && memcmp(buffer, payload, BIG) == 0);
    CHECK_U64(2, count_iterated(store));

    int file = open(b.path, O_WRONLY);
    CHECK(file >= 0 && pwrite(file, "X", 1, (off_t)image.records[1].end - 5) == 1 && close(file) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_read_copy(store, "bad", 3, 7, buffer, 100, &size, &copied));
    CHECK(size == 0 && copied == 0 && sdi_is_zero(buffer, 100));
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_read_copy(store, "bad", 3, 0, buffer, BIG, &size, &copied));
    CHECK(size == 0 && copied == 0 && sdi_is_zero(buffer, BIG));
    CHECK_OK(simdrive_read_copy(store, "bad", 3, 0, NULL, 0, &size, &copied)); /* nothing is given out */
    CHECK_OK(simdrive_read_copy(store, "good", 4, 5, buffer, 100, &size, &copied));
    CHECK(size == 10 && copied == 5 && memcmp(buffer, "value", 5) == 0);
    CHECK_U64(1, count_iterated(store));
    CHECK_OK(simdrive_visit(store, 2, count_intact, &visited));
    CHECK_U64(1, visited);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_last(store, &entry));
    CHECK(simdrive_entry_key_hash(&entry) == simdrive_hash_key("good", 4));
    simdrive_entry_release(&entry);
    CHECK_OK(simdrive_close(store));
    free(payload);
    free(buffer);
    test_image_free(&image);
    bench_end(&b);
}

/* --- keys that a loss of power could change ---------------------------------------------------------------------- */

enum { SECTOR = 512, MOST_SECTORS = 8, STATE_MAX = 1 << 14 };

typedef enum last_write {
    A_TOMBSTONE,
    ZEROS,
    ZEROS_UP_TO_THE_LINK,
    A_PLAIN_BATCH,
    TEXT_AND_ZEROS,
    TEXT_AND_ZEROS_BY_STREAM,
    LAST_WRITE_COUNT,
    A_LARGE_PLAIN_BATCH = LAST_WRITE_COUNT /* not of those whose key could change */
} last_write;

static const uint64_t VICTIM = 0x0102030405060708;

/* Sizes with which some entry's metadata lies across a sector, in the hash or behind the first byte of the link. */
static size_t zeros_of(last_write kind) {
    return kind == ZEROS || kind == A_PLAIN_BATCH ? 60 : kind == ZEROS_UP_TO_THE_LINK ? 503 : 1210;
}

/* One change on top of synced entries, to the store and to the image of it. */
static void change_last(last_write kind, simdrive_store *store, test_image *image) {
    static uint8_t zeros[1210]; /* 11 pieces of 110 bytes */
    const size_t size = zeros_of(kind);
    memset(zeros, size == sizeof zeros ? 'x' : 0, 110); /* before the last two sectors */
    const simdrive_change changes[2] = {{SIMDRIVE_PUT, VICTIM, {zeros, size}}, {SIMDRIVE_PUT, 9, {"text", 4}}};
    simdrive_stream *stream = NULL;
    switch (kind) {
    case A_TOMBSTONE:
        CHECK_OK(simdrive_delete_hash(store, VICTIM, NULL));
        test_image_delete(image, VICTIM);
        break;
    case ZEROS:
    case ZEROS_UP_TO_THE_LINK:
    case TEXT_AND_ZEROS:
        CHECK_OK(simdrive_write_hash(store, VICTIM, zeros, size, NULL));
        test_image_put(image, VICTIM, zeros, size);
        break;
    case TEXT_AND_ZEROS_BY_STREAM:
        CHECK_OK(simdrive_stream_begin_hash(store, VICTIM, 0, &stream));
        for (size_t done = 0; done < size; done += 110) CHECK_OK(simdrive_stream_append(stream, zeros + done, 110));
        CHECK_OK(simdrive_stream_commit(stream, NULL));
        test_image_put(image, VICTIM, zeros, size);
        break;
    default:
        CHECK_OK(simdrive_apply(store, changes, 2, SIMDRIVE_BATCH_PLAIN, NULL));
        test_image_put(image, VICTIM, zeros, size);
        test_image_put(image, 9, "text", 4);
        break;
    }
}

/* How many of the first `end` calls are covered by a sync among them. */
static size_t synced_calls(const sdi_fault_op *log, size_t end) {
    while (end > 0 && log[end - 1].kind != SDI_OP_SYNC) end--;
    return end;
}

/* The file after `end` calls, without what was not synced yet of the sectors in `lost`, counted from the tail's. */
static void put_state(const bench *b, const test_image *before, const sdi_fault_op *log, size_t end, unsigned lost) {
    static uint8_t bytes[STATE_MAX];
    size_t size = before->size, synced = synced_calls(log, end), first = before->size / SECTOR;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, before->bytes, before->size);
    for (size_t i = 0; i < end; i++) {
        if (log[i].kind != SDI_OP_WRITE) continue;
        CHECK(log[i].offset + log[i].size <= STATE_MAX);
        for (size_t k = 0; k < log[i].size; k++) {
            size_t at = (size_t)log[i].offset + k;
            if (i < synced || !(lost >> (at / SECTOR - first) & 1)) bytes[at] = log[i].data[k];
        }
        if (log[i].offset + log[i].size > size) size = (size_t)(log[i].offset + log[i].size);
    }
    char path[TEST_PATH_MAX];
    test_file_put(test_path(&b->folder, "state", path), bytes, size);
}

/* The state shows the store before the change or after it; a plain batch also after its first entry. */
static void check_state(const bench *b, const test_image *after, size_t before, bool acknowledged, last_write kind) {
    char path[TEST_PATH_MAX];
    simdrive_store *store = test_open(test_path(&b->folder, "state", path));
    test_view view;
    size_t shown = test_image_complete(after, (size_t)simdrive_tail(store));
    bool is_plain = kind == A_PLAIN_BATCH || kind == A_LARGE_PLAIN_BATCH;
    CHECK(shown == after->count || (!acknowledged && (shown == before || is_plain)));
    test_view_build(&view, after, shown);
    CHECK_U64(view.tail, simdrive_tail(store));
    test_check_reads(store, &view);
    test_check_iteration(store, &view);
    test_view_free(&view);
    CHECK_OK(simdrive_close(store));
}

/* All states that a loss of power can leave when the store's tail before the last write is at `tail_in_sector`.
 * Returns the number of syncs of that write. */
static size_t lose_power(last_write kind, size_t tail_in_sector) {
    char what[100];
    bench b;
    snprintf(what, sizeof what, "loss of power, write %d, tail at %zu of a sector", (int)kind, tail_in_sector);
    bench_begin(&b, what);
    test_image image = {0}, after = {0};
    uint8_t filler[3 * SECTOR];
    memset(filler, 'f', sizeof filler);
    test_image_put(&image, VICTIM, "victim", 6);
    test_image_put(&image, VICTIM & ~UINT64_C(0xFF), "precious", 8);
    size_t start = (size_t)sdi_payload_start(image.size), tail = 2 * SECTOR + tail_in_sector;
    test_image_put(&image, 7, filler, tail - SDI_METADATA_SIZE - start);
    CHECK_U64(tail, image.size);
    test_image_clone(&image, &after);
    test_file_put(b.path, image.bytes, image.size);

    simdrive_store *store = open_recorded(&b, b.path, SIMDRIVE_SYNC_COMMIT);
    sdi_fault_os_record(b.faults, true);
    change_last(kind, store, &after);
    sdi_fault_os_record(b.faults, false);
    CHECK(test_file_equals(b.path, after.bytes, after.size));
    size_t count, syncs = 0;
    const sdi_fault_op *log = sdi_fault_os_log(b.faults, &count);
    unsigned sectors = (unsigned)((after.size - 1) / SECTOR - image.size / SECTOR) + 1;
    CHECK(sectors <= MOST_SECTORS);
    for (size_t end = 0; end <= count; end++) {
        if (end < count) syncs += log[end].kind == SDI_OP_SYNC;
        for (unsigned lost = 0; lost < 1U << sectors; lost++) {
            test_context("%s, %zu of %zu calls, without sectors %x", what, end, count, lost);
            put_state(&b, &image, log, end, lost);
            check_state(&b, &after, image.count, end == count, kind);
        }
    }
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    test_image_free(&after);
    bench_end(&b);
    return syncs;
}

static void no_loss_of_power_changes_the_key_of_an_entry(void **state) {
    (void)state;
    if (SIMDRIVE_ALIGNMENT > 64) skip(); /* the sizes are made for small alignments; the code is the same for all */
    for (int kind = 0; kind < LAST_WRITE_COUNT; kind++) {
        size_t most_syncs = 0;
        for (size_t tail_in_sector = 0; tail_in_sector < SECTOR; tail_in_sector += test_exhaustive() ? 1 : 3) {
            size_t syncs = lose_power((last_write)kind, tail_in_sector);
            if (syncs > most_syncs) most_syncs = syncs;
        }
        CHECK_U64(2, most_syncs); /* the case was met */
    }
}

/* A sector of an entry is lost, and what was written behind it is there: its key would be corrupt, and the value it had
 * before out of reach. */
static void no_loss_of_power_in_a_plain_batch_hides_a_durable_value(void **state) {
    (void)state;
    if (SIMDRIVE_ALIGNMENT > 64) skip(); /* as above */
    for (size_t tail_in_sector = 0; tail_in_sector < SECTOR; tail_in_sector += test_exhaustive() ? 1 : 19)
        lose_power(A_LARGE_PLAIN_BATCH, tail_in_sector);
}

/* --- the file's name --------------------------------------------------------------------------------------------- */

static size_t folder_syncs(const bench *b, const char *of) {
    size_t count, syncs = 0;
    const sdi_fault_op *log = sdi_fault_os_log(b->faults, &count);
    for (size_t i = 0; i < count; i++) {
        if (log[i].kind != SDI_OP_SYNC_FOLDER) continue;
        CHECK(strcmp(log[i].path, of) == 0);
        syncs++;
    }
    return syncs;
}

/* The one who created the file had no reason to sync its name. */
static void the_first_sync_makes_the_name_durable_whoever_created_it(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "name of a file that was not synced");
    CHECK_OK(simdrive_close(test_open(b.path)));
    char *real_path = realpath(b.path, NULL);
    for (int policy = 0; policy < 2; policy++) {
        sdi_fault_os_record(b.faults, true);
        simdrive_store *store = open_recorded(&b, b.path, policy ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE);
        for (int i = 0; i < 3; i++) {
            CHECK_OK(simdrive_write(store, "k", 1, "value", 5, NULL));
            if (policy == 0) CHECK_OK(simdrive_sync(store, NULL));
        }
        CHECK_U64(1, folder_syncs(&b, real_path));
        CHECK_OK(simdrive_close(store));
    }
    free(real_path);
    bench_end(&b);
}

static void the_name_that_is_synced_is_the_one_behind_a_link(void **state) {
    (void)state;
    for (int policy = 0; policy < 2; policy++) {
        bench b;
        bench_begin(&b, "file created through a link");
        char target[TEST_PATH_MAX], folder[TEST_PATH_MAX];
        CHECK(mkdir(test_path(&b.folder, "elsewhere", folder), 0700) == 0);
        test_path(&b.folder, "elsewhere/target", target);
        CHECK(symlink(target, b.path) == 0);
        sdi_fault_os_record(b.faults, true);
        simdrive_store *store = open_recorded(&b, b.path, policy ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE);
        char *real_path = realpath(target, NULL);
        CHECK_U64(policy, folder_syncs(&b, real_path));
        CHECK_OK(simdrive_sync(store, NULL)); /* of nothing yet but the name */
        CHECK_U64(1, folder_syncs(&b, real_path));
        CHECK_OK(simdrive_write(store, "k", 1, "value", 5, NULL));
        CHECK_OK(simdrive_sync(store, NULL));
        CHECK_U64(1, folder_syncs(&b, real_path));
        CHECK_OK(simdrive_close(store));
        free(real_path);
        bench_end(&b);
    }
}

/* --- sectors of zeros --------------------------------------------------------------------------------------------- */

enum { NUMBERS = 60, NUMBER_WORDS = 40 };

static void fill_number(uint64_t words[NUMBER_WORDS], uint64_t number) {
    for (size_t i = 0; i < NUMBER_WORDS; i++) words[i] = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + i;
}

/* A store of numbers, and a value of `last` bytes at its end; then the sector that holds the metadata in the middle is
 * lost. */
static void lose_a_sector(bench *b, size_t last) {
    uint64_t words[NUMBER_WORDS];
    simdrive_metadata middle;
    simdrive_store *store = test_open(b->path);
    for (uint64_t i = 0; i < NUMBERS; i++) {
        fill_number(words, i);
        CHECK_OK(simdrive_write(store, &i, sizeof i, words, sizeof words, NULL));
    }
    uint8_t *value = test_alloc(last);
    memset(value, 7, last);
    CHECK_OK(simdrive_write(store, "last", 4, value, last, NULL));
    uint64_t number = NUMBERS / 2;
    CHECK_OK(simdrive_read_metadata(store, &number, sizeof number, &middle));
    CHECK_OK(simdrive_close(store));
    free(value);
    static const uint8_t zeros[512];
    int file = open(b->path, O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && pwrite(file, zeros, sizeof zeros, (off_t)(middle.end - middle.end % 512)) == sizeof zeros);
    CHECK(close(file) == 0);
}

static size_t numbers_in(simdrive_store *store) {
    size_t found = 0;
    for (uint64_t i = 0; i < NUMBERS; i++) {
        uint64_t words[NUMBER_WORDS];
        simdrive_entry entry = {0};
        if (simdrive_read(store, &i, sizeof i, &entry) != SIMDRIVE_OK) continue;
        fill_number(words, i);
        CHECK(entry.size == sizeof words && memcmp(entry.data, words, sizeof words) == 0);
        simdrive_entry_release(&entry);
        found++;
    }
    return found;
}

static void a_sector_lost_near_the_end_is_a_torn_write_and_kept_aside(void **state) {
    (void)state;
    bench b;
    char kept[TEST_PATH_MAX];
    bench_begin(&b, "a sector of zeros near the end");
    lose_a_sector(&b, 1000);
    size_t size = test_file_size(b.path);
    simdrive_open_options options = {.struct_size = sizeof options, .quarantine_max_bytes = 1};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(b.path, &options, &store));
    CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_TAIL);
    uint64_t tail = simdrive_tail(store);
    CHECK(numbers_in(store) >= NUMBERS / 2 - 2); /* a sector holds bytes of two entries or three */
    CHECK_OK(simdrive_write(store, "new", 3, "value", 5, NULL));
    CHECK_OK(simdrive_close(store));
    CHECK_U64(1, test_folder_count(&b.folder, "store.tail-", kept)); /* whole entries are in it: whatever the limit */
    char path[TEST_PATH_MAX];
    CHECK_U64(size - tail, test_file_size(test_path(&b.folder, kept, path)));
    bench_end(&b);
}

static void a_sector_lost_far_from_the_end_is_damage_in_the_middle(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "a sector of zeros far from the end");
    lose_a_sector(&b, (size_t)65 << 20);
    size_t size = test_file_size(b.path);
    simdrive_store *store = NULL;
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_open(b.path, NULL, &store));
    store = test_open_read_only(b.path);
    CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_MIDDLE);
    CHECK(numbers_in(store) >= NUMBERS - 3 && simdrive_exists(store, "last", 4));
    CHECK_OK(simdrive_close(store));
    CHECK_U64(size, test_file_size(b.path));
    bench_end(&b);
}

/* --- what opening notes ------------------------------------------------------------------------------------------- */

/* Corrupt entries are noted in the order in which they are met, and a reclaimed one when it turns out to be the newest
 * of its key; looked up they are in a sorted list. */
static void a_reclaimed_newest_entry_among_corrupt_ones_is_found(void **state) {
    (void)state;
    enum { ENTRIES = 8, SIZE = 20000 };
    static const size_t flipped[] = {1, 2, 4, 6}, reclaimed = 3;
    bench b;
    bench_begin(&b, "a reclaimed entry between corrupt ones");
    test_image image = {0};
    uint8_t *value = test_alloc(SIZE);
    for (uint64_t key = 0; key < ENTRIES; key++) {
        memset(value, (int)key + 1, SIZE);
        test_image_put(&image, key, value, SIZE);
    }
    free(value);
    CHECK(test_can_be_reclaimed(&image.records[reclaimed]));
    test_reclaim_record(image.bytes, &image.records[reclaimed]);
    for (size_t i = 0; i < sizeof flipped / sizeof *flipped; i++)
        image.bytes[image.records[flipped[i]].start + 100] ^= 1;
    test_file_put(b.path, image.bytes, image.size);
    simdrive_store *store = test_open_read_only(b.path);
    CHECK_U64(1 + sizeof flipped / sizeof *flipped, test_info(store).corrupt_entries);
    for (uint64_t key = 0; key < ENTRIES; key++) {
        simdrive_entry entry = {0};
        bool whole = key == 0 || key == 5 || key == ENTRIES - 1;
        test_context("key %llu", (unsigned long long)key);
        CHECK_STATUS(whole ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT, simdrive_read_hash(store, key, &entry));
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

/* --- mistakes of the caller -------------------------------------------------------------------------------------- */

static void a_key_that_is_not_there_is_refused(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "keys of NULL and a size");
    simdrive_store *store = test_open(b.path);
    CHECK_OK(simdrive_write(store, "", 0, "of the empty key", 16, NULL));
    const simdrive_bytes keys[2] = {{"", 0}, {NULL, 5}};
    simdrive_entry entries[2];
    uint64_t hashes[2];
    size_t found = 7;
    memset(entries, 0xFF, sizeof entries);
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_read_batch(store, keys, 2, entries, &found));
    CHECK(found == 0 && entries[0].data == NULL && entries[1].data == NULL);
    simdrive_entries_release(entries, 2);
    simdrive_hash_keys(keys, 2, hashes);
    CHECK(hashes[0] == simdrive_hash_key("", 0) && hashes[1] == hashes[0]);
    CHECK(simdrive_hash_key(NULL, 5) == hashes[0]);
    unsigned char key[16], same[16];
    simdrive_namespaced_key(NULL, 5, NULL, 5, key);
    simdrive_namespaced_key("", 0, "", 0, same);
    CHECK(memcmp(key, same, sizeof key) == 0);
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

static void an_entry_that_is_zero_says_nothing(void **state) {
    (void)state;
    test_context("functions of entries on a zero entry");
    const simdrive_entry entry = {0};
    simdrive_entry clone;
    simdrive_metadata metadata;
    uint64_t start = 1, end = 1;
    CHECK(!simdrive_entry_is_valid(&entry));
    CHECK_U64(0, simdrive_entry_key_hash(&entry));
    CHECK_U64(0, simdrive_entry_checksum(&entry));
    CHECK_U64(0, simdrive_entry_total_size(&entry));
    memset(&metadata, 1, sizeof metadata);
    simdrive_entry_metadata(&entry, &metadata);
    CHECK(metadata.key_hash == 0 && metadata.total_size == 0 && metadata.checksum == 0);
    simdrive_entry_offset_range(&entry, &start, &end);
    CHECK(start == 0 && end == 0);
    simdrive_entry_clone(&entry, &clone);
    CHECK(clone.data == NULL);
    simdrive_entry_release(&clone);
}

/* --- a poisoned handle ------------------------------------------------------------------------------------------- */

enum { GROUPED = 3 };

static struct {
    simdrive_store *store;
    pthread_t writers[GROUPED];
    simdrive_status statuses[GROUPED];
    bool met;
} grouped;

static void *write_grouped(void *user) {
    simdrive_status *status = user;
    size_t number = (size_t)(status - grouped.statuses);
    *status = simdrive_write_hash(grouped.store, 100 + number, "late", 4, NULL);
    return NULL;
}

static bool all_wait(simdrive_store *store) {
    size_t count = 0;
    sdi_mutex_lock(&store->mutex);
    for (const sdi_turn *turn = store->turns; turn; turn = turn->next) count++;
    sdi_mutex_unlock(&store->mutex);
    return count == GROUPED;
}

/* In the midst of a write that is going to fail: others come and wait for it, as one group. */
static void meet_while_writing(void *user, sdi_fault_kind kind, const char *path) {
    (void)user, (void)path;
    if (kind != SDI_FAULT_WRITE_AT || grouped.met) return;
    grouped.met = true;
    for (size_t i = 0; i < GROUPED; i++)
        CHECK(pthread_create(&grouped.writers[i], NULL, write_grouped, &grouped.statuses[i]) == 0);
    while (!all_wait(grouped.store)) sdi_thread_yield();
}

static void a_group_of_writes_is_refused_by_a_poisoned_handle(void **state) {
    (void)state;
    static const simdrive_sync_policy policies[] = {SIMDRIVE_SYNC_NONE, SIMDRIVE_SYNC_INTERVAL};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        bench b;
        bench_begin(&b, "a group behind a write that cannot be taken back");
        memset(&grouped, 0, sizeof grouped);
        grouped.store = open_recorded(&b, b.path, policies[i]);
        CHECK_OK(simdrive_write_hash(grouped.store, 1, "first", 5, NULL));
        uint64_t tail = sdi_tail(atomic_load(&grouped.store->current));
        sdi_fault_os_set_hook(b.faults, meet_while_writing, NULL);
        sdi_fault_os_arm(b.faults, &(sdi_fault_plan){.kind = SDI_FAULT_WRITE_AT, .nth = 1, .effect = 10,
                                                     .status = SIMDRIVE_ERROR_NO_SPACE});
        sdi_fault_os_arm(b.faults, &(sdi_fault_plan){.kind = SDI_FAULT_TRUNCATE, .nth = 1, .for_ever = true,
                                                     .status = SIMDRIVE_ERROR_IO});
        CHECK(simdrive_write_hash(grouped.store, 2, "second", 6, NULL) == SIMDRIVE_ERROR_NO_SPACE);
        for (size_t j = 0; j < GROUPED; j++) {
            CHECK(pthread_join(grouped.writers[j], NULL) == 0);
            CHECK(grouped.statuses[j] == SIMDRIVE_ERROR_POISONED);
        }
        CHECK_U64(tail, sdi_tail(atomic_load(&grouped.store->current)));
        CHECK_U64(1, simdrive_count(grouped.store));
        sdi_fault_os_disarm(b.faults);
        sdi_fault_os_set_hook(b.faults, NULL, NULL);
        CHECK(simdrive_close(grouped.store) ==
              (policies[i] == SIMDRIVE_SYNC_INTERVAL ? SIMDRIVE_ERROR_POISONED : SIMDRIVE_OK)); /* of its sync */
        bench_end(&b);
    }
}

/* --- following a writer ------------------------------------------------------------------------------------------ */

/* Bytes of an entry that is not complete, more of them than are ever stored into the map of the file's end, stood
 * between the zeros and what had been acknowledged: a reader took the tail that it knew for the end. */
static void readers_see_what_is_before_a_long_stream_over_zeros(void **state) {
    (void)state;
    enum { LONG = 600 << 10 };
    bench b;
    bench_begin(&b, "readers beside a long stream over zeros");
    simdrive_open_options options = {
        .struct_size = sizeof options, .append = SIMDRIVE_APPEND_MAP, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS};
    simdrive_store *writer = NULL;
    CHECK_OK(simdrive_open(b.path, &options, &writer));
    CHECK_OK(simdrive_write(writer, "first", 5, "1", 1, NULL));
    CHECK_OK(simdrive_close(writer));
    CHECK_OK(simdrive_open(b.path, &options, &writer));
    CHECK_OK(simdrive_write(writer, "second", 6, "2", 1, NULL));
    simdrive_store *before = test_open_read_only(b.path);
    CHECK_OK(simdrive_write(writer, "third", 5, "3", 1, NULL));

    simdrive_stream *stream = NULL;
    uint8_t *bytes = test_alloc(LONG);
    memset(bytes, 7, LONG);
    CHECK_OK(simdrive_stream_begin(writer, "long", 4, 4096, &stream));
    CHECK_OK(simdrive_stream_append(stream, bytes, LONG));
    CHECK_OK(simdrive_refresh(before, NULL));
    simdrive_store *meanwhile = test_open_read_only(b.path); /* with the saved index */
    CHECK(simdrive_exists(before, "third", 5) && simdrive_exists(meanwhile, "third", 5));
    CHECK(!simdrive_exists(before, "long", 4) && !simdrive_exists(meanwhile, "long", 4));

    CHECK_OK(simdrive_stream_commit(stream, NULL));
    CHECK_OK(simdrive_refresh(before, NULL));
    CHECK_OK(simdrive_refresh(meanwhile, NULL));
    CHECK(simdrive_exists(before, "long", 4) && simdrive_exists(meanwhile, "long", 4));
    CHECK_OK(simdrive_close(meanwhile));
    CHECK_OK(simdrive_close(before));
    CHECK_OK(simdrive_close(writer));
    free(bytes);
    bench_end(&b);
}

/* --- damage ------------------------------------------------------------------------------------------------------ */

/* The link of an entry was lost as well as a sector of its payload: that it seems to lead to the file's beginning does
 * not make it the first entry, and what lies below it no rest of a crash. */
static void a_torn_entry_with_a_lost_link_hides_nothing_below_it(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "a torn entry whose link is 0");
    test_image image = {0};
    test_random random = test_random_begin(77);
    uint8_t payload[2000];
    test_random_fill(&random, payload, sizeof payload);
    for (uint64_t key = 1; key <= 3; key++) test_image_put(&image, key, payload, 100 * (size_t)key);
    test_image_put(&image, 4, payload, sizeof payload);
    test_image_put(&image, 5, payload, 300);
    const test_record *torn = &image.records[3];
    memset(image.bytes + torn->start / 512 * 512 + 512, 0, 512);
    memset(image.bytes + torn->end + 8, 0, 8);
    test_file_put(b.path, image.bytes, image.size);

    simdrive_store *store = test_open_read_only(b.path);
    CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_MIDDLE);
    for (uint64_t key = 1; key <= 5; key++) {
        simdrive_entry entry = {0};
        if (key != 4) CHECK_OK(simdrive_read_hash(store, key, &entry));
        if (key != 4) CHECK(memcmp(entry.data, payload, entry.size) == 0);
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

/* The same where the payload is wrong and an entry further down is damaged, too: no valid chain ends below the link. */
static void a_lost_link_above_other_damage_loses_one_entry(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "a link of 0 above another damaged entry");
    enum { ENTRIES = 12, DAMAGED = 3, LOST = 9 };
    test_image image = {0};
    uint8_t payload[100];
    test_random random = test_random_begin(78);
    test_random_fill(&random, payload, sizeof payload);
    for (uint64_t key = 0; key < ENTRIES; key++) test_image_put(&image, key, payload, 80 + (size_t)key);
    image.bytes[image.records[DAMAGED].end + 9] ^= 0x40;
    image.bytes[image.records[LOST].start] ^= 1;
    memset(image.bytes + image.records[LOST].end + 8, 0, 8);
    test_file_put(b.path, image.bytes, image.size);

    simdrive_store *store = test_open_read_only(b.path);
    for (uint64_t key = 0; key < ENTRIES; key++)
        CHECK(simdrive_exists_hash(store, key) || key == DAMAGED || key == LOST);
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

/* The checksum was damaged together with the link, which leads to a tail further down: the chain is whole, and what
 * lies between is not on it. */
static void a_link_past_other_entries_hides_none_of_them(void **state) {
    (void)state;
    bench b;
    char saved[TEST_PATH_MAX];
    bench_begin(&b, "a link to a lower tail, and a wrong checksum");
    enum { ENTRIES = 16, DAMAGED = 13, LOWER = 1 };
    test_image image = {0};
    uint8_t payload[100];
    test_random random = test_random_begin(79);
    test_random_fill(&random, payload, sizeof payload);
    for (uint64_t key = 0; key < ENTRIES; key++) test_image_put(&image, key, payload, 30 + (size_t)key);
    const test_record *damaged = &image.records[DAMAGED];
    sdi_store64(image.bytes + damaged->end + SDI_PREV_FIELD, image.records[LOWER].tail);
    image.bytes[damaged->end + SDI_CHECKSUM_FIELD] ^= 1;
    test_file_put(b.path, image.bytes, image.size);
    CHECK_OK(simdrive_salvage(b.path, test_path(&b.folder, "saved", saved), NULL, NULL, NULL, NULL));

    const char *const paths[] = {b.path, saved};
    for (size_t i = 0; i < 2; i++) {
        simdrive_store *store = test_open_read_only(paths[i]);
        CHECK(test_info(store).damage == (i == 0 ? SIMDRIVE_DAMAGE_MIDDLE : SIMDRIVE_DAMAGE_NONE));
        for (uint64_t key = 0; key < ENTRIES; key++) CHECK(simdrive_exists_hash(store, key) || key == DAMAGED);
        CHECK_OK(simdrive_close(store));
    }
    test_image_free(&image);
    bench_end(&b);
}

/* Its entries have their checksums and links, but those count from where the payload begins. */
static void a_damaged_payload_that_is_a_store_is_one_corrupt_entry(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, "a damaged payload that is a store");
    enum { BELOW = 3, NESTED = 8 };
    test_image image = {0}, nested = {0};
    uint8_t payload[100];
    test_random random = test_random_begin(80);
    test_random_fill(&random, payload, sizeof payload);
    for (uint64_t key = 0; key < NESTED; key++) test_image_put(&nested, key, payload, 40 + (size_t)key);
    for (uint64_t key = 0; key < BELOW; key++) test_image_put(&image, key, payload, 30 + (size_t)key);
    test_image_put(&image, BELOW, nested.bytes, nested.size);
    test_image_put(&image, BELOW + 1, payload, 50);
    const test_record *holder = &image.records[BELOW];
    for (size_t i = 0; i <= NESTED; i++) { /* none; then within each entry of the nested store */
        if (i > 0) image.bytes[holder->start + nested.records[i - 1].start] ^= 1;
        test_file_put(b.path, image.bytes, image.size);
        simdrive_store *store = test_open(b.path);
        CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_NONE);
        CHECK_U64(i > 0, test_info(store).corrupt_entries);
        CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
        CHECK_OK(simdrive_close(store));
        if (i > 0) image.bytes[holder->start + nested.records[i - 1].start] ^= 1;
    }
    test_image_free(&nested);
    test_image_free(&image);
    bench_end(&b);
}

/* Behind padding the byte is no tombstone, so that such an entry can be in a file. */
static void salvage_passes_over_a_payload_that_cannot_be_stored(void **state) {
    (void)state;
    bench b;
    char saved[TEST_PATH_MAX];
    bench_begin(&b, "salvage of a payload of the single byte 00");
    test_image image = {0};
    test_image_put(&image, 1, "value", 5);
    test_image_put(&image, 2, "", 1);
    test_image_put(&image, 3, "another", 7);
    test_file_put(b.path, image.bytes, image.size);
    CHECK_OK(simdrive_salvage(b.path, test_path(&b.folder, "saved", saved), NULL, NULL, NULL, NULL));
    simdrive_store *store = test_open_read_only(saved);
    CHECK_U64(2, simdrive_count(store));
    CHECK(simdrive_exists_hash(store, 1) && simdrive_exists_hash(store, 3));
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

/* --- opening beside the first write of a file -------------------------------------------------------------------- */

typedef struct first_write {
    const char *path;
    const uint8_t *bytes; /* the file once it is done */
    size_t size;
    unsigned calls_left; /* of the reader, until it is */
} first_write;

static void finish_first_write(void *user, sdi_fault_kind kind, const char *path) {
    first_write *w = user;
    (void)kind;
    (void)path;
    if (w->calls_left > 0 && --w->calls_left == 0) test_file_put(w->path, w->bytes, w->size);
}

/* The writer has come to `so_far` and finishes at the reader's call number `call`. False when there are fewer. */
static bool open_beside_first_write(bench *b, first_write *w, size_t so_far, unsigned call) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *store = NULL;
    uint8_t *bytes = test_alloc(w->size);
    memcpy(bytes, w->bytes, so_far);
    memset(bytes + so_far, 0, w->size - so_far);
    memcpy(bytes, sdi_first_write_mark, sizeof sdi_first_write_mark);
    bool has_room = w->bytes[w->size - 1] == 0;
    test_file_put(b->path, bytes, has_room ? w->size : so_far);
    free(bytes);
    w->calls_left = call;
    sdi_fault_os_set_hook(b->faults, finish_first_write, w);
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(b->faults), b->path, &options, &store));
    sdi_fault_os_set_hook(b->faults, NULL, NULL);
    bool finished = w->calls_left == 0;
    if (finished) {
        CHECK_OK(simdrive_refresh(store, NULL));
        CHECK(simdrive_exists_hash(store, 1));
    }
    CHECK_OK(simdrive_close(store));
    return finished;
}

/* Whatever it has seen of it before it was over; in a file with room ahead, too. */
static void a_reader_that_opens_beside_the_first_write_sees_a_store(void **state) {
    (void)state;
    enum { PAYLOAD = 20000, SO_FAR = 8192, ROOM = 65536 };
    for (size_t room = 0; room <= ROOM; room += ROOM) {
        bench b;
        bench_begin(&b, room ? "the first write of a file with room" : "the first write of a file");
        test_image image = {0};
        uint8_t *payload = test_alloc(PAYLOAD);
        test_random random = test_random_begin(81);
        test_random_fill(&random, payload, PAYLOAD);
        test_image_put(&image, 1, payload, PAYLOAD);
        uint8_t *bytes = test_alloc(image.size + room);
        memcpy(bytes, image.bytes, image.size);
        memset(bytes + image.size, 0, room);
        first_write w = {.path = b.path, .bytes = bytes, .size = image.size + room};
        unsigned call = 1;
        while (open_beside_first_write(&b, &w, SO_FAR, call)) call++;
        CHECK(call > 4);
        free(bytes);
        free(payload);
        test_image_free(&image);
        bench_end(&b);
    }
}

/* A file made by a call that then failed stayed, empty, and stood in the way of the next attempt. */
static void a_failed_call_leaves_no_file_that_it_has_made(void **state) {
    bench b;
    (void)state;
    bench_begin(&b, "opening a new file fails");
    const sdi_os *os = sdi_fault_os_table(b.faults);
    simdrive_open_options options = {.struct_size = sizeof options, .must_create = true};
    const sdi_fault_plan plan = {.kind = SDI_FAULT_MAP, .nth = 1, .status = SIMDRIVE_ERROR_IO, .os_error = 5};
    for (int look = 0; look < 2; look++) {
        sdi_fault_plan first = plan;
        simdrive_store *store = NULL;
        if (look) first.kind = SDI_FAULT_PATH_INFO;
        sdi_fault_os_arm(b.faults, &first);
        CHECK_STATUS(SIMDRIVE_ERROR_IO, sdi_open_with_os(os, b.path, &options, &store));
        CHECK_U64(5, (unsigned)simdrive_last_os_error());
        CHECK_U64(1, sdi_fault_os_disarm(b.faults));
        CHECK(!test_file_exists(b.path));
    }
    bench_end(&b);
}

/* simdrive_last_os_error() said 0 of a failure of the system. */
static void beginning_changes_tells_the_error_of_the_system(void **state) {
    bench b;
    (void)state;
    bench_begin(&b, "beginning changes fails");
    simdrive_changes *changes = NULL;
    test_image image = {0};
    test_image_put(&image, 1, "value", 5);
    test_file_put(b.path, image.bytes, image.size);
    simdrive_store *store = NULL;
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(b.faults), b.path, &options, &store));
    sdi_fault_plan plan = {.kind = SDI_FAULT_PATH_INFO, .nth = 2, .status = SIMDRIVE_ERROR_IO, .os_error = 5};
    sdi_fault_os_arm(b.faults, &plan);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_changes_begin(store, NULL, &changes));
    CHECK_U64(5, (unsigned)simdrive_last_os_error());
    CHECK_U64(1, sdi_fault_os_disarm(b.faults));
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
    bench_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_compaction_does_not_stop_later_ones),
        cmocka_unit_test(a_file_with_two_names_is_not_compacted),
        cmocka_unit_test(a_file_that_gets_a_second_name_meanwhile_is_not_replaced),
        cmocka_unit_test(deletes_of_hashes_in_sequence_take_linear_time),
        cmocka_unit_test(a_batch_knows_its_own_keys_apart),
        cmocka_unit_test(verification_names_every_mended_link),
        cmocka_unit_test(calls_that_write_nothing_leave_a_damaged_tail),
        cmocka_unit_test(the_first_bytes_that_are_written_move_a_damaged_tail),
        cmocka_unit_test(what_fails_the_check_on_reading_is_not_given_out),
        cmocka_unit_test(no_loss_of_power_changes_the_key_of_an_entry),
        cmocka_unit_test(no_loss_of_power_in_a_plain_batch_hides_a_durable_value),
        cmocka_unit_test(the_first_sync_makes_the_name_durable_whoever_created_it),
        cmocka_unit_test(the_name_that_is_synced_is_the_one_behind_a_link),
        cmocka_unit_test(a_sector_lost_near_the_end_is_a_torn_write_and_kept_aside),
        cmocka_unit_test(a_sector_lost_far_from_the_end_is_damage_in_the_middle),
        cmocka_unit_test(a_reclaimed_newest_entry_among_corrupt_ones_is_found),
        cmocka_unit_test(a_key_that_is_not_there_is_refused),
        cmocka_unit_test(an_entry_that_is_zero_says_nothing),
        cmocka_unit_test(a_group_of_writes_is_refused_by_a_poisoned_handle),
        cmocka_unit_test(readers_see_what_is_before_a_long_stream_over_zeros),
        cmocka_unit_test(a_torn_entry_with_a_lost_link_hides_nothing_below_it),
        cmocka_unit_test(a_lost_link_above_other_damage_loses_one_entry),
        cmocka_unit_test(a_link_past_other_entries_hides_none_of_them),
        cmocka_unit_test(a_damaged_payload_that_is_a_store_is_one_corrupt_entry),
        cmocka_unit_test(a_reader_that_opens_beside_the_first_write_sees_a_store),
        cmocka_unit_test(salvage_passes_over_a_payload_that_cannot_be_stored),
        cmocka_unit_test(a_failed_call_leaves_no_file_that_it_has_made),
        cmocka_unit_test(beginning_changes_tells_the_error_of_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
