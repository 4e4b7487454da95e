/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h — figures of the work that a handle has done. Single atomics, each right by itself; two of them may be of
 * different moments. Whoever does the work counts it; anybody may look. */
#ifndef SDI_STATS_H
#define SDI_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sdi_stats {
    /* compaction */
    _Atomic uint64_t compactions, compactions_failed; /* that ended well, and the others */
    _Atomic uint64_t compaction_saved_bytes;          /* by all */
    _Atomic uint64_t compaction_pause_max_ns;         /* the longest that one has held the writer's place at a time */
    _Atomic uint64_t compaction_done, compaction_total; /* bytes, of the running one */
    _Atomic int compaction_status;                    /* simdrive_status of the last that ended */
    _Atomic bool compaction_runs;
};

#endif
