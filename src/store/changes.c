/* SPDX-License-Identifier: Apache-2.0 */
/* changes.c — each write and delete from a position on, in the order in which they were made.
 *
 * The chain can be walked backward only. So what is between the position and the tail is walked twice:
 *
 *      position                                                        tail
 *         |------ stretch ------|------ stretch ------|--- stretch ---|
 *                               ^ checkpoint          ^ checkpoint    ^ checkpoint
 *
 *   1  One walk (sweep) from the tail back to the position. It leaves a checkpoint at each STRETCH-th tail. It must
 *      arrive at the position exactly; that proves that the position is a tail of this chain.
 *   2  The lowest checkpoint is taken; a walk from it back to the position gives the ends of one stretch, which are
 *      delivered from the last to the first (oldest first). Then the next checkpoint, until none is left.
 *   3  Then it is looked for what has come meanwhile: back to 1; or waited.
 *
 * The generation is pinned, with its index (which tells what is stale, for reclaimed payloads). When it was replaced,
 * its tail is final, and is reached first; then the successor is pinned. A compaction through this handle left there at
 * which tail the new file has all of the old one (born_tail); everything behind it is new. Without that, or when one
 * more compaction has come in between, the new file is delivered from its beginning.
 *
 * Invariants
 *   C1  A sweep begins at a tail between two appends (sdi_follow): so batches are complete when they are delivered.
 *   C2  `position` is the tail behind the last entry delivered, or passed over as corrupt.
 *   C3  Checkpoints are above `position`, the highest first. No stretch has more than STRETCH entries.
 */
#include <string.h>

#include "store/store.h"

enum { STRETCH = 4096 };

struct simdrive_changes {
    simdrive_store *store;
    sdi_pin *pin; /* keeps the store's memory, too */
    uint64_t position;
    uint64_t *checkpoints;
    size_t checkpoint_count, checkpoint_capacity;
    size_t left; /* of the stretch: ends not yet delivered */
    uint64_t ends[STRETCH]; /* newest first */
};

/* --- finding what is there (1 and 2) ----------------------------------------------------------------------------- */

static simdrive_status push_checkpoint(simdrive_changes *changes, uint64_t tail) {
    if (changes->checkpoint_count == changes->checkpoint_capacity) {
        size_t capacity = changes->checkpoint_capacity ? changes->checkpoint_capacity * 2 : 16;
        uint64_t *larger = realloc(changes->checkpoints, capacity * sizeof *larger);
        if (!larger) return SIMDRIVE_ERROR_NO_MEMORY;
        changes->checkpoints = larger;
        changes->checkpoint_capacity = capacity;
    }
    changes->checkpoints[changes->checkpoint_count++] = tail;
    return SIMDRIVE_OK;
}

static void begin_walk(const simdrive_changes *changes, uint64_t tail, sdi_walk *walk) {
    const sdi_generation *generation = changes->pin->generation;
    sdi_walk_begin(walk, sdi_base(generation), &generation->damage, tail);
}

/* Step 1. On failure nothing is left of it. */
static simdrive_status sweep(simdrive_changes *changes, uint64_t tail) {
    sdi_walk walk;
    sdi_record record;
    simdrive_status status = SIMDRIVE_OK;
    begin_walk(changes, tail, &walk);
    for (size_t count = 0; status == SIMDRIVE_OK && walk.position > changes->position; count++) {
        if (count % STRETCH == 0) status = push_checkpoint(changes, walk.position);
        if (status == SIMDRIVE_OK && !sdi_walk_next(&walk, &record)) break;
    }
    if (status == SIMDRIVE_OK && walk.position != changes->position) status = sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    if (status != SIMDRIVE_OK) changes->checkpoint_count = 0;
    return status;
}

/* Step 2. The same way was walked before, over bytes that do not change (S2); should they have changed all the same, it
 * ends. */
static simdrive_status next_stretch(simdrive_changes *changes) {
    sdi_walk walk;
    sdi_record record;
    begin_walk(changes, changes->checkpoints[changes->checkpoint_count - 1], &walk);
    while (walk.position > changes->position && changes->left < STRETCH && sdi_walk_next(&walk, &record))
        changes->ends[changes->left++] = record.end;
    if (walk.position != changes->position) {
        changes->left = changes->checkpoint_count = 0;
        return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    }
    changes->checkpoint_count--;
    return SIMDRIVE_OK;
}

/* Step 3. */
static simdrive_status look(simdrive_changes *changes, bool *replaced) {
    uint64_t tail;
    simdrive_status status = sdi_follow(changes->store, changes->pin->generation, &tail, replaced);
    return status == SIMDRIVE_OK ? sweep(changes, tail) : status;
}

/* --- delivering -------------------------------------------------------------------------------------------------- */

static bool is_stale(const sdi_generation *generation, const sdi_record *record) {
    return sdi_index_find(generation->index, record->key_hash).offset != record->end;
}

/* OK or ERROR_CORRUPT; the payload, unless it was given back. */
static simdrive_status take_payload(const simdrive_changes *changes, uint64_t end, simdrive_event *event) {
    const sdi_generation *generation = changes->pin->generation;
    const uint8_t *file = sdi_base(generation);
    sdi_record record;
    bool decoded = sdi_record_at(&generation->damage, file, end, &record);
    event->reclaimed =
        decoded && sdi_stale_payload_is_gone(generation, file, &record) && is_stale(generation, &record);
    bool intact = decoded && !event->reclaimed && !sdi_is_corrupt(&generation->damage, end) &&
                  sdi_checksum_matches(file, &record, changes->store->checksum, NULL);
    if (!intact && !event->reclaimed) return sdi_refuse(SIMDRIVE_ERROR_CORRUPT);
    event->operation = record.tombstone ? SIMDRIVE_DELETE : SIMDRIVE_PUT;
    if (record.tombstone) return SIMDRIVE_OK;
    event->payload.size = (size_t)sdi_record_size(&record);
    if (intact) event->payload.data = file + record.start;
    return SIMDRIVE_OK;
}

static void take_position(const simdrive_changes *changes, simdrive_event *event) {
    event->position.offset = changes->position;
    event->position.check = sdi_position_check(changes->pin->generation, changes->position);
}

static simdrive_status deliver(simdrive_changes *changes, simdrive_event *event) {
    uint64_t end = changes->ends[--changes->left];
    simdrive_status status = take_payload(changes, end, event);
    event->key_hash = sdi_load64(sdi_base(changes->pin->generation) + end);
    changes->position = end + SDI_METADATA_SIZE;
    take_position(changes, event);
    return status;
}

/* All of the file that was replaced has been delivered. */
static simdrive_status move_on(simdrive_changes *changes, simdrive_event *event) {
    sdi_pin *old = changes->pin;
    changes->pin = sdi_pin_with_index(changes->store);
    const sdi_generation *generation = changes->pin->generation;
    changes->position = generation->sequence == old->generation->sequence + 1 ? generation->born_tail : 0;
    sdi_release_index(old->generation);
    sdi_unpin(old, 1);
    take_position(changes, event);
    return SIMDRIVE_COMPACTED;
}

/* --- the calls --------------------------------------------------------------------------------------------------- */

simdrive_status simdrive_changes_begin(simdrive_store *store, const simdrive_position *since, simdrive_changes **out) {
    bool replaced;
    if (out) *out = NULL;
    if (!store || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = simdrive_refresh(store, NULL); /* the position may be newer than what the handle knows */
    if (status != SIMDRIVE_OK) return status;
    simdrive_changes *changes = malloc(sizeof *changes);
    if (!changes) return SIMDRIVE_ERROR_NO_MEMORY;
    memset(changes, 0, offsetof(simdrive_changes, ends));
    changes->store = store;
    changes->pin = sdi_pin_with_index(store);
    if (since && !sdi_position_holds(changes->pin->generation, since))
        status = sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    if (status == SIMDRIVE_OK && since) changes->position = since->offset;
    if (status == SIMDRIVE_OK) status = look(changes, &replaced);
    if (status != SIMDRIVE_OK) {
        int os_error = sdi_get_os_error();
        simdrive_changes_end(changes);
        sdi_set_os_error(os_error);
        return status;
    }
    *out = changes;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_changes_next(simdrive_changes *changes, uint32_t timeout_ms, simdrive_event *event) {
    if (event) memset(event, 0, sizeof *event);
    if (!changes || !event) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (changes->left > 0) return deliver(changes, event);
    uint64_t deadline = sdi_deadline(timeout_ms);
    for (;;) {
        bool replaced = false;
        if (changes->left > 0) return deliver(changes, event);
        simdrive_status status = changes->checkpoint_count > 0 ? next_stretch(changes) : look(changes, &replaced);
        if (status != SIMDRIVE_OK) return status;
        if (changes->left > 0 || changes->checkpoint_count > 0) continue;
        if (atomic_load(&changes->store->closed)) return SIMDRIVE_END; /* what replaced the file went with the handle */
        if (replaced) return move_on(changes, event);
        status = sdi_wait_beyond(changes->store, changes->pin->generation->sequence, changes->position, deadline);
        if (status != SIMDRIVE_OK) return status;
    }
}

void simdrive_changes_end(simdrive_changes *changes) {
    if (!changes) return;
    sdi_release_index(changes->pin->generation);
    sdi_unpin(changes->pin, 1);
    free(changes->checkpoints);
    free(changes);
}
