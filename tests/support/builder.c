/* SPDX-License-Identifier: Apache-2.0
 *
 * builder.c — store bytes written from the description of the format, and the plain model.
 */
#include "builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- checksums, one byte at a time ----------------------------------------------------------------------------- */

static uint32_t crc_tables[2][256];

__attribute__((constructor)) static void fill_crc_tables(void) {
    static const uint32_t polynomials[2] = {0x82F63B78u, 0xEDB88320u}; /* reflected 0x1EDC6F41, 0x04C11DB7 */
    for (int kind = 0; kind < 2; kind++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? polynomials[kind] : 0);
            crc_tables[kind][byte] = value;
        }
    }
}

uint32_t test_crc(simdrive_checksum_kind kind, const uint8_t *bytes, size_t size) {
    const uint32_t *table = crc_tables[kind == SIMDRIVE_CHECKSUM_CRC32 ? 1 : 0];
    uint32_t value = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) value = (value >> 8) ^ table[(value ^ bytes[i]) & 0xFF];
    return ~value;
}

/* --- bytes and entries ------------------------------------------------------------------------------------------ */

static void put_little_endian(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_little_endian(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void *grow(void *memory, size_t needed, size_t *capacity, size_t element) {
    if (needed <= *capacity) return memory;
    *capacity = needed * 2;
    memory = realloc(memory, *capacity * element);
    if (!memory) abort();
    return memory;
}

static void append_record(test_image *image, const test_record *record) {
    image->records = grow(image->records, image->count + 1, &image->records_capacity, sizeof *image->records);
    image->records[image->count++] = *record;
}

static void append_entry(test_image *image, uint64_t key_hash, const void *payload, size_t size, bool tombstone) {
    size_t prev = image->size;
    size_t start = tombstone ? prev : (prev + TEST_ALIGNMENT - 1) / TEST_ALIGNMENT * TEST_ALIGNMENT;
    size_t tail = start + size + TEST_METADATA_SIZE;
    uint32_t checksum = test_crc(image->checksum, payload, size);
    image->bytes = grow(image->bytes, tail, &image->bytes_capacity, 1);
    memset(image->bytes + prev, 0, start - prev);
    memcpy(image->bytes + start, payload, size);
    put_little_endian(image->bytes + start + size, key_hash, 8);
    put_little_endian(image->bytes + start + size + 8, prev, 8);
    put_little_endian(image->bytes + start + size + 16, checksum, 4);
    image->size = tail;
    append_record(image, &(test_record){.key_hash = key_hash, .prev = prev, .start = start, .end = start + size,
                                        .tail = tail, .checksum = checksum, .tombstone = tombstone});
}

void test_image_put(test_image *image, uint64_t key_hash, const void *payload, size_t size) {
    append_entry(image, key_hash, payload, size, false);
}

void test_image_delete(test_image *image, uint64_t key_hash) {
    append_entry(image, key_hash, "", 1, true);
}

void test_image_free(test_image *image) {
    free(image->bytes);
    free(image->records);
    *image = (test_image){.checksum = image->checksum};
}

void test_image_clone(const test_image *from, test_image *to) {
    *to = *from;
    to->bytes_capacity = from->size;
    to->records_capacity = from->count;
    to->bytes = test_alloc(from->size);
    to->records = test_alloc(from->count * sizeof *from->records);
    if (from->size) memcpy(to->bytes, from->bytes, from->size);
    if (from->count) memcpy(to->records, from->records, from->count * sizeof *from->records);
}

static void reverse_records(test_image *image) {
    for (size_t i = 0; i < image->count / 2; i++) {
        test_record other = image->records[i];
        image->records[i] = image->records[image->count - 1 - i];
        image->records[image->count - 1 - i] = other;
    }
}

void test_image_parse(test_image *image, const uint8_t *bytes, size_t size) {
    *image = (test_image){.bytes = test_alloc(size), .size = size, .bytes_capacity = size};
    memcpy(image->bytes, bytes, size);
    for (size_t tail = size; tail > 0;) {
        CHECK(tail > TEST_METADATA_SIZE);
        test_record record = {.tail = tail, .end = tail - TEST_METADATA_SIZE};
        record.key_hash = get_little_endian(bytes + record.end, 8);
        record.prev = (size_t)get_little_endian(bytes + record.end + 8, 8);
        record.checksum = (uint32_t)get_little_endian(bytes + record.end + 16, 4);
        CHECK(record.prev < record.end);
        record.tombstone = record.end - record.prev == 1 && bytes[record.prev] == 0;
        record.start = (record.prev + TEST_ALIGNMENT - 1) / TEST_ALIGNMENT * TEST_ALIGNMENT;
        if (record.tombstone) record.start = record.prev;
        CHECK(record.start < record.end);
        append_record(image, &record);
        tail = record.prev;
    }
    reverse_records(image);
    if (image->count == 0) return;
    const test_record *last = &image->records[image->count - 1];
    uint32_t crc32 = test_crc(SIMDRIVE_CHECKSUM_CRC32, bytes + last->start, test_record_size(last));
    image->checksum = crc32 == last->checksum ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
}

void test_image_compact(test_image *image) {
    test_view view;
    test_view_build(&view, image, image->count);
    test_image compacted = {.checksum = image->checksum};
    for (size_t i = view.live_count; i-- > 0;) {
        const test_record *record = view.live[i];
        test_image_put(&compacted, record->key_hash, image->bytes + record->start, test_record_size(record));
    }
    test_view_free(&view);
    test_image_free(image);
    *image = compacted;
}

const test_record *test_image_find(const test_image *image, uint64_t key_hash) {
    for (size_t i = image->count; i-- > 0;) {
        const test_record *record = &image->records[i];
        if (record->key_hash == key_hash) return record->tombstone ? NULL : record;
    }
    return NULL;
}

size_t test_record_size(const test_record *record) {
    return record->end - record->start;
}

bool test_image_ever_had(const test_image *image, uint64_t key_hash, const void *payload, size_t size) {
    for (size_t i = 0; i < image->count; i++) {
        const test_record *record = &image->records[i];
        if (record->key_hash != key_hash || record->tombstone || test_record_size(record) != size) continue;
        if (memcmp(image->bytes + record->start, payload, size) == 0) return true;
    }
    return false;
}

size_t test_image_complete(const test_image *image, size_t size) {
    size_t count = 0;
    while (count < image->count && image->records[count].tail <= size) count++;
    return count;
}

/* --- what a prefix of the entries shows ------------------------------------------------------------------------- */

typedef struct hash_set {
    uint64_t *slots;
    bool *used;
    size_t mask;
} hash_set;

static hash_set set_create(size_t most) {
    size_t size = 16;
    while (size < 2 * most + 2) size *= 2;
    hash_set set = {test_alloc(size * sizeof(uint64_t)), test_alloc(size), size - 1};
    memset(set.used, 0, size);
    return set;
}

static bool set_add(hash_set *set, uint64_t value) {
    size_t at = (value * 0x9E3779B97F4A7C15u >> 20) & set->mask;
    for (; set->used[at]; at = (at + 1) & set->mask) {
        if (set->slots[at] == value) return false;
    }
    set->used[at] = true;
    set->slots[at] = value;
    return true;
}

static void set_free(hash_set *set) {
    free(set->slots);
    free(set->used);
}

void test_view_build(test_view *view, const test_image *image, size_t prefix) {
    *view = (test_view){.image = image, .prefix = prefix};
    view->live = test_alloc(prefix * sizeof *view->live);
    view->gone = test_alloc(image->count * sizeof *view->gone);
    view->tail = prefix ? image->records[prefix - 1].tail : 0;
    hash_set seen = set_create(image->count);
    for (size_t i = prefix; i-- > 0;) {
        const test_record *record = &image->records[i];
        bool newest = set_add(&seen, record->key_hash);
        if (record->tombstone) {
            view->tombstones++;
            if (newest) view->gone[view->gone_count++] = record->key_hash;
        } else if (newest) {
            view->live[view->live_count++] = record;
            view->live_bytes += test_record_size(record);
        } else {
            view->stale++;
            view->stale_bytes += test_record_size(record);
        }
    }
    for (size_t i = prefix; i < image->count; i++) {
        uint64_t hash = image->records[i].key_hash;
        if (set_add(&seen, hash)) view->gone[view->gone_count++] = hash;
    }
    set_free(&seen);
}

void test_view_free(test_view *view) {
    free(view->live);
    free(view->gone);
    *view = (test_view){0};
}

static void check_payload(const test_view *view, const test_record *record, const void *data, size_t size) {
    CHECK_U64(test_record_size(record), size);
    CHECK(memcmp(view->image->bytes + record->start, data, size) == 0);
}

void test_check_reads(simdrive_store *store, const test_view *view) {
    for (size_t i = 0; i < view->live_count; i++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, view->live[i]->key_hash, &entry));
        check_payload(view, view->live[i], entry.data, entry.size);
        CHECK((uintptr_t)entry.data % TEST_ALIGNMENT == 0);
        simdrive_entry_release(&entry);
    }
    for (size_t i = 0; i < view->gone_count; i++) {
        simdrive_entry entry = {0};
        CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_read_hash(store, view->gone[i], &entry));
        CHECK(!entry.data && !simdrive_exists_hash(store, view->gone[i]));
    }
}

void test_check_figures(simdrive_store *store, const test_view *view) {
    simdrive_info info = {.struct_size = sizeof info};
    CHECK_OK(simdrive_get_info(store, &info));
    CHECK_U64(view->tail, info.tail);
    CHECK_U64(view->live_count, info.entries);
    CHECK_U64(view->tombstones, info.tombstones);
    CHECK_U64(view->stale, info.stale_entries);
    CHECK_U64(view->live_bytes, info.live_bytes);
    CHECK_U64(view->stale_bytes, info.stale_bytes);
    CHECK_U64(0, info.corrupt_entries);
    CHECK_U64(view->live_count, simdrive_count(store));
    CHECK_U64(view->tail, simdrive_tail(store));
    CHECK(simdrive_is_empty(store) == (view->live_count == 0));
}

void test_check_iteration(simdrive_store *store, const test_view *view) {
    simdrive_iterator *iterator = NULL;
    CHECK_OK(simdrive_iterate(store, &iterator));
    for (size_t i = 0; i < view->live_count; i++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_iterator_next(iterator, &entry));
        CHECK(simdrive_entry_key_hash(&entry) == view->live[i]->key_hash);
        check_payload(view, view->live[i], entry.data, entry.size);
        simdrive_entry_release(&entry);
    }
    simdrive_entry entry = {0};
    CHECK_STATUS(SIMDRIVE_END, simdrive_iterator_next(iterator, &entry));
    CHECK_STATUS(SIMDRIVE_END, simdrive_iterator_next(iterator, &entry));
    simdrive_iterator_close(iterator);
}

void test_check_shows(simdrive_store *store, const test_image *image) {
    test_view view;
    test_view_build(&view, image, image->count);
    test_check_figures(store, &view);
    test_check_reads(store, &view);
    test_check_iteration(store, &view);
    test_view_free(&view);
}

/* --- shapes ----------------------------------------------------------------------------------------------------- */

enum { NO_PAD_SIZE = (TEST_ALIGNMENT < 64 ? 64 : TEST_ALIGNMENT) - TEST_METADATA_SIZE };

size_t test_key(uint64_t number, char out[32]) {
    if (number == 0) {
        out[0] = 0;
        return 0;
    }
    return (size_t)snprintf(out, 32, "key-%llu", (unsigned long long)number);
}

uint64_t test_key_hash(uint64_t number) {
    char key[32];
    size_t size = test_key(number, key);
    return simdrive_hash_key(key, size);
}

const char *test_shape_name(test_shape shape) {
    static const char *const names[TEST_SHAPE_COUNT] = {"text",     "random",     "u64",         "zeros",  "no-pad",
                                                        "one-byte", "tombstones", "nested-last", "one-big"};
    return names[shape];
}

static size_t fill_text(uint8_t *payload, size_t scale, test_random *random) {
    size_t size = scale / 2 + 1 + (size_t)test_random_below(random, scale);
    for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)("etaoin shrdlu"[test_random_below(random, 13)]);
    return size;
}

static size_t fill_random(uint8_t *payload, size_t scale, test_random *random) {
    size_t size = 1 + (size_t)test_random_below(random, 2 * scale);
    test_random_fill(random, payload, size);
    payload[0] |= 1; /* never the single byte 00 */
    return size;
}

static size_t fill_u64(uint8_t *payload, size_t scale, test_random *random) {
    size_t count = 1 + (size_t)test_random_below(random, scale / 4 + 1);
    for (size_t i = 0; i < count; i++) put_little_endian(payload + 8 * i, test_random_below(random, 70000), 8);
    return 8 * count;
}

static size_t fill_zeros(uint8_t *payload, size_t scale, test_random *random) {
    size_t size = 2 + (size_t)test_random_below(random, 2 * scale);
    memset(payload, 0, size);
    return size;
}

static size_t fill_fixed(uint8_t *payload, size_t size, test_random *random) {
    test_random_fill(random, payload, size);
    payload[0] |= 1;
    return size;
}

static size_t fill_nested(uint8_t *payload, size_t scale, test_random *random) {
    test_image inner = {0};
    test_image_generate(&inner, TEST_SHAPE_TEXT, 12, scale, random);
    size_t size = inner.size;
    memcpy(payload, inner.bytes, size);
    test_image_free(&inner);
    return size;
}

static size_t fill(uint8_t *payload, test_shape shape, bool last, bool middle, size_t scale, test_random *random) {
    switch (shape) {
    case TEST_SHAPE_TEXT: return fill_text(payload, scale, random);
    case TEST_SHAPE_U64: return fill_u64(payload, scale, random);
    case TEST_SHAPE_ZEROS: return fill_zeros(payload, scale, random);
    case TEST_SHAPE_NO_PAD: return fill_fixed(payload, NO_PAD_SIZE, random);
    case TEST_SHAPE_ONE_BYTE: return fill_fixed(payload, 1, random);
    case TEST_SHAPE_NESTED_LAST: return last ? fill_nested(payload, scale, random) : fill_text(payload, scale, random);
    case TEST_SHAPE_ONE_BIG:
        return middle ? fill_fixed(payload, 64 * scale, random) : fill_text(payload, scale / 4, random);
    default: return fill_random(payload, scale, random);
    }
}

void test_image_generate(test_image *image, test_shape shape, size_t entries, size_t scale, test_random *random) {
    uint8_t *payload = test_alloc(64 * scale + 65536);
    for (size_t i = 0; i < entries; i++) {
        bool mixed = shape == TEST_SHAPE_TOMBSTONES;
        uint64_t key = test_key_hash(mixed ? test_random_below(random, entries / 4 + 1) : i + 1);
        if (mixed && test_image_find(image, key) && test_random_below(random, 2)) {
            test_image_delete(image, key);
            continue;
        }
        size_t size = fill(payload, shape, i + 1 == entries, i == entries / 2, scale, random);
        test_image_put(image, key, payload, size);
    }
    free(payload);
}
