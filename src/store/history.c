/* SPDX-License-Identifier: Apache-2.0 */
/* history.c — the versions of one key, newest first.
 *
 * One walk down the chain from the tail of the moment, in a generation that stays pinned, stopping at each entry of the
 * key. The first of them is what a read found then; all others were replaced. The walk is one entry ahead of the
 * caller, so that a key that never was there is told at the beginning. */
#include "digest/hash.h"
#include "store/store.h"

struct simdrive_history {
    simdrive_store *store;
    sdi_pin *pin;
    uint64_t key_hash;
    sdi_walk walk;
    sdi_record next;
    bool has_next, first;
};

static void find_next(simdrive_history *history) {
    do {
        history->has_next = sdi_walk_next(&history->walk, &history->next);
    } while (history->has_next && history->next.key_hash != history->key_hash);
}

simdrive_status simdrive_history_begin_hash(simdrive_store *store, uint64_t key_hash, simdrive_history **out) {
    if (out) *out = NULL;
    if (!store || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_history *history = calloc(1, sizeof *history);
    if (!history) return SIMDRIVE_ERROR_NO_MEMORY;
    history->store = store;
    history->pin = sdi_pin_current(store);
    history->key_hash = key_hash;
    history->first = true;
    const sdi_generation *generation = history->pin->generation;
    uint64_t tail = sdi_tail(generation); /* before the map: that of a later moment covers it */
    sdi_walk_begin(&history->walk, sdi_base(generation), &generation->damage, tail);
    if (generation->file) sdi_walk_read_ahead(&history->walk, store->os, SDI_WALK_TO_LINK);
    find_next(history);
    if (!history->has_next) {
        simdrive_status status = history->walk.broken ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_NOT_FOUND;
        simdrive_history_end(history);
        return sdi_refuse(status);
    }
    *out = history;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_history_begin(simdrive_store *store, const void *key, size_t key_size,
                                       simdrive_history **out) {
    if (out) *out = NULL;
    if (!key && key_size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return simdrive_history_begin_hash(store, sdi_hash(key, key_size), out);
}

simdrive_status simdrive_history_next(simdrive_history *history, simdrive_revision *revision) {
    if (revision) *revision = (simdrive_revision){0};
    if (!history || !revision) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (!history->has_next) return history->walk.broken ? sdi_refuse(SIMDRIVE_ERROR_CORRUPT) : SIMDRIVE_END;
    const sdi_record *record = &history->next;
    const uint8_t *file = history->walk.file;
    revision->reclaimed = !history->first && sdi_stale_payload_is_gone(history->pin->generation, file, record);
    bool intact = !revision->reclaimed && !sdi_is_corrupt(history->walk.damage, record->end) &&
                  sdi_checksum_matches(file, record, history->store->checksum, NULL);
    revision->operation = record->tombstone ? SIMDRIVE_DELETE : SIMDRIVE_PUT;
    revision->live = history->first && !record->tombstone;
    revision->corrupt = !intact && !revision->reclaimed;
    revision->payload.size = record->tombstone ? 0 : (size_t)sdi_record_size(record);
    if (intact && !record->tombstone) revision->payload.data = file + record->start;
    revision->offset = sdi_record_tail(record);
    revision->checksum = record->checksum;
    history->first = false;
    find_next(history);
    return SIMDRIVE_OK;
}

void simdrive_history_end(simdrive_history *history) {
    if (!history) return;
    sdi_unpin(history->pin, 1);
    free(history);
}
