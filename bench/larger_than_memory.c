/* SPDX-License-Identifier: Apache-2.0
 *
 * larger_than_memory.c — workloads on a store that is larger than the memory that the runner leaves to the program.
 *
 *     L-fill, L-open, L-iterate, L-both, L-read, L-compact        each with -4K and -100, the size of its values
 *
 * L-fill leaves the store that the others use, and L-compact removes it. Each of the others begins with its files out
 * of the page cache, so that it means the same where nobody limits the memory. Nothing here holds a list of all keys:
 * what is resident is the system's, but for a megabyte.
 */
#include "larger_than_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

typedef struct kind {
    const char *suffix; /* of the workload's name */
    size_t payload, entries;
    const char *store;
} kind;

static const kind kinds[] = {
    {"-4K", 4096, 1 << 18, "large-4k.store"},
    {"-100", 100, 1 << 23, "large-100.store"},
};

enum { batch_bytes = 1 << 20, batch_most = 1024, key_room = 24, random_reads = 20000, overwritten_one_in = 4 };

static const bench_engine *the_engine;

static const kind *kind_of(const bench_config *config)
{
    const char *suffix = strrchr(config->workload, '-');
    size_t i = sizeof kinds / sizeof *kinds - 1;
    while (i > 0 && strcmp(suffix, kinds[i].suffix) != 0)
        i--;
    return &kinds[i];
}

static size_t entry_count(const bench_config *config)
{
    return bench_scaled(config, kind_of(config)->entries, 2048);
}

/* Room for what L-compact adds. */
static bench_plan plan_of(const bench_config *config, const char *path)
{
    size_t count = entry_count(config);
    return (bench_plan){.path = path, .entries = count, .bytes = 2 * count * kind_of(config)->payload};
}

/* ----- Figures beside the time ----- */

static double major_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_majflt;
}

static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

typedef struct watch {
    double began, faults, processor;
} watch;

static watch watch_begin(void)
{
    bench_forget_peak();
    return (watch){bench_now_seconds(), major_faults(), processor_seconds()};
}

/* Seconds since; the figures are those of the process. */
static double watch_end(const watch *before)
{
    double seconds = bench_now_seconds() - before->began;
    bench_report("processor", "ms", (processor_seconds() - before->processor) * 1e3);
    bench_report("resident", "bytes", (double)bench_memory("VmHWM"));
    bench_report("major faults", "faults", major_faults() - before->faults);
    return seconds;
}

/* ----- Stores ----- */

static void *open_cold(const bench_config *config, bench_access access)
{
    char *path = bench_path(config, kind_of(config)->store);
    bench_drop_files(path);
    bench_plan plan = plan_of(config, path);
    plan.access = access;
    void *store = the_engine->open(&plan);
    free(path);
    return store;
}

/* Opened, and the file out of the cache again, for opening may have read all of it. */
static void *open_then_drop(const bench_config *config, bench_access access)
{
    void *store = open_cold(config, access);
    char *path = bench_path(config, kind_of(config)->store);
    bench_drop_files(path);
    free(path);
    return store;
}

/* Some keys and their payloads. */
typedef struct batch {
    char text[batch_most][key_room];
    bench_bytes keys[batch_most], payloads[batch_most];
    size_t count;
    void *payload;
} batch;

static size_t batch_size_of(const kind *which)
{
    size_t fits = batch_bytes / which->payload;
    return fits < batch_most ? fits : batch_most;
}

static batch *batch_new(size_t payload_size)
{
    batch *made = bench_allocate(1, sizeof *made);
    made->payload = bench_allocate(1, payload_size);
    memset(made->payload, 'x', payload_size);
    for (size_t i = 0; i < batch_most; i++)
        made->payloads[i] = (bench_bytes){made->payload, payload_size};
    return made;
}

static void batch_free(batch *made)
{
    free(made->payload);
    free(made);
}

static size_t format_key(char *text, size_t number)
{
    return (size_t)snprintf(text, key_room, "bench-key-%zu", number);
}

static void put_now(void *store, batch *some)
{
    bench_list list = {some->keys, some->payloads, some->count, NULL};
    if (the_engine->list_make != NULL)
        the_engine->list_make(&list);
    the_engine->put_batch(store, &list, 0, some->count);
    if (the_engine->list_free != NULL)
        the_engine->list_free(&list);
    some->count = 0;
}

/* Every `step`-th key. */
static void put_keys(const bench_config *config, void *store, size_t step)
{
    size_t count = entry_count(config);
    size_t most = batch_size_of(kind_of(config));
    batch *some = batch_new(kind_of(config)->payload);
    for (size_t i = 0; i < count; i += step) {
        some->keys[some->count] = (bench_bytes){some->text[some->count], format_key(some->text[some->count], i)};
        some->count++;
        if (some->count == most)
            put_now(store, some);
    }
    if (some->count > 0)
        put_now(store, some);
    batch_free(some);
}

/* ----- The workloads ----- */

static void fill(const bench_config *config)
{
    char *path = bench_new_path(config, kind_of(config)->store);
    bench_plan plan = plan_of(config, path);
    plan.create = true;
    void *store = the_engine->open(&plan);
    watch time = watch_begin();
    put_keys(config, store, 1);
    double seconds = watch_end(&time);
    bench_report("rate", "bytes/s", (double)(entry_count(config) * kind_of(config)->payload) / seconds);
    if (the_engine->settle != NULL)
        the_engine->settle(store);
    the_engine->close(store);
    bench_report("file", "bytes/entry", (double)bench_disk_bytes(path) / (double)entry_count(config));
    free(path);
}

static void opening(const bench_config *config)
{
    char *path = bench_path(config, kind_of(config)->store);
    bench_drop_files(path);
    bench_plan plan = plan_of(config, path);
    watch time = watch_begin();
    void *store = the_engine->open(&plan);
    bench_report("time", "ms", watch_end(&time) * 1e3);
    the_engine->close(store);
    free(path);
}

static void walk_over(const bench_config *config, uint64_t (*walk)(void *store))
{
    void *store = open_then_drop(config, BENCH_ACCESS_IN_ORDER);
    watch time = watch_begin();
    uint64_t count = walk(store);
    double seconds = watch_end(&time);
    bench_require(count == entry_count(config), "walking over all entries");
    bench_report("rate", "bytes/s", (double)(count * kind_of(config)->payload) / seconds);
    the_engine->close(store);
}

static void iterate(const bench_config *config)
{
    walk_over(config, the_engine->walk);
}

static void iterate_on_both(const bench_config *config)
{
    walk_over(config, the_engine->walk_two_threads);
}

static void read_at_random(const bench_config *config)
{
    size_t count = entry_count(config);
    size_t reads = bench_scaled(config, random_reads, 200);
    void *store = open_then_drop(config, BENCH_ACCESS_AT_RANDOM);
    void *reader = the_engine->reader_begin(store);
    bench_latencies *latencies = bench_latencies_new();
    uint64_t state = 3;
    watch time = watch_begin();
    for (size_t i = 0; i < reads; i++) {
        char key[key_room];
        size_t size = format_key(key, bench_random(&state) % count);
        uint64_t began = bench_now_ns();
        bench_require(the_engine->read(reader, key, size), "finding what is there");
        bench_latencies_note(latencies, bench_now_ns() - began);
    }
    bench_report("rate", "reads/s", (double)reads / watch_end(&time));
    bench_latencies_report(latencies, "", false);
    the_engine->reader_end(reader);
    the_engine->close(store);
}

static void compact(const bench_config *config)
{
    void *store = open_cold(config, BENCH_ACCESS_IN_ORDER);
    put_keys(config, store, overwritten_one_in);
    the_engine->close(store);
    store = open_then_drop(config, BENCH_ACCESS_IN_ORDER);
    watch time = watch_begin();
    the_engine->compact(store);
    double seconds = watch_end(&time);
    bench_report("rate", "bytes/s", (double)(entry_count(config) * kind_of(config)->payload) / seconds);
    the_engine->close(store);
    free(bench_new_path(config, kind_of(config)->store));
}

size_t bench_larger_than_memory(const bench_engine *engine, bench_workload *out)
{
    static const bench_workload all[BENCH_LARGER_MOST] = {
        {"L-fill-4K", fill},        {"L-open-4K", opening},      {"L-read-4K", read_at_random},
        {"L-iterate-4K", iterate},  {"L-both-4K", iterate_on_both}, {"L-compact-4K", compact},
        {"L-fill-100", fill},       {"L-open-100", opening},     {"L-read-100", read_at_random},
        {"L-iterate-100", iterate}, {"L-both-100", iterate_on_both}, {"L-compact-100", compact},
    };
    size_t count = 0;
    the_engine = engine;
    for (size_t i = 0; i < BENCH_LARGER_MOST; i++)
        if (all[i].run != iterate_on_both || engine->walk_two_threads != NULL)
            out[count++] = all[i];
    return count;
}
