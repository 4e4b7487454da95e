/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recovery_prefix.c — a store that ends anywhere, with anything behind it, shows exactly the entries that are
 * complete; opening changes nothing; the first write keeps the damaged bytes aside and goes on.
 */
#include "support/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 200, SCALE = 60, MOST_GARBAGE = 65536 };

static const size_t GARBAGE_SIZES[] = {1, 12, 20, 64, 512, 4096, MOST_GARBAGE};
enum { GARBAGE_SIZE_COUNT = sizeof GARBAGE_SIZES / sizeof GARBAGE_SIZES[0] };

typedef enum garbage { GARBAGE_ZEROS, GARBAGE_RANDOM, GARBAGE_TAILS, GARBAGE_KINDS } garbage;

static const char *const GARBAGE_NAMES[GARBAGE_KINDS] = {"zeros", "random bytes", "copies of a tail offset"};

/* One shape under test: its image, its file, and what each number of complete entries shows. */
typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    test_random random;
    test_image image;
    test_view *views; /* [image.count + 1] */
    uint8_t *file;    /* the bytes now in the file */
    size_t file_size;
} bench;

static void bench_begin(bench *b, test_shape shape) {
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    b->random = test_random_begin(100 + (uint64_t)shape);
    b->image = (test_image){.checksum = test_random_below(&b->random, 2) ? SIMDRIVE_CHECKSUM_CRC32
                                                                         : SIMDRIVE_CHECKSUM_CRC32C};
    test_image_generate(&b->image, shape, ENTRIES, SCALE, &b->random);
    b->views = test_alloc((b->image.count + 1) * sizeof *b->views);
    for (size_t i = 0; i <= b->image.count; i++) test_view_build(&b->views[i], &b->image, i);
    b->file = test_alloc(b->image.size + MOST_GARBAGE);
}

static void bench_end(bench *b) {
    for (size_t i = 0; i <= b->image.count; i++) test_view_free(&b->views[i]);
    free(b->views);
    free(b->file);
    test_image_free(&b->image);
    test_folder_remove(&b->folder);
}

/* The file becomes the first `cut` bytes of the image and `size` bytes of garbage. */
static void bench_put(bench *b, size_t cut, garbage kind, size_t size) {
    memcpy(b->file, b->image.bytes, cut);
    uint8_t *behind = b->file + cut;
    b->file_size = cut + size;
    if (kind == GARBAGE_ZEROS) memset(behind, 0, size);
    if (kind == GARBAGE_RANDOM) test_random_fill(&b->random, behind, size);
    if (kind == GARBAGE_TAILS) {
        size_t tail = b->image.records[test_random_below(&b->random, b->image.count)].tail;
        for (size_t i = 0; i < size; i++) behind[i] = i % 8 < 4 ? (uint8_t)(tail >> (8 * (i % 8))) : 0;
    }
    test_file_put(b->path, b->file, b->file_size);
}

/* Appended bytes may continue the entry that was cut, by chance: that counts as well. */
static size_t complete_entries(const bench *b) {
    size_t same = 0;
    size_t most = b->file_size < b->image.size ? b->file_size : b->image.size;
    while (same < most && b->file[same] == b->image.bytes[same]) same++;
    return test_image_complete(&b->image, same);
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i]) return false;
    }
    return true;
}

/* Zeros alone are room ahead, and no damage. */
static void check_damage(const simdrive_info *info, size_t tail, const uint8_t *file, size_t file_size) {
    bool is_room = all_zero(file + tail, file_size - tail);
    CHECK_U64(tail, info->tail);
    CHECK_U64(is_room ? tail : file_size, info->file_size);
    CHECK_U64(is_room ? 0 : file_size - tail, info->damaged_tail_bytes);
    CHECK_U64(is_room ? file_size - tail : 0, info->room_ahead_bytes);
    if (tail > 0) CHECK(info->damage == (is_room ? SIMDRIVE_DAMAGE_NONE : SIMDRIVE_DAMAGE_TAIL));
}

/* Opens for writing, the stricter of the two ways, and compares. Returns how many entries were complete. */
static size_t check_state(bench *b, bool read_only) {
    size_t complete = complete_entries(b);
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = read_only};
    simdrive_store *store = NULL;
    simdrive_status status = simdrive_open(b->path, &options, &store);
    if (complete == 0 && !all_zero(b->file, b->file_size)) {
        CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, status);
        CHECK(store == NULL);
    } else {
        CHECK_OK(status);
        simdrive_info info = test_info(store);
        check_damage(&info, b->views[complete].tail, b->file, b->file_size);
        test_check_figures(store, &b->views[complete]);
        test_check_reads(store, &b->views[complete]);
    }
    simdrive_close(store);
    return complete;
}

static void check_unchanged(const bench *b) {
    CHECK(test_file_equals(b->path, b->file, b->file_size));
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL));
}

/* The first write keeps the damaged bytes aside and goes on behind the last complete entry. */
static void check_writing(bench *b, size_t complete) {
    test_image image = {.checksum = b->image.checksum};
    for (size_t i = 0; i < complete; i++) {
        const test_record *record = &b->image.records[i];
        if (record->tombstone)
            test_image_delete(&image, record->key_hash);
        else
            test_image_put(&image, record->key_hash, b->image.bytes + record->start, test_record_size(record));
    }
    size_t tail = image.size;
    simdrive_open_options options = {.struct_size = sizeof options, .checksum = image.checksum};
    simdrive_store *store;
    CHECK_OK(simdrive_open(b->path, &options, &store));
    CHECK_OK(simdrive_write(store, "new key", 7, "new value", 9, NULL));
    test_image_put(&image, simdrive_hash_key("new key", 7), "new value", 9);
    test_check_shows(store, &image);
    CHECK_U64(0, test_info(store).damaged_tail_bytes);
    simdrive_close(store);
    test_check_file(b->path, &image);
    CHECK(test_file_equals(b->path, image.bytes, image.size));

    bool kept = b->file_size > tail && !all_zero(b->file + tail, b->file_size - tail);
    char name[64], path[TEST_PATH_MAX];
    snprintf(name, sizeof name, "store.tail-%zu", tail);
    test_path(&b->folder, name, path);
    CHECK_U64(kept ? 2 : 1, test_folder_count(&b->folder, "", NULL));
    if (kept) {
        CHECK(test_file_equals(path, b->file + tail, b->file_size - tail));
        CHECK(remove(path) == 0);
    }
    test_image_free(&image);
}

static void every_prefix(test_shape shape) {
    bench b;
    bench_begin(&b, shape);
    size_t stride = shape == TEST_SHAPE_RANDOM || test_exhaustive() ? 1 : 7;
    memcpy(b.file, b.image.bytes, b.image.size);
    test_file_put(b.path, b.image.bytes, b.image.size);
    for (size_t cut = b.image.size + 1; cut-- > 0;) {
        size_t entry = test_image_complete(&b.image, cut);
        bool at_edge = cut == b.views[entry].tail || (entry < b.image.count && cut + 1 == b.views[entry + 1].tail);
        if (cut % stride != 0 && !at_edge) continue;
        test_context("shape %s cut to %zu bytes", test_shape_name(shape), cut);
        test_file_truncate(b.path, cut);
        b.file_size = cut;
        check_state(&b, cut % 2 == 1);
        if (cut % 16 == 0) check_unchanged(&b);
    }
    bench_end(&b);
}

static void prefixes_with_garbage(test_shape shape) {
    bench b;
    bench_begin(&b, shape);
    size_t cuts = test_exhaustive() ? 2000 : 60;
    for (size_t i = 0; i < cuts; i++) {
        size_t cut = (size_t)test_random_below(&b.random, b.image.size + 1);
        if (i % 4 == 0) cut = b.image.records[test_random_below(&b.random, b.image.count)].tail;
        for (garbage kind = 0; kind < GARBAGE_KINDS; kind++) {
            for (size_t s = 0; s < GARBAGE_SIZE_COUNT; s++) {
                test_context("shape %s cut to %zu bytes, then %zu bytes of %s", test_shape_name(shape), cut,
                             GARBAGE_SIZES[s], GARBAGE_NAMES[kind]);
                bench_put(&b, cut, kind, GARBAGE_SIZES[s]);
                size_t complete = check_state(&b, s % 2 == 1);
                check_unchanged(&b);
                if (i % 10 == 0 && (complete > 0 || all_zero(b.file, b.file_size))) check_writing(&b, complete);
            }
        }
    }
    bench_end(&b);
}

static void every_prefix_shows_the_complete_entries(void **state) {
    (void)state;
    for (test_shape shape = 0; shape < TEST_SHAPE_COUNT; shape++) every_prefix(shape);
}

static void garbage_behind_a_prefix_is_passed_over(void **state) {
    (void)state;
    for (test_shape shape = 0; shape < TEST_SHAPE_COUNT; shape++) prefixes_with_garbage(shape);
}

/* The recovered tail is not taken for damage again, and a second crash right after is recovered too. */
static void the_first_write_after_a_cut_goes_on(void **state) {
    (void)state;
    for (test_shape shape = 0; shape < TEST_SHAPE_COUNT; shape++) {
        bench b;
        bench_begin(&b, shape);
        for (size_t i = 0; i < 40; i++) {
            size_t first = b.image.records[0].tail;
            size_t cut = first + (size_t)test_random_below(&b.random, b.image.size - first);
            test_context("shape %s cut to %zu bytes, then written", test_shape_name(shape), cut);
            bench_put(&b, cut, GARBAGE_ZEROS, 0);
            check_writing(&b, test_image_complete(&b.image, cut));
        }
        bench_end(&b);
    }
}

/* Bytes above the limit are cut off without a copy. */
static void a_tail_above_the_limit_is_not_kept(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, TEST_SHAPE_TEXT);
    test_context("quarantine_max_bytes");
    bench_put(&b, b.image.size, GARBAGE_RANDOM, 4096);
    simdrive_open_options options = {.struct_size = sizeof options, .quarantine_max_bytes = 4095};
    simdrive_store *store;
    CHECK_OK(simdrive_open(b.path, &options, &store));
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    CHECK_U64(0, test_info(store).quarantined_bytes);
    simdrive_close(store);
    CHECK_U64(1, test_folder_count(&b.folder, "", NULL));

    options.quarantine_max_bytes = 4096;
    bench_put(&b, b.image.size, GARBAGE_RANDOM, 4096);
    CHECK_OK(simdrive_open(b.path, &options, &store));
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    CHECK_U64(4096, test_info(store).quarantined_bytes);
    simdrive_close(store);
    CHECK_U64(1, test_folder_count(&b.folder, "store.tail-", NULL));
    bench_end(&b);
}

/* Damage at the same place twice must not overwrite what the first repair kept aside. */
static void kept_bytes_are_never_overwritten(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, TEST_SHAPE_TEXT);
    test_context("two repairs at one offset");
    char kept[TEST_PATH_MAX], name[64];
    snprintf(name, sizeof name, "store.tail-%zu", b.image.size);
    test_path(&b.folder, name, kept);
    test_file_put(kept, "a file of the user", 18);
    bench_put(&b, b.image.size, GARBAGE_RANDOM, 100);
    simdrive_store *store = test_open(b.path);
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    simdrive_close(store);
    CHECK(test_file_equals(kept, "a file of the user", 18));
    CHECK_U64(3, test_folder_count(&b.folder, "", NULL));
    bench_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_shows_the_complete_entries),
        cmocka_unit_test(garbage_behind_a_prefix_is_passed_over),
        cmocka_unit_test(the_first_write_after_a_cut_goes_on),
        cmocka_unit_test(a_tail_above_the_limit_is_not_kept),
        cmocka_unit_test(kept_bytes_are_never_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
