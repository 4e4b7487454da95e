/* SPDX-License-Identifier: Apache-2.0 */
/* reclaimed.c — how a payload is known whose space was given back: whole pages of it read as zeros, and its checksum,
 * which was made when they did not, is wrong. Zeros that were written have a checksum that is right. */
#include "store/store.h"

enum { PAGE = 4096 }; /* holes are punched in whole pages of the file */

bool sdi_payload_is_reclaimed(const uint8_t *file, const sdi_record *record) {
    uint64_t first = sdi_align_up(record->start, PAGE), last = record->end - record->end % PAGE;
    return !record->tombstone && first < last && sdi_is_zero(file + first, last - first) &&
           !sdi_checksum_matches(file, record, SDI_CRC32C, NULL);
}
