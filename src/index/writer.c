/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c — room for keys, and their offsets. One thread at a time.
 *
 * Room: a segment has it as long as the keys in it and those to come stay within its limit. What is to come is counted
 * afresh in each reserve, so that a reserve that no put follows costs nothing for good:
 *   1. Every key counts, as if all were new. Nearly always there is room for them, and no line was looked at.
 *   2. Where there is not, only keys that are missing count, and a segment that they overfill grows. What it becomes
 *      counts from there on.
 *   3. From 1 again, until nothing grew in step 2.
 * The limit is less than the slots, and a put looks for an empty slot, not at the limit: so probes always end. */
#include <assert.h>

#include "index/state.h"

/* --- where a key goes ------------------------------------------------------------------------------------------- */

typedef struct target {
    uint64_t word;
    sdi_slot *line; /* home, or one behind: those before it lead on, and the key is not in them */
    uint32_t u;
    uint16_t tag; /* there; of the slot, once that is known */
    uint8_t found; /* the slots in the line that may be the key's */
    uint8_t empty; /* the first empty slot there, unless it was taken meanwhile or the line is full */
} target;

static inline target target_of(const sdi_index *index, sdi_place place) {
    target t;
    t.word = sdi_own_word(index, place.u);
    uint32_t line = sdi_home_line(place.home, sdi_word_lines_log2(t.word));
    t.line = sdi_word_segment(t.word) + (size_t)line * SDI_LINE_SLOTS;
    t.u = place.u;
    t.tag = (uint16_t)sdi_tag(place.u, sdi_word_tag_base(t.word));
    return t;
}

/* --- room -------------------------------------------------------------------------------------------------------- */

static sdi_tally *tally_at(const sdi_index *index, uint32_t u) {
    return sdi_tally_of(index, sdi_own_word(index, u), u);
}

static bool has_room(const sdi_tally *tally, uint32_t more) {
    return tally->keys < tally->limit && tally->limit - tally->keys >= more;
}

/* Of the tally's `pending`: step 1 found no room; the other bits count the keys that are missing. */
#define OVERFULL (UINT32_C(1) << 31)

/* With what is pending in this round, `unless_counted` for a segment that nothing was counted for yet. */
static inline sdi_tally *tally_in_round(const sdi_index *index, uint32_t u, uint32_t unless_counted) {
    sdi_tally *tally = tally_at(index, u);
    if (tally->round != index->round) {
        tally->round = index->round;
        tally->pending = unless_counted;
    }
    return tally;
}

/* Step 1. Without a branch for what chance decides: which keys are the first of their segment in this round. */
static bool surely_fits(sdi_index *index, const uint64_t *hashes, size_t count) {
    const sdi_seed seed = index->seed;
    const sdi_directory *root = sdi_own_root(index);
    sdi_tally *tallies = index->tallies;
    const uint32_t round = ++index->round;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        uint32_t u = sdi_place_of(seed, hashes[i]).u;
        uint64_t word = atomic_load_explicit(&root->words[sdi_directory_at(root, u)], memory_order_relaxed);
        sdi_tally *tally = &tallies[sdi_first_place(root, word, u)];
        uint32_t before = tally->round == round ? tally->pending : 0;
        uint32_t room = tally->keys < tally->limit ? tally->limit - tally->keys : 0;
        bool fits_too = before < room; /* not when OVERFULL: there is never so much room */
        tally->round = round;
        tally->pending = fits_too ? before + 1 : OVERFULL;
        fits &= fits_too;
    }
    return fits;
}

/* What no key has been counted for in this round is what has just grown. */
static bool is_overfull(const sdi_index *index, uint32_t u) {
    return tally_in_round(index, u, OVERFULL)->pending >= OVERFULL;
}

static simdrive_status count_missing(sdi_index *index, const uint64_t *hashes, size_t count, bool *grew) {
    sdi_index_hit hits[SDI_GROUP];
    sdi_index_find_batch(index, hashes, count, hits);
    for (size_t i = 0; i < count; i++) {
        if (hits[i].offset != SDI_INDEX_NONE) continue;
        uint32_t u = sdi_place_of(index->seed, hashes[i]).u;
        sdi_tally *tally = tally_in_round(index, u, OVERFULL);
        if (has_room(tally, ++tally->pending - OVERFULL)) continue;
        simdrive_status status = sdi_index_grow_at(index, u);
        if (status != SIMDRIVE_OK) return status;
        *grew = true;
    }
    return SIMDRIVE_OK;
}

/* Step 2. */
static simdrive_status make_room(sdi_index *index, const uint64_t *hashes, size_t count, bool *grew) {
    uint64_t doubtful[SDI_GROUP];
    size_t doubts = 0;
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        doubtful[doubts] = hashes[i];
        doubts += is_overfull(index, sdi_place_of(index->seed, hashes[i]).u);
        if (doubts < SDI_GROUP) continue;
        status = count_missing(index, doubtful, doubts, grew);
        doubts = 0;
    }
    return status == SIMDRIVE_OK && doubts > 0 ? count_missing(index, doubtful, doubts, grew) : status;
}

simdrive_status sdi_index_check(sdi_index *index, const uint64_t *hashes, size_t count) {
    if (!index->image) return SIMDRIVE_OK;
    for (size_t i = 0; i < count; i++) {
        uint32_t u = sdi_place_of(index->seed, hashes[i]).u;
        /* Acquire order: whoever checked it has left its tally behind. */
        const sdi_directory *root = sdi_own_root(index);
        uint64_t word = atomic_load_explicit(&root->words[sdi_directory_at(root, u)], memory_order_acquire);
        if (sdi_word_is_unchecked(word) && !sdi_index_check_at(index, u)) return SIMDRIVE_ERROR_NO_MEMORY;
    }
    return SIMDRIVE_OK;
}

/* Asks for its home line too: the put comes when the entry is written, a miss later. */
static bool has_room_for_one(const sdi_index *index, uint64_t hash) {
    sdi_place place = sdi_place_of(index->seed, hash);
    target t = target_of(index, place);
    __builtin_prefetch(t.line, 1);
    return has_room(sdi_tally_of(index, t.word, t.u), 1);
}

simdrive_status sdi_index_reserve(sdi_index *index, const uint64_t *hashes, size_t count) {
    simdrive_status status = sdi_index_check(index, hashes, count);
    if (status != SIMDRIVE_OK) return status;
    if (count == 1 && has_room_for_one(index, hashes[0])) return SIMDRIVE_OK;
    bool grew = true;
    while (grew && !surely_fits(index, hashes, count)) {
        grew = false;
        status = make_room(index, hashes, count, &grew);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* --- putting ----------------------------------------------------------------------------------------------------- */

static inline void look_at_line(target *t) {
    t->found = (uint8_t)sdi_line_match(t->line, t->tag);
    t->empty = (uint8_t)sdi_line_first_empty(t->line);
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

static inline sdi_slot *next_line(uint64_t word, sdi_slot *line) {
    sdi_slot *segment = sdi_word_segment(word);
    line += SDI_LINE_SLOTS;
    return line == segment + ((size_t)SDI_LINE_SLOTS << sdi_word_lines_log2(word)) ? segment : line;
}

/* Leaves a line that is full and has not the key, which is in one behind it and left a mark here, or is new and will be
 * put there. */
static inline void go_on(target *t) {
    sdi_line_mark(t->line, t->tag);
    t->line = next_line(t->word, t->line);
    t->tag = (uint16_t)sdi_tag_further(t->tag);
}

/* Line by line. */
static sdi_slot *search(const sdi_index *index, target *t, uint64_t hash) {
    const sdi_slot *first = t->line;
    for (;;) {
        sdi_slot *slot = slot_in_line(index, t->line, t->tag, hash);
        if (slot) return slot;
        if (!sdi_line_is_full(t->line)) return &t->line[sdi_line_first_empty(t->line)];
        go_on(t);
        assert(t->line != first);
        (void)first;
    }
}

/* The slot of the key, or the empty one where it would be put, and its tag. A line that still has the empty slot it had
 * when it was looked at has no other key since. */
static inline sdi_slot *slot_for(const sdi_index *index, target *t, uint64_t hash) {
    sdi_slot *empty = &t->line[t->empty];
    if (t->found == 0 && atomic_load_explicit(empty, memory_order_relaxed) == 0) return empty;
    return search(index, t, hash);
}

/* Release order: a reader that sees the offset sees the base that covers it, and the bytes there. */
static inline void set_slot(sdi_slot *slot, const target *t, uint64_t offset) {
    assert(offset != SDI_INDEX_NONE && offset <= SDI_OFFSET_MASK);
    uint64_t mark = atomic_load_explicit(slot, memory_order_relaxed) & SDI_SLOT_MARK;
    atomic_store_explicit(slot, sdi_slot_make(t->tag, offset) | mark, memory_order_release);
}

static inline void count_keys(sdi_index *index, uint64_t more) {
    uint64_t before = atomic_load_explicit(&index->keys, memory_order_relaxed);
    atomic_store_explicit(&index->keys, before + more, memory_order_relaxed);
}

static inline uint64_t put_at(sdi_index *index, target *t, uint64_t hash, uint64_t offset) {
    sdi_slot *slot = slot_for(index, t, hash);
    uint64_t old = sdi_slot_offset(atomic_load_explicit(slot, memory_order_relaxed));
    set_slot(slot, t, offset);
    if (old == SDI_INDEX_NONE) sdi_tally_of(index, t->word, t->u)->keys++;
    return old;
}

uint64_t sdi_index_put(sdi_index *index, uint64_t hash, uint64_t offset) {
    target t = target_of(index, sdi_place_of(index->seed, hash));
    look_at_line(&t);
    uint64_t old = put_at(index, &t, hash, offset);
    if (old == SDI_INDEX_NONE) count_keys(index, 1);
    return old;
}

/* The targets of up to SDI_GROUP keys; returns how many. Asks for their home lines. */
static size_t aim_group(const sdi_index *index, const uint64_t *hashes, size_t count, target *targets) {
    if (count > SDI_GROUP) count = SDI_GROUP;
    for (size_t i = 0; i < count; i++) {
        targets[i] = target_of(index, sdi_place_of(index->seed, hashes[i]));
        __builtin_prefetch(targets[i].line, 1);
    }
    return count;
}

static inline void prefetch_found(const uint8_t *base, const target *t) {
    unsigned found = t->found;
    while (found) {
        uint64_t slot = atomic_load_explicit(&t->line[sdi_next_match(&found)], memory_order_relaxed);
        sdi_prefetch_at(base, sdi_slot_offset(slot));
    }
}

/* Asks for what is needed next: the metadata of the slots in the home lines that have the right tag, or the line
 * behind; then goes on to that one. Which home lines are full is chance, so no branch depends on it. */
static void look_at_group(const sdi_index *index, target *targets, size_t count) {
    const uint8_t *base = sdi_own_base(index);
    uint8_t further[SDI_GROUP];
    size_t further_count = 0;
    for (size_t i = 0; i < count; i++) {
        target *t = &targets[i];
        look_at_line(t);
        bool is_full = sdi_line_is_full(t->line);
        __builtin_prefetch(t->line + (is_full ? SDI_LINE_SLOTS : 0), 1);
        prefetch_found(base, t);
        further[further_count] = (uint8_t)i;
        further_count += is_full & (t->found == 0);
    }
    for (size_t i = 0; i < further_count; i++) {
        target *t = &targets[further[i]];
        go_on(t);
        look_at_line(t);
        prefetch_found(base, t);
    }
}

/* While a group is put, the home lines of the next one are on their way. */
void sdi_index_put_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                         uint64_t *replaced) {
    target targets[2][SDI_GROUP];
    uint64_t new_keys = 0;
    unsigned now = 0;
    size_t group = aim_group(index, hashes, count, targets[0]), next;
    for (size_t first = 0; first < count; now = !now) {
        next = aim_group(index, hashes + first + group, count - first - group, targets[!now]);
        look_at_group(index, targets[now], group);
        for (size_t i = 0; i < group; i++) {
            replaced[first + i] = put_at(index, &targets[now][i], hashes[first + i], offsets[first + i]);
            new_keys += replaced[first + i] == SDI_INDEX_NONE;
        }
        first += group;
        group = next;
    }
    count_keys(index, new_keys);
}

static simdrive_status grow_for(sdi_index *index, uint32_t u) {
    simdrive_status status = SIMDRIVE_OK;
    while (status == SIMDRIVE_OK && !has_room(tally_at(index, u), 1)) status = sdi_index_grow_at(index, u);
    return status;
}

/* The keys of a group, up to one that its segment has no room for; `done` are the ones before. */
static bool add_group(sdi_index *index, target *targets, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                      uint64_t *existing, size_t *done) {
    uint64_t new_keys = 0;
    bool has_all = true;
    for (*done = 0; *done < count; ++*done) {
        size_t i = *done;
        target *t = &targets[i];
        sdi_slot *slot = slot_for(index, t, hashes[i]);
        existing[i] = sdi_slot_offset(atomic_load_explicit(slot, memory_order_relaxed));
        if (existing[i] != SDI_INDEX_NONE) continue;
        sdi_tally *tally = sdi_tally_of(index, t->word, t->u);
        has_all = has_room(tally, 1);
        if (!has_all) break;
        set_slot(slot, t, offsets[i]);
        tally->keys++;
        new_keys++;
    }
    count_keys(index, new_keys);
    return has_all;
}

/* As in sdi_index_put_batch(), but that growth makes targets stale: then it is aimed anew. */
simdrive_status sdi_index_add_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                                    uint64_t *existing) {
    target targets[2][SDI_GROUP];
    unsigned now = 0;
    size_t group = aim_group(index, hashes, count, targets[0]);
    for (size_t first = 0, done; first < count; first += done) {
        size_t next = aim_group(index, hashes + first + group, count - first - group, targets[!now]);
        look_at_group(index, targets[now], group);
        if (add_group(index, targets[now], hashes + first, offsets + first, group, existing + first, &done)) {
            now = !now;
        } else {
            simdrive_status status = grow_for(index, targets[now][done].u);
            if (status != SIMDRIVE_OK) return status;
            next = aim_group(index, hashes + first + done, count - first - done, targets[now]);
        }
        group = next;
    }
    return SIMDRIVE_OK;
}
