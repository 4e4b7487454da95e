/* SPDX-License-Identifier: Apache-2.0 */
/* compact.c — the store again, without what nobody can read, in a new file that takes the old one's place, while
 * readers and writers go on. One compaction, from beginning to end; who runs it, and when, is in compact_thread.c.
 *
 *   1  Temporary files of compactions that died are removed.
 *   2  The entries live at this moment are collected, oldest first; what they will take is added up. Nothing to gain,
 *      or no room for it: done.
 *   3  A new file with an unguessable name beside the store, locked, with the old one's rights. Entries are copied,
 *      their checksums verified and carried over, and put into a new index.
 *   4  What was written meanwhile, tombstones too, is copied in rounds, as long as each finds less than half as much as
 *      the one before; the file is synced in each. Writers that are as fast as the copy would never be caught up with,
 *      so:
 *   5  The writer's place is taken in turns with the writers. In each turn a slice is copied while they wait, larger
 *      than what they have written since the last. Between two turns a little more is copied, and now and then synced.
 *   6  In the turn in which all that is left fits into the slice, and little is not synced yet, it is copied and
 *      synced, and the new file is renamed over the store (links resolved). The sync has to be in the turn: when the
 *      name leads to the new file, all that a crash must not lose has to be in it. A damaged tail, which would be gone
 *      with the old file, is moved aside as before a first write. From here on writers and new readers find the new
 *      generation.
 *   7  Outside of the place the folder is synced. A crash until then may bring the old file back, with all that was
 *      durable when it was replaced. Whoever makes something durable before that is done syncs the folder himself
 *      (`folder_unsynced`). The old generation goes with its last pin, and that is not in a turn either: taking down a
 *      large map and giving back a large file's blocks take long.
 *
 * Why step 5 ends. Let L(n) be what is left to copy when the place is taken for the n-th time, W(n) what writers have
 * added since they were last kept out, S the least slice, and max(S, 2 W(n)) the slice. While the place is held nobody
 * adds, so a turn and what comes in before the next change what is left by W(n+1) - max(S, 2 W(n)). Summed up, each
 * turn takes max(S, 2 W(n)) - W(n) off, at least S/2 and at least half of what it copies, however fast writers are.
 *    A sync takes its time whatever it has to do; let I be what comes in during one. It is not counted in W, or the
 * next slice would be as long as the sync: so a sync comes only after max(E, 4 I) have been copied since the one
 * before. Half of that, 2 I at least, was taken off; less I, that is E/4 or more from sync to sync.
 *    When no more than a slice is left, it is synced once more. The turns that copy those I bytes copy 2 I at most, by
 * the half above. So when next no more than a slice is left, little more than 2 I is not synced: that turn is the last.
 *
 * What is written outside of turns begins its way to the disk at once, so that the syncs have less to wait for, and
 * pages that wait to be written do not pile up where memory is short. The old file is read ahead of the copy, and let
 * go of behind it as soon as some of it had to be fetched from the disk: its map goes in the end anyway.
 *
 * How long a turn is. A slice, or as much over it as the entry at its end is long (a writer of such an entry keeps the
 * others waiting as long); in the last turn, a sync of what was written while a sync ran, and a rename.
 */
#include <string.h>

#include "store/store.h"

enum {
    COPY_BUFFER = 1 << 20,
    COPIED_PAYLOAD = 1 << 16, /* larger payloads are written from where they are */
    COLLECT_GROUP = 256,
    INDEX_GROUP = 4096, /* entries put into the new index together */
    PIECE = 16 << 20,           /* of a large payload, written at once */
    LITTLE_LEFT = 256 << 10,    /* bytes left behind by the last round of step 4 */
    SLICE = 4 << 20,            /* copied while writers wait, at least */
    BETWEEN_SLICES = 512 << 10, /* copied while they do not */
    SYNC_EVERY = 32 << 20,      /* bytes copied in turns, at least: E above */
    WRITE_BACK_STEP = 8 << 20,  /* bytes that begin their way to the disk together */
    READ_STEP = 4 << 20,        /* of the old file, asked for together */
    SPARE_SPACE = 16 << 20      /* of the disk, left for others when the room is checked */
};

#define TEMPORARY_INFIX ".compact-"

/* --- what is kept ------------------------------------------------------------------------------------------------ */

typedef struct entry_list {
    uint64_t *ends;
    size_t count, capacity;
} entry_list;

/* What step 2 has found: the entries, what they take in a file of their own, the old file's tail then, and whether some
 * of it was not in memory. */
typedef struct collection {
    entry_list kept;
    uint64_t new_size, tail;
    bool cold;
} collection;

static simdrive_status list_add(entry_list *list, uint64_t end) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4096;
        uint64_t *ends = realloc(list->ends, capacity * sizeof *ends);
        if (!ends) return SIMDRIVE_ERROR_NO_MEMORY;
        list->ends = ends;
        list->capacity = capacity;
    }
    list->ends[list->count++] = end;
    return SIMDRIVE_OK;
}

static void list_reverse(entry_list *list) {
    for (size_t i = 0, j = list->count; i + 1 < j; i++) {
        uint64_t end = list->ends[i];
        list->ends[i] = list->ends[--j];
        list->ends[j] = end;
    }
}

static simdrive_status check_cancelled(const _Atomic bool *cancelled) {
    bool stop = cancelled && atomic_load_explicit(cancelled, memory_order_relaxed);
    return stop ? sdi_refuse(SIMDRIVE_ERROR_CANCELLED) : SIMDRIVE_OK;
}

/* What the entries take in a file of their own. */
static simdrive_status add_up(const sdi_snapshot *snapshot, const entry_list *kept, const _Atomic bool *cancelled,
                              uint64_t *new_size) {
    const sdi_damage_map *damage = &sdi_snapshot_pin(snapshot)->generation->damage;
    *new_size = 0;
    for (size_t i = 0; i < kept->count; i++) {
        sdi_record record;
        simdrive_status status = i % COLLECT_GROUP == 0 ? check_cancelled(cancelled) : SIMDRIVE_OK;
        if (status != SIMDRIVE_OK) return status;
        if (!sdi_record_at(damage, sdi_snapshot_base(snapshot), kept->ends[i], &record)) return SIMDRIVE_ERROR_CORRUPT;
        *new_size = sdi_payload_start(*new_size) + sdi_record_size(&record) + SDI_METADATA_SIZE;
    }
    return SIMDRIVE_OK;
}

/* Step 2. `cancelled` may be NULL. */
static simdrive_status collect(sdi_snapshot *snapshot, const _Atomic bool *cancelled, entry_list *kept,
                               uint64_t *new_size) {
    sdi_record records[COLLECT_GROUP];
    size_t count;
    for (;;) {
        simdrive_status status = check_cancelled(cancelled);
        if (status == SIMDRIVE_OK) status = sdi_snapshot_next(snapshot, records, COLLECT_GROUP, &count);
        for (size_t i = 0; status == SIMDRIVE_OK && i < count; i++) status = list_add(kept, records[i].end);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) break;
    }
    list_reverse(kept);
    return add_up(snapshot, kept, cancelled, new_size);
}

simdrive_status simdrive_estimate_compaction(simdrive_store *store, uint64_t *saved_bytes) {
    entry_list kept = {0};
    sdi_snapshot *snapshot = NULL;
    uint64_t new_size = 0;
    if (saved_bytes) *saved_bytes = 0;
    if (!store || !saved_bytes) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_snapshot_begin(store, SDI_WALK_TO_LINK, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    status = collect(snapshot, NULL, &kept, &new_size);
    if (status == SIMDRIVE_OK && new_size < sdi_snapshot_tail(snapshot))
        *saved_bytes = sdi_snapshot_tail(snapshot) - new_size;
    sdi_snapshot_end(snapshot);
    free(kept.ends);
    return status;
}

/* --- copying (step 3) -------------------------------------------------------------------------------------------- */

/* A part of the old file that was asked for ahead of the copy. */
typedef struct read_window {
    uint64_t from, to;
} read_window;

typedef struct copy_job {
    simdrive_store *store;
    sdi_generation *from, *to;
    const char *temporary;
    const simdrive_work_options *options;
    uint8_t *buffer;
    size_t used;
    uint64_t offset; /* where the buffer's first byte goes */
    uint64_t tail;   /* of the new file */
    uint64_t synced; /* its tail at the last sync */
    uint64_t written_back; /* up to here it is on its way to the disk */
    read_window inside, asked; /* the window that the copy is in, and the one above it */
    bool cold; /* some of it was not in memory; that windows are now may be the system's reading ahead */
    uint64_t came_in; /* the old file's bytes while that sync ran: I above */
    uint64_t kept_out_until; /* tail of the old file when writers had the place again, and what came in by syncs */
    uint64_t reported, expected;
    bool in_turn;    /* writers wait: no time for the caller's callback */
    entry_list added; /* what was written since the collection, oldest first; copied up to `next` */
    size_t next;
    uint64_t known;   /* tail of the old file up to which `added` reaches */
    uint64_t reached; /* tail of the old file up to which all was copied */
    uint64_t hashes[INDEX_GROUP], ends[INDEX_GROUP], sizes[INDEX_GROUP], replaced[INDEX_GROUP];
    size_t pending; /* entries not yet in the new index */
} copy_job;

static simdrive_status report_progress(copy_job *copier) {
    uint64_t written = copier->offset + copier->used;
    copier->reported = written;
    return sdi_report_progress(copier->options, written < copier->expected ? written : copier->expected,
                               copier->expected);
}

/* After each step of the copy. */
static simdrive_status step(copy_job *copier) {
    uint64_t written = copier->offset + copier->used;
    simdrive_status status = check_cancelled(&copier->store->compaction.cancelled);
    atomic_store_explicit(&copier->store->stats.compaction_done, written, memory_order_relaxed);
    if (status != SIMDRIVE_OK || copier->in_turn || written - copier->reported < SDI_PROGRESS_STEP) return status;
    return report_progress(copier);
}

/* Not while writers wait: the system may take its time over it. */
static void begin_write_back(copy_job *copier) {
    const sdi_os *os = copier->store->os;
    uint64_t size = copier->offset - copier->written_back;
    if (size < WRITE_BACK_STEP || copier->in_turn) return;
    os->begin_write_back(os, copier->to->file, copier->written_back, size);
    copier->written_back = copier->offset;
}

static simdrive_status copier_flush(copy_job *copier, const uint8_t *more, size_t more_size) {
    const sdi_os *os = copier->store->os;
    simdrive_bytes pieces[2] = {{copier->buffer, copier->used}, {more, more_size}};
    uint64_t size = (uint64_t)copier->used + more_size;
    if (size == 0) return SIMDRIVE_OK;
    simdrive_status status =
        os->write_pieces_at(os, copier->to->file, copier->offset, pieces, more_size > 0 ? 2 : 1);
    copier->offset += size;
    copier->used = 0;
    if (status == SIMDRIVE_OK) begin_write_back(copier);
    return status;
}

/* The index compares hashes in the file, so the entries must be there first. */
static simdrive_status copier_index(copy_job *copier) {
    const sdi_published entries = {copier->hashes, copier->ends, copier->sizes, copier->replaced};
    simdrive_status status = copier_flush(copier, NULL, 0);
    if (status == SIMDRIVE_OK) status = sdi_generation_map(copier->to, copier->tail);
    if (status == SIMDRIVE_OK) status = sdi_index_reserve(copier->to->index, copier->hashes, copier->pending);
    if (status != SIMDRIVE_OK) return status;
    sdi_publish_entries(copier->to, &entries, copier->pending, copier->tail);
    copier->pending = 0;
    return SIMDRIVE_OK;
}

static simdrive_status copier_sync(copy_job *copier) {
    uint64_t before = sdi_tail(copier->from);
    simdrive_status status = copier->store->os->sync(copier->store->os, copier->to->file);
    copier->synced = copier->tail;
    copier->came_in = sdi_tail(copier->from) - before;
    copier->kept_out_until += copier->came_in;
    return status;
}

/* Whether the payload has its checksum, of the other kind than the one that was tried. */
static simdrive_status check_other_kind(copy_job *copier, const uint8_t *file, const sdi_record *record) {
    sdi_crc_kind kind = copier->store->checksum == SDI_CRC32 ? SDI_CRC32C : SDI_CRC32;
    simdrive_status status = SIMDRIVE_OK;
    uint32_t crc = 0;
    for (uint64_t at = record->start; at < record->end && status == SIMDRIVE_OK; at += PIECE) {
        size_t size = record->end - at < PIECE ? (size_t)(record->end - at) : PIECE;
        crc = sdi_crc(kind, crc, file + at, size);
        status = check_cancelled(&copier->store->compaction.cancelled);
    }
    if (status != SIMDRIVE_OK) return status;
    return crc == record->checksum ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}

/* From where it is, in pieces, so that nobody waits long who looks on or wants it to stop. What is longer than a window
 * of the copy is read ahead and let go of here. */
static simdrive_status copy_large_payload(copy_job *copier, const uint8_t *file, const sdi_record *record,
                                          uint32_t *crc) {
    const sdi_os *os = copier->store->os;
    simdrive_status status = SIMDRIVE_OK;
    for (uint64_t at = record->start; at < record->end && status == SIMDRIVE_OK; at += PIECE) {
        size_t size = record->end - at < PIECE ? (size_t)(record->end - at) : PIECE;
        bool large = size > READ_STEP;
        if (large && os->advise(os, file + at, size, SDI_ADVICE_WILL_NEED)) copier->cold = true;
        *crc = sdi_crc(copier->store->checksum, *crc, file + at, size);
        status = copier_flush(copier, file + at, size);
        if (large && copier->cold) os->advise(os, file + at, size, SDI_ADVICE_DONT_NEED);
        if (status == SIMDRIVE_OK) status = step(copier);
    }
    return status;
}

/* The payload goes to the file with its checksum verified; the stored one, of either kind, is carried over. */
static simdrive_status copy_payload(copy_job *copier, const uint8_t *file, const sdi_record *record) {
    size_t size = (size_t)sdi_record_size(record);
    simdrive_status status = SIMDRIVE_OK;
    uint32_t crc = 0;
    if (size > COPIED_PAYLOAD) {
        status = copy_large_payload(copier, file, record, &crc);
    } else {
        crc = sdi_copy_crc(copier->store->checksum, 0, copier->buffer + copier->used, file + record->start, size);
        copier->used += size;
    }
    if (status != SIMDRIVE_OK || crc == record->checksum) return status;
    return check_other_kind(copier, file, record);
}

static simdrive_status copy_record(copy_job *copier, const uint8_t *file, const sdi_record *record) {
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

static simdrive_status copy_entry(copy_job *copier, const uint8_t *file, uint64_t end) {
    const sdi_damage_map *damage = &copier->from->damage;
    sdi_record record;
    if (sdi_is_corrupt(damage, end) || !sdi_record_at(damage, file, end, &record)) return SIMDRIVE_ERROR_CORRUPT;
    simdrive_status status = copy_record(copier, file, &record);
    return status == SIMDRIVE_OK ? step(copier) : status;
}

/* Before the entry at `end` is copied; `last` is the tail of the last one that will be. The window above the one that
 * the copy comes into is asked for, unless entries are so far apart that it would be in vain. */
static void read_ahead(copy_job *copier, const uint8_t *file, uint64_t end, uint64_t last) {
    const sdi_os *os = copier->store->os;
    if (end < copier->asked.from) return;
    if (copier->cold)
        os->advise(os, file + copier->inside.from, copier->inside.to - copier->inside.from, SDI_ADVICE_DONT_NEED);
    copier->inside = copier->asked;
    uint64_t from = end < copier->asked.to + READ_STEP ? copier->asked.to : end;
    uint64_t to = last - from < READ_STEP ? last : from + READ_STEP;
    copier->asked = (read_window){from, to};
    if (from < to && os->advise(os, file + from, to - from, SDI_ADVICE_WILL_NEED)) copier->cold = true;
}

/* Copies entries, and leaves nothing in the buffers. */
static simdrive_status copy_kept(copy_job *copier, const entry_list *kept) {
    const uint8_t *file = sdi_base(copier->from);
    simdrive_status status = SIMDRIVE_OK;
    uint64_t last = kept->count > 0 ? kept->ends[kept->count - 1] + SDI_METADATA_SIZE : 0;
    for (size_t i = 0; i < kept->count && status == SIMDRIVE_OK; i++) {
        read_ahead(copier, file, kept->ends[i], last);
        status = copy_entry(copier, file, kept->ends[i]);
    }
    return status == SIMDRIVE_OK ? copier_index(copier) : status;
}

static simdrive_status begin_copy(copy_job *copier, const entry_list *kept) {
    const sdi_os *os = copier->store->os;
    simdrive_status status = os->lock(os, copier->to->file);
    if (status == SIMDRIVE_OK) status = os->copy_attributes(os, copier->from->file, copier->to->file);
    if (status == SIMDRIVE_OK) status = sdi_generation_map(copier->to, copier->expected > 0 ? copier->expected : 1);
    if (status != SIMDRIVE_OK) return status;
    copier->to->index = sdi_index_create(kept->count, sdi_base(copier->to));
    copier->buffer = aligned_alloc(64, COPY_BUFFER);
    if (!copier->to->index || !copier->buffer) return SIMDRIVE_ERROR_NO_MEMORY;
    return copy_kept(copier, kept);
}

/* --- catching up (step 4) ---------------------------------------------------------------------------------------- */

/* Notes the entries up to `high`, a tail of the old file: each of them, for each may matter. */
static simdrive_status find_added(copy_job *copier, uint64_t high) {
    entry_list found = {0};
    sdi_walk walk;
    sdi_record record;
    simdrive_status status = SIMDRIVE_OK;
    sdi_walk_begin(&walk, sdi_base(copier->from), &copier->from->damage, high);
    while (status == SIMDRIVE_OK && walk.position > copier->known) {
        status = sdi_walk_next(&walk, &record) ? list_add(&found, record.end) : SIMDRIVE_ERROR_CORRUPT;
        if (status == SIMDRIVE_OK) status = check_cancelled(&copier->store->compaction.cancelled);
    }
    if (copier->next == copier->added.count) copier->next = copier->added.count = 0;
    for (size_t i = found.count; i-- > 0 && status == SIMDRIVE_OK;) status = list_add(&copier->added, found.ends[i]);
    if (status == SIMDRIVE_OK) copier->known = high;
    free(found.ends);
    return status;
}

/* Copies noted entries until they make up `limit` bytes of the old file. */
static simdrive_status copy_added(copy_job *copier, uint64_t limit) {
    const uint8_t *file = sdi_base(copier->from);
    uint64_t begin = copier->reached;
    simdrive_status status = SIMDRIVE_OK;
    while (status == SIMDRIVE_OK && copier->next < copier->added.count && copier->reached - begin < limit) {
        uint64_t end = copier->added.ends[copier->next++];
        status = copy_entry(copier, file, end);
        copier->reached = end + SDI_METADATA_SIZE;
    }
    return status == SIMDRIVE_OK ? copier_index(copier) : status;
}

/* Up to `limit` bytes, outside of the place. */
static simdrive_status copy_beside_writers(copy_job *copier, uint64_t limit) {
    simdrive_status status = find_added(copier, sdi_tail(copier->from));
    return status == SIMDRIVE_OK ? copy_added(copier, limit) : status;
}

static uint64_t bytes_left(const copy_job *copier) {
    return sdi_tail(copier->from) - copier->reached;
}

static simdrive_status catch_up(copy_job *copier) {
    uint64_t before, left = bytes_left(copier);
    simdrive_status status;
    do {
        before = left;
        status = copy_beside_writers(copier, UINT64_MAX);
        if (status == SIMDRIVE_OK) status = copier_sync(copier);
        if (status == SIMDRIVE_OK) status = report_progress(copier);
        left = bytes_left(copier);
    } while (status == SIMDRIVE_OK && left > LITTLE_LEFT && left < before / 2);
    return status;
}

/* --- taking turns with the writers (steps 5 and 6) --------------------------------------------------------------- */

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

/* The new file takes the name, and its generation the place of the old one. */
static simdrive_status swap(copy_job *copier) {
    simdrive_store *store = copier->store;
    const sdi_os *os = store->os;
    simdrive_status status = check_names(store, copier->from);
    if (status == SIMDRIVE_OK) status = check_cancelled(&store->compaction.cancelled);
    if (status != SIMDRIVE_OK) return status;
    /* A network file system may report a failure of what it has done. The name tells. */
    status = os->rename(os, copier->temporary, store->real_path);
    if (status != SIMDRIVE_OK) {
        bool is_new;
        uint32_t link_count;
        /* When the name does not tell either, nobody knows which file a write would go to. */
        if (path_names(store, &copier->to->file_id, &is_new, &link_count) != SIMDRIVE_OK) sdi_poison(store);
        if (!is_new) return status;
    }
    /* The name is the new file's now, and nothing may fail any more. */
    atomic_store_explicit(&store->folder_unsynced, true, memory_order_relaxed);
    atomic_store_explicit(&store->durable_tail, 0, memory_order_relaxed);
    sdi_work_begin(copier->to, copier->from);
    copier->to->born_tail = sdi_tail(copier->to);
    sdi_generation_publish(copier->to);
    sdi_saved_index_begin(store, copier->to);
    return SIMDRIVE_OK;
}

/* The last turn. END when there is no gain after all. */
static simdrive_status finish(copy_job *copier, uint64_t high) {
    simdrive_status status = find_added(copier, high);
    if (status == SIMDRIVE_OK) status = copy_added(copier, UINT64_MAX);
    if (status == SIMDRIVE_OK && copier->tail >= high) return SIMDRIVE_END;
    if (status == SIMDRIVE_OK && copier->synced != copier->tail) status = copier_sync(copier);
    if (status == SIMDRIVE_OK) status = sdi_clear_damaged_tail(copier->store, copier->from);
    return status == SIMDRIVE_OK ? swap(copier) : status;
}

/* One that is not the last. */
static simdrive_status copy_slice(copy_job *copier, uint64_t high, uint64_t slice) {
    simdrive_status status = SIMDRIVE_OK;
    if (copier->known - copier->reached < slice) status = find_added(copier, high);
    return status == SIMDRIVE_OK ? copy_added(copier, slice) : status;
}

static void note_turn(simdrive_store *store, uint64_t began_ns) {
    uint64_t length = sdi_monotonic_ns() - began_ns;
    _Atomic uint64_t *longest = &store->stats.compaction_pause_max_ns;
    if (length > atomic_load_explicit(longest, memory_order_relaxed))
        atomic_store_explicit(longest, length, memory_order_relaxed);
}

/* Whether so little is not synced that it may be synced in a turn with a slice of that size. */
static bool nearly_synced(const copy_job *copier, uint64_t slice) {
    return copier->tail - copier->synced <= 2 * (copier->came_in + slice);
}

static simdrive_status copy_between_turns(copy_job *copier) {
    simdrive_status status = copy_beside_writers(copier, BETWEEN_SLICES);
    uint64_t unsynced = copier->tail - copier->synced;
    uint64_t most = 4 * copier->came_in > SYNC_EVERY ? 4 * copier->came_in : SYNC_EVERY;
    bool due = unsynced >= most || (bytes_left(copier) <= SLICE && !nearly_synced(copier, SLICE));
    if (status == SIMDRIVE_OK && due) status = copier_sync(copier);
    return status == SIMDRIVE_OK ? report_progress(copier) : status;
}

/* Steps 5 and 6. */
static simdrive_status take_turns(copy_job *copier) {
    simdrive_store *store = copier->store;
    copier->kept_out_until = sdi_tail(copier->from);
    for (;;) {
        simdrive_status status = sdi_place_take_patiently(store);
        if (status != SIMDRIVE_OK) return status;
        uint64_t began_ns = sdi_monotonic_ns();
        uint64_t high = sdi_tail(copier->from), added = high - copier->kept_out_until;
        uint64_t slice = 2 * added > SLICE ? 2 * added : SLICE;
        bool last = high - copier->reached <= slice && nearly_synced(copier, slice);
        copier->kept_out_until = high;
        copier->in_turn = true;
        status = last ? finish(copier, high) : copy_slice(copier, high, slice);
        copier->in_turn = false;
        sdi_place_leave(store);
        note_turn(store, began_ns);
        if (status != SIMDRIVE_OK || last) return status;
        status = copy_between_turns(copier);
        if (status != SIMDRIVE_OK) return status;
    }
}

/* --- the end (step 7) -------------------------------------------------------------------------------------------- */

/* Should the folder not be synced, a crash may bring the old file back, and what is written from now on would be lost
 * with the new one: so nothing is. */
static simdrive_status make_name_durable(simdrive_store *store, uint64_t tail) {
    simdrive_status status = store->os->sync_folder_of(store->os, store->real_path);
    if (status != SIMDRIVE_OK) {
        sdi_poison(store);
        return status;
    }
    atomic_store_explicit(&store->folder_unsynced, false, memory_order_relaxed);
    /* A writer may have synced more by now. */
    uint64_t durable = atomic_load_explicit(&store->durable_tail, memory_order_relaxed);
    while (durable < tail && !atomic_compare_exchange_weak_explicit(&store->durable_tail, &durable, tail,
                                                                    memory_order_release, memory_order_relaxed)) {
    }
    return status;
}

static void take_back(copy_job *copier, bool file_made) {
    int os_error = sdi_get_os_error();
    if (file_made) copier->store->os->unlink(copier->store->os, copier->temporary);
    sdi_generation_retire(copier->to);
    sdi_set_os_error(os_error);
}

/* Steps 3 to 7, with everything they need made. */
static simdrive_status copy_and_swap(copy_job *copier, const entry_list *kept, uint64_t *saved) {
    simdrive_store *store = copier->store;
    const sdi_os *os = store->os;
    sdi_file_info info;
    simdrive_status status = os->open(os, copier->temporary, SDI_OPEN_CREATE_NEW, 0600, &copier->to->file);
    bool file_made = status == SIMDRIVE_OK;
    if (status == SIMDRIVE_OK) status = os->info(os, copier->to->file, &info);
    if (status == SIMDRIVE_OK) copier->to->file_id = info.id;
    if (status == SIMDRIVE_OK) status = begin_copy(copier, kept);
    if (status == SIMDRIVE_OK) status = catch_up(copier);
    if (status == SIMDRIVE_OK) status = take_turns(copier);
    if (atomic_load_explicit(&store->current, memory_order_relaxed) != copier->to) {
        take_back(copier, file_made);
        return status == SIMDRIVE_END ? SIMDRIVE_OK : status;
    }
    *saved = copier->reached - copier->tail;
    sdi_generation_retire(copier->from);
    return make_name_durable(store, copier->tail);
}

static simdrive_status rewrite(simdrive_store *store, sdi_generation *from, const collection *found,
                               const simdrive_work_options *options, uint64_t *saved) {
    char *temporary = sdi_temporary_path(store, TEMPORARY_INFIX);
    copy_job *copier = calloc(1, sizeof *copier);
    sdi_generation *to = temporary && copier ? sdi_generation_create(store) : NULL;
    simdrive_status status = to ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) {
        copier->store = store;
        copier->from = from;
        copier->to = to;
        copier->temporary = temporary;
        copier->options = options;
        copier->cold = found->cold;
        copier->expected = found->new_size;
        copier->known = copier->reached = found->tail;
        atomic_store_explicit(&store->stats.compaction_total, found->new_size, memory_order_relaxed);
        status = copy_and_swap(copier, &found->kept, saved);
    }
    if (copier) {
        free(copier->added.ends);
        free(copier->buffer);
    }
    free(copier);
    free(temporary);
    return status;
}

/* Room for the new file beside the old one, and a little for others. Where nobody can tell, it is tried. */
static simdrive_status check_space(simdrive_store *store, const sdi_generation *from, uint64_t needed) {
    uint64_t available = 0;
    if (store->os->space(store->os, from->file, &available) != SIMDRIVE_OK) return SIMDRIVE_OK;
    return available >= needed + (needed < SPARE_SPACE ? needed : SPARE_SPACE) ? SIMDRIVE_OK
                                                                               : SIMDRIVE_ERROR_NO_SPACE;
}

simdrive_status sdi_compact_run(simdrive_store *store, const simdrive_work_options *options, uint64_t *saved) {
    sdi_snapshot *snapshot = NULL;
    collection found = {.new_size = 0};
    sdi_remove_temporaries(store, TEMPORARY_INFIX);
    simdrive_status status = sdi_snapshot_begin(store, SDI_WALK_TO_LINK, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    sdi_pin *pin = sdi_snapshot_pin(snapshot);
    found.tail = sdi_snapshot_tail(snapshot);
    status = collect(snapshot, &store->compaction.cancelled, &found.kept, &found.new_size);
    found.cold = sdi_snapshot_was_cold(snapshot);
    /* The pin is kept, the snapshot is not: the writer takes notes for it, more with each key that he replaces. */
    sdi_pin_again(pin, 1);
    sdi_snapshot_end(snapshot);
    if (status == SIMDRIVE_OK && found.new_size < found.tail) {
        /* Only a compaction replaces the current generation, and this is the only one. */
        status = check_names(store, pin->generation);
        if (status == SIMDRIVE_OK) status = check_space(store, pin->generation, found.new_size);
        if (status == SIMDRIVE_OK) status = rewrite(store, pin->generation, &found, options, saved);
    }
    sdi_unpin(pin, 1);
    free(found.kept.ends);
    return status;
}
