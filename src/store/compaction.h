/* SPDX-License-Identifier: Apache-2.0 */
/* compaction.h — what a store keeps for its compactions: the one that runs, its thread, and how the last one ended.
 *
 * It is in the handle; see compact_thread.c for who runs when, and compact.c for what a compaction does. "Under mutex"
 * means the store's.
 */
#ifndef SDI_COMPACTION_H
#define SDI_COMPACTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/os.h"
#include "simdrive.h"

struct sdi_compaction {
    _Atomic bool cancelled;         /* the running one is to stop; set and cleared under mutex */
    uint64_t owner;                 /* under mutex: id of the thread that runs it; 0 when none does */
    bool reclaims;                  /* under mutex: what runs (`compacting`) is a reclaim, which nobody waits for */
    bool thread_made;               /* under mutex: `thread` is to be joined by the next to come, or by close */
    bool thread_known;              /* under mutex: `thread` is filled in */
    sdi_thread thread;
    simdrive_work_options options;  /* for the thread */
    sdi_condition ended;
    simdrive_status status;         /* under mutex: how the last one ended */
    int os_error;
    uint64_t saved;
    _Atomic uint64_t due_from;      /* policy: stale bytes below which none is begun, after one that gained nothing */
};

/* --- compact.c --------------------------------------------------------------------------------------------------- */

/* One compaction, in the calling thread. `saved` is above 0 when the files have changed places, and not otherwise. */
simdrive_status sdi_compact_run(simdrive_store *store, const simdrive_work_options *options, uint64_t *saved);

/* --- compact_thread.c -------------------------------------------------------------------------------------------- */

/* Begins a compaction in a thread when the policy wants one now. Not to be called with the writer's place or a lock. */
void sdi_compact_when_due(simdrive_store *store);

/* Ends the thread of a compaction that was cancelled, if there is one. */
void sdi_compaction_join(simdrive_store *store);

#endif
