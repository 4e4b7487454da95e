/* SPDX-License-Identifier: Apache-2.0 */
/* segments.c — see segments.h. Segments below the full size come from calloc() one by one: an index has few of them,
 * each half as large as the next. Full-size ones are cut from blocks of pages. */
#include "index/segments.h"

#include <stdlib.h>

#include "os/os.h"

#define SEGMENT_SIZE ((size_t)SDI_LINE_SIZE << SDI_SEGMENT_LINES_LOG2)
#define SEGMENT_SLOTS ((size_t)SDI_LINE_SLOTS << SDI_SEGMENT_LINES_LOG2)

/* Blocks that are taken while writers wait are a fraction of what there is, so that what is not used yet stays small
 * beside the keys; and smaller than a huge page, which they would be granted otherwise. To find and clear one took 5 to
 * 6 ms where the system had to make room or its host had taken the memory back, and each writer that filled a block
 * met that; the same memory in small pages is a few microseconds at a time. The price: batches of reads from an index
 * that grew to ten million keys take a tenth longer. What is expected ahead (opening, a compaction) has huge pages. */
enum { BLOCK_FRACTION = 8 };
#define LARGEST_BLOCK ((size_t)1 << 20)

static size_t next_block_size(const sdi_segments *segments) {
    size_t size = SEGMENT_SIZE;
    while (size < LARGEST_BLOCK && size * 2 <= segments->bytes / BLOCK_FRACTION) size *= 2;
    return size;
}

static bool has_room_for_block(sdi_segments *segments) {
    if (segments->block_count < segments->block_room) return true;
    size_t room = segments->block_room ? segments->block_room * 2 : 8;
    sdi_block *blocks = realloc(segments->blocks, room * sizeof *blocks);
    if (!blocks) return false;
    segments->bytes += (room - segments->block_room) * sizeof *blocks;
    segments->blocks = blocks;
    segments->block_room = room;
    return true;
}

static bool has_room_to_be_given(sdi_segments *segments, size_t more) {
    size_t wanted = more;
    for (size_t i = 0; i < segments->block_count; i++) wanted += segments->blocks[i].size / SEGMENT_SIZE;
    if (wanted <= segments->given_room) return true;
    size_t room = wanted + wanted / 2;
    sdi_slot **given = realloc(segments->given, room * sizeof *given);
    if (!given) return false;
    segments->bytes += (room - segments->given_room) * sizeof *given;
    segments->given = given;
    segments->given_room = room;
    return true;
}

/* Directory words have no room for more (layout.h). */
static bool address_fits(const void *start, size_t size) {
    return (((uint64_t)(uintptr_t)start + size) & ~SDI_OFFSET_MASK) == 0;
}

static void *acquire_pages(sdi_segments *segments, size_t size) {
    if (!has_room_for_block(segments) || !has_room_to_be_given(segments, size / SEGMENT_SIZE)) return NULL;
    void *start = sdi_pages_acquire(size);
    if (!start) return NULL;
    if (!address_fits(start, size)) {
        sdi_pages_release(start, size);
        return NULL;
    }
    segments->blocks[segments->block_count++] = (sdi_block){start, size, SDI_BLOCK_PAGES};
    segments->bytes += size;
    return start;
}

static sdi_slot *take_small(sdi_segments *segments, size_t size) {
    if (!has_room_for_block(segments)) return NULL;
    char *start = calloc(1, size + SDI_LINE_SIZE);
    if (!start) return NULL;
    if (!address_fits(start, size + SDI_LINE_SIZE)) {
        free(start);
        return NULL;
    }
    segments->blocks[segments->block_count++] = (sdi_block){start, size + SDI_LINE_SIZE, SDI_BLOCK_SMALL};
    segments->bytes += size + SDI_LINE_SIZE;
    return (sdi_slot *)(void *)(start + (0 - (uintptr_t)start) % SDI_LINE_SIZE);
}

static void clear(sdi_slot *segment) {
    for (size_t i = 0; i < SEGMENT_SLOTS; i++) atomic_store_explicit(&segment[i], 0, memory_order_release);
}

sdi_slot *sdi_segments_take(sdi_segments *segments, unsigned lines_log2) {
    if (lines_log2 < SDI_SEGMENT_LINES_LOG2) return take_small(segments, (size_t)SDI_LINE_SIZE << lines_log2);
    if (lines_log2 > SDI_SEGMENT_LINES_LOG2) {
        if (lines_log2 > SDI_LARGEST_LINES_LOG2 || SIZE_MAX >> lines_log2 < (size_t)2 * SDI_LINE_SIZE) return NULL;
        return acquire_pages(segments, (size_t)SDI_LINE_SIZE << lines_log2);
    }
    if (segments->given_count > 0) {
        sdi_slot *segment = segments->given[--segments->given_count];
        clear(segment);
        return segment;
    }
    size_t more = next_block_size(segments) / SEGMENT_SIZE;
    if (segments->fresh_count == 0 && !sdi_segments_expect(segments, more)) return NULL;
    sdi_slot *segment = segments->fresh;
    segments->fresh += SEGMENT_SLOTS;
    segments->fresh_count--;
    return segment;
}

void sdi_segments_give(sdi_segments *segments, sdi_slot *segment, unsigned lines_log2) {
    if (lines_log2 < SDI_SEGMENT_LINES_LOG2) return;
    for (size_t n = (size_t)1 << (lines_log2 - SDI_SEGMENT_LINES_LOG2); n > 0; n--, segment += SEGMENT_SLOTS)
        segments->given[segments->given_count++] = segment;
}

bool sdi_segments_expect(sdi_segments *segments, size_t count) {
    if (count > SIZE_MAX / SEGMENT_SIZE) return false;
    void *start = acquire_pages(segments, count * SEGMENT_SIZE);
    if (!start) return false;
    for (; segments->fresh_count > 0; segments->fresh_count--, segments->fresh += SEGMENT_SLOTS)
        sdi_segments_give(segments, segments->fresh, SDI_SEGMENT_LINES_LOG2);
    segments->fresh = start;
    segments->fresh_count = count;
    return true;
}

bool sdi_segments_lend(sdi_segments *segments, void *start, size_t size) {
    if (!address_fits(start, size)) return false;
    if (!has_room_for_block(segments) || !has_room_to_be_given(segments, size / SEGMENT_SIZE)) return false;
    segments->blocks[segments->block_count++] = (sdi_block){start, size, SDI_BLOCK_LENT};
    segments->bytes += size;
    return true;
}

/* Not what is lent: it would come back with its first contents, which may be older than what a reader saw. */
void sdi_segments_discard(sdi_segments *segments) {
    for (size_t i = 0; i < segments->block_count; i++) {
        const sdi_block *block = &segments->blocks[i];
        if (block->kind == SDI_BLOCK_PAGES) sdi_pages_discard(block->start, block->size);
    }
}

void sdi_segments_release(sdi_segments *segments) {
    for (size_t i = 0; i < segments->block_count; i++) {
        sdi_block *block = &segments->blocks[i];
        if (block->kind == SDI_BLOCK_PAGES) sdi_pages_release(block->start, block->size);
        if (block->kind == SDI_BLOCK_SMALL) free(block->start);
    }
    free(segments->blocks);
    free(segments->given);
}
