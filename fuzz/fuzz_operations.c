/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_operations.c — a sequence of calls, made from the input, on a store beside the plain model of the format
 * (builder.h). After each the tails are equal; at checks and at the end everything that can be read is, and so are the
 * files, byte for byte. Besides calls there is what happens to files: the store is closed and opened again, the file
 * ends anywhere, bytes follow it. A reader is held open and refreshed at times.
 *
 *   input      options | operations...
 *   operation  what | its arguments: a key, a size, a mode, a byte each
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "shown.h"

#define STORE "store"
#define COPY "copy"

enum { KEYS = 12, MOST_OPERATIONS = 200, MOST_BATCH = 8, MOST_FILE = 1 << 17, MOST_PAYLOAD = 6000 };

typedef struct run {
    fuzz_input input;
    memory_os *memory;
    simdrive_open_options options;
    simdrive_store *store;  /* the writer */
    simdrive_store *reader; /* NULL, or opened since the store was opened last */
    test_image image;
    simdrive_iterator *iterator; /* NULL, or begun when the store was as in... */
    test_image held;
    test_view held_view;
    size_t held_next;
    bool damaged; /* bytes may follow the last entry: the next write keeps them aside */
} run;

static const sdi_os *os_of(const run *r) {
    return memory_os_table(r->memory);
}

static uint64_t take_key(run *r) {
    return test_key_hash(fuzz_byte(&r->input) % KEYS);
}

/* Mostly small ones: the first byte is the size, and a few sizes stand for larger payloads. */
static size_t take_payload(run *r, uint8_t *payload) {
    unsigned kind = fuzz_byte(&r->input);
    size_t size = 1 + kind % 128;
    if (kind >= 240) size = MOST_PAYLOAD - 16 * (kind - 240);
    if (kind % 5 == 0) {
        memset(payload, 0, size);
    } else {
        test_random random = {kind};
        test_random_fill(&random, payload, size);
    }
    if (size == 1) payload[0] |= 1;
    return size;
}

static bool model_has(const run *r, uint64_t key) {
    return test_image_find(&r->image, key) != NULL;
}

/* --- opening and files ------------------------------------------------------------------------------------------- */

static void release_iterator(run *r) {
    if (!r->iterator) return;
    simdrive_iterator_close(r->iterator);
    test_view_free(&r->held_view);
    test_image_free(&r->held);
    r->iterator = NULL;
}

static void close_all(run *r) {
    release_iterator(r);
    CHECK_OK(simdrive_close(r->reader));
    CHECK_OK(simdrive_close(r->store));
    r->reader = r->store = NULL;
}

static void open_writer(run *r) {
    CHECK_OK(sdi_open_with_os(os_of(r), STORE, &r->options, &r->store));
    CHECK_U64(r->image.size, simdrive_tail(r->store));
}

static void reopen(run *r) {
    unsigned how = fuzz_byte(&r->input);
    close_all(r);
    r->options.verify_all = how & 1;
    r->options.check_on_read = how & 2;
    r->options.saved_index = how & 4 ? SIMDRIVE_SAVED_INDEX_ALWAYS : SIMDRIVE_SAVED_INDEX_AUTO;
    r->options.append = how & 8 ? SIMDRIVE_APPEND_MAP : SIMDRIVE_APPEND_WRITE;
    r->options.sync = how & 16 ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE;
    open_writer(r);
}

static void drop_from_model(run *r, size_t entries) {
    test_image kept = {.checksum = r->image.checksum};
    for (size_t i = 0; i < entries; i++) {
        const test_record *record = &r->image.records[i];
        if (record->tombstone)
            test_image_delete(&kept, record->key_hash);
        else
            test_image_put(&kept, record->key_hash, r->image.bytes + record->start, test_record_size(record));
    }
    test_image_free(&r->image);
    r->image = kept;
}

/* The file ends anywhere, and zeros or other bytes follow: what is complete is there. */
static void cut_file(run *r) {
    size_t size;
    close_all(r);
    const uint8_t *file = memory_os_get(r->memory, STORE, &size);
    if (r->image.count == 0 || r->damaged) {
        open_writer(r);
        return;
    }
    size_t cut = fuzz_place(&r->input, size + 1), behind = fuzz_byte(&r->input);
    size_t entries = test_image_complete(&r->image, cut);
    /* Below the first entry there is nothing to find, and behind a store in a store there may be too much. */
    if (entries == 0) {
        cut = r->image.records[0].tail;
        entries = 1;
    }
    uint8_t *bytes = test_alloc(cut + behind);
    memcpy(bytes, file, cut);
    memset(bytes + cut, behind % 2 ? 0 : 0xA5, behind);
    while (entries < r->image.count && r->image.records[entries].tail <= cut + behind &&
           memcmp(bytes, r->image.bytes, r->image.records[entries].tail) == 0)
        entries++; /* the zeros complete it */
    memory_os_put(r->memory, STORE, bytes, cut + behind);
    free(bytes);
    drop_from_model(r, entries);
    r->damaged = cut + behind > r->image.size;
    open_writer(r);
}

static void hold_reader(run *r) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    if (!r->reader) {
        CHECK_OK(sdi_open_with_os(os_of(r), STORE, &options, &r->reader));
    } else {
        CHECK_OK(simdrive_refresh(r->reader, NULL));
    }
    test_check_shows(r->reader, &r->image);
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

static void wrote(run *r, uint64_t tail) {
    CHECK_U64(r->image.size, tail);
    r->damaged = false;
}

static void write_one(run *r) {
    uint8_t payload[MOST_PAYLOAD];
    uint64_t key = take_key(r), tail = 0;
    size_t size = take_payload(r, payload);
    test_image_put(&r->image, key, payload, size);
    CHECK_OK(simdrive_write_hash(r->store, key, payload, size, &tail));
    wrote(r, tail);
}

static void delete_one(run *r) {
    uint64_t key = take_key(r), tail = 0;
    bool there = model_has(r, key);
    CHECK_STATUS(there ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_delete_hash(r->store, key, &tail));
    if (!there) return;
    test_image_delete(&r->image, key);
    wrote(r, tail);
}

static void apply_batch(run *r) {
    simdrive_change changes[MOST_BATCH];
    uint8_t payloads[MOST_BATCH][MOST_PAYLOAD];
    unsigned how = fuzz_byte(&r->input);
    size_t count = how % (MOST_BATCH + 1), before = r->image.size;
    uint64_t tail = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t key = take_key(r);
        bool deletes = fuzz_byte(&r->input) % 3 == 0;
        changes[i] = (simdrive_change){.operation = deletes ? SIMDRIVE_DELETE : SIMDRIVE_PUT, .key_hash = key};
        if (deletes) {
            if (model_has(r, key)) test_image_delete(&r->image, key);
            continue;
        }
        changes[i].payload = (simdrive_bytes){payloads[i], take_payload(r, payloads[i])};
        test_image_put(&r->image, key, payloads[i], changes[i].payload.size);
    }
    CHECK_OK(simdrive_apply(r->store, changes, count, how & 64 ? SIMDRIVE_BATCH_PLAIN : SIMDRIVE_BATCH_ATOMIC, &tail));
    if (r->image.size != before) wrote(r, tail);
}

/* Refused as a whole, and nothing changes, for one payload of it cannot be stored. */
static void apply_refused(run *r) {
    simdrive_change changes[2] = {{.key_hash = take_key(r), .payload = {"value", 5}},
                                  {.key_hash = take_key(r), .payload = {"", fuzz_byte(&r->input) % 2}}};
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_apply(r->store, changes, 2, SIMDRIVE_BATCH_ATOMIC, NULL));
}

static void pull_stream(run *r) {
    uint8_t payload[MOST_PAYLOAD];
    uint64_t key = take_key(r), tail = 0;
    size_t size = take_payload(r, payload);
    unsigned how = fuzz_byte(&r->input);
    test_source source = {.bytes = payload, .size = size, .piece = 1 + how};
    if (how % 4 == 0) {
        source.failure = SIMDRIVE_ERROR_CANCELLED;
        source.fail_at = fuzz_byte(&r->input) % (size + 1);
    } else {
        test_image_put(&r->image, key, payload, size);
    }
    CHECK_STATUS(source.failure, simdrive_write_stream_hash(r->store, key, test_source_read, &source, how, &tail));
    if (source.failure == SIMDRIVE_OK) wrote(r, tail);
}

static void push_stream(run *r) {
    uint8_t payload[MOST_PAYLOAD];
    uint64_t key = take_key(r), tail = 0;
    size_t size = take_payload(r, payload), pieces = 1 + fuzz_byte(&r->input) % 4;
    bool commits = fuzz_byte(&r->input) % 3 != 0;
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin_hash(r->store, key, 100, &stream));
    for (size_t i = 0; i < pieces; i++) {
        size_t from = size * i / pieces, to = size * (i + 1) / pieces;
        CHECK_OK(simdrive_stream_append(stream, payload + from, to - from));
    }
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_write_hash(r->store, key, "v", 1, NULL));
    if (!commits) {
        CHECK_OK(simdrive_stream_abort(stream));
        return;
    }
    test_image_put(&r->image, key, payload, size);
    CHECK_OK(simdrive_stream_commit(stream, &tail));
    wrote(r, tail);
}

static void rename_one(run *r) {
    char from[32], to[32];
    uint64_t a = fuzz_byte(&r->input) % KEYS, b = fuzz_byte(&r->input) % KEYS, tail = 0;
    size_t from_size = test_key(a, from), to_size = test_key(b, to);
    const test_record *record = test_image_find(&r->image, test_key_hash(a));
    simdrive_status status = simdrive_rename(r->store, from, from_size, to, to_size, &tail);
    if (a == b) {
        CHECK(status == SIMDRIVE_ERROR_INVALID_ARGUMENT || (!record && status == SIMDRIVE_NOT_FOUND));
        return;
    }
    CHECK_STATUS(record ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
    if (!record) return;
    uint8_t payload[MOST_PAYLOAD];
    size_t size = test_record_size(record);
    memcpy(payload, r->image.bytes + record->start, size);
    test_image_put(&r->image, test_key_hash(b), payload, size);
    test_image_delete(&r->image, test_key_hash(a));
    wrote(r, tail);
}

static void compact(run *r) {
    uint64_t estimate = 1, saved = 0;
    size_t before = r->image.size;
    CHECK_OK(simdrive_estimate_compaction(r->store, &estimate));
    CHECK_OK(simdrive_compact(r->store, NULL, &saved));
    test_image_compact(&r->image);
    if (r->damaged && before == r->image.size) return; /* nothing to gain: bytes behind the tail stay */
    r->damaged = false;
    CHECK_U64(estimate, saved);
    CHECK_U64(r->image.size, simdrive_tail(r->store));
}

static void sync_store(run *r) {
    uint64_t durable = 0;
    CHECK_OK(simdrive_sync(r->store, &durable));
    CHECK_U64(r->image.size, durable);
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

static void back_up(run *r) {
    size_t size;
    CHECK_OK(simdrive_backup(r->store, COPY, NULL, NULL));
    const uint8_t *copy = memory_os_get(r->memory, COPY, &size);
    CHECK_U64(r->image.size, size);
    CHECK(size == 0 || memcmp(copy, r->image.bytes, size) == 0);
    memory_os_remove(r->memory, COPY);
}

/* An iterator shows the store as it was when it was begun, whatever has happened since. */
static void step_iterator(run *r) {
    if (!r->iterator) {
        test_image_clone(&r->image, &r->held);
        test_view_build(&r->held_view, &r->held, r->held.count);
        r->held_next = 0;
        CHECK_OK(simdrive_iterate(r->store, &r->iterator));
        return;
    }
    for (size_t left = 1 + fuzz_byte(&r->input) % 6; left > 0; left--) {
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_iterator_next(r->iterator, &entry);
        if (r->held_next == r->held_view.live_count) {
            CHECK_STATUS(SIMDRIVE_END, status);
            release_iterator(r);
            return;
        }
        CHECK_OK(status);
        const test_record *record = r->held_view.live[r->held_next++];
        CHECK(simdrive_entry_key_hash(&entry) == record->key_hash && entry.size == test_record_size(record));
        CHECK(memcmp(entry.data, r->held.bytes + record->start, entry.size) == 0);
        simdrive_entry_release(&entry);
    }
}

static void check_all(run *r) {
    size_t size;
    shown all = {0};
    const uint8_t *file = memory_os_get(r->memory, STORE, &size);
    CHECK(size >= r->image.size && (r->damaged || size == r->image.size));
    CHECK(r->image.size == 0 || memcmp(file, r->image.bytes, r->image.size) == 0);
    test_check_shows(r->store, &r->image);
    shown_take(&all, r->store, file, size);
    shown_check_other_ways(&all, r->store);
    CHECK_OK(simdrive_verify(r->store, NULL, NULL, NULL, NULL));
    shown_free(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const operations[])(run *) = {write_one,   write_one,  write_one,   delete_one, delete_one,
                                                apply_batch, apply_batch, apply_refused, pull_stream, push_stream,
                                                rename_one,  compact,    sync_store,  back_up,    step_iterator,
                                                reopen,      cut_file,   hold_reader, check_all};
    run r = {.input = {data, data + size}, .memory = memory_os_create()};
    unsigned how = fuzz_byte(&r.input);
    r.image.checksum = how & 1 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
    r.options = (simdrive_open_options){.struct_size = sizeof r.options, .checksum = r.image.checksum,
                                        .map_reserve_bytes = MEMORY_OS_RESERVE};
    open_writer(&r);
    for (size_t i = 0; i < MOST_OPERATIONS && fuzz_left(&r.input) > 0 && r.image.size < MOST_FILE; i++)
        operations[fuzz_byte(&r.input) % (sizeof operations / sizeof *operations)](&r);
    check_all(&r);
    close_all(&r);
    open_writer(&r);
    check_all(&r);
    close_all(&r);
    test_image_free(&r.image);
    memory_os_destroy(r.memory);
    return 0;
}
