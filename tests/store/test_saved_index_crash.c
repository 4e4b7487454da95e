/* SPDX-License-Identifier: Apache-2.0
 *
 * test_saved_index_crash.c — the work of two handles that save the index is recorded as calls of the system; the states
 * that a crash can leave are built from the record, as in test_crash_states.c; in each, a store opened with the saved
 * index shows what it shows without. And any call may fail while the index is looked for or saved: nothing else does.
 *
 * A state's store is a new file, to which no index belongs. So the header of a whole index is told the number of that
 * file, and after a loss of power another boot. saved_index.c is compiled into this program for it. */
#include "store/saved_index.c"

#include <errno.h>
#include <stdio.h>

#include "support/fault_os.h"
#include "support/stores.h"

enum { SECTOR = 512, MOST_FILES = 8, FIRST = 6, SECOND = 5 };

/* --- the disk ----------------------------------------------------------------------------------------------------- */

typedef struct disk_file {
    const char *path; /* NULL when it has no name */
    uint8_t *bytes;
    size_t size;
} disk_file;

typedef struct disk {
    disk_file files[MOST_FILES]; /* number i + 1 of the record */
} disk;

static void resize(disk_file *file, size_t size) {
    file->bytes = realloc(file->bytes, size + 1);
    CHECK(file->bytes);
    if (size > file->size) memset(file->bytes + file->size, 0, size - file->size);
    file->size = size;
}

static void put(disk_file *file, size_t offset, const uint8_t *data, size_t size) {
    if (offset + size > file->size) resize(file, offset + size);
    if (size > 0) memcpy(file->bytes + offset, data, size);
}

static disk_file *file_at(disk *d, const char *path) {
    for (size_t i = 0; i < MOST_FILES; i++)
        if (d->files[i].path && strcmp(d->files[i].path, path) == 0) return &d->files[i];
    return NULL;
}

static void apply(disk *d, const sdi_fault_op *op) {
    disk_file *file = op->file ? &d->files[op->file - 1] : NULL, *named;
    CHECK(op->file <= MOST_FILES && op->kind != SDI_OP_ATTACH);
    switch (op->kind) {
    case SDI_OP_CREATE: file->path = op->path; break;
    case SDI_OP_WRITE: put(file, (size_t)op->offset, op->data, (size_t)op->size); break;
    case SDI_OP_TRUNCATE: resize(file, (size_t)op->size); break;
    case SDI_OP_RENAME:
        named = file_at(d, op->to_path);
        if (named) named->path = NULL;
        named = file_at(d, op->path);
        if (named) named->path = op->to_path;
        break;
    case SDI_OP_UNLINK:
        named = file_at(d, op->path);
        if (named) named->path = NULL;
        break;
    default: break;
    }
}

static void put_some_sectors(disk_file *file, const sdi_fault_op *op, test_random *random) {
    size_t end = (size_t)(op->offset + op->size);
    if (end > file->size && test_random_below(random, 2)) resize(file, end);
    for (size_t at = (size_t)op->offset, next; at < end; at = next) {
        next = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
        if (test_random_below(random, 2)) put(file, at, op->data + (at - (size_t)op->offset), next - at);
    }
}

static bool is_durable(const sdi_fault_op *log, size_t i, size_t end) {
    bool name = log[i].kind == SDI_OP_RENAME || log[i].kind == SDI_OP_UNLINK;
    for (size_t k = i + 1; k < end; k++) {
        if (name ? log[k].kind == SDI_OP_SYNC_FOLDER : log[k].kind == SDI_OP_SYNC && log[k].file == log[i].file)
            return true;
    }
    return false;
}

static void lose_power(disk *d, const sdi_fault_op *log, size_t end, test_random *random) {
    for (size_t i = 0; i < end; i++) {
        bool durable = log[i].kind == SDI_OP_CREATE || is_durable(log, i, end);
        if (!durable && log[i].kind == SDI_OP_WRITE) put_some_sectors(&d->files[log[i].file - 1], &log[i], random);
        else if (durable || test_random_below(random, 2)) apply(d, &log[i]);
    }
}

static void disk_free(disk *d) {
    for (size_t i = 0; i < MOST_FILES; i++) free(d->files[i].bytes);
    memset(d, 0, sizeof *d);
}

/* --- states ------------------------------------------------------------------------------------------------------- */

typedef struct explorer {
    test_folder folder;
    char path[TEST_PATH_MAX], index[TEST_PATH_MAX];             /* of the state */
    char recorded[TEST_PATH_MAX], recorded_index[TEST_PATH_MAX];
    test_image image; /* all that was written */
    size_t states, used;
} explorer;

static simdrive_status open_with(const sdi_os *os, const char *path, simdrive_saved_index saved_index, bool read_only,
                                 simdrive_sync_policy sync, simdrive_store **store) {
    simdrive_open_options options = {
        .struct_size = sizeof options, .saved_index = saved_index, .read_only = read_only, .sync = sync};
    return sdi_open_with_os(os, path, &options, store);
}

static simdrive_store *open_native(const char *path, simdrive_saved_index saved_index, bool read_only) {
    simdrive_store *store = NULL;
    CHECK_OK(open_with(sdi_os_native(), path, saved_index, read_only, SIMDRIVE_SYNC_NONE, &store));
    return store;
}

/* Lets the index belong to the file of the state. */
static void adopt_index(const explorer *e, disk_file *index, bool other_boot) {
    saved_header header;
    sdi_file_info info;
    CHECK_OK(sdi_os_native()->path_info(sdi_os_native(), e->path, &info));
    if (index->size >= sizeof header) {
        memcpy(&header, index->bytes, sizeof header);
        if (header.magic == MAGIC && header.checksum == header_checksum(&header)) {
            header.file_number = info.id.number;
            header.file_born = info.id.born;
            if (other_boot) header.boot[3] ^= 1;
            header.checksum = header_checksum(&header);
            memcpy(index->bytes, &header, sizeof header);
        }
    }
    test_file_put(e->index, index->bytes ? index->bytes : (const uint8_t *)"", index->size);
}

static void check_same_answers(const explorer *e, simdrive_store *with, simdrive_store *without) {
    simdrive_info a = test_info(with), c = test_info(without);
    CHECK(a.tail == c.tail && a.entries == c.entries && a.tombstones == c.tombstones && a.damage == c.damage);
    CHECK(a.stale_entries == c.stale_entries && a.live_bytes == c.live_bytes && a.stale_bytes == c.stale_bytes);
    CHECK(a.damaged_tail_bytes == c.damaged_tail_bytes && a.corrupt_entries == c.corrupt_entries);
    for (size_t i = 0; i < e->image.count; i++) {
        simdrive_entry left = {0}, right = {0};
        simdrive_status status = simdrive_read_hash(without, e->image.records[i].key_hash, &right);
        CHECK_STATUS(status, simdrive_read_hash(with, e->image.records[i].key_hash, &left));
        CHECK(left.size == right.size && (left.size == 0 || memcmp(left.data, right.data, left.size) == 0));
        simdrive_entry_release(&left);
        simdrive_entry_release(&right);
    }
}

static void check_state(explorer *e, disk *d, bool other_boot) {
    disk_file *file = file_at(d, e->recorded), *index = file_at(d, e->recorded_index);
    test_file_put(e->path, file && file->bytes ? file->bytes : (const uint8_t *)"", file ? file->size : 0);
    remove(e->index);
    if (index) adopt_index(e, index, other_boot);
    simdrive_store *without = NULL, *with = NULL;
    simdrive_status status =
        open_with(sdi_os_native(), e->path, SIMDRIVE_SAVED_INDEX_OFF, true, SIMDRIVE_SYNC_NONE, &without);
    CHECK_STATUS(status,
                 open_with(sdi_os_native(), e->path, SIMDRIVE_SAVED_INDEX_AUTO, true, SIMDRIVE_SYNC_NONE, &with));
    e->states++;
    if (status != SIMDRIVE_OK) return;
    e->used += atomic_load(&with->stats.index_saved_tail) != 0;
    check_same_answers(e, with, without);
    uint64_t tail = simdrive_tail(without);
    CHECK_OK(simdrive_close(with));
    CHECK_OK(simdrive_close(without));
    if (open_with(sdi_os_native(), e->path, SIMDRIVE_SAVED_INDEX_OFF, false, SIMDRIVE_SYNC_NONE, &without)) return;
    CHECK_OK(simdrive_close(without));
    with = open_native(e->path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    CHECK_U64(tail, simdrive_tail(with));
    CHECK_OK(simdrive_write_hash(with, 4711, "goes on", 7, NULL));
    CHECK_OK(simdrive_close(with));
    with = open_native(e->path, SIMDRIVE_SAVED_INDEX_AUTO, true);
    without = open_native(e->path, SIMDRIVE_SAVED_INDEX_OFF, true);
    CHECK(simdrive_exists_hash(with, 4711));
    check_same_answers(e, with, without);
    CHECK_OK(simdrive_close(with));
    CHECK_OK(simdrive_close(without));
}

static void explore(explorer *e, const sdi_fault_op *log, size_t count, const char *name, test_random *random) {
    for (size_t i = 0; i <= count; i++) {
        disk d = {0};
        test_context("%s: process dies before operation %zu of %zu", name, i, count);
        for (size_t k = 0; k < i; k++) apply(&d, &log[k]);
        check_state(e, &d, false);
        for (size_t t = 0; i < count && log[i].kind == SDI_OP_WRITE && t < 12; t++) {
            sdi_fault_op torn = log[i];
            torn.size = test_random_below(random, torn.size + 1);
            test_context("%s: process dies after %zu bytes of operation %zu", name, (size_t)torn.size, i);
            disk_free(&d);
            for (size_t k = 0; k < i; k++) apply(&d, &log[k]);
            apply(&d, &torn);
            check_state(e, &d, false);
        }
        disk_free(&d);
        for (size_t sample = 0; sample < (test_exhaustive() ? 500 : 15); sample++) {
            test_context("%s: power fails before operation %zu of %zu, sample %zu", name, i, count, sample);
            lose_power(&d, log, i, random);
            check_state(e, &d, true);
            disk_free(&d);
        }
    }
}

static void write_some(explorer *e, simdrive_store *store, uint64_t from, uint64_t count, test_random *random) {
    uint8_t payload[900];
    for (uint64_t n = from; n < from + count; n++) {
        uint64_t hash = test_key_hash(n % 4);
        size_t size = 1 + (size_t)test_random_below(random, sizeof payload);
        test_random_fill(random, payload, size);
        payload[0] |= 1;
        CHECK_OK(simdrive_write_hash(store, hash, payload, size, NULL));
        test_image_put(&e->image, hash, payload, size);
    }
}

static void explore_policy(simdrive_sync_policy sync, bool syncs_once, const char *name) {
    explorer e = {.folder = test_folder_create()};
    test_random random = test_random_begin(2000 + (uint64_t)sync);
    sdi_fault_os *faults = sdi_fault_os_create();
    const sdi_os *os = sdi_fault_os_table(faults);
    simdrive_store *store = NULL;
    test_path(&e.folder, "store", e.path);
    test_path(&e.folder, "store.index", e.index);
    test_path(&e.folder, "recorded", e.recorded);
    test_path(&e.folder, "recorded.index", e.recorded_index);
    sdi_fault_os_record(faults, true);
    for (uint64_t handle = 0; handle < 2; handle++) {
        CHECK_OK(open_with(os, e.recorded, SIMDRIVE_SAVED_INDEX_ALWAYS, false, sync, &store));
        CHECK((atomic_load(&store->stats.index_saved_tail) != 0) == (handle == 1));
        write_some(&e, store, handle * FIRST, handle ? SECOND : FIRST, &random);
        if (syncs_once && handle == 0) CHECK_OK(simdrive_sync(store, NULL));
        CHECK_OK(simdrive_close(store));
    }
    sdi_fault_os_record(faults, false);
    size_t count;
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    explore(&e, log, count, name, &random);
    CHECK(e.used > 10 && e.used < e.states);
    sdi_fault_os_destroy(faults);
    test_image_free(&e.image);
    test_folder_remove(&e.folder);
}

static void a_crash_leaves_what_is_there_without_the_index(void **state) {
    (void)state;
    if (test_appends_to_map()) skip(); /* the states are made of calls, and an append is none */
    explore_policy(SIMDRIVE_SYNC_NONE, false, "never synced");
    explore_policy(SIMDRIVE_SYNC_NONE, true, "synced once");
    explore_policy(SIMDRIVE_SYNC_COMMIT, false, "synced at each commit");
}

/* --- failing calls ------------------------------------------------------------------------------------------------ */

static const simdrive_status failures[] = {SIMDRIVE_ERROR_IO, SIMDRIVE_ERROR_NO_SPACE, SIMDRIVE_ERROR_NO_MEMORY,
                                           SIMDRIVE_ERROR_PERMISSION};

/* The n-th call, or all from the n-th on, fail while a store with an index is opened, written to and closed. */
static bool any_call_fails(uint64_t nth, bool for_ever, bool while_closing, simdrive_status failure, uint64_t effect) {
    explorer e = {.folder = test_folder_create()};
    test_random random = test_random_begin(2100);
    sdi_fault_os *faults = sdi_fault_os_create();
    const sdi_os *os = sdi_fault_os_table(faults);
    sdi_fault_plan plan = {.kind = SDI_FAULT_ANY, .nth = nth, .for_ever = for_ever, .status = failure,
                           .os_error = EIO, .effect = effect};
    test_path(&e.folder, "store", e.path);
    simdrive_store *store = open_native(e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_some(&e, store, 0, 10, &random);
    CHECK_OK(simdrive_close(store));
    store = open_native(e.path, SIMDRIVE_SAVED_INDEX_OFF, false);
    write_some(&e, store, 0, 3, &random);
    CHECK_OK(simdrive_close(store));

    if (!while_closing) sdi_fault_os_arm(faults, &plan);
    bool failed = false;
    simdrive_status status = open_with(os, e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false, SIMDRIVE_SYNC_NONE, &store);
    if (!while_closing) failed = sdi_fault_os_disarm(faults) > 0;
    if (status == SIMDRIVE_OK) {
        test_check_shows(store, &e.image);
        write_some(&e, store, 2, 2, &random);
        if (while_closing) sdi_fault_os_arm(faults, &plan);
        CHECK_OK(simdrive_close(store));
        if (while_closing) failed = sdi_fault_os_disarm(faults) > 0;
    } else {
        CHECK(failed);
    }
    simdrive_store *with = open_native(e.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
    simdrive_store *without = open_native(e.path, SIMDRIVE_SAVED_INDEX_OFF, true);
    check_same_answers(&e, with, without);
    test_check_shows(with, &e.image);
    CHECK_OK(simdrive_close(with));
    CHECK_OK(simdrive_close(without));
    store = open_native(e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_some(&e, store, 1, 1, &random);
    CHECK_OK(simdrive_close(store));
    CHECK_U64(2, test_folder_count(&e.folder, "", NULL)); /* nothing is left behind for good */
    store = open_native(e.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
    CHECK(atomic_load(&store->stats.index_saved_tail) == simdrive_tail(store));
    test_check_shows(store, &e.image);
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
    test_image_free(&e.image);
    test_folder_remove(&e.folder);
    return failed;
}

static void any_call_may_fail(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        for (size_t f = 0; f < sizeof failures / sizeof failures[0]; f++) {
            bool failed = true;
            for (uint64_t nth = 1; failed; nth++) {
                test_context("way %d, failure %zu, call %llu", way, f, (unsigned long long)nth);
                failed = any_call_fails(nth, way % 2 == 1, way >= 2, failures[f], f % 2 ? 50 : 0);
                CHECK(nth < 200);
            }
        }
    }
}

/* The sync of an interval at closing fails: the call tells, as without an index, and no index is saved. */
static void a_failed_sync_is_told_and_nothing_is_saved(void **state) {
    (void)state;
    test_context("failed sync at closing");
    for (int saves = 0; saves < 2; saves++) {
        explorer e = {.folder = test_folder_create()};
        test_random random = test_random_begin(2200);
        sdi_fault_os *faults = sdi_fault_os_create();
        simdrive_store *store = NULL;
        simdrive_open_options options = {
            .struct_size = sizeof options,
            .saved_index = saves ? SIMDRIVE_SAVED_INDEX_ALWAYS : SIMDRIVE_SAVED_INDEX_OFF,
            .sync = SIMDRIVE_SYNC_INTERVAL,
            .sync_interval_ms = 1000000,
        };
        test_path(&e.folder, "store", e.path);
        CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), e.path, &options, &store));
        write_some(&e, store, 0, 3, &random);
        sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_SYNC, .nth = 1, .status = SIMDRIVE_ERROR_IO});
        CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_close(store));
        CHECK_U64(1, sdi_fault_os_disarm(faults));
        CHECK_U64(1, test_folder_count(&e.folder, "", NULL));
        sdi_fault_os_destroy(faults);
        test_image_free(&e.image);
        test_folder_remove(&e.folder);
    }
}

/* The order that a loss of power cannot break: what says of itself that it is synced, is. */
static void a_synced_index_is_durable_before_it_has_the_name(void **state) {
    (void)state;
    test_context("order of the calls of saving");
    explorer e = {.folder = test_folder_create()};
    test_random random = test_random_begin(2300);
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_store *store = NULL;
    test_path(&e.folder, "store", e.path);
    CHECK_OK(open_with(sdi_fault_os_table(faults), e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false, SIMDRIVE_SYNC_COMMIT,
                       &store));
    write_some(&e, store, 0, 3, &random);
    sdi_fault_os_record(faults, true);
    CHECK_OK(simdrive_close(store));
    size_t count, renames = 0;
    const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
    bool unsynced = false;
    for (size_t i = 0; i < count; i++) {
        if (log[i].kind == SDI_OP_WRITE) unsynced = true;
        if (log[i].kind == SDI_OP_SYNC) unsynced = false;
        if (log[i].kind != SDI_OP_RENAME) continue;
        CHECK(!unsynced);
        renames++;
    }
    CHECK_U64(1, renames);
    sdi_fault_os_destroy(faults);
    test_image_free(&e.image);
    test_folder_remove(&e.folder);
}

/* --- what is written while it is saved ---------------------------------------------------------------------------- */

typedef struct intruder {
    explorer *e;
    simdrive_store *store;
    test_random random;
    uint64_t calls, at; /* writes to the new index before which something is written to the store */
    bool compacts, done;
} intruder;

/* The first segment has been copied then: nothing of this is in the image. */
static void intrude(void *user, sdi_fault_kind kind, const char *path) {
    intruder *in = user;
    if (kind != SDI_FAULT_WRITE_AT || !strstr(path, TEMPORARY_INFIX) || in->calls++ != in->at || in->done) return;
    in->done = true;
    write_some(in->e, in->store, 2, 4, &in->random);
    CHECK_OK(simdrive_write_hash(in->store, 815, "a new key", 9, NULL));
    test_image_put(&in->e->image, 815, "a new key", 9);
    CHECK_OK(simdrive_delete_hash(in->store, test_key_hash(1), NULL));
    test_image_delete(&in->e->image, test_key_hash(1));
    if (!in->compacts) return;
    CHECK_OK(simdrive_compact(in->store, NULL, NULL));
    test_image_compact(&in->e->image);
}

static void what_is_written_while_it_is_saved_is_found(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 8; round++) {
        explorer e = {.folder = test_folder_create()};
        sdi_fault_os *faults = sdi_fault_os_create();
        intruder in = {.e = &e, .random = test_random_begin(2400), .at = round / 2, .compacts = round % 2 == 1};
        test_context("written before write %llu of the index", (unsigned long long)in.at);
        test_path(&e.folder, "store", e.path);
        CHECK_OK(open_with(sdi_fault_os_table(faults), e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false, SIMDRIVE_SYNC_NONE,
                           &in.store));
        write_some(&e, in.store, 0, 6, &in.random);
        sdi_fault_os_set_hook(faults, intrude, &in);
        CHECK_OK(simdrive_close(in.store));
        simdrive_store *with = open_native(e.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        simdrive_store *without = open_native(e.path, SIMDRIVE_SAVED_INDEX_OFF, true);
        CHECK((atomic_load(&with->stats.index_saved_tail) != 0) == !(in.done && in.compacts));
        CHECK(in.done == (in.at < 4));
        check_same_answers(&e, with, without);
        test_check_shows(with, &e.image);
        CHECK_OK(simdrive_close(with));
        CHECK_OK(simdrive_close(without));
        with = open_native(e.path, SIMDRIVE_SAVED_INDEX_AUTO, false);
        write_some(&e, with, 0, 6, &in.random);
        test_check_shows(with, &e.image);
        CHECK_OK(simdrive_close(with));
        sdi_fault_os_destroy(faults);
        test_image_free(&e.image);
        test_folder_remove(&e.folder);
    }
}

static void a_reader_changes_nothing_not_even_for_a_moment(void **state) {
    (void)state;
    test_context("calls of a reader");
    explorer e = {.folder = test_folder_create()};
    test_random random = test_random_begin(2500);
    sdi_fault_os *faults = sdi_fault_os_create();
    test_path(&e.folder, "store", e.path);
    for (int with_index = 0; with_index < 2; with_index++) {
        simdrive_saved_index how = with_index ? SIMDRIVE_SAVED_INDEX_ALWAYS : SIMDRIVE_SAVED_INDEX_OFF;
        simdrive_store *store = open_native(e.path, how, false);
        write_some(&e, store, 0, 5, &random);
        CHECK_OK(simdrive_close(store));
        sdi_fault_os_record(faults, true);
        CHECK_OK(open_with(sdi_fault_os_table(faults), e.path, SIMDRIVE_SAVED_INDEX_ALWAYS, true, SIMDRIVE_SYNC_NONE,
                           &store));
        test_check_shows(store, &e.image);
        CHECK_OK(simdrive_close(store));
        size_t count;
        const sdi_fault_op *log = sdi_fault_os_log(faults, &count);
        for (size_t i = 0; i < count; i++) CHECK_U64(SDI_OP_ATTACH, log[i].kind);
        CHECK_U64(0, sdi_fault_os_count(faults, SDI_FAULT_ANY_CHANGE));
    }
    sdi_fault_os_destroy(faults);
    test_image_free(&e.image);
    test_folder_remove(&e.folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_leaves_what_is_there_without_the_index),
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(a_failed_sync_is_told_and_nothing_is_saved),
        cmocka_unit_test(a_reader_changes_nothing_not_even_for_a_moment),
        cmocka_unit_test(what_is_written_while_it_is_saved_is_found),
        cmocka_unit_test(a_synced_index_is_durable_before_it_has_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
