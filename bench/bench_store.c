/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_store.c — the workloads of docs/benchmarks.md on this library, through its public header.
 *
 * One function for each workload. What is inside the clock is what a user of the library pays; keys are formatted
 * and payloads made before it starts. W1 leaves the store that the reading workloads use.
 */
#include "harness.h"
#include "simdrive.h"

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

static void require_ok(simdrive_status status, const char *what)
{
    if (status == SIMDRIVE_OK)
        return;
    fprintf(stderr, "bench: %s: %s (os error %d)\n", what, simdrive_status_name(status), simdrive_last_os_error());
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    bench_require(memory != NULL, "memory");
    return memory;
}

static simdrive_bytes *keys_as_bytes(const bench_keys *keys)
{
    simdrive_bytes *bytes = allocate(keys->count, sizeof *bytes);
    for (size_t i = 0; i < keys->count; i++)
        bytes[i].data = bench_key(keys, i, &bytes[i].size);
    return bytes;
}

static simdrive_store *open_new(const bench_config *config, const char *name, simdrive_sync_policy sync)
{
    simdrive_store *store = NULL;
    simdrive_open_options options = {.struct_size = sizeof options, .must_create = true, .sync = sync};
    options.saved_index = SIMDRIVE_SAVED_INDEX_OFF; /* O1-saved looks at that */
    const char *append = getenv("BENCH_APPEND");
    if (append && strcmp(append, "map") == 0)
        options.append = SIMDRIVE_APPEND_MAP;
    char *path = bench_new_path(config, name);
    require_ok(simdrive_open(path, &options, &store), "creating a store");
    free(path);
    return store;
}

static simdrive_store *open_filled(const bench_config *config)
{
    simdrive_store *store = NULL;
    simdrive_open_options options = {.struct_size = sizeof options, .must_exist = true};
    options.saved_index = SIMDRIVE_SAVED_INDEX_OFF;
    char *path = bench_path(config, "w1.store");
    bench_read_file(path);
    require_ok(simdrive_open(path, &options, &store), "opening the store that W1 leaves");
    free(path);
    return store;
}

static void remove_store(const bench_config *config, const char *name)
{
    free(bench_new_path(config, name));
}

static size_t entry_count(const bench_config *config)
{
    return bench_scaled(config, 1000000, 10000);
}

/* Writes `bench-key-{i}` with 8 bytes each, in batches. Returns the seconds that took. */
static double fill(simdrive_store *store, size_t count)
{
    bench_keys text = bench_keys_make("bench-key-", count, false);
    simdrive_bytes *keys = keys_as_bytes(&text);
    simdrive_bytes *payloads = allocate(count, sizeof *payloads);
    uint64_t *values = allocate(count, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = i + 1; /* not 0: the Rust implementation cannot compact an all-zero payload */
        payloads[i] = (simdrive_bytes){&values[i], sizeof values[i]};
    }
    double began = bench_now_seconds();
    for (size_t i = 0; i < count; i += batch_size) {
        size_t size = count - i < batch_size ? count - i : batch_size;
        require_ok(simdrive_write_batch(store, keys + i, payloads + i, size, NULL), "batch");
    }
    double seconds = bench_now_seconds() - began;
    free(values);
    free(payloads);
    free(keys);
    bench_keys_free(&text);
    return seconds;
}

/* ----- Writing ----- */

static void w1_small_batches(const bench_config *config)
{
    size_t count = entry_count(config);
    simdrive_store *store = open_new(config, "w1.store", SIMDRIVE_SYNC_NONE);
    bench_report("rate", "entries/s", (double)count / fill(store, count));
    simdrive_info info = {.struct_size = sizeof info};
    require_ok(simdrive_get_info(store, &info), "info");
    bench_report("index", "bytes/key", (double)info.index_bytes / (double)count);
    simdrive_close(store);
}

static void w2_single_writes(const bench_config *config)
{
    size_t count = bench_scaled(config, 200000, 1000);
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    unsigned char payload[small_payload];
    memset(payload, 'x', sizeof payload);
    simdrive_store *store = open_new(config, "w2.store", SIMDRIVE_SYNC_NONE);
    double began = bench_now_seconds();
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *key = bench_key(&keys, i, &size);
        require_ok(simdrive_write(store, key, size, payload, sizeof payload, NULL), "write");
    }
    bench_report("rate", "entries/s", (double)count / (bench_now_seconds() - began));
    simdrive_close(store);
    bench_keys_free(&keys);
    remove_store(config, "w2.store");
}

typedef struct parallel_writes {
    simdrive_store *store;
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
        require_ok(simdrive_write(all->store, key, size, all->payload, all->payload_size, NULL), "write");
    }
}

static void write_in_threads(const bench_config *config, size_t count, size_t payload_size, simdrive_sync_policy sync)
{
    size_t each = count / thread_count;
    bench_keys keys = bench_keys_make("bench-key-", each * thread_count, false);
    void *payload = allocate(1, payload_size);
    memset(payload, 'x', payload_size);
    parallel_writes all = {open_new(config, "w3.store", sync), &keys, payload, payload_size, each};
    double seconds = bench_threads_run(thread_count, write_share, &all);
    bench_report("rate", "entries/s", (double)(each * thread_count) / seconds);
    simdrive_close(all.store);
    free(payload);
    bench_keys_free(&keys);
    remove_store(config, "w3.store");
}

static void w3_threads(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 200000, 800), small_payload, SIMDRIVE_SYNC_NONE);
}

static void w3_threads_4k(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 50000, 800), 4096, SIMDRIVE_SYNC_NONE);
}

static void w3_threads_64k(const bench_config *config)
{
    write_in_threads(config, bench_scaled(config, 8000, 80), 65536, SIMDRIVE_SYNC_NONE);
}

static void w4_large_batches(const bench_config *config)
{
    enum { payload_size = 256 * 1024, in_batch = 16 };
    size_t count = bench_scaled(config, 4000, 160) / in_batch * in_batch;
    bench_keys text = bench_keys_make("bench-key-", count, false);
    simdrive_bytes *keys = keys_as_bytes(&text);
    unsigned char *payload = allocate(in_batch, payload_size);
    simdrive_bytes payloads[in_batch];
    for (size_t i = 0; i < in_batch; i++) {
        memset(payload + i * payload_size, 'a' + (int)i, payload_size);
        payloads[i] = (simdrive_bytes){payload + i * payload_size, payload_size};
    }
    simdrive_store *store = open_new(config, "w4.store", SIMDRIVE_SYNC_NONE);
    double began = bench_now_seconds();
    for (size_t i = 0; i < count; i += in_batch)
        require_ok(simdrive_write_batch(store, keys + i, payloads, in_batch, NULL), "batch");
    bench_report("rate", "bytes/s", (double)count * payload_size / (bench_now_seconds() - began));
    simdrive_close(store);
    free(payload);
    free(keys);
    bench_keys_free(&text);
    remove_store(config, "w4.store");
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

static void w4s_stream(const bench_config *config)
{
    size_t size = bench_scaled(config, 64 << 20, 8 << 20);
    unsigned char *payload = allocate(1, size);
    memset(payload, 'x', size);
    simdrive_store *store = open_new(config, "w4s.store", SIMDRIVE_SYNC_NONE);
    double rates[passes];
    for (size_t i = 0; i < passes; i++) {
        memory_source source = {payload, size};
        double began = bench_now_seconds();
        require_ok(simdrive_write_stream(store, &i, sizeof i, give, &source, 0, NULL), "stream");
        rates[i] = (double)size / (bench_now_seconds() - began);
    }
    bench_report("rate", "bytes/s", bench_median(rates, passes));
    simdrive_close(store);
    free(payload);
    remove_store(config, "w4s.store");
}

static void w2d_durable(const bench_config *config)
{
    size_t count = bench_scaled(config, 500, 50);
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    unsigned char payload[small_payload];
    memset(payload, 'x', sizeof payload);
    simdrive_store *store = open_new(config, "w2d.store", SIMDRIVE_SYNC_COMMIT);
    sync(); /* what earlier programs left to be written must not count here */
    double began = bench_now_seconds();
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *key = bench_key(&keys, i, &size);
        require_ok(simdrive_write(store, key, size, payload, sizeof payload, NULL), "durable write");
    }
    bench_report("rate", "entries/s", (double)count / (bench_now_seconds() - began));
    simdrive_close(store);
    bench_keys_free(&keys);
    remove_store(config, "w2d.store");
}

static void w2d8_durable_threads(const bench_config *config)
{
    sync();
    write_in_threads(config, bench_scaled(config, 4000, 400), small_payload, SIMDRIVE_SYNC_COMMIT);
}

/* ----- Reading ----- */

/* One pass over the keys that touches each payload; returns how many were found. */
typedef uint64_t (*read_pass)(void *reader, const simdrive_bytes *keys, size_t count);

static uint64_t first_byte(const void *payload)
{
    return *(const unsigned char *)payload;
}

/* Keeps the compiler from leaving out what was read. */
static void keep(uint64_t sum)
{
    __asm__ volatile("" : : "r"(sum));
}

static uint64_t read_single(void *reader, const simdrive_bytes *keys, size_t count)
{
    uint64_t found = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        simdrive_entry entry = {0};
        if (simdrive_read(reader, keys[i].data, keys[i].size, &entry) != SIMDRIVE_OK)
            continue;
        sum += first_byte(entry.data);
        found++;
        simdrive_entry_release(&entry);
    }
    keep(sum);
    return found;
}

static uint64_t read_in_session(void *reader, const simdrive_bytes *keys, size_t count)
{
    uint64_t found = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        simdrive_bytes payload;
        if (simdrive_session_read(reader, keys[i].data, keys[i].size, &payload) != SIMDRIVE_OK)
            continue;
        sum += first_byte(payload.data);
        found++;
    }
    keep(sum);
    return found;
}

static uint64_t read_one_batch(simdrive_store *store, const simdrive_bytes *keys, size_t count)
{
    simdrive_entry entries[batch_size];
    size_t found = 0;
    uint64_t sum = 0;
    require_ok(simdrive_read_batch(store, keys, count, entries, &found), "batch read");
    for (size_t i = 0; i < count; i++)
        sum += entries[i].data != NULL ? first_byte(entries[i].data) : 0;
    simdrive_entries_release(entries, count);
    keep(sum);
    return found;
}

static uint64_t read_batches(void *reader, const simdrive_bytes *keys, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i += batch_size)
        found += read_one_batch(reader, keys + i, count - i < batch_size ? count - i : batch_size);
    return found;
}

static uint64_t read_batches_in_session(void *reader, const simdrive_bytes *keys, size_t count)
{
    uint64_t hashes[batch_size];
    simdrive_bytes payloads[batch_size];
    uint64_t found = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i += batch_size) {
        size_t size = count - i < batch_size ? count - i : batch_size;
        size_t in_batch = 0;
        simdrive_hash_keys(keys + i, size, hashes);
        require_ok(simdrive_session_read_batch_hash(reader, hashes, size, payloads, &in_batch), "batch read");
        for (size_t j = 0; j < size; j++)
            sum += payloads[j].data != NULL ? first_byte(payloads[j].data) : 0;
        found += in_batch;
    }
    keep(sum);
    return found;
}

/* One pass to warm up, then `passes` with the clock. */
static void time_reads(const bench_config *config, const char *prefix, read_pass pass, bool in_session)
{
    size_t count = entry_count(config);
    simdrive_store *store = open_filled(config);
    simdrive_session *session = NULL;
    if (in_session)
        require_ok(simdrive_session_begin(store, &session), "session");
    void *reader = in_session ? (void *)session : (void *)store;
    bench_keys text = bench_keys_make(prefix, count, true);
    simdrive_bytes *keys = keys_as_bytes(&text);
    uint64_t expected = strcmp(prefix, "bench-key-") == 0 ? count : 0;
    bench_require(pass(reader, keys, count) == expected, "finding what is there, and only that");
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        bench_require(pass(reader, keys, count) == expected, "reading the same again");
        times[i] = (bench_now_seconds() - began) * 1e9 / (double)count;
    }
    bench_report("time", "ns/read", bench_median(times, passes));
    free(keys);
    bench_keys_free(&text);
    simdrive_session_end(session);
    simdrive_close(store);
}

static void r1_single_reads(const bench_config *config)
{
    time_reads(config, "bench-key-", read_single, false);
}

static void r1m_missing_keys(const bench_config *config)
{
    time_reads(config, "missing-key-", read_single, false);
}

static void r1s_session_reads(const bench_config *config)
{
    time_reads(config, "bench-key-", read_in_session, true);
}

static void r2_batch_reads(const bench_config *config)
{
    time_reads(config, "bench-key-", read_batches, false);
}

static void r2s_session_batch_reads(const bench_config *config)
{
    time_reads(config, "bench-key-", read_batches_in_session, true);
}

static uint64_t iterate_all(simdrive_store *store)
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

static uint64_t visit_all(simdrive_store *store)
{
    enum { threads = 2 };
    thread_sum sums[threads] = {{0}};
    require_ok(simdrive_visit(store, threads, visit_one, sums), "visit");
    keep(sums[0].sum + sums[1].sum);
    return sums[0].count + sums[1].count;
}

static void time_walk(const bench_config *config, uint64_t (*walk)(simdrive_store *store))
{
    simdrive_store *store = open_filled(config);
    uint64_t count = walk(store);
    bench_require(count == entry_count(config), "walking over all entries");
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        bench_require(walk(store) == count, "walking again");
        times[i] = (bench_now_seconds() - began) * 1e9 / (double)count;
    }
    bench_report("time", "ns/entry", bench_median(times, passes));
    simdrive_close(store);
}

static void r3_iteration(const bench_config *config)
{
    time_walk(config, iterate_all);
}

static void r4_visit(const bench_config *config)
{
    time_walk(config, visit_all);
}

typedef struct reading_beside {
    simdrive_store *store;
    const simdrive_bytes *keys;
    size_t count;
    bool batches;
    double seconds;
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
    double end = bench_now_seconds() + all->seconds;
    while (writes % 16 != 0 || bench_now_seconds() < end) {
        char key[32];
        int size = snprintf(key, sizeof key, "writer-key-%llu", writes++);
        require_ok(simdrive_write(all->store, key, (size_t)size, payload, sizeof payload, NULL), "write");
    }
    atomic_store(&all->stop, true);
    atomic_store(&all->writes, writes);
}

static void read_until_stopped(reading_beside *all, unsigned thread)
{
    read_pass pass = all->batches ? read_batches : read_single;
    size_t size = all->batches ? batch_size : 64; /* reads between two looks at the flag */
    size_t at = all->count / thread_count * thread;
    unsigned long long reads = 0;
    unsigned long long found = 0;
    while (!atomic_load_explicit(&all->stop, memory_order_relaxed)) {
        if (at + size > all->count)
            at = 0;
        found += pass(all->store, all->keys + at, size);
        reads += size;
        at += size;
    }
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
    size_t count = entry_count(config);
    simdrive_store *store = open_new(config, "r5.store", SIMDRIVE_SYNC_NONE);
    fill(store, count);
    bench_keys text = bench_keys_make("bench-key-", count, true);
    simdrive_bytes *keys = keys_as_bytes(&text);
    reading_beside all = {.store = store, .keys = keys, .count = count, .batches = batches,
                          .seconds = config->scale < 1 ? 0.5 : 2};
    double seconds = bench_threads_run(thread_count + 1, read_or_write, &all);
    bench_report("reads", "reads/s", (double)all.reads / seconds);
    bench_report("writes", "entries/s", (double)all.writes / seconds);
    bench_report("missed", "reads", (double)all.missed);
    free(keys);
    bench_keys_free(&text);
    simdrive_close(store);
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

/* ----- Opening, compaction ----- */

static void measure_opening(const bench_config *config, const char *path, const simdrive_open_options *options)
{
    simdrive_store *store = NULL;
    uint64_t anonymous_before = bench_memory("RssAnon");
    require_ok(simdrive_open(path, options, &store), "open");
    uint64_t anonymous = bench_memory("RssAnon") - anonymous_before;
    uint64_t beyond_file = bench_memory("VmHWM") - bench_memory("RssFile");
    bench_report("memory", "bytes/key", (double)anonymous / (double)entry_count(config));
    bench_report("peak", "bytes", (double)beyond_file);
    simdrive_close(store);
    double times[passes];
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        require_ok(simdrive_open(path, options, &store), "open");
        times[i] = (bench_now_seconds() - began) * 1e3;
        simdrive_close(store);
    }
    bench_report("time", "ms", bench_median(times, passes));
}

static void o1_open(const bench_config *config)
{
    const simdrive_open_options options = {.struct_size = sizeof options, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    char *path = bench_path(config, "w1.store");
    bench_read_file(path);
    measure_opening(config, path, &options);
    free(path);
}

static void o1_open_with_saved_index(const bench_config *config)
{
    simdrive_open_options options = {.struct_size = sizeof options, .saved_index = SIMDRIVE_SAVED_INDEX_ALWAYS};
    char *path = bench_path(config, "w1.store"), *index = bench_path(config, "w1.store.index");
    simdrive_store *store = NULL;
    remove(index);
    require_ok(simdrive_open(path, &options, &store), "open");
    double began = bench_now_seconds();
    require_ok(simdrive_close(store), "saving the index");
    bench_report("saving", "ms", (bench_now_seconds() - began) * 1e3);
    bench_read_file(path);
    options.saved_index = SIMDRIVE_SAVED_INDEX_AUTO;
    options.read_only = true;
    measure_opening(config, path, &options);
    remove(index);
    free(index);
    free(path);
}

static void c1_compaction(const bench_config *config)
{
    size_t count = entry_count(config);
    simdrive_store *store = open_new(config, "c1.store", SIMDRIVE_SYNC_NONE);
    fill(store, count);
    fill(store, count);
    double began = bench_now_seconds();
    require_ok(simdrive_compact(store, NULL, NULL), "compaction");
    bench_report("time", "ms", (bench_now_seconds() - began) * 1e3);
    bench_require(simdrive_count(store) == count, "keeping what is live");
    simdrive_close(store);
    remove_store(config, "c1.store");
}

/* Times of single writes, in nanoseconds. */
typedef struct latencies {
    uint64_t *ns;
    size_t count, capacity;
} latencies;

static void note_latency(latencies *all, double seconds)
{
    if (all->count == all->capacity) {
        all->capacity = all->capacity > 0 ? all->capacity * 2 : 1 << 20;
        all->ns = realloc(all->ns, all->capacity * sizeof *all->ns);
        bench_require(all->ns != NULL, "memory");
    }
    all->ns[all->count++] = (uint64_t)(seconds * 1e9);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report_latencies(const char *when, latencies *all)
{
    static const struct {
        const char *name;
        double part;
    } figures[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    bench_require(all->count > 0, "writing meanwhile");
    qsort(all->ns, all->count, sizeof *all->ns, by_size);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char metric[40];
        snprintf(metric, sizeof metric, "%s %s", when, figures[i].name);
        bench_report(metric, "us", (double)all->ns[(size_t)((double)(all->count - 1) * figures[i].part)] / 1e3);
    }
    free(all->ns);
    *all = (latencies){0};
}

/* Overwrites one key after the other, and notes how long each took. */
typedef struct overwriter {
    simdrive_store *store;
    const bench_keys *keys;
    size_t next;
    latencies latencies;
} overwriter;

enum { pause_payload = 100, writes_between_looks = 64 };

static void overwrite(overwriter *writer, size_t count, bool note)
{
    unsigned char payload[pause_payload];
    memset(payload, 'y', sizeof payload);
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *key = bench_key(writer->keys, writer->next++ % writer->keys->count, &size);
        double began = bench_now_seconds();
        require_ok(simdrive_write(writer->store, key, size, payload, sizeof payload, NULL), "write");
        if (note)
            note_latency(&writer->latencies, bench_now_seconds() - began);
    }
}

/* A writer at full speed: how long its writes take without a compaction, and while one runs. */
static void c2_pauses(const bench_config *config)
{
    size_t count = entry_count(config);
    bench_keys keys = bench_keys_make("bench-key-", count, true);
    overwriter writer = {open_new(config, "c2.store", SIMDRIVE_SYNC_NONE), &keys, 0, {0}};
    double times[passes];
    size_t meanwhile = 0;
    overwrite(&writer, count, false);
    overwrite(&writer, count / 4, false);
    overwrite(&writer, count / 4, true);
    report_latencies("alone", &writer.latencies);
    for (size_t i = 0; i < passes; i++) {
        double began = bench_now_seconds();
        require_ok(simdrive_compact_begin(writer.store, NULL), "compaction");
        do
            overwrite(&writer, writes_between_looks, true);
        while (simdrive_compact_wait(writer.store, 0, NULL) == SIMDRIVE_END);
        times[i] = (bench_now_seconds() - began) * 1e3;
        require_ok(simdrive_compact_wait(writer.store, 0, NULL), "compaction");
        meanwhile = writer.latencies.count;
        overwrite(&writer, count / 2, false);
    }
    bench_report("writes", "entries/s", (double)meanwhile * 1e3 / (times[0] + times[1] + times[2]));
    report_latencies("meanwhile", &writer.latencies);
    bench_report("time", "ms", bench_median(times, passes));
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    require_ok(simdrive_get_statistics(writer.store, &statistics), "statistics");
    bench_report("longest turn", "us", (double)statistics.compaction_pause_max_ns / 1e3);
    bench_require(simdrive_count(writer.store) == count, "keeping what is live");
    simdrive_close(writer.store);
    bench_keys_free(&keys);
    remove_store(config, "c2.store");
}

int main(int argc, char **argv)
{
    static const bench_workload workloads[] = {
        {"W1", w1_small_batches},
        {"W2", w2_single_writes},
        {"W3", w3_threads},
        {"W3-4K", w3_threads_4k},
        {"W3-64K", w3_threads_64k},
        {"W4", w4_large_batches},
        {"W4s", w4s_stream},
        {"W2d", w2d_durable},
        {"W2d-8", w2d8_durable_threads},
        {"R1", r1_single_reads},
        {"R1-miss", r1m_missing_keys},
        {"R1-session", r1s_session_reads},
        {"R2", r2_batch_reads},
        {"R2-session", r2s_session_batch_reads},
        {"R3", r3_iteration},
        {"R4", r4_visit},
        {"R5", r5_readers_and_writer},
        {"R5-batch", r5b_batch_readers_and_writer},
        {"O1", o1_open},
        {"O1-saved", o1_open_with_saved_index},
        {"C1", c1_compaction},
        {"C2", c2_pauses},
    };
    return bench_main(argc, argv, "simdrive", workloads, sizeof workloads / sizeof *workloads);
}
