/* SPDX-License-Identifier: Apache-2.0
 *
 * test_backup_crash.c — backups that are interrupted: by the death of the process and by the loss of power at any call
 * (support/disk.h), and by any call of the system that fails. The store is as before in all cases. A new backup is not
 * there or complete; one that is brought up to date has its old content or the new one, nothing in between, and the
 * next update completes it, whatever was left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "support/disk.h"
#include "support/faulty.h"

enum { ATOMIC_BYTES = 8, MIB = 1 << 20 };

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], backup[TEST_PATH_MAX]; /* as in the record */
    char state[TEST_PATH_MAX];                       /* of the backup, under test */
    test_image image;                                /* of the store */
    test_image old;                                  /* of the backup; empty: none */
    test_random random;
    size_t samples; /* losses of power at each call */
    unsigned depth; /* updates of what interrupted updates have left */
} bench;

static void bench_begin(bench *b) {
    memset(b, 0, sizeof *b);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "backup", b->backup);
    test_path(&b->folder, "state", b->state);
    b->random = test_random_begin(910);
    b->samples = test_exhaustive() ? 500 : 12;
}

static void bench_end(bench *b) {
    test_image_free(&b->image);
    test_image_free(&b->old);
    test_folder_remove(&b->folder);
}

/* The store has the image, the backup its first `entries`. */
static void bench_fill(bench *b, size_t entries) {
    test_file_put(b->path, b->image.bytes, b->image.size);
    test_image_free(&b->old);
    memset(&b->old, 0, sizeof b->old);
    if (entries > 0) test_image_parse(&b->old, b->image.bytes, b->image.records[entries - 1].tail);
}

/* For reading only, so that it can be opened again meanwhile. */
static simdrive_store *open_on(sdi_fault_os *faults, const char *path) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *store = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), path, &options, &store));
    return store;
}

/* --- crashes ----------------------------------------------------------------------------------------------------- */

typedef simdrive_status (*backup_call)(simdrive_store *store, const char *path, const simdrive_work_options *options,
                                       simdrive_report *report);

static void explore(bench *b, const char *name, backup_call call, const uint8_t *left, size_t left_size);

/* Whether the file shows the image; checked through and through, when it has the image's tail. */
static bool shows(const char *path, const test_image *image) {
    simdrive_store *store = test_open_read_only(path);
    bool same = simdrive_tail(store) == image->size;
    if (same) test_check_shows(store, image);
    CHECK_OK(simdrive_close(store));
    return same;
}

static void check_updated_state(bench *b, const test_disk_file *found, bool complete) {
    CHECK(found);
    test_file_put(b->state, found->bytes, found->size);
    bool is_new = shows(b->state, &b->image);
    CHECK(complete ? is_new : is_new || shows(b->state, &b->old));
    simdrive_store *store = test_open_read_only(b->path);
    CHECK_OK(simdrive_backup_update(store, b->state, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    CHECK(test_file_equals(b->state, b->image.bytes, b->image.size));
    if (b->depth == 0 || is_new || test_random_below(&b->random, 100) > 0) return;
    b->depth--; /* interrupted once more */
    explore(b, "update of an interrupted update", simdrive_backup_update, found->bytes, found->size);
    b->depth++;
}

static void check_new_state(bench *b, const test_disk_file *found, bool complete) {
    CHECK(found || !complete);
    if (!found) return;
    CHECK_U64(b->image.size, found->size);
    CHECK(memcmp(found->bytes, b->image.bytes, found->size) == 0);
}

static void check_state(bench *b, test_disk *d, backup_call call, bool complete) {
    const test_disk_file *found = test_disk_find(d, b->backup);
    if (call == simdrive_backup) check_new_state(b, found, complete);
    else check_updated_state(b, found, complete);
    CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
}

/* Writes of few bytes within a sector are all or nothing, as the engine relies on. */
static void explore_torn_write(bench *b, const sdi_fault_op *log, size_t i, const char *name, backup_call call) {
    if (log[i].kind != SDI_OP_WRITE || log[i].size <= ATOMIC_BYTES) return;
    size_t size = (size_t)log[i].size, tries = size < 32 ? size : b->samples;
    for (size_t t = 0; t < tries; t++) {
        sdi_fault_op torn = log[i];
        torn.size = size < 32 ? t : t < 6 ? size - 1 - 4 * t : test_random_below(&b->random, size);
        test_context("%s: process dies after %zu of %zu bytes of operation %zu", name, (size_t)torn.size, size, i);
        test_disk d = {0};
        for (size_t k = 0; k < i; k++) test_disk_apply(&d, &log[k]);
        test_disk_apply(&d, &torn);
        check_state(b, &d, call, false);
        test_disk_free(&d);
    }
}

static void explore_log(bench *b, const sdi_fault_op *log, size_t count, const char *name, backup_call call) {
    for (size_t i = 0; i <= count; i++) {
        if (i < count && log[i].kind == SDI_OP_ATTACH) continue;
        test_context("%s: process dies before operation %zu of %zu", name, i, count);
        test_disk d = {0};
        for (size_t k = 0; k < i; k++) test_disk_apply(&d, &log[k]);
        check_state(b, &d, call, i == count);
        test_disk_free(&d);
        if (i < count) explore_torn_write(b, log, i, name, call);
        for (size_t sample = 0; sample < b->samples; sample++) {
            test_context("%s: power fails before operation %zu of %zu, sample %zu", name, i, count, sample);
            test_disk_lose_power(&d, log, i, &b->random);
            check_state(b, &d, call, i == count);
            test_disk_free(&d);
        }
    }
}

/* Records the call on top of a backup file of these bytes (NULL: none), and looks at all that a crash can leave. */
static void explore(bench *b, const char *name, backup_call call, const uint8_t *left, size_t left_size) {
    sdi_fault_os *faults = sdi_fault_os_create();
    size_t count;
    remove(b->backup);
    if (left) test_file_put(b->backup, left, left_size);
    test_context("%s: recording", name);
    simdrive_store *store = open_on(faults, b->path);
    sdi_fault_os_record(faults, true);
    CHECK_OK(call(store, b->backup, NULL, NULL));
    sdi_fault_os_record(faults, false);
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    explore_log(b, log, count, name, call);
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
}

static void a_crash_leaves_no_new_backup_or_a_complete_one(void **state) {
    (void)state;
    for (int shape = 0; shape < TEST_SHAPE_COUNT; shape++) {
        bench b;
        bench_begin(&b);
        test_image_generate(&b.image, (test_shape)shape, 20, 200, &b.random);
        bench_fill(&b, 0);
        explore(&b, test_shape_name((test_shape)shape), simdrive_backup, NULL, 0);
        bench_end(&b);
    }
}

static void a_crash_leaves_the_old_backup_or_the_new_one(void **state) {
    (void)state;
    for (int shape = 0; shape < TEST_SHAPE_COUNT; shape++) {
        bench b;
        bench_begin(&b);
        b.depth = 2;
        test_image_generate(&b.image, (test_shape)shape, 20, 200, &b.random);
        for (size_t entries = 1; entries < b.image.count; entries += 1 + test_random_below(&b.random, 5)) {
            bench_fill(&b, entries);
            explore(&b, test_shape_name((test_shape)shape), simdrive_backup_update, b.old.bytes, b.old.size);
        }
        bench_fill(&b, b.image.count - 1);
        explore(&b, test_shape_name((test_shape)shape), simdrive_backup_update, b.old.bytes, b.old.size);
        bench_end(&b);
    }
}

static void a_crash_leaves_an_empty_backup_or_the_new_one(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 9, 500, 3000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bench b;
        char name[64];
        uint8_t payload[3000];
        bench_begin(&b);
        snprintf(name, sizeof name, "first entry of %zu bytes", sizes[i]);
        test_random_fill(&b.random, payload, sizeof payload);
        payload[0] = sdi_first_write_mark[0];
        test_image_put(&b.image, 1, payload, sizes[i]);
        test_image_put(&b.image, 2, payload, sizeof payload);
        bench_fill(&b, 0);
        explore(&b, name, simdrive_backup_update, (const uint8_t *)"", 0);
        explore(&b, name, simdrive_backup_update, (const uint8_t[100]){0}, 100);
        bench_end(&b);
    }
}

/* Losses of power before the sync that covers all of the data, the last but one. */
static void explore_large(bench *b) {
    sdi_fault_os *faults = sdi_fault_os_create();
    size_t count, syncs = 0;
    test_context("large update: recording");
    test_file_put(b->backup, b->old.bytes, b->old.size);
    simdrive_store *store = open_on(faults, b->path);
    sdi_fault_os_record(faults, true);
    CHECK_OK(simdrive_backup_update(store, b->backup, NULL, NULL));
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    size_t at = count;
    while (at > 0 && syncs < 2) syncs += log[--at].kind == SDI_OP_SYNC;
    for (size_t sample = 0; sample < b->samples; sample++) {
        test_disk d = {0};
        test_context("large update: power fails before operation %zu of %zu, sample %zu", at, count, sample);
        test_disk_lose_power(&d, log, at, &b->random);
        check_state(b, &d, simdrive_backup_update, false);
        test_disk_free(&d);
    }
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
}

/* More than recovery would take for the traces of a crash, were the first link not there to be found. */
static void a_crash_of_a_large_update_leaves_the_old_backup_or_the_new_one(void **state) {
    (void)state;
    bench b;
    bench_begin(&b);
    size_t size = (size_t)SDI_CHECK_WINDOW / 2 + MIB;
    uint8_t *payload = test_alloc(size);
    test_random_fill(&b.random, payload, size);
    test_image_generate(&b.image, TEST_SHAPE_TEXT, 10, 100, &b.random);
    size_t entries = b.image.count;
    test_image_put(&b.image, 1, payload, 700);
    test_image_put(&b.image, 2, payload, size);
    test_image_put(&b.image, 3, payload, size);
    test_image_put(&b.image, 4, payload, 700);
    bench_fill(&b, entries);
    b.samples = test_exhaustive() ? 50 : 3;
    explore_large(&b);
    free(payload);
    bench_end(&b);
}

/* --- calls that fail --------------------------------------------------------------------------------------------- */

static void check_after_failure(bench *b, const test_fault *fault, backup_call call, const uint8_t *left,
                                size_t left_size) {
    if (!fault->for_ever) CHECK_U64(0, test_folder_count(&b->folder, "backup.", NULL));
    if (!test_file_exists(b->backup)) {
        CHECK(call == simdrive_backup);
        return;
    }
    if (test_file_equals(b->backup, b->image.bytes, b->image.size)) {
        /* Complete, but its name may not be durable; or nothing was new; or what was written could not be cut off. */
        CHECK(call == simdrive_backup || left_size == 0 || left_size == b->image.size || fault->for_ever);
        return;
    }
    CHECK(call == simdrive_backup_update);
    bool untouched = test_file_equals(b->backup, left, left_size);
    bool cut = b->old.size > 0 && test_file_equals(b->backup, b->old.bytes, b->old.size);
    CHECK(untouched || cut || (fault->for_ever && shows(b->backup, &b->old)));
}

/* Returns false when there are fewer calls. */
static bool fail_nth(bench *b, backup_call call, const uint8_t *left, size_t left_size, const test_fault *fault,
                     uint64_t nth) {
    sdi_fault_os *faults = sdi_fault_os_create();
    if (left) test_file_put(b->backup, left, left_size);
    simdrive_store *store = open_on(faults, b->path);
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY, .nth = nth, .for_ever = fault->for_ever,
                                               .status = fault->status, .os_error = fault->os_error,
                                               .effect = fault->effect});
    simdrive_status status = call(store, b->backup, NULL, NULL);
    bool failed = sdi_fault_os_disarm(faults) > 0;
    if (!failed) CHECK_OK(status);
    if (status == SIMDRIVE_OK) CHECK(test_file_equals(b->backup, b->image.bytes, b->image.size));
    else check_after_failure(b, fault, call, left, left_size);
    test_check_shows(store, &b->image);
    CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
    if (test_file_exists(b->backup)) CHECK_OK(simdrive_backup_update(store, b->backup, NULL, NULL));
    else CHECK_OK(simdrive_backup(store, b->backup, NULL, NULL));
    CHECK(test_file_equals(b->backup, b->image.bytes, b->image.size));
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
    test_folder_remove(&b->folder);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "backup", b->backup);
    test_path(&b->folder, "state", b->state);
    test_file_put(b->path, b->image.bytes, b->image.size);
    return failed;
}

static void sweep(bench *b, const char *name, backup_call call, const uint8_t *left, size_t left_size) {
    for (size_t k = 0; k < TEST_FAULT_COUNT; k++) {
        for (uint64_t nth = 1;; nth++) {
            test_context("%s: call %llu fails as in TEST_FAULTS[%zu]", name, (unsigned long long)nth, k);
            if (!fail_nth(b, call, left, left_size, &TEST_FAULTS[k], nth)) break;
            CHECK(nth < 200);
        }
    }
}

static void any_call_of_a_backup_may_fail(void **state) {
    (void)state;
    bench b;
    bench_begin(&b);
    test_image_generate(&b.image, TEST_SHAPE_TOMBSTONES, 20, 300, &b.random);
    bench_fill(&b, 0);
    sweep(&b, "backup", simdrive_backup, NULL, 0);
    sweep(&b, "update of an empty file", simdrive_backup_update, (const uint8_t *)"", 0);
    bench_end(&b);
}

static void any_call_of_an_update_may_fail(void **state) {
    (void)state;
    bench b;
    bench_begin(&b);
    test_image_generate(&b.image, TEST_SHAPE_TOMBSTONES, 20, 300, &b.random);
    bench_fill(&b, 12);
    sweep(&b, "update", simdrive_backup_update, b.old.bytes, b.old.size);
    size_t size = b.old.size + 1000;
    uint8_t *torn = test_alloc(size);
    memcpy(torn, b.old.bytes, b.old.size);
    memset(torn + b.old.size, 0xA5, 1000);
    sweep(&b, "update of an interrupted update", simdrive_backup_update, torn, size);
    free(torn);
    bench_fill(&b, b.image.count);
    sweep(&b, "update with nothing new", simdrive_backup_update, b.old.bytes, b.old.size);
    bench_end(&b);
}

/* Each sync fails in turn: it is the last one of that call. */
static void a_failed_sync_is_not_repeated(void **state) {
    (void)state;
    bench b;
    bench_begin(&b);
    test_image_generate(&b.image, TEST_SHAPE_TEXT, 20, 300, &b.random);
    bench_fill(&b, 12);
    for (uint64_t nth = 1;; nth++) {
        sdi_fault_os *faults = sdi_fault_os_create();
        test_context("sync %llu fails", (unsigned long long)nth);
        test_file_put(b.backup, b.old.bytes, b.old.size);
        test_file_append(b.backup, "torn", 4);
        simdrive_store *store = open_on(faults, b.path);
        sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_SYNC, .nth = nth, .status = SIMDRIVE_ERROR_IO});
        simdrive_status status = simdrive_backup_update(store, b.backup, NULL, NULL);
        uint64_t failed = sdi_fault_os_disarm(faults), calls = sdi_fault_os_count(faults, SDI_FAULT_SYNC);
        CHECK_STATUS(failed ? SIMDRIVE_ERROR_IO : SIMDRIVE_OK, status);
        if (failed) CHECK_U64(nth, calls);
        if (failed) CHECK(test_file_equals(b.backup, b.old.bytes, b.old.size));
        CHECK_OK(simdrive_close(store));
        sdi_fault_os_destroy(faults);
        if (!failed) break;
    }
    bench_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_leaves_no_new_backup_or_a_complete_one),
        cmocka_unit_test(a_crash_leaves_the_old_backup_or_the_new_one),
        cmocka_unit_test(a_crash_leaves_an_empty_backup_or_the_new_one),
        cmocka_unit_test(a_crash_of_a_large_update_leaves_the_old_backup_or_the_new_one),
        cmocka_unit_test(any_call_of_a_backup_may_fail),
        cmocka_unit_test(any_call_of_an_update_may_fail),
        cmocka_unit_test(a_failed_sync_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
