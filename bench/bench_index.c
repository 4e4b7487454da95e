/* SPDX-License-Identifier: Apache-2.0 */
/* bench_index.c — what an operation of the index costs, in nanoseconds, at several sizes.
 *
 * The file is stood in for by an array with one hash every 64 bytes, as the smallest entries of a store would lie, or
 * wider for few keys, so that the metadata always spreads over more than one GiB, each on a page of its own. A stride
 * can be given too. Keys are
 * asked for in random order. Figures are medians of five rounds, with the least and the most behind them.
 *
 * Usage: bench_index [KEYS[:STRIDE]...] */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "index/index.h"

enum { ROUNDS = 5, BATCH = 1024, SINGLES = 1000000 };

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Of this thread: a stall of the machine is not one of the index. */
static uint64_t processor_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t hash_of(uint64_t n) {
    uint64_t z = n * 0x9E3779B97F4A7C15u + 0x1234567;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

typedef struct bench {
    uint64_t keys;
    uint64_t stride;
    uint8_t *file;
    uint64_t *hashes;  /* in the order of the file */
    uint64_t *offsets;
    uint64_t *asked;   /* the same hashes in another order */
    uint64_t *absent;
    uint64_t *answers; /* of a batch */
    sdi_index_hit *hits;
    uint64_t sum; /* keeps answers from being optimised away */
} bench;

static int by_value(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const char *what, double *rounds) {
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    printf("  %-24s %8.1f ns   (%.1f to %.1f)\n", what, rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
}

static void find_each(bench *b, const sdi_index *index, const uint64_t *hashes) {
    for (uint64_t i = 0; i < b->keys && i < SINGLES; i++) b->sum += sdi_index_find(index, hashes[i]).offset;
}

/* Each key depends on the answer before: what one lookup takes when nothing overlaps. */
static void find_dependent(bench *b, const sdi_index *index, const uint64_t *hashes) {
    uint64_t zero = 0;
    for (uint64_t i = 0; i < b->keys && i < SINGLES; i++) {
        uint64_t offset = sdi_index_find(index, hashes[i] ^ zero).offset;
        zero = offset >> 63;
        b->sum += offset;
    }
}

static void find_batches(bench *b, const sdi_index *index, const uint64_t *hashes) {
    for (uint64_t i = 0; i + BATCH <= b->keys && i < SINGLES; i += BATCH) {
        sdi_index_find_batch(index, hashes + i, BATCH, b->hits);
        b->sum += b->hits[i % BATCH].offset;
    }
}

static void time_lookups(bench *b, const sdi_index *index, const char *what, const uint64_t *hashes,
                         void (*run)(bench *, const sdi_index *, const uint64_t *)) {
    double rounds[ROUNDS];
    uint64_t count = b->keys < SINGLES ? b->keys : SINGLES;
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t shift = b->keys > 2 * SINGLES ? (uint64_t)r * SINGLES : 0;
        uint64_t start = now_ns();
        run(b, index, hashes + shift);
        rounds[r] = (double)(now_ns() - start) / (double)count;
    }
    report(what, rounds);
}

static sdi_index *time_add(bench *b, const char *what, uint64_t expected) {
    double rounds[ROUNDS];
    sdi_index *index = NULL;
    for (int r = 0; r < ROUNDS; r++) {
        sdi_index_destroy(index);
        uint64_t start = now_ns();
        index = sdi_index_create(expected, b->file);
        for (uint64_t i = 0; i < b->keys; i += BATCH) {
            size_t count = b->keys - i < BATCH ? (size_t)(b->keys - i) : BATCH;
            if (sdi_index_add_batch(index, b->hashes + i, b->offsets + i, count, b->answers)) exit(1);
        }
        rounds[r] = (double)(now_ns() - start) / (double)b->keys;
    }
    report(what, rounds);
    return index;
}

static void time_put_batch(bench *b) {
    double rounds[ROUNDS], again[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        sdi_index *index = sdi_index_create(0, b->file);
        uint64_t start = now_ns(), end;
        for (int pass = 0; pass < 2; pass++) {
            for (uint64_t i = 0; i < b->keys; i += BATCH) {
                size_t count = b->keys - i < BATCH ? (size_t)(b->keys - i) : BATCH;
                if (sdi_index_reserve(index, b->hashes + i, count)) exit(1);
                sdi_index_put_batch(index, b->hashes + i, b->offsets + i, count, b->answers);
            }
            end = now_ns();
            (pass ? again : rounds)[r] = (double)(end - start) / (double)b->keys;
            start = end;
        }
        sdi_index_destroy(index);
    }
    report("reserve+put_batch, new", rounds);
    report("reserve+put_batch, old", again);
}

/* Key by key: the mean, the longest, and what memory does meanwhile. */
static void time_puts(bench *b) {
    double rounds[ROUNDS], longest[ROUNDS], most = 0, sum = 0;
    uint64_t samples = 0;
    for (int r = 0; r < ROUNDS; r++) {
        sdi_index *index = sdi_index_create(0, b->file);
        uint64_t start = now_ns(), before = processor_ns();
        longest[r] = 0;
        for (uint64_t i = 0; i < b->keys; i++) {
            if (sdi_index_reserve(index, &b->hashes[i], 1)) exit(1);
            b->sum += sdi_index_put(index, b->hashes[i], b->offsets[i]);
            if (i % 32 != 0) continue; /* a stall is long beside 32 puts, and reading the clock is not free */
            uint64_t now = processor_ns();
            if ((double)(now - before) > longest[r]) longest[r] = (double)(now - before);
            before = now;
            if (i < 200000 || i % 4096 != 0) continue;
            sdi_index_stats stats;
            sdi_index_get_stats(index, &stats);
            double now_bytes = (double)stats.bytes / (double)stats.keys;
            most = now_bytes > most ? now_bytes : most;
            sum += now_bytes;
            samples++;
        }
        rounds[r] = (double)(now_ns() - start) / (double)b->keys;
        sdi_index_destroy(index);
    }
    report("reserve+put, new", rounds);
    report("longest 32 puts", longest);
    if (samples == 0) return;
    printf("  %-24s %8.2f mean, %.2f most, from 200000 keys on\n", "bytes per key", sum / (double)samples, most);
}

static uint64_t *new_array(uint64_t count) {
    uint64_t *array = malloc((size_t)count * sizeof *array);
    if (!array) exit(1);
    return array;
}

static void prepare(bench *b) {
    const uint64_t spread = UINT64_C(5) << 28;
    if (b->stride == 0) b->stride = spread / b->keys / 64 * 64;
    if (b->stride < 64) b->stride = 64;
    b->file = malloc((size_t)(b->stride * (b->keys + 1))); /* like a file: pages of the ordinary size */
    if (!b->file) exit(1);
    b->hashes = new_array(b->keys);
    b->offsets = new_array(b->keys);
    b->asked = new_array(b->keys);
    b->absent = new_array(b->keys);
    b->answers = new_array(BATCH);
    b->hits = malloc(BATCH * sizeof *b->hits);
    for (uint64_t i = 0; i < b->keys; i++) {
        b->hashes[i] = b->asked[i] = hash_of(i);
        b->absent[i] = hash_of(i + (UINT64_C(1) << 40));
        b->offsets[i] = (i + 1) * b->stride;
        sdi_store64(b->file + b->offsets[i], b->hashes[i]);
    }
    for (uint64_t i = b->keys - 1; i > 0; i--) {
        uint64_t k = hash_of(~i) % (i + 1), swapped = b->asked[i];
        b->asked[i] = b->asked[k];
        b->asked[k] = swapped;
    }
}

static void run(uint64_t keys, uint64_t stride) {
    bench b = {.keys = keys, .stride = stride};
    prepare(&b);
    printf("%llu keys, one every %llu bytes\n", (unsigned long long)keys, (unsigned long long)b.stride);
    sdi_index_destroy(time_add(&b, "add_batch, expected", keys));
    sdi_index *index = time_add(&b, "add_batch, growing", 0);
    time_lookups(&b, index, "find", b.asked, find_each);
    time_lookups(&b, index, "find, one after another", b.asked, find_dependent);
    time_lookups(&b, index, "find_batch", b.asked, find_batches);
    time_lookups(&b, index, "find missing", b.absent, find_each);
    time_lookups(&b, index, "find_batch missing", b.absent, find_batches);
    sdi_index_destroy(index);
    time_put_batch(&b);
    time_puts(&b);
    printf("  (%llx)\n", (unsigned long long)(b.sum & 0xF));
    free(b.file);
    free(b.hashes);
    free(b.offsets);
    free(b.asked);
    free(b.absent);
    free(b.answers);
    free(b.hits);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        run(100000, 0);
        run(1000000, 0);
        run(20000000, 0);
    }
    for (int i = 1; i < argc; i++) {
        char *end;
        uint64_t keys = strtoull(argv[i], &end, 10);
        run(keys, *end == ':' ? strtoull(end + 1, NULL, 10) : 0);
    }
    return 0;
}
