/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c — the live entries as of one moment, while writers go on.
 *
 * A snapshot is the pinned generation and its tail T at the beginning. It walks the chain down from T. An entry E of
 * key K was live at T when it was the newest of K then. The index knows the newest of K now, N:
 *
 *      N = E             E is live: nothing newer was ever written.
 *      N below T         E is stale: N is newer than E, and was there at T.
 *      N at or above T   K was written after T. Whether E was the newest before, the index knows no more.
 *
 * For the last case the writer notes, while snapshots are being walked, each entry that it replaces, with the tail at
 * which it did so: E was live at T when it was replaced at T or later. (Tails are compared, for every snapshot begins
 * between two appends.) The notes go when no snapshot is left.
 *
 * Invariants
 *   N1  The writer sets `publishing` before it looks whether there are snapshots, and a snapshot counts itself before
 *       it looks at `publishing`. So either the writer notes what it replaces, or the snapshot waits for the end of
 *       these puts (microseconds; no system call is among them) and begins behind them.
 *   N2  An entry's replacement is noted before the index shows it.
 *   N3  Stale entries and tombstones are counted before the tail shows what made them, and their counts never fall.
 *       So when both are 0 in a look that follows the one at T, there was neither below T: whatever was stale then had
 *       its replacement below T, and that was counted. Every entry that the walk meets is a payload and was live at T,
 *       and the index need not be asked. What is written later may make the counts rise, but not what T leads to.
 */
#include <string.h>

#include "store/store.h"

enum { GROUP = 64 };

/* --- notes of the writer ----------------------------------------------------------------------------------------- */

simdrive_status sdi_superseded_init(sdi_superseded *superseded) {
    memset(superseded, 0, sizeof *superseded);
    atomic_init(&superseded->publishing, false);
    superseded->lost_since = UINT64_MAX;
    return sdi_mutex_init(&superseded->mutex);
}

void sdi_superseded_clear(sdi_superseded *superseded) {
    free(superseded->ends);
    free(superseded->since);
    superseded->ends = superseded->since = NULL;
    superseded->capacity = superseded->count = 0;
    superseded->lost_since = UINT64_MAX;
}

static size_t slot_of(const uint64_t *ends, size_t capacity, uint64_t end) {
    size_t slot = (size_t)((end * UINT64_C(0x9E3779B97F4A7C15)) >> 24) & (capacity - 1);
    while (ends[slot] != 0 && ends[slot] != end) slot = (slot + 1) & (capacity - 1);
    return slot;
}

/* Room for `count` more notes; mutex held. */
static bool make_room(sdi_superseded *superseded, size_t count) {
    size_t capacity = superseded->capacity ? superseded->capacity : 256;
    while (capacity < 2 * (superseded->count + count)) capacity *= 2;
    if (capacity == superseded->capacity) return true;
    uint64_t *ends = calloc(capacity, sizeof *ends), *since = malloc(capacity * sizeof *since);
    if (!ends || !since) {
        free(ends);
        free(since);
        return false;
    }
    for (size_t i = 0; i < superseded->capacity; i++) {
        if (superseded->ends[i] == 0) continue;
        size_t slot = slot_of(ends, capacity, superseded->ends[i]);
        ends[slot] = superseded->ends[i];
        since[slot] = superseded->since[i];
    }
    free(superseded->ends);
    free(superseded->since);
    superseded->ends = ends;
    superseded->since = since;
    superseded->capacity = capacity;
    return true;
}

simdrive_status sdi_superseded_reserve(sdi_generation *generation, size_t count) {
    sdi_superseded *superseded = &generation->superseded;
    if (atomic_load(&generation->snapshots) == 0) return SIMDRIVE_OK;
    sdi_mutex_lock(&superseded->mutex);
    bool room = make_room(superseded, count);
    sdi_mutex_unlock(&superseded->mutex);
    return room ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

static void note_replacements(sdi_generation *generation, const uint64_t *hashes, size_t count, uint64_t tail) {
    sdi_superseded *superseded = &generation->superseded;
    sdi_index_hit hits[GROUP];
    sdi_mutex_lock(&superseded->mutex);
    /* Room was made before the append, unless the first snapshot began after that. */
    if (!make_room(superseded, count) && superseded->lost_since == UINT64_MAX) superseded->lost_since = tail;
    for (size_t first = 0; first < count && superseded->lost_since == UINT64_MAX; first += GROUP) {
        size_t group = count - first < GROUP ? count - first : GROUP;
        sdi_index_find_batch(generation->index, hashes + first, group, hits);
        for (size_t i = 0; i < group; i++) {
            if (hits[i].offset == SDI_INDEX_NONE) continue;
            size_t slot = slot_of(superseded->ends, superseded->capacity, hits[i].offset);
            superseded->count += superseded->ends[slot] == 0;
            superseded->ends[slot] = hits[i].offset;
            superseded->since[slot] = tail;
        }
    }
    sdi_mutex_unlock(&superseded->mutex);
}

void sdi_publication_begin(sdi_generation *generation, const uint64_t *hashes, size_t count, uint64_t tail) {
    sdi_superseded *superseded = &generation->superseded;
    atomic_store(&superseded->publishing, true);
    if (atomic_load(&generation->snapshots) > 0)
        note_replacements(generation, hashes, count, tail);
    else if (superseded->capacity > 0 || superseded->lost_since != UINT64_MAX)
        sdi_superseded_clear(superseded); /* whoever comes now waits for the end of the publication (N1) */
}

void sdi_publication_end(sdi_generation *generation) {
    atomic_store_explicit(&generation->superseded.publishing, false, memory_order_release);
}

/* Whether the entry at `end` was replaced at `tail` or later. */
static simdrive_status replaced_since(sdi_generation *generation, uint64_t end, uint64_t tail, bool *out) {
    sdi_superseded *superseded = &generation->superseded;
    simdrive_status status = SIMDRIVE_OK;
    *out = false;
    sdi_mutex_lock(&superseded->mutex);
    if (superseded->lost_since != UINT64_MAX) {
        status = SIMDRIVE_ERROR_NO_MEMORY;
    } else if (superseded->capacity > 0) {
        size_t slot = slot_of(superseded->ends, superseded->capacity, end);
        *out = superseded->ends[slot] == end && superseded->since[slot] >= tail;
    }
    sdi_mutex_unlock(&superseded->mutex);
    return status;
}

/* --- the snapshot ------------------------------------------------------------------------------------------------ */

struct sdi_snapshot {
    sdi_pin *pin;
    uint64_t tail;
    bool all_live; /* every entry that the walk meets (N3) */
    sdi_walk walk;
};

/* Whether nothing was stale or deleted at the snapshot's tail, which has been read before. */
static bool was_all_live(const sdi_generation *generation) {
    const sdi_counters *counters = &generation->counters;
    return generation->damage.run_count == 0 && generation->damage.corrupt_count == 0 &&
           atomic_load_explicit(&counters->stale_entries, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&counters->tombstones, memory_order_relaxed) == 0;
}

static int descending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left < right) - (left > right);
}

/* An entry that the index leads to, below the snapshot's tail, is one of its chain. So the tail of each is where a walk
 * may begin, and where the one above it ends. An index that was made up would be found out there: that walk would not
 * arrive at that tail. */
static size_t cut_at_samples(const sdi_walk *whole, const uint64_t *ends, size_t count, sdi_walk *pieces,
                             size_t capacity) {
    size_t made = 1;
    pieces[0] = *whole;
    for (size_t i = 1; i < capacity; i++) {
        uint64_t tail = ends[i * count / capacity] + SDI_METADATA_SIZE;
        if (tail >= pieces[made - 1].position) continue;
        sdi_walk_end_at(&pieces[made - 1], tail);
        sdi_walk_begin(&pieces[made], whole->file, whole->damage, tail);
        if (whole->os) sdi_walk_read_ahead(&pieces[made], whole->os, whole->purpose);
        made++;
    }
    return made;
}

size_t sdi_snapshot_split(const sdi_snapshot *snapshot, uint64_t *samples, sdi_walk *pieces, size_t capacity) {
    const sdi_index *index = snapshot->pin->generation->index;
    size_t count = 0, found = 0;
    pieces[0] = snapshot->walk;
    if (capacity == 1 || snapshot->walk.damage->run_count > 0) return 1;
    found = sdi_index_sample(index, samples, capacity * SDI_SPLIT_SAMPLES);
    for (size_t i = 0; i < found; i++) {
        if (samples[i] + SDI_METADATA_SIZE < snapshot->tail) samples[count++] = samples[i];
    }
    if (count == 0) return 1;
    qsort(samples, count, sizeof *samples, descending);
    return cut_at_samples(&snapshot->walk, samples, count, pieces, capacity);
}

simdrive_status sdi_snapshot_begin(simdrive_store *store, sdi_walk_purpose purpose, sdi_snapshot **out) {
    sdi_snapshot *snapshot = malloc(sizeof *snapshot);
    *out = NULL;
    if (!snapshot) return SIMDRIVE_ERROR_NO_MEMORY;
    snapshot->pin = sdi_pin_with_index(store);
    sdi_generation *generation = snapshot->pin->generation;
    atomic_fetch_add(&generation->snapshots, 1);
    while (atomic_load(&generation->superseded.publishing)) sdi_thread_yield(); /* N1 */
    snapshot->tail = sdi_tail(generation);
    snapshot->all_live = was_all_live(generation);
    sdi_walk_begin(&snapshot->walk, sdi_base(generation), &generation->damage, snapshot->tail);
    if (generation->file) sdi_walk_read_ahead(&snapshot->walk, store->os, purpose);
    *out = snapshot;
    return SIMDRIVE_OK;
}

void sdi_snapshot_end(sdi_snapshot *snapshot) {
    if (!snapshot) return;
    atomic_fetch_sub(&snapshot->pin->generation->snapshots, 1);
    sdi_release_index(snapshot->pin->generation);
    sdi_unpin(snapshot->pin, 1);
    free(snapshot);
}

sdi_pin *sdi_snapshot_pin(const sdi_snapshot *snapshot) {
    return snapshot->pin;
}

const uint8_t *sdi_snapshot_base(const sdi_snapshot *snapshot) {
    return snapshot->walk.file;
}

uint64_t sdi_snapshot_tail(const sdi_snapshot *snapshot) {
    return snapshot->tail;
}

bool sdi_snapshot_was_cold(const sdi_snapshot *snapshot) {
    return snapshot->walk.cold;
}

simdrive_status sdi_snapshot_walk(sdi_snapshot *snapshot, sdi_record *records, size_t capacity, size_t *count) {
    *count = sdi_walk_block(&snapshot->walk, records, capacity);
    return *count == 0 && snapshot->walk.broken ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK;
}

static simdrive_status was_live(const sdi_snapshot *snapshot, const sdi_record *record, uint64_t newest, bool *live) {
    *live = newest == record->end;
    if (record->tombstone) *live = false;
    if (newest == SDI_INDEX_UNKNOWN) return SIMDRIVE_ERROR_NO_MEMORY;
    if (*live || record->tombstone || (newest != SDI_INDEX_NONE && newest < snapshot->tail)) return SIMDRIVE_OK;
    return replaced_since(snapshot->pin->generation, record->end, snapshot->tail, live);
}

simdrive_status sdi_snapshot_select(const sdi_snapshot *snapshot, sdi_record *records, size_t *count) {
    uint64_t hashes[GROUP];
    sdi_index_hit hits[GROUP];
    size_t kept = 0;
    if (snapshot->all_live) return SIMDRIVE_OK;
    for (size_t first = 0; first < *count; first += GROUP) {
        size_t group = *count - first < GROUP ? *count - first : GROUP;
        for (size_t i = 0; i < group; i++) hashes[i] = records[first + i].key_hash;
        sdi_index_find_batch(snapshot->pin->generation->index, hashes, group, hits);
        for (size_t i = 0; i < group; i++) {
            bool live;
            simdrive_status status = was_live(snapshot, &records[first + i], hits[i].offset, &live);
            if (status != SIMDRIVE_OK) return status;
            if (live) records[kept++] = records[first + i];
        }
    }
    *count = kept;
    return SIMDRIVE_OK;
}

simdrive_status sdi_snapshot_next(sdi_snapshot *snapshot, sdi_record *records, size_t capacity, size_t *count) {
    do {
        simdrive_status status = sdi_snapshot_walk(snapshot, records, capacity, count);
        if (status != SIMDRIVE_OK || *count == 0) return status;
        status = sdi_snapshot_select(snapshot, records, count);
        if (status != SIMDRIVE_OK) return status;
    } while (*count == 0);
    return SIMDRIVE_OK;
}
