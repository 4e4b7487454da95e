/* SPDX-License-Identifier: Apache-2.0 */
/* arm64_neon.c — AArch64 with NEON, the CRC instructions and PMULL: both checksums have an instruction here, which
 * serves short messages and ends; folding in 128-bit registers serves long ones. The formulas are in crc_constants.h.
 *
 * As on x86, `to` is null where nothing is to be copied, and everything is inlined with the arguments known, so that
 * one body yields the checksum and the copying checksum of both kinds.
 */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_ARM64

#include "base/bytes.h"
#include "kernel/copy_small.h"
#include "kernel/crc_constants.h"

#include <arm_neon.h>

#if defined(__clang__)
#define TARGET __attribute__((target("crc,crypto")))
#else
#define TARGET __attribute__((target("+crc+crypto")))
#endif
#define INLINE TARGET static inline __attribute__((always_inline))

/* In assembly: older compilers hide the intrinsics of an extension that the command line did not name. */
INLINE uint32_t crc_8(sdi_crc_kind kind, uint32_t state, uint64_t word) {
    if (kind == SDI_CRC32C) __asm__("crc32cx %w0, %w0, %x1" : "+r"(state) : "r"(word));
    else __asm__("crc32x %w0, %w0, %x1" : "+r"(state) : "r"(word));
    return state;
}

INLINE uint32_t crc_4(sdi_crc_kind kind, uint32_t state, uint32_t word) {
    if (kind == SDI_CRC32C) __asm__("crc32cw %w0, %w0, %w1" : "+r"(state) : "r"(word));
    else __asm__("crc32w %w0, %w0, %w1" : "+r"(state) : "r"(word));
    return state;
}

INLINE uint32_t crc_1(sdi_crc_kind kind, uint32_t state, uint32_t byte) {
    if (kind == SDI_CRC32C) __asm__("crc32cb %w0, %w0, %w1" : "+r"(state) : "r"(byte));
    else __asm__("crc32b %w0, %w0, %w1" : "+r"(state) : "r"(byte));
    return state;
}

INLINE uint32_t crc_by_instruction(sdi_crc_kind kind, uint32_t state, const uint8_t *from, size_t size) {
    for (; size >= 8; size -= 8, from += 8) state = crc_8(kind, state, sdi_load64(from));
    if (size & 4) {
        state = crc_4(kind, state, sdi_load32(from));
        from += 4;
    }
    for (size &= 3; size > 0; size--, from++) state = crc_1(kind, state, *from);
    return state;
}

/* Loads 16 bytes, and copies them on the way. */
INLINE uint64x2_t take_16(uint8_t *to, const uint8_t *from, size_t offset) {
    uint8x16_t value = vld1q_u8(from + offset);
    if (to) vst1q_u8(to + offset, value);
    return vreinterpretq_u64_u8(value);
}

INLINE uint64x2_t load_pair(const sdi_fold_pair *pair) {
    return vld1q_u64(&pair->first_half);
}

INLINE uint64x2_t fold_16(uint64x2_t block, uint64x2_t pair, uint64x2_t later) {
    uint64x2_t first, second;
    __asm__("pmull %0.1q, %1.1d, %2.1d" : "=w"(first) : "w"(block), "w"(pair));
    __asm__("pmull2 %0.1q, %1.2d, %2.2d" : "=w"(second) : "w"(block), "w"(pair));
    return veorq_u64(veorq_u64(first, second), later);
}

/* Folds the leading multiple of 128 bytes, at least one, into 16 bytes. */
INLINE uint64x2_t fold_blocks_of_128(const sdi_crc_constants *constants, uint32_t state, uint8_t *to,
                                     const uint8_t *from, size_t size) {
    uint64x2_t by_1024 = load_pair(&constants->by_1024), by_512 = load_pair(&constants->by_512);
    uint64x2_t a = veorq_u64(take_16(to, from, 0), vcombine_u64(vcreate_u64(state), vcreate_u64(0)));
    uint64x2_t b = take_16(to, from, 16);
    uint64x2_t c = take_16(to, from, 32);
    uint64x2_t d = take_16(to, from, 48);
    uint64x2_t e = take_16(to, from, 64);
    uint64x2_t f = take_16(to, from, 80);
    uint64x2_t g = take_16(to, from, 96);
    uint64x2_t h = take_16(to, from, 112);
    for (size_t at = 128; size - at >= 128; at += 128) {
        a = fold_16(a, by_1024, take_16(to, from, at));
        b = fold_16(b, by_1024, take_16(to, from, at + 16));
        c = fold_16(c, by_1024, take_16(to, from, at + 32));
        d = fold_16(d, by_1024, take_16(to, from, at + 48));
        e = fold_16(e, by_1024, take_16(to, from, at + 64));
        f = fold_16(f, by_1024, take_16(to, from, at + 80));
        g = fold_16(g, by_1024, take_16(to, from, at + 96));
        h = fold_16(h, by_1024, take_16(to, from, at + 112));
    }
    e = fold_16(a, by_512, e);
    f = fold_16(b, by_512, f);
    g = fold_16(c, by_512, g);
    h = fold_16(d, by_512, h);
    h = fold_16(g, load_pair(&constants->by_128), h);
    h = fold_16(f, load_pair(&constants->by_256), h);
    return fold_16(e, load_pair(&constants->by_384), h);
}

/* 128 bytes or more, the last size % 128 of which are not copied. */
INLINE uint32_t crc_by_folding(sdi_crc_kind kind, uint32_t state, uint8_t *to, const uint8_t *from, size_t size) {
    uint64x2_t block = fold_blocks_of_128(&sdi_crc_constants_of[kind], state, to, from, size);
    state = crc_8(kind, 0, vgetq_lane_u64(block, 0));
    state = crc_8(kind, state, vgetq_lane_u64(block, 1));
    return crc_by_instruction(kind, state, from + size - size % 128, size % 128);
}

static inline void copy_16(uint8_t *to, const uint8_t *from) {
    vst1q_u8(to, vld1q_u8(from));
}

static void copy(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (size <= 16) {
        copy_up_to_16(out, in, size);
        return;
    }
    const uint8_t *last = in + size - 16;
    uint8_t *last_out = out + size - 16;
    for (; size > 64; size -= 64, in += 64, out += 64) {
        copy_16(out, in);
        copy_16(out + 16, in + 16);
        copy_16(out + 32, in + 32);
        copy_16(out + 48, in + 48);
    }
    for (; size > 16; size -= 16, in += 16, out += 16) copy_16(out, in);
    copy_16(last_out, last);
}

/* Where folding overtakes the instruction, and where one pass overtakes two. */
enum { FOLD_FROM = 256, FUSE_FROM = 256 };

INLINE uint32_t crc_of(sdi_crc_kind kind, uint32_t crc, const void *data, size_t size) {
    return size < FOLD_FROM ? ~crc_by_instruction(kind, ~crc, data, size)
                            : ~crc_by_folding(kind, ~crc, NULL, data, size);
}

INLINE uint32_t copy_crc_of(sdi_crc_kind kind, uint32_t crc, void *to, const void *from, size_t size) {
    if (size < FUSE_FROM) {
        crc = crc_of(kind, crc, from, size);
        copy(to, from, size);
        return crc;
    }
    size_t rest = size % 128;
    crc = ~crc_by_folding(kind, ~crc, to, from, size);
    copy((uint8_t *)to + size - rest, (const uint8_t *)from + size - rest, rest);
    return crc;
}

TARGET static uint32_t crc32c(uint32_t crc, const void *data, size_t size) {
    return crc_of(SDI_CRC32C, crc, data, size);
}

TARGET static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
    return crc_of(SDI_CRC32, crc, data, size);
}

TARGET static uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc_of(SDI_CRC32C, crc, to, from, size);
}

TARGET static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    return copy_crc_of(SDI_CRC32, crc, to, from, size);
}

const sdi_kernels sdi_kernels_neon = {
    .name = "neon+pmull",
    .copy = copy,
    .crc = {[SDI_CRC32C] = crc32c, [SDI_CRC32] = crc32},
    .copy_crc = {[SDI_CRC32C] = copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
