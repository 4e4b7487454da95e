/* SPDX-License-Identifier: Apache-2.0
 *
 * streams — writes and reads payloads without ever having all of one in memory: pulled from a callback, pushed piece by
 * piece, taken back halfway, and read through a small buffer.
 *
 *     streams [STORE]
 */
#include "must.h"

enum { TOTAL = 8 * 1024 * 1024, PIECE = 10000 };

/* Byte i of the payload, told by i alone. */
static unsigned char byte_at(uint64_t i) {
    return (unsigned char)((i * 2654435761u) >> 24);
}

static void fill(unsigned char *buffer, size_t size, uint64_t from) {
    for (size_t i = 0; i < size; i++) buffer[i] = byte_at(from + i);
}

/* A source: gives the payload from where it stopped. */
static simdrive_status generate(void *user, void *buffer, size_t capacity, size_t *produced) {
    uint64_t *position = user;
    uint64_t left = TOTAL - *position;
    *produced = capacity < left ? capacity : (size_t)left;
    fill(buffer, *produced, *position);
    *position += *produced;
    return SIMDRIVE_OK;
}

/* Appends pieces of an odd size up to `size` bytes. */
static simdrive_stream *push(simdrive_store *store, const char *key, size_t key_size, uint64_t size) {
    static unsigned char piece[PIECE];
    simdrive_stream *stream = NULL;

    must(simdrive_stream_begin(store, key, key_size, 0, &stream), "begin");
    for (uint64_t done = 0; done < size;) {
        size_t now = size - done < PIECE ? (size_t)(size - done) : PIECE;
        fill(piece, now, done);
        must(simdrive_stream_append(stream, piece, now), "append");
        done += now;
    }
    return stream;
}

static void check(simdrive_store *store, const char *key, size_t key_size) {
    static unsigned char buffer[PIECE];
    simdrive_reader *reader = NULL;
    simdrive_status status;
    uint64_t position = 0;
    size_t copied = 0;

    must(simdrive_reader_open(store, key, key_size, &reader), "open a reader");
    while ((status = simdrive_reader_next(reader, buffer, sizeof buffer, &copied)) == SIMDRIVE_OK) {
        for (size_t i = 0; i < copied; i++) must_hold(buffer[i] == byte_at(position + i), "every byte is right");
        position += copied;
    }
    must_hold(status == SIMDRIVE_END, "the reader ends with its checksum right");
    must_hold(position == TOTAL, "nothing is missing");
    simdrive_reader_close(reader);
    printf("%.*s: %llu bytes, read back through %d\n", (int)key_size, key, (unsigned long long)position, PIECE);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "streams.store";
    simdrive_store *store = NULL;
    uint64_t position = 0;

    must(simdrive_open(path, NULL, &store), "open");
    must(simdrive_write_stream(store, "pulled", 6, generate, &position, 64 * 1024, NULL), "pull");
    must(simdrive_stream_commit(push(store, "pushed", 6, TOTAL), NULL), "commit");

    uint64_t tail = simdrive_tail(store);
    must(simdrive_stream_abort(push(store, "taken back", 10, TOTAL / 2)), "abort");
    must_hold(!simdrive_exists(store, "taken back", 10), "what was aborted was never there");
    must_hold(simdrive_tail(store) == tail, "the store is as before");

    check(store, "pulled", 6);
    check(store, "pushed", 6);
    must(simdrive_close(store), "close");
    return 0;
}
