/* SPDX-License-Identifier: Apache-2.0
 *
 * test_foreign.c — a file that is not a store is refused, and stays as it was to the byte and to the nanosecond; only
 * reset_foreign takes it over, and keeps its bytes aside.
 */
#include "support/stores.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 1 << 20 };

/* A generator fills `bytes` (LARGEST of them, zeroed) and returns the size of the file. */
typedef size_t (*generator)(uint8_t *bytes, size_t variant, test_random *random);

static size_t text(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = variant * variant * 37 + 1;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)("lorem ipsum dolor\n"[test_random_below(random, 18)]);
    return size;
}

static size_t header_and_noise(uint8_t *bytes, size_t variant, test_random *random) {
    static const struct {
        const char *magic;
        size_t size;
    } headers[] = {{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16}, {"\x1f\x8b\x08\0\0\0\0\0\0\x03", 10},
                   {"PK\x03\x04\x14\0\0\0\x08\0", 10},    {"\x7f" "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", 16},
                   {"SQLite format 3\0\x10\0\x01\x01", 20}, {"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", 15},
                   {"\xff\xd8\xff\xe0\0\x10JFIF\0", 11},  {"PAR1", 4},
                   {"\x28\xb5\x2f\xfd", 4},               {"\x89HDF\r\n\x1a\n", 8}};
    size_t size = 64 + (size_t)test_random_below(random, 20000);
    test_random_fill(random, bytes, size);
    memcpy(bytes, headers[variant % 10].magic, headers[variant % 10].size);
    if (variant % 2) memset(bytes + size / 2, 0, size / 4); /* binaries have runs of zeros */
    return size;
}

static size_t numbers(uint8_t *bytes, size_t variant, test_random *random) {
    size_t count = 100 + (size_t)test_random_below(random, 4000);
    for (size_t i = 0; i < count; i++) {
        uint64_t value = variant == 0 ? i : variant == 1 ? i * 8 : test_random_below(random, count * 8);
        for (int b = 0; b < 8; b++) bytes[8 * i + (size_t)b] = (uint8_t)(value >> (8 * b));
    }
    return 8 * count;
}

static size_t sparse(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = LARGEST >> variant;
    for (size_t i = 0; i <= variant; i++) bytes[test_random_below(random, size)] = 0x41;
    return size;
}

static size_t tiny(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = variant + 1;
    test_random_fill(random, bytes, size);
    bytes[0] |= 1;
    return size;
}

static size_t json(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = 0;
    for (size_t i = 0; i < 20 * (variant + 1); i++) {
        size += (size_t)snprintf((char *)bytes + size, 64, "{\"id\": %zu, \"v\": %llu}\n", i,
                                 (unsigned long long)test_random_below(random, 1000000));
    }
    return size;
}

static size_t tar_like(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = 0;
    for (size_t i = 0; i <= variant; i++) {
        snprintf((char *)bytes + size, 100, "folder/file-%zu.txt", i);
        memcpy(bytes + size + 257, "ustar  ", 8);
        size += 512;
        test_random_fill(random, bytes + size, 300);
        size += 512;
    }
    return size + 1024; /* two blocks of zeros at the end */
}

static size_t all_ones(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = 1 + (size_t)test_random_below(random, (uint64_t)1 << (2 * variant + 4));
    memset(bytes, 0xFF, size);
    return size;
}

static size_t zeros_but_one(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = 21 + (size_t)test_random_below(random, 8000);
    size_t places[] = {0, size - 1, size - 20, size / 2, size - 12, size - 8, size - 4, 19};
    bytes[places[variant % 8]] = (uint8_t)(1u << test_random_below(random, 8));
    return size;
}

static size_t noise(uint8_t *bytes, size_t variant, test_random *random) {
    size_t size = 21 + (size_t)test_random_below(random, (uint64_t)1 << (variant + 4));
    test_random_fill(random, bytes, size);
    return size;
}

/* A store without its first byte, or with another payload where its first entry was: no chain reaches the start. */
static size_t headless_store(uint8_t *bytes, size_t variant, test_random *random) {
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_NO_PAD, 1, 44, random);
    size_t skip = 1 + variant;
    size_t size = image.size - skip;
    memcpy(bytes, image.bytes + skip, size);
    test_image_free(&image);
    return size;
}

static const struct {
    const char *name;
    generator make;
    size_t variants;
} KINDS[] = {
    {"text", text, 12},          {"header and noise", header_and_noise, 20}, {"numbers", numbers, 6},
    {"sparse", sparse, 6},       {"tiny", tiny, 40},                         {"json", json, 5},
    {"tar", tar_like, 6},        {"all ones", all_ones, 6},                  {"zeros but one", zeros_but_one, 16},
    {"noise", noise, 12},        {"headless store", headless_store, 8},
};

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    uint8_t *bytes;
    size_t size;
    struct stat stamp;
} bench;

static void bench_begin(bench *b) {
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    b->bytes = test_alloc(LARGEST);
}

static void bench_end(bench *b) {
    free(b->bytes);
    test_folder_remove(&b->folder);
}

/* Writes the file with a time stamp of long ago, so that any touch shows. */
static void bench_put(bench *b) {
    test_file_put(b->path, b->bytes, b->size);
    struct timespec long_ago[2] = {{1000000000, 123456789}, {1000000000, 123456789}};
    CHECK(utimensat(AT_FDCWD, b->path, long_ago, 0) == 0);
    CHECK(stat(b->path, &b->stamp) == 0);
}

static void check_untouched(bench *b) {
    struct stat now;
    CHECK(stat(b->path, &now) == 0);
    CHECK(now.st_mtim.tv_sec == b->stamp.st_mtim.tv_sec && now.st_mtim.tv_nsec == b->stamp.st_mtim.tv_nsec);
    CHECK(now.st_ino == b->stamp.st_ino && now.st_mode == b->stamp.st_mode);
    CHECK(test_file_equals(b->path, b->bytes, b->size));
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL));
}

static void check_refused(bench *b) {
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true};
    simdrive_store *store = NULL;
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_open(b->path, &reading, &store));
    CHECK(store == NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_open(b->path, NULL, &store));
    CHECK(store == NULL);
    check_untouched(b);
    char out[TEST_PATH_MAX];
    test_path(&b->folder, "saved", out);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_salvage(b->path, out, NULL, NULL, NULL, NULL));
    CHECK(!test_file_exists(out));
    check_untouched(b);
}

/* The same of one that is like many others: opening alone. */
static void check_refused_at_once(bench *b) {
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true};
    simdrive_store *store = NULL;
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_open(b->path, &reading, &store));
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_open(b->path, NULL, &store));
    check_untouched(b);
}

/* Takes the file over: nothing happens to it before the first write, which keeps the old bytes. */
static void check_reset(bench *b) {
    simdrive_open_options options = {.struct_size = sizeof options, .reset_foreign = true};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(b->path, &options, &store));
    CHECK_U64(0, simdrive_count(store));
    simdrive_close(store);
    check_untouched(b);

    CHECK_OK(simdrive_open(b->path, &options, &store));
    CHECK_OK(simdrive_write(store, "key", 3, "value", 5, NULL));
    test_image image = {0};
    test_image_put(&image, simdrive_hash_key("key", 3), "value", 5);
    test_check_shows(store, &image);
    simdrive_close(store);
    CHECK(test_file_equals(b->path, image.bytes, image.size));
    char kept[TEST_PATH_MAX];
    CHECK_U64(2, test_folder_count(&b->folder, "", NULL));
    CHECK(test_file_equals(test_path(&b->folder, "store.tail-0", kept), b->bytes, b->size));
    CHECK(remove(kept) == 0);
    test_image_free(&image);
}

static void foreign_files_are_refused_and_untouched(void **state) {
    (void)state;
    test_random random = test_random_begin(300);
    bench b;
    bench_begin(&b);
    for (size_t k = 0; k < sizeof KINDS / sizeof KINDS[0]; k++) {
        for (size_t variant = 0; variant < KINDS[k].variants; variant++) {
            test_context("foreign file: %s, variant %zu", KINDS[k].name, variant);
            memset(b.bytes, 0, LARGEST);
            b.size = KINDS[k].make(b.bytes, variant, &random);
            bench_put(&b);
            check_refused(&b);
            if (variant < 3) check_reset(&b);
        }
    }
    bench_end(&b);
}

/* More than a thousand files, of each kind as many: what is in a kind is made anew for each. */
static void a_thousand_foreign_files_are_refused(void **state) {
    (void)state;
    enum { ROUNDS = 96 };
    test_random random = test_random_begin(301);
    size_t files = 0;
    bench b;
    bench_begin(&b);
    memset(b.bytes, 0, LARGEST);
    for (size_t k = 0; k < sizeof KINDS / sizeof KINDS[0]; k++) {
        for (size_t round = 0; round < ROUNDS; round++, files++) {
            test_context("foreign file: %s, round %zu", KINDS[k].name, round);
            b.size = KINDS[k].make(b.bytes, round % KINDS[k].variants, &random);
            bench_put(&b);
            check_refused_at_once(&b);
            memset(b.bytes, 0, b.size);
        }
    }
    CHECK(files >= 1000);
    bench_end(&b);
}

static void empty_and_zero_files_are_empty_stores(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 19, 20, 21, 64, 4096, 100000, LARGEST};
    bench b;
    bench_begin(&b);
    memset(b.bytes, 0, LARGEST);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        test_context("%zu bytes of zeros", sizes[i]);
        b.size = sizes[i];
        bench_put(&b);
        simdrive_store *store = test_open_read_only(b.path);
        CHECK_U64(0, simdrive_count(store));
        CHECK(simdrive_is_empty(store) && simdrive_tail(store) == 0);
        CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
        simdrive_close(store);
        store = test_open(b.path);
        CHECK(simdrive_is_empty(store));
        simdrive_close(store);
        check_untouched(&b);

        store = test_open(b.path);
        test_image image = {0};
        test_image_put(&image, simdrive_hash_key("k", 1), "v", 1);
        CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
        simdrive_close(store);
        CHECK(test_file_equals(b.path, image.bytes, image.size));
        test_check_file(b.path, &image);
        CHECK_U64(1, test_folder_count(&b.folder, "", NULL));
        test_image_free(&image);
    }
    bench_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_files_are_refused_and_untouched),
        cmocka_unit_test(a_thousand_foreign_files_are_refused),
        cmocka_unit_test(empty_and_zero_files_are_empty_stores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
