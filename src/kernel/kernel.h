/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.h — the loops that move and check bytes: copy, checksum, and both in one pass.
 *
 * Each has one portable form in C and forms for AVX-512 (with VPCLMULQDQ), AVX2, SSE4.2 with PCLMULQDQ, SSE2, and
 * NEON with the CRC and PMULL extensions. The best that the processor has is chosen once, at first use, without a
 * lock; tests walk through all that this machine has and compare each with the portable one.
 *
 * What this module knows: bytes. What it must not know: entries, files, stores. No allocation, no failure.
 */
#ifndef SDI_KERNEL_H
#define SDI_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* The two checksums of the format: reflected, initial and final inversion. */
typedef enum sdi_crc_kind {
    SDI_CRC32C = 0, /* Castagnoli, 0x1EDC6F41 */
    SDI_CRC32 = 1   /* ISO-HDLC, 0x04C11DB7 */
} sdi_crc_kind;

typedef uint32_t sdi_copy_crc_kernel(uint32_t crc, void *to, const void *from, size_t size); /* no overlap */

/* One set of kernels. `crc` is the finished checksum of the bytes before (0 for none), as zlib's crc32() takes it, so
 * that f(f(0, a), b) is the checksum of a followed by b. Any pointer alignment, any size including 0. */
typedef struct sdi_kernels {
    /* "avx512+vpclmulqdq", "avx2+vpclmulqdq", "avx2+pclmulqdq", "sse4.2+pclmulqdq", "sse2", "neon+pmull", "portable" */
    const char *name;
    void (*copy)(void *to, const void *from, size_t size); /* no overlap */
    uint32_t (*crc[2])(uint32_t crc, const void *data, size_t size);
    sdi_copy_crc_kernel *copy_crc[2];
} sdi_kernels;

/* The set in use. */
const sdi_kernels *sdi_kernels_active(void);

/* All sets that this processor can run, the portable one first; `count` receives how many. For tests and benchmarks. */
const sdi_kernels *const *sdi_kernels_available(size_t *count);

/* Checksum of A followed by B, from those of A and of B and the length of B. At most four products, whatever the
 * length. */
uint32_t sdi_crc_combine(sdi_crc_kind kind, uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

/* Checksum of B, from that of A followed by B, that of A, and the length of B. */
uint32_t sdi_crc_suffix(sdi_crc_kind kind, uint32_t crc_ab, uint32_t crc_a, uint64_t size_b);

static inline uint32_t sdi_crc(sdi_crc_kind kind, uint32_t crc, const void *data, size_t size) {
    return sdi_kernels_active()->crc[kind](crc, data, size);
}
static inline uint32_t sdi_copy_crc(sdi_crc_kind kind, uint32_t crc, void *to, const void *from, size_t size) {
    return sdi_kernels_active()->copy_crc[kind](crc, to, from, size);
}
static inline void sdi_copy(void *to, const void *from, size_t size) {
    sdi_kernels_active()->copy(to, from, size);
}

#endif
