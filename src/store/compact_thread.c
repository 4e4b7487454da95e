/* SPDX-License-Identifier: Apache-2.0 */
/* compact_thread.c — who runs a compaction and when: the caller, a thread for him, or a thread because the policy of
 * the handle wants it; and how others wait for it or stop it.
 *
 * Whoever wants to run one claims it first: under the mutex, `compacting` is set by one at a time. Then he has the
 * fields of the thread for himself, joins the thread that ran the last one, if one did, and runs the compaction or
 * starts a thread that does. At its end, in whatever thread, the outcome is left in the handle and `compacting` is
 * cleared, in one step under the mutex; that is the last thing that a thread does with the store but for leaving the
 * mutex. So joining never takes long, and closing the store, which cancels and joins, waits for a step of the copy.
 *
 * A thread waits until whoever started it has noted it (`thread_known`), or it might end and be joined before.
 *
 * The policy looks after each append, and once after opening, at the counters only. A compaction that did not change
 * places with the file, for whatever reason, is not begun again by it until a quarter more is stale (`due_from`): what
 * made it fail is likely to be there still.
 */
#include "store/store.h"

/* --- one at a time ----------------------------------------------------------------------------------------------- */

static simdrive_status claim_locked(simdrive_store *store, uint64_t self) {
    if (store->compacting) return SIMDRIVE_ERROR_BUSY;
    /* A pushed stream is not waited for: nobody knows when its owner goes on. */
    if (store->place_has_stream || sdi_place_is_own(store, self)) return SIMDRIVE_ERROR_BUSY;
    simdrive_status status = sdi_place_ready(store);
    if (status != SIMDRIVE_OK) return status;
    store->compacting = true;
    atomic_store_explicit(&store->compaction.cancelled, false, memory_order_relaxed);
    return SIMDRIVE_OK;
}

/* The thread of the one before has ended, or is just about to. */
void sdi_compaction_join(simdrive_store *store) {
    struct sdi_compaction *compaction = &store->compaction;
    sdi_mutex_lock(&store->mutex);
    bool made = compaction->thread_made;
    compaction->thread_made = false;
    sdi_mutex_unlock(&store->mutex);
    if (made) sdi_thread_join(&compaction->thread);
    /* Not before: it may not have looked yet, and would wait for ever. */
    sdi_mutex_lock(&store->mutex);
    compaction->thread_known = false;
    sdi_mutex_unlock(&store->mutex);
}

static simdrive_status claim(simdrive_store *store) {
    if (store->options.read_only) return sdi_refuse(SIMDRIVE_ERROR_READ_ONLY);
    uint64_t self = sdi_thread_id();
    sdi_mutex_lock(&store->mutex);
    simdrive_status status = claim_locked(store, self);
    sdi_mutex_unlock(&store->mutex);
    if (status != SIMDRIVE_OK) return sdi_refuse(status);
    atomic_store_explicit(&store->stats.compaction_done, 0, memory_order_relaxed);
    atomic_store_explicit(&store->stats.compaction_total, 0, memory_order_relaxed);
    atomic_store_explicit(&store->stats.compaction_runs, true, memory_order_relaxed);
    sdi_compaction_join(store);
    return SIMDRIVE_OK;
}

/* Lets the next one claim. Mutex held. */
static void give_up_claim(simdrive_store *store) {
    store->compacting = false;
    store->compaction.owner = 0;
    atomic_store_explicit(&store->stats.compaction_runs, false, memory_order_relaxed);
    sdi_condition_wake_all(&store->compaction.ended);
}

/* --- what is stale ----------------------------------------------------------------------------------------------- */

static uint64_t value_of(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* How many bytes of the file a compaction would give back, about: stale payloads with their metadata and their share
 * of the padding, and tombstones. The counters may be of different moments. */
static uint64_t stale_bytes(const sdi_generation *generation) {
    const sdi_counters *counters = &generation->counters;
    uint64_t stale = value_of(&counters->stale_entries), tombstones = value_of(&counters->tombstones);
    uint64_t payloads = stale + value_of(&counters->entries), bytes = value_of(&counters->stale_bytes);
    uint64_t known = value_of(&counters->live_bytes) + bytes + (payloads + tombstones) * SDI_METADATA_SIZE + tombstones;
    uint64_t tail = sdi_tail(generation), padding = tail > known ? tail - known : 0;
    uint64_t each_in_16ths = payloads > 0 ? padding * 16 / payloads : 0;
    return bytes + stale * SDI_METADATA_SIZE + stale * each_in_16ths / 16 + tombstones * (SDI_METADATA_SIZE + 1);
}

/* Structs of generations stay as long as the store (S3), so this one needs no pin. */
static sdi_generation *current_of(simdrive_store *store) {
    return atomic_load_explicit(&store->current, memory_order_acquire);
}

static bool is_due(simdrive_store *store) {
    const sdi_generation *generation = current_of(store);
    uint64_t stale = stale_bytes(generation);
    return stale >= store->options.compact_min_bytes && stale >= value_of(&store->compaction.due_from) &&
           stale * 100 >= sdi_tail(generation) * store->options.compact_stale_percent;
}

/* After a compaction that gave nothing back. */
static void put_off(simdrive_store *store) {
    uint64_t stale = stale_bytes(current_of(store)), least = store->options.compact_min_bytes;
    atomic_store_explicit(&store->compaction.due_from, stale + (stale > least ? stale : least) / 4,
                          memory_order_relaxed);
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static void count_outcome(struct sdi_stats *stats, simdrive_status status, uint64_t saved) {
    atomic_fetch_add_explicit(status == SIMDRIVE_OK ? &stats->compactions : &stats->compactions_failed, 1,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->compaction_saved_bytes, saved, memory_order_relaxed);
    atomic_store_explicit(&stats->compaction_status, (int)status, memory_order_relaxed);
}

/* Runs what was claimed. */
static simdrive_status run(simdrive_store *store, const simdrive_work_options *options, uint64_t *saved) {
    struct sdi_compaction *compaction = &store->compaction;
    sdi_mutex_lock(&store->mutex);
    compaction->owner = sdi_thread_id();
    sdi_mutex_unlock(&store->mutex);
    simdrive_status status = sdi_compact_run(store, options, saved);
    if (*saved == 0)
        put_off(store);
    else
        atomic_store_explicit(&compaction->due_from, 0, memory_order_relaxed);
    count_outcome(&store->stats, status, *saved);
    sdi_mutex_lock(&store->mutex);
    compaction->status = status;
    compaction->os_error = status == SIMDRIVE_OK ? 0 : sdi_get_os_error();
    compaction->saved = *saved;
    give_up_claim(store);
    sdi_mutex_unlock(&store->mutex);
    return status;
}

simdrive_status simdrive_compact(simdrive_store *store, const simdrive_work_options *given, uint64_t *saved_bytes) {
    simdrive_work_options options;
    uint64_t saved = 0;
    if (saved_bytes) *saved_bytes = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = claim(store);
    if (status != SIMDRIVE_OK) return status;
    status = run(store, &options, &saved);
    if (saved_bytes) *saved_bytes = saved;
    return status;
}

static void run_in_thread(void *user) {
    simdrive_store *store = user;
    struct sdi_compaction *compaction = &store->compaction;
    uint64_t saved = 0;
    sdi_mutex_lock(&store->mutex);
    while (!compaction->thread_known) sdi_condition_wait(&compaction->ended, &store->mutex);
    sdi_mutex_unlock(&store->mutex);
    sdi_set_os_error(0);
    run(store, &compaction->options, &saved);
}

/* Starts the thread for what was claimed. */
static simdrive_status start(simdrive_store *store, const simdrive_work_options *options) {
    struct sdi_compaction *compaction = &store->compaction;
    compaction->options = *options;
    simdrive_status status = sdi_thread_start(&compaction->thread, run_in_thread, store);
    sdi_mutex_lock(&store->mutex);
    if (status == SIMDRIVE_OK) {
        compaction->thread_made = compaction->thread_known = true;
        sdi_condition_wake_all(&compaction->ended);
    } else {
        give_up_claim(store);
    }
    sdi_mutex_unlock(&store->mutex);
    return status;
}

simdrive_status simdrive_compact_begin(simdrive_store *store, const simdrive_work_options *given) {
    simdrive_work_options options;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = claim(store);
    return status == SIMDRIVE_OK ? start(store, &options) : status;
}

void sdi_compact_when_due(simdrive_store *store) {
    const simdrive_work_options options = {.struct_size = sizeof options};
    if (atomic_load_explicit(&store->stats.compaction_runs, memory_order_relaxed) || !is_due(store)) return;
    if (claim(store) != SIMDRIVE_OK) return;
    /* Between the look and the claim another one may have come to its end. */
    if (!is_due(store)) {
        sdi_mutex_lock(&store->mutex);
        give_up_claim(store);
        sdi_mutex_unlock(&store->mutex);
    } else if (start(store, &options) != SIMDRIVE_OK) {
        put_off(store);
    }
}

/* --- waiting and stopping ---------------------------------------------------------------------------------------- */

/* Mutex held. False when the time is over. */
static bool wait_for_end(simdrive_store *store, uint32_t timeout_ms) {
    sdi_condition *ended = &store->compaction.ended;
    uint64_t deadline = sdi_deadline(timeout_ms);
    while (store->compacting && !store->compaction.reclaims) {
        uint32_t left = sdi_time_left_ms(deadline);
        if (left == 0) return false;
        if (left == UINT32_MAX) sdi_condition_wait(ended, &store->mutex);
        else sdi_condition_wait_ms(ended, &store->mutex, left);
    }
    return true;
}

simdrive_status simdrive_compact_wait(simdrive_store *store, uint32_t timeout_ms, uint64_t *saved_bytes) {
    if (saved_bytes) *saved_bytes = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    uint64_t self = sdi_thread_id(), saved = 0;
    simdrive_status status;
    int os_error = 0;
    sdi_mutex_lock(&store->mutex);
    bool for_itself = store->compacting && !store->compaction.reclaims &&
                      (store->compaction.owner == self || sdi_place_is_own(store, self));
    if (for_itself) {
        status = SIMDRIVE_ERROR_BUSY;
    } else if (!wait_for_end(store, timeout_ms)) {
        status = SIMDRIVE_END;
    } else {
        status = store->compaction.status;
        os_error = store->compaction.os_error;
        saved = store->compaction.saved;
    }
    sdi_mutex_unlock(&store->mutex);
    sdi_set_os_error(os_error);
    if (saved_bytes) *saved_bytes = saved;
    return status;
}

void simdrive_compact_cancel(simdrive_store *store) {
    if (!store) return;
    sdi_mutex_lock(&store->mutex);
    if (store->compacting && !store->compaction.reclaims) {
        atomic_store_explicit(&store->compaction.cancelled, true, memory_order_relaxed);
        sdi_place_cancel_patient(store); /* it may be waiting for its turn */
    }
    sdi_mutex_unlock(&store->mutex);
}
