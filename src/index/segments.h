/* SPDX-License-Identifier: Apache-2.0 */
/* segments.h — the memory of segments: taken, given back to be used again, returned to the system only at the end.
 *
 * What this module knows: sizes of segments, pages. What it must not know: what is in a slot. For the writer only.
 *
 * Invariants
 *   M1  An address that was ever a segment stays readable, as slots, until sdi_segments_release() (X4).
 *   M2  A segment that is taken is all zero; zeros over former contents are written with release order, so that a
 *       reader who sees one also sees that the directory no longer leads there.
 *   M3  sdi_segments_give() cannot fail. */
#ifndef SDI_INDEX_SEGMENTS_H
#define SDI_INDEX_SEGMENTS_H

#include "index/layout.h"

typedef struct sdi_block {
    void *start;
    size_t size;
    enum { SDI_BLOCK_SMALL, SDI_BLOCK_PAGES, SDI_BLOCK_LENT } kind; /* from calloc(), pages, or somebody else's */
} sdi_block;

typedef struct sdi_segments {
    sdi_block *blocks;
    size_t block_count;
    size_t block_room;
    sdi_slot **given; /* full-size segments to use again; has room for all there are (M3) */
    size_t given_count;
    size_t given_room;
    sdi_slot *fresh; /* full-size segments that nobody has used */
    size_t fresh_count;
    uint64_t bytes;
} sdi_segments;

/* A segment of 2^lines_log2 lines, or NULL. */
sdi_slot *sdi_segments_take(sdi_segments *segments, unsigned lines_log2);
/* Readers may still look at it. */
void sdi_segments_give(sdi_segments *segments, sdi_slot *segment, unsigned lines_log2);
/* Acquires this many full-size segments beforehand, in one piece. */
bool sdi_segments_expect(sdi_segments *segments, size_t count);
/* Takes segments into use that somebody else made, of `size` bytes altogether. They may be given back to be used again
 * like others, but are never returned to the system. */
bool sdi_segments_lend(sdi_segments *segments, void *start, size_t size);
/* See sdi_index_discard(). */
void sdi_segments_discard(sdi_segments *segments);
void sdi_segments_release(sdi_segments *segments);

#endif
