/* SPDX-License-Identifier: Apache-2.0
 *
 * writes.c — the limits of writing what is not synced: what a file system and a checksum take.
 *
 *   W1       of each entry: hash, copy, checksum, metadata, one line of a touched index; one pwrite for 1024 of them
 *   W2       one pwrite of 192 bytes for each entry
 *   W2-map   192 bytes stored for each entry into a map of a file whose space is set aside
 *   W3       the same two from eight threads, each at the next free place of one file
 *   W4       checksum and pwritev of 256 KiB payloads with their metadata, two payloads at once
 *   W4s      checksum and pwrite of 64 MiB in steps of 512 KiB, from the caller's memory
 *
 * Each measurement begins a new file, so that both sides find the same kind of pages; what it had is removed before the
 * next one begins, outside of the clock.
 */
#include "limits.h"

#include "digest/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { step_bytes = 512 << 10, large_value = 256 << 10, in_large_batch = 16, large_metadata = 64 };

typedef struct writing {
    char *path;
    size_t count; /* entries of one measurement */
    bench_keys keys;
    simdrive_bytes *list, *payloads;
    unsigned char *value; /* as large as the largest payload of the row */
    size_t value_size;
    simdrive_append_mode mode;
    bare_table table;
    simdrive_store *store; /* of the measurement that runs */
    uint8_t *map;
    int file;
    _Atomic uint64_t tail;
} writing;

static writing *begin(const bench_config *config, size_t count, size_t value_size, simdrive_append_mode mode)
{
    writing *all = bench_allocate(1, sizeof *all);
    all->path = bench_new_path(config, "limits.store");
    all->count = count;
    all->mode = mode;
    all->keys = bench_keys_make("bench-key-", count, false);
    all->list = limit_list(&all->keys);
    all->value_size = value_size;
    all->value = bench_allocate(1, value_size);
    memset(all->value, 'x', value_size);
    all->payloads = bench_allocate(count, sizeof *all->payloads);
    for (size_t i = 0; i < count; i++)
        all->payloads[i] = (simdrive_bytes){all->value, value_size};
    all->table = bare_table_make(count, true);
    return all;
}

static void end(void *state)
{
    writing *all = state;
    remove(all->path);
    bare_table_free(&all->table);
    free(all->payloads);
    free(all->value);
    free(all->list);
    bench_keys_free(&all->keys);
    free(all->path);
    free(all);
}

static void open_engine(writing *all)
{
    remove(all->path);
    all->store = limit_open(all->path, SIMDRIVE_SYNC_NONE, all->mode);
}

static void open_bare(writing *all)
{
    remove(all->path);
    all->file = limit_new_file(all->path);
    all->tail = 0;
}

static size_t entries(const bench_config *config, size_t full, size_t least)
{
    return bench_scaled(config, full, least);
}

/* ----- Small entries in batches ----- */

static void *begin_w1(const bench_config *config)
{
    return begin(config, entries(config, 1000000, 10000) / limit_batch * limit_batch, limit_value,
                 SIMDRIVE_APPEND_WRITE);
}

static double w1_engine(void *state)
{
    writing *all = state;
    open_engine(all);
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->count; i += limit_batch)
        limit_require_ok(simdrive_write_batch(all->store, all->list + i, all->payloads + i, limit_batch, NULL),
                         "batch");
    double seconds = bench_now_seconds() - began;
    limit_close(all->store);
    return (double)all->count / seconds;
}

/* One batch laid out behind `tail`, whose bytes end a payload's metadata: the first entry begins at the next line. */
static void bare_batch(writing *all, size_t first, uint8_t *buffer, uint64_t tail)
{
    uint64_t hashes[limit_batch];
    sdi_copy_crc_kernel *copy_crc = sdi_kernels_active()->copy_crc[SDI_CRC32C];
    for (size_t i = 0; i < limit_batch; i++) {
        uint8_t *entry = buffer + i * limit_slot;
        hashes[i] = sdi_hash(all->list[first + i].data, all->list[first + i].size);
        bare_prefetch(&all->table, hashes[i]);
        memset(entry, 0, limit_slot);
        uint32_t crc = copy_crc(0, entry, all->payloads[first + i].data, limit_value);
        sdi_encode_metadata(entry + limit_value, hashes[i], tail + i * limit_slot, crc);
    }
    limit_write(all->file, buffer, (size_t)limit_batch * limit_slot, tail);
    for (size_t i = 0; i < limit_batch; i++)
        bare_put(&all->table, hashes[i], tail + i * limit_slot + limit_value);
}

static double w1_limit(void *state)
{
    writing *all = state;
    uint8_t *buffer = bench_allocate(limit_batch, limit_slot);
    open_bare(all);
    bare_table_clear(&all->table);
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->count; i += limit_batch)
        bare_batch(all, i, buffer, i * limit_slot);
    double seconds = bench_now_seconds() - began;
    close(all->file);
    free(buffer);
    return (double)all->count / seconds;
}

/* ----- Single entries ----- */

static void *begin_w2(const bench_config *config)
{
    return begin(config, entries(config, 200000, 1000), limit_single, SIMDRIVE_APPEND_WRITE);
}

static void *begin_w2_map(const bench_config *config)
{
    return begin(config, entries(config, 200000, 1000), limit_single, SIMDRIVE_APPEND_MAP);
}

static void engine_write(writing *all, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        limit_require_ok(simdrive_write(all->store, all->list[i].data, all->list[i].size, all->value,
                                        all->value_size, NULL), "write");
}

static double w2_engine(void *state)
{
    writing *all = state;
    open_engine(all);
    double began = bench_now_seconds();
    engine_write(all, 0, all->count);
    double seconds = bench_now_seconds() - began;
    limit_close(all->store);
    return (double)all->count / seconds;
}

static void bare_append(writing *all, const uint8_t *entry, size_t count)
{
    for (size_t i = 0; i < count; i++)
        limit_write(all->file, entry, limit_single_entry, atomic_fetch_add(&all->tail, limit_single_entry));
}

static void bare_store(writing *all, const uint8_t *entry, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(all->map + atomic_fetch_add(&all->tail, limit_single_entry), entry, limit_single_entry);
}

static void bare_single(writing *all, size_t count)
{
    uint8_t entry[limit_single_entry];
    memset(entry, 'x', sizeof entry);
    (all->mode == SIMDRIVE_APPEND_MAP ? bare_store : bare_append)(all, entry, count);
}

/* The map's space and its pages are there when the stores begin; getting them is inside the clock. */
static void map_bare(writing *all)
{
    size_t size = all->count * limit_single_entry;
    bench_require(posix_fallocate(all->file, 0, (off_t)size) == 0, "setting space aside");
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, all->file, 0);
    bench_require(map != MAP_FAILED, "mapping a file");
    all->map = map;
}

static void unmap_bare(writing *all)
{
    if (all->mode == SIMDRIVE_APPEND_MAP)
        munmap(all->map, all->count * limit_single_entry);
    close(all->file);
}

static double w2_limit(void *state)
{
    writing *all = state;
    open_bare(all);
    double began = bench_now_seconds();
    if (all->mode == SIMDRIVE_APPEND_MAP)
        map_bare(all);
    bare_single(all, all->count);
    double seconds = bench_now_seconds() - began;
    unmap_bare(all);
    return (double)all->count / seconds;
}

static void *begin_w3(const bench_config *config)
{
    return begin(config, entries(config, 200000, 800) / limit_threads * limit_threads, limit_single,
                 SIMDRIVE_APPEND_WRITE);
}

static void *begin_w3_map(const bench_config *config)
{
    return begin(config, entries(config, 200000, 800) / limit_threads * limit_threads, limit_single,
                 SIMDRIVE_APPEND_MAP);
}

static void engine_share(void *user, unsigned thread)
{
    writing *all = user;
    engine_write(all, all->count / limit_threads * thread, all->count / limit_threads);
}

static void bare_share(void *user, unsigned thread)
{
    writing *all = user;
    (void)thread;
    bare_single(all, all->count / limit_threads);
}

static double w3_engine(void *state)
{
    writing *all = state;
    open_engine(all);
    double seconds = bench_threads_run(limit_threads, engine_share, all);
    limit_close(all->store);
    return (double)all->count / seconds;
}

static double w3_limit(void *state)
{
    writing *all = state;
    open_bare(all);
    double began = bench_now_seconds();
    if (all->mode == SIMDRIVE_APPEND_MAP)
        map_bare(all);
    double preparing = bench_now_seconds() - began;
    double seconds = bench_threads_run(limit_threads, bare_share, all);
    unmap_bare(all);
    return (double)all->count / (preparing + seconds);
}

/* ----- Large values ----- */

static void *begin_w4(const bench_config *config)
{
    return begin(config, entries(config, 1024, in_large_batch) / in_large_batch * in_large_batch, large_value,
                 SIMDRIVE_APPEND_WRITE);
}

static double w4_engine(void *state)
{
    writing *all = state;
    open_engine(all);
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->count; i += in_large_batch)
        limit_require_ok(simdrive_write_batch(all->store, all->list + i, all->payloads + i, in_large_batch, NULL),
                         "batch");
    double seconds = bench_now_seconds() - began;
    limit_close(all->store);
    return (double)all->count * large_value / seconds;
}

static double w4_limit(void *state)
{
    writing *all = state;
    uint8_t metadata[large_metadata] = {0};
    enum { at_once = 2, bytes = at_once * (large_value + large_metadata) };
    struct iovec pieces[2 * at_once];
    for (size_t i = 0; i < 2 * at_once; i += 2) {
        pieces[i] = (struct iovec){all->value, large_value};
        pieces[i + 1] = (struct iovec){metadata, sizeof metadata};
    }
    uint32_t crc = 0;
    open_bare(all);
    double began = bench_now_seconds();
    for (size_t i = 0; i < all->count; i += at_once) {
        for (size_t k = 0; k < at_once; k++)
            crc = sdi_crc(SDI_CRC32C, crc, all->value, large_value);
        ssize_t written = pwritev(all->file, pieces, 2 * at_once, (off_t)(i / at_once * bytes));
        bench_require(written == bytes, "writing a file");
    }
    double seconds = bench_now_seconds() - began;
    limit_keep(crc);
    close(all->file);
    return (double)all->count * large_value / seconds;
}

/* ----- One stream ----- */

static void *begin_w4s(const bench_config *config)
{
    return begin(config, 1, entries(config, 64 << 20, 8 << 20), SIMDRIVE_APPEND_WRITE);
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

static double w4s_engine(void *state)
{
    writing *all = state;
    memory_source source = {all->value, all->value_size};
    open_engine(all);
    double began = bench_now_seconds();
    limit_require_ok(simdrive_write_stream(all->store, "stream", 6, give, &source, 0, NULL), "stream");
    double seconds = bench_now_seconds() - began;
    limit_close(all->store);
    return (double)all->value_size / seconds;
}

static double w4s_limit(void *state)
{
    writing *all = state;
    uint32_t crc = 0;
    open_bare(all);
    double began = bench_now_seconds();
    for (size_t at = 0; at < all->value_size; at += step_bytes) {
        size_t size = all->value_size - at < step_bytes ? all->value_size - at : step_bytes;
        crc = sdi_crc(SDI_CRC32C, crc, all->value + at, size);
        limit_write(all->file, all->value + at, size, at);
    }
    double seconds = bench_now_seconds() - began;
    limit_keep(crc);
    close(all->file);
    return (double)all->value_size / seconds;
}

limit_rows limit_rows_of_writes(void)
{
    static const limit_row rows[] = {
        {"W1", "entries/s", true, 0, begin_w1, w1_engine, w1_limit, end},
        {"W2", "entries/s", true, 0, begin_w2, w2_engine, w2_limit, end},
        {"W2-map", "entries/s", true, 0, begin_w2_map, w2_engine, w2_limit, end},
        {"W3", "entries/s", true, 0, begin_w3, w3_engine, w3_limit, end},
        {"W3-map", "entries/s", true, 0, begin_w3_map, w3_engine, w3_limit, end},
        {"W4", "bytes/s", true, 0, begin_w4, w4_engine, w4_limit, end},
        {"W4s", "bytes/s", true, 0, begin_w4s, w4s_engine, w4s_limit, end},
    };
    return (limit_rows){rows, sizeof rows / sizeof *rows};
}
