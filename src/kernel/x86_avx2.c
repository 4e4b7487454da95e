/* SPDX-License-Identifier: Apache-2.0 */
/* x86_avx2.c — processors with AVX2 and PCLMULQDQ: 32-byte copies, checksums as with SSE4.2. */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_AVX

#include "kernel/copy_small.h"
#include "kernel/x86_crc32c.h"
#include "kernel/x86_fold128.h"

#define TARGET __attribute__((target("avx2,sse4.2,pclmul")))

TARGET static inline void copy_32(uint8_t *to, const uint8_t *from) {
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_loadu_si256((const __m256i *)(const void *)from));
}

/* For STREAM_FROM bytes or more. The fence makes the copy visible before whatever the caller publishes next. */
TARGET static void copy_by_streaming(uint8_t *to, const uint8_t *from, size_t size) {
    size_t at = (32 - (uintptr_t)to % 32) % 32;
    copy_32(to, from);
    for (; size - at >= 32; at += 32) {
        __m256i value = _mm256_loadu_si256((const __m256i *)(const void *)(from + at));
        _mm256_stream_si256((__m256i *)(void *)(to + at), value);
    }
    copy_32(to + size - 32, from + size - 32);
    _mm_sfence();
}

TARGET void sdi_avx2_copy(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (size <= 16) {
        copy_up_to_16(out, in, size);
        return;
    }
    if (size <= 32) {
        __m128i first = load_16(in), last = load_16(in + size - 16);
        store_16(out, first);
        store_16(out + size - 16, last);
        return;
    }
    if (size >= STREAM_FROM) {
        copy_by_streaming(out, in, size);
        return;
    }
    const uint8_t *last = in + size - 32;
    uint8_t *last_out = out + size - 32;
    for (; size > 128; size -= 128, in += 128, out += 128) {
        copy_32(out, in);
        copy_32(out + 32, in + 32);
        copy_32(out + 64, in + 64);
        copy_32(out + 96, in + 96);
    }
    for (; size > 32; size -= 32, in += 32, out += 32) copy_32(out, in);
    copy_32(last_out, last);
}

TARGET uint32_t sdi_avx2_crc32c(uint32_t crc, const void *data, size_t size) {
    return ~crc32c_by_instruction(~crc, data, size);
}

TARGET static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
    return ~crc_by_folding(&sdi_crc_constants_of[SDI_CRC32], ~crc, data, size);
}

TARGET uint32_t sdi_avx2_copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    return ~copy_crc32c_by_instruction(~crc, sdi_avx2_copy, to, from, size);
}

TARGET static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    return ~copy_crc_by_folding(&sdi_crc_constants_of[SDI_CRC32], ~crc, sdi_avx2_copy, to, from, size);
}

const sdi_kernels sdi_kernels_avx2 = {
    .name = "avx2+pclmulqdq",
    .copy = sdi_avx2_copy,
    .crc = {[SDI_CRC32C] = sdi_avx2_crc32c, [SDI_CRC32] = crc32},
    .copy_crc = {[SDI_CRC32C] = sdi_avx2_copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
