/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.c — the disk space of stale payloads, given back in place: the file keeps its length, its links and its
 * metadata, and gets holes.
 *
 *   1  The writer's place is taken and the store synced, so that what replaced an entry is durable before the entry is
 *      destroyed. T is the tail now. What is stale at T stays stale.
 *   2  A moment is found at which nobody looks: no pin is held on the generation (everybody_is_gone), and no reader of
 *      another process, or other handle of this one, has the file open (claim_presence). Otherwise: ERROR_BUSY.
 *   3  From then on whoever pins finds entries that are live at T or newer. Who walks over stale ones all the same sees
 *      `reclaiming` = T, which is set before pins are let in again, and takes their payloads for gone
 *      (sdi_stale_payload_is_gone).
 *   4  The chain is walked down from T. Of each entry that was stale at T the whole pages are punched (reclaimed.c).
 *
 * The work of step 4 is done in slices. For each the writer's place is taken and the readers' presence claimed anew;
 * between them others get their turn. A reader that has opened the file meanwhile ends the work: ERROR_BUSY, and what
 * was given back until then is told. Figures are taken within the slices, so that appends between them do not count.
 *
 * Invariants
 *   R1  Punched is only what was stale at a durable tail: a crash leaves each hole punched, or not, or in part, and
 *       every live entry whole.
 *   R2  Never the first entry of the file, whose checksum proves the chain; never the last, which is the newest of its
 *       key. Never an entry known as corrupt: it stays what it is.
 *   R3  No compaction runs beside it (`compacting`), so the generation stays the current one.
 *   R4  Pins are paused for a moment only, and not at all when one of them is held for long: each slot must have been
 *       seen at rest before. The bits are cleared before anything else happens, so that no retirement meets them.
 */
#include "store/store.h"

enum {
    GROUP = 256,              /* entries looked up in the index together */
    REST_MS = 100,            /* for each slot of pins to be seen without one; readers do not notice */
    PAUSE_MS = 50,            /* for all of them to be without one at once, while new pins wait */
    LOOKS = 256,              /* between two turns that are given to others: a reader rests for an instant only */
    TURN_MS = 1,              /* between two slices, for those who wait */
    SLICE_BYTES = 64 << 20,   /* punched at most, */
    SLICE_HOLES = 1024,       /* in so many holes */
    SLICE_ENTRIES = 1 << 16   /* walked at most */
};

typedef struct reclaim_job {
    simdrive_store *store;
    sdi_generation *generation;
    const simdrive_work_options *options;
    sdi_snapshot *snapshot;
    uint64_t tail; /* T */
    bool in_slice;
    uint64_t disk_bytes; /* at the beginning of the slice */
    uint64_t slice_bytes, slice_holes, slice_entries;
    uint64_t reported; /* what lies above was told as done */
    uint64_t reclaimed;
} reclaim_job;

/* --- nobody looks (step 2) --------------------------------------------------------------------------------------- */

static uint64_t deadline(unsigned ms) {
    return sdi_monotonic_ns() + (uint64_t)ms * 1000000;
}

/* Whether each slot's word is `wanted` at some time before the deadline, not all at the same time. */
static bool each_slot_becomes(const sdi_generation *generation, uint64_t wanted, uint64_t until) {
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
        unsigned looks = 0;
        while (atomic_load_explicit(&generation->pins[i].word, memory_order_acquire) != wanted) {
            if (++looks % LOOKS != 0) continue;
            if (sdi_monotonic_ns() > until) return false;
            sdi_thread_yield();
        }
    }
    return true;
}

/* While new pins wait, a slot that is empty stays so: then all of them are, once each has been seen. */
static bool everybody_is_gone(sdi_generation *generation, uint64_t tail) {
    if (!each_slot_becomes(generation, 0, deadline(REST_MS))) return false;
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++)
        atomic_fetch_or_explicit(&generation->pins[i].word, SDI_PIN_PAUSED, memory_order_relaxed);
    bool gone = each_slot_becomes(generation, SDI_PIN_PAUSED, deadline(PAUSE_MS));
    if (gone) atomic_store_explicit(&generation->reclaiming, tail, memory_order_relaxed);
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++)
        atomic_fetch_and_explicit(&generation->pins[i].word, ~SDI_PIN_PAUSED, memory_order_release);
    return gone;
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

/* The place is held. */
static simdrive_status slice_open(reclaim_job *job) {
    const sdi_os *os = job->store->os;
    sdi_file_info info;
    simdrive_status status = os->claim_presence(os, job->generation->file);
    if (status != SIMDRIVE_OK) return status;
    status = os->info(os, job->generation->file, &info);
    if (status != SIMDRIVE_OK) {
        os->release_presence(os, job->generation->file);
        return status;
    }
    job->disk_bytes = info.disk_bytes;
    job->slice_bytes = job->slice_holes = job->slice_entries = 0;
    job->in_slice = true;
    return SIMDRIVE_OK;
}

static simdrive_status slice_begin(reclaim_job *job) {
    simdrive_status status = sdi_place_take(job->store, true);
    if (status != SIMDRIVE_OK) return status;
    status = slice_open(job);
    if (status != SIMDRIVE_OK) sdi_place_leave(job->store);
    return status;
}

/* Writers and readers that wait come in before the next slice: a lock that is taken back at once would not let them. */
static void slice_end(reclaim_job *job) {
    simdrive_store *store = job->store;
    sdi_file_info info;
    int os_error = sdi_get_os_error();
    if (!job->in_slice) return;
    job->in_slice = false;
    if (store->os->info(store->os, job->generation->file, &info) == SIMDRIVE_OK && info.disk_bytes < job->disk_bytes)
        job->reclaimed += job->disk_bytes - info.disk_bytes;
    store->os->release_presence(store->os, job->generation->file);
    sdi_mutex_lock(&store->mutex);
    sdi_place_free(store);
    sdi_condition_wait_ms(&store->place_free, &store->mutex, TURN_MS);
    sdi_mutex_unlock(&store->mutex);
    sdi_set_os_error(os_error);
}

static bool slice_is_full(const reclaim_job *job) {
    return job->slice_bytes >= SLICE_BYTES || job->slice_holes >= SLICE_HOLES || job->slice_entries >= SLICE_ENTRIES;
}

/* --- punching (step 4) ------------------------------------------------------------------------------------------- */

/* Holes that are there already are punched again: that costs no more than to look, and completes what a crash has left
 * in part. */
static simdrive_status punch(reclaim_job *job, uint64_t from, uint64_t to) {
    const sdi_os *os = job->store->os;
    while (from < to) {
        uint64_t size = to - from < SLICE_BYTES ? to - from : SLICE_BYTES;
        simdrive_status status = job->in_slice ? SIMDRIVE_OK : slice_begin(job);
        if (status == SIMDRIVE_OK) status = os->punch_hole(os, job->generation->file, from, size);
        if (status != SIMDRIVE_OK) return status;
        job->slice_bytes += size;
        job->slice_holes++;
        from += size;
        if (slice_is_full(job)) slice_end(job);
    }
    return SIMDRIVE_OK;
}

/* Whether something below T had replaced it. What was written at T or later may have been the first to do so. */
static bool was_stale(const reclaim_job *job, const sdi_record *record, uint64_t newest) {
    return newest != record->end && newest < job->tail && !sdi_is_corrupt(&job->generation->damage, record->end);
}

/* One entry is done. Progress is reported between slices, for the caller's function may write to the store. */
static simdrive_status go_on(reclaim_job *job, uint64_t lowest) {
    job->slice_entries++;
    bool report = job->reported - lowest >= SDI_PROGRESS_STEP && job->options->progress;
    if (report || slice_is_full(job)) slice_end(job);
    if (!report) return SIMDRIVE_OK;
    job->reported = lowest;
    return sdi_report_progress(job->options, job->tail - lowest, job->tail);
}

static simdrive_status punch_stale(reclaim_job *job, const sdi_record *records, size_t count) {
    uint64_t hashes[GROUP];
    sdi_index_hit hits[GROUP];
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < count; i++) hashes[i] = records[i].key_hash;
    sdi_index_find_batch(job->generation->index, hashes, count, hits);
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        uint64_t from, to;
        if (was_stale(job, &records[i], hits[i].offset) && sdi_reclaimable_range(&records[i], &from, &to))
            status = punch(job, from, to);
        if (status == SIMDRIVE_OK) status = go_on(job, records[i].prev);
    }
    return status;
}

static simdrive_status run(reclaim_job *job) {
    sdi_record records[GROUP];
    size_t count;
    job->reported = job->tail;
    for (;;) {
        simdrive_status status = sdi_snapshot_walk(job->snapshot, records, GROUP, &count);
        if (status == SIMDRIVE_OK && count > 0) status = punch_stale(job, records, count);
        if (status != SIMDRIVE_OK || count == 0) slice_end(job);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) return sdi_report_progress(job->options, job->tail, job->tail);
    }
}

/* --- the call ---------------------------------------------------------------------------------------------------- */

/* Steps 1 to 3, with the place held; leaves a slice open. */
static simdrive_status begin(reclaim_job *job) {
    simdrive_store *store = job->store;
    simdrive_status status = SIMDRIVE_OK;
    job->generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    job->tail = sdi_tail(job->generation);
    bool durable = atomic_load_explicit(&store->durable_tail, memory_order_relaxed) == job->tail;
    if (!durable || store->folder_unsynced) status = sdi_sync_file(store, job->generation, job->tail);
    if (status == SIMDRIVE_OK) status = slice_open(job);
    if (status != SIMDRIVE_OK) return status;
    if (!everybody_is_gone(job->generation, job->tail)) return sdi_refuse(SIMDRIVE_ERROR_BUSY);
    return sdi_snapshot_begin(store, &job->snapshot);
}

static simdrive_status reclaim(reclaim_job *job) {
    simdrive_status status = begin(job);
    if (status == SIMDRIVE_OK) status = run(job);
    if (job->in_slice)
        slice_end(job);
    else if (!job->snapshot)
        sdi_place_leave(job->store);
    sdi_snapshot_end(job->snapshot);
    /* Nothing is punched any more. What was is known by its zeros. */
    atomic_store_explicit(&job->generation->reclaiming, 0, memory_order_release);
    return status;
}

/* R3. The place is held. */
static bool keep_compaction_out(simdrive_store *store) {
    sdi_mutex_lock(&store->mutex);
    bool alone = !store->compacting;
    if (alone) store->compacting = true;
    sdi_mutex_unlock(&store->mutex);
    return alone;
}

static void let_compaction_in(simdrive_store *store) {
    sdi_mutex_lock(&store->mutex);
    store->compacting = false;
    sdi_mutex_unlock(&store->mutex);
}

simdrive_status simdrive_reclaim(simdrive_store *store, const simdrive_work_options *given,
                                 uint64_t *reclaimed_bytes) {
    simdrive_work_options options;
    reclaim_job job = {.store = store, .options = &options};
    if (reclaimed_bytes) *reclaimed_bytes = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    if (!keep_compaction_out(store)) {
        sdi_place_leave(store);
        return sdi_refuse(SIMDRIVE_ERROR_BUSY);
    }
    status = reclaim(&job);
    let_compaction_in(store);
    atomic_fetch_add_explicit(&store->reclaimed, job.reclaimed, memory_order_relaxed);
    if (reclaimed_bytes) *reclaimed_bytes = job.reclaimed;
    return status;
}
