/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c — finding a key, beside a writer and without a lock.
 *
 * Why a lookup that begins after a put returned finds the key (X1):
 *   1. It loads the root, then the word, then slots, each with acquire order, so it sees at least the segment that held
 *      the key when the put returned. The writer never changes a segment after another took its place, until the
 *      segment is used again.
 *   2. What it finds in there, the file confirms: 64 bits of hash at the slot's offset. A segment that has been used
 *      again since step 1 holds slots of other keys, which the file refutes, or newer ones of this key.
 *   3. If it finds nothing, it looks at root and word again. Both as before: the segment was the right one all along
 *      (L3, L4), the key is not there. Otherwise again from 1.
 *   The base is loaded after the slot: it covers the slot's offset, since it was set before the slot was written. */
#include "index/state.h"

typedef struct probe {
    const sdi_directory *root;
    const _Atomic uint64_t *word_at;
    uint64_t word;
    const sdi_slot *line; /* home */
    unsigned tag;         /* there */
} probe;

static inline void look_up_word(const sdi_index *index, uint32_t u, probe *p) {
    p->root = atomic_load_explicit(&index->root, memory_order_acquire);
    p->word_at = &p->root->words[sdi_directory_at(p->root, u)];
    p->word = atomic_load_explicit(p->word_at, memory_order_acquire);
}

/* A line of no segment, for a probe that cannot be made. */
static const _Alignas(SDI_LINE_SIZE) sdi_slot nothing[SDI_LINE_SLOTS];

/* False, and a probe that finds nothing and is not current, when the segment cannot be looked at. */
static inline bool begin(const sdi_index *index, uint64_t hash, probe *p) {
    sdi_place place = sdi_place_of(index->seed, hash);
    look_up_word(index, place.u, p);
    while (sdi_word_is_unchecked(p->word)) {
        if (!sdi_index_check_at(index, place.u)) {
            p->word = 0;
            p->line = nothing;
            p->tag = 0;
            return false;
        }
        look_up_word(index, place.u, p);
    }
    uint32_t line = sdi_home_line(place.home, sdi_word_lines_log2(p->word));
    p->line = sdi_word_segment(p->word) + (size_t)line * SDI_LINE_SLOTS;
    p->tag = sdi_tag(place.u, sdi_word_tag_base(p->word));
    return true;
}

/* Step 3. */
static inline bool is_current(const sdi_index *index, const probe *p) {
    sdi_line_match_fence();
    return p->root == atomic_load_explicit(&index->root, memory_order_acquire) &&
           p->word == atomic_load_explicit(p->word_at, memory_order_acquire);
}

static inline bool confirms(const sdi_index *index, uint64_t offset, uint64_t hash, sdi_index_hit *hit) {
    const uint8_t *base = atomic_load_explicit(&index->base, memory_order_acquire);
    if (sdi_load64(base + offset) != hash) return false;
    *hit = (sdi_index_hit){.offset = offset, .base = base};
    return true;
}

static inline bool find_in_line(const sdi_index *index, const sdi_slot *line, unsigned tag, uint64_t hash,
                                sdi_index_hit *hit) {
    unsigned found = sdi_line_match(line, tag);
    while (found) {
        uint64_t slot = atomic_load_explicit(&line[sdi_next_match(&found)], memory_order_acquire);
        if (slot == 0 || sdi_slot_tag(slot) != tag) continue;
        if (confirms(index, sdi_slot_offset(slot), hash, hit)) return true;
    }
    return false;
}

static const sdi_slot *next_line(const sdi_slot *line, uint64_t word) {
    const sdi_slot *segment = sdi_word_segment(word);
    size_t slots = (size_t)SDI_LINE_SLOTS << sdi_word_lines_log2(word);
    line += SDI_LINE_SLOTS;
    return line == segment + slots ? segment : line;
}

/* From a line that is full to the end of the probe. Bounded even where segments are used again meanwhile. */
static bool find_beyond(const sdi_index *index, const probe *p, uint64_t hash, sdi_index_hit *hit) {
    const sdi_slot *line = p->line;
    unsigned tag = p->tag;
    do {
        line = next_line(line, p->word);
        tag = sdi_tag_further(tag);
        if (find_in_line(index, line, tag, hash, hit)) return true;
    } while (sdi_line_is_full(line) && line != p->line);
    return false;
}

sdi_index_hit sdi_index_find(const sdi_index *index, uint64_t hash) {
    sdi_index_hit hit = {.offset = SDI_INDEX_NONE};
    for (;;) {
        probe p;
        if (!begin(index, hash, &p)) return (sdi_index_hit){.offset = SDI_INDEX_UNKNOWN};
        if (find_in_line(index, p.line, p.tag, hash, &hit)) return hit;
        if (sdi_line_is_full(p.line) && find_beyond(index, &p, hash, &hit)) return hit;
        if (is_current(index, &p)) return hit;
    }
}

/* The first slot of the home line that has the tag, or 0. */
static inline uint64_t candidate_of(const probe *p) {
    unsigned found = sdi_line_match(p->line, p->tag);
    if (!found) return 0;
    uint64_t slot = atomic_load_explicit(&p->line[sdi_next_match(&found)], memory_order_acquire);
    return sdi_slot_tag(slot) == p->tag ? slot : 0;
}

/* In three rounds, each asking for the memory that the next one reads: the home lines, the metadata, the answer. Keys
 * for which the first candidate is not the answer, a small part, are looked up once more one by one, with most of what
 * that reads in the cache. */
static void find_group(const sdi_index *index, const uint64_t *hashes, size_t count, sdi_index_hit *hits) {
    probe probes[SDI_GROUP];
    uint64_t candidates[SDI_GROUP];
    for (size_t i = 0; i < count; i++) {
        begin(index, hashes[i], &probes[i]);
        __builtin_prefetch(probes[i].line);
    }
    const uint8_t *base = atomic_load_explicit(&index->base, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        candidates[i] = candidate_of(&probes[i]);
        sdi_prefetch_at(base, sdi_slot_offset(candidates[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (candidates[i]) {
            if (confirms(index, sdi_slot_offset(candidates[i]), hashes[i], &hits[i])) continue;
        } else if (!sdi_line_is_full(probes[i].line) && is_current(index, &probes[i])) {
            hits[i] = (sdi_index_hit){.offset = SDI_INDEX_NONE};
            continue;
        }
        hits[i] = sdi_index_find(index, hashes[i]);
    }
}

void sdi_index_find_batch(const sdi_index *index, const uint64_t *hashes, size_t count, sdi_index_hit *hits) {
    for (size_t i = 0; i < count; i += SDI_GROUP)
        find_group(index, hashes + i, count - i < SDI_GROUP ? count - i : SDI_GROUP, hits + i);
}
