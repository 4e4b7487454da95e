/* SPDX-License-Identifier: Apache-2.0
 *
 * syncs.c — the limits of durable writes: what the disk takes to say that it has something.
 *
 *   W2d    pwrite of 192 bytes and fdatasync for each entry
 *   W2d-8  the same for groups of eight entries, written at once by one thread: eight writers who all wait for a sync
 *          cannot have more in it than one entry each
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct syncing {
    char *path;
    size_t count, in_group;
    bench_keys keys;
    simdrive_store *store;
} syncing;

static void *begin(const bench_config *config, size_t count, size_t in_group)
{
    syncing *all = bench_allocate(1, sizeof *all);
    all->path = bench_new_path(config, "limits.store");
    all->count = count / in_group * in_group;
    all->in_group = in_group;
    all->keys = bench_keys_make("bench-key-", all->count, false);
    sync(); /* what earlier programs left to be written must not count here */
    return all;
}

static void *begin_w2d(const bench_config *config)
{
    return begin(config, bench_scaled(config, 500, 20), 1);
}

static void *begin_w2d8(const bench_config *config)
{
    return begin(config, bench_scaled(config, 4000, 80), limit_threads);
}

static void end(void *state)
{
    syncing *all = state;
    remove(all->path);
    bench_keys_free(&all->keys);
    free(all->path);
    free(all);
}

static void write_share(void *user, unsigned thread)
{
    const syncing *all = user;
    unsigned char payload[limit_single];
    memset(payload, 'x', sizeof payload);
    size_t each = all->count / all->in_group;
    for (size_t i = thread * each; i < (thread + 1) * each; i++) {
        size_t size;
        const char *key = bench_key(&all->keys, i, &size);
        limit_require_ok(simdrive_write(all->store, key, size, payload, sizeof payload, NULL), "write");
    }
}

/* On the processor on which the bare loop runs: not each is as near to the disk. */
static double time_alone(syncing *all)
{
    double began = bench_now_seconds();
    write_share(all, 0);
    return bench_now_seconds() - began;
}

static double engine(void *state)
{
    syncing *all = state;
    remove(all->path);
    all->store = limit_open(all->path, SIMDRIVE_SYNC_COMMIT, SIMDRIVE_APPEND_WRITE);
    double seconds = all->in_group == 1 ? time_alone(all)
                                        : bench_threads_run((unsigned)all->in_group, write_share, all);
    limit_close(all->store);
    return (double)all->count / seconds;
}

static double limit(void *state)
{
    syncing *all = state;
    size_t group = all->in_group * limit_single_entry;
    unsigned char *entries = bench_allocate(1, group);
    remove(all->path);
    int file = limit_new_file(all->path);
    memset(entries, 'x', group);
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->count / all->in_group; i++) {
        limit_write(file, entries, group, i * group);
        bench_require(fdatasync(file) == 0, "syncing a file");
    }
    double seconds = bench_now_seconds() - began;
    free(entries);
    close(file);
    return (double)all->count / seconds;
}

limit_rows limit_rows_of_syncs(void)
{
    static const limit_row rows[] = {
        {"W2d", "entries/s", true, 0, begin_w2d, engine, limit, end},
        {"W2d-8", "entries/s", true, 0, begin_w2d8, engine, limit, end},
    };
    return (limit_rows){rows, sizeof rows / sizeof *rows};
}
