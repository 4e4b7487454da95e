/* SPDX-License-Identifier: Apache-2.0
 *
 * test_faults.c — every call to the system fails once, in every piece of work, in several ways. A call that fails
 * changes nothing; the handle goes on, or says that it is poisoned; opened again, the store holds what was
 * acknowledged and nothing else. A failed sync is never tried again.
 */
#include "support/faulty.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

static void check_shows_one_of(simdrive_store *store, const test_image *a, const test_image *b) {
    test_check_shows(store, simdrive_tail(store) == a->size ? a : b);
}

static bool file_is_prefixed_by(const char *path, const test_image *image) {
    size_t size;
    uint8_t *bytes = test_file_get(path, &size);
    bool same = bytes && size >= image->size && memcmp(bytes, image->bytes, image->size) == 0;
    free(bytes);
    return same;
}

/* After the failure, on the same handle. */
static void check_handle_goes_on(test_faulty *f, const test_image *shown) {
    test_image then;
    test_image_clone(shown, &then);
    CHECK_OK(simdrive_write(f->store, "goes on", 7, "value", 5, NULL));
    test_image_put(&then, simdrive_hash_key("goes on", 7), "value", 5);
    test_check_shows(f->store, &then);
    CHECK_OK(simdrive_close(f->store));
    f->store = NULL;
    CHECK(test_file_is(f->path, &then));
    test_image_free(&then);
}

/* A poisoned handle reads and does not write; the file opens as what was acknowledged, or with the work complete. */
static void check_poisoned(test_faulty *f, const test_image *before, const test_image *after) {
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_write(f->store, "k", 1, "v", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_delete_hash(f->store, test_key_hash(0), NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_sync(f->store, NULL));
    check_shows_one_of(f->store, before, after);
    simdrive_close(f->store);
    f->store = test_open(f->path);
    check_shows_one_of(f->store, before, after);
    const test_image *found = simdrive_tail(f->store) == before->size ? before : after;
    check_handle_goes_on(f, found);
}

static void check_after_failure(test_faulty *f, const test_image *before, const test_image *after, bool swapped) {
    simdrive_info info = test_info(f->store);
    if (!swapped) test_check_shows(f->store, before);
    if (info.poisoned) {
        check_poisoned(f, before, after);
        return;
    }
    const test_image *shown = before;
    if (swapped && info.tail == after->size) shown = after; /* the swap was done, its durability is in doubt */
    test_check_shows(f->store, shown);
    CHECK(test_file_equals(f->path, shown->bytes, shown->size));
    CHECK(file_is_prefixed_by(f->path, shown));
    check_handle_goes_on(f, shown);
}

static void check_other(test_faulty *f, const test_work *work, simdrive_status status) {
    test_image with;
    test_image_clone(&f->other_before, &with);
    if (work->target_key > 0) {
        const test_record *record = test_image_find(&f->before, test_key_hash(work->target_key));
        test_image_put(&with, record->key_hash, f->before.bytes + record->start, test_record_size(record));
    }
    const test_image *other = status == SIMDRIVE_OK ? &with : &f->other_before;
    check_shows_one_of(f->other, work->keeps_on_failure ? &with : other, other);
    bool poisoned = test_info(f->other).poisoned;
    simdrive_close(f->other);
    f->other = test_open(f->other_path);
    check_shows_one_of(f->other, work->keeps_on_failure || poisoned ? &with : other, other);
    test_image_free(&with);
}

/* The target of a backup is not there, or complete. Other names than ours are gone, but where removing them failed. */
static void check_folder(test_faulty *f, const test_fault *fault, simdrive_status status) {
    if (test_file_exists(f->out_path)) CHECK(test_file_equals(f->out_path, f->before.bytes, f->before.size));
    size_t known = 2 + (test_file_exists(f->out_path) ? 1 : 0);
    if (!fault->for_ever && status != SIMDRIVE_OK && fault->effect == 0) {
        size_t found = test_folder_count(&f->folder, "", NULL);
        CHECK(found <= known + 1); /* the call that failed may have been the removal itself */
    }
}

/* One round: the n-th call fails. Returns false when the work makes fewer calls. */
static bool fail_nth(const test_work *work, const simdrive_open_options *options, const test_fault *fault,
                     uint64_t nth) {
    test_faulty f;
    test_faulty_begin(&f, options);
    test_image after;
    test_image_clone(&f.before, &after);
    work->change(&after);
    test_faulty_arm(&f, fault, nth);
    simdrive_status status = work->run(&f);
    bool failed = sdi_fault_os_disarm(f.faults) > 0;
    if (!failed) CHECK_OK(status);
    check_other(&f, work, status);
    check_folder(&f, fault, status);
    if (status == SIMDRIVE_OK) {
        test_check_shows(f.store, &after);
        CHECK(test_file_equals(f.path, after.bytes, after.size));
        check_handle_goes_on(&f, &after);
    } else {
        check_after_failure(&f, &f.before, &after, work->swaps_file);
    }
    test_image_free(&after);
    test_faulty_end(&f);
    return failed;
}

static void sweep(const simdrive_open_options *options, const char *options_name) {
    for (size_t w = 0; w < TEST_WORK_COUNT; w++) {
        for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
            for (uint64_t nth = 1;; nth++) {
                test_context("%s, %s: call %llu fails as in TEST_FAULTS[%zu]", TEST_WORKS[w].name, options_name,
                             (unsigned long long)nth, k);
                if (!fail_nth(&TEST_WORKS[w], options, &TEST_FAULTS[k], nth)) break;
                CHECK(nth < 500);
            }
        }
    }
}

static void any_call_may_fail(void **state) {
    (void)state;
    sweep(NULL, "no sync");
}

static void any_call_may_fail_with_sync_at_each_commit(void **state) {
    (void)state;
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_COMMIT};
    sweep(&options, "sync at commit");
}

static void any_call_may_fail_while_the_map_grows(void **state) {
    (void)state;
    simdrive_open_options options = {.struct_size = sizeof options, .map_reserve_bytes = 4096};
    sweep(&options, "tiny reserve");
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static bool fail_nth_of_open(bool read_only, size_t garbage, const test_fault *fault, uint64_t nth) {
    test_faulty f;
    test_faulty_begin(&f, NULL);
    CHECK_OK(simdrive_close(f.store));
    f.store = NULL;
    uint8_t junk[300];
    memset(junk, 0xC3, sizeof junk);
    test_file_append(f.path, junk, garbage);
    size_t size;
    uint8_t *bytes = test_file_get(f.path, &size);
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = read_only};
    test_faulty_arm(&f, fault, nth);
    simdrive_status status = sdi_open_with_os(sdi_fault_os_table(f.faults), f.path, &options, &f.store);
    bool failed = sdi_fault_os_disarm(f.faults) > 0;
    if (!failed) CHECK_OK(status);
    CHECK((status == SIMDRIVE_OK) == (f.store != NULL));
    if (f.store) test_check_shows(f.store, &f.before);
    simdrive_close(f.store);
    f.store = NULL;
    CHECK(test_file_equals(f.path, bytes, size));
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(f.faults), f.path, NULL, &f.store));
    test_check_shows(f.store, &f.before);
    free(bytes);
    test_faulty_end(&f);
    return failed;
}

static void any_call_of_opening_may_fail(void **state) {
    (void)state;
    for (size_t variant = 0; variant < 4; variant++) {
        for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
            for (uint64_t nth = 1;; nth++) {
                test_context("opening, variant %zu: call %llu fails as in TEST_FAULTS[%zu]", variant,
                             (unsigned long long)nth, k);
                if (!fail_nth_of_open(variant & 1, variant & 2 ? 300 : 0, &TEST_FAULTS[k], nth)) break;
                CHECK(nth < 500);
            }
        }
    }
}

static void any_call_of_creating_may_fail(void **state) {
    (void)state;
    for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
        bool failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            test_context("creating: call %llu fails as in TEST_FAULTS[%zu]", (unsigned long long)nth, k);
            test_faulty f;
            test_faulty_begin(&f, NULL);
            simdrive_store *created = NULL;
            test_faulty_arm(&f, &TEST_FAULTS[k], nth);
            simdrive_status status = sdi_open_with_os(sdi_fault_os_table(f.faults), f.out_path, NULL, &created);
            if (status == SIMDRIVE_OK) status = simdrive_write(created, "first", 5, "a first value", 13, NULL);
            failed = sdi_fault_os_disarm(f.faults) > 0;
            if (!failed) CHECK_OK(status);
            if (created && !test_info(created).poisoned)
                CHECK_OK(simdrive_write(created, "second", 6, "another", 7, NULL));
            simdrive_close(created);
            created = test_open(f.out_path);
            CHECK(simdrive_exists(created, "first", 5) == (status == SIMDRIVE_OK));
            CHECK_OK(simdrive_close(created));
            test_faulty_end(&f);
        }
    }
}

/* --- the first write on a damaged tail ---------------------------------------------------------------------------- */

static bool fail_nth_of_repair(const test_fault *fault, uint64_t nth) {
    test_faulty f;
    test_faulty_begin(&f, NULL);
    CHECK_OK(simdrive_close(f.store));
    uint8_t junk[300];
    memset(junk, 0xC3, sizeof junk);
    test_file_append(f.path, junk, sizeof junk);
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(f.faults), f.path, &f.options, &f.store));
    test_image after;
    test_image_clone(&f.before, &after);
    TEST_WORKS[0].change(&after);
    test_faulty_arm(&f, fault, nth);
    simdrive_status status = TEST_WORKS[0].run(&f);
    bool failed = sdi_fault_os_disarm(f.faults) > 0;
    if (!failed) CHECK_OK(status);
    CHECK(file_is_prefixed_by(f.path, status == SIMDRIVE_OK ? &after : &f.before));
    bool cut = test_file_size(f.path) == f.before.size || status == SIMDRIVE_OK;
    char kept[TEST_PATH_MAX], name[64];
    snprintf(name, sizeof name, "store.tail-%zu", f.before.size);
    if (cut) CHECK(test_file_equals(test_path(&f.folder, name, kept), junk, sizeof junk));
    if (test_info(f.store).poisoned)
        check_poisoned(&f, &f.before, &after);
    else
        check_handle_goes_on(&f, status == SIMDRIVE_OK ? &after : &f.before);
    test_image_free(&after);
    test_faulty_end(&f);
    return failed;
}

static void any_call_of_a_repair_may_fail(void **state) {
    (void)state;
    for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
        for (uint64_t nth = 1;; nth++) {
            test_context("first write on a damaged tail: call %llu fails as in TEST_FAULTS[%zu]",
                         (unsigned long long)nth, k);
            if (!fail_nth_of_repair(&TEST_FAULTS[k], nth)) break;
            CHECK(nth < 500);
        }
    }
}

/* --- sync --------------------------------------------------------------------------------------------------------- */

static void a_failed_sync_poisons_and_is_not_repeated(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        test_context("failed sync, %s", whole ? "done all the same" : "not done");
        test_faulty f;
        test_faulty_begin(&f, NULL);
        uint64_t durable = 9;
        CHECK_OK(simdrive_write_hash(f.store, 77, "value", 5, NULL));
        sdi_fault_os_arm(f.faults, &(sdi_fault_plan){.kind = SDI_FAULT_SYNC, .nth = 1, .status = SIMDRIVE_ERROR_IO,
                                                     .os_error = EIO, .effect = whole ? SDI_FAULT_WHOLE : 0});
        CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_sync(f.store, &durable));
        CHECK_U64(1, sdi_fault_os_disarm(f.faults));
        uint64_t syncs = sdi_fault_os_count(f.faults, SDI_FAULT_SYNC);
        CHECK(test_info(f.store).poisoned);
        CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_sync(f.store, NULL));
        CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_write_hash(f.store, 78, "value", 5, NULL));
        CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_compact(f.store, NULL, NULL));
        CHECK_U64(syncs, sdi_fault_os_count(f.faults, SDI_FAULT_SYNC));
        CHECK(simdrive_exists_hash(f.store, 77) && !simdrive_exists_hash(f.store, 78));
        simdrive_close(f.store);
        CHECK_U64(syncs, sdi_fault_os_count(f.faults, SDI_FAULT_SYNC));
        f.store = test_open(f.path);
        CHECK(simdrive_exists_hash(f.store, 77));
        CHECK_OK(simdrive_write_hash(f.store, 78, "value", 5, NULL));
        test_faulty_end(&f);
    }
}

static void a_failed_background_sync_poisons(void **state) {
    (void)state;
    test_context("failed sync of the interval policy");
    test_faulty f;
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_INTERVAL};
    options.sync_interval_ms = 1;
    test_faulty_begin(&f, &options);
    sdi_fault_os_arm(f.faults, &(sdi_fault_plan){.kind = SDI_FAULT_SYNC, .nth = 1, .status = SIMDRIVE_ERROR_IO,
                                                 .os_error = EIO});
    simdrive_status status = SIMDRIVE_OK;
    for (uint64_t i = 0; status == SIMDRIVE_OK; i++) status = simdrive_write_hash(f.store, i, "value", 5, NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, status);
    CHECK_U64(1, sdi_fault_os_disarm(f.faults));
    test_faulty_end(&f);
}

/* What the policy promises is asked of the system before the call returns. */
static void sync_at_commit_syncs_behind_the_last_write(void **state) {
    (void)state;
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_COMMIT};
    for (size_t w = 0; w < TEST_WORK_COUNT; w++) {
        test_context("sync at commit: %s", TEST_WORKS[w].name);
        test_faulty f;
        test_faulty_begin(&f, &options);
        sdi_fault_os_record(f.faults, true);
        CHECK_OK(TEST_WORKS[w].run(&f));
        size_t count;
        const sdi_fault_op *log = sdi_fault_os_log(f.faults, &count);
        bool written = false;
        for (size_t i = 0; i < count; i++) {
            if (log[i].kind == SDI_OP_WRITE || log[i].kind == SDI_OP_TRUNCATE) written = true;
            if (log[i].kind == SDI_OP_SYNC) written = false;
            if (log[i].kind == SDI_OP_RENAME) CHECK(!written);
        }
        CHECK(!written);
        test_faulty_end(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(any_call_may_fail_with_sync_at_each_commit),
        cmocka_unit_test(any_call_may_fail_while_the_map_grows),
        cmocka_unit_test(any_call_of_opening_may_fail),
        cmocka_unit_test(any_call_of_creating_may_fail),
        cmocka_unit_test(any_call_of_a_repair_may_fail),
        cmocka_unit_test(a_failed_sync_poisons_and_is_not_repeated),
        cmocka_unit_test(a_failed_background_sync_poisons),
        cmocka_unit_test(sync_at_commit_syncs_behind_the_last_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
