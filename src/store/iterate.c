/* SPDX-License-Identifier: Apache-2.0 */
/* iterate.c — the public forms of a walk over live entries: an iterator for one thread, a visit by many. */
#include <string.h>

#include "store/store.h"

enum {
    ITERATOR_CHUNK = 128, /* records that are walked over, and looked up in the index, together */
    VISIT_CHUNK = 128,   /* records that a thread takes at once */
    PIECES_PER_THREAD = 16, /* of a visit: the last ones end at about the same time */
    VISIT_THREADS_MAX = 256
};

struct simdrive_iterator {
    sdi_snapshot *snapshot;
    const uint8_t *base;
    bool looks_at_each; /* not every record that the snapshot gives out is shown */
    simdrive_entry lent; /* its pin stays */
    simdrive_status failed; /* it goes no further */
    size_t next, count;
    sdi_record records[ITERATOR_CHUNK];
};

/* Whether is_shown() has anything to look at. */
static bool looks_at_each(const sdi_snapshot *snapshot) {
    const sdi_generation *generation = sdi_snapshot_pin(snapshot)->generation;
    return generation->damage.corrupt_count > 0 || generation->store->options.check_on_read;
}

/* Corrupt entries are left out, whether opening found them or the check on reading does. */
static bool is_shown(const sdi_snapshot *snapshot, const sdi_record *record) {
    const sdi_generation *generation = sdi_snapshot_pin(snapshot)->generation;
    return !sdi_is_corrupt(&generation->damage, record->end) &&
           sdi_passes_check(generation->store, sdi_snapshot_base(snapshot), record);
}

/* The first bytes of payloads are asked for before they are handed out; small ones lie beside their metadata. */
static void prefetch_payloads(const uint8_t *base, const sdi_record *records, size_t count) {
    for (size_t i = 0; i < count; i++) __builtin_prefetch(base + records[i].start);
}

simdrive_status simdrive_iterate(simdrive_store *store, simdrive_iterator **out) {
    if (out) *out = NULL;
    if (!store || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_iterator *iterator = calloc(1, sizeof *iterator);
    if (!iterator) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_status status = sdi_snapshot_begin(store, SDI_WALK_TO_READ, &iterator->snapshot);
    if (status != SIMDRIVE_OK) {
        free(iterator);
        return status;
    }
    iterator->base = sdi_snapshot_base(iterator->snapshot);
    iterator->looks_at_each = looks_at_each(iterator->snapshot);
    iterator->lent.private_pin = sdi_snapshot_pin(iterator->snapshot);
    *out = iterator;
    return SIMDRIVE_OK;
}

static simdrive_status refill(simdrive_iterator *iterator) {
    iterator->next = iterator->count = 0;
    if (iterator->failed != SIMDRIVE_OK) return sdi_refuse(iterator->failed);
    simdrive_status status =
        sdi_snapshot_next(iterator->snapshot, iterator->records, ITERATOR_CHUNK, &iterator->count);
    if (status != SIMDRIVE_OK) {
        iterator->count = 0; /* they were not thinned out, and the walk is beyond them */
        return iterator->failed = status;
    }
    prefetch_payloads(iterator->base, iterator->records, iterator->count);
    return iterator->count == 0 ? SIMDRIVE_END : SIMDRIVE_OK;
}

simdrive_status simdrive_iterator_peek_next(simdrive_iterator *iterator, const simdrive_entry **entry) {
    const sdi_record *record;
    if (entry) *entry = NULL;
    if (!iterator || !entry) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    do {
        if (iterator->next == iterator->count) {
            simdrive_status status = refill(iterator);
            if (status != SIMDRIVE_OK) return status;
        }
        record = &iterator->records[iterator->next++];
    } while (iterator->looks_at_each && !is_shown(iterator->snapshot, record));
    sdi_entry_fill(&iterator->lent, iterator->base, record, iterator->lent.private_pin);
    *entry = &iterator->lent;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_iterator_next(simdrive_iterator *iterator, simdrive_entry *entry) {
    const simdrive_entry *lent;
    if (!entry) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    memset(entry, 0, sizeof *entry);
    simdrive_status status = simdrive_iterator_peek_next(iterator, &lent);
    if (status == SIMDRIVE_OK) simdrive_entry_clone(lent, entry);
    return status;
}

void simdrive_iterator_close(simdrive_iterator *iterator) {
    if (!iterator) return;
    sdi_snapshot_end(iterator->snapshot);
    free(iterator);
}

/* --- visit --------------------------------------------------------------------------------------------------------
 *
 * The walk is cut into pieces, several for each thread (sdi_snapshot_split). A thread takes a chunk of records from its
 * piece, sorts out the stale ones, shows the rest, and takes the next chunk. When its piece is at its end it takes one
 * that nobody has begun, and when there is none, it helps: it takes chunks of pieces whose threads are busy showing
 * theirs. So all work to the end, however unlike the pieces are, and whatever time the visitor takes over an entry; a
 * large entry holds up nobody but who is at it.
 *
 * Invariants
 *   V1  A piece's walk is used by the thread that has set its `walked`, until it clears that. Chunks are so short that
 *       what they are made of stays in the processor's nearest cache; so taking one takes no lock and writes to nothing
 *       that belongs to another thread, unless that helps.
 *   V2  A thread goes when every piece is at its end, or the visit was stopped. It sleeps when all the pieces that are
 *       not at their end are being walked over, as on a cold file.
 *   V3  Nobody sleeps for good: who is about to counts himself in `waiting`, and then looks at all pieces once more;
 *       who gives a piece back clears `walked`, and then looks at `waiting`. All four are in one order, so one of the
 *       two sees the other. To wake him takes the mutex, which he has from the counting until he sleeps.
 */

typedef struct visit_piece {
    _Alignas(128) sdi_walk walk; /* apart from its neighbours */
    _Atomic bool walked, ended;
    _Atomic uint64_t left; /* bytes, more or less */
} visit_piece;

typedef struct visit_job {
    sdi_snapshot *snapshot;
    simdrive_visitor visitor;
    void *user;
    _Atomic int status;
    visit_piece *pieces;
    size_t count;
    _Atomic size_t next; /* piece that nobody has begun */
    _Atomic unsigned waiting;
    sdi_mutex mutex;
    sdi_condition given_back;
} visit_job;

typedef struct visit_thread {
    visit_job *visit;
    unsigned number;
    visit_piece *piece; /* that it took its last chunk from, or NULL */
    sdi_thread thread;
} visit_thread;

/* The first reason to stop is the one that is returned. */
static void stop_visit(visit_job *visit, simdrive_status status) {
    int expected = SIMDRIVE_OK;
    atomic_compare_exchange_strong(&visit->status, &expected, (int)status);
}

static bool is_stopped(visit_job *visit) {
    return atomic_load_explicit(&visit->status, memory_order_relaxed) != SIMDRIVE_OK;
}

static simdrive_status visit_records(visit_job *visit, unsigned thread, const sdi_record *records, size_t count) {
    sdi_pin *pin = sdi_snapshot_pin(visit->snapshot);
    const uint8_t *base = sdi_snapshot_base(visit->snapshot);
    bool look = looks_at_each(visit->snapshot);
    for (size_t i = 0; i < count; i++) {
        simdrive_entry entry;
        if (look && !is_shown(visit->snapshot, &records[i])) continue;
        sdi_entry_fill(&entry, base, &records[i], pin);
        simdrive_status status = visit->visitor(visit->user, thread, &entry);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* False when it is at its end, or somebody is at it. */
static bool take(visit_piece *piece) {
    if (atomic_load(&piece->ended) || atomic_load(&piece->walked)) return false;
    if (atomic_exchange(&piece->walked, true)) return false;
    if (!atomic_load(&piece->ended)) return true;
    atomic_store(&piece->walked, false);
    return false;
}

/* Of the pieces that nobody walks over at the moment, the one with most left; `*any`: one is not at its end. */
static visit_piece *most_left(visit_job *visit, bool *any) {
    visit_piece *most = NULL;
    uint64_t of_most = 0;
    *any = false;
    for (size_t i = 0; i < visit->count; i++) {
        visit_piece *piece = &visit->pieces[i];
        uint64_t left = atomic_load_explicit(&piece->left, memory_order_relaxed);
        if (atomic_load(&piece->ended)) continue;
        *any = true;
        if (atomic_load(&piece->walked) || (most && left <= of_most)) continue;
        most = piece;
        of_most = left;
    }
    return most;
}

/* Takes a piece that another thread has begun, and waits for one. NULL when there is none and never will be. */
static visit_piece *help(visit_job *visit) {
    visit_piece *piece = NULL;
    bool any = true;
    sdi_mutex_lock(&visit->mutex);
    atomic_fetch_add(&visit->waiting, 1);
    while (any && !is_stopped(visit)) {
        piece = most_left(visit, &any);
        if (piece && take(piece)) break;
        if (!piece && any) sdi_condition_wait(&visit->given_back, &visit->mutex);
        piece = NULL;
    }
    atomic_fetch_sub(&visit->waiting, 1);
    sdi_mutex_unlock(&visit->mutex);
    return piece;
}

static visit_piece *take_piece(visit_job *visit, visit_piece *own) {
    if (own && take(own)) return own;
    for (;;) {
        if (atomic_load(&visit->next) >= visit->count) return help(visit);
        size_t next = atomic_fetch_add(&visit->next, 1);
        if (next < visit->count && take(&visit->pieces[next])) return &visit->pieces[next];
    }
}

static void give_back(visit_job *visit, visit_piece *piece, bool ended) {
    atomic_store_explicit(&piece->left, piece->walk.position - piece->walk.floor, memory_order_relaxed);
    if (ended) atomic_store(&piece->ended, true);
    atomic_store(&piece->walked, false);
    if (atomic_load(&visit->waiting) == 0) return;
    sdi_mutex_lock(&visit->mutex);
    sdi_condition_wake_all(&visit->given_back);
    sdi_mutex_unlock(&visit->mutex);
}

/* False at the end of the visit. */
static bool take_chunk(visit_thread *self, sdi_record *records, size_t *count) {
    visit_job *visit = self->visit;
    do {
        visit_piece *piece = self->piece = take_piece(visit, self->piece);
        if (!piece) return false;
        *count = sdi_walk_block(&piece->walk, records, VISIT_CHUNK);
        if (*count == 0 && piece->walk.broken) stop_visit(visit, SIMDRIVE_ERROR_CORRUPT);
        give_back(visit, piece, *count == 0);
    } while (*count == 0);
    return true;
}

static void visit_run(void *user) {
    visit_thread *self = user;
    visit_job *visit = self->visit;
    sdi_record records[VISIT_CHUNK];
    size_t count;
    while (!is_stopped(visit) && take_chunk(self, records, &count)) {
        prefetch_payloads(sdi_snapshot_base(visit->snapshot), records, count);
        simdrive_status status = sdi_snapshot_select(visit->snapshot, records, &count);
        if (status == SIMDRIVE_OK) status = visit_records(visit, self->number, records, count);
        if (status != SIMDRIVE_OK) stop_visit(visit, status);
    }
}

/* Cuts the walk into pieces for so many threads. */
static simdrive_status cut_into_pieces(visit_job *visit, unsigned threads) {
    size_t most = threads > 1 ? (size_t)threads * PIECES_PER_THREAD : 1;
    sdi_walk *walks = calloc(most, sizeof *walks);
    uint64_t *samples = malloc(most * SDI_SPLIT_SAMPLES * sizeof *samples);
    visit->pieces = aligned_alloc(_Alignof(visit_piece), most * sizeof *visit->pieces);
    bool made = walks && samples && visit->pieces;
    size_t count = made ? sdi_snapshot_split(visit->snapshot, samples, walks, most) : 0;
    for (size_t i = 0; i < count; i++) {
        visit_piece *piece = &visit->pieces[i];
        piece->walk = walks[i];
        atomic_init(&piece->walked, false);
        atomic_init(&piece->ended, false);
        atomic_init(&piece->left, walks[i].position - walks[i].floor);
    }
    visit->count = count;
    free(samples);
    free(walks);
    return made ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

/* With helpers, as far as they can be had: fewer threads do the same work. */
static simdrive_status visit_in_threads(visit_job *visit, unsigned threads) {
    visit_thread *all = calloc(threads, sizeof *all);
    if (!all) return SIMDRIVE_ERROR_NO_MEMORY;
    unsigned started = 1;
    for (unsigned i = 0; i < threads; i++) all[i] = (visit_thread){.visit = visit, .number = i};
    while (started < threads &&
           sdi_thread_start(&all[started].thread, visit_run, &all[started]) == SIMDRIVE_OK)
        started++;
    visit_run(&all[0]);
    for (unsigned i = 1; i < started; i++) sdi_thread_join(&all[i].thread);
    free(all);
    return (simdrive_status)atomic_load(&visit->status);
}

simdrive_status simdrive_visit(simdrive_store *store, unsigned threads, simdrive_visitor visitor, void *user) {
    visit_job visit = {.visitor = visitor, .user = user};
    if (!store || !visitor) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (threads == 0) threads = sdi_processor_count();
    if (threads > VISIT_THREADS_MAX) threads = VISIT_THREADS_MAX;
    atomic_init(&visit.status, SIMDRIVE_OK);
    atomic_init(&visit.next, 0);
    atomic_init(&visit.waiting, 0);
    simdrive_status status = sdi_mutex_init(&visit.mutex);
    if (status != SIMDRIVE_OK) return status;
    status = sdi_condition_init(&visit.given_back);
    if (status != SIMDRIVE_OK) goto no_condition;
    status = sdi_snapshot_begin(store, SDI_WALK_TO_READ, &visit.snapshot);
    if (status == SIMDRIVE_OK) status = cut_into_pieces(&visit, threads);
    if (status == SIMDRIVE_OK) status = visit_in_threads(&visit, threads);
    free(visit.pieces);
    sdi_snapshot_end(visit.snapshot);
    sdi_condition_destroy(&visit.given_back);
no_condition:
    sdi_mutex_destroy(&visit.mutex);
    return status;
}
