/* SPDX-License-Identifier: Apache-2.0
 *
 * test_wait.c — waiting for a change: everything that changes a store wakes who waits, on the handle that writes and on
 * readers; nothing is missed in between; time limits hold. A wake-up that is lost shows as a test that never ends.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_os.h"
#include "store/store.h"
#include "stores.h"

static void write_number(simdrive_store *store, uint64_t key, uint64_t value) {
    CHECK_OK(simdrive_write_hash(store, key, &value, sizeof value, NULL));
}

/* --- what changes a store ---------------------------------------------------------------------------------------- */

static void change_by_write(simdrive_store *store) {
    write_number(store, 1, 1);
}

static void change_by_delete(simdrive_store *store) {
    CHECK_OK(simdrive_delete_hash(store, 2, NULL));
}

static void change_by_batch(simdrive_store *store) {
    const simdrive_change changes[] = {{SIMDRIVE_PUT, 5, {"five", 4}}, {SIMDRIVE_DELETE, 3, {NULL, 0}}};
    CHECK_OK(simdrive_apply(store, changes, 2, SIMDRIVE_BATCH_ATOMIC, NULL));
}

static void change_by_stream(simdrive_store *store) {
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin_hash(store, 7, 0, &stream));
    CHECK_OK(simdrive_stream_append(stream, "streamed", 8));
    CHECK_OK(simdrive_stream_commit(stream, NULL));
}

static void change_by_compaction(simdrive_store *store) {
    CHECK_OK(simdrive_compact(store, NULL, NULL));
}

static void (*const WORKS[])(simdrive_store *) = {change_by_write, change_by_delete, change_by_batch,
                                                  change_by_stream, change_by_compaction};
enum { WORK_COUNT = sizeof WORKS / sizeof *WORKS };

typedef struct waiter {
    simdrive_store *store;
    uint64_t known;
    sdi_thread thread;
} waiter;

static void wait_for_ever(void *user) {
    waiter *w = user;
    CHECK_OK(simdrive_wait(w->store, w->known, UINT32_MAX));
    CHECK(simdrive_tail(w->store) != w->known);
}

/* Each kind of change wakes two who wait, however far they have come. */
static void check_wakes(simdrive_store *writer, simdrive_store *waited) {
    for (size_t work = 0; work < WORK_COUNT; work++) {
        for (unsigned pause = 0; pause < 2; pause++) {
            waiter waiters[2];
            test_context("work %zu, pause %u", work, pause);
            for (uint64_t key = 1; key < 5; key++) write_number(writer, key, key);
            CHECK_OK(simdrive_refresh(waited, NULL));
            for (unsigned i = 0; i < 2; i++) {
                waiters[i] = (waiter){.store = waited, .known = simdrive_tail(waited)};
                CHECK_OK(sdi_thread_start(&waiters[i].thread, wait_for_ever, &waiters[i]));
            }
            if (pause) usleep(20000); /* most likely they sleep by now */
            WORKS[work](writer);
            for (unsigned i = 0; i < 2; i++) sdi_thread_join(&waiters[i].thread);
        }
    }
}

static void whatever_changes_a_store_wakes_who_waits(void **state) {
    test_bench *b = *state;
    simdrive_store *writer = test_open(b->path);
    check_wakes(writer, writer);
    CHECK_OK(simdrive_close(writer));
}

static void whatever_a_writer_does_wakes_who_follows(void **state) {
    test_bench *b = *state;
    simdrive_store *writer = test_open(b->path), *reader = test_open_read_only(b->path);
    check_wakes(writer, reader);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
}

static void followers_need_no_watch(void **state) {
    test_bench *b = *state;
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *writer = test_open(b->path), *reader = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), b->path, &options, &reader));
    sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_WATCH_BEGIN, .nth = 1, .for_ever = true,
                                               .status = SIMDRIVE_ERROR_UNSUPPORTED});
    check_wakes(writer, reader);
    CHECK(sdi_fault_os_disarm(faults) > 0);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
    sdi_fault_os_destroy(faults);
}

static void symbolic_links_are_watched_where_they_lead(void **state) {
    test_bench *b = *state;
    char link[TEST_PATH_MAX];
    test_context("through a link");
    simdrive_store *writer = test_open(b->path);
    CHECK(symlink(b->path, test_path(&b->folder, "link", link)) == 0);
    simdrive_store *reader = test_open_read_only(link);
    check_wakes(writer, reader);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
}

/* --- time -------------------------------------------------------------------------------------------------------- */

static uint64_t waited_ms(simdrive_store *store, uint32_t timeout_ms) {
    uint64_t began = sdi_monotonic_ns();
    CHECK_STATUS(SIMDRIVE_END, simdrive_wait(store, simdrive_tail(store), timeout_ms));
    return (sdi_monotonic_ns() - began) / 1000000;
}

static void time_limits_hold(void **state) {
    test_bench *b = *state;
    simdrive_store *writer = test_open(b->path), *memory = NULL;
    write_number(writer, 1, 1);
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *reader = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), b->path, &options, &reader));
    simdrive_store *stores[] = {writer, reader};
    for (unsigned i = 0; i < 2; i++) {
        test_context("handle %u", i);
        CHECK_OK(simdrive_wait(stores[i], simdrive_tail(stores[i]) + 1, 0));
        CHECK_OK(simdrive_wait(stores[i], 0, UINT32_MAX));
        waited_ms(stores[i], 0);
        CHECK(waited_ms(stores[i], 50) >= 49);
        uint64_t looks = sdi_fault_os_count(faults, SDI_FAULT_PATH_INFO);
        CHECK(waited_ms(stores[i], 350) >= 349);
        CHECK(sdi_fault_os_count(faults, SDI_FAULT_PATH_INFO) - looks <= 10); /* asleep, not busy */
    }
    CHECK_OK(simdrive_close(reader));
    sdi_fault_os_destroy(faults);
    test_context("a store in memory");
    CHECK_OK(simdrive_open_memory(NULL, 0, &memory));
    CHECK_OK(simdrive_wait(memory, 1, UINT32_MAX));
    waited_ms(memory, UINT32_MAX);
    CHECK_OK(simdrive_close(memory));
    CHECK_OK(simdrive_close(writer));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_wait(NULL, 0, 0));
}

static void a_file_that_is_gone_is_an_error(void **state) {
    test_bench *b = *state;
    test_context("removed while somebody waits");
    simdrive_store *writer = test_open(b->path);
    write_number(writer, 1, 1);
    CHECK_OK(simdrive_close(writer));
    simdrive_store *reader = test_open_read_only(b->path);
    CHECK(remove(b->path) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_wait(reader, simdrive_tail(reader), UINT32_MAX));
    CHECK_OK(simdrive_close(reader));
}

/* Any call that fails is told or passed over; waiting again goes on. */
static void failing_calls_lose_no_change(void **state) {
    test_bench *b = *state;
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *writer = test_open(b->path), *reader = NULL;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), b->path, &options, &reader));
    for (uint64_t nth = 1, fired = 1; fired > 0; nth++) {
        test_context("call %llu fails", (unsigned long long)nth);
        uint64_t known = simdrive_tail(reader);
        write_number(writer, nth, nth);
        sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY, .nth = nth, .os_error = EIO,
                                                   .status = SIMDRIVE_ERROR_IO});
        simdrive_status status = simdrive_wait(reader, known, UINT32_MAX);
        fired = sdi_fault_os_disarm(faults);
        if (status != SIMDRIVE_OK) {
            CHECK_STATUS(SIMDRIVE_ERROR_IO, status);
            CHECK_OK(simdrive_wait(reader, known, UINT32_MAX));
        }
        CHECK_U64(simdrive_tail(writer), simdrive_tail(reader));
    }
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
    sdi_fault_os_destroy(faults);
}

/* --- no wake-up is lost ------------------------------------------------------------------------------------------ */

enum { ROUNDS = 5000, PLAYERS = 2 };

typedef struct player {
    simdrive_store *writer, *waited;
    uint64_t number, rounds;
} player;

/* Writes when the last number is the one before its own; without a limit on waiting. */
static void play(void *user) {
    const player *p = user;
    for (uint64_t turn = p->number; turn < p->rounds; turn += PLAYERS) {
        for (;;) {
            uint64_t known = simdrive_tail(p->waited), value = 0;
            simdrive_entry entry = {0};
            if (simdrive_read_hash(p->waited, 1, &entry) == SIMDRIVE_OK) memcpy(&value, entry.data, sizeof value);
            simdrive_entry_release(&entry);
            if (value == turn) break;
            CHECK_OK(simdrive_wait(p->waited, known, UINT32_MAX));
        }
        write_number(p->writer, 1, turn + 1);
    }
}

static void play_all(simdrive_store *writer, simdrive_store *waited, uint64_t rounds) {
    player players[PLAYERS];
    sdi_thread threads[PLAYERS];
    for (uint64_t i = 0; i < PLAYERS; i++) {
        players[i] = (player){writer, waited, i, rounds};
        CHECK_OK(sdi_thread_start(&threads[i], play, &players[i]));
    }
    for (unsigned i = 0; i < PLAYERS; i++) sdi_thread_join(&threads[i]);
}

static void no_wake_up_is_lost_between_threads(void **state) {
    test_bench *b = *state;
    test_context("turn by turn");
    simdrive_store *store = test_open(b->path);
    play_all(store, store, test_exhaustive() ? 50 * ROUNDS : ROUNDS);
    CHECK_OK(simdrive_close(store));
}

static void no_change_is_missed_by_followers(void **state) {
    test_bench *b = *state;
    test_context("turn by turn, following");
    simdrive_store *writer = test_open(b->path), *reader = test_open_read_only(b->path);
    play_all(writer, reader, test_exhaustive() ? 10 * ROUNDS : ROUNDS / 5);
    CHECK_OK(simdrive_close(reader));
    CHECK_OK(simdrive_close(writer));
}

static void another_process_wakes_who_waits(void **state) {
    test_bench *b = *state;
    enum { WRITES = 300 };
    test_context("beside a process");
    CHECK_OK(simdrive_close(test_open(b->path)));
    simdrive_store *reader = test_open_read_only(b->path);
    int how = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        simdrive_store *writer = test_open(b->path);
        for (uint64_t i = 1; i <= WRITES; i++) {
            write_number(writer, 1, i);
            if (i % 100 == 0) CHECK_OK(simdrive_compact(writer, NULL, NULL));
        }
        CHECK_OK(simdrive_close(writer));
        _exit(0);
    }
    for (uint64_t value = 0; value < WRITES;) {
        simdrive_entry entry = {0};
        uint64_t known = simdrive_tail(reader);
        if (simdrive_read_hash(reader, 1, &entry) == SIMDRIVE_OK) memcpy(&value, entry.data, sizeof value);
        simdrive_entry_release(&entry);
        if (value < WRITES) CHECK_OK(simdrive_wait(reader, known, UINT32_MAX));
    }
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CHECK_OK(simdrive_close(reader));
}

#define WAIT_TEST(test) cmocka_unit_test_setup_teardown(test, test_bench_begin, test_bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        WAIT_TEST(whatever_changes_a_store_wakes_who_waits),
        WAIT_TEST(whatever_a_writer_does_wakes_who_follows),
        WAIT_TEST(followers_need_no_watch),
        WAIT_TEST(symbolic_links_are_watched_where_they_lead),
        WAIT_TEST(time_limits_hold),
        WAIT_TEST(a_file_that_is_gone_is_an_error),
        WAIT_TEST(failing_calls_lose_no_change),
        WAIT_TEST(no_wake_up_is_lost_between_threads),
        WAIT_TEST(no_change_is_missed_by_followers),
        WAIT_TEST(another_process_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
