/* SPDX-License-Identifier: Apache-2.0 */
/* x86_crc32c.h — CRC-32C by the instruction that SSE4.2 has for it.
 *
 * Short messages take one chain of instructions. Longer ones go in three streams, since the instruction can start in
 * every cycle but takes three to finish; crc_constants.h says how the streams are joined. States are remainders,
 * without the inversions of a finished checksum.
 */
#ifndef SDI_X86_CRC32C_H
#define SDI_X86_CRC32C_H

#include <immintrin.h>

#include "base/bytes.h"
#include "kernel/crc_constants.h"

#define CRC32C static inline __attribute__((always_inline, target("sse4.2,pclmul")))

CRC32C uint32_t crc32c_in_one_stream(uint32_t state, const uint8_t *from, size_t size) {
    uint64_t wide = state;
    for (; size >= 32; size -= 32, from += 32) {
        wide = _mm_crc32_u64(wide, sdi_load64(from));
        wide = _mm_crc32_u64(wide, sdi_load64(from + 8));
        wide = _mm_crc32_u64(wide, sdi_load64(from + 16));
        wide = _mm_crc32_u64(wide, sdi_load64(from + 24));
    }
    for (; size >= 8; size -= 8, from += 8) wide = _mm_crc32_u64(wide, sdi_load64(from));
    state = (uint32_t)wide;
    if (size & 4) {
        state = _mm_crc32_u32(state, sdi_load32(from));
        from += 4;
    }
    if (size & 2) {
        state = _mm_crc32_u16(state, (uint16_t)(from[0] | from[1] << 8));
        from += 2;
    }
    if (size & 1) state = _mm_crc32_u8(state, *from);
    return state;
}

CRC32C __m128i moved(uint64_t state, uint32_t by) {
    return _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state), _mm_cvtsi64_si128(by), 0x00);
}

enum { PREFETCH = 4096 }; /* bytes ahead */

/* Three streams of `length` bytes each, one after the other in memory. */
CRC32C uint32_t crc32c_of_three(sdi_join_pair join, uint32_t state, const uint8_t *from, size_t length) {
    uint64_t a = state, b = 0, c = 0;
    for (size_t at = 0; at < length; at += 8) {
        /* Three streams look like no pattern to a hardware prefetcher. */
        _mm_prefetch((const char *)((uintptr_t)from + PREFETCH + 3 * at), _MM_HINT_T0);
        a = _mm_crc32_u64(a, sdi_load64(from + at));
        b = _mm_crc32_u64(b, sdi_load64(from + at + length));
        c = _mm_crc32_u64(c, sdi_load64(from + at + 2 * length));
    }
    __m128i sum = _mm_xor_si128(moved(a, join.first), moved(b, join.second));
    return (uint32_t)(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum)) ^ c);
}

/* What the longest streams take at once. */
enum { CRC32C_BLOCK = 3 * 1024 };

CRC32C uint32_t crc32c_by_instruction(uint32_t state, const uint8_t *from, size_t size) {
    const sdi_crc_constants *constants = &sdi_crc_constants_of[SDI_CRC32C];
    for (; size >= CRC32C_BLOCK; size -= CRC32C_BLOCK, from += CRC32C_BLOCK)
        state = crc32c_of_three(constants->join_1024, state, from, 1024);
    for (; size >= (size_t)3 * 128; size -= (size_t)3 * 128, from += (size_t)3 * 128)
        state = crc32c_of_three(constants->join_128, state, from, 128);
    return crc32c_in_one_stream(state, from, size);
}

/* Block by block, so that the copy finds its source in the first-level cache. */
CRC32C uint32_t copy_crc32c_by_instruction(uint32_t state, void (*copy)(void *, const void *, size_t), uint8_t *to,
                                           const uint8_t *from, size_t size) {
    for (; size > CRC32C_BLOCK; size -= CRC32C_BLOCK, from += CRC32C_BLOCK, to += CRC32C_BLOCK) {
        state = crc32c_by_instruction(state, from, CRC32C_BLOCK);
        copy(to, from, CRC32C_BLOCK);
    }
    state = crc32c_by_instruction(state, from, size);
    copy(to, from, size);
    return state;
}

#endif
