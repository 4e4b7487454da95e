/* SPDX-License-Identifier: Apache-2.0 */
/* build.c — see build.h. Of many entries, the caller finds and checks them, and a thread puts them into the index: the
 * one waits for the file's memory, the other for the index's.
 *
 *   blocks   [ put in ][ put in ][ full ][ full ][ being filled ][ empty ]      a ring
 *                                 ^ done          ^ given
 *
 * Invariants
 *   B1  The caller fills block `given`, and only while given - done < blocks. The thread reads blocks from `done` to
 *       `given`. Both counts only grow, and are changed under the mutex: so a block has one owner at a time, and
 *       what it holds is handed over with it.
 *   B2  Entries are put in in the order in which they were added: the newest of a key comes first, and counts.
 *   B3  After a failure the thread takes no more blocks, and the caller is told with the next one that it gives.
 */
#include "store/build.h"

enum {
    RING = 8,
    WORTH_A_THREAD = 64 << 10 /* entries */
};

/* Puts a block in, and counts it. */
static simdrive_status put_block(sdi_builder *builder, sdi_build_block *block) {
    sdi_recovery *out = builder->out;
    simdrive_status status =
        sdi_index_add_batch(out->index, block->hashes, block->ends, block->count, builder->existing);
    for (size_t i = 0; i < block->count && status == SIMDRIVE_OK; i++) {
        bool newest = builder->existing[i] == SDI_INDEX_NONE;
        unsigned marks = block->marks[i];
        /* What was reclaimed has no payload to give: it should not be the newest. */
        if (marks & SDI_BUILD_CORRUPT || (newest && marks & SDI_BUILD_RECLAIMED))
            status = sdi_damage_add_corrupt(&out->damage, block->ends[i]);
        if (marks & SDI_BUILD_TOMBSTONE) {
            out->tombstones++;
        } else if (newest) {
            out->entries++;
            out->live_bytes += block->sizes[i];
        } else {
            out->stale_entries++;
            out->stale_bytes += block->sizes[i];
        }
    }
    block->count = 0;
    return status;
}

static void build_run(void *user) {
    sdi_builder *builder = user;
    sdi_mutex_lock(&builder->mutex);
    for (;;) {
        while (builder->done == builder->given && !builder->ended)
            sdi_condition_wait(&builder->changed, &builder->mutex);
        if (builder->done == builder->given || builder->status != SIMDRIVE_OK) break;
        sdi_build_block *block = &builder->blocks[builder->done % RING];
        sdi_mutex_unlock(&builder->mutex);
        simdrive_status status = put_block(builder, block);
        sdi_mutex_lock(&builder->mutex);
        builder->done++;
        builder->status = status;
        sdi_condition_wake_all(&builder->changed);
        if (status != SIMDRIVE_OK) break;
    }
    sdi_mutex_unlock(&builder->mutex);
}

/* Without one the caller does it all. */
static bool start_thread(sdi_builder *builder) {
    if (sdi_mutex_init(&builder->mutex) != SIMDRIVE_OK) return false;
    if (sdi_condition_init(&builder->changed) != SIMDRIVE_OK) goto no_condition;
    builder->block_count = RING;
    if (sdi_thread_start(&builder->thread, build_run, builder) == SIMDRIVE_OK) return true;
    builder->block_count = 1;
    sdi_condition_destroy(&builder->changed);
no_condition:
    sdi_mutex_destroy(&builder->mutex);
    return false;
}

simdrive_status sdi_builder_begin(sdi_builder *builder, sdi_recovery *out, uint64_t expected) {
    bool many = expected >= WORTH_A_THREAD && sdi_processor_count() > 1;
    builder->out = out;
    builder->block_count = 1;
    builder->status = SIMDRIVE_OK;
    builder->given = builder->done = 0;
    builder->ended = false;
    builder->blocks = malloc((many ? RING : 1) * sizeof *builder->blocks);
    if (!builder->blocks) return SIMDRIVE_ERROR_NO_MEMORY;
    for (size_t i = 0; i < (many ? RING : 1); i++) builder->blocks[i].count = 0;
    builder->has_thread = many && start_thread(builder);
    return SIMDRIVE_OK;
}

simdrive_status sdi_builder_give(sdi_builder *builder) {
    if (!builder->has_thread) return put_block(builder, builder->blocks);
    sdi_mutex_lock(&builder->mutex);
    builder->given++;
    sdi_condition_wake_all(&builder->changed);
    while (builder->given - builder->done == RING && builder->status == SIMDRIVE_OK)
        sdi_condition_wait(&builder->changed, &builder->mutex);
    simdrive_status status = builder->status;
    sdi_mutex_unlock(&builder->mutex);
    return status;
}

simdrive_status sdi_builder_end(sdi_builder *builder, simdrive_status status) {
    if (status == SIMDRIVE_OK) status = sdi_builder_give(builder);
    if (builder->has_thread) {
        sdi_mutex_lock(&builder->mutex);
        builder->ended = true;
        sdi_condition_wake_all(&builder->changed);
        sdi_mutex_unlock(&builder->mutex);
        sdi_thread_join(&builder->thread);
        if (status == SIMDRIVE_OK) status = builder->status;
        sdi_condition_destroy(&builder->changed);
        sdi_mutex_destroy(&builder->mutex);
    }
    free(builder->blocks);
    return status;
}
