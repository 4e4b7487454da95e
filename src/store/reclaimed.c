/* SPDX-License-Identifier: Apache-2.0 */
/* reclaimed.c — what a reclaimed entry looks like, and how to know one again.
 *
 *       start         from                              to         end
 *         |  head      |  whole pages of the file        |  tail    |  metadata
 *   ------+------------+------------+------------+-------+----------+------
 *         |  as it was |  zeros     |  zeros     |  ...  |  as it was, all of it
 *   ------+------------+------------+------------+-------+----------+------
 *
 * reclaim.c punches the pages from `from` to `to` and nothing else. A crash may leave some of them as they were, for
 * no file system promises that a hole is punched at once; so one page of zeros is enough, and then the checksum tells
 * whether these zeros are the payload's own. The first entry of a file is never reclaimed: its checksum proves the
 * chain. */
#include "store/store.h"

enum { PAGE = 4096 }; /* of the format, whatever the system's pages are */

bool sdi_reclaimable_range(const sdi_record *record, uint64_t *from, uint64_t *to) {
    *from = sdi_align_up(record->start, PAGE);
    *to = record->end - record->end % PAGE;
    return !record->tombstone && record->prev != 0 && *from < *to;
}

bool sdi_has_reclaimed_page(const uint8_t *file, const sdi_record *record) {
    uint64_t from, to;
    if (!sdi_reclaimable_range(record, &from, &to)) return false;
    for (uint64_t page = from; page < to; page += PAGE) {
        if (sdi_load64(file + page) == 0 && sdi_is_zero(file + page, PAGE)) return true;
    }
    return false;
}

bool sdi_is_reclaimed(const uint8_t *file, const sdi_record *record) {
    return sdi_has_reclaimed_page(file, record) && !sdi_checksum_matches(file, record, SDI_CRC32C, NULL);
}

bool sdi_stale_payload_is_gone(const sdi_generation *generation, const uint8_t *file, const sdi_record *record) {
    uint64_t from, to;
    if (!sdi_reclaimable_range(record, &from, &to)) return false;
    return record->end < atomic_load_explicit(&generation->reclaiming, memory_order_acquire) ||
           sdi_is_reclaimed(file, record);
}
