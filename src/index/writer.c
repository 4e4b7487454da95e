/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c — room for keys, and their offsets. One thread at a time.
 *
 * Room: a segment has it as long as the keys in it and those to come stay within its limit. What is to come is counted
 * afresh in each reserve, so that a reserve that no put follows costs nothing for good. The limit is less than the
 * slots, and a put looks for an empty slot, not at the limit: so probes always end. */
#include <assert.h>

#include "index/state.h"

/* --- room -------------------------------------------------------------------------------------------------------- */

static sdi_tally *tally_at(const sdi_index *index, uint32_t u) {
    return sdi_tally_of(index, sdi_own_word(index, u), u);
}

static bool has_room(const sdi_tally *tally, uint32_t more) {
    return tally->keys < tally->limit && tally->limit - tally->keys >= more;
}

static void clear_pending(sdi_index *index, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) tally_at(index, sdi_place_of(hashes[i]).u)->pending = 0;
}

/* Whether there is room even if every key is new and no two are the same. */
static bool surely_fits(sdi_index *index, const uint64_t *hashes, size_t count) {
    if (count == 1) return has_room(tally_at(index, sdi_place_of(hashes[0]).u), 1);
    bool fits = true;
    size_t i = 0;
    for (; i < count && fits; i++) {
        sdi_tally *tally = tally_at(index, sdi_place_of(hashes[i]).u);
        fits = has_room(tally, ++tally->pending);
    }
    clear_pending(index, hashes, i);
    return fits;
}

/* Counts the keys that are not there yet, and grows each segment that they overfill. A segment that grew counts afresh
 * from there on: the counts are complete only when none did. */
static simdrive_status make_room(sdi_index *index, const uint64_t *hashes, size_t count, bool *grew) {
    sdi_index_hit hits[SDI_GROUP];
    for (size_t i = 0; i < count; i++) {
        if (i % SDI_GROUP == 0)
            sdi_index_find_batch(index, hashes + i, count - i < SDI_GROUP ? count - i : SDI_GROUP, hits);
        if (hits[i % SDI_GROUP].offset != SDI_INDEX_NONE) continue;
        uint32_t u = sdi_place_of(hashes[i]).u;
        sdi_tally *tally = tally_at(index, u);
        if (has_room(tally, ++tally->pending)) continue;
        simdrive_status status = sdi_index_grow_at(index, u);
        if (status != SIMDRIVE_OK) return status;
        *grew = true;
    }
    return SIMDRIVE_OK;
}

simdrive_status sdi_index_reserve(sdi_index *index, const uint64_t *hashes, size_t count) {
    if (surely_fits(index, hashes, count)) return SIMDRIVE_OK;
    simdrive_status status;
    bool grew;
    do {
        grew = false;
        status = make_room(index, hashes, count, &grew);
        clear_pending(index, hashes, count);
    } while (status == SIMDRIVE_OK && grew);
    return status;
}

/* --- putting ----------------------------------------------------------------------------------------------------- */

typedef struct target {
    uint64_t word;
    sdi_slot *line; /* home */
    unsigned tag;   /* there; of the slot, once that is known */
} target;

static inline target target_of(const sdi_index *index, sdi_place place) {
    target t;
    t.word = sdi_own_word(index, place.u);
    uint32_t line = sdi_home_line(place.home, sdi_word_lines_log2(t.word));
    t.line = sdi_word_segment(t.word) + (size_t)line * SDI_LINE_SLOTS;
    t.tag = sdi_tag(place.u, sdi_word_tag_base(t.word));
    return t;
}

static sdi_slot *slot_in_line(const sdi_index *index, sdi_slot *line, unsigned tag, uint64_t hash) {
    unsigned found = sdi_line_match(line, tag);
    while (found) {
        unsigned i = sdi_next_match(&found);
        uint64_t offset = sdi_slot_offset(atomic_load_explicit(&line[i], memory_order_relaxed));
        if (offset && sdi_load64(sdi_own_base(index) + offset) == hash) return &line[i];
    }
    return NULL;
}

/* The slot of the key, or the empty one where it would be put, and its tag. */
static inline sdi_slot *slot_for(const sdi_index *index, target *t, uint64_t hash) {
    sdi_slot *line = t->line;
    for (;;) {
        sdi_slot *slot = slot_in_line(index, line, t->tag, hash);
        if (slot) return slot;
        if (!sdi_line_is_full(line)) return &line[sdi_line_first_empty(line)];
        line += SDI_LINE_SLOTS;
        sdi_slot *segment = sdi_word_segment(t->word);
        if (line == segment + ((size_t)SDI_LINE_SLOTS << sdi_word_lines_log2(t->word))) line = segment;
        assert(line != t->line);
        t->tag = sdi_tag_further(t->tag);
    }
}

/* Release order: a reader that sees the offset sees the base that covers it, and the bytes there. */
static inline void set_slot(sdi_slot *slot, const target *t, uint64_t offset) {
    assert(offset != SDI_INDEX_NONE && offset <= SDI_OFFSET_MASK);
    atomic_store_explicit(slot, sdi_slot_make(t->tag, offset), memory_order_release);
}

static inline void count_key(sdi_index *index, const target *t, uint32_t u) {
    sdi_tally_of(index, t->word, u)->keys++;
    atomic_store_explicit(&index->keys, atomic_load_explicit(&index->keys, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline uint64_t put_at(sdi_index *index, sdi_place place, uint64_t hash, uint64_t offset) {
    target t = target_of(index, place);
    sdi_slot *slot = slot_for(index, &t, hash);
    uint64_t old = sdi_slot_offset(atomic_load_explicit(slot, memory_order_relaxed));
    set_slot(slot, &t, offset);
    if (old == SDI_INDEX_NONE) count_key(index, &t, place.u);
    return old;
}

uint64_t sdi_index_put(sdi_index *index, uint64_t hash, uint64_t offset) {
    return put_at(index, sdi_place_of(hash), hash, offset);
}

/* Asks for the home lines, then for the metadata of the slots there that have the right tag. */
static void prepare_group(const sdi_index *index, const uint64_t *hashes, size_t count, sdi_place *places) {
    target targets[SDI_GROUP];
    for (size_t i = 0; i < count; i++) {
        places[i] = sdi_place_of(hashes[i]);
        targets[i] = target_of(index, places[i]);
        __builtin_prefetch(targets[i].line, 1);
    }
    const uint8_t *base = sdi_own_base(index);
    for (size_t i = 0; i < count; i++) {
        const sdi_slot *line = targets[i].line;
        unsigned found = sdi_line_match(line, targets[i].tag);
        while (found) {
            uint64_t slot = atomic_load_explicit(&line[sdi_next_match(&found)], memory_order_relaxed);
            sdi_prefetch_at(base, sdi_slot_offset(slot));
        }
    }
}

void sdi_index_put_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                         uint64_t *replaced) {
    sdi_place places[SDI_GROUP];
    for (size_t i = 0; i < count; i++) {
        if (i % SDI_GROUP == 0)
            prepare_group(index, hashes + i, count - i < SDI_GROUP ? count - i : SDI_GROUP, places);
        replaced[i] = put_at(index, places[i % SDI_GROUP], hashes[i], offsets[i]);
    }
}

/* The offset that the key has already; otherwise puts it, growing first where that is due. */
static simdrive_status add_at(sdi_index *index, sdi_place place, uint64_t hash, uint64_t offset, uint64_t *existing) {
    target t = target_of(index, place);
    sdi_slot *slot = slot_for(index, &t, hash);
    *existing = sdi_slot_offset(atomic_load_explicit(slot, memory_order_relaxed));
    if (*existing != SDI_INDEX_NONE) return SIMDRIVE_OK;
    while (!has_room(sdi_tally_of(index, t.word, place.u), 1)) {
        simdrive_status status = sdi_index_grow_at(index, place.u);
        if (status != SIMDRIVE_OK) return status;
        t = target_of(index, place);
        slot = slot_for(index, &t, hash);
    }
    set_slot(slot, &t, offset);
    count_key(index, &t, place.u);
    return SIMDRIVE_OK;
}

simdrive_status sdi_index_add_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                                    uint64_t *existing) {
    sdi_place places[SDI_GROUP];
    for (size_t i = 0; i < count; i++) {
        if (i % SDI_GROUP == 0)
            prepare_group(index, hashes + i, count - i < SDI_GROUP ? count - i : SDI_GROUP, places);
        simdrive_status status = add_at(index, places[i % SDI_GROUP], hashes[i], offsets[i], &existing[i]);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}
