/* SPDX-License-Identifier: Apache-2.0
 *
 * explore.h — goes through the states that a crash can leave of a run, and checks each. A state that fails is made
 * smaller and printed as one line, which replays it:
 *
 *     commit 1 wb 7 0 @14 p3:0,9:1            power lost before call 14 of the record: choice 3 has its answer 0, ...
 *     commit 1 wb 7 0 @14 k100 + @3 k         the process died after 100 bytes of call 14; and again, without any byte
 *                                             of call 3, in the first write that followed
 */
#ifndef CRASH_EXPLORE_H
#define CRASH_EXPLORE_H

#include "check.h"

/* How far to go. */
typedef struct thoroughness {
    unsigned torn;       /* ends of a write that was under way; all of one up to 4 KiB when there are so many */
    unsigned exhaustive; /* up to so many combinations all are built; */
    unsigned samples;    /* else so many */
    unsigned again;      /* one in so many states is crashed again; those with damage always. 0: none */
} thoroughness;

typedef struct totals {
    uint64_t runs, built, distinct, violations;
} totals;

extern totals explored;

/* Explores what the last operation of the run and closing may leave, for those before it are runs of their own; then,
 * with `faults`, once for each sync that may fail in it. False when something did not hold, and was printed. */
bool explore(const run_spec *spec, const thoroughness *how, bool faults);

/* One state, as printed. */
bool replay(const char *text);

/* To standard error, from a signal handler: the state that is being checked. */
void tell_where(void);

#endif
