/* SPDX-License-Identifier: Apache-2.0 */
/* explore.h — tries all interleavings of a few threads, each a small state machine, on a memory with store buffers.
 *
 * A model has shared variables of one byte, and threads with a program counter and locals. Its `step` executes one
 * atomic access of one thread, and whatever that thread does by itself until the next one. The explorer calls it for
 * each thread in each state that can be reached, depth first, and never twice in the same state.
 *
 * Memory. Loads are executed in the order of the program, from the thread's own buffer or else from memory. A store
 * goes into the buffer of its thread, and from there into memory at any later time:
 *   sdm_store_release   when all that is before it in the buffer has gone
 *   sdm_store_relaxed   before or after the others, but not before another one to the same variable
 *   sdm_add, sdm_cas, sdm_drain, ...   wait until the buffer is empty, as locked instructions and system calls do
 *   sdm_cas_relaxed     does not wait
 *   sdm_drain_all       empties all buffers: membarrier(2)
 * With release stores alone that is x86-TSO. With relaxed ones it is weaker: independent stores change their order,
 * as they may on ARM. Loads that change their order are not covered, but where a model chooses the order itself.
 *
 * What is found
 *   - sdm_require() that is not so, in whatever interleaving;
 *   - a deadlock: no thread can go on, and not all have ended. Who waits returns SDM_BLOCKED until he need not;
 *   - a livelock: a state that leads to itself. Threads do a bounded number of things, so nothing may go on for ever;
 *   - `at_end` that is not so when all threads have ended and all buffers are empty.
 *
 * A model has deliberate faults: numbers from 1 on which its steps ask for (sdm_fault). For each, something must be
 * found; for 0 nothing may be. */
#ifndef SDM_EXPLORE_H
#define SDM_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SDM_VARIABLES = 64, SDM_THREADS = 4, SDM_LOCALS = 14, SDM_PENDING = 5, SDM_END = 255 };

typedef struct sdm_pending {
    uint8_t variable;
    uint8_t value;
    uint8_t release;
} sdm_pending;

typedef struct sdm_thread {
    uint8_t at; /* SDM_END: it has ended */
    uint8_t pending_count;
    uint8_t local[SDM_LOCALS];
    sdm_pending pending[SDM_PENDING];
} sdm_thread;

typedef struct sdm_state {
    uint8_t memory[SDM_VARIABLES];
    sdm_thread threads[SDM_THREADS];
} sdm_state;

/* While one step is executed. */
typedef struct sdm_step {
    sdm_state *state;
    sdm_thread *thread;
    unsigned number; /* of the thread */
    unsigned fault;
    unsigned variant;
    unsigned choice;    /* SDM_NEXT_CHOICE asks for the next one */
    bool blocked;       /* the step cannot be taken now */
    bool more_choices;
    const char *wrong; /* what was required and is not so */
    const char *name;  /* of what the step did, for the trace */
} sdm_step;

typedef struct sdm_fault_case {
    unsigned number;
    unsigned variant; /* of the model, in which it shows */
    const char *what;
} sdm_fault_case;

typedef struct sdm_model {
    const char *name;
    unsigned threads;
    unsigned short_variants; /* of what the threads do: explored in each run */
    unsigned variants;       /* the others in the long form only */
    void (*begin)(sdm_state *state, unsigned variant);
    void (*step)(sdm_step *step);
    const char *(*at_end)(const sdm_state *state, unsigned variant);
    const sdm_fault_case *faults;
    size_t fault_count;
} sdm_model;

typedef struct sdm_result {
    const char *wrong; /* NULL: nothing */
    uint64_t states;
    uint64_t steps;
    bool gave_up; /* too many states */
} sdm_result;

sdm_result sdm_explore(const sdm_model *model, unsigned variant, unsigned fault, bool trace);

/* --- for the steps of models ------------------------------------------------------------------------------------- */

static inline bool sdm_fault(const sdm_step *step, unsigned number) { return step->fault == number; }
void sdm_require(sdm_step *step, bool holds, const char *what);
/* 0 to count - 1: the step is taken once with each. At most once in a step. */
unsigned sdm_choose(sdm_step *step, unsigned count);
/* The step cannot be taken in this state; what it has done is undone. */
void sdm_block(sdm_step *step);

uint8_t sdm_load(sdm_step *step, unsigned variable);
void sdm_store_release(sdm_step *step, unsigned variable, uint8_t value);
void sdm_store_relaxed(sdm_step *step, unsigned variable, uint8_t value);
/* Blocks while the own buffer is not empty. */
void sdm_drain(sdm_step *step);
void sdm_drain_all(sdm_step *step);
/* What was there before. */
uint8_t sdm_add(sdm_step *step, unsigned variable, int value);
uint8_t sdm_or(sdm_step *step, unsigned variable, uint8_t bits);
uint8_t sdm_exchange(sdm_step *step, unsigned variable, uint8_t value);
bool sdm_cas(sdm_step *step, unsigned variable, uint8_t expected, uint8_t value);
bool sdm_cas_relaxed(sdm_step *step, unsigned variable, uint8_t expected, uint8_t value);
/* A variable that only the checks look at: not part of the protocol, seen at once by all. */
static inline uint8_t *sdm_ghost(sdm_step *step, unsigned variable) { return &step->state->memory[variable]; }

#endif
