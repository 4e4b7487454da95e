/* SPDX-License-Identifier: Apache-2.0 */
/* build.h — entries that opening finds, newest first, on their way into an index and the counters. Only recover.c uses
 * it. */
#ifndef SDI_BUILD_H
#define SDI_BUILD_H

#include "store/recover.h"

/* What is known of an entry beside its record. */
enum { SDI_BUILD_TOMBSTONE = 1, SDI_BUILD_RECLAIMED = 2, SDI_BUILD_CORRUPT = 4 };

enum { SDI_BUILD_BLOCK = 1024 };

/* Entries side by side. */
typedef struct sdi_build_block {
    size_t count;
    uint64_t hashes[SDI_BUILD_BLOCK], ends[SDI_BUILD_BLOCK], sizes[SDI_BUILD_BLOCK];
    uint8_t marks[SDI_BUILD_BLOCK];
} sdi_build_block;

typedef struct sdi_builder {
    sdi_recovery *out; /* whose index, counters and corrupt entries it fills: not to be touched meanwhile */
    sdi_build_block *blocks;
    size_t block_count; /* 1: no thread */
    uint64_t existing[SDI_BUILD_BLOCK];
    simdrive_status status; /* what follows is under the mutex, with a thread */
    uint64_t given, done;   /* blocks, counted from the first */
    bool ended;
    bool has_thread;
    sdi_mutex mutex;
    sdi_condition changed;
    sdi_thread thread;
} sdi_builder;

/* `expected` entries, more or less: tells whether a thread pays. */
simdrive_status sdi_builder_begin(sdi_builder *builder, sdi_recovery *out, uint64_t expected);
/* Hands over a full block. */
simdrive_status sdi_builder_give(sdi_builder *builder);
/* Puts in what was added, unless `status`, which the caller has come to, is not OK; waits for the thread. Always to be
 * called. Returns the first status that was not OK. */
simdrive_status sdi_builder_end(sdi_builder *builder, simdrive_status status);

static inline simdrive_status sdi_builder_add(sdi_builder *builder, const sdi_record *record, unsigned marks) {
    sdi_build_block *block = &builder->blocks[builder->given % builder->block_count];
    size_t i = block->count++;
    block->hashes[i] = record->key_hash;
    block->ends[i] = record->end;
    block->sizes[i] = sdi_record_size(record);
    block->marks[i] = (uint8_t)(marks | (record->tombstone ? SDI_BUILD_TOMBSTONE : 0));
    return block->count == SDI_BUILD_BLOCK ? sdi_builder_give(builder) : SIMDRIVE_OK;
}

#endif
