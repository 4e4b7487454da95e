/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h — whether what a crash has left is what it may leave. The state is in a memory_os; the library opens it.
 *
 *   I1  what is durable is there: see `may_show` in check.c
 *   I2  no key has a value that was never written under it
 *   I3  a single write, and an atomic batch, is there or not
 *   I4  the state can be written to, and shows the same then
 *   I5  opening for reading changes nothing
 *   I6  each call ends, and with a status that it may have
 *   I7  bytes behind the tail are kept aside, or still where they were
 *   I8  a backup is the old one or the new one
 *   I9  as long as nothing is under way and nothing was lost, nothing is behind the tail
 */
#ifndef CRASH_CHECK_H
#define CRASH_CHECK_H

#include "run.h"

/* When it crashed, and how. */
typedef struct situation {
    bool power;        /* was lost; else the process died */
    unsigned done;     /* the last step that was acknowledged */
    unsigned begun;    /* the last that was begun: `done`, or the one behind */
    unsigned durable;  /* the last that cannot be lost */
    size_t call;       /* of the record, before which it happened */
} situation;

/* What was found. */
typedef struct finding {
    content shows;
    bool complete;   /* no key is corrupt, and a writer may open it */
    uint64_t tail;
    uint64_t damaged_bytes;
} finding;

/* Reading only. */
bool check_reading(const run *r, const situation *s, memory_os *state, finding *found);
/* Then a write, which changes the state; what is there must stay. */
bool check_writing(const run *r, const situation *s, memory_os *state, const finding *found);

/* A digest of all that may be shown, to tell whether a check was made before. */
uint64_t digest_of_expectation(const run *r, const situation *s);

/* What sdi_boot_id() tells: another number after each loss of power. */
extern unsigned boot_number;

#endif
