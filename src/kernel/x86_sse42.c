/* SPDX-License-Identifier: Apache-2.0 */
/* x86_sse42.c — processors with SSE4.2 and PCLMULQDQ: CRC-32C by its instruction, CRC-32 by folding. */
#include "kernel/kernel_sets.h"

#if SDI_KERNELS_X86

#include "kernel/x86_crc32c.h"
#include "kernel/x86_fold128.h"

#define TARGET __attribute__((target("sse4.2,pclmul")))

TARGET static uint32_t crc32c(uint32_t crc, const void *data, size_t size) {
    return ~crc32c_by_instruction(~crc, data, size);
}

TARGET static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
    return ~crc_by_folding(&sdi_crc_constants_of[SDI_CRC32], ~crc, data, size);
}

TARGET static uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, size_t size) {
    return ~copy_crc32c_by_instruction(~crc, sdi_sse2_copy, to, from, size);
}

TARGET static uint32_t copy_crc32(uint32_t crc, void *to, const void *from, size_t size) {
    return ~copy_crc_by_folding(&sdi_crc_constants_of[SDI_CRC32], ~crc, sdi_sse2_copy, to, from, size);
}

const sdi_kernels sdi_kernels_sse42 = {
    .name = "sse4.2+pclmulqdq",
    .copy = sdi_sse2_copy,
    .crc = {[SDI_CRC32C] = crc32c, [SDI_CRC32] = crc32},
    .copy_crc = {[SDI_CRC32C] = copy_crc32c, [SDI_CRC32] = copy_crc32},
};

#endif
