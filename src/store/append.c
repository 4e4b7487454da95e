/* SPDX-License-Identifier: Apache-2.0 */
/* append.c — how entries get into the file: laid out, gathered, written at the tail, published.
 *
 *   1  Decide which changes write something (a delete of a missing key does not), and where each entry will be.
 *   2  Make sure that nothing can fail later but the system's write: map, index, notes for snapshots, buffers. Then
 *      damaged bytes behind the tail are moved out of the way (writer.c).
 *   3  Write. Small payloads are copied, checksummed on the way, into one buffer; large ones are written from where
 *      they are, between the pieces of that buffer, in steps. An atomic batch of several entries goes in with the link
 *      of its first entry turned around (sdi_unpublished_prev), the first entry of a file with a mark in place of its
 *      first bytes. So do entries that a loss of power could leave with another key (sdi_key_may_tear), or, several at
 *      once, with one that is not whole (note_tearing).
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
    WRITE_STEP = 1 << 19,     /* a write ends in a large payload at a multiple of this */
    PIECES = 512,             /* gathered into one call */
    HELD_BYTES = 8,
    CLEARED_AHEAD = 64, /* room behind the buffer for zeros that are put there ahead of a payload */
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
    uint8_t *larger = aligned_alloc(64, capacity + CLEARED_AHEAD);
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
    size_t entry_count; /* changes that write something */
    uint64_t tail, new_tail;
    uint64_t large_bytes; /* of payloads that are written from where they are */
    bool may_tear;        /* an entry, in a way that opening could not undo */
    size_t held;          /* first payload bytes that are written last */
    uint8_t held_bytes[HELD_BYTES];
    bool link_held;
    /* what is gathered and not yet written */
    uint64_t write_offset;
    size_t used, run_start, piece_count;
} append_job;

/* What the layout has come to. Small and its own, so that a loop over entries keeps it in registers. */
typedef struct layout {
    uint64_t tail;
    uint64_t large_bytes;
    size_t entries;
    bool may_tear;
    bool last_may_tear; /* the last entry so far, which does no harm while it is the last */
} layout;

/* Whether the key is all that an entry loses with the sector in which its metadata begins. */
static bool loses_key_unnoticed(const simdrive_change *change, uint64_t prev, uint64_t start, uint64_t end) {
    uint64_t zeros;
    if (!sdi_key_may_tear(prev, start, end, &zeros)) return false;
    if (change->operation == SIMDRIVE_DELETE) return true;
    return sdi_is_zero((const uint8_t *)change->payload.data + change->payload.size - zeros, zeros);
}

/* Whether part of the entry may be lost: what is in one sector is there or not, and without it no link leads on. */
static bool may_lose_part(uint64_t start, uint64_t end) {
    return start / SECTOR < (end + SDI_METADATA_SIZE - 1) / SECTOR;
}

/* What a loss of power could leave of this entry and those before it. Only between syncs is one write sure to come
 * before another. In a new file the mark does the same. The last entry of a file is always checked, and passed over;
 * any other one that is wrong would stand for its key, in place of what was durable before. */
static void note_tearing(const append_job *append, layout *laid, size_t i, uint64_t start, uint64_t end) {
    if (append->store->options.sync != SIMDRIVE_SYNC_COMMIT || append->tail == 0) return;
    laid->may_tear |= laid->last_may_tear || loses_key_unnoticed(&append->changes[i], laid->tail, start, end);
    laid->last_may_tear = may_lose_part(start, end);
}

/* Puts the next entry behind those before, and in the lists of the writer. `size` is 0 for a tombstone. */
static inline simdrive_status place_entry(const append_job *append, layout *laid, size_t i, uint64_t size) {
    const simdrive_change *change = &append->changes[i];
    sdi_scratch *scratch = &append->store->scratch;
    uint64_t prev = laid->tail, start = size > 0 ? sdi_payload_start(prev) : prev;
    if (size > SDI_OFFSET_MAX) return SIMDRIVE_ERROR_TOO_LARGE;
    uint64_t end = start + (size > 0 ? size : 1);
    if (end + SDI_METADATA_SIZE > SDI_OFFSET_MAX) return SIMDRIVE_ERROR_TOO_LARGE;
    note_tearing(append, laid, i, start, end);
    if (size > COPIED_PAYLOAD) laid->large_bytes += size;
    laid->tail = end + SDI_METADATA_SIZE;
    scratch->placed[i] = end;
    scratch->hashes[laid->entries] = change->key_hash;
    scratch->ends[laid->entries] = end;
    scratch->sizes[laid->entries] = size;
    laid->entries++;
    return SIMDRIVE_OK;
}

static inline simdrive_status place_put(const append_job *append, layout *laid, size_t i) {
    simdrive_bytes payload = append->changes[i].payload;
    if (!payload.data && payload.size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (!sdi_payload_storable(payload.data, payload.size)) return SIMDRIVE_ERROR_INVALID_PAYLOAD;
    return place_entry(append, laid, i, payload.size);
}

/* The first delete of a batch: what was before it are puts. */
static simdrive_status touch_puts_before(const append_job *append, touched_keys *touched, size_t i) {
    simdrive_status status = touched_begin(touched, append->change_count);
    for (size_t j = 0; j < i && status == SIMDRIVE_OK; j++)
        *touched_state(touched, append->changes[j].key_hash) = TOUCHED_LIVE;
    return status;
}

/* A delete writes something when its key is there, given what the batch did before. */
static simdrive_status place_delete(const append_job *append, layout *laid, touched_keys *touched, size_t i) {
    uint64_t hash = append->changes[i].key_hash;
    if (!touched->state) {
        simdrive_status status = touch_puts_before(append, touched, i);
        if (status != SIMDRIVE_OK) return status;
    }
    uint8_t *state = touched_state(touched, hash);
    bool live = *state == UNTOUCHED ? key_is_live(append->generation, hash) : *state == TOUCHED_LIVE;
    *state = TOUCHED_DELETED;
    return live ? place_entry(append, laid, i, 0) : SIMDRIVE_OK;
}

static simdrive_status lay_out(append_job *append) {
    layout laid = {.tail = append->tail};
    touched_keys touched = {0};
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < append->change_count && status == SIMDRIVE_OK; i++) {
        simdrive_operation operation = append->changes[i].operation;
        append->store->scratch.placed[i] = 0;
        if (operation == SIMDRIVE_PUT) {
            if (touched.state) *touched_state(&touched, append->changes[i].key_hash) = TOUCHED_LIVE;
            status = place_put(append, &laid, i);
        } else if (operation == SIMDRIVE_DELETE) {
            status = place_delete(append, &laid, &touched, i);
        } else {
            status = sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
        }
    }
    touched_end(&touched);
    append->new_tail = laid.tail;
    append->large_bytes = laid.large_bytes;
    append->entry_count = laid.entries;
    append->may_tear = laid.may_tear;
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

/* A payload that is written from where it is; `*crc` goes on over it. It is cut where the offset in the file is a
 * multiple of WRITE_STEP, for three reasons. What the checksum has read is still in the cache when it is written.
 * Writes that end with a page leave none to be written twice. And for one long write a file system takes the largest
 * blocks of memory that it can get, which on a virtual machine may be those that went back to the host. Measured on
 * ext4, values of 256 KiB in batches of 16: writes of a whole batch ran at 1.2 to 5.0 GB/s, mostly below 3; those of
 * one step at 4.6 to 5.4. Steps of 256 KiB and 1 MiB are 2 % slower. */
static simdrive_status gather_large_payload(append_job *append, simdrive_bytes payload, uint64_t offset,
                                            uint32_t *crc) {
    const uint8_t *data = payload.data;
    close_run(append);
    for (size_t done = 0, step; done < payload.size; done += step) {
        size_t to_end = WRITE_STEP - (size_t)((offset + done) % WRITE_STEP);
        step = to_end < payload.size - done ? to_end : payload.size - done;
        *crc = sdi_crc(append->store->checksum, *crc, data + done, step);
        append->store->scratch.pieces[append->piece_count++] = (simdrive_bytes){data + done, step};
        if (step < to_end) break;
        simdrive_status status = flush(append);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* The payload, or what is left of it, at `offset` in the file; `*crc` goes on over it. */
static simdrive_status gather_payload(append_job *append, simdrive_bytes payload, uint64_t offset, uint32_t *crc) {
    if (payload.size > COPIED_PAYLOAD) return gather_large_payload(append, payload, offset, crc);
    *crc = sdi_copy_crc(append->store->checksum, *crc, buffer_end(append), payload.data, payload.size);
    append->used += payload.size;
    return SIMDRIVE_OK;
}

/* The same for the first entry of a file, where the mark stands for the first bytes. */
static simdrive_status gather_first_payload(append_job *append, simdrive_bytes payload, uint32_t *crc) {
    size_t held = sdi_first_write_hold(0, payload.size);
    append->held = held;
    memcpy(append->held_bytes, payload.data, held);
    memcpy(buffer_end(append), sdi_first_write_mark, held);
    append->used += held;
    *crc = sdi_crc(append->store->checksum, *crc, append->held_bytes, held);
    simdrive_bytes rest = {(const uint8_t *)payload.data + held, payload.size - held};
    return rest.size > 0 ? gather_payload(append, rest, held, crc) : SIMDRIVE_OK;
}

/* What an entry writes for its payload; a tombstone has one byte. */
static inline simdrive_bytes payload_of(const simdrive_change *change) {
    static const uint8_t tombstone[1] = {0};
    return change->operation == SIMDRIVE_PUT ? change->payload : (simdrive_bytes){tombstone, 1};
}

/* Zeros up to the payload, and perhaps behind its beginning, where it will be put: a constant length is a store or two,
 * where a call would cost more than the entry. */
static inline void clear_pad(uint8_t *at, size_t pad) {
    memset(at, 0, SIMDRIVE_ALIGNMENT <= CLEARED_AHEAD ? SIMDRIVE_ALIGNMENT : pad);
}

/* Any entry, the first of the append as it must be. */
static simdrive_status gather_entry(append_job *append, const simdrive_change *change, uint64_t prev, uint64_t end) {
    simdrive_bytes payload = payload_of(change);
    size_t pad = (size_t)(end - payload.size - prev);
    /* the held bytes are copied apart */
    size_t copied = payload.size <= COPIED_PAYLOAD + HELD_BYTES ? payload.size : HELD_BYTES;
    simdrive_status status = make_room(append, pad + copied + SDI_METADATA_SIZE);
    if (status != SIMDRIVE_OK) return status;
    clear_pad(buffer_end(append), pad);
    append->used += pad;
    uint32_t crc = 0;
    status = prev == 0 ? gather_first_payload(append, payload, &crc)
                       : gather_payload(append, payload, end - payload.size, &crc);
    if (status != SIMDRIVE_OK) return status;
    uint8_t *metadata = buffer_end(append);
    sdi_encode_metadata(metadata, change->key_hash, prev, crc);
    if (append->link_held && prev == append->tail)
        sdi_unpublished_prev(end + SDI_PREV_FIELD, prev, metadata + SDI_PREV_FIELD);
    append->used += SDI_METADATA_SIZE;
    return SIMDRIVE_OK;
}

/* The usual entries: all from change `i` on, up to one with a large payload, or one that the buffer has no room for.
 * None of them is the first. `*prev` moves on; returns the change that comes next. */
static size_t gather_small_entries(append_job *append, size_t i, uint64_t *prev) {
    const sdi_scratch *scratch = &append->store->scratch;
    sdi_copy_crc_kernel *copy_crc = sdi_kernels_active()->copy_crc[append->store->checksum];
    uint8_t *to = buffer_end(append), *const limit = scratch->bytes + scratch->byte_capacity;
    uint64_t tail = *prev;
    for (; i < append->change_count; i++) {
        uint64_t end = scratch->placed[i];
        simdrive_bytes payload = payload_of(&append->changes[i]);
        if (end == 0) continue;
        if (payload.size > COPIED_PAYLOAD || end + SDI_METADATA_SIZE - tail > (size_t)(limit - to)) break;
        size_t pad = (size_t)(end - payload.size - tail);
        clear_pad(to, pad);
        uint32_t crc = copy_crc(0, to + pad, payload.data, payload.size);
        to += end - tail;
        sdi_encode_metadata(to, append->changes[i].key_hash, tail, crc);
        to += SDI_METADATA_SIZE;
        tail = end + SDI_METADATA_SIZE;
    }
    append->used = (size_t)(to - scratch->bytes);
    *prev = tail;
    return i;
}

/* Before the first bytes of a file that is synced, the mark alone: whatever sectors a crash leaves, it is there. */
simdrive_status sdi_mark_first_write(simdrive_store *store, sdi_generation *generation, uint64_t tail) {
    if (tail != 0 || store->options.sync != SIMDRIVE_SYNC_COMMIT) return SIMDRIVE_OK;
    simdrive_status status =
        store->os->write_at(store->os, generation->file, 0, sdi_first_write_mark, sizeof sdi_first_write_mark);
    return status == SIMDRIVE_OK ? sdi_sync_file(store, generation, 0) : status;
}

static simdrive_status write_entries(append_job *append) {
    const uint64_t *placed = append->store->scratch.placed;
    uint64_t prev = append->tail;
    append->write_offset = append->tail;
    for (size_t i = 0; i < append->change_count; i = gather_small_entries(append, i, &prev)) {
        while (placed[i] == 0) i++; /* the first change is passed over, or one that the small ones ended at */
        simdrive_status status = gather_entry(append, &append->changes[i], prev, placed[i]);
        if (status != SIMDRIVE_OK) return status;
        prev = placed[i] + SDI_METADATA_SIZE;
        i++;
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
        status = sdi_write_held_link(append->generation, append->store->scratch.ends[0], append->tail);
    /* The mark goes last: as long as it is there, what was not finished is known. */
    if (status == SIMDRIVE_OK && append->held > 0)
        status = os->write_at(os, append->generation->file, 0, append->held_bytes, append->held);
    if (status != SIMDRIVE_OK) return status;
    return sdi_sync_commit(append->store, append->generation, append->new_tail);
}

/* --- publication (step 5) ---------------------------------------------------------------------------------------- */

/* What entries change in the counters. */
typedef struct account {
    int64_t entries, tombstones, stale_entries, live_bytes, stale_bytes;
} account;

static inline void count_entry(const sdi_generation *generation, uint64_t size, uint64_t replaced, account *change) {
    sdi_record before;
    if (size == 0)
        change->tombstones++;
    else
        change->entries++;
    change->live_bytes += (int64_t)size;
    if (replaced == SDI_INDEX_NONE) return;
    if (!sdi_record_at(&generation->damage, sdi_base(generation), replaced, &before) || before.tombstone) return;
    int64_t size_before = (int64_t)sdi_record_size(&before);
    change->entries--;
    change->live_bytes -= size_before;
    change->stale_entries++;
    change->stale_bytes += size_before;
}

/* Each counter is changed at most once, so that nobody sees an overwritten key counted twice, or not at all. */
static void settle_account(sdi_counters *counters, const account *change) {
    if (change->stale_entries != 0) sdi_count(&counters->stale_entries, change->stale_entries);
    if (change->stale_bytes != 0) sdi_count(&counters->stale_bytes, change->stale_bytes);
    if (change->tombstones != 0) sdi_count(&counters->tombstones, change->tombstones);
    if (change->entries != 0) sdi_count(&counters->entries, change->entries);
    if (change->live_bytes != 0) sdi_count(&counters->live_bytes, change->live_bytes);
}

void sdi_publish_part(sdi_generation *generation, const sdi_published *entries, size_t count) {
    account change = {0};
    sdi_publication_begin(generation, entries->hashes, count, sdi_tail(generation));
    sdi_index_put_batch(generation->index, entries->hashes, entries->ends, count, entries->replaced);
    for (size_t i = 0; i < count; i++) count_entry(generation, entries->sizes[i], entries->replaced[i], &change);
    settle_account(&generation->counters, &change);
}

void sdi_publish_entries(sdi_generation *generation, const sdi_published *entries, size_t count, uint64_t tail) {
    sdi_publish_part(generation, entries, count);
    sdi_count(&generation->counters.publications, 1);
    atomic_store_explicit(&generation->tail, tail, memory_order_release);
    sdi_publication_end(generation);
}

/* Step 2, all that can fail without a trace; last, what leaves one. */
static simdrive_status prepare(append_job *append) {
    sdi_scratch *scratch = &append->store->scratch;
    sdi_generation *generation = append->generation;
    uint64_t buffered = append->new_tail - append->tail - append->large_bytes;
    simdrive_status status = grow_buffer(scratch, buffered + COPIED_PAYLOAD);
    if (status == SIMDRIVE_OK) status = sdi_generation_map(generation, append->new_tail);
    if (status == SIMDRIVE_OK) status = sdi_superseded_reserve(generation, append->entry_count);
    if (status == SIMDRIVE_OK) status = sdi_index_reserve(generation->index, scratch->hashes, append->entry_count);
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
    const uint64_t *placed = append->store->scratch.placed;
    uint64_t prev = append->tail;
    for (size_t i = 0; i < append->change_count; i++) {
        const simdrive_change *change = &append->changes[i];
        if (placed[i] == 0) continue;
        sdi_tail_map_store(append->generation, prev, placed[i], change->key_hash,
                           change->operation == SIMDRIVE_PUT ? &change->payload : NULL);
        prev = placed[i] + SDI_METADATA_SIZE;
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
    status = lay_out(&append);
    if (status != SIMDRIVE_OK || append.entry_count == 0) return status;
    append.link_held = (mode == SIMDRIVE_BATCH_ATOMIC && append.entry_count > 1) || append.may_tear;
    status = prepare(&append);
    if (status != SIMDRIVE_OK) return status;
    status = write_all(&append);
    if (status != SIMDRIVE_OK) return sdi_roll_back(store, append.generation, status);
    const sdi_published entries = {scratch->hashes, scratch->ends, scratch->sizes, scratch->replaced};
    sdi_publish_entries(append.generation, &entries, append.entry_count, append.new_tail);
    sdi_saved_index_consider(store, append.generation);
    if (applied) *applied = append.entry_count;
    return SIMDRIVE_OK;
}
