/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels.c — how fast this machine copies and checks bytes: every set of kernels, and memcpy beside them.
 */
#include "micro.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

static const char *const operation_names[MICRO_KERNEL_OPERATIONS] = {"copy", "crc32c", "copy+crc32c", "crc32",
                                                                     "copy+crc32"};

static void copy_by_memcpy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

static const sdi_kernels libc_kernels = {.name = "libc", .copy = copy_by_memcpy};

static const sdi_kernels *kernel_set(size_t set)
{
    size_t count;
    const sdi_kernels *const *available = sdi_kernels_available(&count);
    return set < count ? available[set] : &libc_kernels;
}

size_t micro_kernel_sets(void)
{
    size_t count;
    sdi_kernels_available(&count);
    return count + 1;
}

const char *micro_kernel_set_name(size_t set)
{
    return kernel_set(set)->name;
}

const char *micro_kernel_operation_name(micro_kernel_operation operation)
{
    return operation_names[operation];
}

bool micro_kernel_has(size_t set, micro_kernel_operation operation)
{
    return operation == MICRO_COPY || kernel_set(set) != &libc_kernels;
}

uint32_t micro_kernel_run(size_t set, micro_kernel_operation operation, void *to, const void *from, size_t size,
                          size_t calls)
{
    const sdi_kernels *kernels = kernel_set(set);
    bool castagnoli = operation == MICRO_CRC32C || operation == MICRO_COPY_CRC32C;
    sdi_crc_kind kind = castagnoli ? SDI_CRC32C : SDI_CRC32;
    uint32_t sum = 0;
    if (operation == MICRO_COPY)
        for (size_t i = 0; i < calls; i++)
            kernels->copy(to, from, size);
    else if (operation == MICRO_CRC32C || operation == MICRO_CRC32)
        for (size_t i = 0; i < calls; i++)
            sum ^= kernels->crc[kind](0, from, size);
    else
        for (size_t i = 0; i < calls; i++)
            sum ^= kernels->copy_crc[kind](0, to, from, size);
    return sum;
}
