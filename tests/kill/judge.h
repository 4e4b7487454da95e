/* SPDX-License-Identifier: Apache-2.0
 *
 * judge.h — whether a store is what a history allows it to be (history.h).
 */
#ifndef KILL_JUDGE_H
#define KILL_JUDGE_H

#include "history.h"
#include "simdrive.h"

enum { KILL_REASON_MAX = 512 };

/* What one lane shows, read under one snapshot. */
typedef struct kill_sight {
    kill_value values[KILL_KEYS];
    bool corrupt[KILL_KEYS]; /* a read said so, and gave nothing out */
} kill_sight;

/* Where in its history a lane is found: behind operation `number`, and behind `steps` steps of the next. */
typedef struct kill_place {
    uint64_t number;
    unsigned steps;
} kill_place;

/* Reads all keys of a lane. Each value must be whole, of this lane, and not have been written under another key but
 * the neighbour's (renames). Of values above `whole` bytes the head is looked at only. False: `reason` says why. */
bool kill_see(simdrive_store *store, unsigned lane, uint64_t whole, kill_sight *sight, char reason[KILL_REASON_MAX]);

/* The first place from operation `from` to `to` whose state is what was seen. `state` is the one behind `from`. */
bool kill_find(const kill_history *history, unsigned lane, const kill_state *state, uint64_t from, uint64_t to,
               const kill_sight *sight, kill_place *place, char reason[KILL_REASON_MAX]);

/* Whether each key by itself is as it was behind some place in that stretch, or has changed in it and is corrupt: all
 * that can be said of what was neither synced nor kept in order. */
bool kill_find_each(const kill_history *history, unsigned lane, const kill_state *state, uint64_t from, uint64_t to,
                    const kill_sight *sight, char reason[KILL_REASON_MAX]);

/* Whether the store shows nothing but keys of the history, and passes verification. */
bool kill_judge_whole(simdrive_store *store, const kill_history *history, char reason[KILL_REASON_MAX]);

#endif
