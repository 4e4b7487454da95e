/* SPDX-License-Identifier: Apache-2.0
 *
 * session.h — a writer at work: opens the store, runs a stretch of each lane's history in a thread of its own, does
 * what else a store is asked for meanwhile (compaction, reclaim, sync), and closes.
 */
#ifndef KILL_SESSION_H
#define KILL_SESSION_H

#include "history.h"
#include "simdrive.h"

typedef enum kill_care {
    KILL_CARE_COMPACT,
    KILL_CARE_COMPACT_THREAD,
    KILL_CARE_COMPACT_CANCELLED,
    KILL_CARE_RECLAIM,
    KILL_CARE_SYNC,
    KILL_CARES
} kill_care;

typedef struct kill_session {
    const kill_history *history;
    const char *path;
    simdrive_open_options options;
    uint64_t seed;             /* of what is left to chance here */
    uint64_t done[KILL_LANES]; /* operations of each lane that the store has already */
    uint64_t count;            /* of each lane to be done; 0: without end */
    uint64_t care_pause_us;    /* at most, between two works of care beside the lanes; 0: none is done */
    void *user;
    void (*opened)(void *user);  /* may be NULL, as the others */
    void (*closing)(void *user); /* before */
    void (*begun)(void *user, unsigned lane, uint64_t number); /* called by the lane's thread */
    void (*acknowledged)(void *user, simdrive_store *store, unsigned lane, uint64_t number);
    void (*cared)(void *user, kill_care what, simdrive_status status);
} kill_session;

/* Options of one writer among many, from a seed. */
simdrive_open_options kill_session_options(uint64_t seed);
/* The same in words. */
void kill_session_describe(const simdrive_open_options *options, char *out, size_t size);

/* Returns when all operations are done and the store is closed. While another process has it open for a moment, opening
 * waits. What fails ends the process (require.h). */
void kill_session_run(const kill_session *session);

/* Does one operation; OK also when there was nothing to delete or to rename. */
void kill_perform(simdrive_store *store, const kill_operation *operation);

#endif
