/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.c — the disk space of stale payloads, given back in place: the file keeps its length and its links, and gets
 * holes. What such an entry looks like then stands in format/reclaimed.h.
 *
 *   1  The writer's place is taken and the store synced, so that what replaced an entry is durable before the entry is
 *      destroyed. T is the tail now. What is stale at T stays stale.
 *   2  A moment is found at which nobody looks: no pin is held on the generation (everybody_is_gone), and no reader of
 *      another process, or other handle of this one, has the file open (claim_presence). Otherwise: ERROR_BUSY.
 *   3  From then on whoever pins finds entries that are live at T or newer. Who walks over stale ones all the same sees
 *      `reclaiming` = T, which is set before pins are let in again, and takes their payloads for gone
 *      (sdi_stale_payload_is_gone).
 *   4  The chain is walked down from T, and entries that were stale at T are gathered. When there are enough for a
 *      slice, the marks of all of them are written, and synced; then their pages are punched.
 *
 * For each slice the writer's place is taken and the readers' presence claimed anew; between them others get their
 * turn. A reader that has opened the file meanwhile ends the work: ERROR_BUSY, and what was given back until then is
 * told. Figures are taken within the slices, so that appends between them do not count.
 *
 * Invariants
 *   R1  Marked is only what was stale at a durable tail, punched only what is marked and synced: a crash leaves each
 *       entry as it was, or marked, its pages punched or not; and every live entry whole.
 *   R2  Never the first entry of the file, whose checksum proves the chain; never the last, which is the newest of its
 *       key. Never an entry that has not its checksum: it stays what it is.
 *   R3  No compaction runs beside it (`compacting`), so the generation stays the current one.
 *   R4  Pins are paused for a moment only, and not at all when one of them is held for long: each slot must have been
 *       seen at rest before. They go on before anything else happens, so that no retirement meets the pause.
 */
#include "store/store.h"

enum {
    GROUP = 256,              /* entries looked up in the index together */
    REST_MS = 100,            /* for each slot of pins to be seen without one; readers do not notice */
    PAUSE_MS = 50,            /* for all of them to be without one at once, while new pins wait */
    LOOKS = 256,              /* between two turns that are given to others: a reader rests for an instant only */
    TURN_MS = 1,              /* between two slices, for those who wait */
    SLICE_BYTES = 16 << 20,   /* punched at most, unless one entry is larger, */
    SLICE_HOLES = 1024        /* in so many holes */
};

typedef struct hole {
    uint64_t from, to;
    uint64_t end; /* of the entry */
    uint32_t mark;
    bool marked; /* already */
} hole;

typedef struct reclaim_job {
    simdrive_store *store;
    sdi_generation *generation;
    const simdrive_work_options *options;
    sdi_snapshot *snapshot;
    uint64_t tail; /* T */
    hole holes[SLICE_HOLES]; /* of the next slice */
    size_t hole_count;
    uint64_t hole_bytes;
    uint64_t reported; /* what lies above was told as done */
    uint64_t reclaimed;
} reclaim_job;

/* --- nobody looks (step 2) --------------------------------------------------------------------------------------- */

/* Whether each slot is at rest at some time before the deadline, not all at the same time. */
static bool each_slot_rests(const sdi_generation *generation, uint64_t until) {
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
        unsigned looks = 0;
        while (!sdi_pins_slot_is_at_rest(&generation->pins.slots[i])) {
            if (++looks % LOOKS != 0) continue;
            if (sdi_monotonic_ns() > until) return false;
            sdi_thread_yield();
        }
    }
    return true;
}

/* While new pins wait, a slot that is at rest stays so: then all of them are, once each has been seen. */
static bool everybody_is_gone(sdi_generation *generation, uint64_t tail) {
    if (!each_slot_rests(generation, sdi_deadline(REST_MS)) || !sdi_pins_pause(&generation->pins)) return false;
    bool gone = each_slot_rests(generation, sdi_deadline(PAUSE_MS));
    if (gone) atomic_store_explicit(&generation->reclaiming, tail, memory_order_relaxed);
    sdi_pins_resume(&generation->pins);
    return gone;
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

/* R1, first half. */
static simdrive_status write_marks(reclaim_job *job) {
    const sdi_os *os = job->store->os;
    bool wrote = false;
    for (size_t i = 0; i < job->hole_count; i++) {
        uint8_t mark[4];
        if (job->holes[i].marked) continue;
        sdi_store32(mark, job->holes[i].mark);
        simdrive_status status =
            os->write_at(os, job->generation->file, job->holes[i].end + SDI_CHECKSUM_FIELD, mark, sizeof mark);
        if (status != SIMDRIVE_OK) return status;
        wrote = true;
    }
    return wrote ? sdi_sync_file(job->store, job->generation, sdi_tail(job->generation)) : SIMDRIVE_OK;
}

/* Second half. Holes that are there already are punched again: that costs no more than to look, and completes what a
 * crash has left undone. */
static simdrive_status punch_holes(reclaim_job *job) {
    const sdi_os *os = job->store->os;
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < job->hole_count && status == SIMDRIVE_OK; i++) {
        const hole *h = &job->holes[i];
        status = os->punch_hole(os, job->generation->file, h->from, h->to - h->from);
    }
    return status;
}

/* The place is held. */
static simdrive_status run_slice(reclaim_job *job) {
    const sdi_os *os = job->store->os;
    sdi_file *file = job->generation->file;
    sdi_file_info before, after;
    simdrive_status status = os->claim_presence(os, file);
    if (status != SIMDRIVE_OK) return status;
    status = os->info(os, file, &before);
    if (status == SIMDRIVE_OK) status = write_marks(job);
    if (status == SIMDRIVE_OK) {
        status = punch_holes(job);
        int os_error = sdi_get_os_error();
        if (os->info(os, file, &after) == SIMDRIVE_OK && after.disk_bytes < before.disk_bytes)
            job->reclaimed += before.disk_bytes - after.disk_bytes;
        sdi_set_os_error(os_error);
    }
    os->release_presence(os, file);
    job->hole_count = 0;
    job->hole_bytes = 0;
    return status;
}

/* Writers and readers that wait come in after it: a lock that is taken back at once would not let them. */
static simdrive_status take_slice(reclaim_job *job) {
    simdrive_store *store = job->store;
    if (job->hole_count == 0) return SIMDRIVE_OK;
    simdrive_status status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    status = run_slice(job);
    int os_error = sdi_get_os_error();
    sdi_mutex_lock(&store->mutex);
    sdi_place_free(store);
    sdi_condition_wait_ms(&store->place_left, &store->mutex, TURN_MS);
    sdi_mutex_unlock(&store->mutex);
    sdi_set_os_error(os_error);
    return status;
}

/* --- gathering (step 4) ------------------------------------------------------------------------------------------ */

/* Whether something below T had replaced it. What was written at T or later may have been the first to do so. */
static bool was_stale(const reclaim_job *job, const sdi_record *record, uint64_t newest) {
    return newest != record->end && newest < job->tail && !sdi_is_corrupt(&job->generation->damage, record->end) &&
           !sdi_repair_at(&job->generation->damage, record->end);
}

/* R2: an entry whose payload was damaged keeps what is left of it. */
static simdrive_status gather(reclaim_job *job, const sdi_record *record) {
    const uint8_t *file = sdi_base(job->generation);
    hole h = {.end = record->end};
    if (!sdi_reclaimable_range(record, &h.from, &h.to)) return SIMDRIVE_OK;
    h.marked = sdi_is_reclaimed(file, record);
    if (!h.marked && !sdi_checksum_matches(file, record, job->store->checksum, NULL)) return SIMDRIVE_OK;
    h.mark = sdi_reclaimed_mark(file, record);
    job->holes[job->hole_count++] = h;
    job->hole_bytes += h.to - h.from;
    return job->hole_count == SLICE_HOLES || job->hole_bytes >= SLICE_BYTES ? take_slice(job) : SIMDRIVE_OK;
}

static simdrive_status gather_stale(reclaim_job *job, const sdi_record *records, size_t count) {
    uint64_t hashes[GROUP];
    sdi_index_hit hits[GROUP];
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < count; i++) hashes[i] = records[i].key_hash;
    status = sdi_index_check(job->generation->index, hashes, count);
    if (status != SIMDRIVE_OK) return status;
    sdi_index_find_batch(job->generation->index, hashes, count, hits);
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        if (was_stale(job, &records[i], hits[i].offset)) status = gather(job, &records[i]);
        if (status != SIMDRIVE_OK || job->reported - records[i].prev < SDI_PROGRESS_STEP) continue;
        job->reported = records[i].prev;
        status = sdi_report_progress(job->options, job->tail - job->reported, job->tail);
    }
    return status;
}

static simdrive_status run(reclaim_job *job) {
    sdi_record records[GROUP];
    size_t count;
    job->reported = job->tail;
    for (;;) {
        simdrive_status status = sdi_snapshot_walk(job->snapshot, records, GROUP, &count);
        if (status == SIMDRIVE_OK && count > 0) status = gather_stale(job, records, count);
        if (status == SIMDRIVE_OK && count == 0) status = take_slice(job);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) return sdi_report_progress(job->options, job->tail, job->tail);
    }
}

/* --- the call ---------------------------------------------------------------------------------------------------- */

/* Steps 1 to 3. The place is held. */
static simdrive_status begin(reclaim_job *job) {
    simdrive_store *store = job->store;
    const sdi_os *os = store->os;
    simdrive_status status = SIMDRIVE_OK;
    job->generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    job->tail = sdi_tail(job->generation);
    bool durable = atomic_load_explicit(&store->durable_tail, memory_order_relaxed) == job->tail;
    if (!durable || store->folder_unsynced) status = sdi_sync_file(store, job->generation, job->tail);
    if (status == SIMDRIVE_OK) status = os->claim_presence(os, job->generation->file);
    if (status != SIMDRIVE_OK) return status;
    bool gone = everybody_is_gone(job->generation, job->tail);
    os->release_presence(os, job->generation->file);
    return gone ? sdi_snapshot_begin(store, SDI_WALK_TO_LINK, &job->snapshot) : sdi_refuse(SIMDRIVE_ERROR_BUSY);
}

static simdrive_status reclaim(reclaim_job *job) {
    simdrive_status status = begin(job);
    sdi_place_leave(job->store);
    if (status == SIMDRIVE_OK) status = run(job);
    int os_error = sdi_get_os_error();
    sdi_snapshot_end(job->snapshot);
    /* Nothing is punched any more. What was is known by its mark. */
    atomic_store_explicit(&job->generation->reclaiming, 0, memory_order_release);
    sdi_set_os_error(os_error);
    return status;
}

/* R3. The place is held. */
static bool keep_compaction_out(simdrive_store *store) {
    sdi_mutex_lock(&store->mutex);
    bool alone = !store->compacting;
    if (alone) store->compacting = store->compaction.reclaims = true;
    sdi_mutex_unlock(&store->mutex);
    return alone;
}

/* The thread that saves the index holds a pin of which the caller knows nothing. It needs the place now and then, and a
 * new one is started in the place only. */
static simdrive_status take_place_without_saver(simdrive_store *store) {
    for (;;) {
        simdrive_status status = sdi_place_take(store, true);
        if (status != SIMDRIVE_OK || !atomic_load(&store->saved.thread_runs)) return status;
        sdi_mutex_lock(&store->mutex);
        sdi_place_free(store);
        sdi_condition_wait_ms(&store->place_left, &store->mutex, TURN_MS);
        sdi_mutex_unlock(&store->mutex);
    }
}

static void let_compaction_in(simdrive_store *store) {
    sdi_mutex_lock(&store->mutex);
    store->compacting = store->compaction.reclaims = false;
    sdi_mutex_unlock(&store->mutex);
}

bool sdi_stale_payload_is_gone(const sdi_generation *generation, const uint8_t *file, const sdi_record *record) {
    uint64_t from, to;
    if (!sdi_reclaimable_range(record, &from, &to)) return false;
    return record->end < atomic_load_explicit(&generation->reclaiming, memory_order_acquire) ||
           sdi_is_reclaimed(file, record);
}

simdrive_status simdrive_reclaim(simdrive_store *store, const simdrive_work_options *given,
                                 uint64_t *reclaimed_bytes) {
    simdrive_work_options options;
    uint64_t reclaimed = 0;
    if (reclaimed_bytes) *reclaimed_bytes = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    reclaim_job *job = status == SIMDRIVE_OK ? calloc(1, sizeof *job) : NULL;
    if (status == SIMDRIVE_OK && !job) status = SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) status = take_place_without_saver(store);
    if (status == SIMDRIVE_OK && !keep_compaction_out(store)) {
        sdi_place_leave(store);
        status = sdi_refuse(SIMDRIVE_ERROR_BUSY);
    }
    if (status == SIMDRIVE_OK) {
        job->store = store;
        job->options = &options;
        status = reclaim(job);
        reclaimed = job->reclaimed;
        let_compaction_in(store);
    }
    free(job);
    if (store) atomic_fetch_add_explicit(&store->stats.reclaimed_bytes, reclaimed, memory_order_relaxed);
    if (reclaimed_bytes) *reclaimed_bytes = reclaimed;
    return status;
}
