/* SPDX-License-Identifier: Apache-2.0 */
/* portable.c — the kernels in plain C: the reference for all others, and what runs where nothing better exists. */
#include <string.h>

#include "base/bytes.h"
#include "kernel/crc_constants.h"
#include "kernel/kernel_sets.h"

/* What four bytes add, `followers` being the bytes of their group that come after them. */
static inline uint32_t slice_word(const sdi_crc_slices slices, uint32_t word, int followers) {
    return (slices[followers + 3][word & 0xff] ^ slices[followers + 2][word >> 8 & 0xff]) ^
           (slices[followers + 1][word >> 16 & 0xff] ^ slices[followers][word >> 24]);
}

static uint32_t crc_by_slices(const sdi_crc_slices slices, uint32_t crc, const void *data, size_t size) {
    const uint8_t *at = data;
    crc = ~crc;
    for (; size >= SDI_SLICES; size -= SDI_SLICES, at += SDI_SLICES) {
        /* Only the first word waits for the group before: the others are looked up ahead of it. */
        uint32_t others = slice_word(slices, sdi_load32(at + 4), 8) ^ slice_word(slices, sdi_load32(at + 8), 4) ^
                          slice_word(slices, sdi_load32(at + 12), 0);
        crc = slice_word(slices, sdi_load32(at) ^ crc, 12) ^ others;
    }
    for (; size >= 4; size -= 4, at += 4) crc = slice_word(slices, sdi_load32(at) ^ crc, 0);
    for (; size > 0; size--, at++) crc = (crc >> 8) ^ slices[0][(crc ^ *at) & 0xff];
    return ~crc;
}

uint32_t sdi_portable_crc32c(uint32_t crc, const void *data, size_t size) {
    return crc_by_slices(sdi_crc_slices_of[SDI_CRC32C], crc, data, size);
}

uint32_t sdi_portable_crc32(uint32_t crc, const void *data, size_t size) {
    return crc_by_slices(sdi_crc_slices_of[SDI_CRC32], crc, data, size);
}

static void copy(void *to, const void *from, size_t size) {
    if (size > 0) memcpy(to, from, size); /* memcpy may not be given null, not even for nothing */
}

/* The table look-ups are the slow part, so the two passes go over blocks that stay in the cache. Not smaller ones: to a
 * copy that it knows to be short, GCC gives a string instruction, which is slow to start. */
static uint32_t copy_crc(sdi_crc_kind kind, uint32_t crc, void *to, const void *from, size_t size) {
    enum { BLOCK = 16 * 1024 };
    uint8_t *out = to;
    const uint8_t *in = from;
    while (size > 0) {
        size_t step = size < BLOCK ? size : BLOCK;
        crc = crc_by_slices(sdi_crc_slices_of[kind], crc, in, step);
        memcpy(out, in, step);
        out += step;
        in += step;
        size -= step;
    }
    return crc;
}

static uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc(SDI_CRC32C, crc, to, from, size);
}

static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc(SDI_CRC32, crc, to, from, size);
}

const sdi_kernels sdi_kernels_portable = {
    .name = "portable",
    .copy = copy,
    .crc = {[SDI_CRC32C] = sdi_portable_crc32c, [SDI_CRC32] = sdi_portable_crc32},
    .copy_crc = {[SDI_CRC32C] = copy_crc32c, [SDI_CRC32] = copy_crc32},
};
