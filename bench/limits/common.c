/* SPDX-License-Identifier: Apache-2.0
 *
 * common.c — stores, files and the bare index, as the rows of limits.h share them.
 */
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { fill_block = 64, huge_page = 2 << 20 };

void limit_require_ok(simdrive_status status, const char *what)
{
    if (status == SIMDRIVE_OK)
        return;
    fprintf(stderr, "bench: %s: %s (os error %d)\n", what, simdrive_status_name(status), simdrive_last_os_error());
    exit(1);
}

/* ----- Stores and files ----- */

simdrive_store *limit_open(const char *path, simdrive_sync_policy sync, simdrive_append_mode append)
{
    simdrive_open_options options = {.struct_size = sizeof options, .sync = sync, .append = append};
    options.saved_index = SIMDRIVE_SAVED_INDEX_OFF;
    simdrive_store *store = NULL;
    limit_require_ok(simdrive_open(path, &options, &store), "opening a store");
    return store;
}

void limit_close(simdrive_store *store)
{
    limit_require_ok(simdrive_close(store), "closing a store");
}

simdrive_bytes *limit_list(const bench_keys *keys)
{
    simdrive_bytes *list = bench_allocate(keys->count, sizeof *list);
    for (size_t i = 0; i < keys->count; i++)
        list[i].data = bench_key(keys, i, &list[i].size);
    return list;
}

void limit_fill(simdrive_store *store, size_t count)
{
    bench_keys keys = bench_keys_make("bench-key-", count, false);
    simdrive_bytes *list = limit_list(&keys);
    uint64_t value = 1;
    simdrive_bytes payloads[limit_batch];
    for (size_t i = 0; i < limit_batch; i++)
        payloads[i] = (simdrive_bytes){&value, limit_value};
    for (size_t i = 0; i < count; i += limit_batch) {
        size_t in_batch = count - i < limit_batch ? count - i : limit_batch;
        limit_require_ok(simdrive_write_batch(store, list + i, payloads, in_batch, NULL), "batch");
    }
    free(list);
    bench_keys_free(&keys);
}

const uint8_t *limit_map(const char *path, uint64_t *size)
{
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bench_require(file >= 0 && fstat(file, &about) == 0, "opening a file");
    *size = (uint64_t)about.st_size;
    void *map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    bench_require(map != MAP_FAILED, "mapping a file");
    close(file);
    return map;
}

int limit_new_file(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bench_require(file >= 0, "making a file");
    return file;
}

void limit_write(int file, const void *data, size_t size, uint64_t offset)
{
    bench_require(pwrite(file, data, size, (off_t)offset) == (ssize_t)size, "writing a file");
}

limit_store limit_store_make(const bench_config *config, const char *name, const char *asked_for)
{
    limit_store made = {.path = bench_new_path(config, name), .count = bench_scaled(config, 1000000, 10000)};
    made.store = limit_open(made.path, SIMDRIVE_SYNC_NONE, SIMDRIVE_APPEND_WRITE);
    limit_fill(made.store, made.count);
    made.keys = bench_keys_make(asked_for, made.count, true);
    made.list = limit_list(&made.keys);
    made.file = limit_map(made.path, &made.size);
    return made;
}

void limit_store_free(limit_store *store)
{
    munmap((void *)(uintptr_t)store->file, store->size);
    limit_close(store->store);
    remove(store->path);
    free(store->list);
    bench_keys_free(&store->keys);
    free(store->path);
}

/* ----- The bare index ----- */

bare_table bare_table_make(size_t keys, bool touched)
{
    uint64_t lines = (uint64_t)keys * 4 / 3 / SDI_LINE_SLOTS + 1;
    bare_table table = {.lines = lines, .bytes = (lines * SDI_LINE_SIZE + huge_page - 1) / huge_page * huge_page};
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *pages = mmap(NULL, table.bytes + huge_page, PROT_READ | PROT_WRITE, flags, -1, 0);
    bench_require(pages != MAP_FAILED, "memory");
    size_t before = (size_t)(-(uintptr_t)pages & (huge_page - 1));
    if (before > 0)
        munmap(pages, before);
    munmap(pages + before + table.bytes, huge_page - before);
    table.slots = (sdi_slot *)(void *)(pages + before);
    madvise(pages + before, table.bytes, MADV_HUGEPAGE);
    if (touched)
        bare_table_clear(&table);
    return table;
}

void bare_table_clear(bare_table *table)
{
    memset((void *)(uintptr_t)table->slots, 0, table->bytes);
}

void bare_table_free(bare_table *table)
{
    munmap((void *)(uintptr_t)table->slots, table->bytes);
}

void bare_table_fill(bare_table *table, const uint8_t *file, uint64_t tail)
{
    uint64_t hashes[fill_block], ends[fill_block];
    while (tail != 0) {
        size_t count = 0;
        for (; count < fill_block && tail != 0; count++) {
            ends[count] = tail - SDI_METADATA_SIZE;
            hashes[count] = sdi_load64(file + ends[count]);
            bare_prefetch(table, hashes[count]);
            tail = sdi_load64(file + ends[count] + SDI_PREV_FIELD);
        }
        for (size_t i = 0; i < count; i++)
            bare_put(table, hashes[i], ends[i]);
    }
}
