/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.c — recording and reading of what histogram.h describes. */
#include "store/histogram.h"

enum { SPLIT = 1 << SDI_HISTOGRAM_SPLIT_BITS, PERCENTILES = 4 };

unsigned sdi_histogram_bucket(uint64_t ns) {
    if (ns < SPLIT) return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - SDI_HISTOGRAM_SPLIT_BITS;
    return (shift << SDI_HISTOGRAM_SPLIT_BITS) + (unsigned)(ns >> shift);
}

uint64_t sdi_histogram_bucket_end(unsigned bucket) {
    if (bucket < 2 * SPLIT) return bucket;
    unsigned shift = (bucket >> SDI_HISTOGRAM_SPLIT_BITS) - 1;
    /* The end of the last one is 2^64 - 1: the shift loses the highest bit, and the subtraction brings it back. */
    return (((uint64_t)(SPLIT + bucket % SPLIT) + 1) << shift) - 1;
}

void sdi_histogram_record(sdi_histogram *histogram, uint64_t ns) {
    uint64_t max = atomic_load_explicit(&histogram->max_ns, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(&histogram->max_ns, &max, ns, memory_order_relaxed,
                                                              memory_order_relaxed)) {
    }
    atomic_fetch_add_explicit(&histogram->total_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->buckets[sdi_histogram_bucket(ns)], 1, memory_order_release); /* H2 */
}

void sdi_histogram_read(const sdi_histogram *histogram, simdrive_latency *out) {
    /* Of `count` durations, all but so many thousandths (rounded down) are not above the percentile. */
    static const unsigned above_permille[PERCENTILES] = {500, 100, 10, 1};
    uint64_t *percentiles[PERCENTILES] = {&out->p50_ns, &out->p90_ns, &out->p99_ns, &out->p999_ns};
    uint64_t counts[SDI_HISTOGRAM_BUCKETS], below = 0;
    *out = (simdrive_latency){0};
    for (unsigned i = 0; i < SDI_HISTOGRAM_BUCKETS; i++) {
        counts[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_acquire);
        out->count += counts[i];
    }
    out->max_ns = atomic_load_explicit(&histogram->max_ns, memory_order_relaxed);
    out->total_ns = atomic_load_explicit(&histogram->total_ns, memory_order_relaxed);
    for (unsigned i = 0, next = 0; next < PERCENTILES && below < out->count; i++) {
        below += counts[i];
        uint64_t end = sdi_histogram_bucket_end(i);
        while (next < PERCENTILES && below >= out->count - out->count * above_permille[next] / 1000)
            *percentiles[next++] = end < out->max_ns ? end : out->max_ns;
    }
}
