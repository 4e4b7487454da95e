/* SPDX-License-Identifier: Apache-2.0
 *
 * test_golden.c — the files that the Rust implementation wrote are the judge of the format: we read each of them as
 * its manifest says, go on in it as it would, and write the same bytes from the same calls.
 */
#include "support/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KEYS = 1024, MOST_STORES = 64, KEY_MAX = 512 };

typedef struct golden_key {
    uint8_t key[KEY_MAX];
    size_t key_size;
    bool live;
    uint64_t size, offset, checksum, payload_xxh3;
} golden_key;

typedef struct golden_store {
    char path[TEST_PATH_MAX], name[128];
    uint64_t file_size, live_entries;
    golden_key *keys;
    size_t key_count;
} golden_store;

static golden_store stores[MOST_STORES];
static size_t store_count;
static golden_key all_keys[MOST_KEYS];
static size_t all_key_count;

static void parse_key(golden_key *key, const char *hex) {
    key->key_size = 0;
    if (strcmp(hex, "-") == 0) return;
    for (; hex[0] && hex[1]; hex += 2) {
        unsigned byte;
        CHECK(sscanf(hex, "%2x", &byte) == 1 && key->key_size < KEY_MAX);
        key->key[key->key_size++] = (uint8_t)byte;
    }
}

static void parse_line(char *line) {
    char *fields[6] = {0};
    size_t count = 0;
    for (char *field = strtok(line, "\t\n"); field && count < 6; field = strtok(NULL, "\t\n")) fields[count++] = field;
    if (strcmp(fields[0], "store") == 0) {
        CHECK(store_count < MOST_STORES);
        golden_store *store = &stores[store_count++];
        char below[256];
        snprintf(store->name, sizeof store->name, "%s", fields[1]);
        snprintf(below, sizeof below, "fixtures/rust-0.16.3/%s", store->name);
        test_repository_path(below, store->path);
        store->file_size = strtoull(fields[2], NULL, 10);
        store->live_entries = strtoull(fields[3], NULL, 10);
        store->keys = &all_keys[all_key_count];
        return;
    }
    CHECK(all_key_count < MOST_KEYS);
    golden_key *key = &all_keys[all_key_count++];
    stores[store_count - 1].key_count++;
    parse_key(key, fields[1]);
    key->live = strcmp(fields[0], "live") == 0;
    if (!key->live) return;
    key->size = strtoull(fields[2], NULL, 10);
    key->offset = strtoull(fields[3], NULL, 10);
    key->checksum = strtoull(fields[4], NULL, 10);
    key->payload_xxh3 = strtoull(fields[5], NULL, 16);
}

static int read_manifest(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    FILE *file = fopen(test_repository_path("fixtures/rust-0.16.3/manifest.tsv", path), "r");
    CHECK(file);
    char line[2048];
    while (fgets(line, sizeof line, file)) parse_line(line);
    fclose(file);
    CHECK(store_count >= 9);
    return 0;
}

static void check_key(simdrive_store *store, const golden_key *key) {
    simdrive_entry entry = {0};
    CHECK(simdrive_exists(store, key->key, key->key_size) == key->live);
    if (!key->live) {
        CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_read(store, key->key, key->key_size, &entry));
        return;
    }
    CHECK_OK(simdrive_read(store, key->key, key->key_size, &entry));
    uint64_t start, end;
    simdrive_entry_offset_range(&entry, &start, &end);
    CHECK_U64(key->size, entry.size);
    CHECK_U64(key->offset, start);
    CHECK_U64(key->offset + key->size, end);
    CHECK_U64(key->checksum, simdrive_entry_checksum(&entry));
    CHECK_U64(key->payload_xxh3, simdrive_hash_key(entry.data, entry.size));
    CHECK(simdrive_entry_is_valid(&entry));
    simdrive_entry_release(&entry);
    simdrive_metadata metadata;
    CHECK_OK(simdrive_read_metadata(store, key->key, key->key_size, &metadata));
    CHECK_U64(key->checksum, metadata.checksum);
    CHECK_U64(key->offset, metadata.start);
    CHECK_U64(key->size + TEST_METADATA_SIZE, metadata.total_size);
}

static void every_key_is_as_the_manifest_says(void **state) {
    (void)state;
    for (size_t i = 0; i < store_count; i++) {
        test_context("%s", stores[i].name);
        simdrive_store *store = test_open_read_only(stores[i].path);
        CHECK_U64(stores[i].file_size, simdrive_tail(store));
        CHECK_U64(stores[i].live_entries, simdrive_count(store));
        CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_NONE);
        CHECK(test_info(store).checksum == SIMDRIVE_CHECKSUM_CRC32);
        for (size_t k = 0; k < stores[i].key_count; k++) check_key(store, &stores[i].keys[k]);
        simdrive_close(store);
    }
}

static void parse_golden(const golden_store *golden, test_image *image) {
    size_t size;
    uint8_t *bytes = test_file_get(golden->path, &size);
    CHECK(bytes && size == golden->file_size);
    test_image_parse(image, bytes, size);
    free(bytes);
}

static void every_file_verifies_and_is_what_the_format_page_says(void **state) {
    (void)state;
    for (size_t i = 0; i < store_count; i++) {
        test_context("%s", stores[i].name);
        test_image image;
        parse_golden(&stores[i], &image);
        CHECK(image.checksum == SIMDRIVE_CHECKSUM_CRC32);
        test_check_file(stores[i].path, &image);
        test_image_free(&image);
    }
}

static void appending_keeps_the_kind_of_checksum(void **state) {
    (void)state;
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_path(&folder, "store", path);
    simdrive_open_options options = {.struct_size = sizeof options, .checksum = SIMDRIVE_CHECKSUM_CRC32C};
    for (size_t i = 0; i < store_count; i++) {
        test_context("%s", stores[i].name);
        test_image image;
        parse_golden(&stores[i], &image);
        test_file_put(path, image.bytes, image.size);
        simdrive_store *store;
        CHECK_OK(simdrive_open(path, &options, &store));
        CHECK_OK(simdrive_write(store, "appended", 8, "some bytes", 10, NULL));
        test_image_put(&image, simdrive_hash_key("appended", 8), "some bytes", 10);
        CHECK_OK(simdrive_delete(store, "appended", 8, NULL));
        test_image_delete(&image, simdrive_hash_key("appended", 8));
        simdrive_close(store);
        CHECK(test_file_equals(path, image.bytes, image.size));
        test_check_file(path, &image);
        test_image_free(&image);
    }
    test_folder_remove(&folder);
}

/* Writes the golden file's entries again, by key where the manifest has it, by hash otherwise. */
static void replay(simdrive_store *store, const golden_store *golden, const test_image *image) {
    for (size_t i = 0; i < image->count; i++) {
        const test_record *record = &image->records[i];
        const uint8_t *payload = image->bytes + record->start;
        const golden_key *key = NULL;
        for (size_t k = 0; k < golden->key_count && !key; k++) {
            const golden_key *other = &golden->keys[k];
            if (simdrive_hash_key(other->key, other->key_size) == record->key_hash) key = other;
        }
        uint64_t tail = 0;
        if (record->tombstone)
            CHECK_OK(simdrive_delete_hash(store, record->key_hash, &tail));
        else if (key)
            CHECK_OK(simdrive_write(store, key->key, key->key_size, payload, test_record_size(record), &tail));
        else
            CHECK_OK(simdrive_write_hash(store, record->key_hash, payload, test_record_size(record), &tail));
        CHECK_U64(record->tail, tail);
    }
}

static void check_written_again(const golden_store *golden, simdrive_checksum_kind kind) {
    test_context("%s, checksum kind %d", golden->name, (int)kind);
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_path(&folder, "store", path);
    test_image image;
    parse_golden(golden, &image);
    simdrive_open_options options = {.struct_size = sizeof options, .checksum = kind};
    simdrive_store *store;
    CHECK_OK(simdrive_open(path, &options, &store));
    replay(store, golden, &image);
    simdrive_close(store);
    if (kind != SIMDRIVE_CHECKSUM_CRC32) {
        for (size_t i = 0; i < image.count; i++) {
            const test_record *record = &image.records[i];
            uint32_t crc = test_crc(kind, image.bytes + record->start, test_record_size(record));
            for (int b = 0; b < 4; b++) image.bytes[record->tail - 4 + (size_t)b] = (uint8_t)(crc >> (8 * b));
        }
    }
    CHECK(test_file_equals(path, image.bytes, image.size));
    test_image_free(&image);
    test_folder_remove(&folder);
}

static void the_same_calls_give_the_same_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < store_count; i++) {
        check_written_again(&stores[i], SIMDRIVE_CHECKSUM_CRC32);
        check_written_again(&stores[i], SIMDRIVE_CHECKSUM_DEFAULT);
    }
}

static void known_hashes(void **state) {
    (void)state;
    test_context("hashes named in the format's description");
    CHECK_U64(0x2d06800538d394c2u, simdrive_hash_key("", 0));
    CHECK_U64(0x2d06800538d394c2u, simdrive_hash_key(NULL, 0));
    CHECK_U64(0xc44bdff4074eecdbu, simdrive_hash_key("", 1));
    CHECK_U64(0x4da10dd61a0116b0u, simdrive_hash_key("alice", 5));
    CHECK_U64(0x1403c0c40f49b8e5u, simdrive_hash_key("bob", 3));
    CHECK_U64(0xe0614cc5ecbeed92u, simdrive_hash_key("test_key", 8));
    CHECK_U64(0x4c21bc57c3b572eeu, simdrive_hash_key("longer_key_name", 15));
    static const unsigned char expected[16] = {0x7c, 0x06, 0x6c, 0x9d, 0xf2, 0xe6, 0xec, 0xcb,
                                               0xe2, 0x29, 0xd8, 0xd5, 0x0c, 0x07, 0x4d, 0x38};
    unsigned char key[16];
    simdrive_namespaced_key("namespace1", 10, "key1", 4, key);
    CHECK(memcmp(key, expected, sizeof key) == 0);
}

static void the_nested_store_opens_in_place(void **state) {
    (void)state;
    size_t nested_found = 0;
    for (size_t i = 0; i < store_count; i++) {
        if (strcmp(stores[i].name, "nested.bin") != 0) continue;
        test_context("%s", stores[i].name);
        simdrive_store *store = test_open_read_only(stores[i].path);
        for (size_t k = 0; k < stores[i].key_count; k++) {
            simdrive_entry entry = {0};
            if (!stores[i].keys[k].live) continue;
            CHECK_OK(simdrive_read(store, stores[i].keys[k].key, stores[i].keys[k].key_size, &entry));
            simdrive_store *inner = NULL;
            if (simdrive_open_nested(&entry, &inner) == SIMDRIVE_OK) {
                test_image image;
                test_image_parse(&image, entry.data, entry.size);
                test_check_shows(inner, &image);
                CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_write(inner, "k", 1, "v", 1, NULL));
                test_image_free(&image);
                nested_found++;
            }
            simdrive_entry_release(&entry);
            simdrive_close(inner);
        }
        simdrive_close(store);
    }
    CHECK(nested_found > 0);
}

int main(void) {
    if (TEST_ALIGNMENT != 64) return 0; /* the files are aligned to 64 */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(every_key_is_as_the_manifest_says),
        cmocka_unit_test(every_file_verifies_and_is_what_the_format_page_says),
        cmocka_unit_test(appending_keeps_the_kind_of_checksum),
        cmocka_unit_test(the_same_calls_give_the_same_bytes),
        cmocka_unit_test(the_nested_store_opens_in_place),
    };
    return cmocka_run_group_tests(tests, read_manifest, NULL);
}
