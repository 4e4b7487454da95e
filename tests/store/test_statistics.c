/* SPDX-License-Identifier: Apache-2.0
 *
 * test_statistics.c — what a handle tells of itself, compared with a model that counts along: the file from an image of
 * its bytes, pins from a list of what is held, syncs from the table that makes them; and their text for Prometheus.
 */
#include "support/stores.h"

#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_os.h"
#include "store/store.h"

enum { KEYS = 24, STEPS = 600, MOST_HELD = 40, BATCH = 6, VALUE_MAX = 400, SAMPLE = 16, MOST_GENERATIONS = STEPS + 1 };

/* --- the model --------------------------------------------------------------------------------------------------- */

typedef enum held_kind { HELD_ENTRY, HELD_ITERATOR, HELD_SESSION, HELD_READER, HELD_KINDS } held_kind;

typedef struct held {
    held_kind kind;
    size_t generation; /* in which it was taken */
    simdrive_entry entry;
    void *object;
} held;

typedef struct model {
    test_folder folder;
    char path[TEST_PATH_MAX];
    sdi_fault_os *faults;
    simdrive_sync_policy sync;
    simdrive_store *store;
    test_random random;
    test_image image;
    held held[MOST_HELD];
    size_t held_count;
    size_t generation;                 /* the current one's number */
    uint64_t tails[MOST_GENERATIONS]; /* of those before, when they were replaced */
    uint64_t writes, deletes, bytes_written, commits, batches;
    uint64_t calls, timed; /* writing calls; those whose time was taken */
    uint64_t compaction_syncs, opening_syncs;
    uint64_t compactions, compactions_failed, saved;
    uint64_t durable_tail;
    uint64_t walked;
} model;

static void open_model(model *m) {
    simdrive_open_options options = {.struct_size = sizeof options, .sync = m->sync, .sync_interval_ms = 100000000};
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(m->faults), m->path, &options, &m->store));
    m->opening_syncs = sdi_fault_os_count(m->faults, SDI_FAULT_SYNC);
    m->walked = m->image.count;
    m->writes = m->deletes = m->bytes_written = m->commits = m->batches = m->calls = m->timed = 0;
    m->compaction_syncs = m->compactions = m->compactions_failed = m->saved = m->durable_tail = 0;
    m->generation = 0;
}

static void model_begin(model *m, uint64_t seed, simdrive_sync_policy sync) {
    memset(m, 0, sizeof *m);
    m->folder = test_folder_create();
    test_path(&m->folder, "store", m->path);
    m->faults = sdi_fault_os_create();
    m->sync = sync;
    m->random = test_random_begin(seed);
    open_model(m);
}

static void release(held *one) {
    switch (one->kind) {
    case HELD_ENTRY: simdrive_entry_release(&one->entry); break;
    case HELD_ITERATOR: simdrive_iterator_close(one->object); break;
    case HELD_SESSION: simdrive_session_end(one->object); break;
    case HELD_READER: simdrive_reader_close(one->object); break;
    case HELD_KINDS: break;
    }
}

static void release_all(model *m) {
    while (m->held_count > 0) release(&m->held[--m->held_count]);
}

static void model_end(model *m) {
    release_all(m);
    CHECK_OK(simdrive_close(m->store));
    sdi_fault_os_destroy(m->faults);
    test_image_free(&m->image);
    test_folder_remove(&m->folder);
}

static simdrive_statistics statistics_of(const simdrive_store *store) {
    simdrive_statistics found;
    memset(&found, 0xA5, sizeof found);
    found.struct_size = sizeof found;
    CHECK_OK(simdrive_get_statistics(store, &found));
    CHECK_U64(found.live_bytes + found.stale_bytes + found.padding_bytes + found.metadata_bytes +
                  found.damaged_tail_bytes, found.file_size);
    return found;
}

static void check_file(const model *m, const simdrive_statistics *found) {
    test_view view;
    uint64_t padding = 0;
    test_view_build(&view, &m->image, m->image.count);
    for (size_t i = 0; i < m->image.count; i++) padding += m->image.records[i].start - m->image.records[i].prev;
    CHECK_U64(view.tail, found->tail);
    CHECK_U64(view.tail, found->file_size);
    CHECK_U64(test_file_size(m->path), found->file_size);
    CHECK_U64(view.live_count, found->entries);
    CHECK_U64(view.stale, found->stale_entries);
    CHECK_U64(view.tombstones, found->tombstones);
    CHECK_U64(view.live_bytes, found->live_bytes);
    CHECK_U64(view.stale_bytes, found->stale_bytes);
    CHECK_U64(padding, found->padding_bytes);
    CHECK_U64(m->image.count * TEST_METADATA_SIZE + view.tombstones, found->metadata_bytes);
    CHECK(found->index_keys >= view.live_count && found->index_keys <= KEYS);
    CHECK(found->index_slots >= found->index_keys && found->index_bytes > 0);
    test_view_free(&view);
}

static void check_held(const model *m, const simdrive_statistics *found) {
    uint64_t generations = 1, bytes = 0;
    for (size_t generation = 0; generation < m->generation; generation++) {
        bool is_held = false;
        for (size_t i = 0; i < m->held_count; i++) is_held |= m->held[i].generation == generation;
        generations += is_held;
        bytes += is_held ? m->tails[generation] : 0;
    }
    CHECK_U64(generations, found->generations);
    CHECK_U64(bytes, found->held_bytes);
    CHECK_U64(m->held_count, found->pins);
}

static void check_latency(const simdrive_latency *latency, uint64_t count) {
    CHECK_U64(count, latency->count);
    CHECK(latency->p50_ns <= latency->p90_ns && latency->p90_ns <= latency->p99_ns);
    CHECK(latency->p99_ns <= latency->p999_ns && latency->p999_ns <= latency->max_ns);
    CHECK(latency->max_ns <= latency->total_ns);
}

static void check(const model *m) {
    simdrive_statistics found = statistics_of(m->store);
    uint64_t syncs = sdi_fault_os_count(m->faults, SDI_FAULT_SYNC) - m->opening_syncs - m->compaction_syncs;
    check_file(m, &found);
    check_held(m, &found);
    CHECK_U64(m->durable_tail, found.durable_tail);
    CHECK_U64(m->writes, found.writes);
    CHECK_U64(m->deletes, found.deletes);
    CHECK_U64(m->bytes_written, found.bytes_written);
    CHECK_U64(m->commits, found.commits);
    CHECK_U64(m->batches, found.batches);
    CHECK_U64(syncs, found.syncs);
    check_latency(&found.commit, m->timed);
    check_latency(&found.sync, syncs);
    CHECK(!found.compaction_runs && found.compaction_status == SIMDRIVE_OK);
    CHECK_U64(m->compactions, found.compactions);
    CHECK_U64(m->compactions_failed, found.compactions_failed);
    CHECK_U64(m->saved, found.compaction_saved_bytes);
    CHECK_U64(m->walked, found.open_entries_walked);
    CHECK(!found.read_only && !found.poisoned && found.damage == SIMDRIVE_DAMAGE_NONE);
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

static uint64_t any_key(model *m) {
    return test_key_hash(test_random_below(&m->random, KEYS));
}

/* Random bytes that can be stored. */
static size_t any_value(model *m, uint8_t *value) {
    size_t size = 1 + (size_t)test_random_below(&m->random, VALUE_MAX);
    test_random_fill(&m->random, value, size);
    value[0] |= 1;
    return size;
}

/* A call that went through the writers' queue. */
static void called(model *m, bool went_well) {
    m->timed += m->calls++ % SAMPLE == 0 && went_well;
}

/* What was added to the image since it had `count` records went in as one. */
static void committed(model *m, size_t count) {
    size_t before = count > 0 ? m->image.records[count - 1].tail : 0;
    if (m->image.count == count) return;
    for (size_t i = count; i < m->image.count; i++) {
        m->deletes += m->image.records[i].tombstone;
        m->writes += !m->image.records[i].tombstone;
    }
    m->bytes_written += m->image.size - before;
    m->commits++;
    if (m->sync == SIMDRIVE_SYNC_COMMIT) m->durable_tail = m->image.size;
}

static bool is_live(const model *m, uint64_t hash) {
    return test_image_find(&m->image, hash) != NULL;
}

static void step_write(model *m) {
    uint8_t value[VALUE_MAX];
    uint64_t hash = any_key(m);
    size_t size = any_value(m, value), count = m->image.count;
    CHECK_OK(simdrive_write_hash(m->store, hash, value, size, NULL));
    test_image_put(&m->image, hash, value, size);
    called(m, true);
    committed(m, count);
}

static void step_refused_write(model *m) {
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write_hash(m->store, any_key(m), "", 1, NULL));
    called(m, false);
}

static void step_delete(model *m) {
    uint64_t hash = any_key(m);
    size_t count = m->image.count;
    CHECK_STATUS(is_live(m, hash) ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_delete_hash(m->store, hash, NULL));
    if (is_live(m, hash)) test_image_delete(&m->image, hash);
    called(m, true);
    committed(m, count);
}

static void step_batch(model *m) {
    uint8_t values[BATCH][VALUE_MAX];
    simdrive_change changes[BATCH];
    size_t size = 1 + (size_t)test_random_below(&m->random, BATCH), count = m->image.count;
    simdrive_batch_mode mode =
        test_random_below(&m->random, 2) == 0 ? SIMDRIVE_BATCH_ATOMIC : SIMDRIVE_BATCH_PLAIN;
    for (size_t i = 0; i < size; i++) {
        changes[i] = (simdrive_change){.operation = SIMDRIVE_DELETE, .key_hash = any_key(m)};
        if (test_random_below(&m->random, 3) > 0) {
            changes[i].operation = SIMDRIVE_PUT;
            changes[i].payload = (simdrive_bytes){values[i], any_value(m, values[i])};
            test_image_put(&m->image, changes[i].key_hash, values[i], changes[i].payload.size);
        } else if (is_live(m, changes[i].key_hash)) {
            test_image_delete(&m->image, changes[i].key_hash);
        }
    }
    CHECK_OK(simdrive_apply(m->store, changes, size, mode, NULL));
    m->batches += size > 1;
    called(m, true);
    committed(m, count);
}

static void step_stream(model *m) {
    uint8_t value[VALUE_MAX];
    uint64_t hash = any_key(m);
    size_t size = any_value(m, value), count = m->image.count;
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin_hash(m->store, hash, 0, &stream));
    CHECK_OK(simdrive_stream_append(stream, value, size));
    if (test_random_below(&m->random, 4) == 0) {
        CHECK_OK(simdrive_stream_abort(stream));
        return;
    }
    CHECK_OK(simdrive_stream_commit(stream, NULL));
    test_image_put(&m->image, hash, value, size);
    committed(m, count);
}

static void step_rename(model *m) {
    char from[32], to[32];
    uint64_t a = test_random_below(&m->random, KEYS), b = (a + 1) % KEYS;
    size_t from_size = test_key(a, from), to_size = test_key(b, to), count = m->image.count;
    const test_record *record = test_image_find(&m->image, test_key_hash(a));
    CHECK_STATUS(record ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND,
                 simdrive_rename(m->store, from, from_size, to, to_size, NULL));
    if (!record) return;
    uint8_t value[VALUE_MAX];
    size_t size = test_record_size(record);
    memcpy(value, m->image.bytes + record->start, size);
    test_image_put(&m->image, test_key_hash(b), value, size);
    test_image_delete(&m->image, test_key_hash(a));
    committed(m, count);
}

static void step_sync(model *m) {
    uint64_t tail = 0;
    CHECK_OK(simdrive_sync(m->store, &tail));
    CHECK_U64(m->image.size, tail);
    m->durable_tail = m->image.size;
}

static simdrive_status refuse_progress(void *user, uint64_t done, uint64_t total) {
    (void)user, (void)done, (void)total;
    return SIMDRIVE_ERROR_CANCELLED;
}

static void step_compact(model *m) {
    uint64_t saved = 0, before = m->image.size, syncs = sdi_fault_os_count(m->faults, SDI_FAULT_SYNC);
    CHECK_OK(simdrive_compact(m->store, NULL, &saved));
    m->compaction_syncs += sdi_fault_os_count(m->faults, SDI_FAULT_SYNC) - syncs;
    m->compactions++;
    m->saved += saved;
    if (saved == 0) return;
    test_image_compact(&m->image);
    CHECK_U64(before - saved, m->image.size);
    m->tails[m->generation++] = before;
    m->durable_tail = m->image.size;
}

static void step_hold(model *m) {
    if (m->held_count == MOST_HELD) return;
    held *one = &m->held[m->held_count];
    char key[32];
    uint64_t number = test_random_below(&m->random, KEYS);
    size_t size = test_key(number, key);
    *one = (held){.kind = (held_kind)test_random_below(&m->random, HELD_KINDS), .generation = m->generation};
    bool of_a_key = one->kind == HELD_ENTRY || one->kind == HELD_READER;
    if (of_a_key && !is_live(m, test_key_hash(number))) return;
    switch (one->kind) {
    case HELD_ENTRY: CHECK_OK(simdrive_read(m->store, key, size, &one->entry)); break;
    case HELD_READER: CHECK_OK(simdrive_reader_open(m->store, key, size, (simdrive_reader **)&one->object)); break;
    case HELD_ITERATOR: CHECK_OK(simdrive_iterate(m->store, (simdrive_iterator **)&one->object)); break;
    case HELD_SESSION: CHECK_OK(simdrive_session_begin(m->store, (simdrive_session **)&one->object)); break;
    case HELD_KINDS: break;
    }
    m->held_count++;
}

static void step_release(model *m) {
    if (m->held_count == 0) return;
    size_t i = (size_t)test_random_below(&m->random, m->held_count);
    release(&m->held[i]);
    m->held[i] = m->held[--m->held_count];
}

static void step_reopen(model *m) {
    release_all(m);
    CHECK_OK(simdrive_close(m->store));
    open_model(m);
}

static void random_work_is_counted_as_the_model_counts(void **state) {
    (void)state;
    static void (*const steps[])(model *) = {
        step_write,  step_write,  step_write, step_delete,  step_batch, step_batch,   step_stream,        step_rename,
        step_sync,   step_hold,   step_hold,  step_release, step_hold,  step_release, step_refused_write, step_compact,
        step_delete, step_reopen,
    };
    static const char *const names[] = {"no sync", "sync of each commit", "sync at intervals"};
    enum { STEP_KINDS = sizeof steps / sizeof *steps };
    for (unsigned seed = 0; seed < (test_exhaustive() ? 60u : 6u); seed++) {
        model m;
        model_begin(&m, 400 + seed, (simdrive_sync_policy)(seed % 3));
        check(&m);
        for (unsigned step = 0; step < STEPS; step++) {
            unsigned kind = (unsigned)test_random_below(&m.random, STEP_KINDS);
            /* Seldom: much would be forgotten too early. */
            if (steps[kind] == step_reopen && test_random_below(&m.random, 5) > 0) continue;
            test_context("stream %u, %s, step %u, kind %u", 400 + seed, names[seed % 3], step, kind);
            steps[kind](&m);
            check(&m);
        }
        release_all(&m);
        check(&m);
        model_end(&m);
    }
}

/* --- single cases ------------------------------------------------------------------------------------------------ */

static void put_values(model *m, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        step_write(m);
        step_delete(m);
    }
}

static void a_compacted_file_is_held_until_its_last_pin_goes(void **state) {
    (void)state;
    test_context("held files");
    model m;
    model_begin(&m, 470, SIMDRIVE_SYNC_NONE);
    for (unsigned round = 0; round < 3; round++) {
        put_values(&m, 30);
        while (m.held_count <= 2 * round) step_hold(&m);
        uint64_t tail = m.image.size;
        step_compact(&m);
        simdrive_statistics found = statistics_of(m.store);
        CHECK(m.saved > 0);
        CHECK_U64(round + 2, found.generations);
        CHECK(found.held_bytes >= tail);
        while (m.held_count <= 2 * round + 1) step_hold(&m);
        check(&m);
    }
    for (; m.held_count > 0; step_release(&m)) check(&m);
    CHECK_U64(1, statistics_of(m.store).generations);
    CHECK_U64(0, statistics_of(m.store).held_bytes);
    model_end(&m);
}

static void a_failed_compaction_is_told(void **state) {
    (void)state;
    test_context("failed compaction");
    model m;
    model_begin(&m, 471, SIMDRIVE_SYNC_NONE);
    put_values(&m, 30);
    const simdrive_work_options options = {.struct_size = sizeof options, .progress = refuse_progress};
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_compact(m.store, &options, NULL));
    simdrive_statistics found = statistics_of(m.store);
    CHECK_U64(1, found.compactions_failed);
    CHECK_U64(0, found.compactions);
    CHECK(found.compaction_status == SIMDRIVE_ERROR_CANCELLED && !found.compaction_runs);
    CHECK_U64(1, found.generations);
    m.compactions_failed = 1;
    m.compaction_syncs = sdi_fault_os_count(m.faults, SDI_FAULT_SYNC) - m.opening_syncs;
    step_compact(&m);
    check(&m);
    model_end(&m);
}

static void bytes_of_an_open_stream_are_in_no_figure(void **state) {
    (void)state;
    test_context("open stream");
    static const uint8_t bytes[1 << 16] = {1};
    model m;
    simdrive_stream *stream = NULL;
    model_begin(&m, 472, SIMDRIVE_SYNC_NONE);
    step_write(&m);
    CHECK_OK(simdrive_stream_begin(m.store, "key", 3, 1, &stream));
    CHECK_OK(simdrive_stream_append(stream, bytes, sizeof bytes));
    CHECK(test_file_size(m.path) > m.image.size);
    CHECK_U64(m.image.size, statistics_of(m.store).file_size);
    CHECK_OK(simdrive_stream_abort(stream));
    check(&m);
    model_end(&m);
}

static void a_damaged_tail_is_told_and_its_rescue(void **state) {
    (void)state;
    test_context("damaged tail");
    enum { GARBAGE = 777 };
    uint8_t garbage[GARBAGE];
    model m;
    model_begin(&m, 473, SIMDRIVE_SYNC_NONE);
    put_values(&m, 5);
    CHECK_OK(simdrive_close(m.store));
    test_random_fill(&m.random, garbage, sizeof garbage);
    test_file_append(m.path, garbage, sizeof garbage);
    open_model(&m);
    simdrive_statistics found = statistics_of(m.store);
    CHECK_U64(GARBAGE, found.damaged_tail_bytes);
    CHECK_U64(m.image.size + GARBAGE, found.file_size);
    CHECK_U64(0, found.quarantined_bytes);
    CHECK(found.damage == SIMDRIVE_DAMAGE_TAIL);
    CHECK_OK(simdrive_write(m.store, "key", 3, "value", 5, NULL));
    found = statistics_of(m.store);
    CHECK_U64(0, found.damaged_tail_bytes);
    CHECK_U64(test_file_size(m.path), found.file_size);
    CHECK_U64(GARBAGE, found.quarantined_bytes);
    CHECK_U64(1, found.syncs); /* of the file that was cut; the one beside it is not counted */
    model_end(&m);
}

static void sums_hold_in_stores_damaged_anywhere(void **state) {
    (void)state;
    model m;
    model_begin(&m, 474, SIMDRIVE_SYNC_NONE);
    put_values(&m, 40);
    CHECK_OK(simdrive_close(m.store));
    m.store = NULL;
    size_t size = 0, opened = 0;
    uint8_t *bytes = test_file_get(m.path, &size);
    for (unsigned round = 0; round < 400; round++) {
        size_t at = (size_t)test_random_below(&m.random, size);
        test_context("damaged at %zu", at);
        bytes[at] ^= 0x5A;
        test_file_put(m.path, bytes, size);
        bytes[at] ^= 0x5A;
        simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
        simdrive_store *store = NULL;
        if (simdrive_open(m.path, &options, &store) != SIMDRIVE_OK) continue;
        simdrive_statistics found = statistics_of(store);
        CHECK_U64(size, found.file_size);
        CHECK(found.read_only && found.padding_bytes <= size);
        opened++;
        CHECK_OK(simdrive_close(store));
    }
    CHECK(opened > 300);
    free(bytes);
    test_file_put(m.path, m.image.bytes, m.image.size);
    open_model(&m);
    model_end(&m);
}

static void a_failed_sync_is_counted_and_poison_told(void **state) {
    (void)state;
    test_context("failed sync");
    model m;
    model_begin(&m, 475, SIMDRIVE_SYNC_NONE);
    step_write(&m);
    sdi_fault_os_arm(m.faults, &(sdi_fault_plan){.kind = SDI_FAULT_SYNC, .nth = 1, .status = SIMDRIVE_ERROR_IO});
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_sync(m.store, NULL));
    sdi_fault_os_disarm(m.faults);
    simdrive_statistics found = statistics_of(m.store);
    CHECK(found.poisoned);
    CHECK_U64(1, found.syncs);
    CHECK_U64(0, found.durable_tail);
    model_end(&m);
}

static void a_look_at_the_file_that_fails_is_told(void **state) {
    (void)state;
    test_context("failed look");
    model m;
    model_begin(&m, 476, SIMDRIVE_SYNC_NONE);
    step_write(&m);
    simdrive_statistics found = {.struct_size = sizeof found};
    sdi_fault_os_arm(m.faults, &(sdi_fault_plan){.kind = SDI_FAULT_INFO, .nth = 1, .status = SIMDRIVE_ERROR_IO});
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_get_statistics(m.store, &found));
    sdi_fault_os_disarm(m.faults);
    CHECK_U64(0, found.tail);
    check(&m); /* no pin is left behind */
    model_end(&m);
}

static void stores_in_memory_and_readers_have_figures_too(void **state) {
    (void)state;
    test_context("in memory");
    static _Alignas(4096) uint8_t copy[1 << 16];
    model m;
    model_begin(&m, 477, SIMDRIVE_SYNC_NONE);
    put_values(&m, 10);
    CHECK(m.image.size <= sizeof copy);
    memcpy(copy, m.image.bytes, m.image.size);
    simdrive_store *memory = NULL;
    CHECK_OK(simdrive_open_memory(copy, m.image.size, &memory));
    simdrive_statistics found = statistics_of(memory);
    check_file(&m, &found);
    CHECK_U64(0, found.disk_bytes);
    CHECK(found.read_only && found.open_ns > 0);
    CHECK_U64(m.image.count, found.open_entries_walked);
    CHECK_OK(simdrive_close(memory));

    /* A reader tells of what it has been refreshed to. */
    simdrive_store *reader = test_open_read_only(m.path);
    uint64_t size = m.image.size;
    put_values(&m, 10);
    CHECK_U64(size, statistics_of(reader).file_size);
    CHECK_OK(simdrive_refresh(reader, NULL));
    found = statistics_of(reader);
    check_file(&m, &found);
    CHECK_U64(0, found.writes);
    step_compact(&m);
    CHECK_OK(simdrive_refresh(reader, NULL));
    found = statistics_of(reader);
    check_file(&m, &found);
    CHECK_U64(m.image.count, found.open_entries_walked);
    CHECK_OK(simdrive_close(reader));
    model_end(&m);
}

static void bytes_on_the_disk_are_what_the_system_says(void **state) {
    (void)state;
    test_context("disk bytes");
    model m;
    sdi_file_info info;
    model_begin(&m, 478, SIMDRIVE_SYNC_NONE);
    put_values(&m, 60);
    CHECK_OK(sdi_os_native()->path_info(sdi_os_native(), m.path, &info));
    CHECK_U64(info.disk_bytes, statistics_of(m.store).disk_bytes);
    model_end(&m);
}

/* --- callers of other versions ----------------------------------------------------------------------------------- */

static void callers_of_other_versions_get_what_they_know(void **state) {
    (void)state;
    test_context("struct size");
    struct {
        simdrive_statistics known;
        uint8_t newer[64];
    } wide;
    model m;
    model_begin(&m, 479, SIMDRIVE_SYNC_NONE);
    put_values(&m, 3);
    simdrive_statistics whole = statistics_of(m.store);
    const size_t sizes[] = {sizeof(size_t), offsetof(simdrive_statistics, tail), offsetof(simdrive_statistics, commit),
                            sizeof whole, sizeof wide};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(&wide, 0xA5, sizeof wide);
        wide.known.struct_size = sizes[i];
        CHECK_OK(simdrive_get_statistics(m.store, &wide.known));
        size_t filled = sizes[i] < sizeof whole ? sizes[i] : sizeof whole;
        CHECK_U64(sizes[i], wide.known.struct_size);
        CHECK(memcmp((char *)&wide + sizeof(size_t), (char *)&whole + sizeof(size_t), filled - sizeof(size_t)) == 0);
        for (size_t at = filled; at < sizeof wide; at++) CHECK(((uint8_t *)&wide)[at] == 0xA5);
    }
    wide.known.struct_size = sizeof(size_t) - 1;
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_get_statistics(m.store, &wide.known));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_get_statistics(m.store, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_get_statistics(NULL, &whole));
    model_end(&m);
}

/* --- the text for Prometheus ------------------------------------------------------------------------------------- */

/* The whole text; freed with free(). */
static char *metrics_of(const simdrive_statistics *statistics, const char *label) {
    size_t size = 0, again = 0;
    CHECK_OK(simdrive_format_metrics(statistics, label, NULL, 0, &size));
    char *text = test_alloc(size + 1);
    CHECK_OK(simdrive_format_metrics(statistics, label, text, size + 1, &again));
    CHECK_U64(size, again);
    CHECK_U64(size, strlen(text));
    return text;
}

static bool same_text(const simdrive_statistics *a, const simdrive_statistics *b) {
    char *left = metrics_of(a, ""), *right = metrics_of(b, "");
    bool same = strcmp(left, right) == 0;
    free(left);
    free(right);
    return same;
}

static bool is_between(size_t at, size_t begin, size_t end) {
    return at >= begin && at < end;
}

#define BEHIND(member) (offsetof(simdrive_statistics, member) + sizeof((simdrive_statistics *)NULL)->member)

/* Bytes of the struct that belong to no member. */
static bool is_gap(size_t at) {
    return is_between(at, BEHIND(compaction_runs), offsetof(simdrive_statistics, compaction_done)) ||
           is_between(at, BEHIND(compaction_status), offsetof(simdrive_statistics, compaction_saved_bytes)) ||
           is_between(at, BEHIND(open_from_saved_index), offsetof(simdrive_statistics, damage)) ||
           is_between(at, BEHIND(damage), offsetof(simdrive_statistics, corrupt_entries));
}

static void every_byte_of_the_struct_has_its_say_in_the_text(void **state) {
    (void)state;
    simdrive_statistics base, changed;
    memset(&base, 0, sizeof base);
    base.struct_size = sizeof base;
    base.commit.count = base.sync.count = 1; /* of nothing there are no percentiles */
    for (size_t at = sizeof(size_t); at < sizeof base; at++) {
        test_context("byte %zu", at);
        memcpy(&changed, &base, sizeof base);
        ((uint8_t *)&changed)[at] ^= 1;
        if (changed.commit.count == 0 || changed.sync.count == 0) ((uint8_t *)&changed)[at] = 2;
        CHECK(same_text(&base, &changed) == is_gap(at));
    }
}

static void check_has(const char *text, const char *line) {
    if (strstr(text, line) == NULL) test_failed(__FILE__, __LINE__, line);
}

static void numbers_and_labels_are_written_as_the_format_wants(void **state) {
    (void)state;
    test_context("format");
    simdrive_statistics some = {.struct_size = sizeof some,
                                .file_size = UINT64_MAX,
                                .open_ns = 1234567890,
                                .open_from_saved_index = true,
                                .sync = {.count = 3, .total_ns = 5000000007, .p50_ns = 1, .max_ns = UINT64_MAX}};
    char *text = metrics_of(&some, "a\\b\"c\nd");
    check_has(text, "# HELP simdrive_file_bytes Size of the file.\n# TYPE simdrive_file_bytes gauge\n"
                    "simdrive_file_bytes{store=\"a\\\\b\\\"c\\nd\"} 18446744073709551615\n");
    free(text);
    text = metrics_of(&some, "s");
    check_has(text, "\nsimdrive_open_duration_seconds{store=\"s\"} 1.234567890\n");
    check_has(text, "\nsimdrive_open_from_saved_index{store=\"s\"} 1\n");
    check_has(text, "\n# TYPE simdrive_sync_duration_seconds summary\n"
                    "simdrive_sync_duration_seconds{store=\"s\",quantile=\"0.5\"} 0.000000001\n");
    check_has(text, "\nsimdrive_sync_duration_seconds{store=\"s\",quantile=\"1\"} 18446744073.709551615\n"
                    "simdrive_sync_duration_seconds_sum{store=\"s\"} 5.000000007\n"
                    "simdrive_sync_duration_seconds_count{store=\"s\"} 3\n");
    check_has(text, "\nsimdrive_commit_duration_seconds{store=\"s\",quantile=\"0.99\"} NaN\n");
    free(text);
}

/* Expected of a label: what it becomes between the quotes. */
static void check_label(const char *label, const char *expected) {
    char line[128];
    const simdrive_statistics some = {.struct_size = offsetof(simdrive_statistics, disk_bytes)};
    char *text = metrics_of(&some, label);
    snprintf(line, sizeof line, "\nsimdrive_file_bytes{store=\"%s\"} 0\n", expected);
    check_has(text, line);
    free(text);
}

static void labels_become_valid_utf8(void **state) {
    (void)state;
    test_context("labels");
    check_label("", "");
    static const char valid[] = "Gr\xC3\xBC\xC3\x9F" "e \xE4\xB8\x96 \xF0\x9F\x98\x80 \x7F";
    check_label(valid, valid);
    check_label("\xE9", "\xEF\xBF\xBD");
    check_label("a\xC3", "a\xEF\xBF\xBD");                                         /* cut short */
    check_label("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");                         /* overlong */
    check_label("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    check_label("\xE2\x82\"", "\xEF\xBF\xBD\xEF\xBF\xBD\\\"");
}

static void text_is_cut_off_as_by_snprintf(void **state) {
    (void)state;
    test_context("cut off");
    model m;
    model_begin(&m, 480, SIMDRIVE_SYNC_NONE);
    put_values(&m, 3);
    simdrive_statistics found = statistics_of(m.store);
    char *whole = metrics_of(&found, "s\"");
    size_t size = strlen(whole), told;
    char *part = test_alloc(size + 2);
    for (size_t capacity = 0; capacity <= size + 2; capacity++) {
        memset(part, 'x', size + 2);
        CHECK_OK(simdrive_format_metrics(&found, "s\"", part, capacity, &told));
        CHECK_U64(size, told);
        size_t kept = capacity == 0 ? 0 : capacity <= size ? capacity - 1 : size;
        CHECK(memcmp(part, whole, kept) == 0);
        CHECK(capacity == 0 || part[kept] == '\0');
        for (size_t at = capacity; at < size + 2; at++) CHECK(part[at] == 'x');
    }
    CHECK_OK(simdrive_format_metrics(&found, "s", part, 10, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_format_metrics(&found, "s", NULL, 10, &told));
    CHECK_U64(0, told);
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_format_metrics(&found, NULL, part, 10, &told));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_format_metrics(NULL, "s", part, 10, &told));
    found.struct_size = 1;
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_format_metrics(&found, "s", part, 10, &told));
    free(part);
    free(whole);
    model_end(&m);
}

static void members_that_a_caller_does_not_know_have_no_lines(void **state) {
    (void)state;
    test_context("older callers");
    simdrive_statistics some;
    memset(&some, 0xFF, sizeof some); /* what lies behind an older caller's struct is not looked at */
    some.struct_size = offsetof(simdrive_statistics, tail);
    char *text = metrics_of(&some, "s");
    CHECK(strstr(text, "simdrive_disk_bytes{") != NULL && strstr(text, "simdrive_tail_bytes") == NULL);
    CHECK(strstr(text, "simdrive_poisoned") == NULL);
    free(text);
}

static void locales_change_nothing(void **state) {
    (void)state;
    test_context("locale");
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"};
    const simdrive_statistics some = {.struct_size = sizeof some, .tail = 1234567, .open_ns = 1234567};
    char *before = metrics_of(&some, "s");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        char *after = metrics_of(&some, "s");
        CHECK(strcmp(before, after) == 0);
        free(after);
    }
    setlocale(LC_ALL, "C");
    free(before);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

enum { WRITERS = 2, HOLDERS = 2, WRITES = 1500, COMPACTIONS = 12 };

typedef struct traffic {
    model m;
    pthread_t writers[WRITERS], holders[HOLDERS], compacter;
    atomic_uint next_writer;
    atomic_bool stop;
} traffic;

static void *write_often(void *user) {
    traffic *t = user;
    uint64_t self = atomic_fetch_add(&t->next_writer, 1);
    uint8_t value[VALUE_MAX];
    memset(value, 7, sizeof value);
    for (uint64_t i = 0; i < WRITES; i++) {
        uint64_t hash = test_key_hash((i * 7 + self) % KEYS);
        const simdrive_change changes[2] = {{SIMDRIVE_PUT, hash, {value, 1 + i % VALUE_MAX}},
                                            {SIMDRIVE_PUT, hash + 1, {value, 1 + i % 50}}};
        CHECK_OK(simdrive_apply(t->m.store, changes, 1 + i % 2, SIMDRIVE_BATCH_ATOMIC, NULL));
    }
    return NULL;
}

static void *hold_often(void *user) {
    traffic *t = user;
    while (!atomic_load(&t->stop)) {
        simdrive_entry entry = {0};
        simdrive_iterator *iterator = NULL;
        CHECK_OK(simdrive_iterate(t->m.store, &iterator));
        if (simdrive_iterator_next(iterator, &entry) == SIMDRIVE_OK) simdrive_entry_release(&entry);
        simdrive_iterator_close(iterator);
    }
    return NULL;
}

static void *compact_often(void *user) {
    traffic *t = user;
    for (unsigned i = 0; i < COMPACTIONS; i++) CHECK_OK(simdrive_compact(t->m.store, NULL, NULL));
    return NULL;
}

static void check_traffic(const simdrive_statistics *now, const simdrive_statistics *before) {
    CHECK_U64(now->tail, now->file_size);
    CHECK(now->padding_bytes < now->file_size || now->file_size == 0);
    CHECK(now->writes >= before->writes && now->commits >= before->commits && now->batches >= before->batches);
    CHECK(now->commits <= now->writes && now->commit.count >= before->commit.count);
    CHECK(now->compactions >= before->compactions && now->compactions_failed == 0);
    CHECK(now->generations >= 1 && now->generations <= 2 + COMPACTIONS);
    CHECK(now->pins <= 3 * HOLDERS + WRITERS + 4); /* two for a holder, some of calls under way */
}

static void figures_make_sense_beside_threads_at_work(void **state) {
    (void)state;
    test_context("threads");
    static traffic t;
    memset(&t, 0, sizeof t);
    model_begin(&t.m, 490, SIMDRIVE_SYNC_NONE);
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_create(&t.writers[i], NULL, write_often, &t) == 0);
    for (int i = 0; i < HOLDERS; i++) CHECK(pthread_create(&t.holders[i], NULL, hold_often, &t) == 0);
    CHECK(pthread_create(&t.compacter, NULL, compact_often, &t) == 0);
    simdrive_statistics before = statistics_of(t.m.store), now;
    do {
        now = statistics_of(t.m.store);
        check_traffic(&now, &before);
        before = now;
    } while (now.compactions < COMPACTIONS || now.writes < WRITERS * WRITES * 3 / 2);
    atomic_store(&t.stop, true);
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_join(t.writers[i], NULL) == 0);
    for (int i = 0; i < HOLDERS; i++) CHECK(pthread_join(t.holders[i], NULL) == 0);
    CHECK(pthread_join(t.compacter, NULL) == 0);
    now = statistics_of(t.m.store);
    CHECK_U64(WRITERS * WRITES * 3 / 2, now.writes);
    CHECK_U64(WRITERS * WRITES / 2, now.batches);
    CHECK_U64((WRITERS * WRITES + SAMPLE - 1) / SAMPLE, now.commit.count);
    CHECK_U64(1, now.generations);
    CHECK_U64(0, now.pins);
    CHECK_U64(test_file_size(t.m.path), now.file_size);
    model_end(&t.m);
}

/* --- one moment -------------------------------------------------------------------------------------------------- */

enum { TIGHT = (SIMDRIVE_ALIGNMENT < 64 ? 64 : SIMDRIVE_ALIGNMENT) - TEST_METADATA_SIZE, GROUP = 500, GROUPS = 400 };

static void *write_groups(void *user) {
    static uint8_t value[TIGHT];
    simdrive_store *store = user;
    simdrive_change *changes = test_alloc(GROUP * sizeof *changes);
    value[0] = 1;
    for (size_t i = 0; i < GROUP; i++)
        changes[i] = (simdrive_change){SIMDRIVE_PUT, test_key_hash(i), {value, sizeof value}};
    for (size_t i = 0; i < GROUPS; i++)
        CHECK_OK(simdrive_apply(store, changes, GROUP, SIMDRIVE_BATCH_PLAIN, NULL));
    free(changes);
    return NULL;
}

/* Entries without padding, in groups: whoever sees padding, or a part of a group, has seen two moments. */
static void figures_of_the_file_are_of_one_moment(void **state) {
    (void)state;
    test_context("one moment");
    model m;
    pthread_t writer;
    simdrive_statistics found;
    uint64_t before = 0;
    model_begin(&m, 491, SIMDRIVE_SYNC_NONE);
    CHECK(pthread_create(&writer, NULL, write_groups, m.store) == 0);
    do {
        found = statistics_of(m.store);
        CHECK_U64(0, found.padding_bytes);
        CHECK_U64(0, found.writes % GROUP);
        CHECK_U64(found.commits * GROUP, found.writes);
        CHECK_U64(found.writes * (TIGHT + TEST_METADATA_SIZE), found.bytes_written);
        CHECK_U64(found.bytes_written, found.tail);
        CHECK(found.writes >= before);
        before = found.writes;
    } while (found.writes < GROUP * GROUPS);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK_U64(GROUPS, found.commits);
    CHECK_U64(GROUP, found.entries);
    model_end(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_is_counted_as_the_model_counts),
        cmocka_unit_test(a_compacted_file_is_held_until_its_last_pin_goes),
        cmocka_unit_test(a_failed_compaction_is_told),
        cmocka_unit_test(bytes_of_an_open_stream_are_in_no_figure),
        cmocka_unit_test(a_damaged_tail_is_told_and_its_rescue),
        cmocka_unit_test(sums_hold_in_stores_damaged_anywhere),
        cmocka_unit_test(a_failed_sync_is_counted_and_poison_told),
        cmocka_unit_test(a_look_at_the_file_that_fails_is_told),
        cmocka_unit_test(stores_in_memory_and_readers_have_figures_too),
        cmocka_unit_test(bytes_on_the_disk_are_what_the_system_says),
        cmocka_unit_test(callers_of_other_versions_get_what_they_know),
        cmocka_unit_test(every_byte_of_the_struct_has_its_say_in_the_text),
        cmocka_unit_test(numbers_and_labels_are_written_as_the_format_wants),
        cmocka_unit_test(labels_become_valid_utf8),
        cmocka_unit_test(text_is_cut_off_as_by_snprintf),
        cmocka_unit_test(members_that_a_caller_does_not_know_have_no_lines),
        cmocka_unit_test(locales_change_nothing),
        cmocka_unit_test(figures_make_sense_beside_threads_at_work),
        cmocka_unit_test(figures_of_the_file_are_of_one_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
