/* SPDX-License-Identifier: Apache-2.0 */
/* reclaimed.h — entries whose payloads were given back to the file system in place, and how to know one.
 *
 *       start         from                              to         end            end + 16
 *         |  head      |  whole pages of the file        |  rest    |  hash, link   |  mark
 *   ------+------------+------------+------------+-------+----------+---------------+-------
 *         |  as it was |  zeros     |  zeros     |  ...  |  as it was, all of it    |
 *   ------+------------+------------+------------+-------+----------+---------------+-------
 *
 * The pages that lie in the payload as a whole are holes: zeros that take no space. Where the checksum was stands the
 * mark: the CRC-32C that the payload has with zeros in these pages, combined with a constant by exclusive or. So the
 * mark is as good a proof of the entry's link and bounds as a checksum is; it tells the entry from one that is damaged;
 * and it is right before the pages are zero, while they become so, and after, whatever a crash leaves of that.
 *
 * Only stale entries are reclaimed: nobody reads their payloads but those who ask for the past. Never the first entry
 * of a file, and none whose mark would lie across two sectors of a disk, which may be written one without the other.
 *
 * What this module knows: bytes and offsets. What it must not know: files, keys, what is stale. */
#ifndef SDI_RECLAIMED_H
#define SDI_RECLAIMED_H

#include "format/format.h"

enum { SDI_RECLAIMED_PAGE = 4096 }; /* of the format, whatever the system's pages are */

#define SDI_RECLAIMED_MARK UINT32_C(0x6D65C1A2)

/* The pages that an entry can give back; false when there are none, or it must stay as it is. */
bool sdi_reclaimable_range(const sdi_record *record, uint64_t *from, uint64_t *to);

/* The mark, from the CRC-32C of head and rest. */
uint32_t sdi_reclaimed_mark_of(const sdi_record *record, uint32_t head_crc, uint32_t rest_crc);
/* The same, computed from the file. Reads no more than the head and the rest, less than two pages. */
uint32_t sdi_reclaimed_mark(const uint8_t *file, const sdi_record *record);

/* Whether the entry has the mark in place of its checksum. */
bool sdi_is_reclaimed(const uint8_t *file, const sdi_record *record);

#endif
