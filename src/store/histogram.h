/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.h — how long something took, many times: counts of durations in buckets, from which percentiles are told.
 *
 * Buckets grow with what they hold. Durations below 16 ns have one each; from there on each power of two is cut into 16
 * of equal width:
 *
 *      0  1 ... 15 | 16 17 ... 31 | 32-33 34-35 ... 62-63 | 64-67 68-71 ... 124-127 | ...
 *
 * The upper end of a bucket is less than 1/16 above its lower end: by no more is a percentile too high.
 * There are buckets for every 64-bit number.
 *
 * Invariants
 *   H1  Any number of threads may record while others look. Nobody waits, and nothing is lost.
 *   H2  A duration is in `max_ns` and `total_ns` before it is in its bucket, and who looks takes the buckets first: so
 *       no percentile is told that is above the largest duration.
 */
#ifndef SDI_HISTOGRAM_H
#define SDI_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "simdrive.h"

enum {
    SDI_HISTOGRAM_SPLIT_BITS = 4, /* 16 buckets for each power of two */
    SDI_HISTOGRAM_BUCKETS = (64 - SDI_HISTOGRAM_SPLIT_BITS + 1) << SDI_HISTOGRAM_SPLIT_BITS
};

/* All zero: nothing was recorded. */
typedef struct sdi_histogram {
    _Atomic uint64_t total_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t buckets[SDI_HISTOGRAM_BUCKETS];
} sdi_histogram;

void sdi_histogram_record(sdi_histogram *histogram, uint64_t ns);

/* The figures. A percentile is the smallest duration that so many of all are not above (nearest rank), or up to 1/16
 * more, and never above the largest; zeros when nothing was recorded. */
void sdi_histogram_read(const sdi_histogram *histogram, simdrive_latency *out);

/* The bucket of a duration, and the largest duration that has this bucket. */
unsigned sdi_histogram_bucket(uint64_t ns);
uint64_t sdi_histogram_bucket_end(unsigned bucket);

#endif
