/* SPDX-License-Identifier: Apache-2.0
 *
 * scenarios.c — see scenarios.h. Keys 0 to 7 are live but for 5, which was deleted; 1 and 3 have older versions, that
 * of 3 so long that it can be reclaimed. Key 6 holds a store.
 */
#include "scenarios.h"

#include <stdlib.h>
#include <string.h>

enum { BIG = 40000, MANY = 70000, STALE_LIMIT = 5 * 4096 + 3000 }; /* the last: the scene has a little less */

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static const uint8_t *bytes(void) {
    static uint8_t all[BIG];
    if (all[0] == 0)
        for (size_t i = 0; i < BIG; i++) all[i] = (uint8_t)(i * 7 + i / 256 + 1);
    return all;
}

static uint8_t sunk[2 * BIG]; /* where bytes go that nobody looks at */

/* --- reading ------------------------------------------------------------------------------------------------------ */

static simdrive_status run_tell(test_scene *s) {
    unsigned char key[16];
    uint64_t hash;
    simdrive_bytes one = {"k", 1};
    simdrive_hash_keys(&one, 1, &hash);
    simdrive_namespaced_key("a", 1, "b", 1, key);
    bool good = simdrive_hash_key("k", 1) == hash && simdrive_status_name(0) && simdrive_status_text(0) &&
                simdrive_version() && simdrive_alignment() && simdrive_kernels() && simdrive_path(s->store)[0] &&
                !simdrive_is_empty(s->store) && simdrive_count(s->store) == 7 &&
                simdrive_tail(s->store) == s->before.size;
    simdrive_compact_cancel(s->store);
    (void)simdrive_last_os_error();
    return good ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}

static simdrive_status run_reads(test_scene *s) {
    uint64_t hashes[] = {test_key_hash(1), test_key_hash(5), test_key_hash(2)};
    simdrive_bytes keys[] = {{"key-1", 5}, {"key-2", 5}};
    simdrive_metadata metadata;
    simdrive_status status = simdrive_read(s->store, "key-1", 5, &s->entry);
    simdrive_entry_release(&s->entry);
    if (status == SIMDRIVE_OK) status = simdrive_read_hash(s->store, test_key_hash(1), &s->entry);
    simdrive_entry_release(&s->entry);
    if (status == SIMDRIVE_OK) status = simdrive_read_metadata(s->store, "key-1", 5, &metadata);
    if (status == SIMDRIVE_OK) status = simdrive_read_batch(s->store, keys, 2, s->entries, NULL);
    simdrive_entries_release(s->entries, 2);
    if (status == SIMDRIVE_OK) status = simdrive_read_batch_hash(s->store, hashes, 3, s->entries, NULL);
    simdrive_entries_release(s->entries, 3);
    bool there = simdrive_exists(s->store, "key-1", 5) && !simdrive_exists_hash(s->store, test_key_hash(5));
    return status != SIMDRIVE_OK || there ? status : SIMDRIVE_ERROR_CORRUPT;
}

static simdrive_status run_read_last(test_scene *s) {
    return simdrive_read_last(s->store, &s->entry);
}

static simdrive_status run_read_copy(test_scene *s) {
    return simdrive_read_copy(s->store, "key-3", 5, 10, sunk, sizeof sunk, NULL, NULL);
}

static void prepare_entry(test_scene *s) {
    CHECK_OK(simdrive_read(s->store, "key-2", 5, &s->entry));
}

static simdrive_status run_entry(test_scene *s) {
    simdrive_metadata metadata;
    uint64_t from, to;
    uintptr_t first, last;
    const void *elements;
    size_t count;
    simdrive_entry_clone(&s->entry, &s->entries[0]);
    simdrive_entry_metadata(&s->entry, &metadata);
    simdrive_entry_offset_range(&s->entry, &from, &to);
    simdrive_entry_address_range(&s->entry, &first, &last);
    bool good = simdrive_entry_key_hash(&s->entry) == metadata.key_hash &&
                simdrive_entry_checksum(&s->entry) == metadata.checksum && to - from == last - first &&
                simdrive_entry_total_size(&s->entry) == metadata.total_size && simdrive_entry_is_valid(&s->entry) &&
                simdrive_entry_copy_elements(&s->entry, 1, sunk, 9) == 9;
    simdrive_entry_release(&s->entries[0]);
    simdrive_status status = simdrive_entry_elements(&s->entry, 1, &elements, &count);
    return good ? status : SIMDRIVE_ERROR_CORRUPT;
}

static simdrive_status run_session_begin(test_scene *s) {
    return simdrive_session_begin(s->store, &s->session);
}

static void prepare_session(test_scene *s) {
    CHECK_OK(run_session_begin(s));
}

static simdrive_status run_session(test_scene *s) {
    simdrive_bytes payloads[2];
    uint64_t hashes[] = {test_key_hash(1), test_key_hash(2)};
    simdrive_status status = simdrive_session_read(s->session, "key-1", 5, payloads);
    if (status == SIMDRIVE_OK) status = simdrive_session_read_hash(s->session, hashes[1], payloads);
    if (status == SIMDRIVE_OK) status = simdrive_session_read_batch_hash(s->session, hashes, 2, payloads, NULL);
    simdrive_session_end(s->session);
    s->session = NULL;
    return status;
}

/* A session that sees another file than it began with holds the older one too. */
static void prepare_moved_session(test_scene *s) {
    prepare_session(s);
    CHECK_OK(simdrive_compact(s->store, NULL, NULL));
    test_image_compact(&s->before);
}
static simdrive_status run_moved_session(test_scene *s) {
    simdrive_bytes payload;
    return simdrive_session_read(s->session, "key-1", 5, &payload);
}

static simdrive_status run_reader_open(test_scene *s) {
    return simdrive_reader_open(s->store, "key-3", 5, &s->reader);
}
static simdrive_status run_reader_open_entry(test_scene *s) {
    return simdrive_reader_open_entry(&s->entry, &s->reader);
}
static void prepare_reader(test_scene *s) {
    CHECK_OK(run_reader_open(s));
}
static simdrive_status run_reader(test_scene *s) {
    size_t copied;
    simdrive_status status = SIMDRIVE_OK;
    while (status == SIMDRIVE_OK) status = simdrive_reader_next(s->reader, sunk, 100, &copied);
    if (status == SIMDRIVE_END && simdrive_reader_size(s->reader) == 0) status = SIMDRIVE_ERROR_CORRUPT;
    simdrive_reader_close(s->reader);
    s->reader = NULL;
    return status;
}

static simdrive_status run_iterate(test_scene *s) {
    const simdrive_entry *lent;
    simdrive_status status = simdrive_iterate(s->store, &s->iterator);
    if (status == SIMDRIVE_OK) status = simdrive_iterator_peek_next(s->iterator, &lent);
    while (status == SIMDRIVE_OK) {
        simdrive_entry_release(&s->entry);
        status = simdrive_iterator_next(s->iterator, &s->entry);
    }
    simdrive_iterator_close(s->iterator);
    s->iterator = NULL;
    return status;
}

/* Keys that change during the walk are remembered. */
static void prepare_iterator(test_scene *s) {
    CHECK_OK(simdrive_iterate(s->store, &s->iterator));
}
static simdrive_status run_write_while_iterating(test_scene *s) {
    return simdrive_write(s->store, "key-2", 5, "changed", 7, NULL);
}
static void change_write_while_iterating(test_image *image) {
    test_image_put(image, test_key_hash(2), "changed", 7);
}

static simdrive_status visit_one(void *user, unsigned thread, const simdrive_entry *entry) {
    (void)user;
    (void)thread;
    return entry->size > 0 ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}
static simdrive_status run_visit(test_scene *s) {
    return simdrive_visit(s->store, 3, visit_one, NULL);
}

static simdrive_status run_figures(test_scene *s) {
    static char text[1 << 16];
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    simdrive_position position;
    simdrive_status status = simdrive_get_info(s->store, &info);
    if (status == SIMDRIVE_OK) status = simdrive_get_statistics(s->store, &statistics);
    if (status == SIMDRIVE_OK) status = simdrive_get_position(s->store, &position);
    if (status == SIMDRIVE_OK) status = simdrive_format_metrics(&statistics, "x", text, sizeof text, NULL);
    return status;
}

static simdrive_status run_history_begin(test_scene *s) {
    simdrive_status status = simdrive_history_begin_hash(s->store, test_key_hash(3), &s->history);
    simdrive_history_end(s->history);
    s->history = NULL;
    return status == SIMDRIVE_OK ? simdrive_history_begin(s->store, "key-3", 5, &s->history) : status;
}
static simdrive_status run_history(test_scene *s) {
    simdrive_revision revision;
    simdrive_status status = run_history_begin(s);
    while (status == SIMDRIVE_OK) status = simdrive_history_next(s->history, &revision);
    simdrive_history_end(s->history);
    s->history = NULL;
    return status;
}

static simdrive_status run_changes(test_scene *s) {
    simdrive_event event;
    simdrive_status status = simdrive_changes_begin(s->store, NULL, &s->changes);
    while (status == SIMDRIVE_OK) status = simdrive_changes_next(s->changes, 0, &event);
    if (status == SIMDRIVE_END) status = simdrive_changes_next(s->changes, 1, &event);
    simdrive_changes_end(s->changes);
    s->changes = NULL;
    return status;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static simdrive_status run_open(test_scene *s) {
    return simdrive_open(s->path, &s->options, &s->store);
}

static simdrive_status run_open_and_write(test_scene *s) {
    simdrive_status status = run_open(s);
    return status == SIMDRIVE_OK ? simdrive_write(s->store, "first", 5, "a first value", 13, NULL) : status;
}
static void change_first(test_image *image) {
    test_image_put(image, simdrive_hash_key("first", 5), "a first value", 13);
}

static simdrive_status run_close(test_scene *s) {
    simdrive_status status = simdrive_write(s->store, "first", 5, "a first value", 13, NULL);
    if (status != SIMDRIVE_OK) return status;
    status = simdrive_close(s->store);
    s->store = NULL;
    return status;
}

/* An index is saved when the store closes. */
static void prepare_saved_index(test_scene *s) {
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(s->path, &s->options, &store));
    CHECK_OK(simdrive_write(store, "first", 5, "a first value", 13, NULL));
    CHECK_OK(simdrive_close(store));
    change_first(&s->before);
}

static simdrive_status run_open_nested(test_scene *s) {
    return simdrive_open_nested(&s->entry, &s->made);
}
static void prepare_nested(test_scene *s) {
    CHECK_OK(simdrive_read(s->store, "key-6", 5, &s->entry));
}

static simdrive_status run_open_memory(test_scene *s) {
    return simdrive_open_memory(s->memory, s->before.size, &s->made);
}
static void prepare_memory(test_scene *s) {
    size_t room = (s->before.size / TEST_ALIGNMENT + 1) * TEST_ALIGNMENT;
    s->memory = aligned_alloc(TEST_ALIGNMENT < 64 ? 64 : TEST_ALIGNMENT, (room + 63) / 64 * 64);
    CHECK(s->memory);
    memcpy(s->memory, s->before.bytes, s->before.size);
}

/* Another handle has written, and then compacted. */
static void prepare_refresh(test_scene *s) {
    simdrive_store *writer = test_open(s->path);
    CHECK_OK(simdrive_write(writer, "first", 5, "a first value", 13, NULL));
    CHECK_OK(simdrive_close(writer));
    change_first(&s->before);
}
static void prepare_refresh_moved(test_scene *s) {
    simdrive_store *writer = test_open(s->path);
    CHECK_OK(simdrive_compact(writer, NULL, NULL));
    CHECK_OK(simdrive_close(writer));
    test_image_compact(&s->before);
}
static simdrive_status run_refresh(test_scene *s) {
    return simdrive_refresh(s->store, NULL);
}

static simdrive_status run_wait(test_scene *s) {
    return simdrive_wait(s->store, simdrive_tail(s->store), 1);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static simdrive_status run_write(test_scene *s) {
    return simdrive_write(s->store, "new", 3, "new value", 9, NULL);
}
static void change_write(test_image *image) {
    test_image_put(image, simdrive_hash_key("new", 3), "new value", 9);
}

static simdrive_status run_write_big(test_scene *s) {
    return simdrive_write_hash(s->store, 2, bytes(), BIG, NULL);
}
static void change_write_big(test_image *image) {
    test_image_put(image, 2, bytes(), BIG);
}

static simdrive_status run_batch(test_scene *s) {
    simdrive_bytes keys[] = {{"a", 1}, {"key-1", 5}}, payloads[] = {{bytes(), 100}, {bytes() + 5, 5000}};
    return simdrive_write_batch(s->store, keys, payloads, 2, NULL);
}
static void change_batch(test_image *image) {
    test_image_put(image, simdrive_hash_key("a", 1), bytes(), 100);
    test_image_put(image, test_key_hash(1), bytes() + 5, 5000);
}

static simdrive_status run_batch_hash(test_scene *s) {
    uint64_t hashes[] = {21, 22, 23};
    simdrive_bytes payloads[] = {{bytes(), 100}, {bytes() + 5, 30000}, {"x", 1}};
    return simdrive_write_batch_hash(s->store, hashes, payloads, 3, NULL);
}
static void change_batch_hash(test_image *image) {
    test_image_put(image, 21, bytes(), 100);
    test_image_put(image, 22, bytes() + 5, 30000);
    test_image_put(image, 23, "x", 1);
}

static simdrive_status apply(test_scene *s, simdrive_batch_mode mode) {
    const simdrive_change changes[] = {{SIMDRIVE_PUT, 7, {"seven", 5}},
                                       {SIMDRIVE_DELETE, test_key_hash(2), {NULL, 0}},
                                       {SIMDRIVE_PUT, test_key_hash(4), {bytes(), 3000}}};
    return simdrive_apply(s->store, changes, LENGTH(changes), mode, NULL);
}
static simdrive_status run_apply(test_scene *s) {
    return apply(s, SIMDRIVE_BATCH_ATOMIC);
}
static simdrive_status run_apply_plain(test_scene *s) {
    return apply(s, SIMDRIVE_BATCH_PLAIN);
}
static void change_apply(test_image *image) {
    test_image_put(image, 7, "seven", 5);
    test_image_delete(image, test_key_hash(2));
    test_image_put(image, test_key_hash(4), bytes(), 3000);
}

static simdrive_status run_delete(test_scene *s) {
    return simdrive_delete(s->store, "key-2", 5, NULL);
}
static simdrive_status run_delete_hash(test_scene *s) {
    return simdrive_delete_hash(s->store, test_key_hash(2), NULL);
}
static void change_delete(test_image *image) {
    test_image_delete(image, test_key_hash(2));
}

static simdrive_status run_delete_batch(test_scene *s) {
    simdrive_bytes keys[] = {{"key-1", 5}, {"none", 4}, {"key-2", 5}};
    return simdrive_delete_batch(s->store, keys, LENGTH(keys), NULL, NULL);
}
static simdrive_status run_delete_batch_hash(test_scene *s) {
    uint64_t hashes[] = {test_key_hash(1), 12345, test_key_hash(2)};
    return simdrive_delete_batch_hash(s->store, hashes, LENGTH(hashes), NULL, NULL);
}
static void change_delete_batch(test_image *image) {
    test_image_delete(image, test_key_hash(1));
    test_image_delete(image, test_key_hash(2));
}

static simdrive_status run_rename(test_scene *s) {
    return simdrive_rename(s->store, "key-2", 5, "renamed", 7, NULL);
}
static void copy_payload(const test_image *from, uint64_t from_hash, test_image *to, uint64_t to_hash) {
    const test_record *record = test_image_find(from, from_hash);
    size_t size = test_record_size(record);
    uint8_t *payload = test_alloc(size);
    memcpy(payload, from->bytes + record->start, size);
    test_image_put(to, to_hash, payload, size);
    free(payload);
}
static void change_rename(test_image *image) {
    copy_payload(image, test_key_hash(2), image, simdrive_hash_key("renamed", 7));
    test_image_delete(image, test_key_hash(2));
}

static simdrive_status run_pull(test_scene *s) {
    test_source source = {.bytes = bytes(), .size = 20000, .piece = 999};
    return simdrive_write_stream(s->store, "pulled", 6, test_source_read, &source, 5000, NULL);
}
static void change_pull(test_image *image) {
    test_image_put(image, simdrive_hash_key("pulled", 6), bytes(), 20000);
}
static simdrive_status run_pull_hash(test_scene *s) {
    test_source source = {.bytes = bytes(), .size = 70, .piece = 9};
    return simdrive_write_stream_hash(s->store, 8, test_source_read, &source, 0, NULL);
}
static void change_pull_hash(test_image *image) {
    test_image_put(image, 8, bytes(), 70);
}

static simdrive_status push(test_scene *s) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t done = 0; status == SIMDRIVE_OK && done < 15000; done += 3000)
        status = simdrive_stream_append(s->stream, bytes() + done, 3000);
    if (status == SIMDRIVE_OK) status = simdrive_stream_commit(s->stream, NULL);
    else simdrive_stream_abort(s->stream);
    s->stream = NULL;
    return status;
}
static simdrive_status run_push(test_scene *s) {
    simdrive_status status = simdrive_stream_begin(s->store, "pushed", 6, 4096, &s->stream);
    return status == SIMDRIVE_OK ? push(s) : status;
}
static void change_push(test_image *image) {
    test_image_put(image, simdrive_hash_key("pushed", 6), bytes(), 15000);
}
static simdrive_status run_abort(test_scene *s) {
    simdrive_status status = simdrive_stream_begin_hash(s->store, 9, 4096, &s->stream);
    if (status == SIMDRIVE_OK) status = simdrive_stream_append(s->stream, bytes(), 9000);
    simdrive_status aborted = simdrive_stream_abort(s->stream);
    s->stream = NULL;
    return status == SIMDRIVE_OK ? aborted : status;
}

/* Each is small enough for the map of the end; many enough that the window moves. */
static simdrive_status run_write_mapped(test_scene *s) {
    return simdrive_write_hash(s->store, 1000, "mapped", 6, NULL);
}
static void change_write_mapped(test_image *image) {
    test_image_put(image, 1000, "mapped", 6);
}

/* So many new keys that the index grows. */
static simdrive_status run_grow(test_scene *s) {
    enum { NEW = 3000 };
    static uint64_t hashes[NEW];
    static simdrive_bytes payloads[NEW];
    for (size_t i = 0; i < NEW; i++) {
        hashes[i] = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
        payloads[i] = (simdrive_bytes){bytes() + i, 1 + (i == 0)};
        if (bytes()[i] == 0) payloads[i].size = 2;
    }
    return simdrive_write_batch_hash(s->store, hashes, payloads, NEW, NULL);
}
static void change_grow(test_image *image) {
    for (size_t i = 0; i < 3000; i++)
        test_image_put(image, (i + 1) * UINT64_C(0x9E3779B97F4A7C15), bytes() + i,
                       bytes()[i] == 0 ? 2 : 1 + (size_t)(i == 0));
}

/* --- between stores, and care ------------------------------------------------------------------------------------- */

static simdrive_status run_copy(test_scene *s) {
    return simdrive_copy(s->store, "key-3", 5, s->other, NULL);
}
static void change_other_copy(test_image *image, const test_image *from) {
    copy_payload(from, test_key_hash(3), image, test_key_hash(3));
}
static simdrive_status run_transfer(test_scene *s) {
    return simdrive_transfer(s->store, "key-2", 5, s->other, NULL);
}
static void change_other_transfer(test_image *image, const test_image *from) {
    copy_payload(from, test_key_hash(2), image, test_key_hash(2));
}

static simdrive_status run_sync(test_scene *s) {
    uint64_t durable;
    return simdrive_sync(s->store, &durable);
}
static simdrive_status run_write_and_sync(test_scene *s) {
    simdrive_status status = run_write(s);
    return status == SIMDRIVE_OK ? run_sync(s) : status;
}

static simdrive_status run_estimate(test_scene *s) {
    uint64_t saved;
    return simdrive_estimate_compaction(s->store, &saved);
}
static simdrive_status run_compact(test_scene *s) {
    return simdrive_compact(s->store, NULL, NULL);
}
static simdrive_status run_compact_thread(test_scene *s) {
    simdrive_status status = simdrive_compact_begin(s->store, NULL);
    return status == SIMDRIVE_OK ? simdrive_compact_wait(s->store, UINT32_MAX, NULL) : status;
}
/* Begun by the library itself, since what the write replaces is too much: nobody hears whether it could. */
static simdrive_status run_compact_itself(test_scene *s) {
    simdrive_status status = simdrive_write(s->store, "key-7", 5, "new value", 9, NULL);
    simdrive_status compacted = simdrive_compact_wait(s->store, UINT32_MAX, NULL);
    return compacted == SIMDRIVE_END ? SIMDRIVE_ERROR_BUSY : status;
}
static void change_compact_itself(test_image *image) {
    test_image_put(image, test_key_hash(7), "new value", 9);
    test_image_compact(image);
}

static simdrive_status run_reclaim(test_scene *s) {
    uint64_t reclaimed;
    return simdrive_reclaim(s->store, NULL, &reclaimed);
}
static void change_reclaim(test_image *image) {
    for (size_t i = 0; i < image->count; i++)
        if (test_can_be_reclaimed(&image->records[i]) &&
            test_image_find(image, image->records[i].key_hash) != &image->records[i])
            test_reclaim_record(image->bytes, &image->records[i]);
}

static simdrive_status run_verify(test_scene *s) {
    simdrive_report report = {.struct_size = sizeof report};
    return simdrive_verify(s->store, NULL, NULL, NULL, &report);
}
static simdrive_status run_salvage(test_scene *s) {
    return simdrive_salvage(s->path, s->out_path, NULL, NULL, NULL, NULL);
}
static simdrive_status run_backup(test_scene *s) {
    return simdrive_backup(s->store, s->out_path, NULL, NULL);
}
static void prepare_backup(test_scene *s) {
    CHECK_OK(run_backup(s));
    CHECK_OK(run_write_big(s));
    change_write_big(&s->before);
}
static simdrive_status run_backup_update(test_scene *s) {
    return simdrive_backup_update(s->store, s->out_path, NULL, NULL);
}
static simdrive_status take(void *user, const void *data, size_t size) {
    (void)user;
    return data && size ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}
static simdrive_status run_backup_stream(test_scene *s) {
    simdrive_position end;
    return simdrive_backup_stream(s->store, NULL, take, NULL, NULL, &end, NULL);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define OPTIONS .struct_size = sizeof(simdrive_open_options)

const test_scenario TEST_SCENARIOS[] = {
    {.name = "tell", .run = run_tell, .traits = TRAIT_SILENT,
     .functions = "status_name status_text last_os_error version alignment kernels hash_key hash_keys namespaced_key "
                  "count is_empty tail path compact_cancel"},
    {.name = "read", .run = run_reads, .traits = TRAIT_SILENT,
     .functions = "read read_hash read_batch read_batch_hash read_metadata exists exists_hash entry_release "
                  "entries_release"},
    {.name = "entry", .prepare = prepare_entry, .run = run_entry, .traits = TRAIT_SILENT,
     .functions = "entry_clone entry_metadata entry_key_hash entry_checksum entry_total_size entry_offset_range "
                  "entry_address_range entry_is_valid entry_elements entry_copy_elements"},
    {.name = "session", .prepare = prepare_session, .run = run_session, .traits = TRAIT_SILENT,
     .functions = "session_read session_read_hash session_read_batch_hash session_end"},
    {.name = "begin a session", .functions = "session_begin", .run = run_session_begin},
    {.name = "session after a compaction", .functions = "session_read", .prepare = prepare_moved_session,
     .run = run_moved_session},
    {.name = "read the newest", .functions = "read_last", .run = run_read_last},
    {.name = "copy out", .functions = "read_copy", .run = run_read_copy},
    {.name = "copy out, checked", .functions = "read_copy", .run = run_read_copy,
     .options = {OPTIONS, .check_on_read = true}},
    {.name = "open a reader", .functions = "reader_open", .run = run_reader_open},
    {.name = "open a reader of an entry", .functions = "reader_open_entry", .prepare = prepare_entry,
     .run = run_reader_open_entry},
    {.name = "read on", .functions = "reader_next reader_size reader_close", .prepare = prepare_reader,
     .run = run_reader, .success = SIMDRIVE_END},
    {.name = "iterate", .functions = "iterate iterator_next iterator_peek_next iterator_close", .run = run_iterate,
     .success = SIMDRIVE_END},
    {.name = "write while iterating", .functions = "write", .prepare = prepare_iterator,
     .run = run_write_while_iterating, .change = change_write_while_iterating},
    {.name = "visit", .functions = "visit", .run = run_visit},
    {.name = "figures", .functions = "get_info get_statistics get_position format_metrics", .run = run_figures},
    {.name = "history", .functions = "history_begin history_begin_hash history_next history_end", .run = run_history,
     .success = SIMDRIVE_END},
    {.name = "changes", .functions = "changes_begin changes_next changes_end", .run = run_changes,
     .success = SIMDRIVE_END},
    {.name = "changes, read-only", .functions = "changes_begin changes_next changes_end", .run = run_changes,
     .success = SIMDRIVE_END, .options = {OPTIONS, .read_only = true}, .traits = TRAIT_READ_ONLY},

    {.name = "open", .functions = "open", .run = run_open, .traits = TRAIT_OPENS},
    {.name = "open, damaged tail", .functions = "open", .run = run_open, .traits = TRAIT_OPENS | TRAIT_DAMAGED},
    {.name = "open, read-only", .functions = "open", .run = run_open, .traits = TRAIT_OPENS | TRAIT_READ_ONLY,
     .options = {OPTIONS, .read_only = true}},
    {.name = "open with a thread", .functions = "open", .run = run_open, .traits = TRAIT_OPENS,
     .options = {OPTIONS, .sync = SIMDRIVE_SYNC_INTERVAL}},
    {.name = "open, with a saved index", .functions = "open", .prepare = prepare_saved_index, .run = run_open,
     .traits = TRAIT_OPENS, .options = {OPTIONS, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS}},
    {.name = "open a store of many", .functions = "open", .run = run_open, .traits = TRAIT_OPENS | TRAIT_LONG},
    {.name = "create", .functions = "open write", .run = run_open_and_write, .change = change_first,
     .traits = TRAIT_OPENS | TRAIT_NEW_FILE | TRAIT_HALF},
    {.name = "create, must be new", .functions = "open", .run = run_open, .traits = TRAIT_OPENS | TRAIT_NEW_FILE,
     .options = {OPTIONS, .must_create = true, .sync = SIMDRIVE_SYNC_INTERVAL}},
    {.name = "create, synced", .functions = "open write", .run = run_open_and_write, .change = change_first,
     .traits = TRAIT_OPENS | TRAIT_NEW_FILE | TRAIT_HALF, .options = {OPTIONS, .sync = SIMDRIVE_SYNC_COMMIT}},
    {.name = "close, syncing", .functions = "close", .run = run_close, .change = change_first, .traits = TRAIT_HALF,
     .options = {OPTIONS, .sync = SIMDRIVE_SYNC_INTERVAL, .sync_interval_ms = 100000}},
    {.name = "close, saving the index", .functions = "close", .run = run_close, .change = change_first,
     .traits = TRAIT_HALF, .options = {OPTIONS, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS}},
    {.name = "open nested", .functions = "open_nested", .prepare = prepare_nested, .run = run_open_nested},
    {.name = "open in memory", .functions = "open_memory", .prepare = prepare_memory, .run = run_open_memory},
    {.name = "refresh", .functions = "refresh", .prepare = prepare_refresh, .run = run_refresh,
     .traits = TRAIT_READ_ONLY, .options = {OPTIONS, .read_only = true}},
    {.name = "refresh to a new file", .functions = "refresh", .prepare = prepare_refresh_moved, .run = run_refresh,
     .traits = TRAIT_READ_ONLY, .options = {OPTIONS, .read_only = true}},
    {.name = "wait", .functions = "wait", .run = run_wait, .success = SIMDRIVE_END},
    {.name = "wait, read-only", .functions = "wait", .run = run_wait, .success = SIMDRIVE_END,
     .traits = TRAIT_READ_ONLY, .options = {OPTIONS, .read_only = true}},

    {.name = "write", .functions = "write", .run = run_write, .change = change_write},
    {.name = "write, synced", .functions = "write", .run = run_write, .change = change_write,
     .options = {OPTIONS, .sync = SIMDRIVE_SYNC_COMMIT}},
    {.name = "write behind a damaged tail", .functions = "write", .run = run_write, .change = change_write,
     .traits = TRAIT_DAMAGED},
    {.name = "write, short reserve", .functions = "write", .run = run_write_big, .change = change_write_big,
     .options = {OPTIONS, .map_reserve_bytes = 4096}},
    {.name = "write into the map", .functions = "write", .run = run_write_mapped, .change = change_write_mapped,
     .options = {OPTIONS, .append = SIMDRIVE_APPEND_MAP}},
    {.name = "write big", .functions = "write_hash", .run = run_write_big, .change = change_write_big},
    {.name = "batch", .functions = "write_batch", .run = run_batch, .change = change_batch},
    {.name = "batch of hashes", .functions = "write_batch_hash", .run = run_batch_hash, .change = change_batch_hash},
    {.name = "batch of hashes, synced", .functions = "write_batch_hash", .run = run_batch_hash,
     .change = change_batch_hash, .options = {OPTIONS, .sync = SIMDRIVE_SYNC_COMMIT}},
    {.name = "batch that grows the index", .functions = "write_batch_hash", .run = run_grow, .change = change_grow,
     .traits = TRAIT_LONG},
    {.name = "apply", .functions = "apply", .run = run_apply, .change = change_apply},
    {.name = "apply, plain", .functions = "apply", .run = run_apply_plain, .change = change_apply},
    {.name = "delete", .functions = "delete", .run = run_delete, .change = change_delete},
    {.name = "delete a hash", .functions = "delete_hash", .run = run_delete_hash, .change = change_delete},
    {.name = "delete many", .functions = "delete_batch", .run = run_delete_batch, .change = change_delete_batch},
    {.name = "delete many hashes", .functions = "delete_batch_hash", .run = run_delete_batch_hash,
     .change = change_delete_batch},
    {.name = "rename", .functions = "rename", .run = run_rename, .change = change_rename},
    {.name = "pull", .functions = "write_stream", .run = run_pull, .change = change_pull},
    {.name = "pull to a hash", .functions = "write_stream_hash", .run = run_pull_hash, .change = change_pull_hash},
    {.name = "push", .functions = "stream_begin stream_append stream_commit", .run = run_push, .change = change_push},
    {.name = "push, synced", .functions = "stream_begin stream_append stream_commit", .run = run_push,
     .change = change_push, .options = {OPTIONS, .sync = SIMDRIVE_SYNC_COMMIT}},
    {.name = "push and abort", .functions = "stream_begin_hash stream_append stream_abort", .run = run_abort},

    {.name = "copy", .functions = "copy", .run = run_copy, .change_other = change_other_copy},
    {.name = "transfer", .functions = "transfer", .run = run_transfer, .change = change_delete,
     .change_other = change_other_transfer, .traits = TRAIT_KEEPS},
    {.name = "sync", .functions = "sync", .run = run_sync},
    {.name = "write and sync", .functions = "write sync", .run = run_write_and_sync, .change = change_write,
     .traits = TRAIT_HALF},
    {.name = "estimate", .functions = "estimate_compaction", .run = run_estimate},
    {.name = "compact", .functions = "compact", .run = run_compact, .change = test_image_compact,
     .traits = TRAIT_SWAPS},
    {.name = "compact in a thread", .functions = "compact_begin compact_wait", .run = run_compact_thread,
     .change = test_image_compact, .traits = TRAIT_SWAPS},
    {.name = "compact by itself", .functions = "write compact_wait", .run = run_compact_itself,
     .change = change_compact_itself, .traits = TRAIT_SWAPS | TRAIT_BACKGROUND,
     .options = {OPTIONS, .compact_stale_percent = 1, .compact_min_bytes = STALE_LIMIT}},
    {.name = "reclaim", .functions = "reclaim", .run = run_reclaim, .change = change_reclaim,
     .traits = TRAIT_NO_READER | TRAIT_PUNCHES},
    {.name = "verify", .functions = "verify", .run = run_verify},
    {.name = "salvage", .functions = "salvage", .run = run_salvage},
    {.name = "backup", .functions = "backup", .run = run_backup},
    {.name = "backup, again", .functions = "backup_update", .prepare = prepare_backup, .run = run_backup_update},
    {.name = "backup to a stream", .functions = "backup_stream", .run = run_backup_stream},
};
const size_t TEST_SCENARIO_COUNT = LENGTH(TEST_SCENARIOS);

/* --- the scene ---------------------------------------------------------------------------------------------------- */

static void fill(test_image *image) {
    test_image inner = {0};
    test_image_put(&inner, 1, "inside", 6);
    for (uint64_t key = 0; key < 8; key++) {
        if (key == 3) test_image_put(image, test_key_hash(key), bytes() + 9, 5 * 4096);
        if (key == 6) test_image_put(image, test_key_hash(key), inner.bytes, inner.size);
        else test_image_put(image, test_key_hash(key), bytes() + key * 100, 60 + (size_t)key * 300);
        if (key == 1) test_image_put(image, test_key_hash(key), bytes() + key, 30);
    }
    test_image_delete(image, test_key_hash(5));
    test_image_free(&inner);
}

static void fill_many(test_image *image) {
    for (uint64_t i = 0; i < MANY; i++) test_image_put(image, i * UINT64_C(0x9E3779B97F4A7C15) + 1, "payload", 7);
}

/* Built once: checksums of the builder are computed byte by byte. */
static const test_image *filled(bool many) {
    static test_image images[2];
    if (images[many].size == 0) (many ? fill_many : fill)(&images[many]);
    return &images[many];
}

void test_scene_begin(test_scene *scene, const test_scenario *scenario) {
    static const uint8_t junk[100] = {0xC3, 0xC4, 0xC5};
    memset(scene, 0, sizeof *scene);
    scene->folder = test_folder_create();
    test_path(&scene->folder, "store", scene->path);
    test_path(&scene->folder, "other", scene->other_path);
    test_path(&scene->folder, "out", scene->out_path);
    scene->options = scenario->options;
    scene->options.struct_size = sizeof scene->options;
    bool many = scenario->traits & TRAIT_LONG && scenario->traits & TRAIT_OPENS;
    if (!(scenario->traits & TRAIT_NEW_FILE)) {
        test_image_clone(filled(many), &scene->before);
        test_file_put(scene->path, scene->before.bytes, scene->before.size);
        if (scenario->traits & TRAIT_DAMAGED) test_file_append(scene->path, junk, sizeof junk);
    }
    if (!(scenario->traits & TRAIT_OPENS)) {
        CHECK_OK(simdrive_open(scene->path, &scene->options, &scene->store));
        if (!(scenario->traits & TRAIT_NO_READER)) scene->reader_handle = test_open_read_only(scene->path);
    }
    if (scenario->change_other) {
        test_image_clone(filled(false), &scene->other_before);
        test_file_put(scene->other_path, scene->other_before.bytes, scene->other_before.size);
        scene->other = test_open(scene->other_path);
    }
    if (scenario->prepare) scenario->prepare(scene);
}

void test_scene_close(test_scene *scene) {
    simdrive_entry_release(&scene->entry);
    simdrive_entries_release(scene->entries, LENGTH(scene->entries));
    simdrive_session_end(scene->session);
    simdrive_iterator_close(scene->iterator);
    simdrive_reader_close(scene->reader);
    simdrive_changes_end(scene->changes);
    simdrive_history_end(scene->history);
    simdrive_close(scene->store);
    simdrive_close(scene->other);
    simdrive_close(scene->reader_handle);
    simdrive_close(scene->made);
    scene->session = NULL;
    scene->iterator = NULL;
    scene->reader = NULL;
    scene->changes = NULL;
    scene->history = NULL;
    scene->store = scene->other = scene->reader_handle = scene->made = NULL;
}

void test_scene_end(test_scene *scene) {
    test_scene_close(scene);
    free(scene->memory);
    test_image_free(&scene->before);
    test_image_free(&scene->other_before);
    test_folder_remove(&scene->folder);
}
