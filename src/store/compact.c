/* SPDX-License-Identifier: Apache-2.0 */
/* compact.c — the store again, without what nobody can read, in a new file that takes the old one's place, while
 * readers and writers go on.
 *
 *   1  Temporary files of compactions that died are removed.
 *   2  The entries live at this moment are collected, oldest first; what they will take is added up. Nothing to gain,
 *      or no room for it: done.
 *   3  A new file with an unguessable name beside the store, locked, with the old one's rights. Entries are copied,
 *      their checksums verified and carried over, and put into a new index.
 *   4  What was written meanwhile, tombstones too, is copied in rounds, until little is left; the file is synced.
 *   5  Now the writer's place is taken: the last entries are copied, and synced. Writers wait for this alone. A damaged
 *      tail, which would be gone with the old file, is moved aside as before a first write.
 *   6  The new file is renamed over the store (links resolved), the folder synced. A crash leaves the old file or the
 *      new one. Readers find the new generation; the old one goes with its last pin.
 */
#include <string.h>

#include "store/store.h"

enum {
    COPY_BUFFER = 1 << 20,
    COPIED_PAYLOAD = 1 << 16, /* larger payloads are written from where they are */
    COLLECT_GROUP = 256,
    INDEX_GROUP = 4096, /* entries put into the new index together */
    CATCH_UP_ROUNDS = 16,       /* before writers are made to wait whatever is left */
    LITTLE_LEFT = 256 << 10,    /* bytes that may be copied while writers wait */
    SPARE_SPACE = 16 << 20      /* of the disk, left for others when the room is checked */
};

#define TEMPORARY_INFIX ".compact-"

/* --- what is kept ------------------------------------------------------------------------------------------------ */

typedef struct kept_entries {
    uint64_t *ends; /* newest first, as the walk gives them */
    size_t count, capacity;
    uint64_t new_size;
} kept_entries;

static simdrive_status keep(kept_entries *kept, const sdi_record *records, size_t count) {
    if (kept->count + count > kept->capacity) {
        size_t capacity = kept->capacity ? kept->capacity * 2 : 4096;
        uint64_t *ends = realloc(kept->ends, capacity * sizeof *ends);
        if (!ends) return SIMDRIVE_ERROR_NO_MEMORY;
        kept->ends = ends;
        kept->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) kept->ends[kept->count++] = records[i].end;
    return SIMDRIVE_OK;
}

/* Step 2. */
static simdrive_status collect(sdi_snapshot *snapshot, kept_entries *kept) {
    const sdi_generation *generation = sdi_snapshot_pin(snapshot)->generation;
    sdi_record records[COLLECT_GROUP];
    size_t count;
    for (;;) {
        simdrive_status status = sdi_snapshot_next(snapshot, records, COLLECT_GROUP, &count);
        if (status == SIMDRIVE_OK && count > 0) status = keep(kept, records, count);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) break;
    }
    for (size_t i = kept->count; i-- > 0;) {
        sdi_record record;
        if (!sdi_record_at(&generation->damage, sdi_snapshot_base(snapshot), kept->ends[i], &record))
            return SIMDRIVE_ERROR_CORRUPT;
        kept->new_size = sdi_payload_start(kept->new_size) + sdi_record_size(&record) + SDI_METADATA_SIZE;
    }
    return SIMDRIVE_OK;
}

simdrive_status simdrive_estimate_compaction(simdrive_store *store, uint64_t *saved_bytes) {
    kept_entries kept = {0};
    sdi_snapshot *snapshot = NULL;
    if (saved_bytes) *saved_bytes = 0;
    if (!store || !saved_bytes) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_snapshot_begin(store, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    status = collect(snapshot, &kept);
    if (status == SIMDRIVE_OK && kept.new_size < sdi_snapshot_tail(snapshot))
        *saved_bytes = sdi_snapshot_tail(snapshot) - kept.new_size;
    sdi_snapshot_end(snapshot);
    free(kept.ends);
    return status;
}

/* --- copying (step 3) -------------------------------------------------------------------------------------------- */

typedef struct copy_job {
    simdrive_store *store;
    sdi_generation *from, *to;
    uint8_t *buffer;
    size_t used;
    uint64_t offset; /* where the buffer's first byte goes */
    uint64_t tail;   /* of the new file */
    uint64_t reported, expected;
    const simdrive_work_options *options;
    uint64_t hashes[INDEX_GROUP], ends[INDEX_GROUP], sizes[INDEX_GROUP], replaced[INDEX_GROUP];
    size_t pending; /* entries not yet in the new index */
} copy_job;

static simdrive_status copier_flush(copy_job *copier, const uint8_t *more, size_t more_size) {
    const sdi_os *os = copier->store->os;
    simdrive_bytes pieces[2] = {{copier->buffer, copier->used}, {more, more_size}};
    uint64_t size = (uint64_t)copier->used + more_size;
    if (size == 0) return SIMDRIVE_OK;
    simdrive_status status =
        os->write_pieces_at(os, copier->to->file, copier->offset, pieces, more_size > 0 ? 2 : 1);
    copier->offset += size;
    copier->used = 0;
    return status;
}

/* The index compares hashes in the file, so the entries must be there first. */
static simdrive_status copier_index(copy_job *copier) {
    const sdi_published entries = {copier->hashes, copier->ends, copier->sizes, copier->replaced};
    simdrive_status status = copier_flush(copier, NULL, 0);
    if (status == SIMDRIVE_OK) status = sdi_index_reserve(copier->to->index, copier->hashes, copier->pending);
    if (status != SIMDRIVE_OK) return status;
    sdi_publish_entries(copier->to, &entries, copier->pending, copier->tail);
    copier->pending = 0;
    return SIMDRIVE_OK;
}

/* The payload goes to the file with its checksum verified; the stored one, of either kind, is carried over. */
static simdrive_status copy_payload(copy_job *copier, const uint8_t *file, const sdi_record *record) {
    size_t size = (size_t)sdi_record_size(record);
    sdi_crc_kind kind = copier->store->checksum;
    bool intact;
    if (size > COPIED_PAYLOAD) {
        intact = sdi_checksum_matches(file, record, kind, NULL);
        return intact ? copier_flush(copier, file + record->start, size) : SIMDRIVE_ERROR_CORRUPT;
    }
    uint32_t crc = sdi_copy_crc(kind, 0, copier->buffer + copier->used, file + record->start, size);
    copier->used += size;
    intact = crc == record->checksum || sdi_checksum_matches(file, record, kind, NULL);
    return intact ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}

static simdrive_status copy_entry(copy_job *copier, const uint8_t *file, const sdi_record *record) {
    uint64_t start = record->tombstone ? copier->tail : sdi_payload_start(copier->tail);
    uint64_t size = sdi_record_size(record);
    size_t pad = (size_t)(start - copier->tail);
    simdrive_status status = SIMDRIVE_OK;
    if (copier->used + pad + COPIED_PAYLOAD + SDI_METADATA_SIZE > COPY_BUFFER) status = copier_flush(copier, NULL, 0);
    if (status != SIMDRIVE_OK) return status;
    memset(copier->buffer + copier->used, 0, pad);
    copier->used += pad;
    status = copy_payload(copier, file, record);
    if (status != SIMDRIVE_OK) return status;
    sdi_encode_metadata(copier->buffer + copier->used, record->key_hash, copier->tail, record->checksum);
    copier->used += SDI_METADATA_SIZE;
    copier->hashes[copier->pending] = record->key_hash;
    copier->sizes[copier->pending] = record->tombstone ? 0 : size;
    copier->ends[copier->pending++] = start + size;
    copier->tail = start + size + SDI_METADATA_SIZE;
    return copier->pending == INDEX_GROUP ? copier_index(copier) : SIMDRIVE_OK;
}

/* Copies entries given newest first, and leaves nothing in the buffers. */
static simdrive_status copy_entries(copy_job *copier, const kept_entries *kept) {
    const uint8_t *file = sdi_base(copier->from);
    const sdi_damage_map *damage = &copier->from->damage;
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = kept->count; i-- > 0 && status == SIMDRIVE_OK;) {
        sdi_record record;
        if (sdi_is_corrupt(damage, kept->ends[i]) || !sdi_record_at(damage, file, kept->ends[i], &record))
            return SIMDRIVE_ERROR_CORRUPT;
        status = copy_entry(copier, file, &record);
        if (status == SIMDRIVE_OK && copier->tail - copier->reported >= SDI_PROGRESS_STEP) {
            copier->reported = copier->tail;
            uint64_t done = copier->tail < copier->expected ? copier->tail : copier->expected;
            status = sdi_report_progress(copier->options, done, copier->expected);
        }
    }
    return status == SIMDRIVE_OK ? copier_index(copier) : status;
}

/* Copies all that was written from `low` to `high`, both tails of the old file: each entry, for each may matter. */
static simdrive_status copy_since(copy_job *copier, uint64_t low, uint64_t high) {
    kept_entries added = {0};
    sdi_walk walk;
    sdi_record record;
    simdrive_status status = sdi_generation_map(copier->to, copier->tail + (high - low) + SIMDRIVE_ALIGNMENT);
    sdi_walk_begin(&walk, sdi_base(copier->from), &copier->from->damage, high);
    while (status == SIMDRIVE_OK && walk.position > low) {
        status = sdi_walk_next(&walk, &record) ? keep(&added, &record, 1) : SIMDRIVE_ERROR_CORRUPT;
    }
    if (status == SIMDRIVE_OK) status = copy_entries(copier, &added);
    free(added.ends);
    return status;
}

/* Step 4. `low` is how far the new file has come already, and comes now. */
static simdrive_status catch_up(copy_job *copier, uint64_t *low) {
    const sdi_os *os = copier->store->os;
    simdrive_status status = SIMDRIVE_OK;
    for (unsigned round = 0; round < CATCH_UP_ROUNDS && status == SIMDRIVE_OK; round++) {
        uint64_t high = sdi_tail(copier->from);
        bool little = high - *low <= LITTLE_LEFT;
        status = copy_since(copier, *low, high);
        *low = high;
        /* Synced each time, so that the sync under the place finds little to do. */
        if (status == SIMDRIVE_OK) status = os->sync(os, copier->to->file);
        if (status == SIMDRIVE_OK) status = sdi_report_progress(copier->options, copier->expected, copier->expected);
        if (little && sdi_tail(copier->from) - *low <= LITTLE_LEFT) break;
    }
    return status;
}

/* Step 3. */
static simdrive_status begin_copy(copy_job *copier, const kept_entries *kept) {
    const sdi_os *os = copier->store->os;
    simdrive_status status = os->lock(os, copier->to->file);
    if (status == SIMDRIVE_OK) status = os->copy_attributes(os, copier->from->file, copier->to->file);
    if (status == SIMDRIVE_OK) status = sdi_generation_map(copier->to, kept->new_size > 0 ? kept->new_size : 1);
    if (status != SIMDRIVE_OK) return status;
    copier->expected = kept->new_size;
    copier->to->index = sdi_index_create(kept->count, sdi_base(copier->to));
    copier->buffer = aligned_alloc(64, COPY_BUFFER);
    if (!copier->to->index || !copier->buffer) return SIMDRIVE_ERROR_NO_MEMORY;
    return copy_entries(copier, kept);
}

/* --- taking the place (steps 5 and 6) ---------------------------------------------------------------------------- */

static simdrive_status path_names(simdrive_store *store, const sdi_file_id *id, bool *same, uint32_t *link_count) {
    sdi_file_info named;
    simdrive_status status = store->os->path_info(store->os, store->real_path, &named);
    *same = status == SIMDRIVE_OK && named.id.device == id->device && named.id.number == id->number;
    if (status == SIMDRIVE_OK) *link_count = named.link_count;
    return status;
}

/* Whoever moved another file to the path meant it. And a name that the file has elsewhere would stay with the old one:
 * two stores from then on, without anybody having been told. */
static simdrive_status check_names(simdrive_store *store, const sdi_generation *from) {
    bool ours;
    uint32_t link_count = 0;
    simdrive_status status = path_names(store, &from->file_id, &ours, &link_count);
    if (status != SIMDRIVE_OK) return status;
    if (!ours) return sdi_refuse(SIMDRIVE_ERROR_EXISTS);
    return link_count > 1 ? sdi_refuse(SIMDRIVE_ERROR_UNSUPPORTED) : SIMDRIVE_OK;
}

static simdrive_status swap(simdrive_store *store, sdi_generation *from, sdi_generation *to, const char *temporary) {
    const sdi_os *os = store->os;
    simdrive_status status = check_names(store, from);
    if (status != SIMDRIVE_OK) return status;
    /* A network file system may report a failure of what it has done. The name tells. */
    status = os->rename(os, temporary, store->real_path);
    if (status != SIMDRIVE_OK) {
        bool is_new;
        uint32_t link_count;
        /* When the name does not tell either, nobody knows which file a write would go to. */
        if (path_names(store, &to->file_id, &is_new, &link_count) != SIMDRIVE_OK) sdi_poison(store);
        if (!is_new) return status;
    }
    /* The name is the new file's now, and nothing may fail any more. When the folder cannot be synced, a crash may
     * bring the old file back, and what is written from now on would be lost with the new one: so nothing is. */
    status = os->sync_folder_of(os, store->real_path);
    if (status != SIMDRIVE_OK) sdi_poison(store);
    store->folder_unsynced = false;
    if (status == SIMDRIVE_OK) atomic_store_explicit(&store->durable_tail, sdi_tail(to), memory_order_relaxed);
    sdi_work_begin(to, from);
    to->born_tail = sdi_tail(to);
    sdi_generation_publish(to);
    sdi_generation_retire(from);
    sdi_saved_index_begin(store, to);
    return status;
}

/* Step 5 and 6: the place is held. */
static simdrive_status finish(copy_job *copier, uint64_t low, const char *temporary) {
    const sdi_os *os = copier->store->os;
    uint64_t high = sdi_tail(copier->from);
    simdrive_status status = low < high ? copy_since(copier, low, high) : SIMDRIVE_OK;
    if (status == SIMDRIVE_OK && low < high) status = os->sync(os, copier->to->file);
    if (status == SIMDRIVE_OK && copier->tail >= high) return SIMDRIVE_END; /* no gain after all */
    if (status == SIMDRIVE_OK) status = sdi_clear_damaged_tail(copier->store, copier->from);
    return status == SIMDRIVE_OK ? swap(copier->store, copier->from, copier->to, temporary) : status;
}

static simdrive_status rewrite(simdrive_store *store, sdi_generation *from, const kept_entries *kept, uint64_t low,
                               const simdrive_work_options *options, uint64_t *saved) {
    const sdi_os *os = store->os;
    char *temporary = sdi_temporary_path(store, TEMPORARY_INFIX);
    copy_job *copier = calloc(1, sizeof *copier);
    sdi_generation *to = temporary && copier ? sdi_generation_create(store) : NULL;
    simdrive_status status = to ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) status = os->open(os, temporary, SDI_OPEN_CREATE_NEW, 0600, &to->file);
    bool exists = status == SIMDRIVE_OK, swapped = false;
    if (status == SIMDRIVE_OK) {
        copier->store = store;
        copier->from = from;
        copier->to = to;
        copier->options = options;
        sdi_file_info info;
        status = os->info(os, to->file, &info);
        to->file_id = info.id;
        if (status == SIMDRIVE_OK) status = begin_copy(copier, kept);
    }
    if (status == SIMDRIVE_OK) status = catch_up(copier, &low);
    if (status == SIMDRIVE_OK) status = sdi_place_take_patiently(store);
    if (status == SIMDRIVE_OK) {
        uint64_t old_size = sdi_tail(from);
        status = finish(copier, low, temporary);
        swapped = atomic_load_explicit(&store->current, memory_order_relaxed) == to;
        if (swapped) *saved = old_size - copier->tail;
        sdi_place_leave(store);
    }
    if (!swapped) {
        int os_error = sdi_get_os_error();
        if (exists) os->unlink(os, temporary);
        if (to) sdi_generation_retire(to);
        sdi_set_os_error(os_error);
    }
    if (copier) free(copier->buffer);
    free(copier);
    free(temporary);
    return status == SIMDRIVE_END ? SIMDRIVE_OK : status;
}

/* Room for the new file beside the old one, and a little for others. Where nobody can tell, it is tried. */
static simdrive_status check_space(simdrive_store *store, const sdi_generation *from, uint64_t needed) {
    uint64_t available = 0;
    if (store->os->space(store->os, from->file, &available) != SIMDRIVE_OK) return SIMDRIVE_OK;
    return available >= needed + (needed < SPARE_SPACE ? needed : SPARE_SPACE) ? SIMDRIVE_OK
                                                                               : SIMDRIVE_ERROR_NO_SPACE;
}

static simdrive_status compact(simdrive_store *store, const simdrive_work_options *options, uint64_t *saved) {
    sdi_snapshot *snapshot = NULL;
    kept_entries kept = {0};
    sdi_remove_temporaries(store, TEMPORARY_INFIX);
    simdrive_status status = sdi_snapshot_begin(store, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    /* Only a compaction replaces the current generation, and this is the only one. */
    sdi_generation *from = sdi_snapshot_pin(snapshot)->generation;
    uint64_t tail = sdi_snapshot_tail(snapshot);
    status = collect(snapshot, &kept);
    if (status == SIMDRIVE_OK && kept.new_size < tail) {
        status = check_names(store, from);
        if (status == SIMDRIVE_OK) status = check_space(store, from, kept.new_size);
        if (status == SIMDRIVE_OK) status = rewrite(store, from, &kept, tail, options, saved);
    }
    sdi_snapshot_end(snapshot);
    free(kept.ends);
    return status;
}

static void note_end(sdi_stats *stats, simdrive_status status, uint64_t saved) {
    sdi_count(status == SIMDRIVE_OK ? &stats->compactions : &stats->compactions_failed, 1);
    sdi_count(&stats->compaction_saved_bytes, (int64_t)saved);
    atomic_store_explicit(&stats->compaction_status, (int)status, memory_order_relaxed);
    atomic_store_explicit(&stats->compaction_runs, false, memory_order_relaxed);
}

simdrive_status simdrive_compact(simdrive_store *store, const simdrive_work_options *given, uint64_t *saved_bytes) {
    simdrive_work_options options;
    uint64_t saved = 0;
    if (saved_bytes) *saved_bytes = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    /* The place is taken to see that the store can be written. */
    if (status == SIMDRIVE_OK) status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    sdi_mutex_lock(&store->mutex);
    bool alone = !store->compacting;
    if (alone) store->compacting = true;
    sdi_place_free(store);
    sdi_mutex_unlock(&store->mutex);
    if (!alone) return SIMDRIVE_ERROR_BUSY;
    atomic_store_explicit(&store->stats.compaction_runs, true, memory_order_relaxed);
    status = compact(store, &options, &saved);
    note_end(&store->stats, status, saved);
    sdi_mutex_lock(&store->mutex);
    store->compacting = false;
    sdi_mutex_unlock(&store->mutex);
    if (saved_bytes) *saved_bytes = saved;
    return status;
}
