/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c — operations on a store, in threads.
 *
 * While one lane has a pushed stream open, the others' calls give ERROR_BUSY; they try again until it is over. Nothing
 * else is expected to fail but what the manual says of compaction and reclaim.
 */
#include "session.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"

enum {
    OPEN_TRIES = 10000, /* a millisecond apart */
    IDLE_US = 1000,
    COMPACT_MIN = 1 << 16,
    COMPACT_STALE_PERCENT = 40
};

/* --- one operation ----------------------------------------------------------------------------------------------- */

typedef struct value_source {
    const uint8_t *bytes;
    size_t size, piece;
} value_source;

static simdrive_status give(void *user, void *buffer, size_t capacity, size_t *produced) {
    value_source *source = user;
    size_t size = source->size < source->piece ? source->size : source->piece;
    if (size > capacity) size = capacity;
    memcpy(buffer, source->bytes, size);
    source->bytes += size;
    source->size -= size;
    *produced = size;
    return SIMDRIVE_OK;
}

/* Whether a call that found the store busy is to be made again. */
static bool again(simdrive_status status) {
    if (status == SIMDRIVE_ERROR_BUSY) sched_yield();
    return status == SIMDRIVE_ERROR_BUSY;
}

static uint8_t *bytes_of(const kill_value *value) {
    uint8_t *bytes = malloc((size_t)value->size + 1);
    REQUIRE(bytes);
    if (value->size > 0) kill_value_fill(value, bytes);
    return bytes;
}

static void push(simdrive_store *store, const char *key, const uint8_t *bytes, size_t size, size_t piece, bool commit) {
    simdrive_stream *stream = NULL;
    simdrive_status status;
    do {
        status = simdrive_stream_begin(store, key, KILL_KEY_SIZE, piece, &stream);
    } while (again(status));
    REQUIRE_OK(status);
    for (size_t at = 0; at < size; at += piece)
        REQUIRE_OK(simdrive_stream_append(stream, bytes + at, size - at < piece ? size - at : piece));
    REQUIRE_OK(commit ? simdrive_stream_commit(stream, NULL) : simdrive_stream_abort(stream));
}

static void put(simdrive_store *store, const kill_operation *operation) {
    const kill_step *step = &operation->steps[0];
    size_t size = (size_t)step->value.size;
    uint8_t *bytes = bytes_of(&step->value);
    simdrive_status status = SIMDRIVE_OK;
    char key[KILL_KEY_SIZE];
    kill_key(operation->lane, step->key, key);
    if (operation->kind == KILL_PUSH) {
        if (operation->piece % 4 == 0) push(store, key, bytes, size / 2, operation->piece, false);
        push(store, key, bytes, size, operation->piece, true);
    } else {
        do {
            value_source source = {bytes, size, operation->piece};
            status = operation->kind == KILL_STREAM
                         ? simdrive_write_stream(store, key, sizeof key, give, &source, 0, NULL)
                         : simdrive_write(store, key, sizeof key, bytes, size, NULL);
        } while (again(status));
    }
    REQUIRE_OK(status);
    free(bytes);
}

static void apply_batch(simdrive_store *store, const kill_operation *operation) {
    simdrive_change changes[KILL_STEPS];
    uint8_t *bytes[KILL_STEPS];
    simdrive_status status;
    for (unsigned i = 0; i < operation->count; i++) {
        const kill_step *step = &operation->steps[i];
        char key[KILL_KEY_SIZE];
        kill_key(operation->lane, step->key, key);
        bytes[i] = bytes_of(&step->value);
        changes[i] = (simdrive_change){step->value.operation ? SIMDRIVE_PUT : SIMDRIVE_DELETE,
                                       simdrive_hash_key(key, sizeof key),
                                       {bytes[i], (size_t)step->value.size}};
    }
    simdrive_batch_mode mode = operation->kind == KILL_PLAIN ? SIMDRIVE_BATCH_PLAIN : SIMDRIVE_BATCH_ATOMIC;
    do {
        status = simdrive_apply(store, changes, operation->count, mode, NULL);
    } while (again(status));
    REQUIRE_OK(status);
    for (unsigned i = 0; i < operation->count; i++) free(bytes[i]);
}

static void remove_or_rename(simdrive_store *store, const kill_operation *operation) {
    char key[KILL_KEY_SIZE], new_key[KILL_KEY_SIZE];
    simdrive_status status;
    kill_key(operation->lane, operation->steps[0].key, key);
    kill_key(operation->lane, operation->steps[1].key, new_key);
    do {
        status = operation->kind == KILL_RENAME
                     ? simdrive_rename(store, key, sizeof key, new_key, sizeof new_key, NULL)
                     : simdrive_delete(store, key, sizeof key, NULL);
    } while (again(status));
    if (status != SIMDRIVE_NOT_FOUND) REQUIRE_OK(status);
}

void kill_perform(simdrive_store *store, const kill_operation *operation) {
    switch (operation->kind) {
    case KILL_BATCH:
    case KILL_PLAIN: apply_batch(store, operation); break;
    case KILL_DELETE:
    case KILL_RENAME: remove_or_rename(store, operation); break;
    default: put(store, operation);
    }
}

/* --- a session --------------------------------------------------------------------------------------------------- */

typedef struct lane_work {
    const kill_session *session;
    simdrive_store *store;
    unsigned lane;
    pthread_t thread;
    _Atomic unsigned *working;
} lane_work;

static void *run_lane(void *argument) {
    lane_work *work = argument;
    const kill_session *session = work->session;
    uint64_t number = session->done[work->lane];
    for (uint64_t i = 0; session->count == 0 || i < session->count; i++) {
        kill_operation operation;
        kill_operation_make(session->history, work->lane, ++number, &operation);
        if (session->begun) session->begun(session->user, work->lane, number);
        kill_perform(work->store, &operation);
        if (session->acknowledged) session->acknowledged(session->user, work->store, work->lane, number);
    }
    atomic_fetch_sub(work->working, 1);
    return NULL;
}

static simdrive_status take_care(simdrive_store *store, kill_care what) {
    simdrive_status status;
    switch (what) {
    case KILL_CARE_COMPACT: return simdrive_compact(store, NULL, NULL);
    case KILL_CARE_RECLAIM: return simdrive_reclaim(store, NULL, NULL);
    case KILL_CARE_SYNC: return simdrive_sync(store, NULL);
    default:
        status = simdrive_compact_begin(store, NULL);
        if (status == SIMDRIVE_OK && what == KILL_CARE_COMPACT_CANCELLED) simdrive_compact_cancel(store);
        return status;
    }
}

static void care_while_lanes_work(const kill_session *session, simdrive_store *store, _Atomic unsigned *working) {
    uint64_t random = session->seed;
    while (atomic_load(working) > 0) {
        random = kill_mix(random, 3);
        usleep((useconds_t)((random >> 8) % (session->care_pause_us ? session->care_pause_us : IDLE_US)));
        if (session->care_pause_us == 0) continue;
        kill_care what = (kill_care)(random % KILL_CARES);
        simdrive_status status = take_care(store, what);
        REQUIRE(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY || status == SIMDRIVE_ERROR_CANCELLED ||
                (status == SIMDRIVE_ERROR_UNSUPPORTED && what == KILL_CARE_RECLAIM));
        if (session->cared) session->cared(session->user, what, status);
    }
}

static simdrive_store *open_store(const kill_session *session) {
    simdrive_store *store = NULL;
    simdrive_status status = SIMDRIVE_ERROR_LOCKED;
    for (int i = 0; i < OPEN_TRIES && status == SIMDRIVE_ERROR_LOCKED; i++) {
        if (i > 0) usleep(1000);
        status = simdrive_open(session->path, &session->options, &store);
    }
    REQUIRE_OK(status);
    return store;
}

void kill_session_run(const kill_session *session) {
    lane_work lanes[KILL_LANES];
    _Atomic unsigned working = session->history->lanes;
    simdrive_store *store = open_store(session);
    if (session->opened) session->opened(session->user);
    for (unsigned i = 0; i < session->history->lanes; i++) {
        lanes[i] = (lane_work){.session = session, .store = store, .lane = i, .working = &working};
        REQUIRE(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]) == 0);
    }
    care_while_lanes_work(session, store, &working);
    for (unsigned i = 0; i < session->history->lanes; i++) REQUIRE(pthread_join(lanes[i].thread, NULL) == 0);
    if (session->closing) session->closing(session->user);
    REQUIRE_OK(simdrive_close(store));
}

simdrive_open_options kill_session_options(uint64_t seed) {
    simdrive_open_options options = {.struct_size = sizeof options};
    options.sync = kill_mix(seed, 1) % 4 == 0 ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE;
    options.append = kill_mix(seed, 2) % 2 == 0 ? SIMDRIVE_APPEND_WRITE : SIMDRIVE_APPEND_MAP;
    options.saved_index = (simdrive_saved_index)(kill_mix(seed, 3) % 3);
    options.compact_min_bytes = COMPACT_MIN;
    options.compact_stale_percent = kill_mix(seed, 4) % 3 == 0 ? COMPACT_STALE_PERCENT : 0;
    return options;
}

void kill_session_describe(const simdrive_open_options *options, char *out, size_t size) {
    static const char *const index[] = {"auto", "off", "always"};
    snprintf(out, size, "sync %s, append %s, saved index %s, compacts at %u %%",
             options->sync == SIMDRIVE_SYNC_COMMIT ? "commit" : "none",
             options->append == SIMDRIVE_APPEND_MAP ? "map" : "write", index[options->saved_index],
             options->compact_stale_percent);
}
