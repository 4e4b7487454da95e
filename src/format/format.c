/* SPDX-License-Identifier: Apache-2.0 */
/* format.c — checks on the byte layout that are too long for the header. */
#include "format/format.h"

enum { SECTOR = 512 };

const uint8_t sdi_first_write_mark[8] = {0xF7, 'f', 'i', 'r', 's', 't', 0x00, 0xFD};

bool sdi_is_zero(const uint8_t *bytes, uint64_t size) {
    while (size >= 32) {
        uint64_t words[4];
        memcpy(words, bytes, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) != 0) return false;
        bytes += 32;
        size -= 32;
    }
    for (; size > 0; bytes++, size--) {
        if (*bytes != 0) return false;
    }
    return true;
}

bool sdi_padding_is_zero(const uint8_t *file, const sdi_record *record) {
    return sdi_is_zero(file + record->prev, record->start - record->prev);
}

static bool range_matches(const uint8_t *file, uint64_t start, uint64_t end, uint32_t stored, sdi_crc_kind hint,
                          sdi_crc_kind *kind) {
    for (unsigned turn = 0; turn < 2; turn++) {
        sdi_crc_kind tried = turn == 0 ? hint : (hint == SDI_CRC32C ? SDI_CRC32 : SDI_CRC32C);
        if (sdi_crc(tried, 0, file + start, (size_t)(end - start)) != stored) continue;
        if (kind) *kind = tried;
        return true;
    }
    return false;
}

bool sdi_checksum_matches(const uint8_t *file, const sdi_record *record, sdi_crc_kind hint, sdi_crc_kind *kind) {
    return range_matches(file, record->start, record->end, record->checksum, hint, kind);
}

bool sdi_fits_other_alignment(const uint8_t *file, uint64_t end) {
    uint64_t prev = sdi_load64(file + end + SDI_PREV_FIELD);
    uint32_t stored = sdi_load32(file + end + SDI_CHECKSUM_FIELD);
    if (prev >= end || (prev != 0 && prev < SDI_ENTRY_MIN)) return false;
    if (end - prev == 1 && file[prev] == 0) return false; /* a tombstone is the same in all of them */
    for (uint64_t alignment = 1; alignment <= 65536; alignment *= 2) {
        uint64_t start = sdi_align_up(prev, alignment);
        if (start >= end) return false;
        if (start == sdi_payload_start(prev)) continue;
        if (!sdi_is_zero(file + prev, start - prev)) return false;
        if (range_matches(file, start, end, stored, SDI_CRC32C, NULL)) return true;
    }
    return false;
}

unsigned sdi_unpublished_prev(uint64_t field_offset, uint64_t prev, uint8_t field[8]) {
    unsigned in_first_sector = (unsigned)(SECTOR - field_offset % SECTOR);
    unsigned kept = in_first_sector >= 8 ? 0 : in_first_sector;
    sdi_store64(field, prev);
    for (unsigned i = kept; i < 8; i++) field[i] = (uint8_t)~field[i];
    return kept;
}
