/* SPDX-License-Identifier: Apache-2.0 */
/* format.h — the byte layout of a store, in one place.
 *
 *        prev                start                     end                    tail = end + 20
 *         |      pre-pad       |        payload         |       metadata        |
 *   ------+--------------------+------------------------+-----+-----+----+-----+------
 *         |  0 .. A-1 zeros    |  1 byte or more         | key hash | prev | crc |
 *   ------+--------------------+------------------------+----------+------+-----+-----
 *                              ^ multiple of A             8 bytes    8      4
 *
 * A tombstone is one byte 00 at `prev`, without pre-pad, and the same metadata.
 *
 * What this module knows: bytes and offsets. What it must not know: files, maps, keys, who reads and writes.
 *
 * Invariants
 *   F1  Bytes from disk are input: sdi_decode() is the only function that turns them into offsets, and it gives out
 *       only offsets that satisfy  prev <= start < end < tail,  prev = 0 or prev >= 21.
 *   F2  No other file derives start from prev, or tail from end.
 */
#ifndef SDI_FORMAT_H
#define SDI_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "kernel/kernel.h"

#ifndef SIMDRIVE_ALIGNMENT
#define SIMDRIVE_ALIGNMENT 64
#endif
_Static_assert(SIMDRIVE_ALIGNMENT >= 16 && SIMDRIVE_ALIGNMENT <= 4096 &&
                   (SIMDRIVE_ALIGNMENT & (SIMDRIVE_ALIGNMENT - 1)) == 0,
               "SIMDRIVE_ALIGNMENT must be a power of two from 16 to 4096");

enum {
    SDI_METADATA_SIZE = 20,
    SDI_PREV_FIELD = 8,      /* where prev is in the metadata */
    SDI_CHECKSUM_FIELD = 16, /* where the checksum is */
    SDI_ENTRY_MIN = 21       /* the smallest entry, and the smallest store that is not empty */
};

#define SDI_OFFSET_MAX ((UINT64_C(1) << 48) - 1)

/* One entry, decoded. */
typedef struct sdi_record {
    uint64_t prev;
    uint64_t start; /* of the payload; of a tombstone, of its byte */
    uint64_t end;   /* of the payload; the metadata begins here */
    uint64_t key_hash;
    uint32_t checksum;
    bool tombstone;
} sdi_record;

static inline uint64_t sdi_align_up(uint64_t offset, uint64_t alignment) {
    return (offset + (alignment - 1)) & ~(alignment - 1);
}

/* Where the payload begins of an entry written at tail `prev`. */
static inline uint64_t sdi_payload_start(uint64_t prev) {
    return sdi_align_up(prev, SIMDRIVE_ALIGNMENT);
}

static inline uint64_t sdi_record_tail(const sdi_record *record) {
    return record->end + SDI_METADATA_SIZE;
}

static inline uint64_t sdi_record_size(const sdi_record *record) {
    return record->end - record->start;
}

/* Completes a record whose `end` and `prev` are known; false when they cannot be those of an entry. */
static inline bool sdi_decode_with_prev(const uint8_t *file, uint64_t end, uint64_t prev, sdi_record *out) {
    if (prev >= end || (prev != 0 && prev < SDI_ENTRY_MIN)) return false;
    out->prev = prev;
    out->end = end;
    out->key_hash = sdi_load64(file + end);
    out->checksum = sdi_load32(file + end + SDI_CHECKSUM_FIELD);
    out->tombstone = end - prev == 1 && file[prev] == 0;
    out->start = out->tombstone ? prev : sdi_payload_start(prev);
    return out->start < end;
}

/* Decodes the entry whose metadata begins at `end`. The caller has seen that end + 20 bytes of the file can be read. */
static inline bool sdi_decode(const uint8_t *file, uint64_t end, sdi_record *out) {
    return sdi_decode_with_prev(file, end, sdi_load64(file + end + SDI_PREV_FIELD), out);
}

/* Where the payload begins of the entry whose metadata is at `end`, for those who want nothing else: false when it is a
 * tombstone, no entry, or in doubt. */
static inline bool sdi_locate_payload(const uint8_t *file, uint64_t end, uint64_t *start) {
    uint64_t prev = sdi_load64(file + end + SDI_PREV_FIELD);
    *start = sdi_payload_start(prev);
    /* The first condition keeps out tombstones, and payloads of one byte that need no padding, which look like them.
     * The last one is that for prev: 0, or at least the end of the smallest entry. */
    return prev < end - 1 && *start < end && prev - 1 >= SDI_ENTRY_MIN - 1;
}

/* Writes the 20 bytes of metadata. */
static inline void sdi_encode_metadata(uint8_t *at, uint64_t key_hash, uint64_t prev, uint32_t checksum) {
    sdi_store64(at, key_hash);
    sdi_store64(at + SDI_PREV_FIELD, prev);
    sdi_store32(at + SDI_CHECKSUM_FIELD, checksum);
}

/* Whether the bytes between prev and start are zero, as the format wants them. */
bool sdi_padding_is_zero(const uint8_t *file, const sdi_record *record);

/* Whether `size` bytes are all zero. */
bool sdi_is_zero(const uint8_t *bytes, uint64_t size);

/* Whether the payload has the stored checksum, of either kind; `kind` (may be NULL) receives which. `hint` is tried
 * first. */
bool sdi_checksum_matches(const uint8_t *file, const sdi_record *record, sdi_crc_kind hint, sdi_crc_kind *kind);

/* Whether the entry at `end` has its checksum under another payload alignment than this build's. */
bool sdi_fits_other_alignment(const uint8_t *file, uint64_t end);

/* A batch is made visible by its last write, which puts the true `prev` into the metadata of its first entry. Until
 * then the field holds this. Where the 8 bytes lie across a 512-byte sector, only those in the second sector differ
 * from the true ones, for one sector is what a disk writes at once; they hold the highest byte, so that the link is
 * never plausible. Returns the number of bytes at the field's beginning that are true already. */
unsigned sdi_unpublished_prev(uint64_t field_offset, uint64_t prev, uint8_t field[8]);

/* The first entry of a file is made visible by writing its first 8 payload bytes last. Until then they hold this mark,
 * by which an interrupted first write is known. (Not for payloads of fewer bytes.) */
extern const uint8_t sdi_first_write_mark[8];

#endif
