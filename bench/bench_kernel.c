/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kernel.c — how fast this machine copies and checks bytes: every set of kernels, by size, in GB/s.
 *
 * Calls do not depend on each other, and small sizes work in the first-level cache: what is measured is throughput, as
 * in a writer that is busy. The rounds of all kernels are interleaved, so that a disturbance hits all alike. Each cell
 * is the median of the rounds and, behind it, the best of them.
 *
 * Usage: bench_kernel [ROUNDS]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/kernel.h"

static const size_t sizes[] = {8, 32, 128, 256, 512, 1024, 4096, 256u << 10, 64u << 20};
enum { SIZES = sizeof sizes / sizeof *sizes, LARGEST = 64 << 20, MAX_ROWS = 32, MAX_ROUNDS = 101 };
enum { HALF_PAGE = 2048 }; /* apart, or loads would wait for stores at the same place of another page */
enum { BYTES_PER_ROUND = 16 << 20, MAX_CALLS = 1 << 18 };

typedef enum operation { COPY, CRC32C, COPY_CRC32C, CRC32, COPY_CRC32, OPERATIONS } operation;
static const char *const operation_names[OPERATIONS] = {"copy", "crc32c", "copy+crc32c", "crc32", "copy+crc32"};

typedef struct row {
    const char *set_name;
    const sdi_kernels *set;
    operation what;
    double rates[SIZES][MAX_ROUNDS];
} row;

static void copy_by_memcpy(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
}
static const sdi_kernels libc_kernels = {.name = "libc memcpy", .copy = copy_by_memcpy};

static volatile uint32_t result; /* keeps the work from being optimised away */

static double seconds_now(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint32_t run(const row *cell, uint8_t *to, const uint8_t *from, size_t size, size_t calls) {
    uint32_t sum = 0;
    const sdi_kernels *set = cell->set;
    switch (cell->what) {
    case COPY:
        for (size_t i = 0; i < calls; i++) set->copy(to, from, size);
        break;
    case CRC32C:
    case CRC32: {
        uint32_t (*crc)(uint32_t, const void *, size_t) = set->crc[cell->what == CRC32C ? SDI_CRC32C : SDI_CRC32];
        for (size_t i = 0; i < calls; i++) sum ^= crc(0, from, size);
        break;
    }
    default: {
        sdi_crc_kind kind = cell->what == COPY_CRC32C ? SDI_CRC32C : SDI_CRC32;
        uint32_t (*copy_crc)(uint32_t, void *, const void *, size_t) = set->copy_crc[kind];
        for (size_t i = 0; i < calls; i++) sum ^= copy_crc(0, to, from, size);
    }
    }
    return sum;
}

static double measure(const row *cell, uint8_t *to, const uint8_t *from, size_t size) {
    size_t calls = BYTES_PER_ROUND / size;
    if (calls < 1) calls = 1;
    if (calls > MAX_CALLS) calls = MAX_CALLS;
    double start = seconds_now();
    result = run(cell, to, from, size, calls);
    return (double)size * (double)calls / (seconds_now() - start) / 1e9;
}

static size_t make_rows(row *rows) {
    size_t count = 0, sets;
    const sdi_kernels *const *available = sdi_kernels_available(&sets);
    rows[count++] = (row){.set_name = libc_kernels.name, .set = &libc_kernels, .what = COPY};
    for (size_t i = 0; i < sets; i++)
        for (int what = 0; what < OPERATIONS && count < MAX_ROWS; what++)
            rows[count++] = (row){.set_name = available[i]->name, .set = available[i], .what = (operation)what};
    return count;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print_table(row *rows, size_t count, int rounds) {
    printf("GB/s: median of %d rounds / the best\n%-20s %-12s", rounds, "set", "operation");
    for (size_t s = 0; s < SIZES; s++) {
        char label[24];
        if (sizes[s] >= 1u << 20) snprintf(label, sizeof label, "%zu MiB", sizes[s] >> 20);
        else if (sizes[s] >= 1u << 10) snprintf(label, sizeof label, "%zu KiB", sizes[s] >> 10);
        else snprintf(label, sizeof label, "%zu B", sizes[s]);
        printf(" %13s", label);
    }
    printf("\n");
    for (size_t i = 0; i < count; i++) {
        printf("%-20s %-12s", rows[i].set_name, operation_names[rows[i].what]);
        for (size_t s = 0; s < SIZES; s++) {
            qsort(rows[i].rates[s], (size_t)rounds, sizeof(double), by_value);
            printf(" %6.1f/%6.1f", rows[i].rates[s][rounds / 2], rows[i].rates[s][rounds - 1]);
        }
        printf("\n");
    }
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 7;
    if (rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_kernel [ROUNDS], 1 to %d\n", MAX_ROUNDS);
        return 2;
    }
    uint8_t *from = malloc(LARGEST + 64), *to = malloc(LARGEST + 64 + HALF_PAGE);
    row *rows = calloc(MAX_ROWS, sizeof *rows);
    if (!from || !to || !rows) {
        fprintf(stderr, "bench_kernel: out of memory\n");
        return 3;
    }
    uint8_t *source = from + (64 - (uintptr_t)from % 64), *target = to + HALF_PAGE + (64 - (uintptr_t)to % 64);
    for (size_t i = 0; i < LARGEST; i++) source[i] = (uint8_t)(i * 2654435761u >> 13);
    memset(target, 1, LARGEST);
    size_t count = make_rows(rows);
    for (int round = -1; round < rounds; round++) /* the first one warms up, and is overwritten */
        for (size_t s = 0; s < SIZES; s++)
            for (size_t i = 0; i < count; i++)
                rows[i].rates[s][round < 0 ? 0 : round] = measure(&rows[i], target, source, sizes[s]);
    print_table(rows, count, rounds);
    free(rows);
    free(from);
    free(to);
    return 0;
}
