/* SPDX-License-Identifier: Apache-2.0
 *
 * opening.c — the limits of opening and of compaction.
 *
 *   O1  map the file, walk its links, put each entry's hash and place into an index, whose pages are new; no entry is
 *       looked at twice, no payload, and no checksum
 *   C1  copy the half of the file that is live to a new file in steps of 1 MiB, and fdatasync
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { copy_step = 1 << 20 };

typedef struct opening {
    char *path, *copy;
    size_t count;
} opening;

static opening *begin(const bench_config *config)
{
    opening *all = bench_allocate(1, sizeof *all);
    all->path = bench_new_path(config, "limits.store");
    all->copy = bench_new_path(config, "limits.copy");
    all->count = bench_scaled(config, 1000000, 10000);
    return all;
}

static simdrive_store *filled(const opening *all, unsigned times)
{
    remove(all->path);
    simdrive_store *store = limit_open(all->path, SIMDRIVE_SYNC_NONE, SIMDRIVE_APPEND_WRITE);
    for (unsigned i = 0; i < times; i++)
        limit_fill(store, all->count);
    return store;
}

static void *begin_o1(const bench_config *config)
{
    opening *all = begin(config);
    limit_close(filled(all, 1));
    return all;
}

static void *begin_c1(const bench_config *config)
{
    return begin(config);
}

static void end(void *state)
{
    opening *all = state;
    remove(all->path);
    remove(all->copy);
    free(all->path);
    free(all->copy);
    free(all);
}

static double o1_engine(void *state)
{
    const opening *all = state;
    double began = bench_now_seconds();
    simdrive_store *store = limit_open(all->path, SIMDRIVE_SYNC_NONE, SIMDRIVE_APPEND_WRITE);
    double seconds = bench_now_seconds() - began;
    bench_require(simdrive_count(store) == all->count, "finding all entries");
    limit_close(store);
    return seconds * 1e3;
}

static double o1_limit(void *state)
{
    const opening *all = state;
    uint64_t size;
    double began = bench_now_seconds();
    const uint8_t *file = limit_map(all->path, &size);
    bare_table table = bare_table_make(all->count, false);
    bare_table_fill(&table, file, size);
    double seconds = bench_now_seconds() - began;
    bare_table_free(&table);
    munmap((void *)(uintptr_t)file, size);
    return seconds * 1e3;
}

static double c1_engine(void *state)
{
    const opening *all = state;
    simdrive_store *store = filled(all, 2);
    double began = bench_now_seconds();
    limit_require_ok(simdrive_compact(store, NULL, NULL), "compaction");
    double seconds = bench_now_seconds() - began;
    bench_require(simdrive_count(store) == all->count, "keeping what is live");
    limit_close(store);
    return seconds * 1e3;
}

static double c1_limit(void *state)
{
    const opening *all = state;
    uint64_t size;
    limit_close(filled(all, 2));
    const uint8_t *file = limit_map(all->path, &size);
    uint64_t live = size / 2;
    double began = bench_now_seconds();
    int copy = limit_new_file(all->copy);
    for (uint64_t at = 0; at < live; at += copy_step) {
        uint64_t step = live - at < copy_step ? live - at : copy_step;
        limit_write(copy, file + live + at, (size_t)step, at);
    }
    bench_require(fdatasync(copy) == 0, "syncing a file");
    double seconds = bench_now_seconds() - began;
    close(copy);
    munmap((void *)(uintptr_t)file, size);
    return seconds * 1e3;
}

limit_rows limit_rows_of_opening(void)
{
    static const limit_row rows[] = {
        {"O1", "ms", false, 0, begin_o1, o1_engine, o1_limit, end},
        {"C1", "ms", false, 0, begin_c1, c1_engine, c1_limit, end},
    };
    return (limit_rows){rows, sizeof rows / sizeof *rows};
}
