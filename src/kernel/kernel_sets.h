/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_sets.h — which sets of kernels this compiler builds, and the pieces that sets share. Private to this folder.
 *
 * Each set lives in its own file and is compiled for its instructions by function attributes, not by compiler flags,
 * so any build system can compile the folder as it is. Compilers without those attributes get the portable set alone.
 */
#ifndef SDI_KERNEL_SETS_H
#define SDI_KERNEL_SETS_H

#include "kernel/kernel.h"

#if defined(__GNUC__) && defined(__x86_64__)
#define SDI_KERNELS_X86 1
#else
#define SDI_KERNELS_X86 0
#endif

/* GCC for Windows does not align the stack for registers wider than 16 bytes (GCC bug 54412). */
#if SDI_KERNELS_X86 && !(defined(__MINGW32__) && !defined(__clang__))
#define SDI_KERNELS_AVX 1
#else
#define SDI_KERNELS_AVX 0
#endif

#if defined(__GNUC__) && defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SDI_KERNELS_ARM64 1
#else
#define SDI_KERNELS_ARM64 0
#endif

extern const sdi_kernels sdi_kernels_portable;

/* From this size on, where a set can do so, copies go past the caches: they would only throw out what others need, and
 * memory is read for every line that is to be written. Measured: slower up to half of this, faster by 40 % above. */
enum { STREAM_FROM = 16 << 20 };

/* What later sets take over from earlier ones. */
uint32_t sdi_portable_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t sdi_portable_crc32(uint32_t crc, const void *data, size_t size);

#if SDI_KERNELS_X86
extern const sdi_kernels sdi_kernels_sse2;
extern const sdi_kernels sdi_kernels_sse42;

void sdi_sse2_copy(void *to, const void *from, size_t size);
#endif
#if SDI_KERNELS_AVX
extern const sdi_kernels sdi_kernels_avx2;
extern const sdi_kernels sdi_kernels_vpclmul;
extern const sdi_kernels sdi_kernels_avx512;

void sdi_avx2_copy(void *to, const void *from, size_t size);
uint32_t sdi_avx2_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t sdi_avx2_copy_crc32c(uint32_t crc, void *to, const void *from, size_t size);
#endif
#if SDI_KERNELS_ARM64
extern const sdi_kernels sdi_kernels_neon;
#endif

#endif
