/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h — how the index lies in memory, and where in it a key belongs.
 *
 *   root ──> directory, 2^depth words                     segment, 2^lines_log2 lines of one cache line each
 *            ┌───────────────────────────────────┐        ┌────────┬────────┬─────────────────────┬────────┐
 *   u ──────>│ segment, lines, depth, tag base   │───┐    │ slot 0 │ slot 1 │         ...         │ slot 7 │ line 0
 *            ├───────────────────────────────────┤   ├───>├────────┼────────┼─────────────────────┼────────┤
 *            │ (the same word: a segment that is │───┘    │ slot 0 │ slot 1 │         ...         │ slot 7 │ line 1
 *            │  less deep has several)           │        └────────┴────────┴─────────────────────┴────────┘
 *            └───────────────────────────────────┘                           ...
 *
 *   slot, 64 bits     ┌──────┬──────────────┬───────────┬─────────────────────────────────┐
 *                     │ mark │ 12 bits of u │ displaced │ offset of the metadata, 48 bits │     0: empty
 *                     └──────┴──────────────┴───────────┴─────────────────────────────────┘
 *                       1     \________ tag, 15 _______/
 *
 *   word, 64 bits     ┌───────────┬───┬──────────┬───────┬────────────────────────┬────────────┐
 *                     │ unchecked │ 0 │ tag base │ depth │ segment's address      │ lines_log2 │
 *                     └───────────┴───┴──────────┴───────┴────────────────────────┴────────────┘
 *                      1           5       5         5       42 (aligned to 64)        6 bits
 *
 * A key has two coordinates, both from its hash and the seed of the index:
 *   u     where in the directory: its first `depth` bits choose the word. (Extendible hashing, Fagin et al. 1979.)
 *   home  the line of the segment where it is put; or, when that is full, the next line that is not, around the end.
 *         The slots of a line are taken from the first to the last. How many lines a slot is displaced from its home
 *         stands in its tag.
 * A full line says which keys went on to the lines behind it: those of eight classes, by three bits of their tags, for
 * each of which one of its slots has a mark. So nearly every lookup of a key that is not there ends in the first line,
 * full or not (L6). (One counter or bit for each class of keys that overflowed a bucket: F14, Bronson and Shi 2019.)
 *
 * L1  Slots that a reader can reach go from empty to taken once, and keep their tag then; only the offset changes, and
 *     the mark, which is never taken away. (X3)
 * L2  The tag is the 12 bits of u behind the first `tag base` ones, and the displacement, 7 for all above 6. The former
 *     decide to which half a slot goes when its segment is split, the latter leads back to its home: so a split need
 *     not look at the file, but for the few slots that are displaced by 7 or more. When too few bits of u are left to
 *     tell keys apart, a split takes a new tag base and reads the hashes.
 * L3  A word's depth, or else its lines, only ever grow: a word that a reader sees twice has not changed between.
 * L4  A directory that was replaced is never written again, nor used again.
 * L5  A segment whose word is unchecked lies in an image that nobody has looked at yet (image.h). Nobody uses it before
 *     its checksum was found right and the flag was taken away, or another segment took its place.
 * L6  All lines from a slot's home up to the one before its own have the mark of its class, and had it before the slot
 *     was taken. Lines with marks are full.
 *
 * u is not simply the hash's first bits. If it were, all segments would fill alike and be split at about the same time,
 * and memory per key would swing by a factor of two. Instead keys lie denser the smaller their u, down to half the
 * density at the end (u ~ 2^x - 1, x uniform: spiral storage, Martin 1979, Mullin 1985), so that segments get full one
 * after the other and the average load stays where it is. */
#ifndef SDI_INDEX_LAYOUT_H
#define SDI_INDEX_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define SDI_LINE_ATOMIC 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SDI_LINE_ATOMIC 1
#endif
#endif
#if defined(SDI_LINE_ATOMIC)
/* One atomic load per slot: what the thread sanitizer can follow. */
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#else
#define SDI_LINE_ATOMIC 1
#endif

typedef _Atomic uint64_t sdi_slot;

enum {
    SDI_LINE_SLOTS = 8,
    SDI_LINE_SIZE = 64,
    SDI_SMALLEST_LINES_LOG2 = 3,  /* 512 bytes: a new index */
    SDI_SEGMENT_LINES_LOG2 = 10,  /* 64 KiB: what is split instead of doubled */
    SDI_LARGEST_LINES_LOG2 = 28,  /* its slots are counted in 32 bits */
    SDI_DEEPEST = 26,             /* of directories; leaves tags 5 bits of u */
    SDI_TAG_BITS = 15,
    SDI_TAG_U_BITS = 12,
    SDI_TAG_DISPLACED_BITS = 3,
    SDI_MOST_DISPLACED = 7, /* means that or more */
    SDI_TAG_U_BITS_SPENT = 5      /* on splits, before a new tag base is due (L2) */
};
#define SDI_OFFSET_MASK ((UINT64_C(1) << 48) - 1)
#define SDI_SLOT_MARK (UINT64_C(1) << 63)

/* --- where a key belongs ----------------------------------------------------------------------------------------- */

typedef struct sdi_place {
    uint32_t u;
    uint32_t home; /* its first lines_log2 bits are the line */
} sdi_place;

/* From x, evenly spread, to u = A x + B x^2 with A + B = 1: the parabola through 0 and 1 whose slope doubles on the
 * way, a good fit of 2^x - 1. Monotone. */
static inline uint32_t sdi_spiral(uint32_t x) {
    const uint32_t a = 0xA8036DC5u;
    uint32_t slope = a + (uint32_t)(((uint64_t)(0u - a) * x) >> 32);
    return (uint32_t)(((uint64_t)x * slope) >> 32);
}

/* What makes the places of one index different from those of another, so that nobody who chooses hashes can choose
 * places: hundreds of thousands of keys with the same home would be probed one after the other. */
typedef struct sdi_seed {
    uint64_t flip;
    uint64_t factor; /* odd */
} sdi_seed;

#define SDI_HOME_FACTOR UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t sdi_seed_mix(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline sdi_seed sdi_seed_of(uint64_t number) {
    sdi_seed seed;
    seed.flip = sdi_seed_mix(number + UINT64_C(0x9E3779B97F4A7C15));
    seed.factor = sdi_seed_mix(number + UINT64_C(0x3C6EF372FE94F82A)) | 1;
    return seed;
}

/* Hashes may be given by the user and need not be random: sequential numbers are likely, and spiteful ones possible. So
 * u is the upper half of a product with a secret odd factor: any two hashes share its first n bits with a probability
 * of at most 2^(1-n), whoever chose them (multiply-shift, Dietzfelbinger et al. 1997). The home folds that product, so
 * that all bits count, and spreads it again: it is as secret, and keys with the same u differ in it. */
static inline sdi_place sdi_place_of(sdi_seed seed, uint64_t hash) {
    uint64_t product = (hash ^ seed.flip) * seed.factor;
    sdi_place place;
    place.u = sdi_spiral((uint32_t)(product >> 32));
    place.home = (uint32_t)(((product ^ product >> 32) * SDI_HOME_FACTOR) >> 32);
    return place;
}

static inline uint32_t sdi_home_line(uint32_t home, unsigned lines_log2) {
    return home >> (32 - lines_log2);
}

/* Of a slot in its home line. */
static inline unsigned sdi_tag(uint32_t u, unsigned tag_base) {
    return (uint32_t)(u << tag_base) >> (32 - SDI_TAG_U_BITS) << SDI_TAG_DISPLACED_BITS;
}

/* Of the same in the line behind. */
static inline unsigned sdi_tag_further(unsigned tag) {
    return (tag & SDI_MOST_DISPLACED) < SDI_MOST_DISPLACED ? tag + 1 : tag;
}

/* --- slots and lines --------------------------------------------------------------------------------------------- */

static inline uint64_t sdi_slot_make(unsigned tag, uint64_t offset) {
    return (uint64_t)tag << 48 | offset;
}
static inline unsigned sdi_slot_tag(uint64_t slot) {
    return (unsigned)(slot >> 48) & ((1u << SDI_TAG_BITS) - 1);
}
static inline uint64_t sdi_slot_offset(uint64_t slot) {
    return slot & SDI_OFFSET_MASK;
}

/* Bit i of the result: slot i may have this tag. A hint only: an empty slot looks like one with tag 0, and the bits may
 * be older than an atomic load of the slot that follows. */
static inline unsigned sdi_line_match(const sdi_slot *line, unsigned tag) {
#if defined(SDI_LINE_ATOMIC)
    unsigned found = 0;
    for (unsigned i = 0; i < SDI_LINE_SLOTS; i++)
        found |= (unsigned)(sdi_slot_tag(atomic_load_explicit(&line[i], memory_order_acquire)) == tag) << i;
    return found;
#elif defined(__SSE2__)
    const __m128 *pairs = (const __m128 *)(uintptr_t)line;
    __m128i low = _mm_castps_si128(_mm_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i high = _mm_castps_si128(_mm_shuffle_ps(pairs[2], pairs[3], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
    __m128i equal = _mm_cmpeq_epi16(_mm_add_epi16(tags, tags), _mm_set1_epi16((short)(tag << 1))); /* less the marks */
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128()));
#else
    const uint32_t *words = (const uint32_t *)(uintptr_t)line;
    uint16x8_t low = vreinterpretq_u16_u32(vuzp2q_u32(vld1q_u32(words), vld1q_u32(words + 4)));
    uint16x8_t high = vreinterpretq_u16_u32(vuzp2q_u32(vld1q_u32(words + 8), vld1q_u32(words + 12)));
    uint16x8_t tags = vshlq_n_u16(vuzp2q_u16(low, high), 1); /* less the marks */
    uint16x8_t equal = vceqq_u16(tags, vdupq_n_u16((uint16_t)(tag << 1)));
    const uint16x8_t bits = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u16(vandq_u16(equal, bits));
#endif
}

/* Takes the lowest of the slots that matched. Their places are random: no branch may depend on them. */
static inline unsigned sdi_next_match(unsigned *found) {
    unsigned slot = (unsigned)__builtin_ctz(*found);
    *found &= *found - 1;
    return slot;
}

/* Keeps the loads of sdi_line_match() before the loads that follow; a compiler barrier on x86. */
static inline void sdi_line_match_fence(void) {
#if !defined(SDI_LINE_ATOMIC)
    atomic_thread_fence(memory_order_acquire);
#endif
}

static inline bool sdi_line_is_full(const sdi_slot *line) {
    return atomic_load_explicit(&line[SDI_LINE_SLOTS - 1], memory_order_acquire) != 0;
}

/* The slot whose mark stands for keys with this tag, displaced or not. */
static inline unsigned sdi_tag_class(unsigned tag) {
    return tag >> SDI_TAG_DISPLACED_BITS & (SDI_LINE_SLOTS - 1);
}

/* Whether a key with this tag may be in a line behind (L6). */
static inline bool sdi_line_leads_on(const sdi_slot *line, unsigned tag) {
    return atomic_load_explicit(&line[sdi_tag_class(tag)], memory_order_acquire) >> 63;
}

/* A key with this tag goes on behind the line, which is full. For the writer. Release order, as what stood there. */
static inline void sdi_line_mark(sdi_slot *line, unsigned tag) {
    sdi_slot *slot = &line[sdi_tag_class(tag)];
    uint64_t before = atomic_load_explicit(slot, memory_order_relaxed);
    if (!(before & SDI_SLOT_MARK)) atomic_store_explicit(slot, before | SDI_SLOT_MARK, memory_order_release);
}

/* The first empty slot of a line that is not full. For the writer. */
static inline unsigned sdi_line_first_empty(const sdi_slot *line) {
    unsigned taken = atomic_load_explicit(&line[3], memory_order_relaxed) ? 4 : 0;
    taken += atomic_load_explicit(&line[taken + 1], memory_order_relaxed) ? 2 : 0;
    taken += atomic_load_explicit(&line[taken], memory_order_relaxed) ? 1 : 0;
    return taken;
}

/* --- the words of the directory ---------------------------------------------------------------------------------- */

static inline uint64_t sdi_word_make(const sdi_slot *segment, unsigned lines_log2, unsigned depth, unsigned tag_base) {
    return (uint64_t)(uintptr_t)segment | lines_log2 | (uint64_t)depth << 48 | (uint64_t)tag_base << 53;
}
static inline sdi_slot *sdi_word_segment(uint64_t word) {
    return (sdi_slot *)(uintptr_t)(word & UINT64_C(0x0000FFFFFFFFFFC0));
}
static inline unsigned sdi_word_lines_log2(uint64_t word) {
    return (unsigned)word & 63;
}
static inline unsigned sdi_word_depth(uint64_t word) {
    return (unsigned)(word >> 48) & 31;
}
static inline unsigned sdi_word_tag_base(uint64_t word) {
    return (unsigned)(word >> 53) & 31;
}

#define SDI_WORD_UNCHECKED (UINT64_C(1) << 63) /* L5 */

static inline bool sdi_word_is_unchecked(uint64_t word) {
    return __builtin_expect((word & SDI_WORD_UNCHECKED) != 0, 0);
}

typedef struct sdi_directory {
    struct sdi_directory *older; /* kept for readers that are still in it */
    unsigned depth;
    _Atomic uint64_t words[];
} sdi_directory;

static inline size_t sdi_directory_at(const sdi_directory *directory, uint32_t u) {
    return (size_t)((uint64_t)u >> (32 - directory->depth));
}

#endif
