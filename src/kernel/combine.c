/* SPDX-License-Identifier: Apache-2.0 */
/* combine.c — checksums of joined and divided messages, from the checksums of their parts.
 *
 * Appending n bytes multiplies the remainder of what came before by x^(8n); the inversions at both ends cancel. So
 * crc(AB) = crc(A) * x^(8n) + crc(B), and the same equation yields crc(B).
 */
#include "kernel/crc_constants.h"
#include "kernel/kernel.h"

/* a * b mod P, both reflected: bit 31 of `a` is its constant term. */
static uint32_t multiply(uint32_t reflected, uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (int bit = 31; bit >= 0; bit--) {
        product ^= b & (0u - ((a >> bit) & 1));
        b = (b >> 1) ^ (reflected & (0u - (b & 1)));
    }
    return product;
}

uint32_t sdi_crc_combine(sdi_crc_kind kind, uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
    const sdi_crc_constants *constants = &sdi_crc_constants_of[kind];
    /* The powers of x repeat after `order`, so those of x^8 do too: 32 bits of the length are enough. */
    uint32_t distance = (uint32_t)(size_b % constants->order);
    for (int k = 0; distance != 0; k++, distance >>= 1)
        if (distance & 1) crc_a = multiply(constants->reflected, constants->byte_pow[k], crc_a);
    return crc_a ^ crc_b;
}

uint32_t sdi_crc_suffix(sdi_crc_kind kind, uint32_t crc_ab, uint32_t crc_a, uint64_t size_b) {
    return sdi_crc_combine(kind, crc_a, crc_ab, size_b);
}
