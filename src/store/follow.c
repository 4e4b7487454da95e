/* SPDX-License-Identifier: Apache-2.0 */
/* follow.c — how a reader keeps up with a writer in another process.
 *
 *   1  The path names another file than the one that is open: the writer has compacted. The new file is opened like
 *      any, and becomes the current generation; what was taken from the old one stays valid.
 *   2  The file is longer than it was: what was appended is found from its end, and put into the index, oldest first.
 *      All of it is published at once, so that who walks meanwhile sees batches whole, too.
 *      Bytes behind the tail may become entries without the file getting longer: the last thing that is written of a
 *      batch is its first link, and of the first entry its first bytes. So as long as there are such bytes, it is
 *      looked whether links lead from the file's end to the tail now that did not before.
 *   3  Otherwise nothing has happened, and one look at the path was all it cost.
 *
 * A look at a file that is being written may fall into the middle of a batch: some of it is in, and its first link is
 * made true just while the look lasts. Then the file is longer at the end of the look than at its beginning, for all
 * of a batch is in before it is published; so the look is repeated until the length stays (keep_up). Only then anything
 * is shown, for other threads look at this handle all the time.
 *
 * A writer that has set zeros aside behind his entries (append_map.c) does not make the file longer. So what is called
 * its length here is where its entries end (sdi_entries_end): for such a file, behind the last that is complete and
 * published.
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
    return from == low ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT; /* taken back, and something else written there */
}

/* Publishes them oldest first: put in groups, for room in the index is made for each as if all of its keys were new; in
 * one publication, for a group may end within a batch. When memory runs out, what is in stays: it cannot be taken back,
 * and the next refresh goes on behind it. */
simdrive_status sdi_publish_added(sdi_generation *generation, const sdi_added *added) {
    uint64_t hashes[ADD_GROUP], ends[ADD_GROUP], sizes[ADD_GROUP], replaced[ADD_GROUP];
    const sdi_published entries = {hashes, ends, sizes, replaced};
    const uint8_t *file = sdi_base(generation);
    simdrive_status status = SIMDRIVE_OK;
    uint64_t reached = sdi_tail(generation);
    for (size_t left = added->count; left > 0;) {
        size_t count = left < ADD_GROUP ? left : ADD_GROUP;
        for (size_t i = 0; i < count; i++) {
            sdi_record record;
            if (!sdi_decode(file, added->ends[left - 1 - i], &record)) {
                status = SIMDRIVE_ERROR_CORRUPT;
                goto out;
            }
            hashes[i] = record.key_hash;
            ends[i] = record.end;
            sizes[i] = record.tombstone ? 0 : sdi_record_size(&record);
        }
        status = sdi_superseded_reserve(generation, count);
        if (status == SIMDRIVE_OK) status = sdi_index_reserve(generation->index, hashes, count);
        if (status != SIMDRIVE_OK) goto out;
        sdi_publish_part(generation, &entries, count);
        reached = ends[count - 1] + SDI_METADATA_SIZE;
        left -= count;
    }
out:
    sdi_publish_entries(generation, &entries, 0, reached);
    return status;
}

/* Whether the file up to `size` has all that makes its last bytes entries, but perhaps for their checksums. */
static bool is_linked(const sdi_generation *generation, uint64_t size) {
    return sdi_leads_to(sdi_base(generation), size, sdi_tail(generation));
}

simdrive_status sdi_entries_end(sdi_generation *generation, sdi_file_end *out) {
    const simdrive_store *store = generation->store;
    uint64_t tail = sdi_tail(generation);
    sdi_file_info info;
    simdrive_status status = store->os->info(store->os, generation->file, &info);
    if (status != SIMDRIVE_OK) return status;
    out->entries = out->bytes = out->file = info.size;
    /* A file below its tail was cut by somebody who is no writer of ours; nothing is to be looked at. */
    if (info.size <= tail) return SIMDRIVE_OK;
    status = sdi_generation_map(generation, info.size);
    if (status == SIMDRIVE_OK)
        out->entries = sdi_end_of_entries(sdi_base(generation), info.size, tail, store->checksum, &out->bytes);
    /* A long append over the zeros, not yet published, hides complete entries below it: the long way then. */
    if (status == SIMDRIVE_OK && out->entries < info.size && tail > 0 &&
        !sdi_leads_to(sdi_base(generation), out->entries, tail))
        status = sdi_recover_added(sdi_base(generation), tail, out->entries, store->checksum, &out->entries);
    return status;
}

/* Whether bytes behind the tail, which were no entries in a file of `size` bytes, may be some now. */
static bool was_completed(sdi_generation *generation, uint64_t size) {
    sdi_file_end end = {0};
    return size > sdi_tail(generation) && !generation->store->tail_was_linked &&
           sdi_entries_end(generation, &end) == SIMDRIVE_OK && end.entries == size && is_linked(generation, size);
}

/* Looks for the last entry behind `*tail`, which was found before, and moves that there. */
static simdrive_status find(sdi_generation *generation, uint64_t size, uint64_t *tail) {
    uint64_t found = *tail;
    simdrive_status status = sdi_generation_map(generation, size);
    if (status != SIMDRIVE_OK) return status;
    /* Before the search: a link that is made true meanwhile is then one that was not there. No further down than
     * `*tail`: a writer may append as fast as this looks. */
    generation->store->tail_was_linked = sdi_leads_to(sdi_base(generation), size, *tail);
    status = sdi_recover_added(sdi_base(generation), *tail, size, generation->store->checksum, &found);
    *tail = found;
    return status;
}

/* What is behind the generation's tail, in a file that ends like that. */
static void note_end(sdi_generation *generation, const sdi_file_end *end) {
    uint64_t tail = sdi_tail(generation);
    sdi_note_behind(generation->store, end->file > tail ? end->file - tail : 0, end->bytes <= tail);
}

/* Adds what is between the generation's tail and `tail`, in a file that ends like that. */
static simdrive_status add(sdi_generation *generation, uint64_t tail, const sdi_file_end *end) {
    simdrive_store *store = generation->store;
    sdi_added added = {0};
    simdrive_status status = sdi_collect_added(sdi_base(generation), tail, sdi_tail(generation), &added);
    if (status == SIMDRIVE_OK && added.count > 0) status = sdi_publish_added(generation, &added);
    free(added.ends);
    store->refresh_incomplete = status != SIMDRIVE_OK;
    store->seen_end = end->entries;
    note_end(generation, end);
    return status;
}

simdrive_status sdi_keep_up(sdi_generation *generation, uint64_t size) {
    uint64_t known = size, tail = sdi_tail(generation);
    sdi_file_end end = {size, size, size};
    for (unsigned look = 0; look < LOOKS; look++) {
        simdrive_status status = sdi_entries_end(generation, &end);
        if (status != SIMDRIVE_OK) return status;
        if (end.entries == size) break;
        size = end.entries;
        /* A file below its tail was cut by somebody who is no writer of ours. */
        if (size < sdi_tail(generation)) return sdi_refuse(SIMDRIVE_ERROR_IO);
        /* What was found and is gone again, a writer has taken back. */
        if (size < tail) tail = sdi_tail(generation);
        if (size > tail) status = find(generation, size, &tail);
        if (status != SIMDRIVE_OK) return status;
    }
    end.entries = size;
    if (size != known) return add(generation, tail, &end);
    note_end(generation, &end); /* a writer may have taken back what was there */
    return SIMDRIVE_OK;
}

/* --- the new file ------------------------------------------------------------------------------------------------- */

static simdrive_status move_to_new_file(simdrive_store *store, sdi_generation *from) {
    sdi_generation *to = sdi_generation_create(store);
    store->tail_was_linked = false; /* nothing was looked at in it */
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
    uint64_t known = store->refresh_incomplete ? tail : store->seen_end;
    if (named.size == known && known == tail) {
        sdi_note_behind(store, 0, true);
        return SIMDRIVE_OK;
    }
    os->share_length(os, generation->file);
    if (was_completed(generation, known)) known = tail;
    status = sdi_keep_up(generation, known);
    os->release_length(os, generation->file);
    *changed = sdi_tail(generation) != tail;
    return status;
}

/* The current generation's file was replaced before all of it was seen; or it has all been seen. */
static simdrive_status read_to_end(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    uint64_t behind = atomic_load_explicit(&store->damaged_tail, memory_order_relaxed), seen = store->seen_end;
    bool is_room = atomic_load_explicit(&store->tail_is_room, memory_order_relaxed);
    bool incomplete = store->refresh_incomplete, linked = store->tail_was_linked; /* of the current generation, all */
    store->os->share_length(store->os, generation->file);
    simdrive_status status = sdi_keep_up(generation, sdi_tail(generation));
    store->os->release_length(store->os, generation->file);
    sdi_note_behind(store, behind, is_room);
    store->seen_end = seen;
    store->refresh_incomplete = incomplete;
    store->tail_was_linked = linked;
    return status;
}

/* A writer is what others follow; bytes in memory, a store as it was, and one damaged in its middle do not grow. */
bool sdi_can_follow(const sdi_generation *generation) {
    const simdrive_open_options *options = &generation->store->options;
    return options->read_only && options->at_offset == 0 && generation->file &&
           generation->damage.kind <= SIMDRIVE_DAMAGE_TAIL;
}

simdrive_status sdi_follow(simdrive_store *store, sdi_generation *generation, uint64_t *tail, bool *replaced) {
    bool changed = false;
    *replaced = !sdi_is_current(store, generation); /* before the tail, which is final then */
    *tail = sdi_tail(generation);
    if (atomic_load(&store->closed) || !sdi_can_follow(generation)) return SIMDRIVE_OK;
    /* In the place of who refreshes, so that no other refresh is at work when the tail is looked at. */
    simdrive_status status = sdi_place_take_for_refresh(store);
    if (status != SIMDRIVE_OK) return status;
    if (!*replaced) status = refresh(store, &changed);
    *replaced = !sdi_is_current(store, generation);
    if (status == SIMDRIVE_OK && *replaced) status = read_to_end(generation);
    *tail = sdi_tail(generation);
    sdi_place_leave(store);
    return status;
}

simdrive_status simdrive_refresh(simdrive_store *store, bool *changed) {
    bool moved = false;
    if (changed) *changed = false;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    sdi_pin *pin = sdi_pin_current(store);
    bool follows = sdi_can_follow(pin->generation);
    sdi_unpin(pin, 1);
    if (!follows) return SIMDRIVE_OK;
    simdrive_status status = sdi_place_take_for_refresh(store);
    if (status != SIMDRIVE_OK) return status;
    status = refresh(store, &moved);
    sdi_place_leave(store);
    if (changed) *changed = moved;
    return status;
}
