/* SPDX-License-Identifier: Apache-2.0
 *
 * store_mutator.c — changes an input of fuzz_file.c so that more of it stays a store: entries are appended, linked to
 * others, given their checksums again, made tombstones, unpublished or reclaimed. Bytes changed at random nearly always
 * break a checksum, and would show one way through the recovery again and again.
 */
#include "fuzz.h"

#include <string.h>

#include "format/format.h"
#include "format/reclaimed.h"

enum { MOST_TAILS = 256, HEAD = 1, MOST_APPENDED = 200 };

typedef struct mutation {
    uint8_t *file;
    size_t size, capacity;
    test_random random;
    size_t tails[MOST_TAILS]; /* offsets at which entries may end, ascending; the first is 0 */
    size_t tail_count;
} mutation;

static size_t below(mutation *m, size_t limit) {
    return (size_t)test_random_below(&m->random, limit);
}

/* What looks like the end of an entry: a link that is possible. */
static void find_tails(mutation *m) {
    m->tails[0] = 0;
    m->tail_count = 1;
    for (size_t tail = SDI_ENTRY_MIN; tail <= m->size && m->tail_count < MOST_TAILS; tail++) {
        sdi_record record;
        if (!sdi_decode(m->file, tail - SDI_METADATA_SIZE, &record)) continue;
        bool to_start = record.prev == 0 && !sdi_checksum_matches(m->file, &record, SDI_CRC32C, NULL);
        if (!to_start || below(m, 16) == 0) m->tails[m->tail_count++] = tail;
    }
}

static size_t any_tail(mutation *m) {
    return m->tails[below(m, m->tail_count)];
}

static size_t high_tail(mutation *m) {
    size_t among = m->tail_count < 4 ? m->tail_count : 4;
    return m->tails[m->tail_count - 1 - below(m, among)];
}

static uint64_t any_key(mutation *m) {
    return test_key_hash(below(m, 6));
}

/* Metadata at `end` for an entry that begins behind `prev`. */
static void seal(mutation *m, size_t end, size_t prev, uint64_t key) {
    size_t start = (size_t)sdi_payload_start(prev);
    if (end - prev == 1 && m->file[prev] == 0) start = prev;
    if (start >= end || end + SDI_METADATA_SIZE > m->size) return;
    sdi_crc_kind kind = below(m, 4) ? SDI_CRC32C : SDI_CRC32;
    sdi_encode_metadata(m->file + end, key, prev, sdi_crc(kind, 0, m->file + start, end - start));
}

static void append_entry(mutation *m) {
    size_t base = below(m, 4) ? m->size : high_tail(m), prev = below(m, 4) ? base : any_tail(m);
    bool tombstone = below(m, 4) == 0;
    size_t start = tombstone ? base : (size_t)sdi_payload_start(base);
    size_t size = tombstone ? 1 : 1 + below(m, below(m, 8) ? MOST_APPENDED : 20 * MOST_APPENDED);
    if (start + size + SDI_METADATA_SIZE > m->capacity) return;
    memset(m->file + base, 0, start - base + (tombstone ? 1 : 0));
    if (!tombstone && below(m, 3)) test_random_fill(&m->random, m->file + start, size);
    else if (!tombstone) memset(m->file + start, (int)below(m, 3), size);
    m->size = start + size + SDI_METADATA_SIZE;
    seal(m, start + size, prev, any_key(m));
}

/* An entry in the middle, or the last one, gets a link, a key and its checksum. */
static void seal_again(mutation *m) {
    size_t tail = below(m, 2) ? high_tail(m) : any_tail(m), prev = any_tail(m);
    if (tail < SDI_ENTRY_MIN) return;
    size_t end = tail - SDI_METADATA_SIZE;
    if (below(m, 2)) prev = (size_t)sdi_load64(m->file + end + SDI_PREV_FIELD);
    if (prev < end) seal(m, end, prev, below(m, 2) ? any_key(m) : sdi_load64(m->file + end));
}

static void cut(mutation *m) {
    size_t tail = any_tail(m) + (below(m, 2) ? below(m, 80) : 0);
    if (tail > 0 && tail < m->size) m->size = tail;
}

static void clear_sectors(mutation *m) {
    size_t from = below(m, m->size) / 512 * 512, size = 512 * (1 + below(m, 3));
    if (below(m, 3) == 0) from = below(m, m->size), size = 1 + below(m, 100);
    if (size > m->size - from) size = m->size - from;
    memset(m->file + from, 0, size);
}

static void move_bytes(mutation *m) {
    size_t from = below(m, m->size), to = any_tail(m), size = 1 + below(m, m->size - from);
    if (below(m, 2)) to = (size_t)sdi_payload_start(to); /* a store in a store begins there */
    if (to + size > m->capacity) return;
    if (to > m->size) memset(m->file + m->size, 0, to - m->size);
    memmove(m->file + to, m->file + from, size);
    if (to + size > m->size) m->size = to + size;
}

static void unpublish(mutation *m) {
    size_t tail = high_tail(m);
    sdi_record record;
    if (below(m, 4) == 0 && m->size >= 8) memcpy(m->file, sdi_first_write_mark, 8);
    if (tail < SDI_ENTRY_MIN || !sdi_decode(m->file, tail - SDI_METADATA_SIZE, &record)) return;
    size_t field = (size_t)record.end + SDI_PREV_FIELD;
    sdi_unpublished_prev(field, record.prev, m->file + field);
}

static void reclaim(mutation *m) {
    size_t tail = any_tail(m);
    sdi_record record;
    uint64_t from, to;
    if (tail < SDI_ENTRY_MIN || !sdi_decode(m->file, tail - SDI_METADATA_SIZE, &record)) return;
    if (!sdi_reclaimable_range(&record, &from, &to)) return;
    memset(m->file + from, 0, (size_t)(to - from));
    sdi_store32(m->file + record.end + SDI_CHECKSUM_FIELD, sdi_reclaimed_mark(m->file, &record));
}

static void append_bytes(mutation *m) {
    size_t size = 1 + below(m, MOST_APPENDED);
    if (size > m->capacity - m->size) return;
    if (below(m, 2)) memset(m->file + m->size, 0, size);
    else test_random_fill(&m->random, m->file + m->size, size);
    m->size += size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
    static void (*const changes[])(mutation *) = {append_entry, append_entry, append_entry, seal_again, seal_again,
                                                  seal_again,   cut,          clear_sectors, move_bytes, unpublish,
                                                  reclaim,      append_bytes};
    if (size <= HEAD || seed % 3 == 0) size = LLVMFuzzerMutate(data, size, capacity);
    if (size <= HEAD || capacity <= HEAD || seed % 3 == 1) return size;
    mutation m = {.file = data + HEAD, .size = size - HEAD, .capacity = capacity - HEAD, .random = {seed}};
    for (size_t i = 1 + below(&m, 3); i > 0 && m.size > 0; i--) {
        find_tails(&m);
        changes[below(&m, sizeof changes / sizeof *changes)](&m);
    }
    return HEAD + m.size;
}
