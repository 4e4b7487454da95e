/* SPDX-License-Identifier: Apache-2.0 */
/* test_append_map.c — SIMDRIVE_APPEND_MAP: entries that are stored into a map of the file's end.
 *
 * The same work in either mode must leave the same bytes. Entries are stored from their first byte to their last, so
 * what a kill between two stores leaves is the file cut at any byte with zeros behind: all of these are opened. A
 * process is killed, too. Whatever the system refuses while room is made, the write goes the ordinary way. Readers
 * follow while the file's length stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_os.h"
#include "stores.h"
#include "store/store.h"

enum { VALUE_MAX = 3000, LARGE = 200000, OPERATIONS = 3000, ZEROS = 5000, KILLS = 15 };

static simdrive_open_options mapped(void) {
    return (simdrive_open_options){.struct_size = sizeof(simdrive_open_options), .append = SIMDRIVE_APPEND_MAP};
}

static simdrive_store *open_as(const char *path, simdrive_append_mode mode) {
    simdrive_store *store = NULL;
    simdrive_open_options options = mapped();
    options.append = mode;
    CHECK_OK(simdrive_open(path, &options, &store));
    return store;
}

static void write_numbered(simdrive_store *store, uint64_t key, uint64_t value) {
    CHECK_OK(simdrive_write_hash(store, key, &value, sizeof value, NULL));
}

static bool shows(simdrive_store *store, uint64_t key, uint64_t value) {
    simdrive_entry entry = {0};
    if (simdrive_read_hash(store, key, &entry) != SIMDRIVE_OK) return false;
    bool same = entry.size == sizeof value && memcmp(entry.data, &value, sizeof value) == 0;
    simdrive_entry_release(&entry);
    return same;
}

/* --- the same bytes ----------------------------------------------------------------------------------------------- */

static void run_one(simdrive_store *store, test_random *random, uint8_t *bytes) {
    uint64_t key = test_random_below(random, 200) + 1, what = test_random_below(random, 100);
    size_t size = 2 + (size_t)test_random_below(random, what == 0 ? LARGE : VALUE_MAX);
    test_random_fill(random, bytes, size);
    if (what < 75) {
        CHECK_OK(simdrive_write_hash(store, key, bytes, size, NULL));
    } else if (what < 90) {
        simdrive_status status = simdrive_delete_hash(store, key, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_NOT_FOUND);
    } else if (what < 96) {
        const simdrive_change changes[3] = {{SIMDRIVE_PUT, key, {bytes, size}},
                                            {SIMDRIVE_DELETE, key + 1, {NULL, 0}},
                                            {SIMDRIVE_PUT, key + 2, {bytes, 2}}};
        simdrive_batch_mode mode = what < 93 ? SIMDRIVE_BATCH_ATOMIC : SIMDRIVE_BATCH_PLAIN;
        CHECK_OK(simdrive_apply(store, changes, 3, mode, NULL));
    } else if (what < 99) {
        test_source source = {.bytes = bytes, .size = size, .piece = 1000};
        if (what == 98) source.failure = SIMDRIVE_ERROR_CANCELLED, source.fail_at = size / 2;
        simdrive_status status = simdrive_write_stream_hash(store, key, test_source_read, &source, 4096, NULL);
        CHECK_U64(what == 98 ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK, status);
    } else {
        CHECK_OK(simdrive_sync(store, NULL));
    }
}

static void work(const char *path, simdrive_append_mode mode) {
    test_random random = test_random_begin(1);
    uint8_t *bytes = test_alloc(LARGE + 2);
    simdrive_store *store = open_as(path, mode);
    for (int i = 0; i < OPERATIONS; i++) {
        run_one(store, &random, bytes);
        if (i % 1000 != 999) continue;
        if (i < 2000) CHECK_OK(simdrive_compact(store, NULL, NULL));
        simdrive_info info = test_info(store);
        CHECK_U64(info.tail, info.file_size);
        CHECK_OK(simdrive_close(store));
        CHECK_U64(info.tail, test_file_size(path));
        store = open_as(path, mode);
    }
    CHECK_OK(simdrive_close(store));
    free(bytes);
}

static void both_modes_leave_the_same_file(void **state) {
    test_folder folder = test_folder_create();
    char plain[TEST_PATH_MAX], map[TEST_PATH_MAX];
    size_t size;
    (void)state;
    work(test_path(&folder, "plain", plain), SIMDRIVE_APPEND_WRITE);
    work(test_path(&folder, "map", map), SIMDRIVE_APPEND_MAP);
    uint8_t *bytes = test_file_get(plain, &size);
    CHECK(test_file_equals(map, bytes, size));
    CHECK_U64(0, test_folder_count(&folder, "map.tail-", NULL));
    free(bytes);
    test_folder_remove(&folder);
}

/* --- between two stores ------------------------------------------------------------------------------------------- */

/* Opens the first `cut` bytes of a file with zeros behind, whose entries up to the one of `key` are complete. */
static void check_cut(const char *path, const uint8_t *bytes, size_t cut, uint64_t key, size_t tail) {
    static const uint8_t zeros[ZEROS] = {0};
    test_context("cut to %zu bytes, then zeros", cut);
    test_file_put(path, bytes, cut);
    test_file_append(path, zeros, sizeof zeros);
    simdrive_store *reader = test_open_read_only(path);
    CHECK_U64(tail, simdrive_tail(reader));
    CHECK(shows(reader, key, key) && !shows(reader, key + 1, key + 1));
    CHECK_OK(simdrive_close(reader));
    simdrive_store *store = open_as(path, SIMDRIVE_APPEND_MAP);
    CHECK_U64(tail, simdrive_tail(store));
    write_numbered(store, 1000, 1000);
    CHECK(shows(store, key, key) && shows(store, 1000, 1000));
    if (cut == tail) CHECK_U64(0, test_info(store).quarantined_bytes);
    CHECK_OK(simdrive_close(store));
    reader = test_open_read_only(path);
    CHECK_U64(SIMDRIVE_DAMAGE_NONE, test_info(reader).damage);
    CHECK(shows(reader, key, key) && shows(reader, 1000, 1000));
    CHECK_OK(simdrive_close(reader));
}

static void every_state_between_two_stores_is_whole(void **state) {
    enum { ENTRIES = 6 };
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX], other[TEST_PATH_MAX];
    size_t tails[ENTRIES + 1] = {0}, size;
    (void)state;
    simdrive_store *store = open_as(test_path(&folder, "s", path), SIMDRIVE_APPEND_MAP);
    for (uint64_t key = 1; key <= ENTRIES; key++) {
        write_numbered(store, key, key);
        tails[key] = (size_t)simdrive_tail(store);
    }
    CHECK_OK(simdrive_close(store));
    uint8_t *bytes = test_file_get(path, &size);
    test_path(&folder, "cut", other);
    for (uint64_t key = 1; key < ENTRIES; key++) {
        for (size_t cut = tails[key]; cut < tails[key + 1]; cut++) check_cut(other, bytes, cut, key, tails[key]);
    }
    free(bytes);
    test_folder_remove(&folder);
}

typedef struct written {
    _Atomic uint64_t begun, done;
} written;

static void a_killed_writer_leaves_whole_entries(void **state) {
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    test_random random = test_random_begin(2);
    written *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)state;
    CHECK(shared != MAP_FAILED);
    test_path(&folder, "s", path);
    for (int i = 0; i < KILLS; i++) {
        int how;
        uint64_t until = atomic_load(&shared->done) + 1 + test_random_below(&random, 20000);
        pid_t child = fork();
        if (child == 0) {
            test_become_child();
            simdrive_store *store = open_as(path, SIMDRIVE_APPEND_MAP);
            for (uint64_t n = atomic_load(&shared->begun) + 1;; n++) {
                atomic_store(&shared->begun, n);
                write_numbered(store, n, n);
                atomic_store(&shared->done, n);
            }
        }
        while (atomic_load(&shared->done) < until) CHECK(waitpid(child, &how, WNOHANG) == 0);
        kill(child, SIGKILL);
        CHECK(waitpid(child, &how, 0) == child);
        uint64_t done = atomic_load(&shared->done), begun = atomic_load(&shared->begun);
        simdrive_store *reader = test_open_read_only(path);
        /* At most one number was skipped for each kill: begun and not written. */
        uint64_t lost = 0;
        for (uint64_t n = 1; n <= done; n++) lost += !shows(reader, n, n);
        CHECK(lost <= (uint64_t)i && shows(reader, done, done));
        CHECK(!shows(reader, begun + 1, begun + 1));
        CHECK(test_info(reader).damage <= SIMDRIVE_DAMAGE_TAIL);
        CHECK_OK(simdrive_close(reader));
    }
    munmap(shared, sizeof *shared);
    test_folder_remove(&folder);
}

/* --- what the system refuses -------------------------------------------------------------------------------------- */

static void refuse(sdi_fault_kind kind, simdrive_status status, bool for_ever) {
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = mapped();
    simdrive_store *store = NULL;
    test_context("%s fails with %s", sdi_fault_kind_name(kind), simdrive_status_name(status));
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), test_path(&folder, "s", path), &options, &store));
    write_numbered(store, 1, 1);
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = kind, .nth = 1, .for_ever = for_ever, .status = status,
                                               .os_error = ENOSPC});
    for (uint64_t n = 2; n < 100; n++) write_numbered(store, n, n);
    CHECK(sdi_fault_os_disarm(faults) > 0);
    CHECK_U64(0, simdrive_last_os_error());
    for (uint64_t n = 1; n < 100; n++) CHECK(shows(store, n, n));
    uint64_t tail = simdrive_tail(store);
    CHECK_OK(simdrive_close(store));
    CHECK_U64(tail, test_file_size(path));
    sdi_fault_os_destroy(faults);
    test_folder_remove(&folder);
}

static void whatever_is_refused_the_entry_is_written(void **state) {
    const sdi_fault_kind kinds[] = {SDI_FAULT_SET_ASIDE, SDI_FAULT_MAKE_PRESENT, SDI_FAULT_TRUNCATE};
    const simdrive_status all[] = {SIMDRIVE_ERROR_UNSUPPORTED, SIMDRIVE_ERROR_NO_SPACE, SIMDRIVE_ERROR_IO};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            refuse(kinds[i], all[k], false);
            if (kinds[i] == SDI_FAULT_SET_ASIDE) refuse(kinds[i], all[k], true);
        }
    }
}

/* --- following ---------------------------------------------------------------------------------------------------- */

static void a_reader_follows_while_the_length_stays(void **state) {
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    (void)state;
    simdrive_store *store = open_as(test_path(&folder, "s", path), SIMDRIVE_APPEND_MAP);
    write_numbered(store, 1, 1);
    simdrive_store *reader = test_open_read_only(path);
    for (uint64_t n = 2; n < 500; n++) {
        bool changed = false;
        const simdrive_bytes payloads[2] = {{&n, sizeof n}, {&n, sizeof n}};
        const uint64_t keys[2] = {n, n + 10000};
        if (n % 7 == 0)
            CHECK_OK(simdrive_write_batch_hash(store, keys, payloads, 2, NULL));
        else
            write_numbered(store, n, n);
        CHECK(!shows(reader, n, n));
        CHECK_OK(simdrive_refresh(reader, &changed));
        CHECK(changed && shows(reader, n, n) && (n % 7 != 0 || shows(reader, n + 10000, n)));
        CHECK_U64(simdrive_tail(store), simdrive_tail(reader));
        CHECK_OK(simdrive_refresh(reader, &changed));
        CHECK(!changed);
    }
    CHECK_OK(simdrive_close(store));
    CHECK_OK(simdrive_refresh(reader, NULL));
    CHECK(shows(reader, 499, 499));
    CHECK_OK(simdrive_close(reader));
    test_folder_remove(&folder);
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

/* Where the tests' folder has what the mode needs. */
static void skip_unless_mapped(const test_folder *folder) {
    char path[TEST_PATH_MAX];
    simdrive_store *store = open_as(test_path(folder, "probe", path), SIMDRIVE_APPEND_MAP);
    write_numbered(store, 1, 1);
    write_numbered(store, 2, 2);
    bool unsupported = test_info(store).append_map_status == SIMDRIVE_ERROR_UNSUPPORTED;
    CHECK_OK(simdrive_close(store));
    if (!unsupported) return;
    test_folder_remove(folder);
    skip();
}

static void check_mode(simdrive_store *store, bool wanted, bool used, simdrive_status status) {
    simdrive_info info = test_info(store);
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    CHECK_OK(simdrive_get_statistics(store, &statistics));
    CHECK(info.append_map_wanted == wanted && statistics.append_map_wanted == wanted);
    CHECK(info.append_map_used == used && statistics.append_map_used == used);
    CHECK_STATUS(status, info.append_map_status);
    CHECK_STATUS(status, statistics.append_map_status);
    CHECK(used ? info.room_ahead_bytes > 0 : info.room_ahead_bytes == 0);
    CHECK_U64(info.room_ahead_bytes, statistics.room_ahead_bytes);
    CHECK_U64(info.tail, info.file_size);
    CHECK_U64(0, info.damaged_tail_bytes);
}

static void a_handle_tells_its_mode_and_why(void **state) {
    const simdrive_status refusals[] = {SIMDRIVE_ERROR_NO_SPACE, SIMDRIVE_ERROR_IO, SIMDRIVE_ERROR_UNSUPPORTED};
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = mapped();
    simdrive_store *store = NULL;
    (void)state;
    skip_unless_mapped(&folder);
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), test_path(&folder, "s", path), &options, &store));
    check_mode(store, true, false, SIMDRIVE_OK);
    write_numbered(store, 1, 1);
    check_mode(store, true, false, SIMDRIVE_OK); /* the first entry never goes there */
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        test_context("%s", simdrive_status_name(refusals[i]));
        sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_SET_ASIDE, .nth = 1, .for_ever = true,
                                                   .status = refusals[i], .os_error = ENOSPC});
        write_numbered(store, 2, i);
        check_mode(store, true, false, refusals[i]);
        sdi_fault_os_disarm(faults);
        write_numbered(store, 2, i);
        if (refusals[i] == SIMDRIVE_ERROR_UNSUPPORTED) break; /* for as long as the file is open */
        check_mode(store, true, true, SIMDRIVE_OK);
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        check_mode(store, true, false, SIMDRIVE_OK); /* another file: not tried yet */
    }
    check_mode(store, true, false, SIMDRIVE_ERROR_UNSUPPORTED);
    CHECK_OK(simdrive_close(store));
    options.sync = SIMDRIVE_SYNC_COMMIT;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), path, &options, &store));
    uint64_t asked = sdi_fault_os_count(faults, SDI_FAULT_SET_ASIDE);
    write_numbered(store, 3, 3);
    check_mode(store, true, false, SIMDRIVE_ERROR_UNSUPPORTED);
    CHECK_U64(asked, sdi_fault_os_count(faults, SDI_FAULT_SET_ASIDE));
    CHECK_OK(simdrive_close(store));
    store = test_open_read_only(path);
    check_mode(store, false, false, SIMDRIVE_OK);
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
    test_folder_remove(&folder);
}

static void check_behind(simdrive_store *store, uint64_t damaged, uint64_t room) {
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_info info = test_info(store);
    CHECK_U64(damaged, info.damaged_tail_bytes);
    CHECK_U64(room, info.room_ahead_bytes);
    CHECK_U64(info.tail + damaged, info.file_size);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, &report));
    CHECK_U64(damaged, report.damaged_tail_bytes);
    CHECK_U64(room, report.room_ahead_bytes);
}

/* What a live writer has set aside looked like a damaged tail to others. */
static void zeros_of_a_writer_are_room_to_others(void **state) {
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    struct stat found;
    (void)state;
    skip_unless_mapped(&folder);
    simdrive_store *store = open_as(test_path(&folder, "s", path), SIMDRIVE_APPEND_MAP);
    write_numbered(store, 1, 1);
    write_numbered(store, 2, 2);
    CHECK(stat(path, &found) == 0 && (uint64_t)found.st_size > simdrive_tail(store) + 1000);
    simdrive_store *reader = test_open_read_only(path);
    CHECK(test_info(reader).damage == SIMDRIVE_DAMAGE_NONE);
    check_behind(reader, 0, (uint64_t)found.st_size - simdrive_tail(store));
    write_numbered(store, 3, 3);
    CHECK_OK(simdrive_refresh(reader, NULL));
    check_behind(reader, 0, (uint64_t)found.st_size - simdrive_tail(store));
    check_behind(store, 0, (uint64_t)found.st_size - simdrive_tail(store));
    /* An entry of which a part is there is no zero, and no room. */
    uint64_t tail = simdrive_tail(store);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && pwrite(file, "part", 4, (off_t)(tail + 100)) == 4);
    simdrive_store *other = test_open_read_only(path);
    CHECK(test_info(other).damage == SIMDRIVE_DAMAGE_TAIL);
    check_behind(other, (uint64_t)found.st_size - tail, 0);
    CHECK_OK(simdrive_close(other));
    CHECK(pwrite(file, "\0\0\0\0", 4, (off_t)(tail + 100)) == 4 && close(file) == 0);
    CHECK_OK(simdrive_close(store));
    CHECK_OK(simdrive_refresh(reader, NULL));
    check_behind(reader, 0, 0);
    CHECK_OK(simdrive_close(reader));
    test_folder_remove(&folder);
}

/* The window is moved on, past its end more than once. */
static void many_windows_are_stored_through(void **state) {
    enum { SIZE = 60000, WINDOWS = 3, COUNT = WINDOWS * (64 << 20) / SIZE };
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    uint8_t *value = test_alloc(SIZE);
    (void)state;
    skip_unless_mapped(&folder);
    simdrive_store *store = open_as(test_path(&folder, "s", path), SIMDRIVE_APPEND_MAP);
    for (uint64_t n = 0; n < COUNT; n++) {
        memset(value, (int)(n % 250) + 1, SIZE);
        CHECK_OK(simdrive_write_hash(store, n, value, SIZE, NULL));
        CHECK(n == 0 || test_info(store).append_map_used);
    }
    free(value);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_U64(COUNT, simdrive_count(store));
    CHECK_OK(simdrive_close(store));
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_modes_leave_the_same_file),
        cmocka_unit_test(every_state_between_two_stores_is_whole),
        cmocka_unit_test(a_killed_writer_leaves_whole_entries),
        cmocka_unit_test(whatever_is_refused_the_entry_is_written),
        cmocka_unit_test(a_reader_follows_while_the_length_stays),
        cmocka_unit_test(a_handle_tells_its_mode_and_why),
        cmocka_unit_test(zeros_of_a_writer_are_room_to_others),
        cmocka_unit_test(many_windows_are_stored_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
