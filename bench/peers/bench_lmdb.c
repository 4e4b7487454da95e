/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_lmdb.c — LMDB as an engine of the workloads.
 *
 * Each write is a transaction of its own, each batch is one. A reader has one read transaction for all of its life,
 * which is renewed for each read, or each batch of reads: the cheapest way to see what was written meanwhile. What is
 * not synced goes through a writable map (MDB_WRITEMAP, MDB_NOSYNC); what is synced uses LMDB's own defaults.
 */
#include "engine.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct lmdb_store {
    MDB_env *env;
    MDB_dbi dbi;
    char *path;
    size_t map_bytes;
    unsigned flags;
} lmdb_store;

typedef struct lmdb_reader {
    const lmdb_store *store;
    MDB_txn *txn;
} lmdb_reader;

static void require(int status, const char *what)
{
    if (status == MDB_SUCCESS)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, mdb_strerror(status));
    exit(1);
}

static MDB_val value_of(const void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)data};
}

static void open_environment(lmdb_store *store, const char *path)
{
    enum { folder_mode = 0777, file_mode = 0666 };
    MDB_txn *txn;
    require(mdb_env_create(&store->env), "environment");
    require(mdb_env_set_mapsize(store->env, store->map_bytes), "size of the map");
    bench_require(mkdir(path, folder_mode) == 0 || errno == EEXIST, "folder of a store");
    require(mdb_env_open(store->env, path, store->flags, file_mode), "opening a store");
    require(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn), "first transaction");
    require(mdb_dbi_open(txn, NULL, 0, &store->dbi), "database");
    require(mdb_txn_commit(txn), "first transaction");
}

static void *open_store(const bench_plan *plan)
{
    /* The file is sparse: too much costs nothing. */
    const size_t spare = (size_t)1 << 30, bytes_per_key = 128, growth = 4;
    lmdb_store *store = bench_allocate(1, sizeof *store);
    store->path = strdup(plan->path);
    store->map_bytes = spare + growth * (plan->bytes + plan->entries * bytes_per_key);
    store->flags = MDB_NOTLS | (plan->access == BENCH_ACCESS_AT_RANDOM ? MDB_NORDAHEAD : 0);
    if (plan->sync == BENCH_SYNC_NONE)
        store->flags |= MDB_WRITEMAP | MDB_NOSYNC;
    open_environment(store, plan->path);
    return store;
}

static void close_store(void *opaque)
{
    lmdb_store *store = opaque;
    mdb_env_close(store->env);
    free(store->path);
    free(store);
}

static void put(void *opaque, const char *key, size_t key_size, const void *payload, size_t size)
{
    const lmdb_store *store = opaque;
    MDB_txn *txn;
    MDB_val name = value_of(key, key_size);
    MDB_val data = value_of(payload, size);
    require(mdb_txn_begin(store->env, NULL, 0, &txn), "transaction");
    require(mdb_put(txn, store->dbi, &name, &data, 0), "put");
    require(mdb_txn_commit(txn), "commit");
}

static void put_batch(void *opaque, const bench_list *list, size_t first, size_t count)
{
    const lmdb_store *store = opaque;
    MDB_txn *txn;
    require(mdb_txn_begin(store->env, NULL, 0, &txn), "transaction");
    for (size_t i = first; i < first + count; i++) {
        MDB_val name = value_of(list->keys[i].data, list->keys[i].size);
        MDB_val data = value_of(list->payloads[i].data, list->payloads[i].size);
        require(mdb_put(txn, store->dbi, &name, &data, 0), "put");
    }
    require(mdb_txn_commit(txn), "commit");
}

static void *reader_begin(void *store)
{
    lmdb_reader *reader = bench_allocate(1, sizeof *reader);
    reader->store = store;
    require(mdb_txn_begin(reader->store->env, NULL, MDB_RDONLY, &reader->txn), "read transaction");
    mdb_txn_reset(reader->txn);
    return reader;
}

static void reader_end(void *opaque)
{
    lmdb_reader *reader = opaque;
    mdb_txn_abort(reader->txn);
    free(reader);
}

static bool find(const lmdb_reader *reader, const void *key, size_t key_size, MDB_val *data)
{
    MDB_val name = value_of(key, key_size);
    int status = mdb_get(reader->txn, reader->store->dbi, &name, data);
    if (status == MDB_NOTFOUND)
        return false;
    require(status, "get");
    return true;
}

static bool read_one(void *opaque, const char *key, size_t key_size)
{
    const lmdb_reader *reader = opaque;
    MDB_val data;
    require(mdb_txn_renew(reader->txn), "renewing a read transaction");
    bool found = find(reader, key, key_size, &data);
    if (found)
        bench_touch(data.mv_data, data.mv_size);
    mdb_txn_reset(reader->txn);
    return found;
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
    const lmdb_reader *reader = opaque;
    uint64_t found = 0;
    MDB_val data;
    require(mdb_txn_renew(reader->txn), "renewing a read transaction");
    for (size_t i = first; i < first + count; i++) {
        if (!find(reader, list->keys[i].data, list->keys[i].size, &data))
            continue;
        bench_touch(data.mv_data, 1);
        found++;
    }
    mdb_txn_reset(reader->txn);
    return found;
}

static uint64_t walk_range(void *opaque, bench_bytes from, bench_bytes to)
{
    const lmdb_reader *reader = opaque;
    MDB_val key = value_of(from.data, from.size);
    MDB_val end = value_of(to.data, to.size);
    MDB_val data;
    MDB_cursor *cursor;
    uint64_t count = 0;
    require(mdb_txn_renew(reader->txn), "renewing a read transaction");
    require(mdb_cursor_open(reader->txn, reader->store->dbi, &cursor), "cursor");
    int status = mdb_cursor_get(cursor, &key, &data, from.size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (status == MDB_SUCCESS && (to.size == 0 || mdb_cmp(reader->txn, reader->store->dbi, &key, &end) < 0)) {
        bench_touch(data.mv_data, 1);
        count++;
        status = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    bench_require(status == MDB_SUCCESS || status == MDB_NOTFOUND, "next");
    mdb_cursor_close(cursor);
    mdb_txn_reset(reader->txn);
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

/* LMDB's way of it: a copy without the free pages, which then takes the place of the old one. */
static void compact(void *opaque)
{
    lmdb_store *store = opaque;
    char path[4096];
    snprintf(path, sizeof path, "%s/compacted", store->path);
    bench_require(mkdir(path, 0777) == 0, "folder of the copy");
    require(mdb_env_copy2(store->env, path, MDB_CP_COMPACT), "copy");
    mdb_env_close(store->env);
    open_environment(store, path);
}

int main(int argc, char **argv)
{
    static const bench_engine engine = {
        .name = "lmdb",
        .settings = "MDB_WRITEMAP and MDB_NOSYNC, W2d and W2d-8 with the defaults (two syncs each); a write is "
                    "a transaction, a batch is one; W4s puts one value; no checksums; a loss of power may destroy "
                    "the whole file where it was not synced; C1 copies to a new file without a sync",
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
    };
    return bench_engine_main(argc, argv, &engine, NULL, 0);
}
