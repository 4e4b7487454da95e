/* SPDX-License-Identifier: Apache-2.0 */
/* x86_sse2.c — what every x86-64 processor can: 16-byte copies, and the portable checksum. */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_X86

#include <emmintrin.h>

#include "kernel/copy_small.h"

static inline void copy_16(uint8_t *to, const uint8_t *from) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm_loadu_si128((const __m128i *)(const void *)from));
}

static inline void copy_64(uint8_t *to, const uint8_t *from) {
    copy_16(to, from);
    copy_16(to + 16, from + 16);
    copy_16(to + 32, from + 32);
    copy_16(to + 48, from + 48);
}

void sdi_sse2_copy(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (size <= 16) {
        copy_up_to_16(out, in, size);
        return;
    }
    const uint8_t *last = in + size - 16;
    uint8_t *last_out = out + size - 16;
    for (; size > 64; size -= 64, in += 64, out += 64) copy_64(out, in);
    for (; size > 16; size -= 16, in += 16, out += 16) copy_16(out, in);
    copy_16(last_out, last);
}

/* The checksum is the slow part, so the two passes go over blocks that stay in the first-level cache. */
static inline uint32_t copy_crc(uint32_t (*crc_of)(uint32_t, const void *, size_t), uint32_t crc, void *to,
                                const void *from, size_t size) {
    enum { BLOCK = 4096 };
    uint8_t *out = to;
    const uint8_t *in = from;
    for (; size > BLOCK; size -= BLOCK, in += BLOCK, out += BLOCK) {
        crc = crc_of(crc, in, BLOCK);
        sdi_sse2_copy(out, in, BLOCK);
    }
    crc = crc_of(crc, in, size);
    sdi_sse2_copy(out, in, size);
    return crc;
}

static uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc(sdi_portable_crc32c, crc, to, from, size);
}

static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc(sdi_portable_crc32, crc, to, from, size);
}

const sdi_kernels sdi_kernels_sse2 = {
    .name = "sse2",
    .copy = sdi_sse2_copy,
    .crc = {[SDI_CRC32C] = sdi_portable_crc32c, [SDI_CRC32] = sdi_portable_crc32},
    .copy_crc = {[SDI_CRC32C] = copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
