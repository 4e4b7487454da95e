/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reclaim_crash.c — a reclaim that fails or dies at any call, and a loss of power in the middle of it: whatever
 * pages are punched by then, or some of each hole, the store shows all that it did, and passes verification.
 */
#include "support/faulty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, KEYS = 5, SKIPPED = 77, ROUNDS = 3 };

/* Replaced payloads of several pages, between others; written without a sync. */
static void fill(test_faulty *f) {
    static uint8_t payload[40000];
    for (size_t round = 0; round < ROUNDS; round++) {
        for (uint64_t key = 0; key < KEYS; key++) {
            size_t size = 300 + (key * 9000 + round * 1000) % (sizeof payload - 300);
            for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)(i * 31 + key + round * 7 + 1);
            CHECK_OK(simdrive_write_hash(f->store, test_key_hash(key), payload, size, NULL));
            test_image_put(&f->before, test_key_hash(key), payload, size);
        }
    }
}

static void begin(test_faulty *f) {
    test_faulty_begin(f, NULL);
    fill(f);
}

static void check_whole(simdrive_store *store, const test_image *image) {
    test_check_shows(store, image);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
}

/* Each call fails once, without effect, with part of it, with all of it. */
static void a_failing_call_leaves_the_store_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < TEST_FAULT_COUNT; i++) {
        for (uint64_t nth = 1;; nth++) {
            test_context("fault %zu in call %u", i, (unsigned)nth);
            test_faulty f;
            begin(&f);
            test_faulty_arm(&f, &TEST_FAULTS[i], nth);
            uint64_t reclaimed;
            simdrive_status status = simdrive_reclaim(f.store, NULL, &reclaimed);
            uint64_t fired = sdi_fault_os_disarm(f.faults);
            if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
            if (fired == 0) CHECK_OK(status);
            check_whole(f.store, &f.before);
            simdrive_info info = test_info(f.store);
            if (!info.poisoned) {
                CHECK_OK(simdrive_reclaim(f.store, NULL, NULL)); /* nothing is stuck */
                check_whole(f.store, &f.before);
                CHECK_OK(simdrive_write(f.store, "n", 1, "new", 3, NULL));
                test_image_put(&f.before, simdrive_hash_key("n", 1), "new", 3);
            }
            CHECK_OK(simdrive_close(f.store));
            f.store = NULL;
            simdrive_store *store = test_open(f.path);
            check_whole(store, &f.before);
            CHECK_OK(simdrive_close(store));
            test_faulty_end(&f);
            if (fired == 0) break;
        }
    }
}

/* Applies part of what was not synced: a mark, which lies in one sector, or not; of a hole each of its pages with a
 * chance of one half, or its first half. */
static void apply_some(uint8_t *bytes, const sdi_fault_op *op, test_random *random) {
    bool front = test_random_below(random, 2) == 0;
    for (uint64_t at = 0; at < op->size; at += PAGE) {
        uint64_t size = op->size - at < PAGE ? op->size - at : PAGE;
        if (size < PAGE || !front ? test_random_below(random, 2) : at < op->size / 2)
            memcpy(bytes + op->offset + at, op->data + at, (size_t)size);
    }
}

static void check_state(const char *path, const uint8_t *bytes, const test_image *image) {
    simdrive_open_options options = {.struct_size = sizeof options, .must_exist = true, .verify_all = true};
    simdrive_store *store = NULL;
    test_file_put(path, bytes, image->size);
    CHECK_OK(simdrive_open(path, &options, &store));
    simdrive_info info = test_info(store);
    CHECK_U64(SIMDRIVE_DAMAGE_NONE, info.damage);
    CHECK_U64(0, info.corrupt_entries);
    check_whole(store, image);
    CHECK_OK(simdrive_close(store));
}

static void power_may_fail_at_any_hole(void **state) {
    (void)state;
    test_faulty f;
    begin(&f);
    char path[TEST_PATH_MAX];
    test_path(&f.folder, "state", path);
    test_random random = test_random_begin(1500);
    sdi_fault_os_record(f.faults, true);
    simdrive_status status = simdrive_reclaim(f.store, NULL, NULL);
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) exit(SKIPPED);
    CHECK_OK(status);
    size_t count, holes = 0, marks = 0, synced = 0;
    const sdi_fault_op *log = sdi_fault_os_log(f.faults, &count);
    uint8_t *bytes = test_alloc(f.before.size);
    for (size_t i = 0; i < count; i++) {
        if (log[i].kind == SDI_OP_SYNC) synced = i + 1;
        if (log[i].kind != SDI_OP_WRITE) continue;
        CHECK(synced > 0); /* what replaced it is durable before it goes */
        *(log[i].size < PAGE ? &marks : &holes) += 1;
        /* The process dies before this operation, or power fails, which leaves any part of all since the last sync. */
        for (size_t sample = 0; sample < 12; sample++) {
            test_context("operation %zu of %zu, sample %zu", i, count, sample);
            memcpy(bytes, f.before.bytes, f.before.size);
            for (size_t k = 0; k <= i; k++) {
                if (log[k].kind != SDI_OP_WRITE) continue;
                if (sample == 0 ? k < i : k < synced)
                    memcpy(bytes + log[k].offset, log[k].data, (size_t)log[k].size);
                else if (sample > 0)
                    apply_some(bytes, &log[k], &random);
            }
            check_state(path, bytes, &f.before);
        }
    }
    CHECK_U64(holes, marks);
    CHECK(holes >= 8);
    free(bytes);
    test_faulty_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call_leaves_the_store_whole),
        cmocka_unit_test(power_may_fail_at_any_hole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
