/* SPDX-License-Identifier: Apache-2.0 */
/* growth.c — an index from its first line to its last directory: created, grown, destroyed.
 *
 * An index begins as one small segment, which doubles its lines until it has the full size. From then on a segment that
 * has reached its limit is split in two of the same size, each with the keys of one half of its range of u. Nothing
 * ever copies more than one segment and, at every doubling, the directory.
 *
 *   1. Take the new segments, and a directory of twice the words if the old one is not deep enough. Only this can fail,
 *      and nothing has changed then.
 *   2. Fill the new segments: from the old one's slots alone where they tell enough (L2), else from the hashes.
 *   3. Publish: the words, or the new root whose words are complete, with release order. Readers may go on in the old
 *      segment; what it says stays true as long as no key is put (lookup.c).
 *   4. Give the old segment back, to be used in step 1 of a later split.
 *
 * Hashes that have the same first bits of u, more than chance allows, were made that way. No split can tell them apart;
 * so directories are kept from getting much larger than what they lead to, and segments double then. */
#include <stdlib.h>

#include "index/state.h"
#include "os/os.h"

/* Full lines make probes longer, empty slots make keys larger. Segments' loads lie between half of this and all of it,
 * and are ln 2 of it on average (layout.h): 12.5 bytes per key. */
#define LIMIT_OF(slots) ((uint32_t)((slots) - (uint64_t)(slots) * 8 / 100))

/* From here on an index is worth making anew for the keys that it turned out to have. */
enum { MOST_BYTES_PER_KEY = 20 };

/* A new segment and how many slots of each line are taken: to look at the slots themselves would cost more. */
typedef struct filling {
    sdi_slot *segment;
    uint8_t *taken;
    unsigned lines_log2;
} filling;

static uint32_t slots_of(unsigned lines_log2) {
    return (uint32_t)SDI_LINE_SLOTS << lines_log2;
}

uint32_t sdi_segment_limit(unsigned lines_log2) {
    return LIMIT_OF(slots_of(lines_log2));
}

static uint64_t segment_count(const sdi_index *index) {
    return atomic_load_explicit(&index->segments, memory_order_relaxed);
}

void sdi_index_count_more(sdi_index *index, uint64_t segments, uint64_t slots) {
    atomic_store_explicit(&index->segments, segment_count(index) + segments, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(&index->slots, memory_order_relaxed);
    atomic_store_explicit(&index->slots, before + slots, memory_order_relaxed);
}

void sdi_index_count_bytes(sdi_index *index) {
    atomic_store_explicit(&index->bytes, sizeof *index + index->directory_bytes + index->memory.bytes,
                          memory_order_relaxed);
}

/* --- step 2: filling --------------------------------------------------------------------------------------------- */

/* With release order: a reader that is still here because the segment was in use before, and takes this slot for one of
 * its own, must see the base and the bytes that the slot leads to. */
static inline void append(const filling *to, uint32_t home, unsigned tag, uint64_t offset) {
    uint32_t line = home;
    while (to->taken[line] == SDI_LINE_SLOTS) {
        sdi_line_mark(&to->segment[(size_t)line * SDI_LINE_SLOTS], tag);
        line = (line + 1) & ((1u << to->lines_log2) - 1);
        tag = sdi_tag_further(tag);
    }
    size_t at = (size_t)line * SDI_LINE_SLOTS + to->taken[line]++;
    atomic_store_explicit(&to->segment[at], sdi_slot_make(tag, offset), memory_order_release);
}

static uint32_t keys_of(const filling *from) {
    uint32_t keys = 0;
    for (uint32_t line = 0; line < 1u << from->lines_log2; line++) keys += from->taken[line];
    return keys;
}

/* Slots that are to be filled in from their hashes; in two halves, one asked for while the other is worked on. */
typedef struct queue {
    const sdi_index *index;
    const filling *halves;
    unsigned split; /* the bit of u that names the half; NO_SPLIT when there is one only */
    unsigned tag_base;
    unsigned now;
    size_t counts[2];
    uint64_t offsets[2][SDI_GROUP];
} queue;

enum { NO_SPLIT = 32 };

static void append_by_hash(const queue *q, uint64_t offset) {
    sdi_place place = sdi_place_of(q->index->seed, sdi_load64(sdi_own_base(q->index) + offset));
    const filling *to = &q->halves[q->split == NO_SPLIT ? 0 : place.u >> (31 - q->split) & 1];
    append(to, sdi_home_line(place.home, to->lines_log2), sdi_tag(place.u, q->tag_base), offset);
}

static void queue_turn(queue *q) {
    q->now = !q->now;
    for (size_t i = 0; i < q->counts[q->now]; i++) append_by_hash(q, q->offsets[q->now][i]);
    q->counts[q->now] = 0;
}

static inline void queue_add(queue *q, uint64_t offset) {
    sdi_prefetch_at(sdi_own_base(q->index), offset);
    q->offsets[q->now][q->counts[q->now]++] = offset;
    if (q->counts[q->now] == SDI_GROUP) queue_turn(q);
}

static void queue_finish(queue *q) {
    queue_turn(q);
    queue_turn(q);
}

static void fill_from_hashes(queue *q, uint64_t word) {
    const sdi_slot *segment = sdi_word_segment(word);
    const uint32_t slots = slots_of(sdi_word_lines_log2(word));
    for (uint32_t at = 0; at < slots; at++) {
        uint64_t slot = atomic_load_explicit(&segment[at], memory_order_relaxed);
        if (slot) queue_add(q, sdi_slot_offset(slot));
    }
    queue_finish(q);
}

/* The slots of a line are taken from the first to the last, so the rest of it is empty behind an empty one. */
static void fill_from_tags(queue *q, uint64_t word) {
    const filling halves[2] = {q->halves[0], q->halves[1]};
    const sdi_slot *line = sdi_word_segment(word);
    const unsigned half_bit = SDI_TAG_BITS - 1 - (q->split - q->tag_base);
    const uint32_t lines = 1u << sdi_word_lines_log2(word);
    for (uint32_t at = 0; at < lines; at++, line += SDI_LINE_SLOTS) {
        for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&line[i], memory_order_relaxed);
            if (!slot) break;
            unsigned tag = sdi_slot_tag(slot), displaced = tag & SDI_MOST_DISPLACED;
            if (displaced == SDI_MOST_DISPLACED)
                queue_add(q, sdi_slot_offset(slot));
            else
                append(&halves[tag >> half_bit & 1], (at - displaced) & (lines - 1), tag - displaced,
                       sdi_slot_offset(slot));
        }
    }
    queue_finish(q);
}

/* --- steps 1, 3 and 4 -------------------------------------------------------------------------------------------- */

void sdi_index_set_words(const sdi_index *index, sdi_directory *directory, uint32_t u, uint64_t word, uint32_t keys) {
    size_t first = sdi_first_place(directory, word, u);
    size_t count = (size_t)1 << (directory->depth - sdi_word_depth(word));
    index->tallies[first] = (sdi_tally){.keys = keys, .limit = LIMIT_OF(slots_of(sdi_word_lines_log2(word)))};
    for (size_t i = 0; i < count; i++) atomic_store_explicit(&directory->words[first + i], word, memory_order_release);
}

static size_t directory_size(unsigned depth) {
    return sizeof(sdi_directory) + (sizeof(uint64_t) << depth);
}

static sdi_directory *new_directory(unsigned depth) {
    sdi_directory *directory = calloc(1, directory_size(depth));
    if (directory) directory->depth = depth;
    return directory;
}

static void filling_abort(sdi_index *index, filling *to) {
    if (to->segment) sdi_segments_give(&index->memory, to->segment, to->lines_log2);
    free(to->taken);
}

static bool filling_begin(sdi_index *index, filling *to, unsigned lines_log2) {
    to->lines_log2 = lines_log2;
    to->taken = calloc((size_t)1 << lines_log2, 1);
    to->segment = to->taken ? sdi_segments_take(&index->memory, lines_log2) : NULL;
    sdi_index_count_bytes(index);
    return to->segment != NULL;
}

/* Step 3, for one segment: in a directory that readers have, or that is to become the root. */
static void publish(sdi_index *index, sdi_directory *directory, uint32_t u, filling *from, unsigned depth,
                    unsigned tag_base) {
    uint64_t word = sdi_word_make(from->segment, from->lines_log2, depth, tag_base);
    sdi_index_set_words(index, directory, u, word, keys_of(from));
    free(from->taken);
}

static simdrive_status double_segment(sdi_index *index, uint32_t u) {
    uint64_t word = sdi_own_word(index, u);
    unsigned lines_log2 = sdi_word_lines_log2(word), depth = sdi_word_depth(word);
    filling larger = {.segment = NULL};
    if (!filling_begin(index, &larger, lines_log2 + 1)) {
        filling_abort(index, &larger);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }
    queue q = {.index = index, .halves = &larger, .split = NO_SPLIT, .tag_base = depth};
    fill_from_hashes(&q, word);
    publish(index, sdi_own_root(index), u, &larger, depth, depth);
    sdi_segments_give(&index->memory, sdi_word_segment(word), lines_log2);
    sdi_index_count_more(index, 0, slots_of(lines_log2));
    return SIMDRIVE_OK;
}

/* A directory with two words for each of the root's, not published yet, and tallies to go with it. */
static sdi_directory *deepen(sdi_index *index) {
    sdi_directory *root = sdi_own_root(index);
    size_t count = (size_t)1 << root->depth;
    sdi_directory *deeper = new_directory(root->depth + 1);
    sdi_tally *tallies = calloc(count * 2, sizeof *tallies);
    if (!deeper || !tallies) {
        free(deeper);
        free(tallies);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t word = atomic_load_explicit(&root->words[i], memory_order_relaxed);
        atomic_store_explicit(&deeper->words[2 * i], word, memory_order_relaxed);
        atomic_store_explicit(&deeper->words[2 * i + 1], word, memory_order_relaxed);
        tallies[2 * i] = index->tallies[i];
    }
    deeper->older = root;
    free(index->tallies);
    index->tallies = tallies;
    index->directory_bytes += directory_size(deeper->depth) + count * sizeof *tallies;
    return deeper;
}

static simdrive_status split_segment(sdi_index *index, uint32_t u) {
    sdi_directory *directory = sdi_own_root(index);
    uint64_t word = sdi_own_word(index, u);
    unsigned lines_log2 = sdi_word_lines_log2(word), depth = sdi_word_depth(word), tag_base = sdi_word_tag_base(word);
    filling halves[2] = {{.segment = NULL}, {.segment = NULL}};
    bool ready = filling_begin(index, &halves[0], lines_log2) && filling_begin(index, &halves[1], lines_log2);
    if (ready && depth == directory->depth) directory = deepen(index);
    if (!ready || !directory) {
        for (unsigned i = 0; i < 2; i++) filling_abort(index, &halves[i]);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }

    bool tags_do = depth - tag_base < SDI_TAG_U_BITS_SPENT;
    if (!tags_do) tag_base = depth + 1;
    queue q = {.index = index, .halves = halves, .split = depth, .tag_base = tag_base};
    if (tags_do) fill_from_tags(&q, word);
    else fill_from_hashes(&q, word);
    const uint32_t bit = UINT32_C(1) << (31 - depth);
    publish(index, directory, u & ~bit, &halves[0], depth + 1, tag_base);
    publish(index, directory, u | bit, &halves[1], depth + 1, tag_base);
    atomic_store_explicit(&index->root, directory, memory_order_release);
    sdi_segments_give(&index->memory, sdi_word_segment(word), lines_log2);
    sdi_index_count_more(index, 1, slots_of(lines_log2));
    sdi_index_count_bytes(index);
    return SIMDRIVE_OK;
}

static bool may_split(const sdi_index *index, uint64_t word) {
    const sdi_directory *root = sdi_own_root(index);
    if (sdi_word_lines_log2(word) < SDI_SEGMENT_LINES_LOG2) return false;
    if (sdi_word_depth(word) < root->depth) return true;
    return root->depth < SDI_DEEPEST && (UINT64_C(2) << root->depth) <= segment_count(index) * SDI_WORDS_PER_SEGMENT;
}

simdrive_status sdi_index_grow_at(sdi_index *index, uint32_t u) {
    sdi_image_lock(index);
    simdrive_status status =
        may_split(index, sdi_own_word(index, u)) ? split_segment(index, u) : double_segment(index, u);
    sdi_image_unlock(index);
    return status;
}

simdrive_status sdi_index_refill(sdi_index *index, uint32_t u, const uint64_t *hashes, const uint64_t *offsets,
                                 size_t count) {
    uint64_t word = sdi_own_word(index, u);
    unsigned lines_log2 = sdi_word_lines_log2(word), depth = sdi_word_depth(word);
    filling fresh = {.segment = NULL};
    while (lines_log2 < SDI_LARGEST_LINES_LOG2 && sdi_segment_limit(lines_log2) < count) lines_log2++;
    if (!filling_begin(index, &fresh, lines_log2)) {
        filling_abort(index, &fresh);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        sdi_place place = sdi_place_of(index->seed, hashes[i]);
        append(&fresh, sdi_home_line(place.home, lines_log2), sdi_tag(place.u, depth), offsets[i]);
    }
    publish(index, sdi_own_root(index), u, &fresh, depth, depth);
    sdi_index_count_more(index, 0, slots_of(lines_log2) - slots_of(sdi_word_lines_log2(word)));
    return SIMDRIVE_OK;
}

/* --- creating and destroying ------------------------------------------------------------------------------------- */

/* The segments that growing to so many keys would give. */
typedef struct plan {
    sdi_index *index; /* NULL: only counts */
    sdi_directory *directory;
    double keys;
    size_t segments;
    unsigned depth;
} plan;

/* The smallest x whose u is not less. */
static uint64_t spiral_inverse(uint64_t u) {
    uint64_t low = 0, high = UINT64_C(1) << 32;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (sdi_spiral((uint32_t)middle) < u) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The margin is more than four standard deviations of the keys that chance gives to a segment. */
static bool needs_split(const plan *p, uint64_t u, unsigned depth) {
    double limit = LIMIT_OF(slots_of(SDI_SEGMENT_LINES_LOG2));
    uint64_t range = spiral_inverse(u + (UINT64_C(1) << (32 - depth))) - spiral_inverse(u);
    return depth < SDI_DEEPEST && p->keys * ((double)range / 4294967296.0) > limit - limit / 20;
}

/* NOLINTNEXTLINE(misc-no-recursion): SDI_DEEPEST calls deep at most */
static bool lay_out(plan *p, uint64_t u, unsigned depth) {
    if (needs_split(p, u, depth))
        return lay_out(p, u, depth + 1) && lay_out(p, u + (UINT64_C(1) << (31 - depth)), depth + 1);
    p->segments++;
    if (depth > p->depth) p->depth = depth;
    if (!p->index) return true;
    sdi_slot *segment = sdi_segments_take(&p->index->memory, SDI_SEGMENT_LINES_LOG2);
    if (!segment) return false;
    uint64_t word = sdi_word_make(segment, SDI_SEGMENT_LINES_LOG2, depth, depth);
    sdi_index_set_words(p->index, p->directory, (uint32_t)u, word, 0);
    return true;
}

static bool set_root(sdi_index *index, unsigned depth) {
    sdi_directory *directory = new_directory(depth);
    if (!directory) return false;
    atomic_init(&index->root, directory);
    index->tallies = calloc((size_t)1 << depth, sizeof *index->tallies);
    index->directory_bytes = directory_size(depth) + (sizeof *index->tallies << depth);
    return index->tallies != NULL;
}

static bool start_small(sdi_index *index, uint64_t expected_keys) {
    unsigned lines_log2 = SDI_SMALLEST_LINES_LOG2;
    while (LIMIT_OF(slots_of(lines_log2)) < expected_keys) lines_log2++;
    sdi_slot *segment = sdi_segments_take(&index->memory, lines_log2);
    if (!segment || !set_root(index, 0)) return false;
    sdi_index_set_words(index, sdi_own_root(index), 0, sdi_word_make(segment, lines_log2, 0, 0), 0);
    sdi_index_count_more(index, 1, slots_of(lines_log2));
    return true;
}

static bool start_large(sdi_index *index, uint64_t expected_keys) {
    if (expected_keys / SDI_LINE_SLOTS > SIZE_MAX / SDI_LINE_SIZE) return false;
    plan p = {.keys = (double)expected_keys};
    lay_out(&p, 0, 0);
    if (!set_root(index, p.depth) || !sdi_segments_expect(&index->memory, p.segments)) return false;
    sdi_index_count_more(index, p.segments, (uint64_t)p.segments * slots_of(SDI_SEGMENT_LINES_LOG2));
    p = (plan){.index = index, .directory = sdi_own_root(index), .keys = p.keys};
    return lay_out(&p, 0, 0);
}

sdi_index *sdi_index_create_bare(sdi_seed seed, unsigned depth, const uint8_t *base) {
    sdi_index *index = calloc(1, sizeof *index);
    if (!index) return NULL;
    atomic_init(&index->base, base);
    index->seed = seed;
    if (!set_root(index, depth)) {
        sdi_index_destroy(index);
        return NULL;
    }
    return index;
}

sdi_index *sdi_index_create_seeded(uint64_t expected_keys, const uint8_t *base, uint64_t seed) {
    sdi_index *index = calloc(1, sizeof *index);
    if (!index) return NULL;
    atomic_init(&index->base, base);
    index->seed = sdi_seed_of(seed);
    bool small = expected_keys <= LIMIT_OF(slots_of(SDI_SEGMENT_LINES_LOG2));
    if (!(small ? start_small(index, expected_keys) : start_large(index, expected_keys))) {
        sdi_index_destroy(index);
        return NULL;
    }
    sdi_index_count_bytes(index);
    return index;
}

sdi_index *sdi_index_create(uint64_t expected_keys, const uint8_t *base) {
    return sdi_index_create_seeded(expected_keys, base, sdi_unique_number());
}

void sdi_index_destroy(sdi_index *index) {
    if (!index) return;
    sdi_directory *directory = sdi_own_root(index);
    while (directory) {
        sdi_directory *older = directory->older;
        free(directory);
        directory = older;
    }
    free(index->tallies);
    sdi_segments_release(&index->memory);
    sdi_image_release(index);
    free(index);
}

/* Puts what the slots lead to into another index. */
static simdrive_status put_again(sdi_index *to, const sdi_slot *segment, uint32_t slots) {
    const uint8_t *base = sdi_own_base(to);
    uint64_t hashes[SDI_GROUP], offsets[SDI_GROUP], existing[SDI_GROUP];
    simdrive_status status = SIMDRIVE_OK;
    for (uint32_t at = 0; at < slots && status == SIMDRIVE_OK;) {
        size_t count = 0;
        for (; at < slots && count < SDI_GROUP; at++) {
            offsets[count] = sdi_slot_offset(atomic_load_explicit(&segment[at], memory_order_relaxed));
            if (offsets[count] == SDI_INDEX_NONE) continue;
            sdi_prefetch_at(base, offsets[count++]);
        }
        for (size_t i = 0; i < count; i++) hashes[i] = sdi_load64(base + offsets[i]);
        status = sdi_index_add_batch(to, hashes, offsets, count, existing);
    }
    return status;
}

static bool is_much_too_large(const sdi_index *index) {
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    return stats.segments > 1 && stats.bytes / MOST_BYTES_PER_KEY > stats.keys;
}

sdi_index *sdi_index_fit(sdi_index *index) {
    if (index->image || !is_much_too_large(index)) return index;
    uint64_t keys = atomic_load_explicit(&index->keys, memory_order_relaxed);
    sdi_index *smaller = sdi_index_create(keys, sdi_own_base(index));
    if (!smaller) return index;
    const sdi_directory *root = sdi_own_root(index);
    simdrive_status status = SIMDRIVE_OK;
    for (size_t at = 0; at < (size_t)1 << root->depth && status == SIMDRIVE_OK;) {
        uint64_t word = atomic_load_explicit(&root->words[at], memory_order_relaxed);
        status = put_again(smaller, sdi_word_segment(word), slots_of(sdi_word_lines_log2(word)));
        at += (size_t)1 << (root->depth - sdi_word_depth(word));
    }
    sdi_index_destroy(status == SIMDRIVE_OK ? index : smaller);
    return status == SIMDRIVE_OK ? smaller : index;
}

void sdi_index_set_base(sdi_index *index, const uint8_t *base) {
    atomic_store_explicit(&index->base, base, memory_order_release);
}

/* A reader may be mending a part of its image at this moment, and take memory for it. */
void sdi_index_discard(sdi_index *index) {
    sdi_image_lock(index);
    sdi_segments_discard(&index->memory);
    sdi_image_unlock(index);
}

void sdi_index_get_stats(const sdi_index *index, sdi_index_stats *stats) {
    stats->keys = atomic_load_explicit(&index->keys, memory_order_relaxed);
    stats->bytes = atomic_load_explicit(&index->bytes, memory_order_relaxed);
    stats->segments = atomic_load_explicit(&index->segments, memory_order_relaxed);
    stats->slots = atomic_load_explicit(&index->slots, memory_order_relaxed);
}
