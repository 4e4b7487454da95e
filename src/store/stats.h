/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h — figures of work that a handle keeps, for simdrive_get_statistics() (statistics.c) to tell.
 *
 * Each is written where the work is done, and read by anybody at any time: all are atomic, and none orders anything
 * else. Figures of the file are in the generation's counters.
 */
#ifndef SDI_STATS_H
#define SDI_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/histogram.h"

enum { SDI_COMMIT_SAMPLE = 16 /* the time of one in so many writing calls is taken */ };

typedef struct sdi_stats {
    /* Written by the holder of the writer's place. */
    _Atomic uint64_t writes, deletes;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t commits;
    _Atomic uint64_t batches;
    sdi_histogram sync;

    /* Written by any thread that has written. */
    sdi_histogram commit;
    uint64_t writing_calls; /* under the store's mutex: which of them are timed */

    /* Written by the one compaction at a time. */
    _Atomic uint64_t compactions, compactions_failed;
    _Atomic uint64_t compaction_saved_bytes;
    _Atomic uint64_t compaction_pause_max_ns;
    _Atomic uint64_t compaction_done, compaction_total;
    _Atomic int compaction_status;
    _Atomic bool compaction_runs;
    _Atomic uint64_t reclaimed_bytes;

    /* Written where a file is opened, and its index saved. */
    _Atomic uint64_t open_ns;
    _Atomic uint64_t open_entries_walked;
    _Atomic bool open_from_saved_index;
    _Atomic uint64_t index_saves;
    _Atomic uint64_t index_saved_tail;
} sdi_stats;

#endif
