/* SPDX-License-Identifier: Apache-2.0 */
/* combine.c — checksums of joined and divided messages, from the checksums of their parts.
 *
 * Appending n bytes multiplies the remainder of what came before by x^(8n); the inversions at both ends cancel. So
 * crc(AB) = crc(A) * x^(8n) + crc(B), and the same equation yields crc(B).
 *
 * There is one form for all processors. Measured: with PCLMULQDQ, calls that don't wait for each other are twice as
 * fast, but those that do are slower, since two of the three multiplications of a product only reduce it, and tables do
 * that sooner. The gain is not worth a second form.
 */
#include "kernel/crc_constants.h"
#include "kernel/kernel.h"

/* The sum, without carries, of all products of a bit of `a` and a bit of `b`: bit i + j counts those of i and j.
 *
 * An ordinary multiplication does it for words in which only every fourth bit may be set. At most eight products meet
 * in one place then, and the three empty bits above it hold their carries; its lowest bit is the sum without them. */
static inline uint64_t multiply_without_carries(uint32_t a, uint32_t b) {
    const uint64_t every_fourth = 0x1111111111111111;
    const uint64_t a0 = a & every_fourth, a1 = a & every_fourth << 1, a2 = a & every_fourth << 2;
    const uint64_t a3 = a & every_fourth << 3;
    const uint64_t b0 = b & every_fourth, b1 = b & every_fourth << 1, b2 = b & every_fourth << 2;
    const uint64_t b3 = b & every_fourth << 3;
    const uint64_t sum0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1);
    const uint64_t sum1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2);
    const uint64_t sum2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3);
    const uint64_t sum3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0);
    return (sum0 & every_fourth) | (sum1 & every_fourth << 1) | (sum2 & every_fourth << 2) | (sum3 & every_fourth << 3);
}

/* a * b mod P, all reflected in 32 bits. */
static inline uint32_t multiply(const sdi_crc_slices slices, uint32_t a, uint32_t b) {
    uint64_t product = multiply_without_carries(a, b) << 1; /* reflected in 64 bits: the low half is from x^32 on */
    uint32_t high_powers = (uint32_t)product;
    return (uint32_t)(product >> 32) ^ slices[3][high_powers & 0xff] ^ slices[2][high_powers >> 8 & 0xff] ^
           slices[1][high_powers >> 16 & 0xff] ^ slices[0][high_powers >> 24];
}

/* A distance of 32 bits that is as good as `size`: what stands above the period is worth as much at its bottom. The
 * first step leaves at most 34 bits, the second at most 32. */
static inline uint32_t within_period(uint64_t size, unsigned period_bits) {
    const uint64_t period = ((uint64_t)1 << period_bits) - 1;
    size = (size & period) + (size >> period_bits);
    return (uint32_t)((size & period) + (size >> period_bits));
}

uint32_t sdi_crc_combine(sdi_crc_kind kind, uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
    uint32_t distance = within_period(size_b, sdi_crc_constants_of[kind].period_bits);
    for (int k = 0; distance != 0; k++, distance >>= 8)
        crc_a = multiply(sdi_crc_slices_of[kind], sdi_crc_powers_of[kind][k][distance & 0xff], crc_a);
    return crc_a ^ crc_b;
}

uint32_t sdi_crc_suffix(sdi_crc_kind kind, uint32_t crc_ab, uint32_t crc_a, uint64_t size_b) {
    return sdi_crc_combine(kind, crc_a, crc_ab, size_b);
}
