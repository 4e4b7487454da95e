/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h — figures of work that a handle keeps, for simdrive_get_statistics() (statistics.c) to tell.
 *
 * Each is written where the work is done, and read by anybody at any time: all are atomic, and none orders anything
 * else. Figures of the file are in the generation's counters, and what was appended is derived from them.
 */
#ifndef SDI_STATS_H
#define SDI_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/histogram.h"

enum { SDI_COMMIT_SAMPLE = 16 /* the time of one in so many writing calls is taken */ };

/* What was appended, as counted by the file's own figures: a write need not count it again. */
typedef struct sdi_work {
    uint64_t writes, deletes;
    uint64_t bytes;
    uint64_t commits;
} sdi_work;

typedef struct sdi_stats {
    _Atomic uint64_t batches; /* written by the holder of the writer's place */

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

    sdi_histogram sync;   /* of each */
    sdi_histogram commit; /* of one in SDI_COMMIT_SAMPLE writing calls */
} sdi_stats;

#endif
