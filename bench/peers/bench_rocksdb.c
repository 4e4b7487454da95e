/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_rocksdb.c — RocksDB as an engine of the workloads, through its C interface.
 *
 * Its log is written on each write, by a system call, and synced where the workload asks for it. Single reads pin what
 * they find, batches go through the batched MultiGet. Tables are mapped: reads were up to a tenth faster so than from
 * the block cache. The store that is read is compacted before, so that a key is in one table only.
 */
#include "engine.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rocks_store {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *writing;
    rocksdb_readoptions_t *reading;
    rocksdb_cache_t *cache;
} rocks_store;

enum { largest_batch = 1024 };

typedef struct rocks_reader {
    const rocks_store *store;
    rocksdb_pinnableslice_t *values[largest_batch];
    char *errors[largest_batch];
} rocks_reader;

/* What MultiGet takes. */
typedef struct native_list {
    const char **keys;
    size_t *sizes;
} native_list;

static void require(const char *error, const char *what)
{
    if (error == NULL)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, error);
    exit(1);
}

static void make_list(bench_list *list)
{
    native_list *native = bench_allocate(1, sizeof *native);
    native->keys = bench_allocate(list->count, sizeof *native->keys);
    native->sizes = bench_allocate(list->count, sizeof *native->sizes);
    for (size_t i = 0; i < list->count; i++) {
        native->keys[i] = list->keys[i].data;
        native->sizes[i] = list->keys[i].size;
    }
    list->native = native;
}

static void free_list(bench_list *list)
{
    native_list *native = list->native;
    free(native->keys);
    free(native->sizes);
    free(native);
}

/* Without the room that is set aside for a log: on file systems in memory that means to fill it with zeros. There is no
 * function for this option. Synced logs keep the room, which spares the disk a change of the file's size. */
static rocksdb_options_t *without_preallocation(rocksdb_options_t *options)
{
    char *error = NULL;
    rocksdb_options_t *changed = rocksdb_options_create();
    rocksdb_get_options_from_string(options, "allow_fallocate=false", changed, &error);
    require(error, "options");
    rocksdb_options_destroy(options);
    return changed;
}

static rocksdb_options_t *make_options(rocksdb_cache_t *cache, bench_sync sync)
{
    enum { write_buffer = 256 << 20, background_jobs = 2, filter_bits = 10, only_headers = 5 };
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(filter_bits));
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_data_block_index_type(
        table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);

    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_allow_mmap_reads(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, write_buffer);
    rocksdb_options_set_max_background_jobs(options, background_jobs);
    rocksdb_options_set_info_log_level(options, only_headers);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    return sync == BENCH_SYNC_NONE ? without_preallocation(options) : options;
}

static void *open_store(const bench_plan *plan)
{
    const size_t least_cache = (size_t)1 << 30, bytes_per_key = 128;
    const char *name = "default";
    rocks_store *store = bench_allocate(1, sizeof *store);
    char *error = NULL;
    store->cache = rocksdb_cache_create_lru(least_cache + plan->bytes + plan->entries * bytes_per_key);
    store->options = make_options(store->cache, plan->sync);
    store->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->writing, plan->sync == BENCH_SYNC_EACH);
    store->reading = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->reading, 0);
    const rocksdb_options_t *const options[] = {store->options};
    store->db =
        rocksdb_open_column_families(store->options, plan->path, 1, &name, options, &store->family, &error);
    require(error, "opening a store");
    return store;
}

static void close_store(void *opaque)
{
    rocks_store *store = opaque;
    rocksdb_column_family_handle_destroy(store->family);
    rocksdb_close(store->db);
    rocksdb_readoptions_destroy(store->reading);
    rocksdb_writeoptions_destroy(store->writing);
    rocksdb_options_destroy(store->options);
    rocksdb_cache_destroy(store->cache);
    free(store);
}

static void put(void *opaque, const char *key, size_t key_size, const void *payload, size_t size)
{
    const rocks_store *store = opaque;
    char *error = NULL;
    rocksdb_put(store->db, store->writing, key, key_size, payload, size, &error);
    require(error, "put");
}

static void put_batch(void *opaque, const bench_list *list, size_t first, size_t count)
{
    const rocks_store *store = opaque;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    char *error = NULL;
    for (size_t i = first; i < first + count; i++)
        rocksdb_writebatch_put(batch, list->keys[i].data, list->keys[i].size, list->payloads[i].data,
                               list->payloads[i].size);
    rocksdb_write(store->db, store->writing, batch, &error);
    require(error, "batch");
    rocksdb_writebatch_destroy(batch);
}

static void *reader_begin(void *store)
{
    rocks_reader *reader = bench_allocate(1, sizeof *reader);
    reader->store = store;
    return reader;
}

static void reader_end(void *reader)
{
    free(reader);
}

static bool read_one(void *opaque, const char *key, size_t key_size)
{
    const rocks_store *store = ((const rocks_reader *)opaque)->store;
    char *error = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(store->db, store->reading, key, key_size, &error);
    require(error, "get");
    if (found == NULL)
        return false;
    size_t size;
    const char *payload = rocksdb_pinnableslice_value(found, &size);
    bench_touch(payload, size);
    rocksdb_pinnableslice_destroy(found);
    return true;
}

static uint64_t read_each(void *reader, const bench_list *list, size_t first, size_t count)
{
    uint64_t found = 0;
    for (size_t i = first; i < first + count; i++)
        found += read_one(reader, list->keys[i].data, list->keys[i].size);
    return found;
}

static uint64_t read_batch(void *opaque, const bench_list *list, size_t first, size_t count)
{
    rocks_reader *reader = opaque;
    const rocks_store *store = reader->store;
    const native_list *native = list->native;
    uint64_t found = 0;
    bench_require(count <= largest_batch, "a batch of that size");
    rocksdb_batched_multi_get_cf(store->db, store->reading, store->family, count, native->keys + first,
                                 native->sizes + first, reader->values, reader->errors, false);
    for (size_t i = 0; i < count; i++) {
        require(reader->errors[i], "batch read");
        if (reader->values[i] == NULL)
            continue;
        size_t size;
        bench_touch(rocksdb_pinnableslice_value(reader->values[i], &size), 1);
        rocksdb_pinnableslice_destroy(reader->values[i]);
        found++;
    }
    return found;
}

static int compare(const char *key, size_t size, bench_bytes bound)
{
    int order = memcmp(key, bound.data, size < bound.size ? size : bound.size);
    return order != 0 ? order : (size > bound.size) - (size < bound.size);
}

static uint64_t walk_range(void *opaque, bench_bytes from, bench_bytes to)
{
    const rocks_store *store = ((const rocks_reader *)opaque)->store;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->db, store->reading);
    uint64_t count = 0;
    if (from.size > 0)
        rocksdb_iter_seek(iterator, from.data, from.size);
    else
        rocksdb_iter_seek_to_first(iterator);
    for (; rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t size;
        const char *key = rocksdb_iter_key(iterator, &size);
        if (to.size > 0 && compare(key, size, to) >= 0)
            break;
        bench_touch(rocksdb_iter_value(iterator, &size), 1);
        count++;
    }
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    require(error, "iteration");
    rocksdb_iter_destroy(iterator);
    return count;
}

static uint64_t walk(void *store)
{
    const bench_bytes no_bound = {NULL, 0};
    void *reader = reader_begin(store);
    uint64_t count = walk_range(reader, no_bound, no_bound);
    reader_end(reader);
    return count;
}

static void compact(void *opaque)
{
    const rocks_store *store = opaque;
    rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
}

int main(int argc, char **argv)
{
    static const bench_engine engine = {
        .name = "rocksdb",
        .settings = "no compression, write buffer 256 MiB, tables mapped, block cache larger than the data, bloom "
                    "filter of 10 bits, hash index in blocks, 2 background jobs, log not synced but in W2d and W2d-8; "
                    "compacted ahead of reads; W4s puts one value; checksums of blocks are not checked on reads",
        .list_make = make_list,
        .list_free = free_list,
        .open = open_store,
        .close = close_store,
        .put = put,
        .put_batch = put_batch,
        .reader_begin = reader_begin,
        .reader_end = reader_end,
        .read = read_one,
        .read_each = read_each,
        .read_batch = read_batch,
        .walk = walk,
        .walk_range = walk_range,
        .compact = compact,
        .settle = compact,
    };
    return bench_engine_main(argc, argv, &engine, NULL, 0);
}
