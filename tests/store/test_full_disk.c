/* SPDX-License-Identifier: Apache-2.0
 *
 * test_full_disk.c — small entries until a real disk is full, or a file may grow no more, in each append mode: an
 * error, never a signal; every acknowledged key is there; and once there is room the same handle goes on.
 *
 * The disks are a tmpfs and an ext4 on a loop device, mounted by a child in a mount namespace of its own, which go with
 * it. Where that is not allowed the test of that disk is skipped, and says so. Values are of their key.
 */
#include "support/stores.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    VALUE = 300,
    OVERWRITTEN = 50,    /* keys that are written again and again: what a compaction could save */
    KEYS_MAX = 400000,
    GOES_ON = 2000,
    TMPFS_MIB = 6,
    EXT4_MIB = 24,
    FILE_LIMIT = 3 << 20,
    BALLAST = 2 << 20    /* room that is freed at last */
};

typedef struct full_disk {
    test_folder folder;
    char disk[TEST_PATH_MAX]; /* where it is mounted */
    const char *type;         /* NULL: none, but a limit of the file's size */
    simdrive_append_mode mode;
} full_disk;

static void fill_value(uint8_t value[VALUE], uint64_t key) {
    for (size_t i = 0; i < VALUE; i++) value[i] = (uint8_t)(key * 7 + i + (key >> 8) + 1);
}

static simdrive_status put(simdrive_store *store, uint64_t key) {
    uint8_t value[VALUE];
    fill_value(value, key);
    return simdrive_write_hash(store, key, value, sizeof value, NULL);
}

static void check_keys(simdrive_store *store, uint64_t keys) {
    uint8_t value[VALUE];
    CHECK_U64(keys, simdrive_count(store));
    for (uint64_t key = 0; key < keys; key++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, key, &entry));
        fill_value(value, key);
        CHECK(entry.size == VALUE && memcmp(entry.data, value, VALUE) == 0);
        CHECK(simdrive_entry_is_valid(&entry));
        simdrive_entry_release(&entry);
    }
}

/* By another handle, which walks over the file. */
static void check_file_has(const char *path, uint64_t keys) {
    simdrive_store *reader = test_open_read_only(path);
    CHECK(test_info(reader).damage == SIMDRIVE_DAMAGE_NONE && test_info(reader).damaged_tail_bytes == 0);
    check_keys(reader, keys);
    CHECK_OK(simdrive_verify(reader, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(reader));
}

static void set_limit(rlim_t bytes) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static size_t names_beside(const char *path) {
    test_folder folder;
    snprintf(folder.path, sizeof folder.path, "%s", path);
    *strrchr(folder.path, '/') = 0;
    return test_folder_count(&folder, "", NULL);
}

/* Keys that are in the store when nothing goes any more; a refused write changes nothing, however often it is tried. */
static uint64_t write_until_full(simdrive_store *store) {
    uint64_t keys = 0;
    simdrive_status status = SIMDRIVE_OK;
    while (status == SIMDRIVE_OK && keys < KEYS_MAX) {
        status = put(store, keys);
        if (status != SIMDRIVE_OK) break;
        keys++;
        if (keys > OVERWRITTEN && keys % 5 == 0) status = put(store, keys % OVERWRITTEN);
    }
    uint64_t tail = simdrive_tail(store);
    for (int again = 0; again < 20; again++) {
        CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, status);
        status = put(store, keys);
    }
    CHECK(keys > 2000 && simdrive_tail(store) == tail);
    return keys;
}

/* The new file does not fit beside the old one: refused, and nothing of it is left. */
static void check_compaction_without_room(const full_disk *d, simdrive_store *store, const char *store_path,
                                          uint64_t keys) {
    size_t names = names_beside(store_path);
    uint64_t tail = simdrive_tail(store), saved = 1;
    if (!d->type) set_limit(FILE_LIMIT / 4);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, simdrive_compact(store, NULL, &saved));
    if (!d->type) set_limit(FILE_LIMIT);
    CHECK_U64(0, saved);
    CHECK_U64(tail, simdrive_tail(store));
    CHECK_U64(names, names_beside(store_path));
    check_keys(store, keys);
    check_file_has(store_path, keys);
}

static void fill_and_go_on(const full_disk *d, const char *store_path, void (*relieve)(const full_disk *d)) {
    simdrive_open_options options = {.struct_size = sizeof options, .append = d->mode};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(store_path, &options, &store));
    CHECK(put(store, 0) == SIMDRIVE_OK && put(store, 0) == SIMDRIVE_OK);
    bool mapped = test_info(store).append_map_used;
    CHECK(!mapped || d->mode == SIMDRIVE_APPEND_MAP || test_appends_to_map());
    uint64_t keys = write_until_full(store);
    simdrive_info info = test_info(store);
    CHECK(!info.poisoned && info.append_map_wanted == (d->mode == SIMDRIVE_APPEND_MAP || test_appends_to_map()));
    if (mapped) CHECK(!info.append_map_used && info.append_map_status == SIMDRIVE_ERROR_NO_SPACE);
    check_keys(store, keys);
    check_file_has(store_path, keys);
    check_compaction_without_room(d, store, store_path, keys);
    relieve(d);
    for (uint64_t more = 0; more < GOES_ON; more++) CHECK_OK(put(store, keys + more));
    info = test_info(store);
    CHECK(info.append_map_used == mapped && info.append_map_status != SIMDRIVE_ERROR_NO_SPACE);
    check_keys(store, keys + GOES_ON);
    if (!d->type) CHECK_OK(simdrive_compact(store, NULL, NULL));
    uint64_t tail = simdrive_tail(store);
    CHECK_OK(simdrive_close(store));
    check_file_has(store_path, keys + GOES_ON);
    CHECK_U64(tail, test_file_size(store_path));
}

/* --- disks -------------------------------------------------------------------------------------------------------- */

static bool run(const char *command) {
    int status = system(command);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool mount_ext4(const full_disk *d) {
    char command[4 * TEST_PATH_MAX];
    snprintf(command, sizeof command,
             "PATH=$PATH:/usr/sbin:/sbin && mke2fs -q -F -t ext4 -m 0 '%s/image' %dM >/dev/null 2>&1 && "
             "mount -o loop '%s/image' '%s' 2>/dev/null",
             d->folder.path, EXT4_MIB, d->folder.path, d->disk);
    return run(command);
}

static bool mount_disk(const full_disk *d) {
    char options[64];
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) != 0) return false;
    if (strcmp(d->type, "ext4") == 0) return mount_ext4(d);
    snprintf(options, sizeof options, "size=%dm", TMPFS_MIB);
    return mount("tmpfs", d->disk, "tmpfs", 0, options) == 0;
}

static const char *in_folder(const char *folder, const char *name, char path[TEST_PATH_MAX]) {
    snprintf(path, TEST_PATH_MAX, "%s/%s", folder, name);
    return path;
}

static void remove_ballast(const full_disk *d) {
    char path[TEST_PATH_MAX];
    CHECK(unlink(in_folder(d->disk, "ballast", path)) == 0);
}

static void fill_disk(void *user) {
    const full_disk *d = user;
    char path[TEST_PATH_MAX], store_path[TEST_PATH_MAX];
    uint8_t *ballast = test_alloc(BALLAST);
    if (!mount_disk(d)) {
        test_file_put(in_folder(d->folder.path, "not mounted", path), "", 0);
        return;
    }
    memset(ballast, 1, BALLAST);
    test_file_put(in_folder(d->disk, "ballast", path), ballast, BALLAST);
    free(ballast);
    fill_and_go_on(d, in_folder(d->disk, "store", store_path), remove_ballast);
    CHECK(umount2(d->disk, MNT_DETACH) == 0);
}

static void full_disk_of(const char *type) {
    bool mounted = true;
    for (int mode = SIMDRIVE_APPEND_WRITE; mode <= SIMDRIVE_APPEND_MAP && mounted; mode++) {
        char path[TEST_PATH_MAX];
        full_disk d = {.folder = test_folder_create(), .type = type, .mode = (simdrive_append_mode)mode};
        test_context("%s is full, append mode %d", type, mode);
        CHECK(mkdir(test_path(&d.folder, "disk", d.disk), 0700) == 0);
        CHECK(test_in_child(fill_disk, &d));
        mounted = !test_file_exists(test_path(&d.folder, "not mounted", path));
        test_folder_remove(&d.folder);
    }
    if (!mounted) {
        fprintf(stderr, "no right to mount a %s, or no tools for it\n", type);
        skip();
    }
}

static void a_full_tmpfs_is_an_error_and_no_signal(void **state) {
    (void)state;
    full_disk_of("tmpfs");
}

static void a_full_ext4_is_an_error_and_no_signal(void **state) {
    (void)state;
    full_disk_of("ext4");
}

/* --- a limit ------------------------------------------------------------------------------------------------------ */

static void lift_limit(const full_disk *d) {
    struct rlimit limit;
    (void)d;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    set_limit(limit.rlim_max);
}

static void reach_limit(void *user) {
    const full_disk *d = user;
    char path[TEST_PATH_MAX];
    signal(SIGXFSZ, SIG_IGN);
    set_limit(FILE_LIMIT);
    fill_and_go_on(d, test_path(&d->folder, "store", path), lift_limit);
}

static void a_file_size_limit_is_an_error(void **state) {
    (void)state;
    for (int mode = SIMDRIVE_APPEND_WRITE; mode <= SIMDRIVE_APPEND_MAP; mode++) {
        full_disk d = {.folder = test_folder_create(), .mode = (simdrive_append_mode)mode};
        test_context("a limit of the file's size, append mode %d", mode);
        CHECK(test_in_child(reach_limit, &d));
        test_folder_remove(&d.folder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_tmpfs_is_an_error_and_no_signal),
        cmocka_unit_test(a_full_ext4_is_an_error_and_no_signal),
        cmocka_unit_test(a_file_size_limit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
