/* SPDX-License-Identifier: Apache-2.0 */
/* crc_constants.h — the numbers that follow from the two polynomials; every checksum kernel takes them from here.
 *
 * A checksum is the remainder of the message, times x^32, modulo P. Both are reflected: the lowest bit of the first
 * byte is the highest power, and a word of n bits holds the power p at bit n - 1 - p. Below, pow(n) is the word of 32
 * bits that holds x^n mod P, reflected. Everything here is computed from P and pow() alone; tests/unit/test_kernel.c
 * derives it again and compares.
 *
 * Sources of the method: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction",
 * Intel 2009 (folding, Barrett reduction); Kounavis and Berry, "A Systematic Approach to Building High Performance
 * Software-based CRC Generators", Intel 2005 (slicing).
 *
 * Folding. A carry-less multiply of two reflected words of 64 bits yields 127 bits: reflected in 128 bits, that is the
 * product times x. With 64-bit constants K(n) = pow(n) << 32 (x^n mod P, reflected in 64 bits), a word w times K(n) is
 * therefore congruent to w * x^(n + 1). To move a block of 128 bits over a distance of D bits,
 *
 *     first half * x^(D + 64)  ->  K(D + 63)          second half * x^D  ->  K(D - 1)
 *
 * and the sum, below x^96, is added to the block that lies D bits later.
 *
 * The end. With the words of the last block numbered 0 .. m from its end, word i times x^(64 * i + 32) is what the
 * checksum takes the remainder of: K(64 * i + 31) brings all of them to one value Y of 96 bits. Barrett:
 *
 *     q = (Y / x^32) * quotient / x^63,   checksum = (Y + q * P) mod x^32,   quotient = x^95 / P, rounded down
 *
 * which is exact for polynomials as long as Y is below x^96.
 *
 * Joining three streams. A checksum instruction waits for the one before it, so three parts of L bytes each go side by
 * side. A remainder of 32 bits times pow(n), both in the low halves of their words, is r * x^(n + 1) in a word of 64
 * bits; the instruction, given that word, multiplies by x^32 and reduces. To move the first remainder over 2 L bytes
 * and the second over L bytes takes pow(16 * L - 33) and pow(8 * L - 33).
 */
#ifndef SDI_CRC_CONSTANTS_H
#define SDI_CRC_CONSTANTS_H

#include <stdint.h>

#include "kernel/kernel.h"

/* K(D + 63) and K(D - 1), in the order in which the halves lie in a register. */
typedef struct sdi_fold_pair {
    uint64_t first_half;
    uint64_t second_half;
} sdi_fold_pair;

/* pow(16 * L - 33) and pow(8 * L - 33). */
typedef struct sdi_join_pair {
    uint32_t first;
    uint32_t second;
} sdi_join_pair;

typedef struct sdi_crc_constants {
    sdi_fold_pair by_128;
    sdi_fold_pair by_256;
    sdi_fold_pair by_384;
    sdi_fold_pair by_512;
    sdi_fold_pair by_768;
    sdi_fold_pair by_1024;
    sdi_fold_pair by_1536;
    sdi_fold_pair by_2048;
    uint64_t to_96[8];   /* K(64 * i + 31) for the words of a block of 512 bits, in their order: i = 7 .. 0 */
    uint64_t quotient;   /* x^95 / P, reflected in 64 bits */
    uint64_t polynomial; /* K(32): P without its highest term */

    sdi_join_pair join_128;  /* for streams of 128 bytes */
    sdi_join_pair join_1024; /* for streams of 1024 bytes */

    unsigned period_bits; /* pow(2^period_bits - 1) = 1: the powers repeat from there on */
} sdi_crc_constants;

extern const sdi_crc_constants sdi_crc_constants_of[2];

/* slice[k][b] is the byte b times x^(32 + 8 * k): what a byte that is followed by k others of its group adds to the
 * checksum. */
enum { SDI_SLICES = 16 };
typedef uint32_t sdi_crc_slices[SDI_SLICES][256];
extern const sdi_crc_slices sdi_crc_slices_of[2];

/* power[k][d] is pow(8 * d * 256^k): it moves a checksum over as many bytes as the digit d stands for in place k of a
 * length to the base 256. As the powers repeat, no length needs more digits. */
enum { SDI_POWER_DIGITS = 4 };
typedef uint32_t sdi_crc_powers[SDI_POWER_DIGITS][256];
extern const sdi_crc_powers sdi_crc_powers_of[2];

#endif
