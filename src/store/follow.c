/* SPDX-License-Identifier: Apache-2.0 */
/* follow.c — how a reader keeps up with a writer in another process.
 *
 *   1  The path names another file than the one that is open: the writer has compacted. The new file is opened like
 *      any, and becomes the current generation; what was taken from the old one stays valid.
 *   2  The file is longer than it was: what was appended is found from its end, and put into the index, oldest first.
 *   3  Otherwise nothing has happened, and one look at the path was all it cost.
 *
 * A look at a file that is being written may fall into the middle of a batch: some of it is in, and its first link is
 * made true just while the look lasts. Then the file is longer at the end of the look than at its beginning, for all
 * of a batch is in before it is published; so the look is repeated until the length stays (keep_up).
 *
 * Bytes behind the tail may be taken back by the writer. So the file's length is shared while they are looked at.
 */
#include <string.h>

#include "store/recover.h"
#include "store/store.h"

enum { LOOKS = 10000, ADD_GROUP = 256 };

/* --- what was appended ------------------------------------------------------------------------------------------- */

simdrive_status sdi_collect_added(const uint8_t *file, uint64_t high, uint64_t low, sdi_added *added) {
    sdi_record record;
    uint64_t from = high;
    while (from > low) {
        if (added->count == added->capacity) {
            size_t capacity = added->capacity ? added->capacity * 2 : 1024;
            uint64_t *ends = realloc(added->ends, capacity * sizeof *ends);
            if (!ends) return SIMDRIVE_ERROR_NO_MEMORY;
            added->ends = ends;
            added->capacity = capacity;
        }
        if (from < SDI_ENTRY_MIN || !sdi_decode(file, from - SDI_METADATA_SIZE, &record)) return SIMDRIVE_ERROR_CORRUPT;
        added->ends[added->count++] = record.end;
        from = record.prev;
    }
    return from == low ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}

/* Publishes them oldest first, in groups, each of which ends at a tail that was one. */
simdrive_status sdi_publish_added(sdi_generation *generation, const sdi_added *added) {
    uint64_t hashes[ADD_GROUP], ends[ADD_GROUP], sizes[ADD_GROUP], replaced[ADD_GROUP];
    const sdi_published entries = {hashes, ends, sizes, replaced};
    const uint8_t *file = sdi_base(generation);
    for (size_t left = added->count; left > 0;) {
        size_t count = left < ADD_GROUP ? left : ADD_GROUP;
        for (size_t i = 0; i < count; i++) {
            sdi_record record;
            if (!sdi_decode(file, added->ends[left - 1 - i], &record)) return SIMDRIVE_ERROR_CORRUPT;
            hashes[i] = record.key_hash;
            ends[i] = record.end;
            sizes[i] = record.tombstone ? 0 : sdi_record_size(&record);
        }
        simdrive_status status = sdi_superseded_reserve(generation, count);
        if (status == SIMDRIVE_OK) status = sdi_index_reserve(generation->index, hashes, count);
        if (status != SIMDRIVE_OK) return status;
        sdi_publish_entries(generation, &entries, count, ends[count - 1] + SDI_METADATA_SIZE);
        left -= count;
    }
    return SIMDRIVE_OK;
}

static simdrive_status add(sdi_generation *generation, uint64_t size) {
    simdrive_store *store = generation->store;
    uint64_t tail = sdi_tail(generation), new_tail = tail;
    sdi_added added = {0};
    simdrive_status status = sdi_generation_map(generation, size);
    if (status == SIMDRIVE_OK)
        status = sdi_recover_added(sdi_base(generation), tail, size, store->checksum, &new_tail);
    if (status == SIMDRIVE_OK) status = sdi_collect_added(sdi_base(generation), new_tail, tail, &added);
    if (status == SIMDRIVE_OK) status = sdi_publish_added(generation, &added);
    free(added.ends);
    atomic_store_explicit(&store->damaged_tail, size > sdi_tail(generation) ? size - sdi_tail(generation) : 0,
                          memory_order_relaxed);
    return status;
}

simdrive_status sdi_keep_up(sdi_generation *generation, uint64_t size) {
    simdrive_store *store = generation->store;
    for (unsigned look = 0; look < LOOKS; look++) {
        sdi_file_info info;
        simdrive_status status = store->os->info(store->os, generation->file, &info);
        if (status != SIMDRIVE_OK || info.size == size) return status;
        size = info.size;
        /* A file below its tail was cut by somebody who is no writer of ours. */
        if (size < sdi_tail(generation)) return sdi_refuse(SIMDRIVE_ERROR_IO);
        if (size > sdi_tail(generation)) status = add(generation, size);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* --- the new file ------------------------------------------------------------------------------------------------- */

static simdrive_status move_to_new_file(simdrive_store *store, sdi_generation *from) {
    sdi_generation *to = sdi_generation_create(store);
    simdrive_status status = to ? sdi_open_generation(to) : SIMDRIVE_ERROR_NO_MEMORY;
    if (status != SIMDRIVE_OK) {
        int os_error = sdi_get_os_error();
        if (to) sdi_generation_retire(to);
        sdi_set_os_error(os_error);
        return status;
    }
    sdi_generation_publish(to);
    sdi_generation_retire(from);
    return SIMDRIVE_OK;
}

static simdrive_status refresh(simdrive_store *store, bool *changed) {
    const sdi_os *os = store->os;
    sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    sdi_file_info named;
    simdrive_status status = os->path_info(os, store->path, &named);
    if (status != SIMDRIVE_OK) return status;
    if (named.id.device != generation->file_id.device || named.id.number != generation->file_id.number) {
        status = move_to_new_file(store, generation);
        *changed = status == SIMDRIVE_OK;
        return status;
    }
    uint64_t tail = sdi_tail(generation);
    uint64_t known = tail + atomic_load_explicit(&store->damaged_tail, memory_order_relaxed);
    if (named.size == known) return SIMDRIVE_OK;
    os->share_length(os, generation->file);
    status = sdi_keep_up(generation, known);
    os->release_length(os, generation->file);
    *changed = sdi_tail(generation) != tail;
    return status;
}

simdrive_status simdrive_refresh(simdrive_store *store, bool *changed) {
    bool moved = false;
    if (changed) *changed = false;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_acquire);
    /* A writer is what others follow; bytes in memory, and a store damaged in its middle, do not grow. */
    if (!store->options.read_only || !generation->file || generation->damage.kind > SIMDRIVE_DAMAGE_TAIL)
        return SIMDRIVE_OK;
    simdrive_status status = sdi_place_take_for_refresh(store);
    if (status != SIMDRIVE_OK) return status;
    status = refresh(store, &moved);
    sdi_place_leave(store);
    if (changed) *changed = moved;
    return status;
}
