/* SPDX-License-Identifier: Apache-2.0
 *
 * builder.h — an independent writer of store bytes, straight from the description of the file format, and a plain
 * model of what such bytes mean. It shares no code with the library but the hash of a key; checksums are computed
 * byte by byte. What the library writes is compared with what this writes.
 */
#ifndef TEST_BUILDER_H
#define TEST_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "simdrive.h"

enum { TEST_ALIGNMENT = SIMDRIVE_ALIGNMENT, TEST_METADATA_SIZE = 20 };

/* One entry as the format describes it. */
typedef struct test_record {
    uint64_t key_hash;
    size_t prev;  /* tail before it */
    size_t start; /* of the payload */
    size_t end;   /* of the payload */
    size_t tail;  /* behind its metadata */
    uint32_t checksum;
    bool tombstone;
} test_record;

/* The bytes of a store, and the entries in them, oldest first. */
typedef struct test_image {
    uint8_t *bytes;
    size_t size, bytes_capacity;
    test_record *records;
    size_t count, records_capacity;
    simdrive_checksum_kind checksum; /* CRC32C when DEFAULT */
} test_image;

uint32_t test_crc(simdrive_checksum_kind kind, const uint8_t *bytes, size_t size);

void test_image_free(test_image *image);
void test_image_put(test_image *image, uint64_t key_hash, const void *payload, size_t size);
void test_image_delete(test_image *image, uint64_t key_hash);
void test_image_clone(const test_image *from, test_image *to);

/* The entries of bytes that hold an intact chain, by walking it. */
void test_image_parse(test_image *image, const uint8_t *bytes, size_t size);

/* Keeps the live entries only, in the order they were written, as compaction does. */
void test_image_compact(test_image *image);

/* The newest entry of a key, NULL when there is none or when that is a tombstone. */
const test_record *test_image_find(const test_image *image, uint64_t key_hash);
size_t test_record_size(const test_record *record);

/* Whether that payload was ever written under that key. */
bool test_image_ever_had(const test_image *image, uint64_t key_hash, const void *payload, size_t size);

/* What the first `prefix` entries of an image show. Points into the image. */
typedef struct test_view {
    const test_image *image;
    size_t prefix;
    const test_record **live; /* newest first */
    size_t live_count;
    uint64_t *gone; /* keys that stand somewhere in the image and are not live here */
    size_t gone_count;
    size_t tombstones, stale;
    uint64_t live_bytes, stale_bytes;
    size_t tail;
} test_view;

void test_view_build(test_view *view, const test_image *image, size_t prefix);
void test_view_free(test_view *view);

/* How many entries are complete in the first `size` bytes. */
size_t test_image_complete(const test_image *image, size_t size);

/* The store shows exactly the view: figures, every live key's payload, no other key. */
void test_check_reads(simdrive_store *store, const test_view *view);
void test_check_figures(simdrive_store *store, const test_view *view);
/* Iteration, newest to oldest, each key once. */
void test_check_iteration(simdrive_store *store, const test_view *view);
/* All of it. */
void test_check_shows(simdrive_store *store, const test_image *image);

/* Kinds of stores; each tests another weakness that a recovery can have. */
typedef enum test_shape {
    TEST_SHAPE_TEXT,        /* short texts */
    TEST_SHAPE_RANDOM,      /* random bytes of random sizes */
    TEST_SHAPE_U64,         /* arrays of small 64-bit numbers: they look like offsets */
    TEST_SHAPE_ZEROS,       /* payloads of zeros: they look like padding and like empty metadata */
    TEST_SHAPE_NO_PAD,      /* 44-byte payloads: entries without padding */
    TEST_SHAPE_ONE_BYTE,    /* 1-byte payloads: nearly all padding */
    TEST_SHAPE_TOMBSTONES,  /* overwrites and deletes */
    TEST_SHAPE_NESTED_LAST, /* the last entry is a store */
    TEST_SHAPE_ONE_BIG,     /* small entries around one that has most of the bytes */
    TEST_SHAPE_COUNT
} test_shape;

const char *test_shape_name(test_shape shape);
/* `scale` is about the mean payload size in bytes, for shapes that have a choice. */
void test_image_generate(test_image *image, test_shape shape, size_t entries, size_t scale, test_random *random);

/* Key number n of a test: "key-n"; number 0 is the empty key. Returns its length. */
size_t test_key(uint64_t number, char out[32]);
uint64_t test_key_hash(uint64_t number);

#endif
