/* SPDX-License-Identifier: Apache-2.0
 *
 * work_growth.c — no file takes more than linear time: for each way of making one that could keep a recovery busy, the
 * steps (fuzz.h) of opening, iterating, verifying and salvaging it are counted at some size and at four times that.
 * Four times the bytes may cost 4.6 times the steps. The time of opening is printed, and counting is part of it; it
 * decides nothing.
 *
 *   work_growth          sizes 256 KiB and 1 MiB
 *   work_growth LARGER   the same, so many times larger
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernel/kernel.h"

enum { SMALL = 256 << 10, GROWTH = 4, LINK_FIELD = 8, CHECKSUM_FIELD = 16 };

static const double MOST = 4.6;

/* The bytes of a file, about `size` of them. */
typedef struct file {
    uint8_t *bytes;
    size_t size;
} file;

typedef void (*maker)(file *made, size_t size);

/* --- stores to begin with ---------------------------------------------------------------------------------------- */

/* Entries of one shape; `image` keeps what is where. */
static void make_image(test_image *image, test_shape shape, size_t scale, size_t size) {
    for (size_t entries = size / 128;; entries += entries / 4) {
        test_random random = {7};
        test_image_free(image);
        test_image_generate(image, shape, entries, scale, &random);
        if (image->size >= size) return;
    }
}

static void take_image(file *made, test_image *image) {
    made->bytes = test_alloc(image->size);
    made->size = image->size;
    memcpy(made->bytes, image->bytes, image->size);
}

static void put_u64(uint8_t *at, uint64_t value) {
    for (int i = 0; i < 8; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

/* Half a store, half of what `fill` makes of the rest. */
static void half_a_store(file *made, size_t size, void (*fill)(uint8_t *bytes, size_t from, size_t to)) {
    test_image image = {0};
    make_image(&image, TEST_SHAPE_NO_PAD, 44, size / 2);
    made->size = 2 * image.size;
    made->bytes = test_alloc(made->size);
    memcpy(made->bytes, image.bytes, image.size);
    fill(made->bytes, image.size, made->size);
    test_image_free(&image);
}

/* --- clean stores ------------------------------------------------------------------------------------------------ */

static void whole_store(file *made, size_t size) {
    test_image image = {0};
    make_image(&image, TEST_SHAPE_NO_PAD, 44, size);
    take_image(made, &image);
    test_image_free(&image);
}

static void one_key(file *made, size_t size) {
    test_image image = {0};
    while (image.size < size) test_image_put(&image, 1, "some value", 10);
    take_image(made, &image);
    test_image_free(&image);
}

/* Key hashes that are equal but for a few bits at their upper or lower end. */
static void crowded_keys(file *made, size_t size) {
    test_image image = {0};
    for (uint64_t i = 0; image.size < size; i++)
        test_image_put(&image, i % 2 ? i << 48 : UINT64_C(0xABCDEF) << 40 | i, "some value", 10);
    take_image(made, &image);
    test_image_free(&image);
}

static void many_tombstones(file *made, size_t size) {
    test_image image = {0};
    test_image_put(&image, 1, "some value", 10);
    for (uint64_t i = 0; image.size < size; i++) test_image_delete(&image, i);
    take_image(made, &image);
    test_image_free(&image);
}

/* --- bytes behind a store ---------------------------------------------------------------------------------------- */

static void fill_zeros(uint8_t *bytes, size_t from, size_t to) {
    memset(bytes + from, 0, to - from);
}

static void fill_noise(uint8_t *bytes, size_t from, size_t to) {
    test_random random = {9};
    test_random_fill(&random, bytes + from, to - from);
}

/* Copies of the true tail: each looks like a link to it. */
static void fill_tails(uint8_t *bytes, size_t from, size_t to) {
    for (size_t at = from; at + 8 <= to; at += 8) put_u64(bytes + at, from);
    memset(bytes + to - (to - from) % 8, 1, (to - from) % 8);
}

/* Small numbers: each is a link to somewhere. */
static void fill_numbers(uint8_t *bytes, size_t from, size_t to) {
    test_random random = {11};
    for (size_t at = from; at + 8 <= to; at += 8) put_u64(bytes + at, test_random_below(&random, from));
    memset(bytes + to - (to - from) % 8, 1, (to - from) % 8);
}

/* Zeros that are none: nearly every offset has a link to 0. */
static void fill_links_to_0(uint8_t *bytes, size_t from, size_t to) {
    memset(bytes + from, 0, to - from);
    for (size_t at = from; at < to; at += 19) bytes[at] = 1;
}

/* What an unpublished batch on top of the tail would leave, again and again. */
static void fill_unpublished(uint8_t *bytes, size_t from, size_t to) {
    for (size_t at = from; at + 8 <= to; at += 8) put_u64(bytes + at, ~(uint64_t)from);
    memset(bytes + to - (to - from) % 8, 0xFF, (to - from) % 8);
}

/* The 20 bytes of metadata of the store's last entry, again and again. */
static void fill_metadata(uint8_t *bytes, size_t from, size_t to) {
    for (size_t at = from; at < to; at++) bytes[at] = bytes[at - TEST_METADATA_SIZE];
}

static void zeros_behind(file *made, size_t size) {
    half_a_store(made, size, fill_zeros);
}

static void noise_behind(file *made, size_t size) {
    half_a_store(made, size, fill_noise);
}

static void tails_behind(file *made, size_t size) {
    half_a_store(made, size, fill_tails);
}

static void numbers_behind(file *made, size_t size) {
    half_a_store(made, size, fill_numbers);
}

static void links_to_0_behind(file *made, size_t size) {
    half_a_store(made, size, fill_links_to_0);
}

static void unpublished_behind(file *made, size_t size) {
    half_a_store(made, size, fill_unpublished);
}

static void metadata_behind(file *made, size_t size) {
    half_a_store(made, size, fill_metadata);
}

/* --- damage in a store ------------------------------------------------------------------------------------------- */

static void damaged_image(file *made, size_t size, test_shape shape, size_t scale, size_t one_in, size_t field,
                          uint8_t flip) {
    test_image image = {0};
    make_image(&image, shape, scale, size);
    take_image(made, &image);
    for (size_t i = 0; i < image.count; i += one_in)
        made->bytes[field == SIZE_MAX ? image.records[i].start : image.records[i].end + field] ^= flip;
    test_image_free(&image);
}

static void first_link_damaged(file *made, size_t size) {
    damaged_image(made, size, TEST_SHAPE_NO_PAD, 44, SIZE_MAX, LINK_FIELD, 4);
}

static void every_link_damaged(file *made, size_t size) {
    damaged_image(made, size, TEST_SHAPE_NO_PAD, 44, 1, LINK_FIELD, 4);
}

static void every_third_link_damaged(file *made, size_t size) {
    damaged_image(made, size, TEST_SHAPE_RANDOM, 60, 3, LINK_FIELD, 32);
}

static void every_checksum_damaged(file *made, size_t size) {
    damaged_image(made, size, TEST_SHAPE_RANDOM, 60, 1, CHECKSUM_FIELD, 1);
}

static void every_second_payload_damaged(file *made, size_t size) {
    damaged_image(made, size, TEST_SHAPE_NO_PAD, 44, 2, SIZE_MAX, 8);
}

/* All links lead to the first entry: each payload would be all before it. */
static void every_link_to_the_first(file *made, size_t size) {
    test_image image = {0};
    make_image(&image, TEST_SHAPE_NO_PAD, 44, size);
    take_image(made, &image);
    for (size_t i = 1; i < image.count; i++) put_u64(made->bytes + image.records[i].end + LINK_FIELD, 64);
    test_image_free(&image);
}

/* The same, and all of them have their checksums: entries that overlap. With `first` the first one is damaged, and no
 * chain arrives anywhere. */
static void overlapping(file *made, size_t size, uint64_t link, bool first) {
    made->size = size;
    made->bytes = test_alloc(size);
    fill_noise(made->bytes, 0, size);
    if (link) { /* one entry of 44 bytes */
        put_u64(made->bytes + 44 + LINK_FIELD, 0);
        put_u32(made->bytes + 44 + CHECKSUM_FIELD, sdi_crc(SDI_CRC32C, 0, made->bytes, 44) ^ first);
    }
    uint32_t crc = 0;
    for (size_t from = link, end = link + 80; end + TEST_METADATA_SIZE <= size; end += 100) {
        crc = sdi_crc(SDI_CRC32C, crc, made->bytes + from, end - from);
        put_u64(made->bytes + end + LINK_FIELD, link);
        put_u32(made->bytes + end + CHECKSUM_FIELD, crc);
        from = end;
    }
}

static void overlapping_from_0(file *made, size_t size) {
    overlapping(made, size, 0, false);
}

static void overlapping_from_the_first(file *made, size_t size) {
    overlapping(made, size, 64, false);
}

static void overlapping_from_a_damaged_one(file *made, size_t size) {
    overlapping(made, size, 64, true);
}

/* A sector of each payload is zero, as if it had never been written. */
static void every_payload_torn(file *made, size_t size) {
    test_image image = {0};
    test_random random = {5};
    uint8_t payload[1600];
    while (image.size < size) {
        test_random_fill(&random, payload, sizeof payload);
        test_image_put(&image, image.count + 1, payload, sizeof payload);
    }
    take_image(made, &image);
    for (size_t i = 1; i + 1 < image.count; i++) memset(made->bytes + image.records[i].end / 512 * 512 - 512, 0, 512);
    test_image_free(&image);
}

/* A payload that is a store, and its store is damaged above it. */
static void nested_and_damaged(file *made, size_t size) {
    test_image inner = {0}, image = {0};
    make_image(&inner, TEST_SHAPE_NO_PAD, 44, size);
    test_image_put(&image, 1, "some value", 10);
    test_image_put(&image, 2, inner.bytes, inner.size);
    take_image(made, &image);
    made->bytes[image.records[1].end + LINK_FIELD] ^= 1;
    test_image_free(&inner);
    test_image_free(&image);
}

/* Nothing but numbers: no store at all. */
static void numbers_alone(file *made, size_t size) {
    made->size = size;
    made->bytes = test_alloc(size);
    for (size_t at = 0; at + 8 <= size; at += 8) put_u64(made->bytes + at, at / 2);
}

/* Each offset has a link right below itself: chains of any length, at each of 20 phases. */
static void stairs(file *made, size_t size) {
    made->size = size;
    made->bytes = test_alloc(size);
    memset(made->bytes, 0, size);
    for (size_t end = 44; end + TEST_METADATA_SIZE <= size; end += 64) {
        put_u64(made->bytes + end, end);
        put_u64(made->bytes + end + LINK_FIELD, end > 44 ? end - 44 : 0);
        put_u32(made->bytes + end + CHECKSUM_FIELD, 1);
    }
}

static const struct {
    const char *name;
    maker make;
} MAKERS[] = {
    {"whole store", whole_store},
    {"one key written again and again", one_key},
    {"key hashes that are nearly equal", crowded_keys},
    {"tombstones", many_tombstones},
    {"zeros behind", zeros_behind},
    {"noise behind", noise_behind},
    {"copies of the tail behind", tails_behind},
    {"small numbers behind", numbers_behind},
    {"links to 0 behind", links_to_0_behind},
    {"links of unpublished batches behind", unpublished_behind},
    {"metadata behind", metadata_behind},
    {"first link damaged", first_link_damaged},
    {"every link damaged", every_link_damaged},
    {"every third link damaged", every_third_link_damaged},
    {"every checksum damaged", every_checksum_damaged},
    {"every second payload damaged", every_second_payload_damaged},
    {"every link leads to the first entry", every_link_to_the_first},
    {"overlapping entries from 0", overlapping_from_0},
    {"overlapping entries from the first", overlapping_from_the_first},
    {"overlapping entries from a damaged one", overlapping_from_a_damaged_one},
    {"every payload torn", every_payload_torn},
    {"nested and damaged", nested_and_damaged},
    {"numbers alone", numbers_alone},
    {"stairs of links", stairs},
};

/* --- counting ---------------------------------------------------------------------------------------------------- */

typedef struct steps {
    size_t bytes;
    uint64_t open, read, salvage;
    uint64_t open_ns;
} steps;

static void read_all(simdrive_store *store) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry;
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) continue;
    simdrive_iterator_close(iterator);
    (void)!simdrive_verify(store, NULL, NULL, NULL, NULL);
}

static steps count_steps(maker make, size_t size) {
    file made = {0};
    memory_os *memory = memory_os_create();
    simdrive_store *store = NULL;
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    make(&made, size);
    memory_os_put(memory, "store", made.bytes, made.size);
    free(made.bytes);
    steps counted = {.bytes = made.size};
    uint64_t began_ns = sdi_monotonic_ns();
    fuzz_work_begin();
    simdrive_status status = sdi_open_with_os(memory_os_table(memory), "store", &options, &store);
    counted.open = fuzz_work_done();
    counted.open_ns = sdi_monotonic_ns() - began_ns;
    if (status == SIMDRIVE_OK) read_all(store);
    simdrive_close(store);
    counted.read = fuzz_work_done() - counted.open;
    fuzz_work_begin();
    (void)!sdi_salvage_with_os(memory_os_table(memory), "store", "saved", NULL, NULL, NULL, NULL);
    counted.salvage = fuzz_work_done();
    memory_os_destroy(memory);
    return counted;
}

static double growth(uint64_t small, uint64_t large, const steps *at_small, const steps *at_large) {
    return small == 0 ? 0 : (double)large / (double)small * GROWTH * (double)at_small->bytes / (double)at_large->bytes;
}

int main(int argc, char **argv) {
    size_t larger = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    bool holds = true;
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    printf("%-40s %14s %8s %8s %8s %20s\n", "growth of steps, four times the bytes", "steps per byte", "open", "read",
           "salvage", "opening, ms per MiB");
    for (size_t i = 0; i < sizeof MAKERS / sizeof *MAKERS; i++) {
        test_context("%s", MAKERS[i].name);
        steps small = count_steps(MAKERS[i].make, SMALL * larger);
        steps large = count_steps(MAKERS[i].make, SMALL * larger * GROWTH);
        double open = growth(small.open, large.open, &small, &large);
        double read = growth(small.read, large.read, &small, &large);
        double salvage = growth(small.salvage, large.salvage, &small, &large);
        bool good = open <= MOST && read <= MOST && salvage <= MOST;
        printf("%-40s %14.2f %8.2f %8.2f %8.2f %20.2f%s\n", MAKERS[i].name,
               (double)(large.open + large.read + large.salvage) / (double)large.bytes, open, read, salvage,
               (double)large.open_ns / 1e6 / ((double)large.bytes / (1 << 20)), good ? "" : "  TOO MUCH");
        fflush(stdout);
        holds = holds && good && large.open > 0;
    }
    return holds ? 0 : 1;
}
