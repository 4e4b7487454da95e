/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_leveldb.c — LevelDB as an engine of the workloads, through its C interface.
 *
 * Its log is written on each write, by a system call, and synced where the workload asks for it. The store that is read
 * is compacted before, so that a key is in one table only. It has no reads in batches: they are single ones.
 */
#include "engine.h"

#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct level_store {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_writeoptions_t *writing;
    leveldb_readoptions_t *reading;
    leveldb_filterpolicy_t *filter;
    leveldb_cache_t *cache;
} level_store;

static void require(const char *error, const char *what)
{
    if (error == NULL)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, error);
    exit(1);
}

static leveldb_options_t *make_options(const level_store *store)
{
    enum { write_buffer = 256 << 20, table = 64 << 20 };
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_create_if_missing(options, 1);
    leveldb_options_set_compression(options, leveldb_no_compression);
    leveldb_options_set_write_buffer_size(options, write_buffer);
    leveldb_options_set_max_file_size(options, table);
    leveldb_options_set_filter_policy(options, store->filter);
    leveldb_options_set_cache(options, store->cache);
    return options;
}

static void *open_store(const bench_plan *plan)
{
    const size_t least_cache = (size_t)1 << 30, bytes_per_key = 128;
    enum { filter_bits = 10 };
    level_store *store = bench_allocate(1, sizeof *store);
    char *error = NULL;
    store->filter = leveldb_filterpolicy_create_bloom(filter_bits);
    store->cache = leveldb_cache_create_lru(least_cache + plan->bytes + plan->entries * bytes_per_key);
    store->options = make_options(store);
    store->writing = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->writing, plan->sync == BENCH_SYNC_EACH);
    store->reading = leveldb_readoptions_create();
    store->db = leveldb_open(store->options, plan->path, &error);
    require(error, "opening a store");
    return store;
}

static void close_store(void *opaque)
{
    level_store *store = opaque;
    leveldb_close(store->db);
    leveldb_readoptions_destroy(store->reading);
    leveldb_writeoptions_destroy(store->writing);
    leveldb_options_destroy(store->options);
    leveldb_cache_destroy(store->cache);
    leveldb_filterpolicy_destroy(store->filter);
    free(store);
}

static void put(void *opaque, const char *key, size_t key_size, const void *payload, size_t size)
{
    const level_store *store = opaque;
    char *error = NULL;
    leveldb_put(store->db, store->writing, key, key_size, payload, size, &error);
    require(error, "put");
}

static void put_batch(void *opaque, const bench_list *list, size_t first, size_t count)
{
    const level_store *store = opaque;
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    char *error = NULL;
    for (size_t i = first; i < first + count; i++)
        leveldb_writebatch_put(batch, list->keys[i].data, list->keys[i].size, list->payloads[i].data,
                               list->payloads[i].size);
    leveldb_write(store->db, store->writing, batch, &error);
    require(error, "batch");
    leveldb_writebatch_destroy(batch);
}

static void *reader_begin(void *store)
{
    return store;
}

static void reader_end(void *reader)
{
    (void)reader;
}

static bool read_one(void *opaque, const char *key, size_t key_size)
{
    const level_store *store = opaque;
    char *error = NULL;
    size_t size = 0;
    char *payload = leveldb_get(store->db, store->reading, key, key_size, &size, &error);
    require(error, "get");
    if (payload == NULL)
        return false;
    bench_touch(payload, size);
    leveldb_free(payload);
    return true;
}

static uint64_t read_each(void *store, const bench_list *list, size_t first, size_t count)
{
    uint64_t found = 0;
    for (size_t i = first; i < first + count; i++)
        found += read_one(store, list->keys[i].data, list->keys[i].size);
    return found;
}

static int compare(const char *key, size_t size, bench_bytes bound)
{
    int order = memcmp(key, bound.data, size < bound.size ? size : bound.size);
    return order != 0 ? order : (size > bound.size) - (size < bound.size);
}

static uint64_t walk_range(void *opaque, bench_bytes from, bench_bytes to)
{
    const level_store *store = opaque;
    leveldb_iterator_t *iterator = leveldb_create_iterator(store->db, store->reading);
    uint64_t count = 0;
    if (from.size > 0)
        leveldb_iter_seek(iterator, from.data, from.size);
    else
        leveldb_iter_seek_to_first(iterator);
    for (; leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
        size_t size;
        const char *key = leveldb_iter_key(iterator, &size);
        if (to.size > 0 && compare(key, size, to) >= 0)
            break;
        bench_touch(leveldb_iter_value(iterator, &size), 1);
        count++;
    }
    char *error = NULL;
    leveldb_iter_get_error(iterator, &error);
    require(error, "iteration");
    leveldb_iter_destroy(iterator);
    return count;
}

static uint64_t walk(void *store)
{
    const bench_bytes no_bound = {NULL, 0};
    return walk_range(store, no_bound, no_bound);
}

static void compact(void *opaque)
{
    const level_store *store = opaque;
    leveldb_compact_range(store->db, NULL, 0, NULL, 0);
}

int main(int argc, char **argv)
{
    static const bench_engine engine = {
        .name = "leveldb",
        .settings = "no compression, write buffer 256 MiB, tables of 64 MiB, block cache larger than the data, bloom "
                    "filter of 10 bits, log not synced but in W2d and W2d-8; compacted ahead of reads; R2 and R5-batch "
                    "read one by one, W4s puts one value; reads copy; checksums of blocks are not checked on reads",
        .open = open_store,
        .close = close_store,
        .put = put,
        .put_batch = put_batch,
        .reader_begin = reader_begin,
        .reader_end = reader_end,
        .read = read_one,
        .read_each = read_each,
        .read_batch = read_each,
        .walk = walk,
        .walk_range = walk_range,
        .compact = compact,
        .settle = compact,
    };
    return bench_engine_main(argc, argv, &engine, NULL, 0);
}
