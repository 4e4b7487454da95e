/* SPDX-License-Identifier: Apache-2.0 */
/* sample.c — some of the offsets that are in the index, for whoever wants to cut a file where entries begin.
 *
 * Keys lie in the index by their hashes, and in the file by the time when they were written. So keys from places of the
 * index that are evenly spread are keys from everywhere in the file: between two neighbours of a sample, sorted, there
 * are about as many keys as between any two others.
 *
 * It is a reader as in lookup.c. Slots that it finds in a segment that has been used again meanwhile are of other keys
 * of the same file, which is as good. */
#include "index/state.h"

/* The segment's word at u, or 0 when it cannot be looked at. */
static uint64_t word_at(const sdi_index *index, uint32_t u) {
    for (;;) {
        const sdi_directory *root = atomic_load_explicit(&index->root, memory_order_acquire);
        uint64_t word = atomic_load_explicit(&root->words[sdi_directory_at(root, u)], memory_order_acquire);
        if (!sdi_word_is_unchecked(word)) return word;
        if (!sdi_index_check_at(index, u)) return 0;
    }
}

size_t sdi_index_sample(const sdi_index *index, uint64_t *offsets, size_t capacity) {
    size_t lines = (capacity + SDI_LINE_SLOTS - 1) / SDI_LINE_SLOTS;
    size_t count = 0;
    for (size_t i = 0; i < lines; i++) {
        uint32_t u = (uint32_t)(((uint64_t)i << 32) / lines);
        uint64_t word = word_at(index, u);
        if (word == 0) continue;
        /* Several lines of one segment are spread over it, too. */
        uint32_t home = sdi_home_line(u * UINT32_C(0x9E3779B1), sdi_word_lines_log2(word));
        const sdi_slot *line = sdi_word_segment(word) + (size_t)home * SDI_LINE_SLOTS;
        for (unsigned j = 0; j < SDI_LINE_SLOTS && count < capacity; j++) {
            uint64_t offset = sdi_slot_offset(atomic_load_explicit(&line[j], memory_order_acquire));
            if (offset != SDI_INDEX_NONE) offsets[count++] = offset;
        }
    }
    return count;
}
