/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.h — what stands in the way: each workload beside a bare loop that does only what it cannot do without.
 *
 * A row is one workload in two forms over the same data. `engine` is this library through its public header. `limit` is
 * a sketch: the same misses of the cache, system calls, copies and checksums, without bounds checks, pins, handles,
 * publication, growth or anything else that makes a store safe. main.c runs both in turns, in one process, and
 * compares them within each round. Both return their figure in the unit of the row.
 *
 * The bare index (bare_table) is the library's in miniature: lines of eight slots with a tag and an offset each, made
 * at its final size, and touched before the clock starts.
 */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "harness.h"
#include "simdrive.h"

#include "format/format.h"
#include "index/layout.h"

typedef struct limit_row {
    const char *name;
    const char *unit;
    bool more_is_better;
    unsigned least_rounds;
    void *(*begin)(const bench_config *config);
    double (*engine)(void *state);
    double (*limit)(void *state);
    void (*end)(void *state);
} limit_row;

typedef struct limit_rows {
    const limit_row *rows;
    size_t count;
} limit_rows;

limit_rows limit_rows_of_reads(void);   /* reads.c */
limit_rows limit_rows_of_writes(void);  /* writes.c */
limit_rows limit_rows_of_syncs(void);   /* syncs.c */
limit_rows limit_rows_of_opening(void); /* opening.c */

/* scaling.c: readers by number of threads, with and without a writer, and what the kernel counted meanwhile. */
void limit_scaling(const bench_config *config);

enum {
    limit_batch = 1024,
    limit_value = 8,          /* bytes of the entries of W1 */
    limit_slot = 64,          /* that one of them takes in the file */
    limit_single = 128,       /* bytes of the values of W2 and W3 */
    limit_single_entry = 192, /* what such an entry takes in the file */
    limit_threads = 8
};

/* ----- Stores and files ----- */

/* A store of W1's entries, its file mapped a second time for the bare loops, and the keys in random order. */
typedef struct limit_store {
    char *path;
    size_t count;
    simdrive_store *store;
    bench_keys keys;
    simdrive_bytes *list; /* the same keys as the library takes them */
    const uint8_t *file;
    uint64_t size; /* of the file, and its tail */
} limit_store;

limit_store limit_store_make(const bench_config *config, const char *name, const char *asked_for);
void limit_store_free(limit_store *store);

/* `bench-key-{i}` with 8 bytes each, put into a store in batches. */
void limit_fill(simdrive_store *store, size_t count);

simdrive_store *limit_open(const char *path, simdrive_sync_policy sync, simdrive_append_mode append);
void limit_close(simdrive_store *store);
void limit_require_ok(simdrive_status status, const char *what);

/* A new empty file; a whole write at an offset. */
int limit_new_file(const char *path);
void limit_write(int file, const void *data, size_t size, uint64_t offset);
const uint8_t *limit_map(const char *path, uint64_t *size);

simdrive_bytes *limit_list(const bench_keys *keys);

/* Keeps the compiler from leaving out what was read. */
static inline void limit_keep(uint64_t sum)
{
    __asm__ volatile("" : : "r"(sum));
}

/* ----- The bare index ----- */

typedef struct bare_table {
    sdi_slot *slots;
    uint64_t lines;
    size_t bytes;
} bare_table;

/* Room for `keys` at three quarters of its slots; `touched`: its pages are there. */
bare_table bare_table_make(size_t keys, bool touched);
void bare_table_clear(bare_table *table);
void bare_table_free(bare_table *table);

static inline sdi_slot *bare_line(const bare_table *table, uint64_t hash)
{
    return table->slots + (uint64_t)(((unsigned __int128)hash * table->lines) >> 64) * SDI_LINE_SLOTS;
}

static inline void bare_prefetch(const bare_table *table, uint64_t hash)
{
    __builtin_prefetch((const void *)(uintptr_t)bare_line(table, hash), 1);
}

/* Bits of the hash that the line is not chosen by, and never 0, which an empty slot has. */
static inline unsigned bare_tag(uint64_t hash)
{
    return ((unsigned)hash & 0xffffu) | 1u;
}

static inline sdi_slot *bare_next_line(const bare_table *table, sdi_slot *line)
{
    line += SDI_LINE_SLOTS;
    return line == table->slots + table->lines * SDI_LINE_SLOTS ? table->slots : line;
}

static inline void bare_put(bare_table *table, uint64_t hash, uint64_t offset)
{
    for (sdi_slot *line = bare_line(table, hash);; line = bare_next_line(table, line)) {
        unsigned empty = sdi_line_match(line, 0);
        if (empty == 0)
            continue;
        atomic_store_explicit(&line[sdi_next_match(&empty)], (uint64_t)bare_tag(hash) << 48 | offset,
                              memory_order_relaxed);
        return;
    }
}

/* The offset of a key's metadata in `file`, or 0: one line of the table, and for what is there one of the file. */
static inline uint64_t bare_find(const bare_table *table, const uint8_t *file, uint64_t hash)
{
    for (sdi_slot *line = bare_line(table, hash);; line = bare_next_line(table, line)) {
        for (unsigned found = sdi_line_match(line, bare_tag(hash)); found != 0;) {
            uint64_t offset = sdi_slot_offset(atomic_load_explicit(&line[sdi_next_match(&found)],
                                                                   memory_order_relaxed));
            if (sdi_load64(file + offset) == hash)
                return offset;
        }
        if (!sdi_line_is_full(line))
            return 0;
    }
}

static inline uint8_t bare_first_byte(const uint8_t *file, uint64_t end)
{
    return file[sdi_payload_start(sdi_load64(file + end + SDI_PREV_FIELD))];
}

/* All entries of a file by their links, newest first, put into the table. */
void bare_table_fill(bare_table *table, const uint8_t *file, uint64_t tail);

#endif
