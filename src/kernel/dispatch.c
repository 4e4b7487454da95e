/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch.c — finds out, once, which sets of kernels this processor and operating system can run.
 *
 * The sets are ordered, and each demands all that the one before demands: what can run is a prefix of the list, and
 * the answer is its length. Threads that ask first together all find the same length, so no lock is needed.
 */
#include "kernel/kernel_sets.h"

enum { PORTABLE = 1, SSE2 = 2, SSE42 = 3, AVX2 = 4, VPCLMUL = 5, AVX512 = 6, NEON = 2 }; /* a set's place, from 1 */

static const sdi_kernels *const all_sets[] = {
    &sdi_kernels_portable,
#if SDI_KERNELS_X86
    &sdi_kernels_sse2, &sdi_kernels_sse42,
#endif
#if SDI_KERNELS_AVX
    &sdi_kernels_avx2, &sdi_kernels_vpclmul, &sdi_kernels_avx512,
#endif
#if SDI_KERNELS_ARM64
    &sdi_kernels_neon,
#endif
};

#if SDI_KERNELS_X86

#include <cpuid.h>

/* A place in the answer of the instruction CPUID. */
typedef struct cpu_feature {
    unsigned leaf;
    enum { EBX, ECX } word;
    unsigned bits;
} cpu_feature;

static int cpu_has(cpu_feature feature) {
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(feature.leaf, 0, &eax, &ebx, &ecx, &edx)) return 0;
    return ((feature.word == EBX ? ebx : ecx) & feature.bits) == feature.bits;
}

/* Which registers the operating system saves (XCR0). Only where CPUID reports OSXSAVE. */
static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

enum { SAVED_AVX = 0x6, SAVED_AVX512 = 0xe6 };

static size_t best_place(void) {
    /* SSE3, PCLMULQDQ, SSSE3, SSE4.1, SSE4.2; OSXSAVE, AVX; AVX2; VPCLMULQDQ; AVX512F, DQ, BW, VL; AVX512_VBMI */
    const cpu_feature sse42_pclmul = {1, ECX, 1u << 0 | 1u << 1 | 1u << 9 | 1u << 19 | 1u << 20};
    const cpu_feature osxsave_avx = {1, ECX, 1u << 27 | 1u << 28};
    const cpu_feature avx2 = {7, EBX, 1u << 5};
    const cpu_feature vpclmul = {7, ECX, 1u << 10};
    const cpu_feature avx512 = {7, EBX, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31};
    const cpu_feature vbmi = {7, ECX, 1u << 1};
    if (!cpu_has(sse42_pclmul)) return SSE2;
    if (!cpu_has(osxsave_avx) || (saved_registers() & SAVED_AVX) != SAVED_AVX || !cpu_has(avx2)) return SSE42;
    if (!cpu_has(vpclmul)) return AVX2;
    if (!cpu_has(avx512) || !cpu_has(vbmi) || (saved_registers() & SAVED_AVX512) != SAVED_AVX512) return VPCLMUL;
    return AVX512;
}

#elif SDI_KERNELS_ARM64

/* NEON is part of the architecture; the CRC and PMULL instructions are extensions. */
#if defined(__ARM_FEATURE_CRC32) && (defined(__ARM_FEATURE_AES) || defined(__ARM_FEATURE_CRYPTO))

static size_t best_place(void) {
    return NEON;
}

#elif defined(__linux__)

#include <asm/hwcap.h>
#include <sys/auxv.h>

static size_t best_place(void) {
    const unsigned long needed = HWCAP_CRC32 | HWCAP_PMULL;
    return (getauxval(AT_HWCAP) & needed) == needed ? NEON : PORTABLE;
}

#else

static size_t best_place(void) {
    return PORTABLE;
}

#endif
#else

static size_t best_place(void) {
    return PORTABLE;
}

#endif

/* A compiler may build fewer sets than the processor can run. */
static size_t count_sets(void) {
    size_t built = sizeof all_sets / sizeof *all_sets, place = best_place();
    return place < built ? place : built;
}

#if defined(__GNUC__)

/* 0 until somebody asks. The answer leads to constants only, so nothing has to be ordered before it. */
static size_t set_count;

static size_t available_count(void) {
    size_t count = __atomic_load_n(&set_count, __ATOMIC_RELAXED);
    if (count == 0) {
        count = count_sets();
        __atomic_store_n(&set_count, count, __ATOMIC_RELAXED);
    }
    return count;
}

#else

static size_t available_count(void) {
    return count_sets();
}

#endif

const sdi_kernels *sdi_kernels_active(void) {
    return all_sets[available_count() - 1];
}

const sdi_kernels *const *sdi_kernels_available(size_t *count) {
    *count = available_count();
    return all_sets;
}
