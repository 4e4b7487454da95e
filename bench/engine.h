/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h — a storage system as the workloads see it, so that every system in C or C++ does exactly the same work.
 *
 * A program describes its system as a bench_engine and hands it to bench_engine_main(); workloads.c has the workloads.
 * What would add to the time of a fast system is inside the engine: the loops over reads, and the arrays in the form
 * that its interface wants. A call through a pointer for each write or mixed operation is left, the same for all.
 *
 * Engines end the program on every failure (bench_require). A function that may be NULL says so; the workloads that
 * need it are then not there for this system.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "harness.h"

#ifdef __cplusplus
extern "C" {
#endif

/* When a write has to be on the disk. */
typedef enum bench_sync {
    BENCH_SYNC_NONE,
    BENCH_SYNC_EACH,    /* before the call returns */
    BENCH_SYNC_INTERVAL /* a second later: only systems that do that themselves */
} bench_sync;

/* What will be done with a store that does not fit into memory, for systems that can be told. */
typedef enum bench_access {
    BENCH_ACCESS_ANY,
    BENCH_ACCESS_IN_ORDER,
    BENCH_ACCESS_AT_RANDOM
} bench_access;

/* What is known of a store when it is opened, for systems that have to be told its size ahead. */
typedef struct bench_plan {
    const char *path; /* a file or a folder, as the system likes */
    bool create;      /* nothing is there; otherwise a store is */
    bench_sync sync;
    bench_access access;
    size_t entries; /* keys that it will have */
    size_t bytes;   /* of all payloads that will be written to it */
} bench_plan;

/* Keys, and the payloads that are written under them (NULL: to be read only), and the same in the engine's form. */
typedef struct bench_list {
    const bench_bytes *keys;
    const bench_bytes *payloads;
    size_t count;
    void *native;
} bench_list;

typedef struct bench_engine {
    const char *name;
    const char *settings; /* for `describe` */

    /* Makes and frees list->native. May be NULL both. */
    void (*list_make)(bench_list *list);
    void (*list_free)(bench_list *list);

    void *(*open)(const bench_plan *plan);
    void (*close)(void *store);

    /* Called from several threads at once. */
    void (*put)(void *store, const char *key, size_t key_size, const void *payload, size_t size);
    /* Writes `count` entries of the list from `first` on together. */
    void (*put_batch)(void *store, const bench_list *list, size_t first, size_t count);
    /* One large value in the way that the system has for such. May be NULL: put() is used then. */
    void (*put_stream)(void *store, const char *key, size_t key_size, const void *payload, size_t size);

    /* What a thread needs for reading. */
    void *(*reader_begin)(void *store);
    void (*reader_end)(void *reader);
    /* One read, and bench_touch(). False when there is no such key. */
    bool (*read)(void *reader, const char *key, size_t key_size);
    /* Reads by one call each, and by one call for all, touching the first byte. Return how many were found. */
    uint64_t (*read_each)(void *reader, const bench_list *list, size_t first, size_t count);
    uint64_t (*read_batch)(void *reader, const bench_list *list, size_t first, size_t count);

    /* Goes over all entries, touching the first byte of each; returns how many there are. */
    uint64_t (*walk)(void *store);
    /* The same on two threads: all of it, or for ordered systems the keys not below `from` and below `to` (size 0: no
     * bound). One or both may be NULL. */
    uint64_t (*walk_two_threads)(void *store);
    uint64_t (*walk_range)(void *reader, bench_bytes from, bench_bytes to);

    /* Gives back the space of what was overwritten, and leaves the store open. */
    void (*compact)(void *store);
    /* Brings a store that was filled into the form in which it is read best. May be NULL. */
    void (*settle)(void *store);
    /* Memory of the index, where the system tells. May be NULL. */
    uint64_t (*index_bytes)(void *store);
} bench_engine;

/* Runs a workload of the command line: one of those that all systems have, or one of `own`. */
int bench_engine_main(int argc, char **argv, const bench_engine *engine, const bench_workload *own, size_t own_count);

/* Workloads in parts, for a system that has variants of them. `engine` may be another than that of the program, as far
 * as it works on the same stores. */
void bench_run_single_writes(const bench_config *config, bench_sync when, size_t count);
void bench_run_reads(const bench_config *config, const bench_engine *engine, const char *prefix, bool batches);
void bench_run_opening(const bench_config *config, const bench_engine *engine);
size_t bench_entry_count(const bench_config *config);

#ifdef __cplusplus
}
#endif

#endif /* BENCH_ENGINE_H */
