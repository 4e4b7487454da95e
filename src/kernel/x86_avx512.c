/* SPDX-License-Identifier: Apache-2.0 */
/* x86_avx512.c — processors with AVX-512 and VPCLMULQDQ: folding in 512-bit registers.
 *
 * The formulas are in crc_constants.h. A message need not be a multiple of anything: VBMI moves bytes across the whole
 * register, so that the last block always ends where the message ends (see fold_rest).
 */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_AVX

#include "kernel/copy_small.h"
#include "kernel/x86_crc32c.h"
#include "kernel/x86_fold128.h"

#define TARGET \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,vpclmulqdq,avx2,sse4.2,pclmul")))
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE __m512i load_64(const uint8_t *from) {
    return _mm512_loadu_si512(from);
}

/* What becomes of the bytes that a checksum reads. Always a constant where these functions are inlined. */
typedef enum copy_mode {
    READ,  /* nothing; there is no target */
    STORE, /* copied */
    STREAM /* copied past the caches; the target is aligned to 64 bytes */
} copy_mode;

INLINE __m512i take_64(copy_mode mode, uint8_t *to, const uint8_t *from, size_t offset) {
    __m512i value = load_64(from + offset);
    if (mode == STORE) _mm512_storeu_si512(to + offset, value);
    if (mode == STREAM) _mm512_stream_si512((__m512i *)(void *)(to + offset), value);
    return value;
}

INLINE __m512i pair_512(const sdi_fold_pair *pair) {
    return _mm512_broadcast_i32x4(load_pair(pair));
}

INLINE __m512i fold_64(__m512i block, __m512i pair, __m512i later) {
    __m512i first = _mm512_clmulepi64_epi128(block, pair, 0x00);
    __m512i second = _mm512_clmulepi64_epi128(block, pair, 0x11);
    return _mm512_ternarylogic_epi64(first, second, later, 0x96); /* exclusive or of all three */
}

/* The numbers n .. n + 63: as an index they rotate a register down by n bytes. */
INLINE __m512i numbers_from(size_t n) {
    static const uint8_t numbers[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
    };
    return _mm512_add_epi8(load_64(numbers), _mm512_set1_epi8((char)n));
}

/* The last `rest` (1 to 63) bytes, and the block before them. Turned down by `rest`, the block ends with the bytes that
 * do not fit any more: they are a block of their own, 512 bits earlier, and the rest takes their place. `last` holds
 * the last 64 bytes of the message. */
INLINE __m512i fold_rest_64(const sdi_crc_constants *constants, __m512i block, __m512i last, size_t rest) {
    __mmask64 high = ~(__mmask64)0 << (64 - rest);
    __m512i turned = _mm512_permutexvar_epi8(numbers_from(rest), block);
    __m512i kept = _mm512_mask_mov_epi8(turned, high, last);
    return fold_64(_mm512_maskz_mov_epi8(high, turned), pair_512(&constants->by_512), kept);
}

/* The checksum, without inversions, of the last block: all eight words go straight to Y. */
INLINE uint32_t reduce_64(const sdi_crc_constants *constants, __m512i block) {
    __m512i sum = fold_64(block, load_64((const uint8_t *)constants->to_96), _mm512_setzero_si512());
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i y = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return reduce_barrett(constants, _mm_srli_si128(y, 4), (uint32_t)_mm_extract_epi32(y, 3));
}

/* Four registers over blocks of 256 bytes, at least one. */
INLINE __m512i fold_blocks_of_256(const sdi_crc_constants *constants, __m512i state, copy_mode mode, uint8_t *to,
                                  const uint8_t *from, size_t size) {
    __m512i by_2048 = pair_512(&constants->by_2048);
    __m512i a = _mm512_xor_si512(take_64(mode, to, from, 0), state);
    __m512i b = take_64(mode, to, from, 64);
    __m512i c = take_64(mode, to, from, 128);
    __m512i d = take_64(mode, to, from, 192);
    size_t at = 256;
    for (; size - at >= 256; at += 256) {
        a = fold_64(a, by_2048, take_64(mode, to, from, at));
        b = fold_64(b, by_2048, take_64(mode, to, from, at + 64));
        c = fold_64(c, by_2048, take_64(mode, to, from, at + 128));
        d = fold_64(d, by_2048, take_64(mode, to, from, at + 192));
    }
    d = fold_64(c, pair_512(&constants->by_512), d);
    d = fold_64(b, pair_512(&constants->by_1024), d);
    return fold_64(a, pair_512(&constants->by_1536), d);
}

/* 64 bytes or more. */
INLINE uint32_t crc_by_blocks(const sdi_crc_constants *constants, uint32_t state, copy_mode mode, uint8_t *to,
                              const uint8_t *from, size_t size) {
    __m512i by_512 = pair_512(&constants->by_512), start = _mm512_maskz_set1_epi32(1, (int)state), block;
    size_t at;
    if (size >= 256) {
        at = size & ~(size_t)255;
        block = fold_blocks_of_256(constants, start, mode, to, from, size);
    } else {
        at = 64;
        block = _mm512_xor_si512(take_64(mode, to, from, 0), start);
    }
    for (; size - at >= 64; at += 64) block = fold_64(block, by_512, take_64(mode, to, from, at));
    if (at < size) { /* the last 64 bytes: what of them is copied already is copied again, and not aligned */
        __m512i last = take_64(mode == READ ? READ : STORE, to, from, size - 64);
        block = fold_rest_64(constants, block, last, size - at);
    }
    return reduce_64(constants, block);
}

/* 1 to 64 bytes, moved to the end of a register; zeros before a message change nothing. Fewer than four bytes leave a
 * part of the state untouched: it must not come along. */
INLINE uint32_t crc_up_to_64(const sdi_crc_constants *constants, uint32_t state, copy_mode mode, uint8_t *to,
                             const uint8_t *from, size_t size) {
    __mmask64 low = ~(__mmask64)0 >> (64 - size), high = ~(__mmask64)0 << (64 - size);
    __m512i block = _mm512_maskz_loadu_epi8(low, from);
    if (mode != READ) _mm512_mask_storeu_epi8(to, low, block);
    block = _mm512_xor_si512(block, _mm512_maskz_set1_epi32(1, (int)state));
    block = _mm512_maskz_permutexvar_epi8(high, numbers_from(size), block);
    return reduce_64(constants, block) ^ (size < 4 ? state >> (8 * size) : 0);
}

/* How many bytes to the first aligned place of a target. */
static inline size_t until_aligned(const uint8_t *to) {
    return (64 - (uintptr_t)to % 64) % 64;
}

/* For STREAM_FROM bytes or more. The fence makes the copy visible before whatever the caller publishes next. */
TARGET static void copy_by_streaming(uint8_t *to, const uint8_t *from, size_t size) {
    size_t at = until_aligned(to);
    _mm512_storeu_si512(to, load_64(from));
    for (; size - at >= 256; at += 256) {
        take_64(STREAM, to, from, at);
        take_64(STREAM, to, from, at + 64);
        take_64(STREAM, to, from, at + 128);
        take_64(STREAM, to, from, at + 192);
    }
    for (; size - at >= 64; at += 64) take_64(STREAM, to, from, at);
    take_64(STORE, to, from, size - 64);
    _mm_sfence();
}

/* Up to 256 bytes, by registers that overlap in the middle. */
INLINE void copy_short(uint8_t *to, const uint8_t *from, size_t size) {
    if (size <= 16) {
        copy_up_to_16(to, from, size);
    } else if (size <= 64) {
        __mmask64 all = ~(__mmask64)0 >> (64 - size);
        _mm512_mask_storeu_epi8(to, all, _mm512_maskz_loadu_epi8(all, from));
    } else {
        size_t half = size <= 128 ? 64 : 128;
        __m512i a = load_64(from), b = load_64(from + half - 64);
        __m512i c = load_64(from + size - half), d = load_64(from + size - 64);
        _mm512_storeu_si512(to, a);
        _mm512_storeu_si512(to + half - 64, b);
        _mm512_storeu_si512(to + size - half, c);
        _mm512_storeu_si512(to + size - 64, d);
    }
}

TARGET static void copy(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (size <= 256) {
        copy_short(out, in, size);
        return;
    }
    if (size >= STREAM_FROM) {
        copy_by_streaming(out, in, size);
        return;
    }
    __m512i last = load_64(in + size - 64);
    uint8_t *last_out = out + size - 64;
    for (; size > 256; size -= 256, in += 256, out += 256) {
        take_64(STORE, out, in, 0);
        take_64(STORE, out, in, 64);
        take_64(STORE, out, in, 128);
        take_64(STORE, out, in, 192);
    }
    for (; size > 64; size -= 64, in += 64, out += 64) take_64(STORE, out, in, 0);
    _mm512_storeu_si512(last_out, last);
}

/* Measured: up to TINY bytes nothing beats scalar copies and the kernels of SSE4.2; CRC-32C alone is left to its
 * instruction up to FOLD_CRC32C_FROM; with a copy to make, one pass wins from the first length that is not tiny. */
enum { TINY = 16, FOLD_CRC32C_FROM = 192 };

INLINE uint32_t crc_by_masks_or_blocks(const sdi_crc_constants *constants, uint32_t state, copy_mode mode, uint8_t *to,
                                       const uint8_t *from, size_t size) {
    return size < 64 ? crc_up_to_64(constants, state, mode, to, from, size)
                     : crc_by_blocks(constants, state, mode, to, from, size);
}

/* For STREAM_FROM bytes or more; see copy_by_streaming. */
INLINE uint32_t crc_by_streaming(const sdi_crc_constants *constants, uint32_t state, uint8_t *to, const uint8_t *from,
                                 size_t size) {
    size_t head = until_aligned(to);
    if (head > 0) state = crc_up_to_64(constants, state, STORE, to, from, head);
    state = crc_by_blocks(constants, state, STREAM, to + head, from + head, size - head);
    _mm_sfence();
    return state;
}

TARGET static uint32_t crc32c(uint32_t crc, const void *data, size_t size) {
    if (size < FOLD_CRC32C_FROM) return ~crc32c_in_one_stream(~crc, data, size);
    return ~crc_by_blocks(&sdi_crc_constants_of[SDI_CRC32C], ~crc, READ, NULL, data, size);
}

TARGET static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
    const sdi_crc_constants *constants = &sdi_crc_constants_of[SDI_CRC32];
    if (size <= TINY) return ~crc_by_16(constants, ~crc, data, size);
    return ~crc_by_masks_or_blocks(constants, ~crc, READ, NULL, data, size);
}

TARGET static uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    const sdi_crc_constants *constants = &sdi_crc_constants_of[SDI_CRC32C];
    if (size >= STREAM_FROM) return ~crc_by_streaming(constants, ~crc, to, from, size);
    if (size > TINY) return ~crc_by_masks_or_blocks(constants, ~crc, STORE, to, from, size);
    crc = ~crc32c_in_one_stream(~crc, from, size);
    copy_up_to_16(to, from, size);
    return crc;
}

TARGET static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    const sdi_crc_constants *constants = &sdi_crc_constants_of[SDI_CRC32];
    if (size >= STREAM_FROM) return ~crc_by_streaming(constants, ~crc, to, from, size);
    if (size > TINY) return ~crc_by_masks_or_blocks(constants, ~crc, STORE, to, from, size);
    crc = ~crc_by_16(constants, ~crc, from, size);
    copy_up_to_16(to, from, size);
    return crc;
}

const sdi_kernels sdi_kernels_avx512 = {
    .name = "avx512+vpclmulqdq",
    .copy = copy,
    .crc = {[SDI_CRC32C] = crc32c, [SDI_CRC32] = crc32},
    .copy_crc = {[SDI_CRC32C] = copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
