/* SPDX-License-Identifier: Apache-2.0
 *
 * test_compact_thread.c — compactions in a thread and by policy: while readers and writers are at work nothing is lost
 * and nothing comes back; whatever moment one is cancelled at, or the store closed, leaves the old file or the new one
 * and nothing beside it; writers that are faster than the copy are caught up with, in turns of bounded length.
 */
#include "support/faulty.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

/* A value tells its key and its version, and the rest of it follows from these. */
enum { VALUE_MIN = 16, VALUE_MAX = 2000 };

static size_t make_value(uint8_t *value, uint64_t key, uint64_t version, size_t most) {
    size_t size = VALUE_MIN + (size_t)((key * 131 + version * 37) % (most - VALUE_MIN));
    memset(value, (int)(key * 7 + version * 13 + 1), size);
    memcpy(value, &key, 8);
    memcpy(value + 8, &version, 8);
    return size;
}

static uint64_t check_value(uint64_t key, const void *data, size_t size, size_t most) {
    uint64_t version;
    CHECK(data && size >= VALUE_MIN && size < most);
    memcpy(&version, (const uint8_t *)data + 8, 8);
    uint8_t *expected = test_alloc(most);
    CHECK_U64(make_value(expected, key, version, most), size);
    CHECK(memcmp(expected, data, size) == 0);
    free(expected);
    return version;
}

/* A store on the table of faults, half of which is stale. */
typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults;
    simdrive_store *store;
} bench;

enum { KEYS = 40 };

static void put(simdrive_store *store, uint64_t key, uint64_t version) {
    uint8_t value[VALUE_MAX];
    size_t size = make_value(value, key, version, VALUE_MAX);
    CHECK_OK(simdrive_write_hash(store, test_key_hash(key), value, size, NULL));
}

static void bench_begin(bench *b, const simdrive_open_options *options) {
    memset(b, 0, sizeof *b);
    b->folder = test_folder_create();
    b->faults = sdi_fault_os_create();
    test_path(&b->folder, "store", b->path);
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(b->faults), b->path, options, &b->store));
    for (uint64_t version = 1; version <= 2; version++)
        for (uint64_t key = 0; key < KEYS; key++) put(b->store, key, version);
}

static void bench_end(bench *b) {
    sdi_fault_os_set_hook(b->faults, NULL, NULL);
    if (b->store) CHECK_OK(simdrive_close(b->store));
    sdi_fault_os_destroy(b->faults);
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL)); /* the store, and no temporary file */
    test_folder_remove(&b->folder);
}

/* All keys are there in the version given, and the file is whole. */
static void check_all(simdrive_store *store, uint64_t version) {
    CHECK_U64(KEYS, simdrive_count(store));
    for (uint64_t key = 0; key < KEYS; key++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, test_key_hash(key), &entry));
        CHECK_U64(version, check_value(key, entry.data, entry.size, VALUE_MAX));
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
}

/* The file, opened anew. */
static void check_file(const bench *b, uint64_t version) {
    simdrive_store *store = test_open_read_only(b->path);
    check_all(store, version);
    CHECK_OK(simdrive_close(store));
}

static simdrive_status wait_for_end(simdrive_store *store, uint64_t *saved) {
    return simdrive_compact_wait(store, UINT32_MAX, saved);
}

/* --- a compaction that is stopped in its callback until the test lets it go on ------------------------------------ */

typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool reached, open;
    simdrive_store *store;
    simdrive_status inside; /* what waiting in the callback gave */
} gate;

static void gate_begin(gate *g, simdrive_store *store) {
    *g = (gate){.store = store};
    CHECK(pthread_mutex_init(&g->mutex, NULL) == 0 && pthread_cond_init(&g->changed, NULL) == 0);
}

static void gate_end(gate *g) {
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->mutex);
}

static simdrive_status stop_at_gate(void *user, uint64_t done, uint64_t total) {
    gate *g = user;
    CHECK(done <= total);
    g->inside = simdrive_compact_wait(g->store, UINT32_MAX, NULL);
    pthread_mutex_lock(&g->mutex);
    g->reached = true;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
    return SIMDRIVE_OK;
}

static void gate_wait(gate *g) {
    pthread_mutex_lock(&g->mutex);
    while (!g->reached) pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static void gate_open(gate *g) {
    pthread_mutex_lock(&g->mutex);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

/* Begins one and returns when it is at the gate. */
static void begin_at_gate(bench *b, gate *g) {
    gate_begin(g, b->store);
    const simdrive_work_options work = {sizeof work, stop_at_gate, g};
    CHECK_OK(simdrive_compact_begin(b->store, &work));
    gate_wait(g);
}

typedef struct waiter {
    simdrive_store *store;
    simdrive_status status;
    uint64_t saved;
} waiter;

static void *wait_main(void *user) {
    waiter *w = user;
    w->status = wait_for_end(w->store, &w->saved);
    return NULL;
}

static void one_runs_at_a_time_and_all_who_wait_are_told(void **state) {
    (void)state;
    test_context("begin, begin again, wait");
    enum { WAITERS = 3 };
    bench b;
    gate g;
    pthread_t threads[WAITERS];
    waiter waiters[WAITERS];
    uint64_t saved = 1;
    bench_begin(&b, NULL);
    CHECK_OK(simdrive_compact_wait(b.store, 0, &saved));
    CHECK_U64(0, saved);
    simdrive_compact_cancel(b.store); /* none runs: nothing happens, to the next one either */
    size_t before = test_file_size(b.path);
    begin_at_gate(&b, &g);
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, g.inside);
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact_begin(b.store, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact(b.store, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_END, simdrive_compact_wait(b.store, 0, NULL));
    CHECK_STATUS(SIMDRIVE_END, simdrive_compact_wait(b.store, 3, &saved));
    CHECK(atomic_load(&b.store->stats.compaction_runs));
    for (size_t i = 0; i < WAITERS; i++) {
        waiters[i] = (waiter){.store = b.store};
        CHECK(pthread_create(&threads[i], NULL, wait_main, &waiters[i]) == 0);
    }
    gate_open(&g);
    CHECK_OK(wait_for_end(b.store, &saved));
    CHECK_U64(before - test_file_size(b.path), saved);
    CHECK(saved > 0);
    for (size_t i = 0; i < WAITERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_OK(waiters[i].status);
        CHECK_U64(saved, waiters[i].saved);
    }
    CHECK_U64(1, atomic_load(&b.store->stats.compactions));
    CHECK_U64(saved, atomic_load(&b.store->stats.compaction_saved_bytes));
    CHECK(!atomic_load(&b.store->stats.compaction_runs) && atomic_load(&b.store->stats.compaction_pause_max_ns) > 0);
    /* The next one ends the thread of the one before; there is nothing to gain now. */
    CHECK_OK(simdrive_compact_begin(b.store, NULL));
    CHECK_OK(wait_for_end(b.store, &saved));
    CHECK_U64(0, saved);
    CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    gate_end(&g);
    check_all(b.store, 2);
    check_file(&b, 2);
    bench_end(&b);
}

static void what_cannot_be_compacted_is_refused_at_once(void **state) {
    (void)state;
    test_context("refused");
    bench b;
    bench_begin(&b, NULL);
    simdrive_work_options wrong = {.struct_size = 1};
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_compact_begin(b.store, &wrong));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_compact_begin(NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_compact_wait(NULL, 0, NULL));
    simdrive_compact_cancel(NULL);
    simdrive_store *reader = test_open_read_only(b.path);
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_compact_begin(reader, NULL));
    CHECK_OK(simdrive_compact_wait(reader, 0, NULL));
    simdrive_compact_cancel(reader);
    CHECK_OK(simdrive_close(reader));
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin(b.store, "s", 1, 0, &stream));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact_begin(b.store, NULL));
    CHECK_OK(simdrive_stream_abort(stream));
    sdi_fault_plan broken = {.kind = SDI_FAULT_SYNC, .nth = 1, .status = SIMDRIVE_ERROR_IO, .os_error = EIO};
    sdi_fault_os_arm(b.faults, &broken);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_sync(b.store, NULL));
    sdi_fault_os_disarm(b.faults);
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_compact_begin(b.store, NULL));
    CHECK_OK(simdrive_compact_wait(b.store, 0, NULL)); /* none has run */
    check_all(b.store, 2);
    bench_end(&b);
}

static void the_outcome_of_a_failure_is_kept(void **state) {
    (void)state;
    test_context("a compaction that fails in its thread");
    bench b;
    bench_begin(&b, NULL);
    sdi_fault_plan full = {.kind = SDI_FAULT_WRITE_PIECES_AT, .nth = 1, .status = SIMDRIVE_ERROR_NO_SPACE,
                           .os_error = ENOSPC};
    sdi_fault_os_arm(b.faults, &full);
    CHECK_OK(simdrive_compact_begin(b.store, NULL));
    for (int i = 0; i < 2; i++) { /* told as often as it is asked for */
        CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, wait_for_end(b.store, NULL));
        CHECK_U64(ENOSPC, simdrive_last_os_error());
    }
    sdi_fault_os_disarm(b.faults);
    CHECK_U64(1, atomic_load(&b.store->stats.compactions_failed));
    CHECK_U64(SIMDRIVE_ERROR_NO_SPACE, atomic_load(&b.store->stats.compaction_status));
    CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    CHECK_OK(simdrive_compact_wait(b.store, 0, NULL));
    check_all(b.store, 2);
    bench_end(&b);
}

/* --- cancelling --------------------------------------------------------------------------------------------------- */

static void wait_until_it_wants_the_place(simdrive_store *store) {
    for (bool wanted = false; !wanted; sched_yield()) {
        sdi_mutex_lock(&store->mutex);
        wanted = store->turns != NULL;
        sdi_mutex_unlock(&store->mutex);
    }
}

/* While a pushed stream is open the compaction waits for its end, unless it is cancelled. */
static void beside_an_open_stream(bool cancel) {
    bench b;
    gate g;
    simdrive_stream *stream = NULL;
    uint8_t value[VALUE_MAX];
    bench_begin(&b, NULL);
    begin_at_gate(&b, &g);
    CHECK_OK(simdrive_stream_begin_hash(b.store, test_key_hash(0), 0, &stream));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact_wait(b.store, UINT32_MAX, NULL)); /* for this thread's stream */
    gate_open(&g);
    wait_until_it_wants_the_place(b.store);
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_write(b.store, "k", 1, "v", 1, NULL));
    if (cancel) {
        simdrive_compact_cancel(b.store);
        while (atomic_load(&b.store->stats.compaction_runs)) sched_yield();
    }
    CHECK_OK(simdrive_stream_append(stream, value, make_value(value, 0, 2, VALUE_MAX)));
    CHECK_OK(simdrive_stream_commit(stream, NULL));
    CHECK_STATUS(cancel ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK, wait_for_end(b.store, NULL));
    gate_end(&g);
    check_all(b.store, 2);
    check_file(&b, 2);
    bench_end(&b);
}

static void it_waits_for_a_stream_until_it_is_cancelled(void **state) {
    (void)state;
    test_context("beside an open stream");
    beside_an_open_stream(false);
    beside_an_open_stream(true);
}

/* Cancels in the n-th call to the system that is made from now on. */
typedef struct canceller {
    simdrive_store *store;
    uint64_t calls, nth;
    bool fired, renamed_before;
} canceller;

static void cancel_at_call(void *user, sdi_fault_kind kind, const char *path) {
    canceller *c = user;
    (void)path;
    if (++c->calls == c->nth) {
        simdrive_compact_cancel(c->store);
        c->fired = true;
    }
    if (kind == SDI_FAULT_RENAME && !c->fired) c->renamed_before = true;
    if (kind == SDI_FAULT_RENAME && c->calls == c->nth) c->renamed_before = true; /* too late in this very call */
}

static bool cancel_in_call(uint64_t nth) {
    bench b;
    bench_begin(&b, NULL);
    size_t before_size, after_size;
    uint8_t *before = test_file_get(b.path, &before_size);
    canceller c = {.store = b.store, .nth = nth};
    sdi_fault_os_set_hook(b.faults, cancel_at_call, &c);
    simdrive_status status = simdrive_compact(b.store, NULL, NULL);
    sdi_fault_os_set_hook(b.faults, NULL, NULL);
    CHECK_STATUS(c.fired && !c.renamed_before ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_OK, status);
    uint8_t *after = test_file_get(b.path, &after_size);
    if (status == SIMDRIVE_ERROR_CANCELLED)
        CHECK(after_size == before_size && memcmp(before, after, before_size) == 0);
    else
        CHECK(after_size < before_size);
    free(before);
    free(after);
    CHECK_U64(1, test_folder_count(&b.folder, "", NULL));
    check_all(b.store, 2);
    check_file(&b, 2);
    for (uint64_t key = 0; key < KEYS; key++) put(b.store, key, 3); /* it goes on, and the next one is not cancelled */
    CHECK_OK(simdrive_compact(b.store, NULL, NULL));
    check_all(b.store, 3);
    bench_end(&b);
    return c.fired;
}

static void cancelled_at_any_call_the_store_is_as_before(void **state) {
    (void)state;
    bool fired = true;
    for (uint64_t nth = 1; fired; nth++) {
        test_context("cancelled in call %llu", (unsigned long long)nth);
        fired = cancel_in_call(nth);
        CHECK(nth < 200);
    }
}

typedef struct stepper {
    simdrive_store *store;
    uint64_t calls, nth, last_done;
} stepper;

static simdrive_status cancel_at_step(void *user, uint64_t done, uint64_t total) {
    stepper *s = user;
    CHECK(done <= total && done >= s->last_done);
    CHECK(done - s->last_done <= (uint64_t)64 << 20);
    s->last_done = done;
    if (++s->calls == s->nth) simdrive_compact_cancel(s->store);
    return SIMDRIVE_OK;
}

/* Payloads larger than what is copied at a time: there are steps within them. */
static void cancelled_at_any_step_of_progress_the_store_is_as_before(void **state) {
    (void)state;
    enum { LARGE = 40 << 20 };
    bench b;
    bench_begin(&b, NULL);
    uint8_t *payload = test_alloc(LARGE);
    memset(payload, 5, LARGE);
    for (uint64_t i = 0; i < 3; i++) CHECK_OK(simdrive_write_hash(b.store, 1000 + i / 2, payload, LARGE, NULL));
    free(payload);
    uint64_t tail = simdrive_tail(b.store);
    uint64_t steps = 0;
    for (uint64_t nth = 1;; nth++) {
        test_context("cancelled at step %llu", (unsigned long long)nth);
        stepper s = {.store = b.store, .nth = nth};
        const simdrive_work_options work = {sizeof work, cancel_at_step, &s};
        CHECK_OK(simdrive_compact_begin(b.store, &work));
        simdrive_status status = wait_for_end(b.store, NULL);
        if (s.calls < nth) {
            CHECK_OK(status);
            break;
        }
        steps = nth;
        CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, status);
        CHECK_U64(tail, simdrive_tail(b.store));
        CHECK_U64(tail, test_file_size(b.path));
        CHECK_U64(1, test_folder_count(&b.folder, "", NULL));
    }
    CHECK(steps >= 2 * (LARGE >> 24)); /* one for each piece of 16 MiB, not one for each entry */
    CHECK(simdrive_tail(b.store) < tail);
    bench_end(&b);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

/* Holds the compaction in its n-th call until it is cancelled, which closing does. */
typedef struct holder {
    simdrive_store *store;
    pthread_t caller;
    atomic_uint_fast64_t calls;
    uint64_t nth;
    atomic_bool held;
} holder;

static void hold_at_call(void *user, sdi_fault_kind kind, const char *path) {
    holder *h = user;
    (void)kind;
    (void)path;
    if (pthread_equal(pthread_self(), h->caller) || atomic_fetch_add(&h->calls, 1) + 1 != h->nth) return;
    atomic_store(&h->held, true);
    while (!sdi_compaction_cancelled(h->store)) sched_yield();
}

static bool close_in_call(uint64_t nth, bool with_stream) {
    bench b;
    simdrive_stream *stream = NULL;
    bench_begin(&b, NULL);
    holder h = {.store = b.store, .caller = pthread_self(), .nth = nth};
    sdi_fault_os_set_hook(b.faults, hold_at_call, &h);
    CHECK_OK(simdrive_compact_begin(b.store, NULL));
    while (!atomic_load(&h.held) && atomic_load(&b.store->stats.compaction_runs)) sched_yield();
    bool held = atomic_load(&h.held);
    /* Closing aborts the stream; when the compaction has the place there is none to begin. */
    if (with_stream) {
        bool taken = atomic_load(&b.store->place) != 0;
        if (!taken) CHECK_OK(simdrive_stream_begin(b.store, "s", 1, 0, &stream));
        if (stream) CHECK_OK(simdrive_stream_append(stream, "given up", 8));
    }
    CHECK_OK(simdrive_close(b.store));
    b.store = NULL;
    CHECK_U64(1, test_folder_count(&b.folder, "", NULL));
    check_file(&b, 2);
    bench_end(&b);
    return held;
}

static void closed_in_any_call_of_a_compaction(void **state) {
    (void)state;
    for (int with_stream = 0; with_stream < 2; with_stream++) {
        bool held = true;
        for (uint64_t nth = 1; held; nth++) {
            test_context("closed in call %llu of a compaction%s", (unsigned long long)nth,
                         with_stream ? ", a stream open" : "");
            held = close_in_call(nth, with_stream);
            CHECK(nth < 200);
        }
    }
}

static void closed_while_it_waits_for_a_stream(void **state) {
    (void)state;
    test_context("closed while the compaction waits for a stream");
    bench b;
    gate g;
    simdrive_stream *stream = NULL;
    bench_begin(&b, NULL);
    begin_at_gate(&b, &g);
    CHECK_OK(simdrive_stream_begin(b.store, "s", 1, 0, &stream));
    gate_open(&g);
    wait_until_it_wants_the_place(b.store);
    CHECK_OK(simdrive_close(b.store));
    b.store = NULL;
    gate_end(&g);
    check_file(&b, 2);
    bench_end(&b);
}

/* --- writers that are faster than the copy ------------------------------------------------------------------------ */

/* For each byte that the copier writes outside of a turn, this writer appends more than one. */
enum { FAST_KEYS = 250, FAST_MOST = 60000, FAST_FACTOR = 2 };

typedef struct fast_writer {
    simdrive_store *store;
    test_random random;
    uint64_t versions[FAST_KEYS]; /* 0: deleted */
    uint64_t next_version;
    uint64_t copied;                        /* size of the new file at the last look */
    uint64_t turns, turn_bytes, turn_most;  /* copied in this one, and in the longest */
    uint64_t came_in, came_in_most;         /* between two */
    bool in_turn;
    uint8_t value[FAST_MOST];
} fast_writer;

/* False in a turn: this thread has the place, and the write is refused. */
static bool fast_change(fast_writer *w) {
    uint64_t key = test_random_below(&w->random, FAST_KEYS), before = simdrive_tail(w->store);
    simdrive_status status;
    if (w->versions[key] != 0 && test_random_below(&w->random, 4) == 0) {
        status = simdrive_delete_hash(w->store, test_key_hash(key), NULL);
        if (status == SIMDRIVE_OK) w->versions[key] = 0;
    } else {
        size_t size = make_value(w->value, key, w->next_version, FAST_MOST);
        status = simdrive_write_hash(w->store, test_key_hash(key), w->value, size, NULL);
        if (status == SIMDRIVE_OK) w->versions[key] = w->next_version++;
    }
    if (status == SIMDRIVE_ERROR_BUSY) return false;
    CHECK_OK(status);
    w->came_in += simdrive_tail(w->store) - before;
    return true;
}

static void write_beside_the_copy(void *user, sdi_fault_kind kind, const char *path) {
    fast_writer *w = user;
    if (kind != SDI_FAULT_WRITE_PIECES_AT && kind != SDI_FAULT_SYNC) return;
    if (!strstr(path, ".compact-") || !test_file_exists(path)) return; /* the store's own file, which had such a name */
    uint64_t size = test_file_size(path), grown = size - w->copied, target = simdrive_tail(w->store) + 200000;
    target += FAST_FACTOR * grown;
    w->copied = size;
    bool was_in_turn = w->in_turn;
    w->in_turn = !fast_change(w);
    if (w->in_turn && !was_in_turn) {
        w->turns++;
        w->turn_bytes = 0;
        if (w->turns > 1 && w->came_in > w->came_in_most) w->came_in_most = w->came_in;
        w->came_in = 0;
    } else if (w->in_turn) {
        w->turn_bytes += grown;
        if (w->turn_bytes > w->turn_most) w->turn_most = w->turn_bytes;
    }
    while (!w->in_turn && simdrive_tail(w->store) < target) CHECK(fast_change(w));
}

static void check_fast(simdrive_store *store, const fast_writer *w) {
    uint64_t live = 0;
    for (uint64_t key = 0; key < FAST_KEYS; key++) {
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_read_hash(store, test_key_hash(key), &entry);
        CHECK_STATUS(w->versions[key] ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
        if (status != SIMDRIVE_OK) continue;
        live++;
        CHECK_U64(w->versions[key], check_value(key, entry.data, entry.size, FAST_MOST));
        simdrive_entry_release(&entry);
    }
    CHECK_U64(live, simdrive_count(store));
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
}

static void a_writer_faster_than_the_copy_is_caught_up_with(void **state) {
    (void)state;
    test_context("a writer that appends more than is copied");
    enum { SLICE = 4 << 20, BUFFER = 1 << 20 };
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults = sdi_fault_os_create();
    fast_writer *w = test_alloc(sizeof *w);
    memset(w, 0, sizeof *w);
    w->random = test_random_begin(700);
    w->next_version = 1;
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), test_path(&folder, "store", path), NULL, &w->store));
    for (int i = 0; i < 600; i++) CHECK(fast_change(w));
    for (int round = 0; round < 3; round++) {
        w->came_in = w->came_in_most = w->turns = w->turn_most = w->copied = 0;
        sdi_fault_os_set_hook(faults, write_beside_the_copy, w);
        CHECK_OK(simdrive_compact(w->store, NULL, NULL));
        sdi_fault_os_set_hook(faults, NULL, NULL);
        w->in_turn = false;
        CHECK(w->turns > 3);
        uint64_t slice = 2 * w->came_in_most > SLICE ? 2 * w->came_in_most : SLICE;
        CHECK(w->turn_most <= slice + FAST_MOST + BUFFER);
        CHECK_U64(simdrive_tail(w->store), test_file_size(path));
        check_fast(w->store, w);
        simdrive_store *reader = test_open_read_only(path);
        check_fast(reader, w);
        CHECK_OK(simdrive_close(reader));
        CHECK_U64(1, test_folder_count(&folder, "", NULL));
    }
    CHECK_OK(simdrive_close(w->store));
    sdi_fault_os_destroy(faults);
    free(w);
    test_folder_remove(&folder);
}

/* The place goes to and fro: neither does a writer that never pauses keep a compaction from its end, nor the other way
 * round. */
typedef struct tireless {
    simdrive_store *store;
    atomic_bool stop;
    atomic_uint_fast64_t writes;
} tireless;

static void *write_tirelessly(void *user) {
    tireless *t = user;
    for (uint64_t version = 3; !atomic_load(&t->stop); version++) {
        put(t->store, version % KEYS, version);
        atomic_fetch_add(&t->writes, 1);
    }
    return NULL;
}

static void a_writer_that_never_pauses_does_not_hold_it_up(void **state) {
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        test_context("a writer that never pauses, %s", sync ? "synced" : "not synced");
        const simdrive_open_options options = {.struct_size = sizeof options,
                                               .sync = sync ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE};
        bench b;
        pthread_t thread;
        bench_begin(&b, &options);
        tireless t = {.store = b.store};
        CHECK(pthread_create(&thread, NULL, write_tirelessly, &t) == 0);
        for (int i = 0; i < 20; i++) {
            uint64_t before = atomic_load(&t.writes);
            while (atomic_load(&t.writes) < before + 2) sched_yield();
            CHECK_OK(simdrive_compact(b.store, NULL, NULL));
        }
        atomic_store(&t.stop, true);
        pthread_join(thread, NULL);
        CHECK_U64(KEYS, simdrive_count(b.store));
        CHECK_OK(simdrive_verify(b.store, NULL, NULL, NULL, NULL));
        bench_end(&b);
    }
}

/* --- everybody at once -------------------------------------------------------------------------------------------- */

enum { WRITERS = 2, WRITER_KEYS = 150, READERS = 2 };

typedef struct crowd {
    bench b;
    atomic_bool stop;
    unsigned writer_steps;
    _Atomic uint64_t acknowledged[WRITERS][WRITER_KEYS]; /* version, 0: deleted; never deleted below STEADY */
} crowd;

enum { STEADY = WRITER_KEYS / 2 }; /* keys below are overwritten only, the others deleted too */

typedef struct member {
    crowd *c;
    unsigned number;
    test_random random;
} member;

static uint64_t crowd_key(unsigned writer, uint64_t key) {
    return 10000 * (writer + 1) + key;
}

static void crowd_write(member *m, uint64_t key, uint64_t version, bool streamed) {
    uint8_t value[VALUE_MAX];
    uint64_t name = crowd_key(m->number, key);
    size_t size = make_value(value, name, version, VALUE_MAX);
    test_source source = {.bytes = value, .size = size, .piece = 300};
    if (streamed)
        CHECK_OK(simdrive_write_stream_hash(m->c->b.store, test_key_hash(name), test_source_read, &source, 0, NULL));
    else
        CHECK_OK(simdrive_write_hash(m->c->b.store, test_key_hash(name), value, size, NULL));
    atomic_store(&m->c->acknowledged[m->number][key], version);
}

static void crowd_batch(member *m, uint64_t version) {
    enum { SIZE = 20 };
    static _Thread_local uint8_t values[SIZE][VALUE_MAX];
    simdrive_change changes[SIZE];
    for (uint64_t i = 0; i < SIZE; i++) { /* half of them below STEADY */
        uint64_t key = STEADY - SIZE / 2 + i, name = crowd_key(m->number, key);
        bool remove = i == SIZE - 1;
        size_t size = make_value(values[i], name, version, VALUE_MAX);
        changes[i] = (simdrive_change){remove ? SIMDRIVE_DELETE : SIMDRIVE_PUT, test_key_hash(name), {values[i], size}};
        if (remove) changes[i].payload = (simdrive_bytes){NULL, 0};
    }
    CHECK_OK(simdrive_apply(m->c->b.store, changes, SIZE, SIMDRIVE_BATCH_ATOMIC, NULL));
    for (uint64_t i = 0; i < SIZE; i++)
        atomic_store(&m->c->acknowledged[m->number][STEADY - SIZE / 2 + i], i == SIZE - 1 ? 0 : version);
}

static void *crowd_writer(void *user) {
    member *m = user;
    for (uint64_t step = 0; step < m->c->writer_steps; step++) {
        uint64_t key = test_random_below(&m->random, WRITER_KEYS), version = step + 2;
        if (step % 50 == 20) {
            crowd_batch(m, version);
        } else if (key >= STEADY && step % 3 == 0) {
            bool there = atomic_load(&m->c->acknowledged[m->number][key]) != 0;
            CHECK_STATUS(there ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND,
                         simdrive_delete_hash(m->c->b.store, test_key_hash(crowd_key(m->number, key)), NULL));
            atomic_store(&m->c->acknowledged[m->number][key], 0);
        } else {
            crowd_write(m, key, version, step % 11 == 3);
        }
    }
    return NULL;
}

/* Steady keys are always found, in no version older than was acknowledged before. */
static void crowd_read(member *m) {
    unsigned writer = (unsigned)test_random_below(&m->random, WRITERS);
    uint64_t key = test_random_below(&m->random, STEADY), name = crowd_key(writer, key);
    uint64_t floor = atomic_load(&m->c->acknowledged[writer][key]);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_hash(m->c->b.store, test_key_hash(name), &entry));
    CHECK(check_value(name, entry.data, entry.size, VALUE_MAX) >= floor);
    simdrive_entry_release(&entry);
}

static void crowd_iterate(member *m) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    uint64_t steady = 0;
    simdrive_status status;
    CHECK_OK(simdrive_iterate(m->c->b.store, &iterator));
    while ((status = simdrive_iterator_peek_next(iterator, &entry)) == SIMDRIVE_OK) {
        uint64_t name;
        memcpy(&name, entry->data, 8);
        check_value(name, entry->data, entry->size, VALUE_MAX);
        steady += name % 10000 < STEADY;
    }
    CHECK_STATUS(SIMDRIVE_END, status);
    simdrive_iterator_close(iterator);
    CHECK_U64(WRITERS * STEADY, steady);
}

static void crowd_session(member *m) {
    simdrive_session *session = NULL;
    CHECK_OK(simdrive_session_begin(m->c->b.store, &session));
    for (uint64_t key = 0; key < STEADY; key++) {
        uint64_t name = crowd_key(0, key), floor = atomic_load(&m->c->acknowledged[0][key]);
        simdrive_bytes payload = {0};
        CHECK_OK(simdrive_session_read_hash(session, test_key_hash(name), &payload));
        CHECK(check_value(name, payload.data, payload.size, VALUE_MAX) >= floor);
    }
    simdrive_session_end(session);
}

static void *crowd_reader(void *user) {
    member *m = user;
    while (!atomic_load(&m->c->stop)) {
        for (int i = 0; i < 100; i++) crowd_read(m);
        crowd_iterate(m);
        crowd_session(m);
    }
    return NULL;
}

/* Begins one after the other, cancels some, and waits for none, some time, or the end. */
static void *crowd_compactor(void *user) {
    member *m = user;
    simdrive_store *store = m->c->b.store;
    while (!atomic_load(&m->c->stop)) {
        simdrive_status status = simdrive_compact_begin(store, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY);
        uint64_t what = test_random_below(&m->random, 4);
        if (what == 0) simdrive_compact_cancel(store);
        if (what == 1) {
            status = simdrive_compact_wait(store, 1, NULL);
            CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_END || status == SIMDRIVE_ERROR_CANCELLED);
        } else if (what > 1) {
            uint64_t saved;
            status = wait_for_end(store, &saved);
            CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CANCELLED);
            CHECK(status == SIMDRIVE_OK || saved == 0);
        }
    }
    return NULL;
}

static void crowd_check(simdrive_store *store, crowd *c) {
    uint64_t live = 0;
    for (unsigned writer = 0; writer < WRITERS; writer++) {
        for (uint64_t key = 0; key < WRITER_KEYS; key++) {
            uint64_t version = atomic_load(&c->acknowledged[writer][key]), name = crowd_key(writer, key);
            simdrive_entry entry = {0};
            simdrive_status status = simdrive_read_hash(store, test_key_hash(name), &entry);
            CHECK_STATUS(version ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
            if (status != SIMDRIVE_OK) continue;
            live++;
            CHECK_U64(version, check_value(name, entry.data, entry.size, VALUE_MAX));
            simdrive_entry_release(&entry);
        }
    }
    CHECK_U64(live, simdrive_count(store));
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
}

static void run_crowd(const simdrive_open_options *options, bool by_hand, unsigned steps) {
    crowd *c = test_alloc(sizeof *c);
    memset(c, 0, sizeof *c);
    c->writer_steps = steps;
    c->b.folder = test_folder_create();
    c->b.faults = sdi_fault_os_create();
    test_path(&c->b.folder, "store", c->b.path);
    CHECK_OK(simdrive_open(c->b.path, options, &c->b.store));
    member members[WRITERS + READERS + 1];
    pthread_t threads[WRITERS + READERS + 1];
    for (unsigned i = 0; i < WRITERS + READERS + 1; i++)
        members[i] = (member){c, i, test_random_begin(800 + i)};
    for (unsigned i = 0; i < WRITERS; i++)
        for (uint64_t key = 0; key < WRITER_KEYS; key++) crowd_write(&members[i], key, 1, false);
    for (unsigned i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, crowd_writer, &members[i]) == 0);
    for (unsigned i = WRITERS; i < WRITERS + READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, crowd_reader, &members[i]) == 0);
    unsigned last = WRITERS + READERS;
    if (by_hand) CHECK(pthread_create(&threads[last], NULL, crowd_compactor, &members[last]) == 0);
    for (unsigned i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    atomic_store(&c->stop, true);
    for (unsigned i = WRITERS; i < last + by_hand; i++) pthread_join(threads[i], NULL);
    simdrive_status status = wait_for_end(c->b.store, NULL);
    CHECK(status == SIMDRIVE_OK || (by_hand && status == SIMDRIVE_ERROR_CANCELLED));
    CHECK(atomic_load(&c->b.store->stats.compactions) > 0);
    crowd_check(c->b.store, c);
    CHECK_OK(simdrive_close(c->b.store));
    c->b.store = test_open_read_only(c->b.path);
    crowd_check(c->b.store, c);
    bench_end(&c->b);
    free(c);
}

static void nothing_is_lost_beside_compactions_in_a_thread(void **state) {
    (void)state;
    test_context("writers and readers beside compactions in a thread");
    run_crowd(NULL, true, 4000);
}

static void nothing_is_lost_beside_compactions_by_policy(void **state) {
    (void)state;
    test_context("writers and readers beside compactions by policy");
    const simdrive_open_options options = {.struct_size = sizeof options, .compact_stale_percent = 30,
                                           .compact_min_bytes = 100000, .sync = SIMDRIVE_SYNC_INTERVAL,
                                           .sync_interval_ms = 1};
    run_crowd(&options, false, 6000);
    const simdrive_open_options tiny_maps = {.struct_size = sizeof tiny_maps, .compact_stale_percent = 1,
                                             .compact_min_bytes = 1, .map_reserve_bytes = 4096};
    run_crowd(&tiny_maps, true, 1500);
}

/* --- the policy --------------------------------------------------------------------------------------------------- */

enum { POLICY_MIN = 200000 };

static simdrive_open_options policy(uint32_t percent) {
    return (simdrive_open_options){.struct_size = sizeof(simdrive_open_options), .compact_stale_percent = percent,
                                   .compact_min_bytes = POLICY_MIN};
}

static uint64_t ended(const simdrive_store *store) {
    return atomic_load(&store->stats.compactions) + atomic_load(&store->stats.compactions_failed);
}

static void the_policy_begins_when_both_limits_are_reached(void **state) {
    (void)state;
    for (uint32_t percent = 0; percent <= 90; percent += 30) {
        test_context("policy of %u percent", (unsigned)percent);
        const simdrive_open_options options = policy(percent);
        bench b;
        bench_begin(&b, &options);
        uint64_t live = test_info(b.store).live_bytes, most = 0;
        for (uint64_t version = 3; version < 60; version++) {
            for (uint64_t key = 0; key < KEYS; key++) {
                uint64_t tail = simdrive_tail(b.store);
                put(b.store, key, version);
                CHECK_OK(wait_for_end(b.store, NULL));
                most = simdrive_tail(b.store) > most ? simdrive_tail(b.store) : most;
                uint64_t dead = tail - live; /* about: padding and metadata of what lives are in it */
                if (simdrive_tail(b.store) < tail) CHECK(dead >= POLICY_MIN && dead * 100 >= tail * percent);
            }
        }
        CHECK(percent == 0 ? ended(b.store) == 0 : ended(b.store) > 0);
        CHECK_U64(0, atomic_load(&b.store->stats.compactions_failed));
        /* Stale bytes never got far past what either limit allows. */
        uint64_t room = POLICY_MIN + live + 200000;
        if (percent > 0) CHECK(most < room * 100 / (100 - percent));
        check_all(b.store, 59);
        bench_end(&b);
    }
}

static void each_way_of_writing_wakes_the_policy(void **state) {
    (void)state;
    for (int way = 0; way < 5; way++) {
        test_context("policy, way of writing %d", way);
        const simdrive_open_options options = policy(10);
        bench b;
        bench_begin(&b, &options);
        uint8_t *large = test_alloc(POLICY_MIN);
        memset(large, 3, POLICY_MIN);
        CHECK_OK(simdrive_write(b.store, "large", 5, large, POLICY_MIN, NULL));
        test_source source = {.bytes = large, .size = 100, .piece = 50};
        simdrive_stream *stream = NULL;
        CHECK_OK(wait_for_end(b.store, NULL));
        CHECK_U64(0, ended(b.store));
        switch (way) {
        case 0: CHECK_OK(simdrive_write(b.store, "large", 5, "small", 5, NULL)); break;
        case 1: CHECK_OK(simdrive_delete(b.store, "large", 5, NULL)); break;
        case 2: CHECK_OK(simdrive_rename(b.store, "large", 5, "other", 5, NULL)); break;
        case 3: CHECK_OK(simdrive_write_stream(b.store, "large", 5, test_source_read, &source, 0, NULL)); break;
        default:
            CHECK_OK(simdrive_stream_begin(b.store, "large", 5, 0, &stream));
            CHECK_OK(simdrive_stream_append(stream, large, 100));
            CHECK_OK(simdrive_stream_commit(stream, NULL));
        }
        CHECK_OK(wait_for_end(b.store, NULL));
        CHECK_U64(1, ended(b.store));
        free(large);
        bench_end(&b);
    }
}

static void the_policy_looks_after_opening_too(void **state) {
    (void)state;
    test_context("policy at opening");
    bench b;
    bench_begin(&b, NULL);
    for (uint64_t version = 3; version < 20; version++)
        for (uint64_t key = 0; key < KEYS; key++) put(b.store, key, version);
    CHECK_OK(simdrive_close(b.store));
    size_t before = test_file_size(b.path);
    simdrive_open_options options = policy(50);
    options.read_only = true;
    CHECK_OK(simdrive_open(b.path, &options, &b.store));
    CHECK_OK(wait_for_end(b.store, NULL));
    CHECK_U64(0, ended(b.store));
    CHECK_OK(simdrive_close(b.store));
    CHECK_U64(before, test_file_size(b.path));
    options.read_only = false;
    CHECK_OK(simdrive_open(b.path, &options, &b.store));
    CHECK_OK(wait_for_end(b.store, NULL));
    CHECK_U64(1, ended(b.store));
    CHECK(test_file_size(b.path) < before / 2);
    CHECK_OK(simdrive_close(b.store));
    options.compact_stale_percent = 101;
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_open(b.path, &options, &b.store));
    options.compact_stale_percent = 100;
    CHECK_OK(simdrive_open(b.path, &options, &b.store));
    check_all(b.store, 19);
    bench_end(&b);
}

/* Each failure puts it off until a quarter more is stale. */
static void a_failing_policy_does_not_storm(void **state) {
    (void)state;
    test_context("policy that cannot succeed");
    const simdrive_open_options options = policy(20);
    bench b;
    bench_begin(&b, &options);
    sdi_fault_plan broken = {.kind = SDI_FAULT_RENAME, .nth = 1, .for_ever = true,
                             .status = SIMDRIVE_ERROR_NO_SPACE, .os_error = ENOSPC};
    sdi_fault_os_arm(b.faults, &broken);
    uint64_t version = 3, last_failures = 0, last_tail = 0;
    for (; version < 200; version++) {
        for (uint64_t key = 0; key < KEYS; key++) {
            put(b.store, key, version);
            simdrive_status status = wait_for_end(b.store, NULL);
            CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_NO_SPACE);
            uint64_t failures = atomic_load(&b.store->stats.compactions_failed), tail = simdrive_tail(b.store);
            if (failures == last_failures) continue;
            CHECK_U64(last_failures + 1, failures);
            CHECK(last_tail == 0 || tail - last_tail >= POLICY_MIN / 4);
            CHECK(last_tail == 0 || tail * 100 >= last_tail * 115); /* a quarter of what is stale of it */
            last_failures = failures;
            last_tail = tail;
        }
    }
    CHECK(last_failures >= 3 && last_failures < 30);
    sdi_fault_os_disarm(b.faults);
    while (atomic_load(&b.store->stats.compactions) == 0) {
        for (uint64_t key = 0; key < KEYS; key++) put(b.store, key, version);
        CHECK(simdrive_compact_wait(b.store, UINT32_MAX, NULL) != SIMDRIVE_END);
        version++;
    }
    CHECK(simdrive_tail(b.store) < last_tail);
    check_all(b.store, version - 1);
    bench_end(&b);
}

enum { HANG_SECONDS = 280 };

/* The thread may not have begun when it is joined. */
static void closed_right_after_it_was_begun(void **state) {
    (void)state;
    test_context("close after begin");
    for (unsigned round = 0; round < 50; round++) {
        bench b;
        bench_begin(&b, NULL);
        CHECK_OK(simdrive_compact_begin(b.store, NULL));
        CHECK_OK(simdrive_close(b.store));
        b.store = NULL;
        bench_end(&b);
    }
}

/* The folder cannot be synced after the files have changed places, while a write is about to sync the new file. */
static struct {
    sdi_os table;
    pthread_t writer;
    _Atomic int step; /* 1: the folder is being synced; 2: so is the written file; 3: the folder's sync has failed */
    simdrive_store *store;
} meeting;

static simdrive_status meeting_sync_folder(const sdi_os *os, const char *path) {
    (void)os;
    if (atomic_load(&meeting.step) != 0) return sdi_os_native()->sync_folder_of(sdi_os_native(), path);
    atomic_store(&meeting.step, 1);
    while (atomic_load(&meeting.step) != 2) sched_yield();
    sdi_set_os_error(EIO);
    return SIMDRIVE_ERROR_IO;
}

static simdrive_status meeting_sync(const sdi_os *os, sdi_file *file) {
    (void)os;
    simdrive_status status = sdi_os_native()->sync(sdi_os_native(), file);
    if (atomic_load(&meeting.step) == 1) {
        atomic_store(&meeting.step, 2);
        while (!atomic_load(&meeting.store->poisoned)) sched_yield();
    }
    return status;
}

static void *meeting_write(void *user) {
    (void)user;
    while (atomic_load(&meeting.step) != 1) sched_yield();
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_write_hash(meeting.store, 1, "value", 5, NULL));
    return NULL;
}

static void a_write_does_not_repeat_a_failed_sync_of_the_folder(void **state) {
    (void)state;
    test_context("a write beside a failed sync of the folder");
    test_folder folder = test_folder_create();
    char path[TEST_PATH_MAX];
    simdrive_open_options options = {.struct_size = sizeof options, .sync = SIMDRIVE_SYNC_COMMIT};
    meeting.table = *sdi_os_native();
    meeting.step = 9;
    CHECK_OK(sdi_open_with_os(&meeting.table, test_path(&folder, "store", path), &options, &meeting.store));
    for (unsigned i = 0; i < 50; i++) CHECK_OK(simdrive_write_hash(meeting.store, 7, "value", 5, NULL));
    meeting.table.sync_folder_of = meeting_sync_folder;
    meeting.table.sync = meeting_sync;
    meeting.step = 0;
    CHECK(pthread_create(&meeting.writer, NULL, meeting_write, NULL) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_compact(meeting.store, NULL, NULL));
    pthread_join(meeting.writer, NULL);
    simdrive_info info = test_info(meeting.store);
    CHECK(info.poisoned && info.durable_tail == 0);
    simdrive_close(meeting.store);
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_runs_at_a_time_and_all_who_wait_are_told),
        cmocka_unit_test(what_cannot_be_compacted_is_refused_at_once),
        cmocka_unit_test(the_outcome_of_a_failure_is_kept),
        cmocka_unit_test(it_waits_for_a_stream_until_it_is_cancelled),
        cmocka_unit_test(cancelled_at_any_call_the_store_is_as_before),
        cmocka_unit_test(cancelled_at_any_step_of_progress_the_store_is_as_before),
        cmocka_unit_test(closed_in_any_call_of_a_compaction),
        cmocka_unit_test(closed_while_it_waits_for_a_stream),
        cmocka_unit_test(closed_right_after_it_was_begun),
        cmocka_unit_test(a_write_does_not_repeat_a_failed_sync_of_the_folder),
        cmocka_unit_test(a_writer_faster_than_the_copy_is_caught_up_with),
        cmocka_unit_test(a_writer_that_never_pauses_does_not_hold_it_up),
        cmocka_unit_test(nothing_is_lost_beside_compactions_in_a_thread),
        cmocka_unit_test(nothing_is_lost_beside_compactions_by_policy),
        cmocka_unit_test(the_policy_begins_when_both_limits_are_reached),
        cmocka_unit_test(each_way_of_writing_wakes_the_policy),
        cmocka_unit_test(the_policy_looks_after_opening_too),
        cmocka_unit_test(a_failing_policy_does_not_storm),
    };
    alarm(HANG_SECONDS); /* a deadlock ends the program */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
