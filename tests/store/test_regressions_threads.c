/* SPDX-License-Identifier: Apache-2.0
 *
 * test_regressions_threads.c — faults that were found once between threads, and between a reader and a writer, each by
 * the name of what must hold instead.
 *
 * What has to happen at one moment is made to: by hooks before calls of the system, and by looks at the handle's own
 * state. Where a fault was work without end, calls are counted.
 */
#include "support/fault_os.h"
#include "support/stores.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

static void put(simdrive_store *store, uint64_t key, uint64_t value) {
    CHECK_OK(simdrive_write_hash(store, key, &value, sizeof value, NULL));
}

static simdrive_store *open_on(sdi_fault_os *faults, const char *path, simdrive_open_options options) {
    simdrive_store *store = NULL;
    options.struct_size = sizeof options;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), path, &options, &store));
    return store;
}

/* --- a reader opens beside a writer that never rests -------------------------------------------------------------- */

typedef struct busy_writer {
    simdrive_store *store;
    uint64_t written, looks;
} busy_writer;

/* Before each look of the reader at the file's length there is one entry more. */
static void write_before_look(void *user, sdi_fault_kind kind, const char *path) {
    busy_writer *writer = user;
    (void)path;
    if (kind != SDI_FAULT_INFO) return;
    writer->looks++;
    CHECK(writer->looks < 100000);
    writer->written++;
    put(writer->store, writer->written, writer->written);
}

static void a_reader_opening_beside_a_busy_writer_ends(void **state) {
    const test_bench *bench = *state;
    static const simdrive_append_mode modes[] = {SIMDRIVE_APPEND_WRITE, SIMDRIVE_APPEND_MAP};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char path[TEST_PATH_MAX];
        busy_writer writer = {0};
        simdrive_open_options options = {.struct_size = sizeof options, .append = modes[i]};
        sdi_fault_os *faults = sdi_fault_os_create();
        test_context("a writer in append mode %zu", i);
        CHECK_OK(simdrive_open(test_path(&bench->folder, i == 0 ? "plain" : "map", path), &options, &writer.store));
        for (; writer.written < 100; writer.written++) put(writer.store, writer.written + 1, writer.written + 1);
        sdi_fault_os_set_hook(faults, write_before_look, &writer);
        simdrive_store *reader = open_on(faults, path, (simdrive_open_options){.read_only = true});
        CHECK(simdrive_count(reader) >= 100 && simdrive_count(reader) <= writer.written);
        uint64_t shown = simdrive_count(reader);
        writer.written++;
        put(writer.store, writer.written, writer.written);
        CHECK_OK(simdrive_refresh(reader, NULL));
        CHECK(simdrive_count(reader) > shown);
        sdi_fault_os_set_hook(faults, NULL, NULL);
        CHECK_OK(simdrive_close(reader));
        CHECK_OK(simdrive_close(writer.store));
        sdi_fault_os_destroy(faults);
    }
}

/* --- sessions and close ------------------------------------------------------------------------------------------- */

/* Its file was compacted away, and there is no current one to move to any more. */
static void a_session_outlives_a_compaction_and_the_close(void **state) {
    const test_bench *bench = *state;
    simdrive_store *store = test_open(bench->path);
    simdrive_session *session = NULL;
    simdrive_bytes payload = {0};
    put(store, 1, 1);
    put(store, 1, 2);
    CHECK_OK(simdrive_session_begin(store, &session));
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    CHECK_OK(simdrive_session_read_hash(session, 1, &payload));
    uint64_t value = 2;
    CHECK(payload.size == sizeof value && memcmp(payload.data, &value, sizeof value) == 0);
    CHECK_STATUS(SIMDRIVE_NOT_FOUND, simdrive_session_read_hash(session, 2, &payload));
    simdrive_session_end(session);
}

typedef struct session_reader {
    simdrive_session *session;
    _Atomic bool reads, stop;
} session_reader;

static void *read_in_session(void *user) {
    session_reader *reader = user;
    while (!atomic_load(&reader->stop)) {
        simdrive_bytes payload;
        CHECK_OK(simdrive_session_read_hash(reader->session, 1, &payload));
        CHECK(payload.size == sizeof(uint64_t));
        atomic_store(&reader->reads, true);
    }
    return NULL;
}

static void a_session_reads_beside_compactions_and_the_close(void **state) {
    enum { ROUNDS = 100 };
    const test_bench *bench = *state;
    for (int round = 0; round < ROUNDS; round++) {
        session_reader reader = {0};
        pthread_t thread;
        simdrive_store *store = test_open(bench->path);
        put(store, 1, 1);
        CHECK_OK(simdrive_session_begin(store, &reader.session));
        CHECK(pthread_create(&thread, NULL, read_in_session, &reader) == 0);
        while (!atomic_load(&reader.reads)) sdi_thread_yield();
        put(store, 1, 2);
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        CHECK_OK(simdrive_close(store));
        atomic_store(&reader.reads, false);
        while (!atomic_load(&reader.reads)) sdi_thread_yield();
        atomic_store(&reader.stop, true);
        CHECK(pthread_join(thread, NULL) == 0);
        simdrive_session_end(reader.session);
    }
}

/* --- generations are used again ----------------------------------------------------------------------------------- */

enum { SEEN_MAX = 64 };

typedef struct seen_generations {
    const sdi_generation *all[SEEN_MAX];
    size_t count;
} seen_generations;

static void note(seen_generations *seen, simdrive_store *store) {
    const sdi_generation *generation = atomic_load(&store->all_generations);
    for (; generation; generation = generation->next_made) {
        size_t i = 0;
        while (i < seen->count && seen->all[i] != generation) i++;
        if (i < seen->count) continue;
        CHECK(seen->count < SEEN_MAX);
        seen->all[seen->count++] = generation;
    }
}

/* A store with two files: the one that a held entry is of, and the one that took its place. */
static void use_two(const char *path, seen_generations *seen) {
    simdrive_entry held = {0};
    simdrive_store *store = test_open(path);
    put(store, 1, 1);
    put(store, 1, 2);
    CHECK_OK(simdrive_read_hash(store, 1, &held));
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    note(seen, store);
    CHECK_OK(simdrive_close(store));
    simdrive_entry_release(&held);
}

static void generations_of_closed_stores_are_used_again(void **state) {
    enum { ROUNDS = 300 };
    const test_bench *bench = *state;
    seen_generations first = {0}, all = {0};
    use_two(bench->path, &first);
    CHECK_U64(2, first.count);
    for (int round = 0; round < ROUNDS; round++) use_two(bench->path, &all);
    /* No more of them than were ever there at the same time; an earlier test may have left some. */
    CHECK(all.count <= 4);
    for (size_t i = 0; i < first.count; i++) {
        size_t k = 0;
        while (k < all.count && all.all[k] != first.all[i]) k++;
        CHECK(k < all.count);
    }
}

/* --- waiting without a watch -------------------------------------------------------------------------------------- */

typedef struct waiter {
    simdrive_store *store;
    uint64_t known;
    uint32_t timeout_ms;
    simdrive_status status;
    pthread_t thread;
} waiter;

static void *wait_main(void *user) {
    waiter *w = user;
    w->status = simdrive_wait(w->store, w->known, w->timeout_ms);
    return NULL;
}

static void start_waiting(waiter *w, simdrive_store *store, uint32_t timeout_ms) {
    *w = (waiter){.store = store, .known = simdrive_tail(store), .timeout_ms = timeout_ms};
    CHECK(pthread_create(&w->thread, NULL, wait_main, w) == 0);
}

/* Each look of one wakes the others; who looked then without need would wake them in turn, without end. */
static void waiters_without_a_watch_do_not_keep_each_other_awake(void **state) {
    enum { WAITERS = 4, PATIENCE_MS = 350, LOOKS_EACH = 10 };
    const test_bench *bench = *state;
    waiter waiters[WAITERS];
    simdrive_store *writer = test_open(bench->path);
    sdi_fault_os *faults = sdi_fault_os_create();
    put(writer, 1, 1);
    simdrive_store *reader = open_on(faults, bench->path, (simdrive_open_options){.read_only = true});
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_WATCH_BEGIN, .nth = 1, .for_ever = true,
                                               .status = SIMDRIVE_ERROR_UNSUPPORTED});
    uint64_t before = sdi_fault_os_count(faults, SDI_FAULT_PATH_INFO);
    for (size_t i = 0; i < WAITERS; i++) start_waiting(&waiters[i], reader, PATIENCE_MS);
    for (size_t i = 0; i < WAITERS; i++) {
        CHECK(pthread_join(waiters[i].thread, NULL) == 0);
        CHECK(waiters[i].status == SIMDRIVE_END);
    }
    CHECK(sdi_fault_os_count(faults, SDI_FAULT_PATH_INFO) - before <= WAITERS * LOOKS_EACH);
    for (size_t i = 0; i < WAITERS; i++) start_waiting(&waiters[i], reader, UINT32_MAX);
    put(writer, 2, 2);
    for (size_t i = 0; i < WAITERS; i++) {
        CHECK(pthread_join(waiters[i].thread, NULL) == 0);
        CHECK(waiters[i].status == SIMDRIVE_OK);
    }
    CHECK(simdrive_exists_hash(reader, 2));
    CHECK(sdi_fault_os_disarm(faults) >= WAITERS);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
    sdi_fault_os_destroy(faults);
}

/* --- reclaim, and the thread that saves the index ----------------------------------------------------------------- */

typedef struct saver {
    simdrive_store *store;
    sdi_pin *pin;
    _Atomic uint64_t syncs_beside; /* of a reclaim, while the saver was at work */
} saver;

/* A reclaim that begins syncs what is not. */
static void note_sync(void *user, sdi_fault_kind kind, const char *path) {
    saver *s = user;
    (void)path;
    if (kind == SDI_FAULT_SYNC && atomic_load(&s->store->saved.thread_runs)) atomic_fetch_add(&s->syncs_beside, 1);
}

/* Leaves a reclaim that would not wait the time to begin. */
static void *end_saving(void *user) {
    enum { TIME_MS = 30 };
    saver *s = user;
    CHECK_STATUS(SIMDRIVE_END, simdrive_wait(s->store, simdrive_tail(s->store), TIME_MS));
    sdi_release_index(s->pin->generation);
    sdi_unpin(s->pin, 1);
    atomic_store(&s->store->saved.thread_runs, false);
    return NULL;
}

static void reclaim_waits_for_the_pin_of_the_saving_thread(void **state) {
    enum { LARGE = 64 << 10 };
    const test_bench *bench = *state;
    uint8_t *value = test_alloc(LARGE);
    memset(value, 3, LARGE);
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_store *store = open_on(faults, bench->path, (simdrive_open_options){.sync = SIMDRIVE_SYNC_NONE});
    put(store, 1, 1);
    for (int i = 0; i < 3; i++) CHECK_OK(simdrive_write_hash(store, 2, value, LARGE, NULL));
    saver s = {.store = store, .pin = sdi_pin_with_index(store)};
    atomic_store(&store->saved.thread_runs, true); /* as sdi_saved_index_is_due() does */
    sdi_fault_os_set_hook(faults, note_sync, &s);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, end_saving, &s) == 0);
    uint64_t reclaimed = 0;
    simdrive_status status = simdrive_reclaim(store, NULL, &reclaimed);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_U64(0, atomic_load(&s.syncs_beside));
    CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_UNSUPPORTED); /* where no holes can be punched */
    if (status == SIMDRIVE_OK) CHECK(reclaimed > 0);
    sdi_fault_os_set_hook(faults, NULL, NULL);
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
    free(value);
}

/* --- the thread that syncs ---------------------------------------------------------------------------------------- */

static bool is_idle(simdrive_store *store) {
    return !atomic_load(&store->unsynced);
}

static void the_syncing_thread_rests_after_a_compaction(void **state) {
    enum { INTERVAL_MS = 1, MANY_INTERVALS_MS = 50 };
    const test_bench *bench = *state;
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_store *store = open_on(
        faults, bench->path,
        (simdrive_open_options){.sync = SIMDRIVE_SYNC_INTERVAL, .sync_interval_ms = INTERVAL_MS});
    for (int round = 0; round < 5; round++) {
        put(store, 1, 1);
        put(store, 1, 2);
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        while (!is_idle(store)) sdi_thread_yield();
        CHECK_OK(simdrive_sync(store, NULL)); /* behind the thread's, if one is at work still */
        simdrive_info info = test_info(store);
        CHECK_U64(info.tail, info.durable_tail);
        uint64_t syncs = sdi_fault_os_count(faults, SDI_FAULT_SYNC);
        uint64_t folders = sdi_fault_os_count(faults, SDI_FAULT_SYNC_FOLDER_OF);
        CHECK_STATUS(SIMDRIVE_END, simdrive_wait(store, info.tail, MANY_INTERVALS_MS));
        CHECK_U64(syncs, sdi_fault_os_count(faults, SDI_FAULT_SYNC));
        CHECK_U64(folders, sdi_fault_os_count(faults, SDI_FAULT_SYNC_FOLDER_OF));
        CHECK(is_idle(store));
    }
    CHECK_OK(simdrive_close(store));
    sdi_fault_os_destroy(faults);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reader_opening_beside_a_busy_writer_ends, test_bench_begin, test_bench_end),
        cmocka_unit_test_setup_teardown(a_session_outlives_a_compaction_and_the_close, test_bench_begin,
                                        test_bench_end),
        cmocka_unit_test_setup_teardown(a_session_reads_beside_compactions_and_the_close, test_bench_begin,
                                        test_bench_end),
        cmocka_unit_test_setup_teardown(generations_of_closed_stores_are_used_again, test_bench_begin, test_bench_end),
        cmocka_unit_test_setup_teardown(waiters_without_a_watch_do_not_keep_each_other_awake, test_bench_begin,
                                        test_bench_end),
        cmocka_unit_test_setup_teardown(reclaim_waits_for_the_pin_of_the_saving_thread, test_bench_begin,
                                        test_bench_end),
        cmocka_unit_test_setup_teardown(the_syncing_thread_rests_after_a_compaction, test_bench_begin, test_bench_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
