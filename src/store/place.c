/* SPDX-License-Identifier: Apache-2.0 */
/* place.c — the writer's place: who may change the store now, and in what order the others come.
 *
 * One word tells whether the place is taken. A thread that finds it free, and nobody attentive to it, takes it and
 * leaves it with one atomic operation each. Everybody else takes the mutex, and sets ATTENTION in the word: then
 * whoever has the place cannot leave it by the short way, takes the mutex too, and finds him.
 *
 * Those who wait for the place stand in a queue, each with a `sdi_turn` on his stack. The place goes from hand to hand:
 * as long as somebody stands there it is never free, so nobody who comes later gets it before him, be it a writer or a
 * compaction. Writes at the head of the queue are also taken out together by whoever has the place, and done for their
 * owners (commit.c). A pushed stream has the place until its caller goes on, and nobody knows when: its beginning ends
 * the turns of all who are not patient, with REFUSED.
 *
 * Who waits looks at his turn for a moment (where there is a second processor to end it), lets other threads run for a
 * moment, and then sleeps on a condition of his own, so that each is woken by himself. A turn is ended with the mutex
 * held, and its last store is the outcome. Its owner, if he is awake, may be gone right after that store, and the turn
 * with him; if he sleeps, he cannot go before the mutex is left, so his condition is still there to be woken.
 */
#include "store/store.h"

enum { TAKEN = 1, ATTENTION = 2 };

enum { LOOKS = 100, YIELDS = 30 };

/* --- the short way ----------------------------------------------------------------------------------------------- */

/* The owner is cleared before the place is left, so that nobody who was there before takes a later one for himself. */
bool sdi_place_try(simdrive_store *store) {
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong_explicit(&store->place, &free, TAKEN, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&store->place_owner, sdi_thread_id(), memory_order_relaxed);
    return true;
}

bool sdi_place_try_leave(simdrive_store *store) {
    uint32_t alone = TAKEN;
    atomic_store_explicit(&store->place_owner, 0, memory_order_relaxed);
    return atomic_compare_exchange_strong_explicit(&store->place, &alone, 0, memory_order_release,
                                                   memory_order_relaxed);
}

/* --- the queue; all with the mutex held -------------------------------------------------------------------------- */

void sdi_place_attend(simdrive_store *store) {
    atomic_fetch_or_explicit(&store->place, ATTENTION, memory_order_acq_rel);
}

bool sdi_place_is_own(const simdrive_store *store, uint64_t self) {
    return atomic_load_explicit(&store->place_owner, memory_order_relaxed) == self;
}

static void count_queued(simdrive_store *store, int change) {
    unsigned queued = atomic_load_explicit(&store->queued, memory_order_relaxed);
    atomic_store_explicit(&store->queued, queued + (unsigned)change, memory_order_relaxed);
}

static void enqueue(simdrive_store *store, sdi_turn *turn) {
    count_queued(store, 1);
    turn->next = NULL;
    if (store->turns_end)
        store->turns_end->next = turn;
    else
        store->turns = turn;
    store->turns_end = turn;
}

sdi_turn *sdi_turn_first(simdrive_store *store) {
    return store->turns;
}

static void dequeue(simdrive_store *store, sdi_turn *turn) {
    sdi_turn *before = NULL;
    count_queued(store, -1);
    for (sdi_turn *at = store->turns; at != turn; at = at->next) before = at;
    if (before)
        before->next = turn->next;
    else
        store->turns = turn->next;
    if (store->turns_end == turn) store->turns_end = before;
}

sdi_turn *sdi_turn_take(simdrive_store *store) {
    sdi_turn *turn = store->turns;
    dequeue(store, turn);
    return turn;
}

void sdi_turn_end(sdi_turn *turn, sdi_outcome outcome) {
    /* Whether it sleeps does not change before the mutex is left; and if it does, `turn` stays until then. */
    bool sleeps = atomic_load_explicit(&turn->state, memory_order_relaxed) == SDI_TURN_SLEEPS;
    atomic_store_explicit(&turn->state, outcome, memory_order_release);
    if (sleeps) sdi_condition_wake_all(&turn->woken);
}

/* Ends all turns of a kind, or of all kinds but that one. */
static void end_turns(simdrive_store *store, bool patient, sdi_outcome outcome) {
    sdi_turn *next;
    for (sdi_turn *turn = store->turns; turn; turn = next) {
        next = turn->next;
        if ((turn->kind == SDI_TURN_PATIENT) != patient) continue;
        dequeue(store, turn);
        sdi_turn_end(turn, outcome);
    }
}

void sdi_place_keep_for_stream(simdrive_store *store) {
    store->place_has_stream = true;
    end_turns(store, false, SDI_TURN_REFUSED);
}

void sdi_place_cancel_patient(simdrive_store *store) {
    end_turns(store, true, SDI_TURN_CANCELLED);
}

void sdi_place_free(simdrive_store *store) {
    store->place_has_stream = false;
    atomic_store_explicit(&store->place_owner, 0, memory_order_relaxed);
    sdi_condition_wake_all(&store->place_left);
    if (store->waiting > 0) sdi_condition_wake_all(&store->changed);
    if (store->turns)
        sdi_turn_end(sdi_turn_take(store), SDI_TURN_HAS_PLACE); /* the word stays as it is: taken, with attention */
    else
        atomic_store_explicit(&store->place, store->waiting > 0 ? ATTENTION : 0, memory_order_release);
}

/* --- waiting for a turn ------------------------------------------------------------------------------------------ */

static bool has_ended(const sdi_turn *turn) {
    return atomic_load_explicit(&turn->state, memory_order_acquire) > SDI_TURN_SLEEPS;
}

static void sleep(simdrive_store *store, sdi_turn *turn) {
    if (sdi_condition_init(&turn->woken) != SIMDRIVE_OK) {
        while (!has_ended(turn)) sdi_thread_yield();
        return;
    }
    sdi_mutex_lock(&store->mutex);
    if (!has_ended(turn)) atomic_store_explicit(&turn->state, SDI_TURN_SLEEPS, memory_order_relaxed);
    while (!has_ended(turn)) sdi_condition_wait(&turn->woken, &store->mutex);
    sdi_mutex_unlock(&store->mutex);
    sdi_condition_destroy(&turn->woken);
}

/* A write that is not synced takes about as long as falling asleep and being woken. */
static void await(simdrive_store *store, sdi_turn *turn) {
    bool soon = store->options.sync != SIMDRIVE_SYNC_COMMIT;
    unsigned looks = soon && store->processors > 1 ? LOOKS : 0, yields = soon ? YIELDS : 0;
    for (unsigned i = 0; i < looks && !has_ended(turn); i++) sdi_thread_relax();
    for (unsigned i = 0; i < yields && !has_ended(turn); i++) sdi_thread_yield();
    if (!has_ended(turn)) sleep(store, turn);
}

/* With the mutex held: takes the place, refuses, or puts the turn into the queue (SDI_TURN_WAITS). */
static sdi_outcome begin(simdrive_store *store, sdi_turn *turn, uint64_t self) {
    bool patient = turn->kind == SDI_TURN_PATIENT;
    if (patient && sdi_compaction_cancelled(store)) return SDI_TURN_CANCELLED;
    uint32_t before = atomic_fetch_or_explicit(&store->place, TAKEN | ATTENTION, memory_order_acq_rel);
    if (!(before & TAKEN)) return SDI_TURN_HAS_PLACE;
    if (sdi_place_is_own(store, self) || (store->place_has_stream && !patient)) return SDI_TURN_REFUSED;
    enqueue(store, turn);
    return SDI_TURN_WAITS;
}

sdi_outcome sdi_place_wait(simdrive_store *store, sdi_turn *turn) {
    uint64_t self = sdi_thread_id();
    atomic_store_explicit(&turn->state, SDI_TURN_WAITS, memory_order_relaxed);
    sdi_mutex_lock(&store->mutex);
    sdi_outcome outcome = begin(store, turn, self);
    sdi_mutex_unlock(&store->mutex);
    if (outcome == SDI_TURN_WAITS) {
        await(store, turn);
        outcome = (sdi_outcome)atomic_load_explicit(&turn->state, memory_order_acquire);
    }
    if (outcome == SDI_TURN_HAS_PLACE) atomic_store_explicit(&store->place_owner, self, memory_order_relaxed);
    return outcome;
}

/* --- for others than writes -------------------------------------------------------------------------------------- */

simdrive_status sdi_place_ready(simdrive_store *store) {
    return atomic_load_explicit(&store->poisoned, memory_order_relaxed) ? SIMDRIVE_ERROR_POISONED : SIMDRIVE_OK;
}

static simdrive_status take(simdrive_store *store, sdi_turn_kind kind, bool append) {
    sdi_turn turn = {.kind = kind};
    sdi_set_os_error(0);
    sdi_outcome outcome = kind == SDI_TURN_ALONE && sdi_place_try(store) ? SDI_TURN_HAS_PLACE
                                                                        : sdi_place_wait(store, &turn);
    if (outcome == SDI_TURN_REFUSED) return SIMDRIVE_ERROR_BUSY;
    if (outcome == SDI_TURN_CANCELLED) return SIMDRIVE_ERROR_CANCELLED;
    simdrive_status status = append ? sdi_place_ready(store) : SIMDRIVE_OK;
    if (status == SIMDRIVE_OK && kind == SDI_TURN_PATIENT && sdi_compaction_cancelled(store))
        status = SIMDRIVE_ERROR_CANCELLED;
    if (status != SIMDRIVE_OK) sdi_place_leave(store);
    return status;
}

simdrive_status sdi_place_take(simdrive_store *store, bool append) {
    return store->options.read_only ? sdi_refuse(SIMDRIVE_ERROR_READ_ONLY) : take(store, SDI_TURN_ALONE, append);
}

simdrive_status sdi_place_take_for_refresh(simdrive_store *store) {
    return take(store, SDI_TURN_ALONE, false);
}

simdrive_status sdi_place_take_patiently(simdrive_store *store) {
    return take(store, SDI_TURN_PATIENT, true);
}

void sdi_place_leave(simdrive_store *store) {
    if (!store->place_has_stream && sdi_place_try_leave(store)) return;
    sdi_mutex_lock(&store->mutex);
    sdi_place_free(store);
    sdi_mutex_unlock(&store->mutex);
}
