/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_store.c — this library as an engine of the workloads, through its public header, and the workloads that only it
 * has: reads in a session, opening from a saved index, a sync at intervals, writes beside a compaction.
 *
 * The environment variable BENCH_APPEND=map makes it append through its map, and call itself simdrive-map.
 */
#include "engine.h"
#include "simdrive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    batch_size = 1024,
    passes = 3,
};

static void require_ok(simdrive_status status, const char *what)
{
    if (status == SIMDRIVE_OK)
        return;
    fprintf(stderr, "bench: %s: %s (os error %d)\n", what, simdrive_status_name(status), simdrive_last_os_error());
    exit(1);
}

/* ----- The engine ----- */

typedef struct native_list {
    simdrive_bytes *keys;
    simdrive_bytes *payloads;
} native_list;

static simdrive_bytes *converted(const bench_bytes *from, size_t count)
{
    simdrive_bytes *to = bench_allocate(count, sizeof *to);
    for (size_t i = 0; i < count; i++)
        to[i] = (simdrive_bytes){from[i].data, from[i].size};
    return to;
}

static void make_list(bench_list *list)
{
    native_list *native = bench_allocate(1, sizeof *native);
    native->keys = converted(list->keys, list->count);
    native->payloads = list->payloads != NULL ? converted(list->payloads, list->count) : NULL;
    list->native = native;
}

static void free_list(bench_list *list)
{
    native_list *native = list->native;
    free(native->keys);
    free(native->payloads);
    free(native);
}

static simdrive_append_mode append_mode(void)
{
    const char *wanted = getenv("BENCH_APPEND");
    return wanted != NULL && strcmp(wanted, "map") == 0 ? SIMDRIVE_APPEND_MAP : SIMDRIVE_APPEND_WRITE;
}

static simdrive_open_options options_of(const bench_plan *plan)
{
    static const simdrive_sync_policy policies[] = {
        [BENCH_SYNC_NONE] = SIMDRIVE_SYNC_NONE,
        [BENCH_SYNC_EACH] = SIMDRIVE_SYNC_COMMIT,
        [BENCH_SYNC_INTERVAL] = SIMDRIVE_SYNC_INTERVAL,
    };
    return (simdrive_open_options){
        .struct_size = sizeof(simdrive_open_options),
        .must_create = plan->create,
        .must_exist = !plan->create,
        .sync = policies[plan->sync],
        .saved_index = SIMDRIVE_SAVED_INDEX_OFF, /* O1-saved looks at that */
        .append = append_mode(),
    };
}

static void *open_store(const bench_plan *plan)
{
    simdrive_store *store = NULL;
    simdrive_open_options options = options_of(plan);
    require_ok(simdrive_open(plan->path, &options, &store), plan->create ? "creating a store" : "opening a store");
    return store;
}

static void close_store(void *store)
{
    require_ok(simdrive_close(store), "closing a store");
}

static void put(void *store, const char *key, size_t key_size, const void *payload, size_t size)
{
    require_ok(simdrive_write(store, key, key_size, payload, size, NULL), "write");
}

static void put_batch(void *store, const bench_list *list, size_t first, size_t count)
{
    const native_list *native = list->native;
    require_ok(simdrive_write_batch(store, native->keys + first, native->payloads + first, count, NULL), "batch");
}

typedef struct memory_source {
    const unsigned char *rest;
    size_t left;
} memory_source;

static simdrive_status give(void *user, void *buffer, size_t capacity, size_t *produced)
{
    memory_source *source = user;
    *produced = source->left < capacity ? source->left : capacity;
    memcpy(buffer, source->rest, *produced);
    source->rest += *produced;
    source->left -= *produced;
    return SIMDRIVE_OK;
}

static void put_stream(void *store, const char *key, size_t key_size, const void *payload, size_t size)
{
    memory_source source = {payload, size};
    require_ok(simdrive_write_stream(store, key, key_size, give, &source, 0, NULL), "stream");
}

static void *read_without_session(void *store)
{
    return store;
}

static void nothing_to_end(void *reader)
{
    (void)reader;
}

static bool read_one(void *store, const char *key, size_t key_size)
{
    simdrive_entry entry = {0};
    if (simdrive_read(store, key, key_size, &entry) != SIMDRIVE_OK)
        return false;
    bench_touch(entry.data, entry.size);
    simdrive_entry_release(&entry);
    return true;
}

static uint64_t first_byte(const void *payload)
{
    return *(const unsigned char *)payload;
}

/* Keeps the compiler from leaving out what was read. */
static void keep(uint64_t sum)
{
    __asm__ volatile("" : : "r"(sum));
}

static uint64_t read_each(void *store, const bench_list *list, size_t first, size_t count)
{
    const simdrive_bytes *keys = ((const native_list *)list->native)->keys + first;
    uint64_t found = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        simdrive_entry entry = {0};
        if (simdrive_read(store, keys[i].data, keys[i].size, &entry) != SIMDRIVE_OK)
            continue;
        sum += first_byte(entry.data);
        found++;
        simdrive_entry_release(&entry);
    }
    keep(sum);
    return found;
}

static uint64_t read_batch(void *store, const bench_list *list, size_t first, size_t count)
{
    simdrive_entry entries[batch_size];
    size_t found = 0;
    uint64_t sum = 0;
    bench_require(count <= batch_size, "a batch of that size");
    require_ok(simdrive_read_batch(store, ((const native_list *)list->native)->keys + first, count, entries, &found),
               "batch read");
    for (size_t i = 0; i < count; i++)
        sum += entries[i].data != NULL ? first_byte(entries[i].data) : 0;
    simdrive_entries_release(entries, count);
    keep(sum);
    return found;
}

static uint64_t iterate_all(void *store)
{
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    uint64_t count = 0;
    uint64_t sum = 0;
    require_ok(simdrive_iterate(store, &iterator), "iterate");
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        sum += first_byte(entry->data);
        count++;
    }
    simdrive_iterator_close(iterator);
    keep(sum);
    return count;
}

typedef struct thread_sum {
    _Alignas(128) uint64_t sum;
    uint64_t count;
} thread_sum;

static simdrive_status visit_one(void *user, unsigned thread, const simdrive_entry *entry)
{
    thread_sum *own = (thread_sum *)user + thread;
    own->sum += first_byte(entry->data);
    own->count++;
    return SIMDRIVE_OK;
}

static uint64_t visit_all(void *store)
{
    enum { threads = 2 };
    thread_sum sums[threads] = {{0}};
    require_ok(simdrive_visit(store, threads, visit_one, sums), "visit");
    keep(sums[0].sum + sums[1].sum);
    return sums[0].count + sums[1].count;
}

static void compact(void *store)
{
    require_ok(simdrive_compact(store, NULL, NULL), "compaction");
}

static uint64_t index_bytes(void *store)
{
    simdrive_info info = {.struct_size = sizeof info};
    require_ok(simdrive_get_info(store, &info), "info");
    return info.index_bytes;
}

static bench_engine engine = {
    .list_make = make_list,
    .list_free = free_list,
    .open = open_store,
    .close = close_store,
    .put = put,
    .put_batch = put_batch,
    .put_stream = put_stream,
    .reader_begin = read_without_session,
    .reader_end = nothing_to_end,
    .read = read_one,
    .read_each = read_each,
    .read_batch = read_batch,
    .walk = iterate_all,
    .walk_two_threads = visit_all,
    .compact = compact,
    .index_bytes = index_bytes,
};

static void name_engine(void)
{
    bool map = append_mode() == SIMDRIVE_APPEND_MAP;
    engine.name = map ? "simdrive-map" : "simdrive";
    engine.settings = map ? "appends through the map (SIMDRIVE_APPEND_MAP), otherwise default options: checksums, "
                            "batches all or nothing, no sync; W2d and W2d-8 with SIMDRIVE_SYNC_COMMIT; saved index off"
                          : "default options: checksums, batches all or nothing, no sync; W2d and W2d-8 with "
                            "SIMDRIVE_SYNC_COMMIT; saved index off but in O1-saved";
}

/* ----- Reads in a session ----- */

static void *begin_session(void *store)
{
    simdrive_session *session = NULL;
    require_ok(simdrive_session_begin(store, &session), "session");
    return session;
}

static void end_session(void *session)
{
    simdrive_session_end(session);
}

static bool session_read_one(void *session, const char *key, size_t key_size)
{
    simdrive_bytes payload;
    if (simdrive_session_read(session, key, key_size, &payload) != SIMDRIVE_OK)
        return false;
    bench_touch(payload.data, payload.size);
    return true;
}

static uint64_t session_read_each(void *session, const bench_list *list, size_t first, size_t count)
{
    const simdrive_bytes *keys = ((const native_list *)list->native)->keys + first;
    uint64_t found = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        simdrive_bytes payload;
        if (simdrive_session_read(session, keys[i].data, keys[i].size, &payload) != SIMDRIVE_OK)
            continue;
        sum += first_byte(payload.data);
        found++;
    }
    keep(sum);
    return found;
}

static uint64_t session_read_batch(void *session, const bench_list *list, size_t first, size_t count)
{
    uint64_t hashes[batch_size];
    simdrive_bytes payloads[batch_size];
    uint64_t sum = 0;
    size_t found = 0;
    bench_require(count <= batch_size, "a batch of that size");
    simdrive_hash_keys(((const native_list *)list->native)->keys + first, count, hashes);
    require_ok(simdrive_session_read_batch_hash(session, hashes, count, payloads, &found), "batch read");
    for (size_t i = 0; i < count; i++)
        sum += payloads[i].data != NULL ? first_byte(payloads[i].data) : 0;
    keep(sum);
    return found;
}

static bench_engine with_sessions(void)
{
    bench_engine changed = engine;
    changed.reader_begin = begin_session;
    changed.reader_end = end_session;
    changed.read = session_read_one;
    changed.read_each = session_read_each;
    changed.read_batch = session_read_batch;
    return changed;
}

static void r1s_session_reads(const bench_config *config)
{
    bench_engine sessions = with_sessions();
    bench_run_reads(config, &sessions, "bench-key-", false);
}

static void r2s_session_batch_reads(const bench_config *config)
{
    bench_engine sessions = with_sessions();
    bench_run_reads(config, &sessions, "bench-key-", true);
}

/* ----- Writes with a sync at intervals ----- */

static void w2i_interval(const bench_config *config)
{
    bench_run_single_writes(config, BENCH_SYNC_INTERVAL, bench_scaled(config, 200000, 1000));
}

/* ----- Opening from a saved index ----- */

static void *open_with_saved_index(const bench_plan *plan)
{
    simdrive_store *store = NULL;
    const simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    require_ok(simdrive_open(plan->path, &options, &store), "open");
    return store;
}

static void o1_open_with_saved_index(const bench_config *config)
{
    simdrive_open_options options = {.struct_size = sizeof options, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS};
    char *path = bench_path(config, "w1.store"), *index = bench_path(config, "w1.store.index");
    simdrive_store *store = NULL;
    bench_engine from_saved = engine;
    remove(index);
    require_ok(simdrive_open(path, &options, &store), "open");
    double began = bench_now_seconds();
    require_ok(simdrive_close(store), "saving the index");
    bench_report("saving", "ms", (bench_now_seconds() - began) * 1e3);
    from_saved.open = open_with_saved_index;
    bench_run_opening(config, &from_saved);
    remove(index);
    free(index);
    free(path);
}

/* ----- Writes beside a compaction ----- */

/* Overwrites one key after the other, and notes how long each took. */
typedef struct overwriter {
    simdrive_store *store;
    const bench_keys *keys;
    size_t next;
    size_t noted;
    bench_latencies *latencies; /* NULL: not noted */
} overwriter;

enum { pause_payload = 100, writes_between_looks = 64 };

static void overwrite(overwriter *writer, size_t count)
{
    unsigned char payload[pause_payload];
    memset(payload, 'y', sizeof payload);
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *key = bench_key(writer->keys, writer->next++ % writer->keys->count, &size);
        uint64_t began = bench_now_ns();
        require_ok(simdrive_write(writer->store, key, size, payload, sizeof payload, NULL), "write");
        if (writer->latencies != NULL)
            bench_latencies_note(writer->latencies, bench_now_ns() - began);
        writer->noted += writer->latencies != NULL;
    }
}

static void overwrite_unnoted(overwriter *writer, size_t count)
{
    bench_latencies *noting = writer->latencies;
    writer->latencies = NULL;
    overwrite(writer, count);
    writer->latencies = noting;
}

/* A writer at full speed: how long its writes take without a compaction, and while one runs. */
static void c2_pauses(const bench_config *config)
{
    size_t count = bench_entry_count(config);
    bench_keys keys = bench_keys_make("bench-key-", count, true);
    char *path = bench_new_path(config, "c2.store");
    bench_plan plan = {.path = path, .create = true};
    overwriter writer = {.store = open_store(&plan), .keys = &keys, .latencies = bench_latencies_new()};
    double times[passes];
    overwrite_unnoted(&writer, count);
    overwrite_unnoted(&writer, count / 4);
    overwrite(&writer, count / 4);
    bench_latencies_report(writer.latencies, "alone", false);
    writer.latencies = bench_latencies_new();
    writer.noted = 0;
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        require_ok(simdrive_compact_begin(writer.store, NULL), "compaction");
        do
            overwrite(&writer, writes_between_looks);
        while (simdrive_compact_wait(writer.store, 0, NULL) == SIMDRIVE_END);
        times[i] = (bench_now_seconds() - began) * 1e3;
        require_ok(simdrive_compact_wait(writer.store, 0, NULL), "compaction");
        overwrite_unnoted(&writer, count / 2);
    }
    bench_report("writes", "entries/s", (double)writer.noted * 1e3 / (times[0] + times[1] + times[2]));
    bench_latencies_report(writer.latencies, "meanwhile", false);
    bench_report("time", "ms", bench_median(times, passes));
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    require_ok(simdrive_get_statistics(writer.store, &statistics), "statistics");
    bench_report("longest turn", "us", (double)statistics.compaction_pause_max_ns / 1e3);
    bench_require(simdrive_count(writer.store) == count, "keeping what is live");
    close_store(writer.store);
    bench_keys_free(&keys);
    free(path);
    free(bench_new_path(config, "c2.store"));
}

int main(int argc, char **argv)
{
    static const bench_workload own[] = {
        {"W2i", w2i_interval},
        {"R1-session", r1s_session_reads},
        {"R2-session", r2s_session_batch_reads},
        {"O1-saved", o1_open_with_saved_index},
        {"C2", c2_pauses},
    };
    name_engine();
    return bench_engine_main(argc, argv, &engine, own, sizeof own / sizeof *own);
}
