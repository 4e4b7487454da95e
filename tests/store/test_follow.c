/* SPDX-License-Identifier: Apache-2.0
 *
 * test_follow.c — readers that follow a writer: refresh sees appends, deletes, compaction, whole batches only; opening
 * and refreshing beside a writer who takes bytes back ends nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "builder.h"
#include "check.h"
#include "fault_os.h"
#include "files.h"
#include "store/store.h"
#include "stores.h"

static bool refreshed(simdrive_store *reader) {
    bool changed = false;
    CHECK_OK(simdrive_refresh(reader, &changed));
    return changed;
}

static void write_number(simdrive_store *store, uint64_t key, uint64_t value) {
    CHECK_OK(simdrive_write_hash(store, key, &value, sizeof value, NULL));
}

static void check_number(simdrive_store *store, uint64_t key, uint64_t value) {
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_hash(store, key, &entry));
    CHECK(entry.size == sizeof value && memcmp(entry.data, &value, sizeof value) == 0);
    simdrive_entry_release(&entry);
}

static void a_reader_sees_what_was_written_after_refresh_only(void **state) {
    test_bench *b = *state;
    test_context("refresh after writes");
    simdrive_store *writer = test_open(b->path), *reader = test_open_read_only(b->path);
    CHECK(!refreshed(reader));
    for (uint64_t i = 1; i <= 700; i++) { /* more than one group, from an empty store on */
        write_number(writer, i, i);
        CHECK_U64(i - 1, simdrive_count(reader));
        CHECK(!simdrive_exists_hash(reader, i));
        if (i % 7 == 0 || i < 20) {
            CHECK(refreshed(reader));
            CHECK_U64(i, simdrive_count(reader));
            check_number(reader, i, i);
            CHECK(!refreshed(reader));
        } else {
            CHECK(refreshed(reader));
        }
        CHECK_U64(simdrive_tail(writer), simdrive_tail(reader));
    }
    write_number(writer, 3, 33);
    CHECK_OK(simdrive_delete_hash(writer, 4, NULL));
    check_number(reader, 3, 3);
    CHECK(refreshed(reader));
    check_number(reader, 3, 33);
    CHECK(!simdrive_exists_hash(reader, 4));
    simdrive_info ours = test_info(reader), theirs = test_info(writer);
    CHECK(ours.entries == theirs.entries && ours.tombstones == theirs.tombstones);
    CHECK(ours.stale_entries == theirs.stale_entries && ours.live_bytes == theirs.live_bytes);
    CHECK_OK(simdrive_verify(reader, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
}

static void many_entries_at_once_are_followed(void **state) {
    test_bench *b = *state;
    test_context("refresh after many writes");
    enum { COUNT = 20000 };
    uint64_t *hashes = test_alloc(COUNT * sizeof *hashes);
    simdrive_bytes *payloads = test_alloc(COUNT * sizeof *payloads);
    for (uint64_t i = 0; i < COUNT; i++) {
        hashes[i] = simdrive_hash_key(&i, sizeof i);
        payloads[i] = (simdrive_bytes){&hashes[i], sizeof *hashes};
    }
    simdrive_store *writer = test_open(b->path), *reader = test_open_read_only(b->path);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_OK(simdrive_write_batch_hash(writer, hashes, payloads, COUNT, NULL));
        CHECK(refreshed(reader));
        CHECK_U64(COUNT, simdrive_count(reader));
        for (uint64_t i = 0; i < COUNT; i++) check_number(reader, hashes[i], hashes[i]);
    }
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
    free(payloads);
    free(hashes);
}

static void a_reader_moves_to_the_compacted_file(void **state) {
    test_bench *b = *state;
    test_context("refresh after compaction");
    simdrive_store *writer = test_open(b->path);
    for (uint64_t i = 0; i < 300; i++) write_number(writer, i % 30 + 1, i);
    simdrive_store *reader = test_open_read_only(b->path);
    simdrive_entry held = {0};
    simdrive_session *session = NULL;
    simdrive_iterator *iterator = NULL;
    CHECK_OK(simdrive_read_hash(reader, 5, &held));
    CHECK_OK(simdrive_session_begin(reader, &session));
    CHECK_OK(simdrive_iterate(reader, &iterator));
    CHECK_OK(simdrive_compact(writer, NULL, NULL));
    write_number(writer, 5, 5555);
    check_number(reader, 5, 274);
    CHECK(refreshed(reader));
    check_number(reader, 5, 5555);
    CHECK_U64(simdrive_tail(writer), simdrive_tail(reader));
    uint64_t old = 274;
    CHECK(memcmp(held.data, &old, sizeof old) == 0);
    simdrive_bytes payload;
    CHECK_OK(simdrive_session_read_hash(session, 5, &payload));
    uint64_t new_value = 5555;
    CHECK(memcmp(payload.data, &new_value, sizeof new_value) == 0);
    size_t walked = 0;
    simdrive_entry entry = {0};
    while (simdrive_iterator_next(iterator, &entry) == SIMDRIVE_OK) {
        walked++;
        simdrive_entry_release(&entry);
    }
    CHECK_U64(30, walked);
    simdrive_iterator_close(iterator);
    simdrive_session_end(session);
    simdrive_entry_release(&held);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
}

/* The last thing that is written of a batch is a link within it, and of a first entry its first bytes: the file does
 * not get longer. Readers who looked just before see it all the same. */
static void what_is_completed_in_place_is_seen(void **state) {
    test_bench *b = *state;
    test_image image = {0};
    for (uint64_t key = 1; key <= 5; key++) test_image_put(&image, key, "a payload of some bytes", 23);
    for (size_t first = 0; first < 4; first++) {
        for (unsigned opened_before = 0; opened_before < 2; opened_before++) {
            test_context("completed at entry %zu, opened %s", first, opened_before ? "before" : "in between");
            const test_record *record = &image.records[first];
            size_t held = first == 0 ? 0 : record->end + SDI_PREV_FIELD;
            test_image unfinished;
            test_image_clone(&image, &unfinished);
            if (first == 0)
                memcpy(unfinished.bytes, sdi_first_write_mark, sizeof sdi_first_write_mark);
            else
                sdi_unpublished_prev(held, record->prev, unfinished.bytes + held);
            test_file_put(b->path, image.bytes, record->prev);
            simdrive_store *reader = opened_before ? test_open_read_only(b->path) : NULL;
            test_file_append(b->path, unfinished.bytes + record->prev, image.size - record->prev);
            if (!reader) reader = test_open_read_only(b->path);
            for (unsigned i = 0; i < 3; i++) {
                CHECK(!refreshed(reader));
                CHECK_U64(first, simdrive_count(reader));
            }
            FILE *file = fopen(b->path, "r+b");
            CHECK(file && fseek(file, (long)held, SEEK_SET) == 0);
            CHECK(fwrite(image.bytes + held, 1, 8, file) == 8 && fclose(file) == 0);
            CHECK(refreshed(reader));
            test_check_shows(reader, &image);
            CHECK(!refreshed(reader));
            CHECK_OK(simdrive_close(reader));
            test_image_free(&unfinished);
        }
    }
    test_image_free(&image);
}

/* The maps of a generation are limited in number, and cannot always be made longer where they are. */
static void a_reader_may_refresh_any_number_of_times(void **state) {
    test_bench *b = *state;
    test_context("many refreshes without growing maps");
    enum { COUNT = 500 };
    sdi_fault_os *faults = sdi_fault_os_create(); /* whose maps never grow */
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *writer = test_open(b->path), *reader = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), b->path, &options, &reader));
    for (uint64_t i = 1; i <= COUNT; i++) {
        write_number(writer, i, i);
        CHECK(refreshed(reader));
        check_number(reader, i, i);
    }
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
    sdi_fault_os_destroy(faults);
}

static void refresh_is_nothing_where_nothing_can_change(void **state) {
    test_bench *b = *state;
    test_context("refresh of writers and stores in memory");
    bool changed = true;
    simdrive_store *writer = test_open(b->path), *memory = NULL;
    CHECK_OK(simdrive_refresh(writer, &changed));
    CHECK(!changed);
    CHECK_OK(simdrive_refresh(writer, NULL));
    CHECK_OK(simdrive_open_memory(NULL, 0, &memory));
    CHECK_OK(simdrive_refresh(memory, &changed));
    CHECK_OK(simdrive_close(memory));
    CHECK_OK(simdrive_close(writer));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_refresh(NULL, NULL));
}

static void a_cut_or_missing_file_is_an_error(void **state) {
    test_bench *b = *state;
    test_context("refresh of a file that others changed");
    simdrive_store *writer = test_open(b->path);
    for (uint64_t i = 1; i <= 50; i++) write_number(writer, i, i);
    CHECK_OK(simdrive_close(writer));
    simdrive_store *reader = test_open_read_only(b->path);
    test_file_truncate(b->path, test_file_size(b->path) - 1);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_refresh(reader, NULL));
    remove(b->path);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_refresh(reader, NULL));
    check_number(reader, 1, 1);
    CHECK_OK(simdrive_close(reader));
}

/* --- beside a process that writes -------------------------------------------------------------------------------- */

enum { BATCH = 40, OLD_KEYS = 100, BATCHES = 150, STREAMS = 100 };

static void write_batches(const test_bench *b) {
    simdrive_store *store = test_open(b->path);
    uint64_t hashes[BATCH], value[3000 / 8] = {1}, next = simdrive_count(store) + 1;
    simdrive_bytes payloads[BATCH];
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        for (size_t i = 0; i < BATCH; i++) {
            hashes[i] = next++;
            payloads[i] = (simdrive_bytes){value, i % 5 == 0 ? sizeof value : 8};
        }
        CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, BATCH, NULL));
    }
    CHECK_OK(simdrive_close(store));
}

static void abort_streams(const test_bench *b) {
    simdrive_store *store = test_open(b->path);
    size_t size = 2 << 20;
    uint8_t *bytes = test_alloc(size);
    test_random random = test_random_begin(820);
    test_random_fill(&random, bytes, size);
    for (unsigned i = 0; i < STREAMS; i++) {
        simdrive_stream *stream = NULL;
        CHECK_OK(simdrive_stream_begin_hash(store, 1, 0, &stream));
        CHECK_OK(simdrive_stream_append(stream, bytes, size));
        CHECK_OK(simdrive_stream_abort(stream));
    }
    free(bytes);
    CHECK_OK(simdrive_close(store));
}

/* Runs `body` in a process of its own, and `look` again and again until it is done. */
static void beside(void (*body)(const test_bench *b), void (*look)(const test_bench *b, simdrive_store *following),
                   const test_bench *b) {
    simdrive_store *following = test_open_read_only(b->path);
    int how = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        body(b);
        _exit(0);
    }
    while (waitpid(child, &how, WNOHANG) == 0) look(b, following);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    look(b, following);
    CHECK_OK(simdrive_close(following));
}

static void put_old_keys(const test_bench *b) {
    simdrive_store *store = test_open(b->path);
    for (uint64_t i = 1; i <= OLD_KEYS; i++) write_number(store, i, i);
    CHECK_OK(simdrive_close(store));
}

static void check_whole_batches(simdrive_store *reader) {
    uint64_t count = simdrive_count(reader);
    CHECK(count >= OLD_KEYS && (count - OLD_KEYS) % BATCH == 0);
    CHECK(test_info(reader).damage <= SIMDRIVE_DAMAGE_TAIL);
}

static void look_for_half_batches(const test_bench *b, simdrive_store *following) {
    uint64_t seen = simdrive_count(following);
    simdrive_store *opened = test_open_read_only(b->path);
    check_whole_batches(opened);
    CHECK_OK(simdrive_close(opened));
    CHECK_OK(simdrive_refresh(following, NULL));
    check_whole_batches(following);
    CHECK(simdrive_count(following) >= seen);
}

static void readers_see_whole_batches_only(void **state) {
    test_bench *b = *state;
    put_old_keys(b);
    for (unsigned round = 0; round < (test_exhaustive() ? 200u : 10u); round++) {
        test_context("beside a writer of batches, round %u", round);
        beside(write_batches, look_for_half_batches, b);
    }
}

static void look_for_old_keys(const test_bench *b, simdrive_store *following) {
    simdrive_store *opened = test_open_read_only(b->path);
    CHECK_U64(OLD_KEYS, simdrive_count(opened));
    CHECK_OK(simdrive_close(opened));
    CHECK_OK(simdrive_refresh(following, NULL));
    CHECK_U64(OLD_KEYS, simdrive_count(following));
}

static void readers_survive_a_writer_who_takes_back(void **state) {
    test_bench *b = *state;
    put_old_keys(b);
    for (unsigned round = 0; round < (test_exhaustive() ? 200u : 5u); round++) {
        test_context("beside a writer who gives up, round %u", round);
        beside(abort_streams, look_for_old_keys, b);
    }
}

#define FOLLOW_TEST(test) cmocka_unit_test_setup_teardown(test, test_bench_begin, test_bench_end)

/* As a writer leaves it that dies in it. Whatever its length, it is looked through once. */
static void a_long_unpublished_batch_is_passed_over(void **state) {
    test_bench *b = *state;
    enum { ENTRIES = 100000 };
    static uint64_t hashes[ENTRIES];
    static simdrive_bytes payloads[ENTRIES];
    char path[TEST_PATH_MAX];
    size_t size = 0;
    test_context("a batch of %d entries", ENTRIES);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        hashes[i] = i + 2;
        payloads[i] = (simdrive_bytes){&hashes[i], sizeof hashes[i]};
    }
    simdrive_store *writer = test_open(test_path(&b->folder, "other", path));
    write_number(writer, 1, 1);
    uint64_t tail = simdrive_tail(writer);
    CHECK_OK(simdrive_write_batch_hash(writer, hashes, payloads, ENTRIES, NULL));
    CHECK_OK(simdrive_close(writer));
    uint8_t *bytes = test_file_get(path, &size);
    size_t alignment = simdrive_alignment(), start = (size_t)(tail + alignment - 1) / alignment * alignment;
    size_t link = start + sizeof hashes[0] + 8; /* of the batch's first entry */
    for (size_t i = 0; i < 8; i++) bytes[link + i] ^= 0xff;
    test_file_put(b->path, bytes, (size_t)tail);
    simdrive_store *reader = test_open_read_only(b->path);
    test_file_append(b->path, bytes + tail, size - (size_t)tail);
    CHECK(!refreshed(reader));
    CHECK_U64(1, simdrive_count(reader));
    for (size_t i = 0; i < 8; i++) bytes[link + i] ^= 0xff;
    test_file_put(b->path, bytes, size);
    CHECK(refreshed(reader));
    CHECK_U64(ENTRIES + 1, simdrive_count(reader));
    CHECK_OK(simdrive_close(reader));
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLLOW_TEST(a_reader_sees_what_was_written_after_refresh_only),
        FOLLOW_TEST(many_entries_at_once_are_followed),
        FOLLOW_TEST(a_reader_moves_to_the_compacted_file),
        FOLLOW_TEST(what_is_completed_in_place_is_seen),
        FOLLOW_TEST(a_reader_may_refresh_any_number_of_times),
        FOLLOW_TEST(refresh_is_nothing_where_nothing_can_change),
        FOLLOW_TEST(a_cut_or_missing_file_is_an_error),
        FOLLOW_TEST(readers_see_whole_batches_only),
        FOLLOW_TEST(readers_survive_a_writer_who_takes_back),
        FOLLOW_TEST(a_long_unpublished_batch_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
