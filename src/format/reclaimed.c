/* SPDX-License-Identifier: Apache-2.0 */
/* reclaimed.c — see reclaimed.h. */
#include "format/reclaimed.h"

enum { SECTOR = 512, MARK_BYTES = 4 };

bool sdi_reclaimable_range(const sdi_record *record, uint64_t *from, uint64_t *to) {
    uint64_t mark = record->end + SDI_CHECKSUM_FIELD;
    *from = sdi_align_up(record->start, SDI_RECLAIMED_PAGE);
    *to = record->end - record->end % SDI_RECLAIMED_PAGE;
    return !record->tombstone && record->prev != 0 && *from < *to && mark % SECTOR <= SECTOR - MARK_BYTES;
}

/* A checksum of zeros alone is that of nothing, moved on by their number: for all bits are inverted at the beginning
 * and at the end. */
static uint32_t crc_of_zeros(uint64_t size) {
    return ~sdi_crc_combine(SDI_CRC32C, UINT32_MAX, 0, size);
}

uint32_t sdi_reclaimed_mark_of(const sdi_record *record, uint32_t head_crc, uint32_t rest_crc) {
    uint64_t from, to;
    sdi_reclaimable_range(record, &from, &to);
    uint32_t crc = sdi_crc_combine(SDI_CRC32C, head_crc, crc_of_zeros(to - from), to - from);
    return sdi_crc_combine(SDI_CRC32C, crc, rest_crc, record->end - to) ^ SDI_RECLAIMED_MARK;
}

uint32_t sdi_reclaimed_mark(const uint8_t *file, const sdi_record *record) {
    uint64_t from, to;
    sdi_reclaimable_range(record, &from, &to);
    uint32_t head = sdi_crc(SDI_CRC32C, 0, file + record->start, (size_t)(from - record->start));
    uint32_t rest = sdi_crc(SDI_CRC32C, 0, file + to, (size_t)(record->end - to));
    return sdi_reclaimed_mark_of(record, head, rest);
}

bool sdi_is_reclaimed(const uint8_t *file, const sdi_record *record) {
    uint64_t from, to;
    return sdi_reclaimable_range(record, &from, &to) && sdi_reclaimed_mark(file, record) == record->checksum;
}
