/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c — writers that arrive together are committed together.
 *
 * A writer that finds the place free takes it and appends. One that finds it taken leaves his request in a queue and
 * sleeps. Whoever wakes first when the place is free takes it, and the requests of all who wait: one append, one
 * publication, and where the policy is to sync, one sync for all of them. When the common append fails, for want of
 * space say, each is tried on its own, so that nobody fails for another's sake.
 *
 * All requests of a group are appended in the order in which they came. When one of them is an atomic batch the whole
 * group is one, which is more than was asked for.
 */
#include <string.h>

#include "store/store.h"

enum { GROUP_CHANGES = 4096, GROUP_BYTES = 4 << 20 };

static uint64_t bytes_of(const sdi_request *request) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < request->count && bytes <= GROUP_BYTES; i++) bytes += request->changes[i].payload.size;
    return bytes;
}

static void run_alone(simdrive_store *store, sdi_request *request) {
    request->status = sdi_append(store, request->changes, request->count, request->mode, &request->applied);
    request->tail = sdi_tail(atomic_load_explicit(&store->current, memory_order_relaxed));
}

/* What each request of a group has got: which of its changes wrote something, and the tail behind them. */
static void share_out(simdrive_store *store, sdi_request *group, uint64_t tail) {
    size_t i = 0;
    for (sdi_request *request = group; request; request = request->next) {
        request->status = SIMDRIVE_OK;
        request->applied = 0;
        for (size_t last = i + request->count; i < last; i++) {
            if (store->scratch.placed[i] == 0) continue;
            request->applied++;
            tail = store->scratch.placed[i] + SDI_METADATA_SIZE;
        }
        request->tail = tail;
    }
}

static bool run_together(simdrive_store *store, sdi_request *group, size_t count) {
    uint64_t tail = sdi_tail(atomic_load_explicit(&store->current, memory_order_relaxed));
    simdrive_change *changes = malloc(count * sizeof *changes);
    simdrive_batch_mode mode = SIMDRIVE_BATCH_PLAIN;
    size_t i = 0;
    if (!changes) return false;
    for (const sdi_request *request = group; request; request = request->next) {
        memcpy(changes + i, request->changes, request->count * sizeof *changes);
        i += request->count;
        if (request->count > 1 && request->mode == SIMDRIVE_BATCH_ATOMIC) mode = SIMDRIVE_BATCH_ATOMIC;
    }
    bool done = sdi_append(store, changes, count, mode, NULL) == SIMDRIVE_OK;
    if (done) share_out(store, group, tail);
    free(changes);
    return done;
}

/* Runs a list of requests; the place is held. */
static void run(simdrive_store *store, sdi_request *group) {
    size_t count = 0;
    for (const sdi_request *request = group; request; request = request->next) count += request->count;
    if (group->next && run_together(store, group, count)) return;
    for (sdi_request *request = group; request; request = request->next) {
        bool poisoned = atomic_load_explicit(&store->poisoned, memory_order_relaxed);
        request->status = poisoned ? SIMDRIVE_ERROR_POISONED : SIMDRIVE_OK;
        if (!poisoned) run_alone(store, request);
    }
}

/* Takes requests from the queue, the first in any case; mutex held. */
static sdi_request *take_group(simdrive_store *store) {
    sdi_request *first = store->queue, *last = first;
    size_t changes = first->count;
    uint64_t bytes = bytes_of(first);
    while (last->next) {
        changes += last->next->count;
        bytes += bytes_of(last->next);
        if (changes > GROUP_CHANGES || bytes > GROUP_BYTES) break;
        last = last->next;
    }
    store->queue = last->next;
    if (!store->queue) store->queue_end = NULL;
    last->next = NULL;
    return first;
}

static void enqueue(simdrive_store *store, sdi_request *request) {
    if (store->queue_end)
        store->queue_end->next = request;
    else
        store->queue = request;
    store->queue_end = request;
}

static void dequeue(simdrive_store *store, sdi_request *request) {
    sdi_request *before = NULL;
    for (sdi_request *at = store->queue; at != request; at = at->next) before = at;
    if (before)
        before->next = request->next;
    else
        store->queue = request->next;
    if (store->queue_end == request) store->queue_end = before;
}

/* Runs a group as its leader; the place is taken, the mutex not held. */
static void lead(simdrive_store *store, sdi_request *group) {
    simdrive_status status = sdi_place_ready(store);
    if (status == SIMDRIVE_OK) run(store, group);
    int os_error = sdi_get_os_error();
    sdi_mutex_lock(&store->mutex);
    for (sdi_request *request = group; request;) {
        sdi_request *next = request->next; /* its owner may go as soon as it is done */
        if (status != SIMDRIVE_OK) request->status = status;
        request->os_error = request->status == SIMDRIVE_OK ? 0 : os_error;
        if (request->count > 1 && request->status == SIMDRIVE_OK) sdi_count(&store->stats.batches, 1);
        request->done = true;
        request = next;
    }
    sdi_place_free(store);
    sdi_mutex_unlock(&store->mutex);
}

/* Whether the time of this call is taken; mutex held. */
static bool is_sampled(simdrive_store *store) {
    return store->writing_calls++ % SDI_COMMIT_SAMPLE == 0;
}

simdrive_status sdi_commit(simdrive_store *store, sdi_request *request) {
    if (store->options.read_only) return sdi_refuse(SIMDRIVE_ERROR_READ_ONLY);
    uint64_t self = sdi_thread_id();
    sdi_request *group = NULL;
    sdi_mutex_lock(&store->mutex);
    if (store->place_taken && (store->place_has_stream || store->place_owner == self)) {
        sdi_mutex_unlock(&store->mutex);
        return sdi_refuse(SIMDRIVE_ERROR_BUSY);
    }
    bool sampled = is_sampled(store);
    uint64_t began = sampled ? sdi_monotonic_ns() : 0;
    enqueue(store, request);
    for (;;) {
        store->place_waiting++;
        while (!request->done && (store->place_taken ? !store->place_has_stream : store->place_wanted))
            sdi_condition_wait(&store->place_free, &store->mutex);
        store->place_waiting--;
        if (request->done) break;
        if (store->place_taken) { /* by a pushed stream: nobody knows for how long */
            dequeue(store, request);
            request->status = SIMDRIVE_ERROR_BUSY;
            break;
        }
        store->place_taken = true;
        store->place_owner = self;
        store->place_turned = true;
        group = take_group(store);
        sdi_mutex_unlock(&store->mutex);
        sdi_set_os_error(0);
        lead(store, group);
        sdi_mutex_lock(&store->mutex);
    }
    sdi_mutex_unlock(&store->mutex);
    if (sampled && request->status == SIMDRIVE_OK)
        sdi_histogram_record(&store->stats.commit, sdi_monotonic_ns() - began);
    if (request->status == SIMDRIVE_OK) sdi_after_append(store);
    sdi_set_os_error(request->os_error);
    return request->status;
}
