/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recovery_flips.c — one flipped bit anywhere in a store: opening never crashes and never changes the file, no
 * read gives out bytes that were not written under that key, verification notices, and at most one key differs, in
 * the damaged store opened for reading as well as in what salvage makes of it.
 */
#include "support/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum field { FIELD_PAD, FIELD_PAYLOAD, FIELD_HASH, FIELD_PREV, FIELD_CHECKSUM } field;

static const char *const FIELD_NAMES[] = {"padding", "payload", "key hash", "prev offset", "checksum"};

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], saved[TEST_PATH_MAX];
    test_image image;
    test_view view;
    uint8_t *bytes; /* of the file, with the flip */
} bench;

static void bench_begin(bench *b, test_shape shape, size_t entries, size_t scale) {
    test_random random = test_random_begin(200 + (uint64_t)shape);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "saved", b->saved);
    b->image = (test_image){0};
    test_image_generate(&b->image, shape, entries, scale, &random);
    test_view_build(&b->view, &b->image, b->image.count);
    b->bytes = test_alloc(b->image.size);
    memcpy(b->bytes, b->image.bytes, b->image.size);
}

static void bench_end(bench *b) {
    free(b->bytes);
    test_view_free(&b->view);
    test_image_free(&b->image);
    test_folder_remove(&b->folder);
}

static field field_of(const test_image *image, size_t offset, size_t *record_number) {
    size_t i = test_image_complete(image, offset);
    const test_record *record = &image->records[i];
    *record_number = i;
    if (offset < record->start) return FIELD_PAD;
    if (offset < record->end) return FIELD_PAYLOAD;
    if (offset < record->end + 8) return FIELD_HASH;
    return offset < record->end + 16 ? FIELD_PREV : FIELD_CHECKSUM;
}

/* How many keys of the view the store does not show as they were. Whatever it shows was written under that key. */
static size_t lost_keys(simdrive_store *store, const bench *b) {
    size_t lost = 0;
    for (size_t i = 0; i < b->view.live_count; i++) {
        const test_record *record = b->view.live[i];
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_read_hash(store, record->key_hash, &entry);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_NOT_FOUND || status == SIMDRIVE_ERROR_CORRUPT);
        bool same = status == SIMDRIVE_OK && entry.size == test_record_size(record) &&
                    memcmp(entry.data, b->image.bytes + record->start, entry.size) == 0;
        if (status == SIMDRIVE_OK && !same)
            CHECK(test_image_ever_had(&b->image, record->key_hash, entry.data, entry.size));
        lost += !same;
        simdrive_entry_release(&entry);
    }
    return lost;
}

/* Keys that were deleted may come back, as one of their old payloads, when their tombstone was hit. */
static size_t returned_keys(simdrive_store *store, const bench *b) {
    size_t returned = 0;
    for (size_t i = 0; i < b->view.gone_count; i++) {
        simdrive_entry entry = {0};
        if (simdrive_read_hash(store, b->view.gone[i], &entry) != SIMDRIVE_OK) continue;
        CHECK(test_image_ever_had(&b->image, b->view.gone[i], entry.data, entry.size));
        returned++;
        simdrive_entry_release(&entry);
    }
    return returned;
}

static void check_walks(simdrive_store *store) {
    simdrive_iterator *iterator = NULL;
    CHECK_OK(simdrive_iterate(store, &iterator));
    simdrive_entry entry = {0};
    while (simdrive_iterator_next(iterator, &entry) == SIMDRIVE_OK) simdrive_entry_release(&entry);
    simdrive_iterator_close(iterator);
    if (simdrive_read_last(store, &entry) == SIMDRIVE_OK) simdrive_entry_release(&entry);
}

static void check_reading(const bench *b, field what) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .check_on_read = true};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(b->path, &options, &store));
    size_t differ = lost_keys(store, b) + returned_keys(store, b);
    CHECK(differ <= 1);
    check_walks(store);
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_status verdict = simdrive_verify(store, NULL, NULL, NULL, &report);
    CHECK(verdict == SIMDRIVE_OK || verdict == SIMDRIVE_ERROR_CORRUPT);
    if (what != FIELD_HASH)
        CHECK(verdict == SIMDRIVE_ERROR_CORRUPT || report.damaged_tail_bytes > 0);
    simdrive_close(store);
}

/* An entry acquired without check_on_read says itself that its bytes are wrong. */
static void check_entry_knows(const bench *b, const test_record *record) {
    simdrive_store *store = test_open_read_only(b->path);
    simdrive_entry entry = {0};
    if (simdrive_read_hash(store, record->key_hash, &entry) == SIMDRIVE_OK) {
        uint64_t start, end;
        simdrive_entry_offset_range(&entry, &start, &end);
        if (start == record->start && end == record->end) CHECK(!simdrive_entry_is_valid(&entry));
    }
    simdrive_entry_release(&entry);
    simdrive_close(store);
}

/* A writer is refused, or goes on behind the last entry that is whole, or knows the entry as corrupt. */
static void check_writer(const bench *b) {
    simdrive_open_options options = {.struct_size = sizeof options, .verify_all = true};
    simdrive_store *store = NULL;
    simdrive_status status = simdrive_open(b->path, &options, &store);
    CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT);
    if (status == SIMDRIVE_OK) {
        CHECK(lost_keys(store, b) + returned_keys(store, b) <= 1);
        CHECK(test_info(store).damage <= SIMDRIVE_DAMAGE_TAIL);
    }
    simdrive_close(store);
}

static void check_salvage(const bench *b) {
    simdrive_report report = {.struct_size = sizeof report};
    remove(b->saved);
    CHECK_OK(simdrive_salvage(b->path, b->saved, NULL, NULL, NULL, &report));
    simdrive_store *store = test_open_read_only(b->saved);
    CHECK(lost_keys(store, b) + returned_keys(store, b) <= 1);
    CHECK_U64(simdrive_tail(store), report.bytes_written);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    simdrive_close(store);
    CHECK_STATUS(SIMDRIVE_ERROR_EXISTS, simdrive_salvage(b->path, b->saved, NULL, NULL, NULL, NULL));
}

static void check_flip(bench *b, test_shape shape, size_t bit) {
    size_t offset = bit / 8, number;
    field what = field_of(&b->image, offset, &number);
    const test_record *record = &b->image.records[number];
    test_context("shape %s, %zu entries: bit %zu of byte %zu flipped: %s of entry %zu", test_shape_name(shape),
                 b->image.count, bit % 8, offset, FIELD_NAMES[what], number);
    b->bytes[offset] ^= (uint8_t)(1u << bit % 8);
    test_file_put(b->path, b->bytes, b->image.size);
    check_reading(b, what);
    if (what == FIELD_PAYLOAD && bit % 8 == 0) check_entry_knows(b, record);
    if (what == FIELD_PREV || bit % 61 == 0) check_writer(b);
    if ((what == FIELD_PREV && bit % 3 == 0) || bit % 211 == 0) check_salvage(b);
    CHECK(test_file_equals(b->path, b->bytes, b->image.size));
    b->bytes[offset] ^= (uint8_t)(1u << bit % 8);
}

static void every_bit(test_shape shape, size_t entries, size_t scale) {
    bench b;
    bench_begin(&b, shape, entries, scale);
    for (size_t bit = 0; bit < b.image.size * 8; bit++) check_flip(&b, shape, bit);
    bench_end(&b);
}

static void every_bit_of_random_sizes(void **state) {
    (void)state;
    every_bit(TEST_SHAPE_RANDOM, 40, test_exhaustive() ? 1000 : 60);
}

static void every_bit_of_entries_without_padding(void **state) {
    (void)state;
    every_bit(TEST_SHAPE_NO_PAD, test_exhaustive() ? 400 : 60, 44);
}

static void every_bit_of_overwrites_and_deletes(void **state) {
    (void)state;
    every_bit(TEST_SHAPE_TOMBSTONES, test_exhaustive() ? 400 : 60, 30);
}

static void every_bit_of_a_nested_store(void **state) {
    (void)state;
    every_bit(TEST_SHAPE_NESTED_LAST, test_exhaustive() ? 200 : 20, 30);
}

static void every_bit_of_zeros(void **state) {
    (void)state;
    every_bit(TEST_SHAPE_ZEROS, test_exhaustive() ? 200 : 30, 60);
}

/* Several bytes at once, larger stores: no crash, no wrong bytes, the file untouched. */
static void random_damage(void **state) {
    (void)state;
    test_random random = test_random_begin(290);
    for (test_shape shape = 0; shape < TEST_SHAPE_COUNT; shape++) {
        bench b;
        bench_begin(&b, shape, 120, 100);
        for (int round = 0; round < (test_exhaustive() ? 20000 : 300); round++) {
            test_context("shape %s, round %d of random damage", test_shape_name(shape), round);
            memcpy(b.bytes, b.image.bytes, b.image.size);
            size_t damages = 1 + (size_t)test_random_below(&random, 4);
            for (size_t i = 0; i < damages; i++) {
                size_t size = 1 + (size_t)test_random_below(&random, 300);
                size_t offset = (size_t)test_random_below(&random, b.image.size);
                if (size > b.image.size - offset) size = b.image.size - offset;
                if (test_random_below(&random, 3) == 0)
                    memset(b.bytes + offset, 0, size);
                else
                    test_random_fill(&random, b.bytes + offset, size);
            }
            test_file_put(b.path, b.bytes, b.image.size);
            simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .check_on_read = true};
            simdrive_store *store = NULL;
            if (simdrive_open(b.path, &options, &store) == SIMDRIVE_OK) {
                lost_keys(store, &b);
                check_walks(store);
                (void)!simdrive_verify(store, NULL, NULL, NULL, NULL);
            }
            simdrive_close(store);
            remove(b.saved);
            if (round % 8 == 0) (void)!simdrive_salvage(b.path, b.saved, NULL, NULL, NULL, NULL);
            CHECK(test_file_equals(b.path, b.bytes, b.image.size));
        }
        bench_end(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_random_sizes),
        cmocka_unit_test(every_bit_of_entries_without_padding),
        cmocka_unit_test(every_bit_of_overwrites_and_deletes),
        cmocka_unit_test(every_bit_of_a_nested_store),
        cmocka_unit_test(every_bit_of_zeros),
        cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
