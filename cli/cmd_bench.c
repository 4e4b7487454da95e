/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_bench.c — `bench`: a quick look at what this machine does, on a new store at STORE that is removed afterwards.
 * A file that is there already is never touched. It is no substitute for the project's benchmarks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "platform.h"
#include "progress.h"

enum { BATCH = 1024, KEY_SIZE = 32, DEFAULT_ENTRIES = 100000, DEFAULT_VALUE_SIZE = 128, LARGEST_BATCH = 64 << 20 };

static const uint64_t seed = 0x9E3779B97F4A7C15u;

typedef struct result {
    const char *name;
    uint64_t operations;
    uint64_t bytes;
    double seconds;
} result;

typedef struct bench {
    const sdi_cli *cli;
    simdrive_store *store;
    sdi_cli_progress progress;
    uint64_t entries;
    size_t value_size;
    size_t batch;                /* entries of one batch */
    unsigned char *value;
    char (*key_texts)[KEY_SIZE]; /* of one batch */
    simdrive_bytes *keys;
    simdrive_bytes *payloads;
    simdrive_entry *found;
    uint64_t steps_done;
    uint64_t steps;
    bool mapped;                 /* single values went into a map of the file's end */
    unsigned sink;               /* what was read, so that reading is not left out */
} bench;

typedef simdrive_status (*workload)(bench *work, result *out);

static size_t write_key(char key[KEY_SIZE], const char *kind, uint64_t number) {
    return (size_t)snprintf(key, KEY_SIZE, "%s-%llu", kind, (unsigned long long)number);
}

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static simdrive_status step(bench *work, uint64_t count) {
    work->steps_done += count;
    return sdi_cli_progress_update(&work->progress, work->steps_done, work->steps);
}

static void add_time(result *out, uint64_t since_ns) {
    out->seconds += (double)(sdi_cli_monotonic_ns() - since_ns) / 1e9;
}

static size_t batch_at(const bench *work, uint64_t at) {
    return work->entries - at < work->batch ? (size_t)(work->entries - at) : work->batch;
}

static simdrive_status write_batches(bench *work, result *out) {
    simdrive_status status = SIMDRIVE_OK;
    for (uint64_t at = 0; at < work->entries && status == SIMDRIVE_OK;) {
        size_t count = batch_at(work, at);
        for (size_t i = 0; i < count; i++) work->keys[i].size = write_key(work->key_texts[i], "key", at + i);
        uint64_t started = sdi_cli_monotonic_ns();
        status = simdrive_write_batch(work->store, work->keys, work->payloads, count, NULL);
        add_time(out, started);
        at += count;
        if (status == SIMDRIVE_OK) status = step(work, count);
    }
    out->operations = work->entries;
    out->bytes = work->entries * work->value_size;
    return status;
}

static uint64_t single_count(const bench *work) {
    return work->entries < 10 ? work->entries : work->entries / 10;
}

/* Which mode the last write was in, and if it is not the one that was asked for, why. */
static simdrive_status note_append_mode(bench *work) {
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_status status = simdrive_get_info(work->store, &info);
    work->mapped = info.append_map_used;
    if (status == SIMDRIVE_OK && info.append_map_wanted && !info.append_map_used)
        sdi_cli_note(work->cli, "single values were written with calls of the system: %s",
                     info.append_map_status == SIMDRIVE_OK ? "they are too large for a map"
                                                           : simdrive_status_text(info.append_map_status));
    return status;
}

static simdrive_status write_singles(bench *work, result *out) {
    simdrive_status status = SIMDRIVE_OK;
    uint64_t count = single_count(work);
    for (uint64_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        char key[KEY_SIZE];
        size_t size = write_key(key, "single", i);
        uint64_t started = sdi_cli_monotonic_ns();
        status = simdrive_write(work->store, key, size, work->value, work->value_size, NULL);
        add_time(out, started);
        if (status == SIMDRIVE_OK) status = step(work, 1);
    }
    out->operations = count;
    out->bytes = count * work->value_size;
    return status == SIMDRIVE_OK ? note_append_mode(work) : status;
}

/* Keys are made outside the clock, a batch of them at a time. */
static void pick_keys(bench *work, uint64_t *state) {
    for (size_t i = 0; i < work->batch; i++) {
        work->keys[i].size = write_key(work->key_texts[i], "key", random_next(state) % work->entries);
    }
}

static simdrive_status read_singles(bench *work, result *out) {
    simdrive_status status = SIMDRIVE_OK;
    uint64_t state = seed;
    for (; out->operations < work->entries && status == SIMDRIVE_OK; out->operations += work->batch) {
        pick_keys(work, &state);
        uint64_t started = sdi_cli_monotonic_ns();
        for (size_t i = 0; i < work->batch && status == SIMDRIVE_OK; i++) {
            simdrive_entry entry = {0};
            status = simdrive_read(work->store, work->keys[i].data, work->keys[i].size, &entry);
            if (status == SIMDRIVE_OK) work->sink += *(const unsigned char *)entry.data;
            simdrive_entry_release(&entry);
        }
        add_time(out, started);
        if (status == SIMDRIVE_OK) status = step(work, work->batch);
    }
    return status;
}

static simdrive_status read_batches(bench *work, result *out) {
    simdrive_status status = SIMDRIVE_OK;
    uint64_t state = seed;
    for (; out->operations < work->entries && status == SIMDRIVE_OK; out->operations += work->batch) {
        pick_keys(work, &state);
        uint64_t started = sdi_cli_monotonic_ns();
        status = simdrive_read_batch(work->store, work->keys, work->batch, work->found, NULL);
        for (size_t i = 0; i < work->batch; i++) {
            if (work->found[i].data != NULL) work->sink += *(const unsigned char *)work->found[i].data;
        }
        simdrive_entries_release(work->found, work->batch);
        add_time(out, started);
        if (status == SIMDRIVE_OK) status = step(work, work->batch);
    }
    return status;
}

static simdrive_status iterate(bench *work, result *out) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    uint64_t started = sdi_cli_monotonic_ns();
    simdrive_status status = simdrive_iterate(work->store, &iterator);
    while (status == SIMDRIVE_OK) {
        status = simdrive_iterator_peek_next(iterator, &entry);
        if (status != SIMDRIVE_OK) break;
        work->sink += *(const unsigned char *)entry->data;
        out->operations++;
        out->bytes += entry->size;
    }
    simdrive_iterator_close(iterator);
    add_time(out, started);
    return status == SIMDRIVE_END ? step(work, work->entries) : status;
}

static simdrive_status open_again(bench *work, result *out) {
    simdrive_store *store = NULL;
    simdrive_open_options options = {
        .struct_size = sizeof options, .read_only = true, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    uint64_t started = sdi_cli_monotonic_ns();
    simdrive_status status = simdrive_open(work->cli->store_path, &options, &store);
    add_time(out, started);
    simdrive_close(store);
    out->operations = 1;
    return status;
}

/* ----- report ----- */

static void report_text(const bench *work, const result *results, size_t count) {
    sdi_cli_print("%llu entries of %zu bytes, batches of %zu, kernels %s\n\n%-14s %12s %14s %14s %12s\n",
                  (unsigned long long)work->entries, work->value_size, work->batch, simdrive_kernels(), "workload",
                  "operations", "ns each", "per second", "MB/s");
    for (size_t i = 0; i < count; i++) {
        const result *r = &results[i];
        double seconds = r->seconds > 0 ? r->seconds : 1e-9;
        sdi_cli_print("%-14s %12llu %14.1f %14.0f", r->name, (unsigned long long)r->operations,
                      r->operations > 0 ? seconds * 1e9 / (double)r->operations : 0.0,
                      (double)r->operations / seconds);
        if (r->bytes > 0) sdi_cli_print(" %12.1f", (double)r->bytes / seconds / 1e6);
        sdi_cli_print("\n");
    }
}

static void report_json(const bench *work, const result *results, size_t count) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_number(&json, "entries", work->entries);
    sdi_cli_json_number(&json, "value_size", work->value_size);
    sdi_cli_json_number(&json, "batch", work->batch);
    sdi_cli_json_text(&json, "kernels", simdrive_kernels());
    sdi_cli_json_text(&json, "version", simdrive_version());
    sdi_cli_json_text(&json, "append", work->mapped ? "map" : "write");
    sdi_cli_json_list(&json, "results");
    for (size_t i = 0; i < count; i++) {
        sdi_cli_json_object(&json, NULL);
        sdi_cli_json_text(&json, "name", results[i].name);
        sdi_cli_json_number(&json, "operations", results[i].operations);
        sdi_cli_json_number(&json, "bytes", results[i].bytes);
        sdi_cli_json_decimal(&json, "seconds", results[i].seconds);
        sdi_cli_json_object_end(&json);
    }
    sdi_cli_json_list_end(&json);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

/* ----- the command ----- */

static bool prepare(bench *work) {
    const sdi_cli_options *options = &work->cli->options;
    work->entries = options->entries > 0 ? options->entries : DEFAULT_ENTRIES;
    work->value_size = options->value_size > 0 ? (size_t)options->value_size : DEFAULT_VALUE_SIZE;
    size_t fitting = LARGEST_BATCH / work->value_size;
    work->batch = fitting == 0 ? 1 : fitting < BATCH ? fitting : BATCH;
    if (work->entries < work->batch) work->batch = (size_t)work->entries;
    work->steps = 4 * work->entries + single_count(work);
    work->value = malloc(work->value_size);
    work->key_texts = malloc(work->batch * sizeof *work->key_texts);
    work->keys = calloc(work->batch, sizeof *work->keys);
    work->payloads = calloc(work->batch, sizeof *work->payloads);
    work->found = calloc(work->batch, sizeof *work->found);
    if (work->value == NULL || work->key_texts == NULL || work->keys == NULL || work->payloads == NULL ||
        work->found == NULL) {
        return false;
    }
    memset(work->value, 0x5A, work->value_size);
    for (size_t i = 0; i < work->batch; i++) {
        work->keys[i].data = work->key_texts[i];
        work->payloads[i] = (simdrive_bytes){work->value, work->value_size};
    }
    return true;
}

static simdrive_status measure(bench *work, result *results, const workload *workloads, size_t count) {
    simdrive_status status = SIMDRIVE_OK;
    sdi_cli_progress_begin(&work->progress, work->cli, "bench");
    work->progress.items = true;
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) status = workloads[i](work, &results[i]);
    sdi_cli_progress_end(&work->progress, status == SIMDRIVE_OK);
    return status;
}

static sdi_cli_exit run(bench *work) {
    static const workload workloads[] = {write_batches, write_singles, read_singles, read_batches, iterate,
                                         open_again};
    result results[] = {{.name = "write batch"}, {.name = "write single"}, {.name = "read single"},
                        {.name = "read batch"},  {.name = "iterate"},      {.name = "open"}};
    const size_t count = sizeof workloads / sizeof workloads[0];
    const char *path = work->cli->store_path;
    /* Opening is measured without an index, and nothing is left beside the store. */
    simdrive_open_options options = {
        .struct_size = sizeof options, .must_create = true, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    options.checksum = work->cli->options.checksum;
    options.append = work->cli->options.append;
    if (work->cli->options.sync) options.sync = SIMDRIVE_SYNC_COMMIT;
    sdi_cli_interrupts_catch();
    simdrive_status status = simdrive_open(path, &options, &work->store);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "create the store '%s' for the benchmark", path);
    status = measure(work, results, workloads, count);
    /* Removed while it is locked: it is certainly ours. */
    bool removed = sdi_cli_remove_file(path);
    simdrive_close(work->store);
    if (!removed && !sdi_cli_remove_file(path)) {
        sdi_cli_note(work->cli, "'%s' could not be removed; remove it by hand", path);
    }
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "measure on '%s'", path);
    (work->cli->options.json ? report_json : report_text)(work, results, count);
    return SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_bench(const sdi_cli *cli) {
    bench work = {.cli = cli};
    sdi_cli_exit status = prepare(&work) ? run(&work) : sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "begin");
    free(work.value);
    free(work.key_texts);
    free(work.keys);
    free(work.payloads);
    free(work.found);
    return status;
}
