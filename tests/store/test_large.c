/* SPDX-License-Identifier: Apache-2.0
 *
 * test_large.c — payloads that take several writes: batches and streams of every length around the places where writes
 * are cut make the file that the format asks for, and a failure in the middle leaves nothing of them.
 */
#include "support/faulty.h"

#include <stdlib.h>
#include <string.h>

enum { CUT = 1 << 19, PAGE = 4096, MOST = 3 * CUT, BATCH_MAX = 5, KEYS = 32, STEPS = 120 };

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    simdrive_store *store;
    test_image image;
    test_random random;
    uint8_t *bytes; /* payloads are pieces of it */
} bench;

static void bench_begin(bench *b, uint64_t stream) {
    memset(b, 0, sizeof *b);
    b->random = test_random_begin(stream);
    b->folder = test_folder_create();
    b->store = test_open(test_path(&b->folder, "store", b->path));
    b->bytes = test_alloc(2 * MOST);
    test_random_fill(&b->random, b->bytes, 2 * MOST);
}

static void bench_end(bench *b) {
    CHECK_OK(simdrive_close(b->store));
    test_image_free(&b->image);
    test_folder_remove(&b->folder);
    free(b->bytes);
}

static size_t below(bench *b, size_t limit) {
    return (size_t)test_random_below(&b->random, limit);
}

/* A length with which the payload, written at `tail`, ends some bytes before or behind a multiple of `unit`, or right
 * there; or any length. */
static size_t choose_size(bench *b, uint64_t tail) {
    static const size_t units[] = {64, PAGE, CUT}, limits[] = {2, 100, 20000, MOST};
    if (below(b, 3) == 0) return 2 + below(b, limits[below(b, 4)]);
    size_t unit = units[below(b, 3)], multiple = (size_t)(tail / unit + 1 + below(b, 3)) * unit;
    size_t start = (size_t)(tail + SIMDRIVE_ALIGNMENT - 1) / SIMDRIVE_ALIGNMENT * SIMDRIVE_ALIGNMENT;
    size_t end = multiple + below(b, 45);
    return end > start + 24 ? end - start - 22 : 2;
}

static simdrive_bytes choose_payload(bench *b, uint64_t tail) {
    size_t size = choose_size(b, tail);
    return (simdrive_bytes){b->bytes + below(b, MOST), size < MOST ? size : MOST};
}

static void write_batch(bench *b) {
    simdrive_bytes payloads[BATCH_MAX];
    uint64_t hashes[BATCH_MAX], tail;
    size_t count = 1 + below(b, BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        hashes[i] = test_key_hash(below(b, KEYS));
        payloads[i] = choose_payload(b, b->image.size);
        test_image_put(&b->image, hashes[i], payloads[i].data, payloads[i].size);
    }
    CHECK_OK(simdrive_write_batch_hash(b->store, hashes, payloads, count, &tail));
    CHECK_U64(b->image.size, tail);
}

static size_t choose_buffer(bench *b) {
    static const size_t sizes[] = {0, 1, PAGE, PAGE + 1, 5000, 3 * PAGE - 1, 100000};
    return sizes[below(b, sizeof sizes / sizeof *sizes)];
}

static void pull_stream(bench *b) {
    uint64_t hash = test_key_hash(below(b, KEYS)), tail;
    simdrive_bytes payload = choose_payload(b, b->image.size);
    test_source source = {.bytes = payload.data, .size = payload.size, .piece = 1 + below(b, 2 * CUT)};
    test_image_put(&b->image, hash, payload.data, payload.size);
    CHECK_OK(simdrive_write_stream_hash(b->store, hash, test_source_read, &source, choose_buffer(b), &tail));
    CHECK_U64(b->image.size, tail);
}

static void push_stream(bench *b) {
    uint64_t hash = test_key_hash(below(b, KEYS)), tail;
    simdrive_bytes payload = choose_payload(b, b->image.size);
    simdrive_stream *stream;
    CHECK_OK(simdrive_stream_begin_hash(b->store, hash, choose_buffer(b), &stream));
    for (size_t done = 0, piece; done < payload.size; done += piece) {
        size_t left = payload.size - done;
        piece = below(b, 2) ? left : 1 + below(b, left);
        CHECK_OK(simdrive_stream_append(stream, (const uint8_t *)payload.data + done, piece));
    }
    test_image_put(&b->image, hash, payload.data, payload.size);
    CHECK_OK(simdrive_stream_commit(stream, &tail));
    CHECK_U64(b->image.size, tail);
}

/* Begins with a new file now and then, for its first entry is written in another way. */
static void any_length_makes_the_file_that_the_format_asks_for(void **state) {
    (void)state;
    static void (*const steps[])(bench *) = {write_batch, pull_stream, push_stream};
    for (uint64_t file = 0; file < (test_exhaustive() ? 100 : 6); file++) {
        bench b;
        bench_begin(&b, 1900 + file);
        for (size_t step = 0; step < STEPS / 6; step++) {
            test_context("file %llu, step %zu", (unsigned long long)file, step);
            steps[below(&b, 3)](&b);
            if (step % 7 == 0) test_check_shows(b.store, &b.image);
        }
        CHECK(test_file_equals(b.path, b.image.bytes, b.image.size));
        test_check_file(b.path, &b.image);
        bench_end(&b);
    }
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

static uint8_t large[3 * CUT];

static simdrive_status run_batch(test_faulty *f) {
    const uint64_t hashes[] = {test_key_hash(1), test_key_hash(50), test_key_hash(51)};
    const simdrive_bytes payloads[] = {{"small", 5}, {large, sizeof large}, {large, CUT}};
    return simdrive_write_batch_hash(f->store, hashes, payloads, 3, NULL);
}

static simdrive_status run_single(test_faulty *f) {
    return simdrive_write_hash(f->store, test_key_hash(50), large, sizeof large, NULL);
}

static simdrive_status run_pull(test_faulty *f) {
    test_source source = {.bytes = large, .size = sizeof large, .piece = CUT / 3};
    return simdrive_write_stream_hash(f->store, test_key_hash(50), test_source_read, &source, 0, NULL);
}

static simdrive_status run_push(test_faulty *f) {
    simdrive_stream *stream;
    simdrive_status status = simdrive_stream_begin_hash(f->store, test_key_hash(50), 0, &stream);
    if (status != SIMDRIVE_OK) return status;
    status = simdrive_stream_append(stream, large, sizeof large);
    if (status == SIMDRIVE_OK) return simdrive_stream_commit(stream, NULL);
    return simdrive_stream_abort(stream) == SIMDRIVE_OK ? status : SIMDRIVE_ERROR_POISONED;
}

/* The n-th call fails. Returns false when there are fewer. */
static bool fail_nth(simdrive_status (*run)(test_faulty *), const test_fault *fault, uint64_t nth) {
    test_faulty f;
    test_faulty_begin(&f, NULL);
    test_faulty_arm(&f, fault, nth);
    simdrive_status status = run(&f);
    bool failed = sdi_fault_os_disarm(f.faults) > 0;
    CHECK(failed || status == SIMDRIVE_OK);
    if (status != SIMDRIVE_OK) {
        test_check_shows(f.store, &f.before);
        bool poisoned = test_info(f.store).poisoned;
        if (!poisoned) CHECK(test_file_equals(f.path, f.before.bytes, f.before.size));
        CHECK_STATUS(poisoned ? SIMDRIVE_ERROR_POISONED : SIMDRIVE_OK, simdrive_write(f.store, "k", 1, "v", 1, NULL));
        if (!poisoned) test_image_put(&f.before, simdrive_hash_key("k", 1), "v", 1);
        simdrive_close(f.store);
        f.store = test_open(f.path);
        test_check_shows(f.store, &f.before);
    }
    test_faulty_end(&f);
    return failed;
}

static void a_failure_in_the_middle_leaves_nothing(void **state) {
    (void)state;
    static simdrive_status (*const works[])(test_faulty *) = {run_batch, run_single, run_pull, run_push};
    memset(large, 0x5A, sizeof large);
    for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
        for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
            uint64_t nth = 1;
            do test_context("work %zu: call %llu fails as in TEST_FAULTS[%zu]", w, (unsigned long long)nth, k);
            while (fail_nth(works[w], &TEST_FAULTS[k], nth) && ++nth < 100);
            CHECK(nth > 3 && nth < 100);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_length_makes_the_file_that_the_format_asks_for),
        cmocka_unit_test(a_failure_in_the_middle_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
