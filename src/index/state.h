/* SPDX-License-Identifier: Apache-2.0 */
/* state.h — what an index consists of, shared by its lookups (lookup.c), its writer (writer.c) and its growth
 * (growth.c). See layout.h for the words, lines and slots. */
#ifndef SDI_INDEX_STATE_H
#define SDI_INDEX_STATE_H

#include "base/bytes.h"
#include "index/index.h"
#include "index/layout.h"
#include "index/segments.h"

/* The metadata at an offset will be read. There may be no base yet when there is no slot either. */
static inline void sdi_prefetch_at(const uint8_t *base, uint64_t offset) {
    __builtin_prefetch((const void *)((uintptr_t)base + (uintptr_t)offset));
}

/* How many keys are worked on side by side: enough to keep every miss that the processor can have in flight busy. */
enum { SDI_GROUP = 64 };

/* Words of the directory per segment, at most. Even hashes need no more than 4. */
enum { SDI_WORDS_PER_SEGMENT = 64 };

/* What the writer knows of a segment; stands at the first of the segment's places in the directory. */
typedef struct sdi_tally {
    uint32_t keys;
    uint32_t limit;   /* keys at which it is to grow; below its slots */
    uint32_t pending; /* keys of the batch being reserved (writer.c); means nothing but in `round` */
    uint32_t round;
} sdi_tally;

struct sdi_image;

struct sdi_index {
    /* Read by everyone, written seldom: apart from what each put writes. */
    _Atomic(sdi_directory *) root;
    _Atomic(const uint8_t *) base;
    sdi_seed seed; /* never changes */
    unsigned char apart[128];

    sdi_tally *tallies; /* one for each word of the directory */
    uint32_t round;     /* how often keys to come were counted */
    sdi_segments memory;
    uint64_t directory_bytes; /* of all of them, and the tallies */
    struct sdi_image *image; /* that it was loaded from, or NULL */
    _Atomic uint64_t keys;
    _Atomic uint64_t bytes;
    _Atomic uint64_t segments;
    _Atomic uint64_t slots;
};

/* The writer's view: nobody else changes these. */
static inline sdi_directory *sdi_own_root(const sdi_index *index) {
    return atomic_load_explicit(&index->root, memory_order_relaxed);
}
static inline const uint8_t *sdi_own_base(const sdi_index *index) {
    return atomic_load_explicit(&index->base, memory_order_relaxed);
}
static inline uint64_t sdi_own_word(const sdi_index *index, uint32_t u) {
    const sdi_directory *root = sdi_own_root(index);
    return atomic_load_explicit(&root->words[sdi_directory_at(root, u)], memory_order_relaxed);
}

/* The first place of the segment that has the word at `u`. */
static inline size_t sdi_first_place(const sdi_directory *root, uint64_t word, uint32_t u) {
    unsigned spare = root->depth - sdi_word_depth(word);
    return sdi_directory_at(root, u) >> spare << spare;
}
static inline sdi_tally *sdi_tally_of(const sdi_index *index, uint64_t word, uint32_t u) {
    return &index->tallies[sdi_first_place(sdi_own_root(index), word, u)];
}

/* Gives the segment of u twice the slots, or splits it. ERROR_NO_MEMORY, and nothing has changed. */
simdrive_status sdi_index_grow_at(sdi_index *index, uint32_t u);

/* --- growth.c, for image.c ---------------------------------------------------------------------------------------- */

/* Keys at which a segment of so many lines is to grow. */
uint32_t sdi_segment_limit(unsigned lines_log2);
/* An index without segments, whose directory has 2^depth words: to be filled with sdi_index_set_words(). */
sdi_index *sdi_index_create_bare(sdi_seed seed, unsigned depth, const uint8_t *base);
/* Makes the word lead to its segment, in all its places around u; `keys` are in it. */
void sdi_index_set_words(const sdi_index *index, sdi_directory *directory, uint32_t u, uint64_t word, uint32_t keys);
void sdi_index_count_more(sdi_index *index, uint64_t segments, uint64_t slots);
void sdi_index_count_bytes(sdi_index *index);
/* A new segment in place of the one of u, with these keys and no others. */
simdrive_status sdi_index_refill(sdi_index *index, uint32_t u, const uint64_t *hashes, const uint64_t *offsets,
                                 size_t count);

/* --- image.c ------------------------------------------------------------------------------------------------------ */

/* Sees to it that the word of u, which was found unchecked, is so no more; false when there is no memory for it. */
bool sdi_index_check_at(const sdi_index *index, uint32_t u);
/* While the writer changes what a check may change too. */
void sdi_image_lock(sdi_index *index);
void sdi_image_unlock(sdi_index *index);
void sdi_image_release(sdi_index *index);

#endif
