/* SPDX-License-Identifier: Apache-2.0
 *
 * test_alignment.c — stores of builds with another payload alignment. A file does not say which one it has; it must be
 * refused as such, and stay as it is. When every entry lies where this build looks for it, it is as good as one of this
 * build. Whole or cut, no byte of it is given out under a key that it was not written under.
 *
 * The bytes are made here, straight from the description of the format, with the alignment as a variable.
 */
#include "support/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20, MOST_ENTRIES = 64, PAGE = 4096 };

/* A store of some alignment. Key number i is the hash i + 1; a size of 0 stands for a tombstone. */
typedef struct strange_store {
    uint8_t *bytes; /* at a multiple of PAGE */
    size_t size;
    size_t alignment;
    size_t count;
    struct {
        size_t prev, start, size;
        uint64_t key_hash;
    } entries[MOST_ENTRIES];
} strange_store;

static void put_number(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static void strange_begin(strange_store *store, size_t alignment) {
    *store = (strange_store){.bytes = aligned_alloc(PAGE, MOST_BYTES), .alignment = alignment};
    CHECK(store->bytes != NULL);
    memset(store->bytes, 0, MOST_BYTES);
}

static void strange_end(strange_store *store) {
    free(store->bytes);
}

/* `payload` NULL: a tombstone. */
static void strange_add(strange_store *store, uint64_t key_hash, const uint8_t *payload, size_t size,
                        simdrive_checksum_kind kind) {
    size_t prev = store->size, i = store->count++;
    size_t start = payload ? (prev + store->alignment - 1) / store->alignment * store->alignment : prev;
    size_t end = start + (payload ? size : 1);
    CHECK(i < MOST_ENTRIES && end + TEST_METADATA_SIZE <= MOST_BYTES);
    if (payload) memcpy(store->bytes + start, payload, size);
    put_number(store->bytes + end, key_hash, 8);
    put_number(store->bytes + end + 8, prev, 8);
    put_number(store->bytes + end + 16, test_crc(kind, store->bytes + start, end - start), 4);
    store->size = end + TEST_METADATA_SIZE;
    store->entries[i].prev = prev;
    store->entries[i].start = start;
    store->entries[i].size = payload ? size : 0;
    store->entries[i].key_hash = key_hash;
}

/* Whether each payload begins where this build looks for it. */
static bool is_as_ours(const strange_store *store) {
    for (size_t i = 0; i < store->count; i++) {
        size_t ours = (store->entries[i].prev + TEST_ALIGNMENT - 1) / TEST_ALIGNMENT * TEST_ALIGNMENT;
        if (store->entries[i].size > 0 && store->entries[i].start != ours) return false;
    }
    return true;
}

/* Whether these very bytes were written under that key. */
static bool was_written(const strange_store *store, uint64_t key_hash, const void *data, size_t size) {
    for (size_t i = 0; i < store->count; i++) {
        if (store->entries[i].key_hash == key_hash && store->entries[i].size == size &&
            memcmp(store->bytes + store->entries[i].start, data, size) == 0)
            return true;
    }
    return false;
}

static void check_gives_nothing_wrong(simdrive_store *opened, const strange_store *store) {
    for (uint64_t hash = 1; hash <= MOST_ENTRIES; hash++) {
        simdrive_entry entry = {0};
        if (simdrive_read_hash(opened, hash, &entry) != SIMDRIVE_OK) continue;
        CHECK(was_written(store, hash, entry.data, entry.size));
        simdrive_entry_release(&entry);
    }
}

/* Refused in each way of opening; the file stays as it is, and nothing appears beside it. */
static void check_refused(const strange_store *store) {
    char path[TEST_PATH_MAX], out[TEST_PATH_MAX];
    test_folder folder = test_folder_create();
    simdrive_open_options writing = {.struct_size = sizeof writing, .check_on_read = true};
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true, .verify_all = true};
    simdrive_open_options resetting = {.struct_size = sizeof resetting, .reset_foreign = true};
    const simdrive_open_options *ways[] = {&writing, &reading, NULL, &resetting};
    simdrive_store *opened = NULL;
    test_path(&folder, "strange", path);
    test_path(&folder, "salvaged", out);
    test_file_put(path, store->bytes, store->size);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        CHECK_STATUS(SIMDRIVE_ERROR_ALIGNMENT, simdrive_open(path, ways[i], &opened));
        CHECK(!opened);
    }
    CHECK_STATUS(SIMDRIVE_ERROR_ALIGNMENT, simdrive_open_memory(store->bytes, store->size, &opened));
    CHECK_STATUS(SIMDRIVE_ERROR_ALIGNMENT, simdrive_salvage(path, out, NULL, NULL, NULL, NULL));
    CHECK(test_file_equals(path, store->bytes, store->size));
    CHECK_U64(1, test_folder_count(&folder, "", NULL));
    test_folder_remove(&folder);
}

/* Opened by this build, for the bytes are those that it would have written. */
static void check_opens(const strange_store *store) {
    simdrive_store *opened = NULL;
    CHECK_OK(simdrive_open_memory(store->bytes, store->size, &opened));
    CHECK_U64(store->size, simdrive_tail(opened));
    CHECK_OK(simdrive_verify(opened, NULL, NULL, NULL, NULL));
    check_gives_nothing_wrong(opened, store);
    CHECK_OK(simdrive_close(opened));
}

/* --- whole stores ------------------------------------------------------------------------------------------------ */

static size_t fill(uint8_t *payload, test_shape shape, test_random *random) {
    size_t size = 2 + (size_t)test_random_below(random, 300);
    test_random_fill(random, payload, size);
    if (shape == TEST_SHAPE_ZEROS) memset(payload, 0, size);
    if (shape == TEST_SHAPE_TEXT)
        for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)("etaoin shrdlu"[payload[i] % 13]);
    if (shape == TEST_SHAPE_U64)
        for (size_t i = 0; i < size; i++) payload[i] = i % 8 < 2 ? payload[i] : 0;
    return size;
}

static void generate(strange_store *store, test_shape shape, size_t count, simdrive_checksum_kind kind,
                     test_random *random) {
    uint8_t payload[512];
    for (size_t i = 0; i < count; i++) {
        uint64_t key_hash = 1 + test_random_below(random, MOST_ENTRIES);
        if (i > 0 && shape == TEST_SHAPE_TOMBSTONES && test_random_below(random, 3) == 0)
            strange_add(store, key_hash, NULL, 1, kind);
        else
            strange_add(store, key_hash, payload, fill(payload, shape, random), kind);
    }
}

static const test_shape SHAPES[] = {TEST_SHAPE_RANDOM, TEST_SHAPE_TEXT, TEST_SHAPE_U64, TEST_SHAPE_ZEROS,
                                    TEST_SHAPE_TOMBSTONES};

static void every_other_alignment_is_refused(void **state) {
    (void)state;
    test_random random = test_random_begin(830);
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        if (alignment == TEST_ALIGNMENT) continue;
        for (size_t variant = 0; variant < (test_exhaustive() ? 2000u : 60u); variant++) {
            test_shape shape = SHAPES[variant % (sizeof SHAPES / sizeof SHAPES[0])];
            simdrive_checksum_kind kind = variant % 2 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
            size_t count = 1 + (size_t)test_random_below(&random, 40);
            test_context("alignment %zu, %s, %zu entries, variant %zu", alignment, test_shape_name(shape), count,
                         variant);
            strange_store store;
            strange_begin(&store, alignment);
            generate(&store, shape, count, kind, &random);
            if (!is_as_ours(&store)) check_refused(&store);
            strange_end(&store);
        }
    }
}

/* One entry, and entries that each fill a page with their metadata: nobody can see which build wrote them. */
static void what_every_alignment_writes_alike_opens(void **state) {
    (void)state;
    uint8_t payload[PAGE - TEST_METADATA_SIZE];
    test_random random = test_random_begin(831);
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        for (size_t count = 1; count <= 9; count++) {
            test_context("alignment %zu, %zu pages", alignment, count);
            strange_store store;
            strange_begin(&store, alignment);
            for (size_t i = 0; i < count; i++) {
                test_random_fill(&random, payload, sizeof payload);
                size_t size = i + 1 < count ? sizeof payload : 1 + (size_t)test_random_below(&random, 400);
                payload[0] |= 1;
                strange_add(&store, i % 5 + 1, payload, size, SIMDRIVE_CHECKSUM_CRC32C);
            }
            CHECK(is_as_ours(&store));
            check_opens(&store);
            strange_end(&store);
        }
    }
}

/* --- cut and damaged ones ---------------------------------------------------------------------------------------- */

/* Reading with checks, of what may be taken for a damaged store of this build. */
static void check_reading(const char *path, const strange_store *store) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .check_on_read = true};
    simdrive_store *opened = NULL;
    simdrive_status status = simdrive_open(path, &options, &opened);
    if (status == SIMDRIVE_OK)
        check_gives_nothing_wrong(opened, store);
    else if (status != SIMDRIVE_ERROR_ALIGNMENT)
        CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, status);
    CHECK_OK(simdrive_close(opened));
}

static void what_is_left_of_one_gives_no_wrong_bytes(void **state) {
    (void)state;
    test_random random = test_random_begin(832);
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_path(&folder, "strange", path);
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        for (size_t variant = 0; variant < (test_exhaustive() ? 2000u : 60u); variant++) {
            test_shape shape = SHAPES[variant % (sizeof SHAPES / sizeof SHAPES[0])];
            strange_store store;
            strange_begin(&store, alignment);
            generate(&store, shape, 12, SIMDRIVE_CHECKSUM_CRC32C, &random);
            size_t size = 1 + (size_t)test_random_below(&random, store.size), hit = 12;
            test_context("alignment %zu, %s, cut to %zu bytes, variant %zu", alignment, test_shape_name(shape), size,
                         variant);
            if (variant % 2) { /* not cut, but with a damaged link */
                size = store.size;
                hit = (size_t)test_random_below(&random, 12);
            }
            uint8_t *file = test_alloc(store.size);
            memcpy(file, store.bytes, store.size);
            if (hit < 12) {
                size_t bytes = store.entries[hit].size > 0 ? store.entries[hit].size : 1;
                file[store.entries[hit].start + bytes + 8] ^= 0x5A;
            }
            test_file_put(path, file, size);
            check_reading(path, &store);
            CHECK(test_file_equals(path, file, size));
            free(file);
            strange_end(&store);
        }
    }
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_other_alignment_is_refused),
        cmocka_unit_test(what_every_alignment_writes_alike_opens),
        cmocka_unit_test(what_is_left_of_one_gives_no_wrong_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
