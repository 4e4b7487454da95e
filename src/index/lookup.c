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

/* From a line that leads on to the end of the probe. Bounded even where segments are used again meanwhile. */
static bool find_beyond(const sdi_index *index, const probe *p, uint64_t hash, sdi_index_hit *hit) {
    const sdi_slot *line = p->line;
    unsigned tag = p->tag;
    do {
        line = next_line(line, p->word);
        tag = sdi_tag_further(tag);
        if (find_in_line(index, line, tag, hash, hit)) return true;
    } while (sdi_line_leads_on(line, tag) && line != p->line);
    return false;
}

sdi_index_hit sdi_index_find(const sdi_index *index, uint64_t hash) {
    sdi_index_hit hit = {.offset = SDI_INDEX_NONE};
    for (;;) {
        probe p;
        if (!begin(index, hash, &p)) return (sdi_index_hit){.offset = SDI_INDEX_UNKNOWN};
        if (find_in_line(index, p.line, p.tag, hash, &hit)) return hit;
        if (sdi_line_leads_on(p.line, p.tag) && find_beyond(index, &p, hash, &hit)) return hit;
        if (is_current(index, &p)) return hit;
    }
}

/* --- many keys at once ------------------------------------------------------------------------------------------- */

/* Rounds of lines behind the home line: what is displaced further is rare. */
enum { GROUP_TURNS = 3 };

/* A probe among many: the line looked at next or last, and the first slot there that has the tag, or 0. */
typedef struct group_probe {
    uint64_t word;
    const sdi_slot *line;
    uint64_t candidate;
    uint32_t at; /* where the word is in the directory */
    uint16_t tag;
} group_probe;

/* A line that has no key and leads on, for a segment that nobody may look at: the key is left to sdi_index_find(). */
#define NO_KEY (SDI_SLOT_MARK | 1)
static const _Alignas(SDI_LINE_SIZE)
    sdi_slot unknown[SDI_LINE_SLOTS] = {NO_KEY, NO_KEY, NO_KEY, NO_KEY, NO_KEY, NO_KEY, NO_KEY, NO_KEY};
enum { TAG_OF_NONE = (1 << SDI_TAG_BITS) - 1 };

/* Asks for the home line. */
static inline void aim(const sdi_directory *root, sdi_place place, group_probe *p) {
    p->at = (uint32_t)sdi_directory_at(root, place.u);
    p->word = atomic_load_explicit(&root->words[p->at], memory_order_acquire);
    uint32_t line = sdi_home_line(place.home, sdi_word_lines_log2(p->word));
    p->line = sdi_word_segment(p->word) + (size_t)line * SDI_LINE_SLOTS;
    p->tag = (uint16_t)sdi_tag(place.u, sdi_word_tag_base(p->word));
    if (sdi_word_is_unchecked(p->word)) {
        p->line = unknown;
        p->tag = TAG_OF_NONE;
    }
    __builtin_prefetch(p->line);
}

/* Looks at the probe's line; whether the key may be in the next one. Without a branch: where slots match is random. */
static inline bool look_at_line(group_probe *p) {
    unsigned found = sdi_line_match(p->line, p->tag) | 1u << (SDI_LINE_SLOTS - 1);
    uint64_t slot = atomic_load_explicit(&p->line[sdi_next_match(&found)], memory_order_acquire);
    p->candidate = sdi_slot_tag(slot) == p->tag ? slot : 0;
    return (p->candidate == 0) & sdi_line_leads_on(p->line, p->tag);
}

static inline void prefetch_either(bool goes_on, const sdi_slot *line, const uint8_t *base, uint64_t candidate) {
    uintptr_t metadata = (uintptr_t)base + (uintptr_t)sdi_slot_offset(candidate);
    __builtin_prefetch((const void *)(goes_on ? (uintptr_t)line : metadata));
}

/* The same for the line behind, of those `which` go on; they become the ones that still do. */
static size_t look_further(group_probe *probes, uint8_t *which, size_t count, const uint8_t *base) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        group_probe *p = &probes[which[i]];
        if (sdi_word_is_unchecked(p->word)) continue;
        p->line = next_line(p->line, p->word);
        p->tag = (uint16_t)sdi_tag_further(p->tag);
        bool goes_on = look_at_line(p);
        prefetch_either(goes_on, next_line(p->line, p->word), base, p->candidate);
        which[left] = which[i];
        left += goes_on;
    }
    return left;
}

static inline bool is_missing(const sdi_index *index, const sdi_directory *root, const group_probe *p) {
    const probe same = {.root = root, .word_at = &root->words[p->at], .word = p->word};
    return !sdi_line_leads_on(p->line, p->tag) && is_current(index, &same);
}

/* A group of keys on their way; `count` may be 0. */
typedef struct lookup_group {
    const sdi_directory *root;
    size_t count;
    group_probe probes[SDI_GROUP];
} lookup_group;

/* Takes up to SDI_GROUP keys, and asks for their home lines. */
static void aim_group(const sdi_index *index, const uint64_t *hashes, size_t count, lookup_group *group) {
    const sdi_seed seed = index->seed;
    const sdi_directory *root = atomic_load_explicit(&index->root, memory_order_acquire);
    group->root = root;
    group->count = count < SDI_GROUP ? count : SDI_GROUP;
    for (size_t i = 0; i < group->count; i++) aim(root, sdi_place_of(seed, hashes[i]), &group->probes[i]);
}

/* Looks at the lines, and asks for the metadata. Keys that are displaced are followed to the lines behind. */
static void look_at_group(const sdi_index *index, lookup_group *group) {
    uint8_t which[SDI_GROUP];
    size_t further = 0;
    const uint8_t *base = atomic_load_explicit(&index->base, memory_order_acquire);
    for (size_t i = 0; i < group->count; i++) {
        group_probe *p = &group->probes[i];
        bool goes_on = look_at_line(p);
        prefetch_either(goes_on, p->line + SDI_LINE_SLOTS, base, p->candidate);
        which[further] = (uint8_t)i;
        further += goes_on;
    }
    for (unsigned turn = 0; further > 0 && turn < GROUP_TURNS; turn++)
        further = look_further(group->probes, which, further, base);
}

/* What is not settled by now, a small part, is looked up once more one by one: keys for which the first candidate is
 * not the answer, and those displaced by many lines. */
static void settle_group(const sdi_index *index, const lookup_group *group, const uint64_t *hashes,
                         sdi_index_hit *hits) {
    const uint8_t *base = atomic_load_explicit(&index->base, memory_order_acquire); /* behind the slots' loads */
    for (size_t i = 0; i < group->count; i++) {
        const group_probe *p = &group->probes[i];
        uint64_t offset = sdi_slot_offset(p->candidate);
        if (p->candidate) {
            hits[i] = (sdi_index_hit){.offset = offset, .base = base};
            if (sdi_load64(base + offset) == hashes[i]) continue;
        } else if (is_missing(index, group->root, p)) {
            hits[i] = (sdi_index_hit){.offset = SDI_INDEX_NONE};
            continue;
        }
        hits[i] = sdi_index_find(index, hashes[i]);
    }
}

/* In three rounds, each asking for the memory that the next one reads: the home lines, the metadata or the lines
 * behind, the answer. While a group's metadata is on its way, so are the home lines of the next one. */
void sdi_index_find_batch(const sdi_index *index, const uint64_t *hashes, size_t count, sdi_index_hit *hits) {
    lookup_group groups[2];
    unsigned now = 0;
    aim_group(index, hashes, count, &groups[0]);
    for (size_t first = 0; first < count; now = !now) {
        lookup_group *group = &groups[now], *next = &groups[!now];
        look_at_group(index, group);
        aim_group(index, hashes + first + group->count, count - first - group->count, next);
        settle_group(index, group, hashes + first, hits + first);
        first += group->count;
    }
}
