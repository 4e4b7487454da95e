/* SPDX-License-Identifier: Apache-2.0 */
/* iterate.c — the public forms of a walk over live entries: an iterator for one thread, a visit by many. */
#include <string.h>

#include "store/store.h"

enum {
    ITERATOR_CHUNK = 128, /* records that are walked over, and looked up in the index, together */
    VISIT_CHUNK = 512,   /* records that a thread takes at once */
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

/* --- visit ------------------------------------------------------------------------------------------------------- */

typedef struct visit_job {
    sdi_snapshot *snapshot;
    simdrive_visitor visitor;
    void *user;
    _Atomic bool walking; /* by one thread at a time, a chunk ahead */
    _Atomic int status;
} visit_job;

typedef struct visit_thread {
    visit_job *visit;
    unsigned number;
    sdi_thread thread;
} visit_thread;

/* The first reason to stop is the one that is returned. */
static void stop_visit(visit_job *visit, simdrive_status status) {
    int expected = SIMDRIVE_OK;
    atomic_compare_exchange_strong(&visit->status, &expected, (int)status);
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

/* The walk over a chunk takes less time than to be sent to sleep and woken: who finds another thread at it looks again
 * until it is his turn. */
static simdrive_status take_chunk(visit_job *visit, sdi_record *records, size_t *count) {
    while (atomic_exchange_explicit(&visit->walking, true, memory_order_acquire)) sdi_thread_yield();
    simdrive_status status = sdi_snapshot_walk(visit->snapshot, records, VISIT_CHUNK, count);
    atomic_store_explicit(&visit->walking, false, memory_order_release);
    return status;
}

static void visit_run(void *user) {
    visit_thread *self = user;
    visit_job *visit = self->visit;
    sdi_record records[VISIT_CHUNK];
    while (atomic_load_explicit(&visit->status, memory_order_relaxed) == SIMDRIVE_OK) {
        size_t count;
        simdrive_status status = take_chunk(visit, records, &count);
        if (status == SIMDRIVE_OK && count == 0) return;
        if (status == SIMDRIVE_OK) status = sdi_snapshot_select(visit->snapshot, records, &count);
        if (status == SIMDRIVE_OK) status = visit_records(visit, self->number, records, count);
        if (status != SIMDRIVE_OK) stop_visit(visit, status);
    }
}

simdrive_status simdrive_visit(simdrive_store *store, unsigned threads, simdrive_visitor visitor, void *user) {
    visit_job visit = {.visitor = visitor, .user = user};
    if (!store || !visitor) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (threads == 0) threads = sdi_processor_count();
    if (threads > VISIT_THREADS_MAX) threads = VISIT_THREADS_MAX;
    atomic_init(&visit.status, SIMDRIVE_OK);
    atomic_init(&visit.walking, false);
    simdrive_status status = sdi_snapshot_begin(store, SDI_WALK_TO_READ, &visit.snapshot);
    if (status != SIMDRIVE_OK) return status;
    visit_thread *helpers = calloc(threads, sizeof *helpers);
    status = helpers ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    if (status != SIMDRIVE_OK) goto out;
    unsigned started = 1;
    for (; started < threads; started++) {
        helpers[started].visit = &visit;
        helpers[started].number = started;
        /* Fewer threads than asked for do the same work. */
        if (sdi_thread_start(&helpers[started].thread, visit_run, &helpers[started]) != SIMDRIVE_OK) break;
    }
    helpers[0].visit = &visit;
    visit_run(&helpers[0]);
    for (unsigned i = 1; i < started; i++) sdi_thread_join(&helpers[i].thread);
    status = (simdrive_status)atomic_load(&visit.status);
out:
    free(helpers);
    sdi_snapshot_end(visit.snapshot);
    return status;
}
