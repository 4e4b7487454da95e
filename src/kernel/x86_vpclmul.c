/* SPDX-License-Identifier: Apache-2.0 */
/* x86_vpclmul.c — processors with AVX2 and VPCLMULQDQ but no AVX-512: CRC-32 by folding in 256-bit registers. The rest
 * is that of the AVX2 set. The formulas are in crc_constants.h. */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_AVX

#include "kernel/x86_fold128.h"

#define TARGET __attribute__((target("avx2,vpclmulqdq,sse4.2,pclmul")))
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE __m256i take_32(uint8_t *to, const uint8_t *from, size_t offset) {
    __m256i value = _mm256_loadu_si256((const __m256i *)(const void *)(from + offset));
    if (to) _mm256_storeu_si256((__m256i *)(void *)(to + offset), value);
    return value;
}

INLINE __m256i pair_256(const sdi_fold_pair *pair) {
    return _mm256_broadcastsi128_si256(load_pair(pair));
}

INLINE __m256i fold_32(__m256i block, __m256i pair, __m256i later) {
    __m256i first = _mm256_clmulepi64_epi128(block, pair, 0x00);
    __m256i second = _mm256_clmulepi64_epi128(block, pair, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, second), later);
}

/* Folds the leading multiple of 128 bytes, at least one, into 32 bytes. */
INLINE __m256i fold_blocks_of_128(const sdi_crc_constants *constants, uint32_t state, uint8_t *to, const uint8_t *from,
                                  size_t size) {
    __m256i by_1024 = pair_256(&constants->by_1024);
    __m256i start = _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)state));
    __m256i a = _mm256_xor_si256(take_32(to, from, 0), start);
    __m256i b = take_32(to, from, 32);
    __m256i c = take_32(to, from, 64);
    __m256i d = take_32(to, from, 96);
    for (size_t at = 128; size - at >= 128; at += 128) {
        a = fold_32(a, by_1024, take_32(to, from, at));
        b = fold_32(b, by_1024, take_32(to, from, at + 32));
        c = fold_32(c, by_1024, take_32(to, from, at + 64));
        d = fold_32(d, by_1024, take_32(to, from, at + 96));
    }
    d = fold_32(c, pair_256(&constants->by_256), d);
    d = fold_32(b, pair_256(&constants->by_512), d);
    return fold_32(a, pair_256(&constants->by_768), d);
}

/* 128 bytes or more, the last `*rest` of which are not copied. */
INLINE uint32_t crc_by_128(const sdi_crc_constants *constants, uint32_t state, uint8_t *to, const uint8_t *from,
                           size_t size, size_t *rest) {
    __m256i by_256 = pair_256(&constants->by_256), block = fold_blocks_of_128(constants, state, to, from, size);
    size_t at = size & ~(size_t)127;
    for (; size - at >= 32; at += 32) block = fold_32(block, by_256, take_32(to, from, at));
    *rest = size - at;
    __m128i last = fold_16(_mm256_castsi256_si128(block), load_pair(&constants->by_128),
                           _mm256_extracti128_si256(block, 1));
    return crc_after_block(constants, last, from + at, size - at);
}

/* Measured: where wider registers overtake one narrow one; one pass overtakes two there as well. */
enum { WIDE_FROM = 128 };

TARGET static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
    size_t rest;
    if (size < WIDE_FROM) return ~crc_by_16(&sdi_crc_constants_of[SDI_CRC32], ~crc, data, size);
    return ~crc_by_128(&sdi_crc_constants_of[SDI_CRC32], ~crc, NULL, data, size, &rest);
}

TARGET static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    if (size < WIDE_FROM) {
        crc = crc32(crc, from, size);
        sdi_avx2_copy(to, from, size);
        return crc;
    }
    size_t rest;
    crc = ~crc_by_128(&sdi_crc_constants_of[SDI_CRC32], ~crc, to, from, size, &rest);
    sdi_avx2_copy((uint8_t *)to + size - rest, (const uint8_t *)from + size - rest, rest);
    return crc;
}

const sdi_kernels sdi_kernels_vpclmul = {
    .name = "avx2+vpclmulqdq",
    .copy = sdi_avx2_copy,
    .crc = {[SDI_CRC32C] = sdi_avx2_crc32c, [SDI_CRC32] = crc32},
    .copy_crc = {[SDI_CRC32C] = sdi_avx2_copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
