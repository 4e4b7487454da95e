/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h — the short way of a lookup, for the callers that read one key at a time.
 *
 * A read waits for two lines of memory, one of the index and one of the file, and hardly works in between. What makes
 * reads fast that follow each other is that the processor begins the next ones while it waits; it sees some hundred
 * instructions ahead. So this is written to be few of them: no call, no loop, one look at one line. Nearly all keys are
 * decided by it; for those that are not (they are displaced, two slots have the tag, a segment is just being replaced)
 * it says so, and sdi_index_find() looks again with all the care it takes. The argument why what is found is right is
 * the one of lookup.c: its steps are these. */
#ifndef SDI_INDEX_PROBE_H
#define SDI_INDEX_PROBE_H

#include "base/likely.h"
#include "index/state.h"

#define SDI_PROBE_UNDECIDED UINT64_MAX

/* The newest offset put for `hash` and the base that covers it, SDI_INDEX_NONE when the key is not there, or
 * SDI_PROBE_UNDECIDED. */
static inline uint64_t sdi_index_probe(const sdi_index *index, uint64_t hash, const uint8_t **base) {
    sdi_place place = sdi_place_of(index->seed, hash);
    const sdi_directory *root = atomic_load_explicit(&index->root, memory_order_acquire);
    const _Atomic uint64_t *word_at = &root->words[sdi_directory_at(root, place.u)];
    uint64_t word = atomic_load_explicit(word_at, memory_order_acquire);
    if (sdi_word_is_unchecked(word)) return SDI_PROBE_UNDECIDED;
    uint32_t line_number = sdi_home_line(place.home, sdi_word_lines_log2(word));
    const sdi_slot *line = sdi_word_segment(word) + (size_t)line_number * SDI_LINE_SLOTS;
    unsigned tag = sdi_tag(place.u, sdi_word_tag_base(word));
    unsigned found = sdi_line_match(line, tag);
    if (SDI_OFTEN(found != 0)) {
        uint64_t slot = atomic_load_explicit(&line[sdi_next_match(&found)], memory_order_acquire);
        const uint8_t *bytes = atomic_load_explicit(&index->base, memory_order_acquire);
        uint64_t offset = sdi_slot_offset(slot);
        /* An empty slot may look like one with tag 0: it leads to the file's first bytes, which are no metadata. */
        if (SDI_SELDOM(offset == SDI_INDEX_NONE || sdi_slot_tag(slot) != tag)) return SDI_PROBE_UNDECIDED;
        if (SDI_SELDOM(sdi_load64(bytes + offset) != hash)) return SDI_PROBE_UNDECIDED;
        *base = bytes;
        return offset;
    }
    if (SDI_SELDOM(sdi_line_leads_on(line, tag))) return SDI_PROBE_UNDECIDED;
    sdi_line_match_fence();
    if (root != atomic_load_explicit(&index->root, memory_order_acquire) ||
        word != atomic_load_explicit(word_at, memory_order_acquire))
        return SDI_PROBE_UNDECIDED;
    return SDI_INDEX_NONE;
}

#endif
