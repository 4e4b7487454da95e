/* SPDX-License-Identifier: Apache-2.0 */
/* append.c — how entries get into the file: laid out, gathered, written at the tail, published.
 *
 *   1  Decide which changes write something (a delete of a missing key does not), and where each entry will be.
 *   2  Make sure that nothing can fail later but the system's write: map, index, notes for snapshots, buffers. Then
 *      damaged bytes behind the tail are moved out of the way (writer.c).
 *   3  Write. Small payloads are copied, checksummed on the way, into one buffer; large ones are written from where
 *      they are, between the pieces of that buffer. An atomic batch of several entries goes in with the link of its
 *      first entry turned around (sdi_unpublished_prev), the first entry of a file with a mark in place of its first
 *      bytes. So does an entry that a loss of power could leave with another key (sdi_key_may_tear).
 *   4  Sync, where the policy wants it; then put the true bytes in; then sync again.
 *   5  Index, counters, tail: from here on readers find the entries.
 *
 * A failure in 3 or 4 cuts the file back to the tail.
 *
 * Small appends of independent entries may be stored into a map of the file's end instead (append_map.c): 3 cannot fail
 * then, and 4 has nothing to complete.
 */
#include <string.h>

#include "store/store.h"

enum {
    BUFFER_BYTES = 1 << 20,   /* of small payloads and metadata, written at once */
    COPIED_PAYLOAD = 1 << 14, /* payloads up to this size are copied into the buffer */
    PIECES = 512,             /* gathered into one call */
    HELD_BYTES = 8,
    SECTOR = 512 /* bytes that a disk writes all or none of */
};

bool sdi_payload_storable(const void *data, size_t size) {
    return data && size > 0 && !(size == 1 && *(const uint8_t *)data == 0);
}

size_t sdi_first_write_hold(uint64_t tail, uint64_t payload_size) {
    return tail == 0 && payload_size >= HELD_BYTES ? HELD_BYTES : 0;
}

bool sdi_key_may_tear(uint64_t prev, uint64_t start, uint64_t end, uint64_t *payload_bytes) {
    uint64_t boundary = (end / SECTOR + 1) * SECTOR, sector = boundary - SECTOR;
    if (prev == 0 || boundary >= end + SDI_METADATA_SIZE) return false;
    /* Bytes of the link that are lost with the sector. They must be zero, or the link leads elsewhere. */
    uint64_t link_bytes = boundary > end + SDI_PREV_FIELD ? boundary - (end + SDI_PREV_FIELD) : 0;
    if (link_bytes >= 8 || (prev & ((UINT64_C(1) << (8 * link_bytes)) - 1)) != 0) return false;
    *payload_bytes = end - (start > sector ? start : sector);
    return true;
}

/* --- buffers ----------------------------------------------------------------------------------------------------- */

static simdrive_status grow_entries(sdi_scratch *scratch, size_t count) {
    if (count <= scratch->entry_capacity) return SIMDRIVE_OK;
    size_t capacity = scratch->entry_capacity ? scratch->entry_capacity : 64;
    while (capacity < count) capacity *= 2;
    uint64_t **arrays[] = {&scratch->placed, &scratch->hashes, &scratch->ends, &scratch->sizes, &scratch->replaced};
    for (unsigned i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        uint64_t *larger = realloc(*arrays[i], capacity * sizeof *larger);
        if (!larger) return SIMDRIVE_ERROR_NO_MEMORY; /* those that grew are used as they were */
        *arrays[i] = larger;
    }
    scratch->entry_capacity = capacity;
    return SIMDRIVE_OK;
}

/* Room for what is to be gathered: as much as a whole small append, at most BUFFER_BYTES. */
static simdrive_status grow_buffer(sdi_scratch *scratch, uint64_t bytes) {
    size_t wanted = bytes < BUFFER_BYTES ? (size_t)bytes : BUFFER_BYTES;
    if (!scratch->pieces) {
        scratch->pieces = malloc(PIECES * sizeof *scratch->pieces);
        if (!scratch->pieces) return SIMDRIVE_ERROR_NO_MEMORY;
    }
    if (wanted <= scratch->byte_capacity) return SIMDRIVE_OK;
    size_t capacity = scratch->byte_capacity ? scratch->byte_capacity : 4096;
    while (capacity < wanted) capacity *= 2;
    uint8_t *larger = aligned_alloc(64, capacity);
    if (!larger) return SIMDRIVE_ERROR_NO_MEMORY;
    free(scratch->bytes);
    scratch->bytes = larger;
    scratch->byte_capacity = capacity;
    return SIMDRIVE_OK;
}

/* --- layout (step 1) --------------------------------------------------------------------------------------------- */

/* Which keys a batch with deletes in it has touched so far, and how it left them. */
typedef struct touched_keys {
    uint64_t *hashes;
    uint8_t *state; /* TOUCHED_... */
    size_t capacity;
    unsigned shift; /* of a mixed hash, down to a slot */
} touched_keys;

enum { UNTOUCHED = 0, TOUCHED_LIVE = 1, TOUCHED_DELETED = 2 };

static simdrive_status touched_begin(touched_keys *touched, size_t count) {
    touched->capacity = 16;
    touched->shift = 60;
    for (; touched->capacity < 2 * count; touched->capacity *= 2) touched->shift--;
    touched->hashes = malloc(touched->capacity * sizeof *touched->hashes);
    touched->state = calloc(touched->capacity, 1);
    return touched->hashes && touched->state ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

/* The caller's hashes may be any numbers, in sequence for one: the highest bits of a product tell them all apart. */
static uint8_t *touched_state(touched_keys *touched, uint64_t hash) {
    size_t slot = (size_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >> touched->shift);
    while (touched->state[slot] != UNTOUCHED && touched->hashes[slot] != hash)
        slot = (slot + 1) & (touched->capacity - 1);
    touched->hashes[slot] = hash;
    return &touched->state[slot];
}

static void touched_end(touched_keys *touched) {
    free(touched->hashes);
    free(touched->state);
}

static bool key_is_live(const sdi_generation *generation, uint64_t hash) {
    sdi_record record;
    const uint8_t *base;
    return sdi_find_record(generation, hash, &record, &base) != SIMDRIVE_NOT_FOUND;
}

/* An append that is being made. */
typedef struct append_job {
    simdrive_store *store;
    sdi_generation *generation;
    const simdrive_change *changes;
    size_t change_count;
    uint64_t *ends;     /* of each change's entry; 0: it writes nothing */
    size_t entry_count; /* changes that write something */
    uint64_t tail, new_tail;
    uint64_t first_end;     /* metadata of the first entry */
    uint64_t buffered;      /* bytes that go through the buffer */
    size_t held;            /* first payload bytes that are written last */
    uint8_t held_bytes[HELD_BYTES];
    bool link_held;
    bool key_may_tear; /* of an entry */
    /* what is gathered and not yet written */
    uint64_t write_offset;
    size_t used, run_start, piece_count;
} append_job;

/* Whether the key is all that an entry loses with the sector in which its metadata begins. */
static bool loses_key_unnoticed(const simdrive_change *change, uint64_t prev, uint64_t start, uint64_t end) {
    uint64_t zeros;
    if (!sdi_key_may_tear(prev, start, end, &zeros)) return false;
    if (change->operation == SIMDRIVE_DELETE) return true;
    return sdi_is_zero((const uint8_t *)change->payload.data + change->payload.size - zeros, zeros);
}

static simdrive_status place_entry(append_job *append, size_t i) {
    const simdrive_change *change = &append->changes[i];
    uint64_t prev = append->new_tail, start, size = 1;
    if (change->operation == SIMDRIVE_PUT) {
        if (!change->payload.data && change->payload.size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
        if (!sdi_payload_storable(change->payload.data, change->payload.size)) return SIMDRIVE_ERROR_INVALID_PAYLOAD;
        start = sdi_payload_start(prev);
        size = change->payload.size;
    } else {
        start = prev;
    }
    if (size > SDI_OFFSET_MAX || start + size + SDI_METADATA_SIZE > SDI_OFFSET_MAX) return SIMDRIVE_ERROR_TOO_LARGE;
    append->ends[i] = start + size;
    append->key_may_tear |= loses_key_unnoticed(change, prev, start, start + size);
    append->new_tail = start + size + SDI_METADATA_SIZE;
    append->buffered += append->new_tail - prev - (size > COPIED_PAYLOAD ? size : 0);
    if (append->entry_count++ == 0) append->first_end = append->ends[i];
    return SIMDRIVE_OK;
}

/* Whether a delete writes something, given what the batch did before. */
static bool delete_is_needed(const append_job *append, touched_keys *touched, size_t i) {
    uint64_t hash = append->changes[i].key_hash;
    uint8_t *state = touched_state(touched, hash);
    bool live = *state == UNTOUCHED ? key_is_live(append->generation, hash) : *state == TOUCHED_LIVE;
    *state = TOUCHED_DELETED;
    return live;
}

static simdrive_status lay_out(append_job *append) {
    touched_keys touched = {0};
    bool has_deletes = false;
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < append->change_count; i++) {
        simdrive_operation operation = append->changes[i].operation;
        if (operation != SIMDRIVE_PUT && operation != SIMDRIVE_DELETE)
            return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
        has_deletes |= operation == SIMDRIVE_DELETE;
    }
    if (has_deletes) status = touched_begin(&touched, append->change_count);
    for (size_t i = 0; i < append->change_count && status == SIMDRIVE_OK; i++) {
        append->ends[i] = 0;
        if (append->changes[i].operation == SIMDRIVE_DELETE) {
            if (!delete_is_needed(append, &touched, i)) continue;
        } else if (has_deletes) {
            *touched_state(&touched, append->changes[i].key_hash) = TOUCHED_LIVE;
        }
        status = place_entry(append, i);
    }
    touched_end(&touched);
    return status;
}

/* --- writing (step 3) -------------------------------------------------------------------------------------------- */

static void close_run(append_job *append) {
    sdi_scratch *scratch = &append->store->scratch;
    if (append->used == append->run_start) return;
    scratch->pieces[append->piece_count++] =
        (simdrive_bytes){scratch->bytes + append->run_start, append->used - append->run_start};
    append->run_start = append->used;
}

static simdrive_status flush(append_job *append) {
    const sdi_os *os = append->store->os;
    sdi_scratch *scratch = &append->store->scratch;
    uint64_t size = 0;
    simdrive_status status = SIMDRIVE_OK;
    close_run(append);
    for (size_t i = 0; i < append->piece_count; i++) size += scratch->pieces[i].size;
    if (append->piece_count == 1)
        status = os->write_at(os, append->generation->file, append->write_offset, scratch->pieces[0].data,
                              scratch->pieces[0].size);
    else if (append->piece_count > 1)
        status = os->write_pieces_at(os, append->generation->file, append->write_offset, scratch->pieces,
                                     append->piece_count);
    append->write_offset += size;
    append->used = append->run_start = append->piece_count = 0;
    return status;
}

/* Room in the buffer for `bytes` more, and for two pieces. */
static simdrive_status make_room(append_job *append, size_t bytes) {
    if (append->store->scratch.byte_capacity - append->used >= bytes && append->piece_count + 3 <= PIECES)
        return SIMDRIVE_OK;
    return flush(append);
}

static uint8_t *buffer_end(append_job *append) {
    return append->store->scratch.bytes + append->used;
}

/* The payload into the buffer, or a piece of its own; returns its checksum. */
static uint32_t gather_payload(append_job *append, const uint8_t *data, size_t size) {
    sdi_crc_kind kind = append->store->checksum;
    if (size <= COPIED_PAYLOAD) {
        uint32_t crc = sdi_copy_crc(kind, 0, buffer_end(append), data, size);
        append->used += size;
        return crc;
    }
    close_run(append);
    append->store->scratch.pieces[append->piece_count++] = (simdrive_bytes){data, size};
    return sdi_crc(kind, 0, data, size);
}

/* The same for the first entry of a file, where the mark stands for the first bytes. */
static uint32_t gather_first_payload(append_job *append, const uint8_t *data, size_t size) {
    size_t held = sdi_first_write_hold(0, size);
    append->held = held;
    memcpy(append->held_bytes, data, held);
    memcpy(buffer_end(append), sdi_first_write_mark, held);
    append->used += held;
    if (size > held) gather_payload(append, data + held, size - held);
    return sdi_crc(append->store->checksum, 0, data, size);
}

static simdrive_status gather_entry(append_job *append, const simdrive_change *change, uint64_t prev, uint64_t end) {
    static const uint8_t tombstone[1] = {0};
    bool put = change->operation == SIMDRIVE_PUT;
    const uint8_t *data = put ? change->payload.data : tombstone;
    size_t size = put ? change->payload.size : 1;
    size_t pad = (size_t)(end - size - prev);
    size_t copied = size <= COPIED_PAYLOAD + HELD_BYTES ? size : HELD_BYTES; /* the held bytes are copied apart */
    simdrive_status status = make_room(append, pad + copied + SDI_METADATA_SIZE);
    if (status != SIMDRIVE_OK) return status;
    memset(buffer_end(append), 0, pad);
    append->used += pad;
    uint32_t crc = prev == 0 ? gather_first_payload(append, data, size) : gather_payload(append, data, size);
    uint8_t *metadata = buffer_end(append);
    sdi_encode_metadata(metadata, change->key_hash, prev, crc);
    if (append->link_held && end == append->first_end)
        sdi_unpublished_prev(end + SDI_PREV_FIELD, prev, metadata + SDI_PREV_FIELD);
    append->used += SDI_METADATA_SIZE;
    return SIMDRIVE_OK;
}

/* Before the first bytes of a file that is synced, the mark alone: whatever sectors a crash leaves, it is there. */
simdrive_status sdi_mark_first_write(simdrive_store *store, sdi_generation *generation, uint64_t tail) {
    if (tail != 0 || store->options.sync != SIMDRIVE_SYNC_COMMIT) return SIMDRIVE_OK;
    simdrive_status status =
        store->os->write_at(store->os, generation->file, 0, sdi_first_write_mark, sizeof sdi_first_write_mark);
    return status == SIMDRIVE_OK ? sdi_sync_file(store, generation, 0) : status;
}

static simdrive_status write_entries(append_job *append) {
    uint64_t prev = append->tail;
    append->write_offset = append->tail;
    for (size_t i = 0; i < append->change_count; i++) {
        if (append->ends[i] == 0) continue;
        simdrive_status status = gather_entry(append, &append->changes[i], prev, append->ends[i]);
        if (status != SIMDRIVE_OK) return status;
        prev = append->ends[i] + SDI_METADATA_SIZE;
    }
    return flush(append);
}

simdrive_status sdi_write_held_link(sdi_generation *generation, uint64_t end, uint64_t prev) {
    const sdi_os *os = generation->store->os;
    uint8_t link[8];
    unsigned kept = sdi_unpublished_prev(end + SDI_PREV_FIELD, prev, link);
    sdi_store64(link, prev);
    return os->write_at(os, generation->file, end + SDI_PREV_FIELD + kept, link + kept, sizeof link - kept);
}

/* Step 4: the bytes that make it valid. */
static simdrive_status complete(append_job *append) {
    const sdi_os *os = append->store->os;
    if (append->held == 0 && !append->link_held)
        return sdi_sync_commit(append->store, append->generation, append->new_tail);
    simdrive_status status = SIMDRIVE_OK;
    if (append->store->options.sync == SIMDRIVE_SYNC_COMMIT)
        status = sdi_sync_file(append->store, append->generation, append->tail);
    if (status == SIMDRIVE_OK && append->link_held)
        status = sdi_write_held_link(append->generation, append->first_end, append->tail);
    /* The mark goes last: as long as it is there, what was not finished is known. */
    if (status == SIMDRIVE_OK && append->held > 0)
        status = os->write_at(os, append->generation->file, 0, append->held_bytes, append->held);
    if (status != SIMDRIVE_OK) return status;
    return sdi_sync_commit(append->store, append->generation, append->new_tail);
}

/* --- publication (step 5) ---------------------------------------------------------------------------------------- */

/* Each counter is changed at most once, so that nobody sees an overwritten key counted twice, or not at all. */
static void account(sdi_generation *generation, uint64_t size, uint64_t replaced) {
    sdi_counters *counters = &generation->counters;
    sdi_record before;
    bool was_live = replaced != SDI_INDEX_NONE &&
                    sdi_record_at(&generation->damage, sdi_base(generation), replaced, &before) && !before.tombstone;
    uint64_t size_before = was_live ? sdi_record_size(&before) : 0;
    if (was_live) {
        sdi_count(&counters->stale_entries, 1);
        sdi_count(&counters->stale_bytes, (int64_t)size_before);
    }
    if (size == 0) sdi_count(&counters->tombstones, 1);
    if (was_live != (size > 0)) sdi_count(&counters->entries, was_live ? -1 : 1);
    if (size != size_before) sdi_count(&counters->live_bytes, (int64_t)(size - size_before));
}

void sdi_publish_part(sdi_generation *generation, const sdi_published *entries, size_t count) {
    sdi_publication_begin(generation, entries->hashes, count, sdi_tail(generation));
    sdi_index_put_batch(generation->index, entries->hashes, entries->ends, count, entries->replaced);
    for (size_t i = 0; i < count; i++) account(generation, entries->sizes[i], entries->replaced[i]);
}

void sdi_publish_entries(sdi_generation *generation, const sdi_published *entries, size_t count, uint64_t tail) {
    sdi_publish_part(generation, entries, count);
    sdi_count(&generation->counters.publications, 1);
    atomic_store_explicit(&generation->tail, tail, memory_order_release);
    sdi_publication_end(generation);
}

/* The changes that write something, side by side. */
static void condense(append_job *append) {
    sdi_scratch *scratch = &append->store->scratch;
    size_t kept = 0;
    for (size_t i = 0; i < append->change_count; i++) {
        const simdrive_change *change = &append->changes[i];
        if (append->ends[i] == 0) continue;
        scratch->hashes[kept] = change->key_hash;
        scratch->ends[kept] = append->ends[i];
        scratch->sizes[kept] = change->operation == SIMDRIVE_PUT ? change->payload.size : 0;
        kept++;
    }
}

/* Step 2, all that can fail without a trace; last, what leaves one. */
static simdrive_status prepare(append_job *append) {
    sdi_scratch *scratch = &append->store->scratch;
    sdi_generation *generation = append->generation;
    for (size_t i = 0; i < append->change_count; i++) scratch->hashes[i] = append->changes[i].key_hash;
    simdrive_status status = grow_buffer(scratch, append->buffered + COPIED_PAYLOAD);
    if (status == SIMDRIVE_OK) status = sdi_generation_map(generation, append->new_tail);
    if (status == SIMDRIVE_OK) status = sdi_superseded_reserve(generation, append->entry_count);
    if (status == SIMDRIVE_OK) status = sdi_index_reserve(generation->index, scratch->hashes, append->change_count);
    if (status == SIMDRIVE_OK) status = sdi_clear_damaged_tail(append->store, generation);
    return status;
}

/* Whether the append may go into the map of the file's end: each of its entries is valid by itself, and nothing has to
 * be synced in between. */
static bool goes_into_map(const append_job *append) {
    const simdrive_open_options *options = &append->store->options;
    return options->append == SIMDRIVE_APPEND_MAP && options->sync != SIMDRIVE_SYNC_COMMIT && append->tail > 0 &&
           !append->link_held && append->new_tail - append->tail <= SDI_MAPPED_MAX &&
           sdi_tail_map_make_room(append->generation, append->new_tail);
}

/* Step 3 in the map. Nothing of it can fail. */
static void store_entries(const append_job *append) {
    uint64_t prev = append->tail;
    for (size_t i = 0; i < append->change_count; i++) {
        const simdrive_change *change = &append->changes[i];
        if (append->ends[i] == 0) continue;
        sdi_tail_map_store(append->generation, prev, append->ends[i], change->key_hash,
                           change->operation == SIMDRIVE_PUT ? &change->payload : NULL);
        prev = append->ends[i] + SDI_METADATA_SIZE;
    }
}

/* Steps 3 and 4. */
static simdrive_status write_all(append_job *append) {
    if (goes_into_map(append)) {
        store_entries(append);
        return sdi_sync_commit(append->store, append->generation, append->new_tail);
    }
    simdrive_status status = sdi_mark_first_write(append->store, append->generation, append->tail);
    if (status == SIMDRIVE_OK) status = write_entries(append);
    return status == SIMDRIVE_OK ? complete(append) : status;
}

simdrive_status sdi_append(simdrive_store *store, const simdrive_change *changes, size_t count,
                           simdrive_batch_mode mode, size_t *applied) {
    sdi_scratch *scratch = &store->scratch;
    append_job append = {.store = store, .changes = changes, .change_count = count};
    if (applied) *applied = 0;
    append.generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    append.tail = append.new_tail = sdi_tail(append.generation);
    simdrive_status status = grow_entries(scratch, count);
    if (status != SIMDRIVE_OK) return status;
    append.ends = scratch->placed;
    status = lay_out(&append);
    if (status != SIMDRIVE_OK || append.entry_count == 0) return status;
    append.link_held = mode == SIMDRIVE_BATCH_ATOMIC && append.entry_count > 1;
    /* Only between syncs is one write sure to come before another. In a new file the mark does the same. */
    if (append.key_may_tear && append.tail > 0 && store->options.sync == SIMDRIVE_SYNC_COMMIT) append.link_held = true;
    status = prepare(&append);
    if (status != SIMDRIVE_OK) return status;
    status = write_all(&append);
    if (status != SIMDRIVE_OK) return sdi_roll_back(store, append.generation, status);
    condense(&append);
    const sdi_published entries = {scratch->hashes, scratch->ends, scratch->sizes, scratch->replaced};
    sdi_publish_entries(append.generation, &entries, append.entry_count, append.new_tail);
    sdi_saved_index_consider(store, append.generation);
    if (applied) *applied = append.entry_count;
    return SIMDRIVE_OK;
}
