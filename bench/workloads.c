/* SPDX-License-Identifier: Apache-2.0
 *
 * workloads.c — the workloads of docs/benchmarks.md, on any engine (engine.h).
 *
 * One function for each workload. What is inside the clock is what a user of the system pays; keys are formatted and
 * payloads made before it starts. W1 leaves the store that the reading workloads use. Throughput is measured without
 * looking at the clock between operations; latencies come from a second pass, with a look before and after each.
 */
#include "engine.h"
#include "larger_than_memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    batch_size = 1024,
    passes = 3,
    thread_count = 8,
    small_payload = 128,
};

static const bench_engine *the_engine; /* of this program */

size_t bench_entry_count(const bench_config *config)
{
    return bench_scaled(config, 1000000, 10000);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ----- Lists and stores ----- */

static bench_list list_make(const bench_engine *engine, const bench_keys *keys, const bench_bytes *payloads)
{
    bench_bytes *bytes = bench_allocate(keys->count, sizeof *bytes);
    for (size_t i = 0; i < keys->count; i++)
        bytes[i].data = bench_key(keys, i, &bytes[i].size);
    bench_list list = {bytes, payloads, keys->count, NULL};
    if (engine->list_make != NULL)
        engine->list_make(&list);
    return list;
}

static void list_free(const bench_engine *engine, bench_list *list)
{
    if (engine->list_free != NULL)
        engine->list_free(list);
    free((void *)(uintptr_t)list->keys);
}

static bench_bytes *same_payload(size_t count, const void *payload, size_t size)
{
    bench_bytes *payloads = bench_allocate(count, sizeof *payloads);
    for (size_t i = 0; i < count; i++)
        payloads[i] = (bench_bytes){payload, size};
    return payloads;
}

static void *filled_payload(size_t size)
{
    void *payload = bench_allocate(1, size);
    memset(payload, 'x', size);
    return payload;
}

static void *open_new(const bench_engine *engine, const bench_config *config, const char *name, bench_plan plan)
{
    char *path = bench_new_path(config, name);
    plan.path = path;
    plan.create = true;
    void *store = engine->open(&plan);
    free(path);
    return store;
}

static bench_plan w1_plan(const bench_config *config, const char *path)
{
    size_t count = bench_entry_count(config);
    return (bench_plan){.path = path, .entries = count, .bytes = count * sizeof(uint64_t)};
}

static void *open_filled(const bench_engine *engine, const bench_config *config)
{
    char *path = bench_path(config, "w1.store");
    bench_read_files(path);
    bench_plan plan = w1_plan(config, path);
    void *store = engine->open(&plan);
    free(path);
    return store;
}

static void remove_store(const bench_config *config, const char *name)
{
    free(bench_new_path(config, name));
}

static void report_file(const bench_config *config, const char *name, size_t entries)
{
    char *path = bench_path(config, name);
    bench_report("file", "bytes/entry", (double)bench_disk_bytes(path) / (double)entries);
    free(path);
}

/* `bench-key-{i}` with 8 bytes each, as a list to be written. */
typedef struct small_entries {
    bench_keys keys;
    uint64_t *values;
    bench_bytes *payloads;
    bench_list list;
} small_entries;

static small_entries small_entries_make(size_t count)
{
    small_entries all = {.keys = bench_keys_make("bench-key-", count, false)};
    all.values = bench_allocate(count, sizeof *all.values);
    all.payloads = bench_allocate(count, sizeof *all.payloads);
    for (size_t i = 0; i < count; i++) {
        all.values[i] = i + 1; /* not 0: the Rust implementation cannot compact an all-zero payload */
        all.payloads[i] = (bench_bytes){&all.values[i], sizeof all.values[i]};
    }
    all.list = list_make(the_engine, &all.keys, all.payloads);
    return all;
}

static void small_entries_free(small_entries *all)
{
    list_free(the_engine, &all->list);
    free(all->payloads);
    free(all->values);
    bench_keys_free(&all->keys);
}

static void put_in_batches(void *store, const bench_list *list, size_t in_batch)
{
    for (size_t i = 0; i < list->count; i += in_batch)
        the_engine->put_batch(store, list, i, smaller(list->count - i, in_batch));
}

static void fill(void *store, size_t count)
{
    small_entries all = small_entries_make(count);
    put_in_batches(store, &all.list, batch_size);
    small_entries_free(&all);
}

/* ----- Writing ----- */

static void w1_small_batches(const bench_config *config)
{
    size_t count = bench_entry_count(config);
    small_entries all = small_entries_make(count);
    void *store = open_new(the_engine, config, "w1.store", w1_plan(config, NULL));
    bench_forget_peak();
    uint64_t before = bench_memory("RssAnon");
    double began = bench_now_seconds();
    put_in_batches(store, &all.list, batch_size);
    bench_report("rate", "entries/s", (double)count / (bench_now_seconds() - began));
    uint64_t peak = bench_peak_beyond_files();
    bench_report("peak", "bytes", peak > before ? (double)(peak - before) : 0);
    if (the_engine->index_bytes != NULL)
        bench_report("index", "bytes/key", (double)the_engine->index_bytes(store) / (double)count);
    if (the_engine->settle != NULL)
        the_engine->settle(store);
    the_engine->close(store);
    report_file(config, "w1.store", count);
    small_entries_free(&all);
}

static void put_all(void *store, const bench_keys *keys, const bench_bytes *payload, bench_latencies *latencies)
{
    for (size_t i = 0; i < keys->count; i++) {
        size_t size;
        const char *key = bench_key(keys, i, &size);
        uint64_t began = latencies != NULL ? bench_now_ns() : 0;
        the_engine->put(store, key, size, payload->data, payload->size);
        if (latencies != NULL)
            bench_latencies_note(latencies, bench_now_ns() - began);
    }
}

/* Writes all keys once to a new store; returns the seconds that took. */
static double put_to_new_store(const bench_config *config, const bench_keys *keys, bench_sync when,
                               bench_latencies *latencies)
{
    bench_bytes payload = {filled_payload(small_payload), small_payload};
    bench_plan plan = {.sync = when, .entries = keys->count, .bytes = keys->count * small_payload};
    void *store = open_new(the_engine, config, "w2.store", plan);
    if (when != BENCH_SYNC_NONE)
        sync(); /* what earlier programs left to be written must not count here */
    double began = bench_now_seconds();
    put_all(store, keys, &payload, latencies);
    double seconds = bench_now_seconds() - began;
    the_engine->close(store);
    free((void *)(uintptr_t)payload.data);
    return seconds;
}

void bench_run_single_writes(const bench_config *config, bench_sync when, size_t count)
{
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    bench_report("rate", "entries/s", (double)count / put_to_new_store(config, &keys, when, NULL));
    report_file(config, "w2.store", count);
    bench_latencies *latencies = bench_latencies_new();
    put_to_new_store(config, &keys, when, latencies);
    bench_latencies_report(latencies, "", false);
    bench_keys_free(&keys);
    remove_store(config, "w2.store");
}

static void w2_single_writes(const bench_config *config)
{
    bench_run_single_writes(config, BENCH_SYNC_NONE, bench_scaled(config, 200000, 1000));
}

static void w2d_durable(const bench_config *config)
{
    bench_run_single_writes(config, BENCH_SYNC_EACH, bench_scaled(config, 500, 50));
}

/* Small entries one by one, so that the index grows many times and the growing is most of what can be seen. */
static void w2_growth(const bench_config *config)
{
    size_t count = bench_entry_count(config);
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    uint64_t value = 1;
    bench_bytes payload = {&value, sizeof value};
    void *store = open_new(the_engine, config, "w2.store", w1_plan(config, NULL));
    bench_latencies *latencies = bench_latencies_new();
    double began = bench_now_seconds();
    put_all(store, &keys, &payload, latencies);
    bench_report("rate", "entries/s", (double)count / (bench_now_seconds() - began));
    bench_latencies_report(latencies, "", true);
    if (the_engine->index_bytes != NULL)
        bench_report("index", "bytes/key", (double)the_engine->index_bytes(store) / (double)count);
    the_engine->close(store);
    bench_keys_free(&keys);
    remove_store(config, "w2.store");
}

typedef struct parallel_writes {
    void *store;
    const bench_keys *keys;
    const void *payload;
    size_t payload_size;
    size_t each; /* entries per thread */
} parallel_writes;

static void write_share(void *user, unsigned thread)
{
    const parallel_writes *all = user;
    for (size_t i = thread * all->each; i < (thread + 1) * all->each; i++) {
        size_t size;
        const char *key = bench_key(all->keys, i, &size);
        the_engine->put(all->store, key, size, all->payload, all->payload_size);
    }
}

static void write_in_threads(const bench_config *config, size_t count, size_t payload_size, bench_sync when)
{
    size_t each = count / thread_count;
    bench_keys keys = bench_keys_make("bench-key-", each * thread_count, false);
    void *payload = filled_payload(payload_size);
    bench_plan plan = {.sync = when, .entries = count, .bytes = count * payload_size};
    void *store = open_new(the_engine, config, "w3.store", plan);
    parallel_writes all = {store, &keys, payload, payload_size, each};
    if (when != BENCH_SYNC_NONE)
        sync();
    double seconds = bench_threads_run(thread_count, write_share, &all);
    bench_report("rate", "entries/s", (double)(each * thread_count) / seconds);
    the_engine->close(store);
    free(payload);
    bench_keys_free(&keys);
    remove_store(config, "w3.store");
}

static void w3_threads(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 200000, 800), small_payload, BENCH_SYNC_NONE);
}

static void w3_threads_4k(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 50000, 800), 4096, BENCH_SYNC_NONE);
}

static void w3_threads_64k(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 8000, 80), 65536, BENCH_SYNC_NONE);
}

static void w2d8_durable_threads(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 4000, 400), small_payload, BENCH_SYNC_EACH);
}

static void w4_large_batches(const bench_config *config)
{
    enum { payload_size = 256 * 1024, in_batch = 16 };
    size_t count = bench_scaled(config, 4000, 160) / in_batch * in_batch;
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    unsigned char *payload = bench_allocate(in_batch, payload_size);
    bench_bytes *payloads = bench_allocate(count, sizeof *payloads);
    for (size_t i = 0; i < in_batch; i++)
        memset(payload + i * payload_size, 'a' + (int)i, payload_size);
    for (size_t i = 0; i < count; i++)
        payloads[i] = (bench_bytes){payload + i % in_batch * payload_size, payload_size};
    bench_list list = list_make(the_engine, &keys, payloads);
    bench_plan plan = {.entries = count, .bytes = count * payload_size};
    void *store = open_new(the_engine, config, "w4.store", plan);
    double began = bench_now_seconds();
    put_in_batches(store, &list, in_batch);
    bench_report("rate", "bytes/s", (double)count * payload_size / (bench_now_seconds() - began));
    the_engine->close(store);
    list_free(the_engine, &list);
    free(payloads);
    free(payload);
    bench_keys_free(&keys);
    remove_store(config, "w4.store");
}

static void w4s_stream(const bench_config *config)
{
    size_t size = bench_scaled(config, 64 << 20, 8 << 20);
    void *payload = filled_payload(size);
    bench_plan plan = {.entries = passes, .bytes = passes * size};
    void *store = open_new(the_engine, config, "w4s.store", plan);
    double rates[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        (the_engine->put_stream != NULL ? the_engine->put_stream : the_engine->put)(store, (const char *)&i, sizeof i,
                                                                                    payload, size);
        rates[i] = (double)size / (bench_now_seconds() - began);
    }
    bench_report("rate", "bytes/s", bench_median(rates, passes));
    the_engine->close(store);
    free(payload);
    remove_store(config, "w4s.store");
}

/* ----- Reading ----- */

static uint64_t read_all(const bench_engine *engine, void *reader, const bench_list *list, bool batches)
{
    if (!batches)
        return engine->read_each(reader, list, 0, list->count);
    uint64_t found = 0;
    for (size_t i = 0; i < list->count; i += batch_size)
        found += engine->read_batch(reader, list, i, smaller(list->count - i, batch_size));
    return found;
}

static void time_each_read(const bench_engine *engine, void *reader, const bench_list *list)
{
    bench_latencies *latencies = bench_latencies_new();
    for (size_t i = 0; i < list->count; i++) {
        uint64_t began = bench_now_ns();
        engine->read(reader, list->keys[i].data, list->keys[i].size);
        bench_latencies_note(latencies, bench_now_ns() - began);
    }
    bench_latencies_report(latencies, "", false);
}

/* One pass to warm up, then `passes` with the clock. */
void bench_run_reads(const bench_config *config, const bench_engine *engine, const char *prefix, bool batches)
{
    size_t count = bench_entry_count(config);
    void *store = open_filled(engine, config);
    void *reader = engine->reader_begin(store);
    bench_keys keys = bench_keys_make(prefix, count, true);
    bench_list list = list_make(engine, &keys, NULL);
    uint64_t expected = strcmp(prefix, "bench-key-") == 0 ? count : 0;
    bench_require(read_all(engine, reader, &list, batches) == expected, "finding what is there, and only that");
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        bench_require(read_all(engine, reader, &list, batches) == expected, "reading the same again");
        times[i] = (bench_now_seconds() - began) * 1e9 / (double)count;
    }
    bench_report("time", "ns/read", bench_median(times, passes));
    if (!batches)
        time_each_read(engine, reader, &list);
    list_free(engine, &list);
    bench_keys_free(&keys);
    engine->reader_end(reader);
    engine->close(store);
}

static void r1_single_reads(const bench_config *config)
{
    bench_run_reads(config, the_engine, "bench-key-", false);
}

static void r1m_missing_keys(const bench_config *config)
{
    bench_run_reads(config, the_engine, "missing-key-", false);
}

static void r2_batch_reads(const bench_config *config)
{
    bench_run_reads(config, the_engine, "bench-key-", true);
}

static void time_walk(const bench_config *config, uint64_t (*walk)(void *store))
{
    void *store = open_filled(the_engine, config);
    uint64_t count = walk(store);
    bench_require(count == bench_entry_count(config), "walking over all entries");
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        bench_require(walk(store) == count, "walking again");
        times[i] = (bench_now_seconds() - began) * 1e9 / (double)count;
    }
    bench_report("time", "ns/entry", bench_median(times, passes));
    the_engine->close(store);
}

static void r3_iteration(const bench_config *config)
{
    time_walk(config, the_engine->walk);
}

/* Two threads over an ordered store: they take pieces of it in turns, so that they end together. Piece i are the keys
 * that begin with the digits first_piece + i, those that sort before the first such, or after the last. */
enum { first_piece = 10, last_piece = 99, piece_count = last_piece - first_piece + 2 };

typedef struct shared_walk {
    void *store;
    atomic_size_t next;
    atomic_ullong count;
} shared_walk;

static bench_bytes bound_before(size_t piece, char *text, size_t capacity)
{
    if (piece == 0 || piece == piece_count)
        return (bench_bytes){NULL, 0};
    int size = snprintf(text, capacity, "bench-key-%zu", first_piece + piece - 1);
    return (bench_bytes){text, (size_t)size};
}

static void walk_pieces(void *user, unsigned thread)
{
    shared_walk *all = user;
    (void)thread;
    void *reader = the_engine->reader_begin(all->store);
    for (size_t piece = atomic_fetch_add(&all->next, 1); piece < piece_count; piece = atomic_fetch_add(&all->next, 1)) {
        char from[40];
        char to[40];
        bench_bytes begin = bound_before(piece, from, sizeof from);
        bench_bytes end = bound_before(piece + 1, to, sizeof to);
        atomic_fetch_add(&all->count, the_engine->walk_range(reader, begin, end));
    }
    the_engine->reader_end(reader);
}

static uint64_t walk_ranges(void *store)
{
    shared_walk all = {.store = store};
    bench_threads_run(2, walk_pieces, &all);
    return all.count;
}

static void r4_two_threads(const bench_config *config)
{
    time_walk(config, the_engine->walk_two_threads != NULL ? the_engine->walk_two_threads : walk_ranges);
}

typedef struct reading_beside {
    void *store;
    const bench_list *list;
    bool batches;
    double end; /* by the clock */
    atomic_bool stop;
    atomic_ullong reads;
    atomic_ullong missed;
    atomic_ullong writes;
} reading_beside;

static void write_at_full_speed(reading_beside *all)
{
    unsigned char payload[small_payload];
    memset(payload, 'x', sizeof payload);
    unsigned long long writes = 0;
    while (writes % 16 != 0 || bench_now_seconds() < all->end) {
        char key[32];
        int size = snprintf(key, sizeof key, "writer-key-%llu", writes++);
        the_engine->put(all->store, key, (size_t)size, payload, sizeof payload);
    }
    atomic_store(&all->stop, true);
    atomic_store(&all->writes, writes);
}

/* The writer says when it is over. Where readers keep it out for good, the clock does, once in a while. */
static bool reading_goes_on(reading_beside *all, unsigned turn)
{
    return !atomic_load_explicit(&all->stop, memory_order_relaxed)
           && (turn % 16 != 0 || bench_now_seconds() < all->end);
}

static void read_until_stopped(reading_beside *all, unsigned thread)
{
    size_t size = all->batches ? batch_size : 64; /* reads between two looks at the flag */
    size_t at = all->list->count / thread_count * thread;
    unsigned long long reads = 0;
    unsigned long long found = 0;
    void *reader = the_engine->reader_begin(all->store);
    for (unsigned turn = 0; reading_goes_on(all, turn); turn++) {
        if (at + size > all->list->count)
            at = 0;
        found += (all->batches ? the_engine->read_batch : the_engine->read_each)(reader, all->list, at, size);
        reads += size;
        at += size;
    }
    the_engine->reader_end(reader);
    atomic_fetch_add(&all->reads, reads);
    atomic_fetch_add(&all->missed, reads - found);
}

static void read_or_write(void *user, unsigned thread)
{
    if (thread == thread_count)
        write_at_full_speed(user);
    else
        read_until_stopped(user, thread);
}

static void read_beside_a_writer(const bench_config *config, bool batches)
{
    enum { most_writes_per_second = 4000000 };
    size_t count = bench_entry_count(config);
    double seconds = config->scale < 1 ? 0.5 : 2;
    size_t more = (size_t)(seconds * most_writes_per_second);
    bench_plan plan = {.entries = 2 * count, .bytes = count * sizeof(uint64_t) + more * small_payload};
    void *store = open_new(the_engine, config, "r5.store", plan);
    fill(store, count);
    bench_keys keys = bench_keys_make("bench-key-", count, true);
    bench_list list = list_make(the_engine, &keys, NULL);
    reading_beside all = {.store = store, .list = &list, .batches = batches,
                          .end = bench_now_seconds() + seconds};
    double took = bench_threads_run(thread_count + 1, read_or_write, &all);
    bench_report("reads", "reads/s", (double)all.reads / took);
    bench_report("writes", "entries/s", (double)all.writes / took);
    bench_report("missed", "reads", (double)all.missed);
    list_free(the_engine, &list);
    bench_keys_free(&keys);
    the_engine->close(store);
    remove_store(config, "r5.store");
}

static void r5_readers_and_writer(const bench_config *config)
{
    read_beside_a_writer(config, false);
}

static void r5b_batch_readers_and_writer(const bench_config *config)
{
    read_beside_a_writer(config, true);
}

/* ----- Mixed ----- */

/* After YCSB's core workloads. `payload` and the counts are what the name stands for. */
typedef struct mix {
    const char *name;
    unsigned percent_writes;
    bool read_first; /* a write is a read, and then a write of the same key */
} mix;

static const mix mixes[] = {
    {"YCSB-A", 50, false}, {"YCSB-B", 5, false}, {"YCSB-C", 0, false}, {"YCSB-F", 50, true},
};

typedef struct record_size {
    const char *name;
    size_t payload, records, operations;
} record_size;

static const record_size record_sizes[] = {
    {"-100", 100, 200000, 1000000},
    {"-4K", 4096, 50000, 200000},
    {"-256K", 262144, 1000, 4000},
};

typedef struct mixed_run {
    void *store;
    void *reader;
    const mix *how;
    const bench_operations *operations;
    bench_bytes payload;
} mixed_run;

static void operate(const mixed_run *run, size_t i)
{
    size_t size;
    const char *key = bench_key(&run->operations->keys, i, &size);
    bool write = run->operations->writes[i];
    if (!write || run->how->read_first)
        bench_require(the_engine->read(run->reader, key, size), "reading a record");
    if (write)
        the_engine->put(run->store, key, size, run->payload.data, run->payload.size);
}

static void run_mixed(const mixed_run *run)
{
    size_t count = run->operations->keys.count;
    double began = bench_now_seconds();
    for (size_t i = 0; i < count; i++)
        operate(run, i);
    bench_report("rate", "ops/s", (double)count / (bench_now_seconds() - began));
    bench_latencies *latencies = bench_latencies_new();
    for (size_t i = 0; i < count; i++) {
        uint64_t start = bench_now_ns();
        operate(run, i);
        bench_latencies_note(latencies, bench_now_ns() - start);
    }
    bench_latencies_report(latencies, "", false);
}

static void load(void *store, size_t records, const bench_bytes *payload)
{
    bench_keys keys = bench_keys_make("bench-key-", records, false);
    bench_bytes *payloads = same_payload(records, payload->data, payload->size);
    bench_list list = list_make(the_engine, &keys, payloads);
    put_in_batches(store, &list, payload->size < 1024 ? batch_size : smaller(batch_size, (4 << 20) / payload->size));
    list_free(the_engine, &list);
    free(payloads);
    bench_keys_free(&keys);
}

static void run_mix(const bench_config *config, const mix *how, const record_size *kind)
{
    size_t records = bench_scaled(config, kind->records, 100);
    size_t count = bench_scaled(config, kind->operations, 400);
    bench_operations operations = bench_operations_make("bench-key-", records, count, how->percent_writes);
    bench_bytes payload = {filled_payload(kind->payload), kind->payload};
    bench_plan plan = {.entries = records, .bytes = (records + 2 * count * how->percent_writes / 100) * payload.size};
    void *store = open_new(the_engine, config, "ycsb.store", plan);
    load(store, records, &payload);
    mixed_run run = {store, the_engine->reader_begin(store), how, &operations, payload};
    run_mixed(&run);
    the_engine->reader_end(run.reader);
    the_engine->close(store);
    free((void *)(uintptr_t)payload.data);
    bench_operations_free(&operations);
    remove_store(config, "ycsb.store");
}

/* All twelve: the name says which. */
static void ycsb(const bench_config *config)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        size_t length = strlen(mixes[i].name);
        for (size_t j = 0; j < sizeof record_sizes / sizeof *record_sizes; j++)
            if (strncmp(config->workload, mixes[i].name, length) == 0 &&
                strcmp(config->workload + length, record_sizes[j].name) == 0)
                run_mix(config, &mixes[i], &record_sizes[j]);
    }
}

/* ----- Opening, compaction ----- */

void bench_run_opening(const bench_config *config, const bench_engine *engine)
{
    char *path = bench_path(config, "w1.store");
    bench_plan plan = w1_plan(config, path);
    bench_read_files(path);
    uint64_t anonymous_before = bench_memory("RssAnon");
    void *store = engine->open(&plan);
    uint64_t anonymous = bench_memory("RssAnon") - anonymous_before;
    bench_report("memory", "bytes/key", (double)anonymous / (double)bench_entry_count(config));
    bench_report("peak", "bytes", (double)bench_peak_beyond_files());
    engine->close(store);
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        store = engine->open(&plan);
        times[i] = (bench_now_seconds() - began) * 1e3;
        engine->close(store);
    }
    bench_report("time", "ms", bench_median(times, passes));
    free(path);
}

static void o1_open(const bench_config *config)
{
    bench_run_opening(config, the_engine);
}

static void c1_compaction(const bench_config *config)
{
    size_t count = bench_entry_count(config);
    bench_plan plan = {.entries = count, .bytes = 2 * count * sizeof(uint64_t)};
    void *store = open_new(the_engine, config, "c1.store", plan);
    fill(store, count);
    fill(store, count);
    double began = bench_now_seconds();
    the_engine->compact(store);
    bench_report("time", "ms", (bench_now_seconds() - began) * 1e3);
    bench_require(the_engine->walk(store) == count, "keeping what is live");
    the_engine->close(store);
    remove_store(config, "c1.store");
}

/* ----- The table ----- */

static const bench_workload every_system[] = {
    {"W1", w1_small_batches},
    {"W2", w2_single_writes},
    {"W2-growth", w2_growth},
    {"W3", w3_threads},
    {"W3-4K", w3_threads_4k},
    {"W3-64K", w3_threads_64k},
    {"W4", w4_large_batches},
    {"W4s", w4s_stream},
    {"W2d", w2d_durable},
    {"W2d-8", w2d8_durable_threads},
    {"R1", r1_single_reads},
    {"R1-miss", r1m_missing_keys},
    {"R2", r2_batch_reads},
    {"R3", r3_iteration},
    {"R5", r5_readers_and_writer},
    {"R5-batch", r5b_batch_readers_and_writer},
    {"O1", o1_open},
    {"C1", c1_compaction},
    {"YCSB-A-100", ycsb},
    {"YCSB-A-4K", ycsb},
    {"YCSB-A-256K", ycsb},
    {"YCSB-B-100", ycsb},
    {"YCSB-B-4K", ycsb},
    {"YCSB-B-256K", ycsb},
    {"YCSB-C-100", ycsb},
    {"YCSB-C-4K", ycsb},
    {"YCSB-C-256K", ycsb},
    {"YCSB-F-100", ycsb},
    {"YCSB-F-4K", ycsb},
    {"YCSB-F-256K", ycsb},
};

int bench_engine_main(int argc, char **argv, const bench_engine *engine, const bench_workload *own, size_t own_count)
{
    enum { common = sizeof every_system / sizeof *every_system };
    bench_workload *all = bench_allocate(common + 1 + BENCH_LARGER_MOST + own_count, sizeof *all);
    size_t count = common;
    the_engine = engine;
    memcpy(all, every_system, sizeof every_system);
    if (engine->walk_two_threads != NULL || engine->walk_range != NULL)
        all[count++] = (bench_workload){"R4", r4_two_threads};
    count += bench_larger_than_memory(engine, all + count);
    for (size_t i = 0; i < own_count; i++)
        all[count++] = own[i];
    int status = bench_main(argc, argv, engine->name, engine->settings, all, count);
    free(all);
    return status;
}
