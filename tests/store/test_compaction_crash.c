/* SPDX-License-Identifier: Apache-2.0
 *
 * test_compaction_crash.c — a compaction that stops anywhere leaves the old or the new file, complete; what it leaves
 * behind goes with the next one; files of the user are not touched, links are followed, rights are kept.
 */
#include "support/faulty.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

/* Names a program might use for its own work files, all the user's here. */
static const char *const USER_FILES[] = {"store.bk",     "store.tmp",        "store~",         "store.compact",
                                         "store.new",    "store.compacting", ".store.tmp",     "store.tail-0",
                                         "store.old",    "store.compact-",   ".store.swp",     "store.compact-mine",
                                         "store2",       "store.compact-12", "store.compact.1"};
enum { USER_FILE_COUNT = sizeof USER_FILES / sizeof USER_FILES[0] };

static void put_user_files(const test_folder *folder) {
    char path[TEST_PATH_MAX];
    for (size_t i = 0; i < USER_FILE_COUNT; i++)
        test_file_put(test_path(folder, USER_FILES[i], path), USER_FILES[i], strlen(USER_FILES[i]));
}

static void check_user_files(const test_folder *folder) {
    char path[TEST_PATH_MAX];
    for (size_t i = 0; i < USER_FILE_COUNT; i++)
        CHECK(test_file_equals(test_path(folder, USER_FILES[i], path), USER_FILES[i], strlen(USER_FILES[i])));
}

static void check_old_or_new(const char *path, const test_image *before, const test_image *after) {
    CHECK(test_file_is(path, test_file_size(path) == before->size ? before : after));
}

/* From the n-th call on nothing reaches the file system any more, as when the process has died there. */
static bool stop_at(uint64_t nth, uint64_t effect) {
    test_faulty f;
    test_faulty_begin(&f, NULL);
    put_user_files(&f.folder);
    test_image after;
    test_image_clone(&f.before, &after);
    test_image_compact(&after);
    test_fault dead = {SIMDRIVE_ERROR_IO, EIO, effect, true};
    test_faulty_arm(&f, &dead, nth);
    simdrive_status status = simdrive_compact(f.store, NULL, NULL);
    simdrive_close(f.store);
    f.store = NULL;
    bool stopped = sdi_fault_os_disarm(f.faults) > 0;
    if (!stopped) CHECK_OK(status);
    check_old_or_new(f.path, &f.before, &after);
    check_user_files(&f.folder);

    f.store = test_open(f.path);
    CHECK_OK(simdrive_write(f.store, "goes on", 7, "value", 5, NULL));
    test_image_put(&after, simdrive_hash_key("goes on", 7), "value", 5);
    CHECK_OK(simdrive_compact(f.store, NULL, NULL));
    test_check_shows(f.store, &after);
    CHECK(test_file_equals(f.path, after.bytes, after.size));
    check_user_files(&f.folder);
    CHECK_U64(2 + USER_FILE_COUNT, test_folder_count(&f.folder, "", NULL)); /* the two stores, and the user's files */
    test_image_free(&after);
    test_faulty_end(&f);
    return stopped;
}

static void a_stop_at_any_call_leaves_the_old_or_the_new_file(void **state) {
    (void)state;
    static const uint64_t effects[] = {0, 100, SDI_FAULT_WHOLE};
    for (size_t e = 0; e < 3; e++) {
        bool stopped = true;
        for (uint64_t nth = 1; stopped; nth++) {
            test_context("compaction stops at call %llu, effect %llu", (unsigned long long)nth,
                         (unsigned long long)effects[e]);
            stopped = stop_at(nth, effects[e]);
            CHECK(nth < 500);
        }
    }
}

/* --- the same while writers outpace the copy, and it takes turns with them ---------------------------------------- */

enum { FAST_KEYS = 16, FAST_PAYLOAD = 256 << 10, FAST_FIRST = 40, FAST_MORE = 4 };

typedef struct fast_writer {
    test_faulty *f;
    uint64_t versions[FAST_KEYS]; /* acknowledged */
    uint64_t next;
    bool dead, was_in_turn;
    uint64_t turns;
    uint64_t payload[FAST_PAYLOAD / sizeof(uint64_t)];
} fast_writer;

/* ERROR_BUSY in a turn: this thread has the place. */
static simdrive_status fast_write(fast_writer *w) {
    uint64_t key = w->next % FAST_KEYS;
    for (size_t i = 0; i < FAST_PAYLOAD / sizeof(uint64_t); i++) w->payload[i] = w->next;
    simdrive_status status = simdrive_write_hash(w->f->store, test_key_hash(100 + key), w->payload, FAST_PAYLOAD, NULL);
    if (status == SIMDRIVE_OK) w->versions[key] = w->next++;
    return status;
}

static void write_beside_the_copy(void *user, sdi_fault_kind kind, const char *path) {
    fast_writer *w = user;
    if ((kind != SDI_FAULT_WRITE_PIECES_AT && kind != SDI_FAULT_SYNC) || !strstr(path, ".compact-") || w->dead) return;
    simdrive_status status = SIMDRIVE_OK;
    uint64_t count = w->next < 2 * FAST_KEYS + FAST_FIRST ? FAST_FIRST : FAST_MORE;
    for (uint64_t i = 0; i < count && status == SIMDRIVE_OK; i++) status = fast_write(w);
    bool in_turn = status == SIMDRIVE_ERROR_BUSY;
    w->turns += in_turn && !w->was_in_turn;
    w->was_in_turn = in_turn;
    w->dead = status != SIMDRIVE_OK && !in_turn;
}

static void check_fast(simdrive_store *store, const fast_writer *w) {
    for (uint64_t key = 0; key < FAST_KEYS; key++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, test_key_hash(100 + key), &entry));
        CHECK_U64(FAST_PAYLOAD, entry.size);
        CHECK(memcmp(entry.data, &w->versions[key], 8) == 0);
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
}

/* Returns whether it was stopped; what was acknowledged before is in the file that is found. */
static bool stop_while_outpaced_at(uint64_t nth) {
    test_faulty f;
    test_faulty_begin(&f, NULL);
    fast_writer *w = test_alloc(sizeof *w);
    memset(w, 0, sizeof *w);
    w->f = &f;
    while (w->next < 2 * FAST_KEYS) CHECK_OK(fast_write(w));
    test_fault dead = {SIMDRIVE_ERROR_IO, EIO, 0, true};
    test_faulty_arm(&f, &dead, nth);
    sdi_fault_os_set_hook(f.faults, write_beside_the_copy, w);
    simdrive_status status = simdrive_compact(f.store, NULL, NULL);
    sdi_fault_os_set_hook(f.faults, NULL, NULL);
    simdrive_close(f.store);
    f.store = NULL;
    bool stopped = sdi_fault_os_disarm(f.faults) > 0;
    if (!stopped) {
        CHECK_OK(status);
        CHECK(w->turns > 2);
    }
    f.store = test_open(f.path);
    check_fast(f.store, w);
    CHECK_OK(simdrive_compact(f.store, NULL, NULL));
    check_fast(f.store, w);
    /* A write that was stopped in the middle left a part of it, which the next one has moved aside. */
    CHECK_U64(2, test_folder_count(&f.folder, "", NULL) - test_folder_count(&f.folder, "store.tail-", NULL));
    free(w);
    test_faulty_end(&f);
    return stopped;
}

static void a_stop_while_taking_turns_loses_nothing(void **state) {
    (void)state;
    bool stopped = true;
    uint64_t stops = 0;
    for (uint64_t nth = 1; stopped; nth += test_exhaustive() ? 1 : 61, stops++) {
        test_context("outpaced compaction stops at call %llu", (unsigned long long)nth);
        stopped = stop_while_outpaced_at(nth);
        CHECK(nth < 4000);
    }
    CHECK(stops > 1);
}

/* Data first, then the name, then the folder: the order that a loss of power cannot break. */
static void the_new_file_is_durable_before_it_has_the_name(void **state) {
    (void)state;
    test_context("order of compaction's calls");
    test_faulty f;
    test_faulty_begin(&f, NULL);
    sdi_fault_os_record(f.faults, true);
    CHECK_OK(simdrive_compact(f.store, NULL, NULL));
    size_t count, renames = 0;
    const sdi_fault_op *log = sdi_fault_os_log(f.faults, &count);
    bool unsynced = false, folder_unsynced = false;
    for (size_t i = 0; i < count; i++) {
        if (log[i].kind == SDI_OP_WRITE || log[i].kind == SDI_OP_TRUNCATE) unsynced = true;
        if (log[i].kind == SDI_OP_SYNC) unsynced = false;
        if (log[i].kind == SDI_OP_RENAME) {
            CHECK(!unsynced);
            CHECK(strcmp(strrchr(log[i].to_path, '/'), "/store") == 0);
            folder_unsynced = true;
            renames++;
        }
        if (log[i].kind == SDI_OP_SYNC_FOLDER) folder_unsynced = false;
    }
    CHECK(renames == 1 && !unsynced && !folder_unsynced);
    test_faulty_end(&f);
}

static void links_are_followed_and_rights_are_kept(void **state) {
    (void)state;
    test_context("compaction through a symbolic link");
    static const mode_t modes[] = {0600, 0640, 0664, 0400 | 0200 | 0004};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        test_folder folder = test_folder_create();
        char target[TEST_PATH_MAX], link_path[TEST_PATH_MAX], below[TEST_PATH_MAX];
        CHECK(mkdir(test_path(&folder, "elsewhere", below), 0700) == 0);
        test_path(&folder, "elsewhere/target", target);
        test_path(&folder, "link", link_path);
        CHECK(symlink("elsewhere/target", link_path) == 0);
        simdrive_store *store = test_open(link_path);
        CHECK(chmod(target, modes[i]) == 0);
        if (getuid() == 0) CHECK(chown(target, 1234, 2345) == 0);
        CHECK_OK(simdrive_write(store, "k", 1, "old", 3, NULL));
        CHECK_OK(simdrive_write(store, "k", 1, "new", 3, NULL));
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        CHECK_OK(simdrive_write(store, "l", 1, "more", 4, NULL));
        CHECK_OK(simdrive_close(store));
        struct stat found;
        CHECK(lstat(link_path, &found) == 0 && S_ISLNK(found.st_mode));
        CHECK(stat(target, &found) == 0 && (found.st_mode & 07777) == modes[i]);
        if (getuid() == 0) CHECK(found.st_uid == 1234 && found.st_gid == 2345);
        test_image image = {0};
        test_image_put(&image, simdrive_hash_key("k", 1), "new", 3);
        test_image_put(&image, simdrive_hash_key("l", 1), "more", 4);
        CHECK(test_file_is(target, &image));
        CHECK_U64(2, test_folder_count(&folder, "", NULL));
        test_image_free(&image);
        test_folder_remove(&folder);
    }
}

/* The new file is not readable for others while it has not got its rights yet. */
static void watch_rights(void *user, sdi_fault_kind kind, const char *path) {
    const test_folder *folder = user;
    (void)kind;
    (void)path;
    char name[TEST_PATH_MAX], full[2 * TEST_PATH_MAX];
    if (test_folder_count(folder, "", NULL) < 3) return;
    if (test_folder_count(folder, ".", name) == 0 && test_folder_count(folder, "store.", name) == 0) return;
    snprintf(full, sizeof full, "%s/%s", folder->path, name);
    struct stat found;
    CHECK(lstat(full, &found) != 0 || (found.st_mode & 077) == 0);
}

static void secrets_stay_secret_while_compacting(void **state) {
    (void)state;
    test_context("rights of the file under construction");
    test_faulty f;
    test_faulty_begin(&f, NULL);
    CHECK(chmod(f.path, 0600) == 0);
    sdi_fault_os_set_hook(f.faults, watch_rights, &f.folder);
    CHECK_OK(simdrive_compact(f.store, NULL, NULL));
    sdi_fault_os_set_hook(f.faults, NULL, NULL);
    test_faulty_end(&f);
}

static void damage_is_not_laundered(void **state) {
    (void)state;
    test_context("compaction of a store with a flipped bit");
    test_faulty f;
    test_faulty_begin(&f, NULL);
    const test_record *record = test_image_find(&f.before, test_key_hash(6));
    f.before.bytes[record->start + 5] ^= 4;
    CHECK_OK(simdrive_close(f.store));
    test_file_put(f.path, f.before.bytes, f.before.size);
    f.store = test_open(f.path);
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_compact(f.store, NULL, NULL));
    CHECK(test_file_equals(f.path, f.before.bytes, f.before.size));
    CHECK_U64(2, test_folder_count(&f.folder, "", NULL));
    simdrive_entry entry = {0};
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_read_hash(f.store, test_key_hash(6), &entry));
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_copy(f.store, "key-6", 5, f.other, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, simdrive_rename(f.store, "key-6", 5, "n", 1, NULL));
    CHECK_OK(simdrive_write_hash(f.store, test_key_hash(6), "whole again", 11, NULL));
    CHECK_OK(simdrive_compact(f.store, NULL, NULL));
    CHECK_OK(simdrive_verify(f.store, NULL, NULL, NULL, NULL));
    test_faulty_end(&f);
}

typedef struct cancel_state {
    uint64_t calls, last_done;
} cancel_state;

static simdrive_status cancel(void *user, uint64_t done, uint64_t total) {
    cancel_state *cancelling = user;
    CHECK(done <= total && done >= cancelling->last_done);
    cancelling->last_done = done;
    return ++cancelling->calls > 1 ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK;
}

static void a_cancelled_compaction_leaves_the_store_as_it_was(void **state) {
    (void)state;
    test_context("cancelled compaction");
    test_faulty f;
    test_faulty_begin(&f, NULL);
    uint8_t *payload = test_alloc(10 << 20);
    memset(payload, 3, 10 << 20);
    for (uint64_t i = 0; i < 15; i++) CHECK_OK(simdrive_write_hash(f.store, i % 14, payload, 10 << 20, NULL));
    free(payload);
    uint64_t tail = simdrive_tail(f.store);
    cancel_state cancelling = {0};
    simdrive_work_options options = {.struct_size = sizeof options, .progress = cancel, .user = &cancelling};
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_compact(f.store, &options, NULL));
    CHECK_U64(2, cancelling.calls);
    CHECK_U64(tail, simdrive_tail(f.store));
    CHECK_U64(tail, test_file_size(f.path));
    CHECK_U64(2, test_folder_count(&f.folder, "", NULL));
    test_faulty_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_at_any_call_leaves_the_old_or_the_new_file),
        cmocka_unit_test(a_stop_while_taking_turns_loses_nothing),
        cmocka_unit_test(the_new_file_is_durable_before_it_has_the_name),
        cmocka_unit_test(links_are_followed_and_rights_are_kept),
        cmocka_unit_test(secrets_stay_secret_while_compacting),
        cmocka_unit_test(damage_is_not_laundered),
        cmocka_unit_test(a_cancelled_compaction_leaves_the_store_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
