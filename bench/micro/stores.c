/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.c — publication (how fast entries become readable) and recovery (opening, with and without a torn tail).
 *
 * Each store is a file of its own in a folder that should be in memory: what is measured is this library's work, not
 * the disk's.
 */
#include "micro.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simdrive.h"

enum { KEYS = 1 << 20, KEY_SIZE = 8, PATH_SIZE = 4096 };

struct micro_store {
    simdrive_store *store; /* NULL while it is closed */
    uint64_t *numbers;     /* KEYS of them: keys and payloads both */
    simdrive_bytes *batch; /* the same as arguments */
    size_t next;
    uint64_t entries;
    char path[PATH_SIZE];
};

static void require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_micro: %s: failed\n", what);
    exit(3);
}

static void require_ok(simdrive_status status, const char *what)
{
    require(status == SIMDRIVE_OK, what);
}

micro_store *micro_store_new(const char *directory)
{
    simdrive_open_options options = {.struct_size = sizeof options, .must_create = true};
    options.saved_index = SIMDRIVE_SAVED_INDEX_OFF;
    micro_store *store = calloc(1, sizeof *store);
    require(store != NULL, "memory");
    store->numbers = malloc(KEYS * sizeof *store->numbers);
    store->batch = malloc(KEYS * sizeof *store->batch);
    require(store->numbers != NULL && store->batch != NULL, "memory");
    for (size_t i = 0; i < KEYS; i++) {
        store->numbers[i] = i + 1;
        store->batch[i] = (simdrive_bytes){&store->numbers[i], KEY_SIZE};
    }
    snprintf(store->path, sizeof store->path, "%s/bench_micro.%ld.store", directory, (long)getpid());
    require_ok(simdrive_open(store->path, &options, &store->store), "creating a store");
    return store;
}

void micro_store_free(micro_store *store)
{
    if (store->store != NULL)
        require_ok(simdrive_close(store->store), "closing");
    require(remove(store->path) == 0, "removing the store");
    free(store->batch);
    free(store->numbers);
    free(store);
}

/* Where the next `count` keys begin. */
static size_t next_keys(micro_store *store, size_t count)
{
    if (store->next + count > KEYS)
        store->next = 0;
    size_t at = store->next;
    store->next += count;
    return at;
}

void micro_store_append_each(micro_store *store, size_t count)
{
    size_t at = next_keys(store, count);
    for (size_t i = at; i < at + count; i++)
        require_ok(simdrive_write(store->store, &store->numbers[i], KEY_SIZE, &store->numbers[i], KEY_SIZE, NULL),
                   "write");
}

void micro_store_append_batch(micro_store *store, size_t count)
{
    const simdrive_bytes *at = store->batch + next_keys(store, count);
    require_ok(simdrive_write_batch(store->store, at, at, count, NULL), "batch");
}

static void append_garbage(const char *path, size_t size)
{
    void *garbage = malloc(size);
    require(garbage != NULL, "memory");
    memset(garbage, 0x5a, size);
    int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    require(file >= 0 && write(file, garbage, size) == (ssize_t)size && close(file) == 0, "tearing the tail");
    free(garbage);
}

micro_store *micro_store_filled(const char *directory, uint64_t entries, size_t torn_bytes)
{
    micro_store *store = micro_store_new(directory);
    require(entries <= KEYS, "so many entries");
    store->entries = entries;
    for (uint64_t i = 0; i < entries; i += MICRO_BATCH)
        micro_store_append_batch(store, entries - i < MICRO_BATCH ? (size_t)(entries - i) : MICRO_BATCH);
    require_ok(simdrive_close(store->store), "closing");
    store->store = NULL;
    if (torn_bytes > 0)
        append_garbage(store->path, torn_bytes);
    return store;
}

uint64_t micro_store_open(micro_store *store)
{
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    options.saved_index = SIMDRIVE_SAVED_INDEX_OFF;
    simdrive_store *opened = NULL;
    require_ok(simdrive_open(store->path, &options, &opened), "opening");
    uint64_t count = simdrive_count(opened);
    require(count == store->entries, "finding all entries");
    require_ok(simdrive_close(opened), "closing");
    return count;
}
