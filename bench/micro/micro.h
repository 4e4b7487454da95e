/* SPDX-License-Identifier: Apache-2.0
 *
 * micro.h — what the micro-benchmarks measure, as plain functions that C++ can call.
 *
 * Google Benchmark is C++, and the internal headers have C11 atomics in them, which C++ cannot read. So the bodies are
 * C, one file for each module that they measure, and main.cc registers and times them. A body does the work of one
 * turn of the clock, many operations, so that neither the call nor the clock shows. What it gives back is a sum over
 * the answers; the caller keeps it alive.
 *
 * All end the program when memory is short or a store cannot be written.
 */
#ifndef MICRO_H
#define MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ----- kernels.c: copying and checksums ----- */

typedef enum micro_kernel_operation {
    MICRO_COPY,
    MICRO_CRC32C,
    MICRO_COPY_CRC32C,
    MICRO_CRC32,
    MICRO_COPY_CRC32,
    MICRO_KERNEL_OPERATIONS
} micro_kernel_operation;

/* Sets that this processor has; the last one is the C library's memcpy, which only copies. */
size_t micro_kernel_sets(void);
const char *micro_kernel_set_name(size_t set);
const char *micro_kernel_operation_name(micro_kernel_operation operation);
bool micro_kernel_has(size_t set, micro_kernel_operation operation);

/* `calls` of one kernel that do not depend on each other, on the same bytes. */
uint32_t micro_kernel_run(size_t set, micro_kernel_operation operation, void *to, const void *from, size_t size,
                          size_t calls);

/* ----- hashes.c: the hash of keys ----- */

/* `count` keys of `size` bytes, one behind the other; an even number of them. */
uint64_t micro_hash_independent(const void *keys, size_t size, size_t count);
/* The same, each key one of two by the hash before: what a hash takes when it is waited for. */
uint64_t micro_hash_dependent(const void *keys, size_t size, size_t count);

/* ----- indexes.c: from hash to offset ----- */

typedef struct micro_index micro_index;

enum { MICRO_BATCH = 1024 };

/* `keys` of them, and a filled index. */
micro_index *micro_index_new(uint64_t keys);
void micro_index_free(micro_index *index);

/* MICRO_BATCH lookups each, on from where the last call ended, in random order. */
uint64_t micro_index_find(micro_index *index, bool absent);
uint64_t micro_index_find_dependent(micro_index *index);
uint64_t micro_index_find_batch(micro_index *index, bool absent);
/* Puts of keys that are there: MICRO_BATCH of them. */
uint64_t micro_index_replace_batch(micro_index *index);

typedef enum micro_build {
    MICRO_ADD_EXPECTED, /* as opening does: newest first, the number of keys being known */
    MICRO_ADD_GROWING,
    MICRO_PUT_BATCH, /* as writers do, in batches and one by one */
    MICRO_PUT
} micro_build;

typedef struct micro_build_report {
    double bytes_per_key;
    double longest_ns; /* MICRO_PUT: the longest 32 puts, in processor time */
} micro_build_report;

/* Makes a new index of all keys, and drops it. */
void micro_index_build(const micro_index *keys, micro_build how, micro_build_report *report);

/* ----- stores.c: publication and recovery, through the public header ----- */

typedef struct micro_store micro_store;

/* A new store of its own in the folder. */
micro_store *micro_store_new(const char *directory);
/* Closes and removes it. */
void micro_store_free(micro_store *store);

/* Appends 8-byte entries under keys that come again after a million: one call each, or one call for all. */
void micro_store_append_each(micro_store *store, size_t count);
void micro_store_append_batch(micro_store *store, size_t count);

/* Fills a store with that many entries and closes it; `torn_bytes` of an entry that was never finished come behind. */
micro_store *micro_store_filled(const char *directory, uint64_t entries, size_t torn_bytes);
/* Opens such a store for reading and closes it. */
uint64_t micro_store_open(micro_store *store);

#ifdef __cplusplus
}
#endif

#endif
