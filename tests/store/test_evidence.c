/* SPDX-License-Identifier: Apache-2.0 */
/* test_evidence.c — a chain that arrives at the start of the file is no proof by itself: its first entry must have its
 * checksum, or what opening has found is damaged, and nobody may write to it.
 *
 * The first payload of a small store is changed. All entries above it are right, each with its checksum, and their
 * links lead to 0: as they do where a chain that belongs to something else leads there. */
#include "support/faulty.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 6, PAYLOAD = 90 };

static test_image make_image(void) {
    test_image image = {0};
    for (uint64_t key = 1; key <= ENTRIES; key++) {
        uint8_t payload[PAYLOAD];
        memset(payload, (int)('a' + key), sizeof payload);
        test_image_put(&image, key, payload, sizeof payload);
    }
    image.bytes[image.records[0].start + 3] ^= 0x10;
    return image;
}

/* The first `size` bytes: read as a damaged store, one entry short, and closed to writers. */
static void check_damaged_in_its_middle(const char *path, const test_image *image, size_t size, size_t entries) {
    test_file_put(path, image->bytes, size);
    simdrive_store *store = test_open_read_only(path);
    CHECK_U64(SIMDRIVE_DAMAGE_MIDDLE, test_info(store).damage);
    CHECK_U64(1, test_info(store).corrupt_entries);
    for (size_t i = 0; i < ENTRIES; i++) {
        simdrive_entry entry;
        simdrive_status expected = i == 0 ? SIMDRIVE_ERROR_CORRUPT : i < entries ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND;
        CHECK_STATUS(expected, simdrive_read_hash(store, image->records[i].key_hash, &entry));
        if (expected == SIMDRIVE_OK) simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_close(store));
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_open(path, NULL, &store));
    CHECK(test_file_equals(path, image->bytes, size));
}

static void a_chain_to_a_wrong_first_entry_is_damaged(void **state) {
    (void)state;
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_path(&folder, "store", path);
    test_image image = make_image();
    test_context("whole");
    check_damaged_in_its_middle(path, &image, image.size, ENTRIES);
    test_image_free(&image);
    test_folder_remove(&folder);
}

/* The tail is searched for, which has a look at the chain of its own. */
static void so_is_one_below_a_cut_entry(void **state) {
    (void)state;
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_path(&folder, "store", path);
    test_image image = make_image();
    for (size_t cut = image.records[ENTRIES - 2].tail + 1; cut < image.size; cut++) {
        test_context("cut to %zu bytes", cut);
        check_damaged_in_its_middle(path, &image, cut, ENTRIES - 1);
    }
    test_image_free(&image);
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_to_a_wrong_first_entry_is_damaged),
        cmocka_unit_test(so_is_one_below_a_cut_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
