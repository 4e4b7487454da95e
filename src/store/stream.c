/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c — payloads of any length through a small buffer: written (push and pull) and read.
 *
 * A written stream takes the writer's place, puts its bytes behind the tail as they come, and the metadata last. Until
 * then nothing of it can be found, after a crash either; giving up cuts the file back to the tail. The first payload
 * of a file begins with a mark until it is complete, like that of any first entry (append.c).
 */
#include <string.h>

#include "digest/hash.h"
#include "store/store.h"

enum {
    DEFAULT_BUFFER = 1 << 19, /* measured: larger ones do not stay in the cache between source, checksum and write */
    SMALLEST_BUFFER = 4096,
    PAGE = 4096,     /* with which writes end */
    MOST_ZEROS = 512 /* sdi_key_may_tear() asks for less */
};

struct simdrive_stream {
    simdrive_store *store;
    sdi_generation *generation;
    uint64_t key_hash;
    uint64_t tail;  /* of the store at the beginning */
    uint64_t size;  /* payload bytes so far */
    uint64_t offset; /* where the buffer's first byte goes */
    uint32_t crc;
    uint64_t zeros; /* with which the payload ends so far; not counted further than MOST_ZEROS a piece */
    uint8_t first[sizeof sdi_first_write_mark]; /* bytes of the payload */
    uint8_t *buffer; /* of `capacity`, and room for the metadata behind it */
    size_t capacity, used;
    size_t limit; /* bytes of the next write: as many as fit, so that it ends with a page of the file */
    bool wrote;           /* bytes are in the file: giving up must cut it */
    simdrive_status failed;
};

/* --- written ----------------------------------------------------------------------------------------------------- */

/* Writes end with a page: those that share one write to it twice, and the next one's pages would not lie in the buffer
 * as they lie in the file, which slows the system's copy down. */
static void set_limit(simdrive_stream *stream) {
    stream->limit = stream->capacity - (size_t)((stream->offset + stream->capacity) % PAGE);
}

/* Begins behind the tail with the pre-pad; the writer's place is held. */
static simdrive_status stream_create(simdrive_store *store, uint64_t key_hash, size_t buffer_size,
                                     simdrive_stream **out) {
    size_t capacity = buffer_size == 0 ? DEFAULT_BUFFER : buffer_size;
    if (capacity < SMALLEST_BUFFER) capacity = SMALLEST_BUFFER;
    if (capacity > SIZE_MAX / 2) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_stream *stream = calloc(1, sizeof *stream);
    uint8_t *buffer = aligned_alloc(PAGE, (size_t)sdi_align_up(capacity + SDI_METADATA_SIZE, PAGE));
    if (!stream || !buffer) {
        free(stream);
        free(buffer);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }
    stream->store = store;
    stream->generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    stream->key_hash = key_hash;
    stream->tail = stream->offset = sdi_tail(stream->generation);
    stream->buffer = buffer;
    stream->capacity = capacity;
    stream->used = (size_t)(sdi_payload_start(stream->tail) - stream->tail);
    memset(buffer, 0, stream->used);
    set_limit(stream);
    *out = stream;
    return SIMDRIVE_OK;
}

static void stream_free(simdrive_stream *stream) {
    free(stream->buffer);
    free(stream);
}

/* Writes what is in the buffer, and `more` behind it without copying it. */
static simdrive_status stream_flush(simdrive_stream *stream, const uint8_t *more, size_t more_size) {
    const sdi_os *os = stream->store->os;
    simdrive_bytes pieces[2] = {{stream->buffer, stream->used}, {more, more_size}};
    uint64_t size = (uint64_t)stream->used + more_size;
    if (size == 0) return SIMDRIVE_OK;
    /* Room is made ahead of the bytes, so that the last step cannot fail for want of it. */
    simdrive_status status = sdi_generation_map(stream->generation, stream->offset + size + SDI_METADATA_SIZE);
    if (status == SIMDRIVE_OK) status = sdi_clear_damaged_tail(stream->store, stream->generation);
    if (status != SIMDRIVE_OK) return status;
    if (!stream->wrote) {
        stream->wrote = true;
        status = sdi_mark_first_write(stream->store, stream->generation, stream->tail);
        if (status != SIMDRIVE_OK) return status;
    }
    status = os->write_pieces_at(os, stream->generation->file, stream->offset, pieces, more_size > 0 ? 2 : 1);
    if (status != SIMDRIVE_OK) return status;
    stream->offset += size;
    stream->used = 0;
    set_limit(stream);
    return SIMDRIVE_OK;
}

/* Takes notice of the next bytes of the payload. The first are kept aside, for those in the file are the mark. */
static void notice(simdrive_stream *stream, const uint8_t *data, size_t size) {
    size_t zeros = 0;
    while (zeros < size && zeros < MOST_ZEROS && data[size - 1 - zeros] == 0) zeros++;
    stream->zeros = zeros == size ? stream->zeros + zeros : zeros;
    for (size_t i = 0; i < size && stream->size + i < sizeof stream->first; i++)
        stream->first[stream->size + i] = data[i];
}

/* Turns bytes that lie in the buffer into the mark, where they are the first of the file. Less than a whole mark's
 * worth of payload is never flushed, for no buffer is that small. */
static void mark_first(simdrive_stream *stream) {
    if (stream->tail == 0 && stream->offset == 0 && stream->size >= sizeof stream->first)
        memcpy(stream->buffer, sdi_first_write_mark, sizeof sdi_first_write_mark);
}

/* Sees to it that there is room for payload: writes what is full. (That may be the pre-pad alone.) */
static simdrive_status make_room(simdrive_stream *stream) {
    if (stream->used < stream->limit) return SIMDRIVE_OK;
    mark_first(stream);
    return stream_flush(stream, NULL, 0);
}

/* The next `size` bytes, which fill what there is room for at most. When that is most of a write they are written from
 * where they are, unless they are the first of the file. */
static simdrive_status append_piece(simdrive_stream *stream, const uint8_t *data, size_t size) {
    sdi_crc_kind kind = stream->store->checksum;
    bool at_start = stream->tail == 0 && stream->offset == 0;
    stream->size += size;
    if (stream->used + size == stream->limit && size >= stream->capacity / 2 && !at_start) {
        stream->crc = sdi_crc(kind, stream->crc, data, size);
        return stream_flush(stream, data, size);
    }
    stream->crc = sdi_copy_crc(kind, stream->crc, stream->buffer + stream->used, data, size);
    stream->used += size;
    return SIMDRIVE_OK;
}

static simdrive_status append_bytes(simdrive_stream *stream, const uint8_t *data, size_t size) {
    if (size > SDI_OFFSET_MAX || stream->offset + stream->used + size + SDI_METADATA_SIZE > SDI_OFFSET_MAX)
        return SIMDRIVE_ERROR_TOO_LARGE;
    notice(stream, data, size);
    while (size > 0) {
        simdrive_status status = make_room(stream);
        if (status != SIMDRIVE_OK) return status;
        size_t room = stream->limit - stream->used, piece = size < room ? size : room;
        status = append_piece(stream, data, piece);
        if (status != SIMDRIVE_OK) return status;
        data += piece;
        size -= piece;
    }
    return SIMDRIVE_OK;
}

/* Takes everything back; the place stays held. */
static simdrive_status stream_cancel(simdrive_stream *stream, simdrive_status status) {
    if (stream->wrote) status = sdi_roll_back(stream->store, stream->generation, status);
    return status;
}

/* Whether the only byte is 00: then it is in `first`. */
static bool stream_storable(const simdrive_stream *stream) {
    return stream->size > 1 || (stream->size == 1 && stream->first[0] != 0);
}

/* As in sdi_append(). */
static bool must_hold_link(const simdrive_stream *stream, uint64_t end) {
    uint64_t zeros;
    return stream->store->options.sync == SIMDRIVE_SYNC_COMMIT &&
           sdi_key_may_tear(stream->tail, sdi_payload_start(stream->tail), end, &zeros) && stream->zeros >= zeros;
}

/* Writes the rest and the metadata, and makes the entry visible. */
static simdrive_status stream_finish(simdrive_stream *stream) {
    simdrive_store *store = stream->store;
    sdi_generation *generation = stream->generation;
    uint64_t end = stream->offset + stream->used, replaced = SDI_INDEX_NONE;
    size_t held = sdi_first_write_hold(stream->tail, stream->size);
    bool link_held = must_hold_link(stream, end);
    uint8_t *metadata = stream->buffer + stream->used;
    if (!stream_storable(stream)) return SIMDRIVE_ERROR_INVALID_PAYLOAD;
    simdrive_status status = sdi_superseded_reserve(generation, 1);
    if (status == SIMDRIVE_OK) status = sdi_index_reserve(generation->index, &stream->key_hash, 1);
    if (status != SIMDRIVE_OK) return status;

    mark_first(stream);
    sdi_encode_metadata(metadata, stream->key_hash, stream->tail, stream->crc);
    if (link_held) sdi_unpublished_prev(end + SDI_PREV_FIELD, stream->tail, metadata + SDI_PREV_FIELD);
    stream->used += SDI_METADATA_SIZE;
    status = stream_flush(stream, NULL, 0);
    if (status == SIMDRIVE_OK && (held > 0 || link_held) && store->options.sync == SIMDRIVE_SYNC_COMMIT)
        status = sdi_sync_file(store, generation, stream->tail);
    if (status == SIMDRIVE_OK && held > 0)
        status = store->os->write_at(store->os, generation->file, 0, stream->first, held);
    if (status == SIMDRIVE_OK && link_held) status = sdi_write_held_link(generation, end, stream->tail);
    if (status == SIMDRIVE_OK) status = sdi_sync_commit(store, generation, end + SDI_METADATA_SIZE);
    if (status != SIMDRIVE_OK) return status;
    const sdi_published entry = {&stream->key_hash, &end, &stream->size, &replaced};
    sdi_publish_entries(generation, &entry, 1, end + SDI_METADATA_SIZE);
    sdi_saved_index_consider(store, generation);
    return SIMDRIVE_OK;
}

simdrive_status simdrive_stream_begin_hash(simdrive_store *store, uint64_t key_hash, size_t buffer_size,
                                           simdrive_stream **out) {
    if (out) *out = NULL;
    if (!store || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    status = stream_create(store, key_hash, buffer_size, out);
    if (status != SIMDRIVE_OK) {
        sdi_place_leave(store);
        return status;
    }
    /* From here on others do not wait, for nobody knows when the caller goes on. */
    sdi_mutex_lock(&store->mutex);
    sdi_place_keep_for_stream(store);
    store->open_stream = *out;
    sdi_mutex_unlock(&store->mutex);
    return SIMDRIVE_OK;
}

simdrive_status simdrive_stream_begin(simdrive_store *store, const void *key, size_t key_size, size_t buffer_size,
                                      simdrive_stream **out) {
    if (out) *out = NULL;
    if (!key && key_size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return simdrive_stream_begin_hash(store, sdi_hash(key, key_size), buffer_size, out);
}

simdrive_status simdrive_stream_append(simdrive_stream *stream, const void *data, size_t size) {
    if (!stream || (!data && size > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (stream->failed != SIMDRIVE_OK) return stream->failed;
    stream->failed = append_bytes(stream, data, size);
    return stream->failed;
}

static simdrive_status stream_close(simdrive_stream *stream, simdrive_status status) {
    simdrive_store *store = stream->store;
    if (status != SIMDRIVE_OK) status = stream_cancel(stream, status);
    stream_free(stream);
    sdi_mutex_lock(&store->mutex);
    store->open_stream = NULL;
    sdi_mutex_unlock(&store->mutex);
    sdi_place_leave(store);
    if (status == SIMDRIVE_OK) sdi_after_append(store);
    return status;
}

simdrive_status simdrive_stream_commit(simdrive_stream *stream, uint64_t *tail) {
    if (tail) *tail = 0;
    if (!stream) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = stream->failed == SIMDRIVE_OK ? stream_finish(stream) : stream->failed;
    if (status == SIMDRIVE_OK && tail) *tail = sdi_tail(stream->generation);
    return stream_close(stream, status);
}

simdrive_status simdrive_stream_abort(simdrive_stream *stream) {
    if (!stream) return SIMDRIVE_OK;
    simdrive_store *store = stream->store;
    stream_close(stream, SIMDRIVE_ERROR_CANCELLED);
    return atomic_load_explicit(&store->poisoned, memory_order_relaxed) ? SIMDRIVE_ERROR_POISONED : SIMDRIVE_OK;
}

/* Fills the stream from a source, straight into its buffer. */
static simdrive_status drain_source(simdrive_stream *stream, simdrive_source source, void *user) {
    for (;;) {
        simdrive_status status = make_room(stream);
        if (status != SIMDRIVE_OK) return status;
        size_t produced = 0, room = stream->limit - stream->used;
        uint8_t *to = stream->buffer + stream->used;
        status = source(user, to, room, &produced);
        if (status != SIMDRIVE_OK) return status;
        if (produced > room) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
        if (produced == 0) return SIMDRIVE_OK;
        if (stream->offset + stream->used + produced + SDI_METADATA_SIZE > SDI_OFFSET_MAX)
            return SIMDRIVE_ERROR_TOO_LARGE;
        notice(stream, to, produced);
        stream->crc = sdi_crc(stream->store->checksum, stream->crc, to, produced);
        stream->used += produced;
        stream->size += produced;
    }
}

simdrive_status simdrive_write_stream_hash(simdrive_store *store, uint64_t key_hash, simdrive_source source,
                                           void *user, size_t buffer_size, uint64_t *tail) {
    simdrive_stream *stream = NULL;
    if (tail) *tail = 0;
    if (!store || !source) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    status = stream_create(store, key_hash, buffer_size, &stream);
    if (status == SIMDRIVE_OK) {
        status = drain_source(stream, source, user);
        if (status == SIMDRIVE_OK) status = stream_finish(stream);
        if (status != SIMDRIVE_OK) status = stream_cancel(stream, status);
        if (status == SIMDRIVE_OK && tail) *tail = sdi_tail(stream->generation);
        stream_free(stream);
    }
    sdi_place_leave(store);
    if (status == SIMDRIVE_OK) sdi_after_append(store);
    return status;
}

simdrive_status simdrive_write_stream(simdrive_store *store, const void *key, size_t key_size, simdrive_source source,
                                      void *user, size_t buffer_size, uint64_t *tail) {
    if (tail) *tail = 0;
    if (!key && key_size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return simdrive_write_stream_hash(store, sdi_hash(key, key_size), source, user, buffer_size, tail);
}

/* --- read -------------------------------------------------------------------------------------------------------- */

struct simdrive_reader {
    simdrive_entry entry;
    uint64_t position;
    uint32_t stored; /* checksum of the entry, fetched at the beginning: later the file may have been cut */
    uint32_t crc[2]; /* of either kind: which one is stored shows only at the end */
};

simdrive_status simdrive_reader_open_entry(const simdrive_entry *entry, simdrive_reader **out) {
    if (out) *out = NULL;
    if (!entry || !entry->private_pin || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_entry_clone(entry, &reader->entry);
    reader->stored = simdrive_entry_checksum(entry);
    *out = reader;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_reader_open(simdrive_store *store, const void *key, size_t key_size, simdrive_reader **out) {
    simdrive_entry entry;
    if (out) *out = NULL;
    if (!out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = simdrive_read(store, key, key_size, &entry);
    if (status != SIMDRIVE_OK) return status;
    status = simdrive_reader_open_entry(&entry, out);
    simdrive_entry_release(&entry);
    return status;
}

simdrive_status simdrive_reader_next(simdrive_reader *reader, void *buffer, size_t capacity, size_t *copied) {
    if (copied) *copied = 0;
    if (!reader || !copied || (!buffer && capacity > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    uint64_t left = reader->entry.size - reader->position;
    if (left == 0) {
        bool intact = reader->crc[0] == reader->stored || reader->crc[1] == reader->stored;
        return sdi_refuse(intact ? SIMDRIVE_END : SIMDRIVE_ERROR_CORRUPT);
    }
    size_t amount = left < capacity ? (size_t)left : capacity;
    simdrive_status status = sdi_read_bytes(sdi_entry_generation(&reader->entry),
                                            reader->entry.private_start + reader->position, buffer, amount);
    if (status != SIMDRIVE_OK) return status;
    for (unsigned kind = 0; kind < 2; kind++)
        reader->crc[kind] = sdi_crc((sdi_crc_kind)kind, reader->crc[kind], buffer, amount);
    reader->position += amount;
    *copied = amount;
    return SIMDRIVE_OK;
}

uint64_t simdrive_reader_size(const simdrive_reader *reader) {
    return reader ? reader->entry.size : 0;
}

void simdrive_reader_close(simdrive_reader *reader) {
    if (!reader) return;
    simdrive_entry_release(&reader->entry);
    free(reader);
}
