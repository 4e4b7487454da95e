/* SPDX-License-Identifier: Apache-2.0
 *
 * test_crash_states.c — every piece of work is recorded as the calls that it makes of the system, and the states that
 * a crash can leave are built from the record:
 *
 *   death of the process  all calls up to some point, the last one torn anywhere;
 *   loss of power         besides, any 512-byte sectors of what was not synced yet may be missing, the size may have
 *                         grown or not, a renaming may have happened or not (checked where the policy is to sync).
 *
 * Each state, opened again, shows the store as before the work or as after it, nothing in between; and when the work
 * had returned, and was synced where power is lost, as after it.
 */
#include "support/disk.h"
#include "support/faulty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

enum { ATOMIC_BYTES = 8 };

typedef struct explorer {
    test_folder folder;
    char path[TEST_PATH_MAX];  /* of the state under test */
    char store[TEST_PATH_MAX]; /* the store's in the record */
    const test_image *before, *after;
    bool unmarked; /* a first entry too small for the mark of an unfinished first write */
    size_t states;
} explorer;

static void check_state(explorer *e, test_disk *d, bool acknowledged) {
    const test_disk_file *file = test_disk_find(d, e->store);
    if (file)
        test_file_put(e->path, file->bytes, file->size);
    else
        test_file_put(e->path, e->before->bytes, e->before->size); /* no call has touched it */
    simdrive_store *store = test_open(e->path);
    bool is_after = simdrive_tail(store) == e->after->size;
    if (acknowledged) CHECK(is_after);
    test_check_shows(store, is_after ? e->after : e->before);
    CHECK_OK(simdrive_close(store));
    e->states++;
}

/* Process death within operation `i`: all before it, and a part of it. The engine relies on writes of up to 8 bytes
 * within one sector being all or nothing, as processors and disks make them, and of a first entry so small that it has
 * no room for the mark. */
static void explore_torn_write(explorer *e, const sdi_fault_op *log, size_t i, const char *name, test_random *random) {
    if (log[i].size <= ATOMIC_BYTES || e->unmarked) return;
    size_t size = (size_t)log[i].size, tries = size < 64 ? size : 40;
    for (size_t t = 0; t < tries; t++) {
        sdi_fault_op torn = log[i];
        torn.size = size < 64 ? t : t < 12 ? size - 1 - 2 * t : test_random_below(random, size);
        test_context("%s: process dies after %zu of %zu bytes of operation %zu", name, (size_t)torn.size, size, i);
        if (torn.offset == 0 && torn.size < ATOMIC_BYTES) continue;
        test_disk d = {0};
        for (size_t k = 0; k < i; k++) test_disk_apply(&d, &log[k]);
        test_disk_apply(&d, &torn);
        check_state(e, &d, false);
        test_disk_free(&d);
    }
}

static void explore(explorer *e, const sdi_fault_op *log, size_t count, const char *name, bool synced,
                    test_random *random) {
    for (size_t i = 0; i <= count; i++) {
        if (i < count && log[i].kind == SDI_OP_ATTACH) continue;
        test_context("%s: process dies before operation %zu of %zu", name, i, count);
        test_disk d = {0};
        for (size_t k = 0; k < i; k++) test_disk_apply(&d, &log[k]);
        check_state(e, &d, i == count);
        test_disk_free(&d);
        if (i < count && log[i].kind == SDI_OP_WRITE) explore_torn_write(e, log, i, name, random);
        for (size_t sample = 0; synced && sample < (test_exhaustive() ? 2000 : 40); sample++) {
            test_context("%s: power fails before operation %zu of %zu, sample %zu", name, i, count, sample);
            test_disk_lose_power(&d, log, i, random);
            check_state(e, &d, i == count);
            test_disk_free(&d);
        }
    }
}

static void explore_work(const test_work *work, const simdrive_open_options *options, test_random *random) {
    test_faulty f;
    test_faulty_begin(&f, options);
    test_image after;
    test_image_clone(&f.before, &after);
    work->change(&after);
    sdi_fault_os_record(f.faults, true);
    CHECK_OK(work->run(&f));
    size_t count;
    const sdi_fault_op *log = sdi_fault_os_log(f.faults, &count);
    explorer e = {.folder = test_folder_create(), .before = &f.before, .after = &after};
    test_path(&e.folder, "store", e.path);
    snprintf(e.store, sizeof e.store, "%s", f.path);
    explore(&e, log, count, work->name, options && options->sync == SIMDRIVE_SYNC_COMMIT, random);
    test_folder_remove(&e.folder);
    test_image_free(&after);
    test_faulty_end(&f);
}

static bool leaves_a_prefix(const test_work *work) {
    return strstr(work->name, "plain") != NULL;
}

static void a_crash_leaves_the_store_before_or_after(void **state) {
    (void)state;
    if (test_appends_to_map()) skip(); /* the states are made of calls, and an append is none */
    test_random random = test_random_begin(800);
    simdrive_open_options synced = {.struct_size = sizeof synced, .sync = SIMDRIVE_SYNC_COMMIT};
    for (size_t w = 0; w < TEST_WORK_COUNT; w++) {
        if (leaves_a_prefix(&TEST_WORKS[w])) continue;
        explore_work(&TEST_WORKS[w], NULL, &random);
        explore_work(&TEST_WORKS[w], &synced, &random);
    }
}

/* The first entry of a new file: there is nothing below it that could prove a chain. */
static void explore_first_write(size_t entries, size_t size, simdrive_sync_policy sync, test_random *random) {
    char name[128];
    snprintf(name, sizeof name, "first write, %zu entries of %zu bytes, policy %d", entries, size, (int)sync);
    test_context("%s", name);
    test_folder folder = test_folder_create();
    simdrive_open_options options = {.struct_size = sizeof options, .sync = sync};
    sdi_fault_os *faults = sdi_fault_os_create();
    explorer e = {.folder = test_folder_create(), .unmarked = size < ATOMIC_BYTES};
    test_image empty = {0}, after = {0};
    e.before = &empty;
    e.after = &after;
    test_path(&e.folder, "store", e.path);
    test_path(&folder, "store", e.store);
    uint64_t hashes[4];
    simdrive_bytes payloads[4];
    uint8_t *bytes = test_alloc(size);
    test_random_fill(random, bytes, size);
    bytes[0] |= 1;
    for (size_t i = 0; i < entries; i++) {
        hashes[i] = test_key_hash(i);
        payloads[i] = (simdrive_bytes){bytes, size};
        test_image_put(&after, hashes[i], bytes, size);
    }
    sdi_fault_os_record(faults, true);
    simdrive_store *store = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), e.store, &options, &store));
    CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, entries, NULL));
    size_t count;
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    explore(&e, log, count, name, sync == SIMDRIVE_SYNC_COMMIT, random);
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
    free(bytes);
    test_image_free(&after);
    test_folder_remove(&e.folder);
    test_folder_remove(&folder);
}

static void a_crash_of_the_first_write_leaves_nothing_or_all(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 9, 30, 500, 3000, 40000};
    test_random random = test_random_begin(810);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t entries = 1; entries <= 4; entries += 3) {
            explore_first_write(entries, sizes[i], SIMDRIVE_SYNC_NONE, &random);
            explore_first_write(entries, sizes[i], SIMDRIVE_SYNC_COMMIT, &random);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_leaves_the_store_before_or_after),
        cmocka_unit_test(a_crash_of_the_first_write_leaves_nothing_or_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
