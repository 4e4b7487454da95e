/* SPDX-License-Identifier: Apache-2.0
 *
 * floats — stores an array of floats, and sums it where it lies in the file's map: no copy, no decoding, and aligned so
 * that the compiler's vector instructions take it as it is.
 *
 *     floats [STORE]
 */
#include <time.h>

#include "must.h"

enum { COUNT = 4 * 1024 * 1024 };

static float value_at(size_t i) {
    return (float)(i % 1024) * 0.5f;
}

/* Eight running sums, so that no addition waits for another. Exact, because all values are small multiples of 1/2. */
static double sum(const float *values, size_t count) {
    double sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (size_t lane = 0; lane < 8; lane++) sums[lane] += (double)values[i + lane];
    }
    for (; i < count; i++) sums[0] += (double)values[i];
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

static double now(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void store_floats(simdrive_store *store) {
    float *values = malloc(COUNT * sizeof *values);
    must_hold(values != NULL, "there is memory for the array");
    for (size_t i = 0; i < COUNT; i++) values[i] = value_at(i);
    must(simdrive_write(store, "weights", 7, values, COUNT * sizeof *values, NULL), "write weights");
    free(values);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "floats.store";
    const double expected = (double)COUNT / 1024 * (1023.0 * 1024.0 / 2 * 0.5);
    simdrive_store *store = NULL;
    simdrive_entry entry = {0};
    const void *elements = NULL;
    size_t count = 0;

    must(simdrive_open(path, NULL, &store), "open");
    must(simdrive_write(store, "a", 1, "odd", 3, NULL), "write something short in front");
    store_floats(store);

    must(simdrive_read(store, "weights", 7, &entry), "read weights");
    must(simdrive_entry_elements(&entry, sizeof(float), &elements, &count), "view as floats");
    must_hold(elements == entry.data, "the view is the payload itself");
    must_hold((uintptr_t)elements % simdrive_alignment() == 0, "the view is aligned");

    double began = now();
    double total = sum(elements, count);
    double took = now() - began;
    printf("%zu floats in place, on a %zu-byte boundary; sum %.1f, expected %.1f\n", count, simdrive_alignment(), total,
           expected);
    printf("summed in %.2f ms: %.1f GB/s\n", took * 1e3, (double)entry.size / took / 1e9);
    must_hold(count == COUNT && total == expected, "the sum is right");

    must_hold(simdrive_entry_elements(&entry, 7, &elements, &count) == SIMDRIVE_ERROR_UNALIGNED,
              "a view that does not fit is refused");
    simdrive_entry_release(&entry);
    must(simdrive_close(store), "close");
    return 0;
}
