/* SPDX-License-Identifier: Apache-2.0 */
/* statistics.c — what a handle can tell of itself: figures of the file, of what is held, and of work done.
 *
 * Nobody is stopped for it: all of it is read beside writers and readers at work. Each figure was true at some moment
 * of the call; those that are said to add up are of one moment:
 *
 *   1  The counters and the tail of the file are read between two publications. A writer sets `publishing`, changes
 *      the counters with release order, stores the tail, and takes `publishing` back (append.c). Who reads the tail
 *      first sees no counter from before it. When the tail is still the same afterwards, and `publishing` is not set,
 *      he has seen no counter of a later publication either: no tail comes twice in a generation.
 *   2  The file's size is derived, as the tail and the damaged bytes behind it. So bytes of a write under way, or those
 *      that a reader has not refreshed to, are in none of the figures; padding is what the others leave of it.
 *   3  What was appended through the handle is what is in the file now, less what was in it when it was opened. A
 *      compaction takes some of it away, and notes how much (`work_before`; differences are modulo 2^64).
 *   4  What is held is added up over all generations that the store ever made. They are used again, and freed with the
 *      store only (S3): one that drains meanwhile is counted or not.
 */
#include <string.h>

#include "store/store.h"

static uint64_t read_figure(const _Atomic uint64_t *figure) {
    return atomic_load_explicit(figure, memory_order_acquire);
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

/* Whatever was ever put into the generation. */
static sdi_work all_work(const sdi_generation *generation) {
    const sdi_counters *counters = &generation->counters;
    return (sdi_work){.writes = read_figure(&counters->entries) + read_figure(&counters->stale_entries),
                      .deletes = read_figure(&counters->tombstones),
                      .bytes = sdi_tail(generation),
                      .commits = read_figure(&counters->publications)};
}

/* Step 1. False when a publication was under way, or came in between. */
static bool read_counters(const sdi_generation *generation, simdrive_statistics *out, sdi_work *all) {
    const sdi_counters *counters = &generation->counters;
    out->tail = sdi_tail(generation);
    out->entries = read_figure(&counters->entries);
    out->stale_entries = read_figure(&counters->stale_entries);
    out->tombstones = read_figure(&counters->tombstones);
    out->live_bytes = read_figure(&counters->live_bytes);
    out->stale_bytes = read_figure(&counters->stale_bytes);
    *all = all_work(generation);
    return !atomic_load_explicit(&generation->superseded.publishing, memory_order_acquire) &&
           sdi_tail(generation) == out->tail;
}

/* Step 3. */
static sdi_work work_since(const sdi_work *all, const sdi_work *before) {
    return (sdi_work){.writes = all->writes - before->writes,
                      .deletes = all->deletes - before->deletes,
                      .bytes = all->bytes - before->bytes,
                      .commits = all->commits - before->commits};
}

void sdi_work_begin(sdi_generation *generation, const sdi_generation *replaced) {
    sdi_work all = all_work(generation), done = {0};
    if (replaced) {
        sdi_work all_before = all_work(replaced);
        done = work_since(&all_before, &replaced->work_before);
    }
    generation->work_before = work_since(&all, &done);
}

/* Step 2. What nothing leads to in the middle of a damaged store is padding too. */
static void derive_sizes(simdrive_statistics *out) {
    uint64_t entries = out->entries + out->stale_entries + out->tombstones;
    out->metadata_bytes = entries * SDI_METADATA_SIZE + out->tombstones; /* the byte of a tombstone */
    uint64_t known = out->live_bytes + out->stale_bytes + out->metadata_bytes;
    out->padding_bytes = out->tail > known ? out->tail - known : 0;
    out->file_size = out->tail + out->damaged_tail_bytes;
}

static simdrive_status read_file(const simdrive_store *store, const sdi_generation *generation,
                                 simdrive_statistics *out) {
    sdi_file_info info = {0}; /* bytes in memory take none of a disk */
    simdrive_status status =
        generation->file ? store->os->info(store->os, generation->file, &info) : SIMDRIVE_OK;
    if (status != SIMDRIVE_OK) return status;
    sdi_work work = {0};
    while (!read_counters(generation, out, &work)) sdi_thread_yield();
    /* What a reader was refreshed to is the work of others. */
    work = store->options.read_only ? (sdi_work){0} : work_since(&work, &generation->work_before);
    out->writes = work.writes;
    out->deletes = work.deletes;
    out->bytes_written = work.bytes;
    out->commits = work.commits;
    out->disk_bytes = info.disk_bytes;
    out->durable_tail = read_figure(&store->durable_tail);
    const sdi_tail_state tail = sdi_get_tail_state(generation);
    out->damaged_tail_bytes = tail.damaged;
    out->room_ahead_bytes = tail.room;
    out->append_map_wanted = tail.map_wanted;
    out->append_map_used = tail.map_used;
    out->append_map_status = tail.map_status;
    out->quarantined_bytes = read_figure(&store->quarantined);
    out->damage = generation->damage.kind;
    out->corrupt_entries = generation->damage.corrupt_count;
    derive_sizes(out);
    return SIMDRIVE_OK;
}

/* --- what is held ------------------------------------------------------------------------------------------------ */

/* Step 4. The caller has a pin of his own, which is not counted. */
static void read_held(const simdrive_store *store, simdrive_statistics *out) {
    const sdi_generation *generation = atomic_load_explicit(&store->all_generations, memory_order_acquire);
    out->generations = 1;
    for (; generation; generation = generation->next_made) {
        bool is_open = !(atomic_load(&generation->pins.state) & SDI_PINS_DRAINED);
        out->pins += sdi_pins_count(&generation->pins);
        if (!is_open || !atomic_load_explicit(&generation->retired, memory_order_acquire)) continue;
        out->generations++;
        out->held_bytes += sdi_tail(generation);
    }
    out->pins--;
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static void read_index(const sdi_generation *generation, const sdi_stats *stats, simdrive_statistics *out) {
    sdi_index_stats index;
    sdi_index_get_stats(generation->index, &index);
    out->index_bytes = index.bytes;
    out->index_keys = index.keys;
    out->index_slots = index.slots;
    out->index_saves = read_figure(&stats->index_saves);
    out->index_saved_tail = read_figure(&stats->index_saved_tail);
}

static void read_work(const sdi_stats *stats, simdrive_statistics *out) {
    out->batches = read_figure(&stats->batches);
    sdi_histogram_read(&stats->commit, &out->commit);
    sdi_histogram_read(&stats->sync, &out->sync);
    out->syncs = out->sync.count;
}

static void read_compaction(const sdi_stats *stats, simdrive_statistics *out) {
    out->compaction_runs = atomic_load_explicit(&stats->compaction_runs, memory_order_acquire);
    out->compaction_done = read_figure(&stats->compaction_done);
    out->compaction_total = read_figure(&stats->compaction_total);
    out->compactions = read_figure(&stats->compactions);
    out->compactions_failed = read_figure(&stats->compactions_failed);
    out->compaction_status =
        (simdrive_status)atomic_load_explicit(&stats->compaction_status, memory_order_acquire);
    out->compaction_saved_bytes = read_figure(&stats->compaction_saved_bytes);
    out->compaction_pause_max_ns = read_figure(&stats->compaction_pause_max_ns);
    out->reclaimed_bytes = read_figure(&stats->reclaimed_bytes);
}

static void read_opening(const sdi_stats *stats, simdrive_statistics *out) {
    out->open_ns = read_figure(&stats->open_ns);
    out->open_entries_walked = read_figure(&stats->open_entries_walked);
    out->open_from_saved_index = atomic_load_explicit(&stats->open_from_saved_index, memory_order_acquire);
}

simdrive_status simdrive_get_statistics(const simdrive_store *store, simdrive_statistics *statistics) {
    simdrive_statistics known = {0};
    if (!store || !statistics || statistics->struct_size < sizeof(size_t))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    size_t size = statistics->struct_size;
    /* Pinning changes no more than a count of the store, which is not ours to change. */
    sdi_pin *pin = sdi_pin_current((simdrive_store *)(uintptr_t)store);
    simdrive_status status = read_file(store, pin->generation, &known);
    if (status == SIMDRIVE_OK) {
        read_held(store, &known);
        read_index(pin->generation, &store->stats, &known);
        read_work(&store->stats, &known);
        read_compaction(&store->stats, &known);
        read_opening(&store->stats, &known);
        known.read_only = store->options.read_only;
        known.poisoned = atomic_load_explicit(&store->poisoned, memory_order_acquire);
        known.struct_size = size;
        memcpy(statistics, &known, size < sizeof known ? size : sizeof known);
    }
    sdi_unpin(pin, 1);
    return status;
}
