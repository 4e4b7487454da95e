/* SPDX-License-Identifier: Apache-2.0
 *
 * test_histogram.c — what percentiles are told of durations, compared with the durations themselves, sorted: the right
 * one of them, rounded up to the end of its bucket, which is less than 1/16 away.
 */
#include "store/histogram.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

enum { MOST = 3000, ROUNDS = 400, RECORDERS = 4, RECORDS = 20000 };

static void buckets_follow_each_other_without_gap_or_overlap(void **state) {
    (void)state;
    uint64_t begin = 0;
    for (unsigned bucket = 0; bucket < SDI_HISTOGRAM_BUCKETS; bucket++) {
        test_context("bucket %u", bucket);
        uint64_t end = sdi_histogram_bucket_end(bucket);
        CHECK(end >= begin);
        CHECK_U64(bucket, sdi_histogram_bucket(begin));
        CHECK_U64(bucket, sdi_histogram_bucket(begin + (end - begin) / 2));
        CHECK_U64(bucket, sdi_histogram_bucket(end));
        CHECK((end - begin) * 16 <= begin || begin == end);
        begin = end + 1;
    }
    CHECK_U64(0, begin); /* behind 2^64 - 1 */
}

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* The end of the bucket that a number belongs to, from the description: 16 of equal width for each power of two. */
static uint64_t rounded_up(uint64_t ns) {
    uint64_t width = 1;
    while (ns / width >= 32) width *= 2;
    return ns / width * width + (width - 1);
}

static void check_percentile(const uint64_t *sorted, size_t count, unsigned permille, uint64_t told) {
    uint64_t exact = sorted[(count * permille + 999) / 1000 - 1], rounded = rounded_up(exact);
    uint64_t largest = sorted[count - 1];
    CHECK_U64(rounded < largest ? rounded : largest, told);
    CHECK(told >= exact && told - exact <= exact / 16);
}

static void check_against_sorted(uint64_t *samples, size_t count) {
    sdi_histogram *histogram = calloc(1, sizeof *histogram);
    simdrive_latency told;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        sdi_histogram_record(histogram, samples[i]);
        total += samples[i];
    }
    qsort(samples, count, sizeof *samples, compare);
    sdi_histogram_read(histogram, &told);
    CHECK_U64(count, told.count);
    CHECK_U64(total, told.total_ns);
    CHECK_U64(samples[count - 1], told.max_ns);
    check_percentile(samples, count, 500, told.p50_ns);
    check_percentile(samples, count, 900, told.p90_ns);
    check_percentile(samples, count, 990, told.p99_ns);
    check_percentile(samples, count, 999, told.p999_ns);
    free(histogram);
}

static void percentiles_are_those_of_the_sorted_durations(void **state) {
    (void)state;
    static uint64_t samples[MOST];
    test_random random = test_random_begin(31);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t count = 1 + (size_t)test_random_below(&random, round % 4 == 0 ? 20 : MOST);
        unsigned bits = 1 + (unsigned)test_random_below(&random, 64), shape = round % 3;
        test_context("round %u, %zu durations of %u bits", round, count, bits);
        for (size_t i = 0; i < count; i++) {
            uint64_t any = test_random_next(&random);
            samples[i] = shape == 0   ? any >> (64 - bits)                                 /* alike large */
                         : shape == 1 ? any >> test_random_below(&random, 64)              /* of all sizes */
                                      : UINT64_C(1) << (bits - 1) >> (any % 100 == 0); /* nearly all the same */
        }
        check_against_sorted(samples, count);
    }
}

static void ends_of_the_range_are_counted_too(void **state) {
    (void)state;
    test_context("ends of the range");
    uint64_t zeros[3] = {0, 0, 0}, largest[2] = {0, UINT64_MAX}, one[1] = {15};
    check_against_sorted(zeros, 3);
    check_against_sorted(largest, 2);
    check_against_sorted(one, 1);
}

static void nothing_recorded_is_told_as_zeros(void **state) {
    (void)state;
    test_context("nothing recorded");
    static const simdrive_latency zeros;
    sdi_histogram *histogram = calloc(1, sizeof *histogram);
    simdrive_latency told;
    memset(&told, 0xFF, sizeof told);
    sdi_histogram_read(histogram, &told);
    CHECK(memcmp(&zeros, &told, sizeof told) == 0);
    free(histogram);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static void *record_many(void *user) {
    for (uint64_t i = 0; i < RECORDS; i++) sdi_histogram_record(user, i);
    return NULL;
}

static void threads_lose_nothing_and_readers_see_sense(void **state) {
    (void)state;
    test_context("threads");
    sdi_histogram *histogram = calloc(1, sizeof *histogram);
    pthread_t threads[RECORDERS];
    simdrive_latency told, before = {0};
    for (int i = 0; i < RECORDERS; i++) CHECK(pthread_create(&threads[i], NULL, record_many, histogram) == 0);
    do {
        sdi_histogram_read(histogram, &told);
        CHECK(told.count >= before.count && told.max_ns >= before.max_ns && told.total_ns >= before.total_ns);
        CHECK(told.p50_ns <= told.p90_ns && told.p90_ns <= told.p99_ns && told.p99_ns <= told.p999_ns);
        CHECK(told.p999_ns <= told.max_ns && told.max_ns < RECORDS);
        before = told;
    } while (told.count < RECORDERS * RECORDS);
    for (int i = 0; i < RECORDERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    sdi_histogram_read(histogram, &told);
    CHECK_U64(RECORDERS * RECORDS, told.count);
    CHECK_U64((uint64_t)RECORDERS * RECORDS * (RECORDS - 1) / 2, told.total_ns);
    CHECK_U64(RECORDS - 1, told.max_ns);
    free(histogram);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_follow_each_other_without_gap_or_overlap),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_durations),
        cmocka_unit_test(ends_of_the_range_are_counted_too),
        cmocka_unit_test(nothing_recorded_is_told_as_zeros),
        cmocka_unit_test(threads_lose_nothing_and_readers_see_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
