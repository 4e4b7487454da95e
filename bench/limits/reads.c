/* SPDX-License-Identifier: Apache-2.0
 *
 * reads.c — the limits of reading: what a lookup must wait for.
 *
 *   R1       hash the key, one line of the index, then the line of the file with metadata and payload
 *   R1-miss  hash the key, one line of the index
 *   R2       R1 in groups: all first lines are asked for, then all second ones
 *   R3       from link to link through the file, the first byte of each payload
 *   R5       R1 on eight threads, beside a thread that writes 192 bytes to a file at full speed
 */
#include "limits.h"

#include "digest/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { group = 64, reads_between_looks = 64 };

typedef struct reading {
    limit_store of;
    bare_table table;
    char *scratch_path; /* what the bare writer writes */
    double seconds;
    bool bare;
    _Atomic bool stop;
    _Atomic unsigned long long reads;
} reading;

static reading *begin(const bench_config *config, const char *asked_for)
{
    reading *all = bench_allocate(1, sizeof *all);
    all->of = limit_store_make(config, "limits.store", asked_for);
    all->table = bare_table_make(all->of.count, true);
    all->scratch_path = bench_new_path(config, "limits.scratch");
    all->seconds = config->scale < 1 ? 0.05 : 0.4;
    bare_table_fill(&all->table, all->of.file, all->of.size);
    return all;
}

static void *begin_reads(const bench_config *config)
{
    return begin(config, "bench-key-");
}

static void *begin_misses(const bench_config *config)
{
    return begin(config, "missing-key-");
}

static void end(void *state)
{
    reading *all = state;
    bare_table_free(&all->table);
    limit_store_free(&all->of);
    remove(all->scratch_path);
    free(all->scratch_path);
    free(all);
}

/* ----- One by one ----- */

static uint64_t engine_read_each(const reading *all, size_t first, size_t count)
{
    const simdrive_bytes *keys = all->of.list + first;
    uint64_t found = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        simdrive_entry entry = {0};
        if (simdrive_read(all->of.store, keys[i].data, keys[i].size, &entry) != SIMDRIVE_OK)
            continue;
        sum += *(const unsigned char *)entry.data;
        found++;
        simdrive_entry_release(&entry);
    }
    limit_keep(sum);
    return found;
}

static uint64_t bare_read_each(const reading *all, size_t first, size_t count)
{
    const simdrive_bytes *keys = all->of.list + first;
    const bare_table table = all->table;
    const uint8_t *file = all->of.file;
    uint64_t found = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t at = bare_find(&table, file, sdi_hash(keys[i].data, keys[i].size));
        if (at == 0)
            continue;
        sum += bare_first_byte(file, at);
        found++;
    }
    limit_keep(sum);
    return found;
}

/* ----- In groups ----- */

static uint64_t engine_read_batch(const reading *all, size_t first, size_t count)
{
    simdrive_entry entries[limit_batch];
    size_t found = 0;
    uint64_t sum = 0;
    limit_require_ok(simdrive_read_batch(all->of.store, all->of.list + first, count, entries, &found), "batch read");
    for (size_t i = 0; i < count; i++)
        sum += entries[i].data != NULL ? *(const unsigned char *)entries[i].data : 0;
    simdrive_entries_release(entries, count);
    limit_keep(sum);
    return found;
}

/* Where the slot says that a key is; the file is not looked at, but for keys of which the line says two. */
static uint64_t bare_candidate(const bare_table *table, const uint8_t *file, uint64_t hash)
{
    sdi_slot *line = bare_line(table, hash);
    unsigned found = sdi_line_match(line, bare_tag(hash));
    if (found == 0)
        return bare_find(table, file, hash);
    return sdi_slot_offset(atomic_load_explicit(&line[sdi_next_match(&found)], memory_order_relaxed));
}

static uint64_t bare_read_group(const reading *all, size_t first, size_t count)
{
    const simdrive_bytes *keys = all->of.list + first;
    const bare_table table = all->table;
    const uint8_t *file = all->of.file;
    uint64_t hashes[group], ends[group], found = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = sdi_hash(keys[i].data, keys[i].size);
        bare_prefetch(&table, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        ends[i] = bare_candidate(&table, file, hashes[i]);
        __builtin_prefetch(file + ends[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (sdi_load64(file + ends[i]) != hashes[i])
            ends[i] = bare_find(&table, file, hashes[i]);
        if (ends[i] == 0)
            continue;
        sum += bare_first_byte(file, ends[i]);
        found++;
    }
    limit_keep(sum);
    return found;
}

static uint64_t bare_read_batch(const reading *all, size_t first, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i += group)
        found += bare_read_group(all, first + i, count - i < group ? count - i : group);
    return found;
}

/* ----- The rows of one thread ----- */

typedef uint64_t read_some(const reading *all, size_t first, size_t count);

static double time_reads(const reading *all, read_some *some, size_t at_once, uint64_t expected)
{
    uint64_t found = 0;
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->of.count; i += at_once)
        found += some(all, i, all->of.count - i < at_once ? all->of.count - i : at_once);
    double seconds = bench_now_seconds() - began;
    bench_require(found == expected, "finding what is there, and only that");
    return seconds * 1e9 / (double)all->of.count;
}

static double r1_engine(void *state)
{
    const reading *all = state;
    return time_reads(all, engine_read_each, all->of.count, all->of.count);
}

static double r1_limit(void *state)
{
    const reading *all = state;
    return time_reads(all, bare_read_each, all->of.count, all->of.count);
}

static double r1m_engine(void *state)
{
    const reading *all = state;
    return time_reads(all, engine_read_each, all->of.count, 0);
}

static double r1m_limit(void *state)
{
    const reading *all = state;
    return time_reads(all, bare_read_each, all->of.count, 0);
}

static double r2_engine(void *state)
{
    const reading *all = state;
    return time_reads(all, engine_read_batch, limit_batch, all->of.count);
}

static double r2_limit(void *state)
{
    const reading *all = state;
    return time_reads(all, bare_read_batch, limit_batch, all->of.count);
}

/* ----- Iteration ----- */

static double r3_engine(void *state)
{
    const reading *all = state;
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    uint64_t count = 0, sum = 0;
    double began = bench_now_seconds();
    limit_require_ok(simdrive_iterate(all->of.store, &iterator), "iterate");
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        sum += *(const unsigned char *)entry->data;
        count++;
    }
    simdrive_iterator_close(iterator);
    double seconds = bench_now_seconds() - began;
    limit_keep(sum);
    bench_require(count == all->of.count, "walking over all entries");
    return seconds * 1e9 / (double)count;
}

static double r3_limit(void *state)
{
    const reading *all = state;
    const uint8_t *file = all->of.file;
    uint64_t count = 0, sum = 0;
    double began = bench_now_seconds();
    for (uint64_t tail = all->of.size; tail != 0; count++) {
        uint64_t prev = sdi_load64(file + tail - SDI_METADATA_SIZE + SDI_PREV_FIELD);
        sum += file[sdi_payload_start(prev)];
        tail = prev;
    }
    double seconds = bench_now_seconds() - began;
    limit_keep(sum);
    bench_require(count == all->of.count, "walking over all entries");
    return seconds * 1e9 / (double)count;
}

/* ----- Threads beside a writer ----- */

static void write_until_the_end(reading *all)
{
    unsigned char entry[limit_single_entry];
    memset(entry, 'x', sizeof entry);
    double stop_at = bench_now_seconds() + all->seconds;
    int file = all->bare ? limit_new_file(all->scratch_path) : -1;
    for (uint64_t i = 0; i % 16 != 0 || bench_now_seconds() < stop_at; i++) {
        char key[32];
        int size = snprintf(key, sizeof key, "writer-key-%llu", (unsigned long long)i);
        if (all->bare)
            limit_write(file, entry, sizeof entry, i * sizeof entry);
        else
            limit_require_ok(simdrive_write(all->of.store, key, (size_t)size, entry, limit_single, NULL), "write");
    }
    if (file >= 0)
        close(file);
    atomic_store(&all->stop, true);
}

static void read_until_the_end(reading *all, unsigned thread)
{
    size_t at = all->of.count / limit_threads * thread;
    unsigned long long reads = 0;
    while (!atomic_load_explicit(&all->stop, memory_order_relaxed)) {
        if (at + reads_between_looks > all->of.count)
            at = 0;
        (all->bare ? bare_read_each : engine_read_each)(all, at, reads_between_looks);
        reads += reads_between_looks;
        at += reads_between_looks;
    }
    atomic_fetch_add(&all->reads, reads);
}

static void read_or_write(void *user, unsigned thread)
{
    if (thread == limit_threads)
        write_until_the_end(user);
    else
        read_until_the_end(user, thread);
}

static double r5(reading *all, bool bare)
{
    all->bare = bare;
    all->reads = 0;
    all->stop = false;
    double seconds = bench_threads_run(limit_threads + 1, read_or_write, all);
    return (double)all->reads / seconds;
}

static double r5_engine(void *state)
{
    return r5(state, false);
}

static double r5_limit(void *state)
{
    return r5(state, true);
}

limit_rows limit_rows_of_reads(void)
{
    static const limit_row rows[] = {
        {"R1", "ns/read", false, 0, begin_reads, r1_engine, r1_limit, end},
        {"R1-miss", "ns/read", false, 0, begin_misses, r1m_engine, r1m_limit, end},
        {"R2", "ns/read", false, 0, begin_reads, r2_engine, r2_limit, end},
        {"R3", "ns/entry", false, 0, begin_reads, r3_engine, r3_limit, end},
        {"R5", "reads/s", true, 0, begin_reads, r5_engine, r5_limit, end},
    };
    return (limit_rows){rows, sizeof rows / sizeof *rows};
}
