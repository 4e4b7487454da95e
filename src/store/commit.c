/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c — writers that arrive together are committed together.
 *
 * A writer that finds the place free takes it and appends. One that finds it taken puts his request into the queue for
 * it (place.c). Whoever has the place, when he is done with his own, takes the requests at the head of the queue: one
 * append, one publication, and where the policy is to sync, one sync for all of them, or two where entries lie across
 * sectors (note_tearing() in append.c). He does so a few times, for the store is in his processor's cache; then the
 * place goes to the first who waits, who leads the next group. Where each append is synced it goes there at once, for
 * nobody should wait for several groups' syncs when he has been served. When the common append fails, for want of
 * space say, each is tried on its own, so that nobody fails for another's sake.
 *
 * Where each append is synced, who begins a group too early makes all others wait for two syncs: those who were served
 * by the last one are just being woken and about to write again. So the leader lets them come first: as many as the
 * last group had and those who waited at its end, but for no longer than a part of what that group took. Nobody is
 * waited for where one writer is alone, nor, after one such wait in vain, where they have stopped.
 *
 * All requests of a group are appended in the order in which they came. When one of them is an atomic batch the whole
 * group is one, which is more than was asked for. The order of the steps is that of tests/model/place_model.c too.
 */
#include <string.h>

#include "store/store.h"

enum { GROUP_CHANGES = 4096, GROUP_BYTES = 4 << 20, ROUNDS = 16 };

/* How long a group's writers are waited for: a part of what the last one took, for that is what is to be won; and no
 * longer than it takes to wake some threads, for a disk may have stopped for seconds. */
enum { COMPANY_PART = 4, COMPANY_MOST_NS = 200000 };

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

/* Room for the changes of a group; NULL when there is no memory. */
static simdrive_change *group_room(sdi_scratch *scratch, size_t count) {
    if (count <= scratch->group_capacity) return scratch->group;
    size_t capacity = scratch->group_capacity ? scratch->group_capacity : 64;
    while (capacity < count) capacity *= 2;
    simdrive_change *larger = malloc(capacity * sizeof *larger);
    if (!larger) return NULL;
    free(scratch->group);
    scratch->group = larger;
    scratch->group_capacity = capacity;
    return larger;
}

static bool run_together(simdrive_store *store, sdi_request *group, size_t count) {
    uint64_t tail = sdi_tail(atomic_load_explicit(&store->current, memory_order_relaxed));
    simdrive_change *changes = group_room(&store->scratch, count);
    simdrive_batch_mode mode = SIMDRIVE_BATCH_PLAIN;
    size_t i = 0;
    if (!changes) return false;
    for (const sdi_request *request = group; request; request = request->next) {
        if (request->count > 0) memcpy(changes + i, request->changes, request->count * sizeof *changes);
        i += request->count;
        if (request->count > 1 && request->mode == SIMDRIVE_BATCH_ATOMIC) mode = SIMDRIVE_BATCH_ATOMIC;
    }
    if (sdi_append(store, changes, count, mode, NULL) != SIMDRIVE_OK) return false;
    share_out(store, group, tail);
    return true;
}

static void run(simdrive_store *store, sdi_request *group) {
    size_t count = 0;
    for (const sdi_request *request = group; request; request = request->next) count += request->count;
    if (group->next && sdi_place_ready(store) == SIMDRIVE_OK && run_together(store, group, count)) return;
    for (sdi_request *request = group; request; request = request->next) {
        sdi_set_os_error(0);
        request->status = sdi_place_ready(store);
        if (request->status == SIMDRIVE_OK) run_alone(store, request);
        request->os_error = request->status == SIMDRIVE_OK ? 0 : sdi_get_os_error();
    }
}

/* Does what a group of requests asks for; the place is held. */
static void serve(simdrive_store *store, sdi_request *group) {
    sdi_set_os_error(0);
    run(store, group);
    for (const sdi_request *request = group; request; request = request->next) {
        if (request->count > 1 && request->status == SIMDRIVE_OK) sdi_count(&store->stats.batches, 1);
    }
}

static sdi_request *first_request(simdrive_store *store) {
    sdi_turn *turn = sdi_turn_first(store);
    return turn && turn->kind == SDI_TURN_WRITE ? (sdi_request *)turn : NULL;
}

/* Takes requests from the head of the queue, to follow `own` if that is not NULL; mutex held. NULL when there are none.
 * Who only wants the place ends a group, for he is before those behind him. */
static sdi_request *take_group(simdrive_store *store, sdi_request *own) {
    sdi_request *last = own, *group = own;
    size_t changes = own ? own->count : 0;
    uint64_t bytes = own ? bytes_of(own) : 0;
    for (sdi_request *request; (request = first_request(store)) != NULL; last = request) {
        changes += request->count;
        bytes += bytes_of(request);
        if (last && (changes > GROUP_CHANGES || bytes > GROUP_BYTES)) break;
        sdi_turn_take(store);
        request->next = NULL;
        if (last)
            last->next = request;
        else
            group = request;
    }
    return group;
}

/* Lets the owners of a group go, but for the one who leads it; mutex held. */
static void dismiss(sdi_request *group, const sdi_request *own) {
    sdi_request *next;
    for (sdi_request *request = group; request; request = next) {
        next = request->next;
        if (request != own) sdi_turn_end(&request->turn, SDI_TURN_SERVED);
    }
}

static unsigned queued(const simdrive_store *store) {
    return atomic_load_explicit(&store->queued, memory_order_relaxed);
}

/* Before a group that is synced; the place is held. Who is late is in the next group: nothing depends on the count. */
static void await_company(const simdrive_store *store) {
    if (store->company <= 1) return;
    uint64_t patience = store->group_ns / COMPANY_PART;
    if (patience > COMPANY_MOST_NS) patience = COMPANY_MOST_NS;
    uint64_t until = sdi_monotonic_ns() + patience;
    while (queued(store) + 1 < store->company && sdi_monotonic_ns() < until) sdi_thread_yield();
}

static void serve_synced(simdrive_store *store, sdi_request *group) {
    unsigned served = 0;
    uint64_t began = sdi_monotonic_ns();
    for (const sdi_request *request = group; request; request = request->next) served++;
    serve(store, group);
    store->company = served + queued(store);
    store->group_ns = sdi_monotonic_ns() - began;
}

/* Works off his own request and some of those that wait; the place is held, and left. */
static void lead(simdrive_store *store, sdi_request *own) {
    bool synced = store->options.sync == SIMDRIVE_SYNC_COMMIT;
    unsigned rounds = synced ? 1 : ROUNDS;
    sdi_request *group = own;
    own->next = NULL;
    if (synced) await_company(store);
    if (queued(store) > 0) {
        sdi_mutex_lock(&store->mutex);
        take_group(store, own);
        sdi_mutex_unlock(&store->mutex);
    }
    for (;;) {
        (synced ? serve_synced : serve)(store, group);
        if (group == own && !own->next && sdi_place_try_leave(store)) return;
        sdi_mutex_lock(&store->mutex);
        dismiss(group, own);
        group = --rounds > 0 ? take_group(store, NULL) : NULL;
        if (!group) break;
        sdi_mutex_unlock(&store->mutex);
    }
    sdi_place_free(store);
    sdi_mutex_unlock(&store->mutex);
}

/* Whether the time of this call is taken. Threads may overwrite each other's count: it need not be exact. */
static bool is_sampled(simdrive_store *store) {
    uint64_t calls = atomic_load_explicit(&store->writing_calls, memory_order_relaxed);
    atomic_store_explicit(&store->writing_calls, calls + 1, memory_order_relaxed);
    return calls % SDI_COMMIT_SAMPLE == 0;
}

simdrive_status sdi_commit(simdrive_store *store, sdi_request *request) {
    if (store->options.read_only) return sdi_refuse(SIMDRIVE_ERROR_READ_ONLY);
    bool sampled = is_sampled(store);
    uint64_t began = sampled ? sdi_monotonic_ns() : 0;
    sdi_outcome outcome = sdi_place_try(store) ? SDI_TURN_HAS_PLACE : sdi_place_wait(store, &request->turn);
    if (outcome == SDI_TURN_REFUSED) return sdi_refuse(SIMDRIVE_ERROR_BUSY);
    if (outcome == SDI_TURN_HAS_PLACE) lead(store, request);
    if (sampled && request->status == SIMDRIVE_OK)
        sdi_histogram_record(&store->stats.commit, sdi_monotonic_ns() - began);
    if (request->status == SIMDRIVE_OK) sdi_after_append(store);
    sdi_set_os_error(request->os_error);
    return request->status;
}
