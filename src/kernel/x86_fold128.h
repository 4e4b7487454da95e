/* SPDX-License-Identifier: Apache-2.0 */
/* x86_fold128.h — checksums with PCLMULQDQ in 128-bit registers, for any polynomial.
 *
 * Serves all sets from SSE4.2 on; in the later ones the compiler encodes the same steps in VEX form. The formulas are
 * in crc_constants.h. States are remainders, without the inversions of a finished checksum. `to` is null where nothing
 * is to be copied; as everything is inlined with that argument known, one body yields the checksum and the copying
 * checksum.
 */
#ifndef SDI_X86_FOLD128_H
#define SDI_X86_FOLD128_H

#include <immintrin.h>
#include <string.h>

#include "base/bytes.h"
#include "kernel/crc_constants.h"

#define FOLD128 static inline __attribute__((always_inline, target("sse4.2,pclmul")))

FOLD128 __m128i load_16(const uint8_t *from) {
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}

FOLD128 void store_16(uint8_t *to, __m128i value) {
    _mm_storeu_si128((__m128i *)(void *)to, value);
}

/* Loads 16 bytes, and copies them on the way. */
FOLD128 __m128i take_16(uint8_t *to, const uint8_t *from, size_t offset) {
    __m128i value = load_16(from + offset);
    if (to) store_16(to + offset, value);
    return value;
}

FOLD128 __m128i load_pair(const sdi_fold_pair *pair) {
    return _mm_loadu_si128((const __m128i *)(const void *)pair);
}

FOLD128 __m128i fold_16(__m128i block, __m128i pair, __m128i later) {
    __m128i first = _mm_clmulepi64_si128(block, pair, 0x00);
    __m128i second = _mm_clmulepi64_si128(block, pair, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, second), later);
}

/* The remainder of Y / P for a Y below x^96, of which `high` is Y / x^32, rounded down. */
FOLD128 uint32_t reduce_barrett(const sdi_crc_constants *constants, __m128i high, uint32_t low) {
    __m128i barrett = _mm_set_epi64x((long long)constants->polynomial, (long long)constants->quotient);
    __m128i q = _mm_clmulepi64_si128(high, barrett, 0x00);
    __m128i product = _mm_clmulepi64_si128(q, barrett, 0x10); /* x^31 .. x^0 are in bits 95 .. 126 */
    return (uint32_t)((uint64_t)_mm_extract_epi64(product, 1) >> 31) ^ low;
}

/* The checksum, without inversions, of the last block. */
FOLD128 uint32_t reduce_16(const sdi_crc_constants *constants, __m128i block) {
    __m128i pair = _mm_loadu_si128((const __m128i *)(const void *)(constants->to_96 + 6));
    __m128i y = fold_16(block, pair, _mm_setzero_si128());
    return reduce_barrett(constants, _mm_srli_si128(y, 4), (uint32_t)_mm_extract_epi32(y, 3));
}

/* Folds the leading multiple of 64 bytes, at least one, into 16 bytes. */
FOLD128 __m128i fold_blocks_of_64(const sdi_crc_constants *constants, uint32_t state, uint8_t *to, const uint8_t *from,
                                  size_t size) {
    __m128i by_512 = load_pair(&constants->by_512);
    __m128i a = _mm_xor_si128(take_16(to, from, 0), _mm_cvtsi32_si128((int)state));
    __m128i b = take_16(to, from, 16);
    __m128i c = take_16(to, from, 32);
    __m128i d = take_16(to, from, 48);
    size_t at = 64;
    for (; size - at >= 64; at += 64) {
        a = fold_16(a, by_512, take_16(to, from, at));
        b = fold_16(b, by_512, take_16(to, from, at + 16));
        c = fold_16(c, by_512, take_16(to, from, at + 32));
        d = fold_16(d, by_512, take_16(to, from, at + 48));
    }
    d = fold_16(c, load_pair(&constants->by_128), d);
    d = fold_16(b, load_pair(&constants->by_256), d);
    return fold_16(a, load_pair(&constants->by_384), d);
}

/* The last `rest` (1 to 15) bytes, which end at `end`, and the block before them. The block moves up so that both
 * together end with a whole block; what this pushes out of it is a block of its own, 128 bits earlier. */
FOLD128 __m128i fold_rest(const sdi_crc_constants *constants, __m128i block, const uint8_t *end, size_t rest) {
    static const uint8_t order[48] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    __m128i keep = load_16(order + 16 + rest); /* moves bytes down by `rest`; 0xff yields a zero */
    __m128i push = load_16(order + rest);      /* moves bytes up by 16 - rest */
    __m128i kept = _mm_blendv_epi8(_mm_shuffle_epi8(block, keep), load_16(end - 16), keep);
    return fold_16(_mm_shuffle_epi8(block, push), load_pair(&constants->by_128), kept);
}

/* The checksum of 1 to 8 bytes in the low end of `word`: aligned to its high end, they are Y / x^32. */
FOLD128 uint32_t crc_of_word(const sdi_crc_constants *constants, uint32_t state, uint64_t word, size_t size) {
    uint32_t untouched = size < 4 ? state >> (8 * size) : 0;
    uint64_t aligned = (word ^ state) << (64 - 8 * size);
    return reduce_barrett(constants, _mm_cvtsi64_si128((long long)aligned), untouched);
}

/* Up to 7 bytes, little-endian, without reading beyond them. */
FOLD128 uint64_t load_up_to_7(const uint8_t *from, size_t size) {
    if (size >= 4) return sdi_load32(from) | (uint64_t)sdi_load32(from + size - 4) << (8 * (size - 4));
    return from[0] | (uint64_t)from[size / 2] << (8 * (size / 2)) | (uint64_t)from[size - 1] << (8 * (size - 1));
}

FOLD128 uint32_t crc_up_to_15(const sdi_crc_constants *constants, uint32_t state, const uint8_t *from, size_t size) {
    if (size >= 8) {
        state = crc_of_word(constants, state, sdi_load64(from), 8);
        from += 8;
        size -= 8;
    }
    if (size > 0) state = crc_of_word(constants, state, load_up_to_7(from, size), size);
    return state;
}

/* The checksum, without inversions, of a block and the bytes that follow it. There must be 16 bytes before them. */
FOLD128 uint32_t crc_after_block(const sdi_crc_constants *constants, __m128i block, const uint8_t *from, size_t size) {
    __m128i by_128 = load_pair(&constants->by_128);
    for (; size >= 16; size -= 16, from += 16) block = fold_16(block, by_128, load_16(from));
    if (size > 0) block = fold_rest(constants, block, from + size, size);
    return reduce_16(constants, block);
}

/* Any size; copies nothing. For short messages the latency of one chain is what counts. */
FOLD128 uint32_t crc_by_16(const sdi_crc_constants *constants, uint32_t state, const uint8_t *from, size_t size) {
    if (size < 16) return crc_up_to_15(constants, state, from, size);
    __m128i block = _mm_xor_si128(load_16(from), _mm_cvtsi32_si128((int)state));
    return crc_after_block(constants, block, from + 16, size - 16);
}

/* 64 bytes or more, the last `*rest` of which are not copied. */
FOLD128 uint32_t crc_by_64(const sdi_crc_constants *constants, uint32_t state, uint8_t *to, const uint8_t *from,
                           size_t size, size_t *rest) {
    __m128i block = fold_blocks_of_64(constants, state, to, from, size);
    *rest = size % 64;
    return crc_after_block(constants, block, from + size - *rest, *rest);
}

/* Measured: where four registers overtake one; one pass overtakes two there as well. */
enum { FOLD_BY_64_FROM = 64 };

FOLD128 uint32_t crc_by_folding(const sdi_crc_constants *constants, uint32_t state, const uint8_t *from, size_t size) {
    size_t rest;
    if (size < FOLD_BY_64_FROM) return crc_by_16(constants, state, from, size);
    return crc_by_64(constants, state, NULL, from, size, &rest);
}

/* `copy` serves what is too short for one pass. */
FOLD128 uint32_t copy_crc_by_folding(const sdi_crc_constants *constants, uint32_t state,
                                     void (*copy)(void *, const void *, size_t), uint8_t *to, const uint8_t *from,
                                     size_t size) {
    size_t rest = size;
    state = size < FOLD_BY_64_FROM ? crc_by_16(constants, state, from, size)
                                   : crc_by_64(constants, state, to, from, size, &rest);
    if (rest > 0) copy(to + (size - rest), from + (size - rest), rest);
    return state;
}

#endif
