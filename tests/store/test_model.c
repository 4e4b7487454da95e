/* SPDX-License-Identifier: Apache-2.0
 *
 * test_model.c — random sequences of calls on two stores, each beside the plain model of the format. After every call
 * the tails are equal; again and again everything that can be read is, and the files are equal byte for byte.
 * Iterators held across changes show the store as it was when they were begun.
 */
#include "support/stores.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 48, MOST_PAYLOAD = 9000, BATCH_MAX = 24, HELD = 4 };

/* An iterator, and what it has yet to show. */
typedef struct held_iterator {
    simdrive_iterator *iterator;
    test_image image; /* as it was at its start */
    test_view view;
    size_t next;
} held_iterator;

typedef struct side {
    char path[TEST_PATH_MAX];
    simdrive_open_options options;
    simdrive_store *store;
    test_image image;
    held_iterator held[HELD];
} side;

typedef struct bench {
    test_folder folder;
    test_random random;
    side sides[2];
    uint8_t *payload;
    size_t step;
} bench;

static uint64_t below(bench *b, uint64_t limit) {
    return test_random_below(&b->random, limit);
}

static void side_open(side *s) {
    CHECK_OK(simdrive_open(s->path, &s->options, &s->store));
}

static bool model_has(const side *s, uint64_t key_hash) {
    return test_image_find(&s->image, key_hash) != NULL;
}

static size_t make_payload(bench *b) {
    static const size_t limits[] = {2, 44, 64, 65, 300, MOST_PAYLOAD};
    size_t size = 1 + (size_t)below(b, limits[below(b, 6)]);
    test_random_fill(&b->random, b->payload, size);
    if (size > 1 && below(b, 8) == 0) memset(b->payload, 0, size);
    if (size == 1) b->payload[0] |= 1;
    return size;
}

/* --- single changes --------------------------------------------------------------------------------------------- */

static void do_write(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS);
    size_t key_size = test_key(number, key);
    size_t size = make_payload(b);
    uint64_t tail = 0;
    test_image_put(&s->image, test_key_hash(number), b->payload, size);
    if (below(b, 2))
        CHECK_OK(simdrive_write(s->store, key, key_size, b->payload, size, &tail));
    else
        CHECK_OK(simdrive_write_hash(s->store, test_key_hash(number), b->payload, size, &tail));
    CHECK_U64(s->image.size, tail);
}

static void do_delete(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS), hash = test_key_hash(number), tail = 1;
    size_t key_size = test_key(number, key);
    bool there = model_has(s, hash);
    simdrive_status status = below(b, 2) ? simdrive_delete(s->store, key, key_size, &tail)
                                         : simdrive_delete_hash(s->store, hash, &tail);
    CHECK_STATUS(there ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
    if (!there) return;
    test_image_delete(&s->image, hash);
    CHECK_U64(s->image.size, tail);
}

static void do_rename(bench *b, side *s) {
    char old_key[32], new_key[32];
    uint64_t old_number = below(b, KEYS), new_number = below(b, KEYS), tail = 0;
    size_t old_size = test_key(old_number, old_key), new_size = test_key(new_number, new_key);
    const test_record *record = test_image_find(&s->image, test_key_hash(old_number));
    simdrive_status status = simdrive_rename(s->store, old_key, old_size, new_key, new_size, &tail);
    if (old_number == new_number && !record) {
        CHECK(status == SIMDRIVE_ERROR_INVALID_ARGUMENT || status == SIMDRIVE_NOT_FOUND);
        return;
    }
    CHECK_STATUS(old_number == new_number ? SIMDRIVE_ERROR_INVALID_ARGUMENT
                 : record                 ? SIMDRIVE_OK
                                          : SIMDRIVE_NOT_FOUND,
                 status);
    if (status != SIMDRIVE_OK) return;
    size_t size = test_record_size(record);
    memcpy(b->payload, s->image.bytes + record->start, size);
    test_image_put(&s->image, test_key_hash(new_number), b->payload, size);
    test_image_delete(&s->image, test_key_hash(old_number));
    CHECK_U64(s->image.size, tail);
}

static void do_invalid(bench *b, side *s) {
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write(s->store, "k", 1, "", 0, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write(s->store, "k", 1, "", 1, NULL));
    simdrive_bytes keys[2] = {{"a", 1}, {"b", 1}};
    simdrive_bytes payloads[2] = {{"value", 5}, {"", below(b, 2)}};
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write_batch(s->store, keys, payloads, 2, NULL));
}

/* --- batches ---------------------------------------------------------------------------------------------------- */

static void do_write_batch(bench *b, side *s) {
    simdrive_bytes keys[BATCH_MAX], payloads[BATCH_MAX];
    uint64_t hashes[BATCH_MAX], tail = 0;
    char key_texts[BATCH_MAX][32];
    uint8_t *storage[BATCH_MAX];
    size_t count = (size_t)below(b, BATCH_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t number = below(b, KEYS);
        keys[i] = (simdrive_bytes){key_texts[i], test_key(number, key_texts[i])};
        hashes[i] = test_key_hash(number);
        size_t size = make_payload(b);
        storage[i] = test_alloc(size);
        memcpy(storage[i], b->payload, size);
        payloads[i] = (simdrive_bytes){storage[i], size};
        test_image_put(&s->image, hashes[i], b->payload, size);
    }
    if (below(b, 2))
        CHECK_OK(simdrive_write_batch(s->store, keys, payloads, count, &tail));
    else
        CHECK_OK(simdrive_write_batch_hash(s->store, hashes, payloads, count, &tail));
    CHECK_U64(s->image.size, tail);
    for (size_t i = 0; i < count; i++) free(storage[i]);
}

static void do_apply(bench *b, side *s) {
    simdrive_change changes[BATCH_MAX];
    uint8_t *storage[BATCH_MAX] = {0};
    size_t count = (size_t)below(b, BATCH_MAX + 1);
    uint64_t tail = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = test_key_hash(below(b, 1 + below(b, KEYS)));
        changes[i] = (simdrive_change){.operation = SIMDRIVE_DELETE, .key_hash = hash};
        if (below(b, 3) == 0) {
            if (model_has(s, hash)) test_image_delete(&s->image, hash);
            continue;
        }
        size_t size = make_payload(b);
        storage[i] = test_alloc(size);
        memcpy(storage[i], b->payload, size);
        changes[i].operation = SIMDRIVE_PUT;
        changes[i].payload = (simdrive_bytes){storage[i], size};
        test_image_put(&s->image, hash, b->payload, size);
    }
    simdrive_batch_mode mode = below(b, 2) ? SIMDRIVE_BATCH_PLAIN : SIMDRIVE_BATCH_ATOMIC;
    CHECK_OK(simdrive_apply(s->store, changes, count, mode, &tail));
    CHECK_U64(s->image.size, tail);
    for (size_t i = 0; i < count; i++) free(storage[i]);
}

static void do_delete_batch(bench *b, side *s) {
    simdrive_bytes keys[BATCH_MAX];
    uint64_t hashes[BATCH_MAX], tail = 0;
    char key_texts[BATCH_MAX][32];
    size_t count = (size_t)below(b, BATCH_MAX + 1), deleted = 999, expected = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = below(b, KEYS);
        keys[i] = (simdrive_bytes){key_texts[i], test_key(number, key_texts[i])};
        hashes[i] = test_key_hash(number);
        if (!model_has(s, hashes[i])) continue;
        test_image_delete(&s->image, hashes[i]);
        expected++;
    }
    if (below(b, 2))
        CHECK_OK(simdrive_delete_batch(s->store, keys, count, &deleted, &tail));
    else
        CHECK_OK(simdrive_delete_batch_hash(s->store, hashes, count, &deleted, &tail));
    CHECK_U64(expected, deleted);
    CHECK_U64(s->image.size, tail);
}

/* --- streams ---------------------------------------------------------------------------------------------------- */

static void do_pull_stream(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS), tail = 0;
    size_t key_size = test_key(number, key);
    size_t size = make_payload(b);
    test_source source = {.bytes = b->payload, .size = size, .piece = 1 + (size_t)below(b, 2 * size)};
    if (below(b, 3) == 0) {
        source.failure = below(b, 2) ? SIMDRIVE_ERROR_CANCELLED : SIMDRIVE_ERROR_IO;
        source.fail_at = (size_t)below(b, size + 1);
    }
    size_t buffer_size = below(b, 2) ? 0 : 1 + (size_t)below(b, 300);
    if (source.failure == SIMDRIVE_OK) test_image_put(&s->image, test_key_hash(number), b->payload, size);
    CHECK_STATUS(source.failure, simdrive_write_stream(s->store, key, key_size, test_source_read, &source,
                                                       buffer_size, &tail));
    CHECK_U64(source.failure == SIMDRIVE_OK ? s->image.size : 0, tail);
}

static void do_push_stream(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS), tail = 0;
    size_t key_size = test_key(number, key);
    size_t size = make_payload(b);
    bool commit = below(b, 3) > 0;
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin(s->store, key, key_size, (size_t)below(b, 2) * 100, &stream));
    for (size_t done = 0; done < size;) {
        size_t piece = (size_t)below(b, size - done + 1);
        CHECK_OK(simdrive_stream_append(stream, b->payload + done, piece));
        done += piece;
        if (below(b, 4) == 0) CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_write(s->store, "k", 1, "v", 1, NULL));
        if (!commit && below(b, 4) == 0) break;
    }
    if (!commit) {
        CHECK_OK(simdrive_stream_abort(stream));
        return;
    }
    CHECK(simdrive_exists_hash(s->store, test_key_hash(number)) == model_has(s, test_key_hash(number)));
    test_image_put(&s->image, test_key_hash(number), b->payload, size);
    CHECK_OK(simdrive_stream_commit(stream, &tail));
    CHECK_U64(s->image.size, tail);
}

/* --- between stores, and care ----------------------------------------------------------------------------------- */

static void do_copy(bench *b, side *s) {
    side *target = s == &b->sides[0] ? &b->sides[1] : &b->sides[0];
    char key[32];
    uint64_t number = below(b, KEYS), hash = test_key_hash(number), tail = 0;
    size_t key_size = test_key(number, key);
    bool move = below(b, 2);
    const test_record *record = test_image_find(&s->image, hash);
    simdrive_status status = move ? simdrive_transfer(s->store, key, key_size, target->store, &tail)
                                  : simdrive_copy(s->store, key, key_size, target->store, &tail);
    CHECK_STATUS(record ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
    if (!record) return;
    test_image_put(&target->image, hash, s->image.bytes + record->start, test_record_size(record));
    if (move) test_image_delete(&s->image, hash);
    CHECK_U64(target->image.size, tail);
    CHECK_U64(target->image.size, simdrive_tail(target->store));
}

static void do_compact(bench *b, side *s) {
    (void)b;
    uint64_t estimate = 1, saved = 2;
    size_t before = s->image.size;
    CHECK_OK(simdrive_estimate_compaction(s->store, &estimate));
    CHECK_OK(simdrive_compact(s->store, NULL, &saved));
    test_image_compact(&s->image);
    CHECK_U64(before - s->image.size, saved);
    CHECK_U64(saved, estimate);
}

static void do_sync(bench *b, side *s) {
    (void)b;
    uint64_t durable = 0;
    CHECK_OK(simdrive_sync(s->store, &durable));
    CHECK_U64(s->image.size, durable);
    CHECK_U64(s->image.size, test_info(s->store).durable_tail);
}

static void do_reopen(bench *b, side *s) {
    simdrive_info before = test_info(s->store);
    CHECK_OK(simdrive_close(s->store));
    s->options.verify_all = below(b, 2);
    s->options.check_on_read = below(b, 2);
    side_open(s);
    simdrive_info after = test_info(s->store);
    CHECK_U64(before.entries, after.entries);
    CHECK_U64(before.tombstones, after.tombstones);
    CHECK_U64(before.stale_entries, after.stale_entries);
    CHECK_U64(before.live_bytes, after.live_bytes);
    CHECK_U64(before.stale_bytes, after.stale_bytes);
    CHECK_U64(before.file_size, after.file_size);
    CHECK(after.damage == SIMDRIVE_DAMAGE_NONE);
}

static void do_backup(bench *b, side *s) {
    char path[TEST_PATH_MAX];
    test_path(&b->folder, "backup", path);
    simdrive_report report = {.struct_size = sizeof report};
    CHECK_OK(simdrive_backup(s->store, path, NULL, &report));
    CHECK_U64(s->image.size, report.bytes_written);
    CHECK(test_file_equals(path, s->image.bytes, s->image.size));
    CHECK_STATUS(SIMDRIVE_ERROR_EXISTS, simdrive_backup(s->store, path, NULL, NULL));
    CHECK(unlink(path) == 0);
}

/* The store as an entry of the other one, opened in place. */
static void do_nest(bench *b, side *s) {
    side *outer = s == &b->sides[0] ? &b->sides[1] : &b->sides[0];
    if (s->image.size == 0 || s->image.size > 200000) return;
    uint64_t tail = 0;
    CHECK_OK(simdrive_write(outer->store, "nested", 6, s->image.bytes, s->image.size, &tail));
    test_image_put(&outer->image, simdrive_hash_key("nested", 6), s->image.bytes, s->image.size);
    CHECK_U64(outer->image.size, tail);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read(outer->store, "nested", 6, &entry));
    simdrive_store *inner = NULL;
    CHECK_OK(simdrive_open_nested(&entry, &inner));
    simdrive_entry_release(&entry);
    test_check_shows(inner, &s->image);
    simdrive_close(inner);
    test_image_delete(&outer->image, simdrive_hash_key("nested", 6));
    CHECK_OK(simdrive_delete(outer->store, "nested", 6, NULL));
}

/* --- iterators held across changes ------------------------------------------------------------------------------ */

static void held_close(held_iterator *held) {
    if (!held->iterator) return;
    simdrive_iterator_close(held->iterator);
    test_view_free(&held->view);
    test_image_free(&held->image);
    *held = (held_iterator){0};
}

static void held_step(held_iterator *held, bool lent) {
    simdrive_entry entry = {0};
    const simdrive_entry *peeked = NULL;
    simdrive_status status = lent ? simdrive_iterator_peek_next(held->iterator, &peeked)
                                  : simdrive_iterator_next(held->iterator, &entry);
    if (held->next == held->view.live_count) {
        CHECK_STATUS(SIMDRIVE_END, status);
        held_close(held);
        return;
    }
    CHECK_OK(status);
    const test_record *record = held->view.live[held->next++];
    const simdrive_entry *got = lent ? peeked : &entry;
    CHECK_U64(record->key_hash, simdrive_entry_key_hash(got));
    CHECK_U64(test_record_size(record), got->size);
    CHECK(memcmp(got->data, held->image.bytes + record->start, got->size) == 0);
    simdrive_entry_release(&entry);
}

static void do_iterate(bench *b, side *s) {
    held_iterator *held = &s->held[below(b, HELD)];
    if (!held->iterator) {
        test_image_clone(&s->image, &held->image);
        test_view_build(&held->view, &held->image, held->image.count);
        CHECK_OK(simdrive_iterate(s->store, &held->iterator));
        return;
    }
    for (size_t steps = 1 + (size_t)below(b, 12); steps > 0 && held->iterator; steps--) held_step(held, below(b, 2));
}

/* --- comparing -------------------------------------------------------------------------------------------------- */

typedef struct visit_state {
    const test_image *image;
    size_t visited;
    uint64_t hash_sum;
} visit_state;

static simdrive_status visit_one(void *user, unsigned thread, const simdrive_entry *entry) {
    visit_state *state = user;
    (void)thread;
    const test_record *record = test_image_find(state->image, simdrive_entry_key_hash(entry));
    if (!record || test_record_size(record) != entry->size) return SIMDRIVE_ERROR_CORRUPT;
    if (memcmp(state->image->bytes + record->start, entry->data, entry->size) != 0) return SIMDRIVE_ERROR_CORRUPT;
    __atomic_add_fetch(&state->visited, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&state->hash_sum, record->key_hash, __ATOMIC_RELAXED);
    return SIMDRIVE_OK;
}

static void check_visit(side *s, const test_view *view, unsigned threads) {
    visit_state state = {.image = &s->image};
    CHECK_OK(simdrive_visit(s->store, threads, visit_one, &state));
    uint64_t sum = 0;
    for (size_t i = 0; i < view->live_count; i++) sum += view->live[i]->key_hash;
    CHECK_U64(view->live_count, state.visited);
    CHECK_U64(sum, state.hash_sum);
}

static void check_read_batch(bench *b, side *s) {
    simdrive_bytes keys[KEYS + 1];
    char key_texts[KEYS + 1][32];
    simdrive_entry entries[KEYS + 1];
    memset(entries, 0, sizeof entries);
    size_t count = (size_t)below(b, KEYS + 1), found = 999, expected = 0;
    uint64_t numbers[KEYS + 1];
    for (size_t i = 0; i < count; i++) {
        numbers[i] = below(b, KEYS + 10);
        keys[i] = (simdrive_bytes){key_texts[i], test_key(numbers[i], key_texts[i])};
    }
    CHECK_OK(simdrive_read_batch(s->store, keys, count, entries, &found));
    for (size_t i = 0; i < count; i++) {
        const test_record *record = test_image_find(&s->image, test_key_hash(numbers[i]));
        CHECK((record != NULL) == (entries[i].data != NULL));
        if (!record) continue;
        expected++;
        CHECK_U64(test_record_size(record), entries[i].size);
        CHECK(memcmp(s->image.bytes + record->start, entries[i].data, entries[i].size) == 0);
    }
    CHECK_U64(expected, found);
    simdrive_entries_release(entries, count);
}

static void check_one_key(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS + 5);
    size_t key_size = test_key(number, key);
    const test_record *record = test_image_find(&s->image, test_key_hash(number));
    simdrive_metadata metadata;
    simdrive_status expected = record ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND;
    CHECK(simdrive_exists(s->store, key, key_size) == (record != NULL));
    CHECK_STATUS(expected, simdrive_read_metadata(s->store, key, key_size, &metadata));
    uint8_t buffer[200];
    uint64_t payload_size = 0;
    size_t copied = 0, offset = (size_t)below(b, 300), capacity = (size_t)below(b, sizeof buffer + 1);
    CHECK_STATUS(expected, simdrive_read_copy(s->store, key, key_size, offset, buffer, capacity, &payload_size,
                                              &copied));
    if (!record) return;
    size_t size = test_record_size(record);
    CHECK_U64(record->key_hash, metadata.key_hash);
    CHECK_U64(record->prev, metadata.prev_offset);
    CHECK_U64(record->start, metadata.start);
    CHECK_U64(record->end, metadata.end);
    CHECK_U64(size, metadata.size);
    CHECK_U64(size + TEST_METADATA_SIZE, metadata.total_size);
    CHECK_U64(record->checksum, metadata.checksum);
    CHECK_U64(size, payload_size);
    size_t left = offset < size ? size - offset : 0;
    CHECK_U64(left < capacity ? left : capacity, copied);
    CHECK(memcmp(buffer, s->image.bytes + record->start + (copied ? offset : 0), copied) == 0);
}

static void check_streamed_read(bench *b, side *s) {
    char key[32];
    uint64_t number = below(b, KEYS);
    size_t key_size = test_key(number, key);
    const test_record *record = test_image_find(&s->image, test_key_hash(number));
    simdrive_reader *reader = NULL;
    CHECK_STATUS(record ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_reader_open(s->store, key, key_size, &reader));
    if (!record) return;
    CHECK_U64(test_record_size(record), simdrive_reader_size(reader));
    uint8_t buffer[333];
    size_t done = 0, copied = 0;
    simdrive_status status;
    while ((status = simdrive_reader_next(reader, buffer, 1 + (size_t)below(b, sizeof buffer), &copied)) ==
           SIMDRIVE_OK) {
        CHECK(copied > 0 && done + copied <= test_record_size(record));
        CHECK(memcmp(buffer, s->image.bytes + record->start + done, copied) == 0);
        done += copied;
    }
    CHECK_STATUS(SIMDRIVE_END, status);
    CHECK_U64(test_record_size(record), done);
    simdrive_reader_close(reader);
}

static void check_session(side *s, const test_view *view) {
    simdrive_session *session = NULL;
    CHECK_OK(simdrive_session_begin(s->store, &session));
    uint64_t *hashes = test_alloc((view->live_count + view->gone_count) * sizeof *hashes);
    simdrive_bytes *payloads = test_alloc((view->live_count + view->gone_count) * sizeof *payloads);
    size_t count = 0, found = 0;
    for (size_t i = 0; i < view->live_count; i++) hashes[count++] = view->live[i]->key_hash;
    for (size_t i = 0; i < view->gone_count; i++) hashes[count++] = view->gone[i];
    CHECK_OK(simdrive_session_read_batch_hash(session, hashes, count, payloads, &found));
    CHECK_U64(view->live_count, found);
    for (size_t i = 0; i < count; i++) {
        simdrive_bytes one = {0};
        simdrive_status status = simdrive_session_read_hash(session, hashes[i], &one);
        CHECK_STATUS(i < view->live_count ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
        CHECK(one.data == payloads[i].data && (!one.data || one.size == payloads[i].size));
        if (status != SIMDRIVE_OK) continue;
        CHECK_U64(test_record_size(view->live[i]), one.size);
        CHECK(memcmp(one.data, s->image.bytes + view->live[i]->start, one.size) == 0);
    }
    simdrive_session_end(session);
    free(hashes);
    free(payloads);
}

static void check_last(side *s, const test_view *view) {
    simdrive_entry entry = {0};
    CHECK_STATUS(view->live_count ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_read_last(s->store, &entry));
    if (view->live_count) CHECK_U64(view->live[0]->key_hash, simdrive_entry_key_hash(&entry));
    simdrive_entry_release(&entry);
}

static void check_everything(bench *b, side *s) {
    test_view view;
    test_view_build(&view, &s->image, s->image.count);
    test_check_figures(s->store, &view);
    test_check_reads(s->store, &view);
    test_check_iteration(s->store, &view);
    check_visit(s, &view, (unsigned)below(b, 4));
    check_read_batch(b, s);
    check_session(s, &view);
    check_last(s, &view);
    test_view_free(&view);
    CHECK(test_file_equals(s->path, s->image.bytes, s->image.size));
}

/* --- sequences -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(bench *b, side *s);
    unsigned weight;
} OPERATIONS[] = {
    {"write", do_write, 30},          {"delete", do_delete, 8},           {"rename", do_rename, 4},
    {"invalid payload", do_invalid, 2}, {"write batch", do_write_batch, 6}, {"apply", do_apply, 8},
    {"delete batch", do_delete_batch, 3}, {"pull stream", do_pull_stream, 5}, {"push stream", do_push_stream, 5},
    {"copy", do_copy, 6},             {"compact", do_compact, 1},         {"sync", do_sync, 2},
    {"reopen", do_reopen, 2},         {"backup", do_backup, 1},           {"nest", do_nest, 1},
    {"iterate", do_iterate, 20},
};
enum { OPERATION_COUNT = sizeof OPERATIONS / sizeof OPERATIONS[0] };

static void run_step(bench *b, uint64_t sequence) {
    unsigned total = 0, choice, i = 0;
    for (unsigned k = 0; k < OPERATION_COUNT; k++) total += OPERATIONS[k].weight;
    for (choice = (unsigned)below(b, total); choice >= OPERATIONS[i].weight; i++) choice -= OPERATIONS[i].weight;
    side *s = &b->sides[below(b, 2)];
    test_context("sequence %llu, step %zu: %s", (unsigned long long)sequence, b->step, OPERATIONS[i].name);
    OPERATIONS[i].run(b, s);
    CHECK_U64(s->image.size, simdrive_tail(s->store));
    check_one_key(b, s);
    if (b->step % 16 == 0) check_streamed_read(b, s);
    if (b->step % 64 == 0) check_everything(b, s);
}

static void run_sequence(uint64_t sequence, size_t steps) {
    static const simdrive_checksum_kind kinds[2] = {SIMDRIVE_CHECKSUM_CRC32C, SIMDRIVE_CHECKSUM_CRC32};
    bench b = {.folder = test_folder_create(), .random = test_random_begin(400 + sequence),
               .payload = test_alloc(MOST_PAYLOAD + 1)};
    for (int i = 0; i < 2; i++) {
        side *s = &b.sides[i];
        test_path(&b.folder, i ? "second" : "first", s->path);
        s->options = (simdrive_open_options){.struct_size = sizeof s->options, .checksum = kinds[i]};
        if (sequence % 3 == 1) s->options.sync = SIMDRIVE_SYNC_COMMIT;
        if (sequence % 3 == 2) s->options.map_reserve_bytes = 65536;
        s->image.checksum = kinds[i];
        side_open(s);
    }
    for (b.step = 1; b.step <= steps; b.step++) run_step(&b, sequence);
    for (int i = 0; i < 2; i++) {
        side *s = &b.sides[i];
        check_everything(&b, s);
        CHECK_OK(simdrive_close(s->store));
        for (int h = 0; h < HELD; h++) {
            while (s->held[h].iterator) held_step(&s->held[h], h % 2); /* iterators outlive the handle */
        }
        test_check_file(s->path, &s->image);
        test_image_free(&s->image);
    }
    CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
    free(b.payload);
    test_folder_remove(&b.folder);
}

static void random_sequences_behave_as_the_model(void **state) {
    (void)state;
    for (uint64_t sequence = 0; sequence < (test_exhaustive() ? 600 : 12); sequence++) run_sequence(sequence, 800);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_sequences_behave_as_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
