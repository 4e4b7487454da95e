/* SPDX-License-Identifier: Apache-2.0
 *
 * indexes.c — what an operation of the index costs, at several numbers of keys.
 *
 * The file is stood in for by an array with one hash every 64 bytes, as the smallest entries of a store lie, or wider
 * for few keys, so that the metadata always spreads over more than one GiB, each on a page of its own: lookups wait
 * for memory as they do in a store. Keys are asked for in random order.
 */
#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "index/index.h"

enum { PUTS_BETWEEN_LOOKS = 32 }; /* a stall is long beside them, and reading the clock is not free */

struct micro_index {
    sdi_index *index;
    uint64_t keys;
    uint8_t *file;
    uint64_t *hashes; /* in the order of the file */
    uint64_t *offsets;
    uint64_t *asked;  /* the same hashes in another order */
    uint64_t *absent;
    uint64_t next;    /* of `asked`, where the next call goes on */
};

static void *allocate(uint64_t count, size_t size)
{
    void *memory = malloc((size_t)count * size);
    if (memory == NULL) {
        fprintf(stderr, "bench_micro: out of memory\n");
        exit(3);
    }
    return memory;
}

/* Of this thread: a stall of the machine is not one of the index. */
static double processor_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint64_t hash_of(uint64_t n)
{
    uint64_t z = n * UINT64_C(0x9E3779B97F4A7C15) + 0x1234567;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void shuffle(uint64_t *items, uint64_t count)
{
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t k = hash_of(~i) % (i + 1), swapped = items[i];
        items[i] = items[k];
        items[k] = swapped;
    }
}

static void require(simdrive_status status)
{
    if (status == SIMDRIVE_OK)
        return;
    fprintf(stderr, "bench_micro: index: %s\n", simdrive_status_name(status));
    exit(3);
}

static size_t batch_at(const micro_index *all, uint64_t i)
{
    return all->keys - i < MICRO_BATCH ? (size_t)(all->keys - i) : MICRO_BATCH;
}

static sdi_index *add_all(const micro_index *all, uint64_t expected)
{
    uint64_t existing[MICRO_BATCH];
    sdi_index *index = sdi_index_create(expected, all->file);
    for (uint64_t i = 0; index != NULL && i < all->keys; i += MICRO_BATCH)
        require(sdi_index_add_batch(index, all->hashes + i, all->offsets + i, batch_at(all, i), existing));
    require(index != NULL ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY);
    return index;
}

micro_index *micro_index_new(uint64_t keys)
{
    const uint64_t spread = UINT64_C(5) << 28;
    uint64_t stride = spread / keys / 64 * 64;
    stride = stride < 64 ? 64 : stride;
    micro_index *all = allocate(1, sizeof *all);
    *all = (micro_index){.keys = keys, .file = allocate(keys + 1, (size_t)stride)}; /* pages of the ordinary size */
    all->hashes = allocate(keys, sizeof *all->hashes);
    all->offsets = allocate(keys, sizeof *all->offsets);
    all->asked = allocate(keys, sizeof *all->asked);
    all->absent = allocate(keys, sizeof *all->absent);
    for (uint64_t i = 0; i < keys; i++) {
        all->hashes[i] = all->asked[i] = hash_of(i);
        all->absent[i] = hash_of(i + (UINT64_C(1) << 40));
        all->offsets[i] = (i + 1) * stride;
        sdi_store64(all->file + all->offsets[i], all->hashes[i]);
    }
    shuffle(all->asked, keys);
    all->index = add_all(all, 0);
    return all;
}

void micro_index_free(micro_index *index)
{
    sdi_index_destroy(index->index);
    free(index->file);
    free(index->hashes);
    free(index->offsets);
    free(index->asked);
    free(index->absent);
    free(index);
}

/* Where the next MICRO_BATCH keys begin; keys are at least so many. */
static uint64_t next_batch(micro_index *all)
{
    if (all->next + MICRO_BATCH > all->keys)
        all->next = 0;
    uint64_t at = all->next;
    all->next += MICRO_BATCH;
    return at;
}

uint64_t micro_index_find(micro_index *index, bool absent)
{
    const uint64_t *hashes = (absent ? index->absent : index->asked) + next_batch(index);
    uint64_t sum = 0;
    for (size_t i = 0; i < MICRO_BATCH; i++)
        sum += sdi_index_find(index->index, hashes[i]).offset;
    return sum;
}

uint64_t micro_index_find_dependent(micro_index *index)
{
    const uint64_t *hashes = index->asked + next_batch(index);
    uint64_t zero = 0, sum = 0;
    for (size_t i = 0; i < MICRO_BATCH; i++) {
        uint64_t offset = sdi_index_find(index->index, hashes[i] ^ zero).offset;
        zero = offset >> 63; /* offsets are below 2^48, which the compiler does not know */
        sum += offset;
    }
    return sum;
}

uint64_t micro_index_find_batch(micro_index *index, bool absent)
{
    sdi_index_hit hits[MICRO_BATCH];
    const uint64_t *hashes = (absent ? index->absent : index->asked) + next_batch(index);
    sdi_index_find_batch(index->index, hashes, MICRO_BATCH, hits);
    return hits[0].offset + hits[MICRO_BATCH - 1].offset;
}

static void put_batch(const micro_index *all, sdi_index *index, uint64_t at, size_t count)
{
    uint64_t replaced[MICRO_BATCH];
    require(sdi_index_reserve(index, all->hashes + at, count));
    sdi_index_put_batch(index, all->hashes + at, all->offsets + at, count, replaced);
}

uint64_t micro_index_replace_batch(micro_index *index)
{
    uint64_t at = next_batch(index);
    put_batch(index, index->index, at, MICRO_BATCH);
    return at;
}

static double put_each(const micro_index *all, sdi_index *index)
{
    double longest = 0, before = processor_ns();
    for (uint64_t i = 0; i < all->keys; i++) {
        require(sdi_index_reserve(index, &all->hashes[i], 1));
        sdi_index_put(index, all->hashes[i], all->offsets[i]);
        if (i % PUTS_BETWEEN_LOOKS != 0)
            continue;
        double now = processor_ns();
        longest = now - before > longest ? now - before : longest;
        before = now;
    }
    return longest;
}

void micro_index_build(const micro_index *keys, micro_build how, micro_build_report *report)
{
    bool adds = how == MICRO_ADD_EXPECTED || how == MICRO_ADD_GROWING;
    sdi_index *index = adds ? add_all(keys, how == MICRO_ADD_EXPECTED ? keys->keys : 0)
                            : sdi_index_create(0, keys->file);
    require(index != NULL ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY);
    *report = (micro_build_report){0};
    if (how == MICRO_PUT)
        report->longest_ns = put_each(keys, index);
    if (how == MICRO_PUT_BATCH)
        for (uint64_t i = 0; i < keys->keys; i += MICRO_BATCH)
            put_batch(keys, index, i, batch_at(keys, i));
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    report->bytes_per_key = (double)stats.bytes / (double)stats.keys;
    sdi_index_destroy(index);
}
