/* SPDX-License-Identifier: Apache-2.0
 *
 * test_history.c — the versions of a key, and a store as it was: against a model, at each tail, on top of damage.
 */
#include <stdlib.h>
#include <string.h>

#include "stores.h"

static simdrive_status open_at(const char *path, uint64_t offset, simdrive_store **out) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .at_offset = offset};
    return simdrive_open(path, &options, out);
}

/* --- versions ---------------------------------------------------------------------------------------------------- */

/* All versions among the first `prefix` entries. `corrupt` is an entry that must be told as such, `reclaimed` too. */
static void check_versions(simdrive_store *store, const test_image *image, size_t prefix, uint64_t hash,
                           size_t corrupt, size_t reclaimed) {
    simdrive_history *history = NULL;
    simdrive_revision revision;
    bool first = true;
    for (size_t i = prefix; i-- > 0;) {
        const test_record *record = &image->records[i];
        if (record->key_hash != hash) continue;
        if (first) CHECK_OK(simdrive_history_begin_hash(store, hash, &history));
        CHECK_OK(simdrive_history_next(history, &revision));
        CHECK(revision.operation == (record->tombstone ? SIMDRIVE_DELETE : SIMDRIVE_PUT));
        CHECK(revision.live == (first && !record->tombstone));
        CHECK_U64(record->tail, revision.offset);
        if (i != reclaimed && i != corrupt) CHECK_U64(record->checksum, revision.checksum);
        CHECK(revision.corrupt == (i == corrupt) && revision.reclaimed == (i == reclaimed));
        CHECK_U64(record->tombstone ? 0 : test_record_size(record), revision.payload.size);
        bool has_data = !record->tombstone && i != corrupt && i != reclaimed;
        CHECK((revision.payload.data != NULL) == has_data);
        if (has_data) CHECK(memcmp(image->bytes + record->start, revision.payload.data, revision.payload.size) == 0);
        first = false;
    }
    if (first) {
        CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_history_begin_hash(store, hash, &history));
        CHECK(history == NULL);
        return;
    }
    CHECK_STATUS(SIMDRIVE_END, simdrive_history_next(history, &revision));
    CHECK_STATUS(SIMDRIVE_END, simdrive_history_next(history, &revision));
    simdrive_history_end(history);
}

static void check_all_versions(simdrive_store *store, const test_image *image, size_t prefix) {
    for (size_t i = 0; i < image->count; i++)
        check_versions(store, image, prefix, image->records[i].key_hash, SIZE_MAX, SIZE_MAX);
    check_versions(store, image, prefix, 12345, SIZE_MAX, SIZE_MAX);
}

static void put_random(simdrive_store *store, test_image *image, test_random *random) {
    uint8_t payload[300];
    uint64_t hash = test_key_hash(test_random_below(random, 12));
    size_t size = 2 + (size_t)test_random_below(random, sizeof payload - 2);
    if (test_random_below(random, 4) == 0 && test_image_find(image, hash)) {
        CHECK_OK(simdrive_delete_hash(store, hash, NULL));
        test_image_delete(image, hash);
        return;
    }
    test_random_fill(random, payload, size);
    CHECK_OK(simdrive_write_hash(store, hash, payload, size, NULL));
    test_image_put(image, hash, payload, size);
}

static void each_version_of_each_key_is_told(void **state) {
    test_bench *b = *state;
    test_random random = test_random_begin(3000);
    test_image image = {0};
    simdrive_store *store = test_open(b->path), *reader = test_open_read_only(b->path);
    for (size_t step = 0; step < 300; step++) {
        test_context("step %zu", step);
        put_random(store, &image, &random);
        if (step == 200) {
            CHECK_OK(simdrive_compact(store, NULL, NULL));
            test_image_compact(&image);
        }
        if (step % 10 != 0) continue;
        check_all_versions(store, &image, image.count);
        CHECK_OK(simdrive_refresh(reader, NULL));
        check_all_versions(reader, &image, image.count);
    }
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(store));
    test_image_free(&image);
}

static void a_history_is_of_one_moment_and_outlives_its_store(void **state) {
    test_bench *b = *state;
    simdrive_history *history = NULL;
    simdrive_revision revision;
    simdrive_store *store = test_open(b->path);
    test_context("history, then writes, compaction and close");
    CHECK_OK(simdrive_write(store, "key", 3, "one", 3, NULL));
    CHECK_OK(simdrive_write(store, "key", 3, "two", 3, NULL));
    CHECK_OK(simdrive_history_begin(store, "key", 3, &history));
    CHECK_OK(simdrive_delete(store, "key", 3, NULL));
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    CHECK_OK(simdrive_history_next(history, &revision));
    CHECK(revision.live && memcmp(revision.payload.data, "two", 3) == 0);
    CHECK_OK(simdrive_history_next(history, &revision));
    CHECK(!revision.live && memcmp(revision.payload.data, "one", 3) == 0);
    CHECK_STATUS(SIMDRIVE_END, simdrive_history_next(history, &revision));
    simdrive_history_end(history);
    simdrive_history_end(NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_history_begin(NULL, "key", 3, &history));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_history_next(NULL, &revision));
}

static void damaged_and_reclaimed_versions_are_told(void **state) {
    test_bench *b = *state;
    enum { LARGE = 20000 };
    uint8_t *large = test_alloc(LARGE);
    test_random random = test_random_begin(3100);
    test_image image = {0};
    test_random_fill(&random, large, LARGE);
    test_image_put(&image, 9, "first", 5);
    for (unsigned i = 0; i < 3; i++) test_image_put(&image, 1, large, LARGE);
    test_image_put(&image, 9, "last", 4);
    for (size_t i = 1; i <= 3; i++) {
        static const char *const kinds[] = {"a bit", "a page of zeros", "reclaimed"};
        for (unsigned kind = 0; kind < 3; kind++) {
            test_context("entry %zu, %s", i, kinds[kind]);
            test_image changed;
            test_image_clone(&image, &changed);
            size_t page = (image.records[i].start + 4095) / 4096 * 4096;
            if (kind == 0) changed.bytes[page] ^= 1;
            if (kind == 1) memset(changed.bytes + page, 0, 4096);
            if (kind == 2) test_reclaim_record(changed.bytes, &changed.records[i]);
            test_file_put(b->path, changed.bytes, changed.size);
            simdrive_store *store = test_open_read_only(b->path);
            bool reclaimed = kind == 2 && i < 3; /* the last of them is live */
            check_versions(store, &changed, image.count, 1, reclaimed ? SIZE_MAX : i, reclaimed ? i : SIZE_MAX);
            CHECK_OK(simdrive_close(store));
            test_image_free(&changed);
        }
    }
    test_image_free(&image);
    free(large);
}

/* --- as it was --------------------------------------------------------------------------------------------------- */

static void check_as_it_was(const char *path, const test_image *image, size_t prefix, size_t file_size) {
    simdrive_store *store = NULL;
    test_view view;
    test_view_build(&view, image, prefix);
    CHECK_OK(open_at(path, view.tail, &store));
    test_check_figures(store, &view);
    test_check_reads(store, &view);
    test_check_iteration(store, &view);
    check_all_versions(store, image, prefix);
    simdrive_info info = test_info(store);
    CHECK(info.damage == SIMDRIVE_DAMAGE_NONE && info.damaged_tail_bytes == 0 && info.read_only);
    CHECK_U64(file_size, info.file_size);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_write_hash(store, 1, "x", 1, NULL));
    CHECK_OK(simdrive_close(store));
    test_view_free(&view);
}

/* At each tail the store of that time; at each other offset nothing. `size` bytes of the image are in the file. */
static void check_each_offset(const char *path, const test_image *image, size_t count, size_t file_size) {
    size_t next = 0;
    for (uint64_t offset = 1; offset <= file_size + 30; offset++) {
        simdrive_store *store = NULL;
        if (next < count && image->records[next].tail == offset) {
            check_as_it_was(path, image, ++next, file_size);
            continue;
        }
        CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET, open_at(path, offset, &store));
        CHECK(store == NULL);
    }
    CHECK_U64(count, next);
}

static void a_store_is_shown_as_it_was_at_each_tail(void **state) {
    test_bench *b = *state;
    static const test_shape shapes[] = {TEST_SHAPE_TEXT, TEST_SHAPE_TOMBSTONES, TEST_SHAPE_NO_PAD, TEST_SHAPE_U64,
                                        TEST_SHAPE_NESTED_LAST};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        test_random random = test_random_begin(3200 + s);
        test_image image = {0};
        test_context("shape %s", test_shape_name(shapes[s]));
        test_image_generate(&image, shapes[s], 16, 40, &random);
        test_file_put(b->path, image.bytes, image.size);
        check_each_offset(b->path, &image, image.count, image.size);
        CHECK(test_file_equals(b->path, image.bytes, image.size));
        test_image_free(&image);
    }
}

static void a_damaged_tail_does_not_matter_to_what_was(void **state) {
    test_bench *b = *state;
    test_random random = test_random_begin(3300);
    test_image image = {0};
    uint8_t garbage[200];
    test_image_generate(&image, TEST_SHAPE_RANDOM, 10, 60, &random);
    test_random_fill(&random, garbage, sizeof garbage);
    test_context("garbage behind the tail");
    test_file_put(b->path, image.bytes, image.size);
    test_file_append(b->path, garbage, sizeof garbage);
    check_each_offset(b->path, &image, image.count, image.size + sizeof garbage);
    test_context("the last entry is cut");
    test_file_put(b->path, image.bytes, image.size - 5);
    check_each_offset(b->path, &image, image.count - 1, image.size - 5);
    test_image_free(&image);
}

/* The inner store is bytes of a payload, though the file up to its tails would be a store. */
static void tails_of_an_inner_store_are_none(void **state) {
    test_bench *b = *state;
    test_image inner = {0}, image = {0};
    test_random random = test_random_begin(3400);
    test_context("a store as the first payload");
    test_image_generate(&inner, TEST_SHAPE_TEXT, 4, 30, &random);
    test_image_put(&image, 1, inner.bytes, inner.size);
    test_image_put(&image, 2, "two", 3);
    test_file_put(b->path, image.bytes, image.size);
    check_each_offset(b->path, &image, image.count, image.size);
    test_image_free(&image);
    test_image_free(&inner);
}

static void what_was_never_changes(void **state) {
    test_bench *b = *state;
    test_random random = test_random_begin(3500);
    test_image image = {0};
    simdrive_store *was = NULL;
    test_view view;
    bool changed = true;
    test_context("beside a writer");
    simdrive_store *store = test_open(b->path);
    for (unsigned i = 0; i < 50; i++) put_random(store, &image, &random);
    size_t prefix = image.count;
    test_view_build(&view, &image, prefix);
    CHECK_OK(open_at(b->path, view.tail, &was));
    for (unsigned i = 0; i < 50; i++) put_random(store, &image, &random);
    test_view_free(&view);
    test_view_build(&view, &image, prefix);
    CHECK_OK(simdrive_refresh(was, &changed));
    CHECK(!changed);
    CHECK_STATUS(SIMDRIVE_END, simdrive_wait(was, view.tail, UINT32_MAX));
    CHECK_OK(simdrive_wait(was, view.tail + 1, UINT32_MAX));
    test_check_figures(was, &view);
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK_OK(simdrive_refresh(was, &changed));
    test_check_reads(was, &view);
    CHECK_OK(simdrive_close(was));
    CHECK_OK(simdrive_close(store));
    test_view_free(&view);
    test_image_free(&image);
}

static void only_readers_open_what_was(void **state) {
    test_bench *b = *state;
    simdrive_store *store = NULL;
    simdrive_open_options options = {.struct_size = sizeof options, .at_offset = 25};
    test_context("options");
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_open(b->path, &options, &store));
    CHECK(!test_file_exists(b->path));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, open_at(b->path, 25, &store));
    test_file_put(b->path, "nothing like a store, although long enough", 42);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, open_at(b->path, 25, &store));
}

#define HISTORY_TEST(test) cmocka_unit_test_setup_teardown(test, test_bench_begin, test_bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        HISTORY_TEST(each_version_of_each_key_is_told),
        HISTORY_TEST(a_history_is_of_one_moment_and_outlives_its_store),
        HISTORY_TEST(damaged_and_reclaimed_versions_are_told),
        HISTORY_TEST(a_store_is_shown_as_it_was_at_each_tail),
        HISTORY_TEST(a_damaged_tail_does_not_matter_to_what_was),
        HISTORY_TEST(tails_of_an_inner_store_are_none),
        HISTORY_TEST(what_was_never_changes),
        HISTORY_TEST(only_readers_open_what_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
