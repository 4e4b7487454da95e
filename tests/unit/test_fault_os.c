/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fault_os.c — the system that the fault tests lean on fails exactly what it is told to, and remembers exactly
 * what happened.
 */
#include "fault_os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "files.h"

static sdi_fault_os *faults;
static const sdi_os *os;
static test_folder folder;
static char path[TEST_PATH_MAX];
static char other_path[TEST_PATH_MAX];

static int begin(void **state) {
    (void)state;
    faults = sdi_fault_os_create();
    os = sdi_fault_os_table(faults);
    folder = test_folder_create();
    test_path(&folder, "file", path);
    test_path(&folder, "other", other_path);
    return 0;
}

static int end(void **state) {
    (void)state;
    sdi_fault_os_destroy(faults);
    test_folder_remove(&folder);
    return 0;
}

static sdi_file *open_file(const char *name) {
    sdi_file *file = NULL;
    CHECK_OK(os->open(os, name, SDI_OPEN_CREATE, 0666, &file));
    return file;
}

static void arm(sdi_fault_kind kind, uint64_t nth, uint64_t effect) {
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = kind,
                                               .nth = nth,
                                               .effect = effect,
                                               .status = SIMDRIVE_ERROR_NO_SPACE,
                                               .os_error = ENOSPC});
}

static void the_nth_call_of_a_kind_fails_once(void **state) {
    (void)state;
    sdi_file *file = open_file(path);
    arm(SDI_FAULT_WRITE_AT, 2, 0);
    CHECK_OK(os->write_at(os, file, 0, "a", 1));
    CHECK_OK(os->sync(os, file));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, file, 1, "b", 1));
    CHECK_U64(ENOSPC, sdi_get_os_error());
    CHECK_OK(os->write_at(os, file, 1, "c", 1));
    CHECK_U64(1, sdi_fault_os_disarm(faults));
    CHECK_U64(0, sdi_fault_os_disarm(faults));
    CHECK_U64(3, sdi_fault_os_count(faults, SDI_FAULT_WRITE_AT));
    CHECK_U64(5, sdi_fault_os_count(faults, SDI_FAULT_ANY));
    CHECK_U64(4, sdi_fault_os_count(faults, SDI_FAULT_ANY_CHANGE));
    CHECK(test_file_equals(path, "ac", 2));
    os->close(os, file);
}

static void a_lasting_fault_lasts_until_it_is_dropped(void **state) {
    (void)state;
    sdi_file *file = open_file(path);
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY,
                                               .nth = 2,
                                               .for_ever = true,
                                               .status = SIMDRIVE_ERROR_IO,
                                               .os_error = EIO});
    CHECK_OK(os->sync(os, file));
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->sync(os, file));
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->truncate(os, file, 7));
    CHECK_U64(2, sdi_fault_os_disarm(faults));
    CHECK_OK(os->sync(os, file));
    CHECK_U64(0, test_file_size(path));
    os->close(os, file);
}

static void a_torn_write_leaves_its_first_bytes(void **state) {
    (void)state;
    simdrive_bytes pieces[] = {{"one", 3}, {"", 0}, {"two", 3}, {"three", 5}};
    sdi_file *file = open_file(path);
    arm(SDI_FAULT_WRITE_AT, 1, 2);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, file, 0, "12345", 5));
    CHECK(test_file_equals(path, "12", 2));
    arm(SDI_FAULT_WRITE_PIECES_AT, 1, 5);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_pieces_at(os, file, 0, pieces, 4));
    CHECK(test_file_equals(path, "onetw", 5));
    arm(SDI_FAULT_WRITE_AT, 1, SDI_FAULT_WHOLE);
    sdi_fault_os_disarm(faults);
    os->close(os, file);
}

static void a_call_may_happen_and_still_report_failure(void **state) {
    (void)state;
    os->close(os, open_file(path));
    arm(SDI_FAULT_RENAME, 1, SDI_FAULT_WHOLE);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->rename(os, path, other_path));
    CHECK(test_file_exists(other_path) && !test_file_exists(path));
    arm(SDI_FAULT_UNLINK, 1, 0);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->unlink(os, other_path));
    CHECK(test_file_exists(other_path));
}

/* Every kind that can fail, tried one by one: nothing handed out, nothing leaked. */
static simdrive_status call_everything(void) {
    sdi_file_info info;
    char *name = NULL;
    const uint8_t *base = NULL;
    char byte;
    sdi_file *file = NULL;
    simdrive_bytes piece = {"y", 1};
    uint64_t copied;
    simdrive_status status = os->open(os, path, SDI_OPEN_CREATE, 0666, &file);
    if (status == SIMDRIVE_OK) status = os->info(os, file, &info);
    if (status == SIMDRIVE_OK) status = os->path_info(os, path, &info);
    if (status == SIMDRIVE_OK) status = os->lock(os, file);
    if (status == SIMDRIVE_OK) status = os->write_at(os, file, 0, "x", 1);
    if (status == SIMDRIVE_OK) status = os->write_pieces_at(os, file, 1, &piece, 1);
    if (status == SIMDRIVE_OK) status = os->read_at(os, file, 0, &byte, 1);
    if (status == SIMDRIVE_OK) status = os->copy_range(os, file, 0, file, 2, 1, &copied);
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) status = SIMDRIVE_OK;
    if (status == SIMDRIVE_OK) status = os->copy_attributes(os, file, file);
    if (status == SIMDRIVE_OK) status = os->truncate(os, file, 1);
    if (status == SIMDRIVE_OK) status = os->sync(os, file);
    if (status == SIMDRIVE_OK) status = os->map(os, file, 1, &base);
    if (base != NULL) os->advise(os, base, 1, SDI_ADVICE_WILL_NEED);
    if (base != NULL) os->unmap(os, base, 1);
    if (status == SIMDRIVE_OK) status = os->resolve(os, path, &name);
    if (status == SIMDRIVE_OK) status = os->rename(os, path, other_path);
    if (status == SIMDRIVE_OK) status = os->rename_new(os, other_path, path);
    if (status == SIMDRIVE_OK) status = os->sync_folder_of(os, path);
    if (status == SIMDRIVE_OK) status = os->unlink(os, path);
    os->close(os, file);
    free(name);
    return status;
}

static void a_sweep_meets_every_call_and_ends(void **state) {
    (void)state;
    uint64_t calls = 0;
    for (uint64_t nth = 1;; nth++) {
        arm(SDI_FAULT_ANY, nth, 0);
        simdrive_status status = call_everything();
        if (sdi_fault_os_disarm(faults) == 0) {
            CHECK_OK(status);
            break;
        }
        CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, status);
        calls++;
    }
    CHECK_U64(17, calls);
}

typedef struct watcher {
    unsigned calls;
    sdi_fault_kind last;
    bool path_right;
} watcher;

static void watch(void *user, sdi_fault_kind kind, const char *called_path) {
    watcher *seen = user;
    seen->calls++;
    seen->last = kind;
    seen->path_right = called_path != NULL && strcmp(called_path, path) == 0;
    sdi_fault_os_count(faults, kind); /* no lock is held here */
}

static void the_hook_runs_before_each_call(void **state) {
    (void)state;
    watcher seen = {0};
    sdi_fault_os_set_hook(faults, watch, &seen);
    sdi_file *file = open_file(path);
    CHECK(seen.calls == 1 && seen.last == SDI_FAULT_OPEN && seen.path_right);
    CHECK_OK(os->sync(os, file));
    CHECK(seen.calls == 2 && seen.last == SDI_FAULT_SYNC && seen.path_right);
    sdi_fault_os_set_hook(faults, NULL, NULL);
    os->close(os, file);
    CHECK(seen.calls == 2);
}

/* "kind file offset+size data" for each operation, for comparison as text. */
static void describe_log(char *out, size_t room) {
    static const char *const names[] = {"attach", "create", "write",       "truncate", "sync",
                                        "rename", "unlink", "sync_folder", "mark"};
    size_t count;
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < count; i++) {
        const char *data = log[i].data != NULL ? (const char *)log[i].data : "";
        int data_size = log[i].data != NULL ? (int)log[i].size : 0;
        int length = snprintf(out + used, room - used, "%s%s %d %d+%d %.*s", i > 0 ? "; " : "", names[log[i].kind],
                              (int)log[i].file, (int)log[i].offset, (int)log[i].size, data_size, data);
        CHECK(length > 0 && (size_t)length < room - used);
        used += (size_t)length;
    }
}

static void check_log(const char *expected) {
    char seen[1000];
    describe_log(seen, sizeof seen);
    if (strcmp(expected, seen) != 0) test_failed(__FILE__, __LINE__, seen);
}

static void what_changes_is_remembered_in_order(void **state) {
    (void)state;
    simdrive_bytes pieces[] = {{"cd", 2}, {"ef", 2}};
    test_file_put(other_path, "old", 3);
    sdi_file *early = open_file(other_path);
    sdi_fault_os_record(faults, true);
    sdi_file *file = open_file(path);
    CHECK_OK(os->write_at(os, file, 0, "ab", 2));
    CHECK_OK(os->write_pieces_at(os, file, 2, pieces, 2));
    sdi_fault_os_mark(faults, 5);
    CHECK_OK(os->truncate(os, early, 2));
    arm(SDI_FAULT_WRITE_AT, 1, 1);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, early, 2, "xyz", 3));
    arm(SDI_FAULT_SYNC, 1, 0);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->sync(os, early));
    CHECK_OK(os->sync(os, file));
    CHECK_OK(os->rename(os, path, other_path));
    os->close(os, file);
    file = open_file(other_path);
    CHECK_OK(os->write_at(os, file, 6, "g", 1));
    CHECK_OK(os->sync_folder_of(os, path));
    CHECK_OK(os->unlink(os, other_path));
    check_log("create 1 0+0 ; write 1 0+2 ab; write 1 2+4 cdef; mark 0 0+0 ; attach 2 0+3 old; truncate 2 0+2 ; "
              "write 2 2+1 x; sync 1 0+0 ; rename 0 0+0 ; write 1 6+1 g; sync_folder 0 0+0 ; unlink 0 0+0 ");
    os->close(os, file);
    os->close(os, early);
}

static void a_new_log_begins_empty_and_numbers_anew(void **state) {
    (void)state;
    sdi_file *file = open_file(path);
    sdi_fault_os_record(faults, true);
    CHECK_OK(os->write_at(os, file, 0, "a", 1));
    sdi_fault_os_record(faults, false);
    CHECK_OK(os->write_at(os, file, 0, "b", 1));
    check_log("attach 1 0+0 ; write 1 0+1 a");
    sdi_fault_os_record(faults, true);
    check_log("");
    sdi_file *other = open_file(other_path);
    CHECK_OK(os->write_at(os, file, 0, "c", 1));
    check_log("create 1 0+0 ; attach 2 0+1 b; write 2 0+1 c");
    os->close(os, other);
    os->close(os, file);
}

#define WITH_FAULTS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FAULTS(the_nth_call_of_a_kind_fails_once),
        WITH_FAULTS(a_lasting_fault_lasts_until_it_is_dropped),
        WITH_FAULTS(a_torn_write_leaves_its_first_bytes),
        WITH_FAULTS(a_call_may_happen_and_still_report_failure),
        WITH_FAULTS(a_sweep_meets_every_call_and_ends),
        WITH_FAULTS(the_hook_runs_before_each_call),
        WITH_FAULTS(what_changes_is_remembered_in_order),
        WITH_FAULTS(a_new_log_begins_empty_and_numbers_anew),
    };
    return cmocka_run_group_tests_name("fault_os", tests, NULL, NULL);
}
