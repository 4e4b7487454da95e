/* SPDX-License-Identifier: Apache-2.0 */
/* explore.c — see explore.h. Of each state two independent 64-bit hashes are remembered, not the state: that two of
 * some millions of states have both in common is less likely than a fault of the machine. The path to the state at
 * hand is a stack of whole states; a state on it that is met again closes a cycle. */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 4096, MOST_STATES = 1 << 25, FIRST_CAPACITY = 1 << 16 };

/* --- memory ------------------------------------------------------------------------------------------------------ */

void sdm_require(sdm_step *step, bool holds, const char *what) {
    if (!holds && !step->wrong) step->wrong = what;
}

unsigned sdm_choose(sdm_step *step, unsigned count) {
    step->more_choices = step->choice + 1 < count;
    return step->choice;
}

void sdm_block(sdm_step *step) {
    step->blocked = true;
}

uint8_t sdm_load(sdm_step *step, unsigned variable) {
    for (unsigned i = step->thread->pending_count; i > 0; i--) {
        if (step->thread->pending[i - 1].variable == variable) return step->thread->pending[i - 1].value;
    }
    return step->state->memory[variable];
}

static void put_into_buffer(sdm_step *step, unsigned variable, uint8_t value, bool release) {
    sdm_thread *thread = step->thread;
    if (thread->pending_count == SDM_PENDING) {
        sdm_block(step);
        return;
    }
    thread->pending[thread->pending_count++] = (sdm_pending){(uint8_t)variable, value, release};
}

void sdm_store_release(sdm_step *step, unsigned variable, uint8_t value) {
    put_into_buffer(step, variable, value, true);
}

void sdm_store_relaxed(sdm_step *step, unsigned variable, uint8_t value) {
    put_into_buffer(step, variable, value, false);
}

void sdm_drain(sdm_step *step) {
    if (step->thread->pending_count > 0) sdm_block(step);
}

/* Each buffer in its own order, as the processor that is interrupted would; other orders are states of their own. */
void sdm_drain_all(sdm_step *step) {
    for (unsigned t = 0; t < SDM_THREADS; t++) {
        sdm_thread *thread = &step->state->threads[t];
        for (unsigned i = 0; i < thread->pending_count; i++)
            step->state->memory[thread->pending[i].variable] = thread->pending[i].value;
        memset(thread->pending, 0, sizeof thread->pending);
        thread->pending_count = 0;
    }
}

uint8_t sdm_exchange(sdm_step *step, unsigned variable, uint8_t value) {
    sdm_drain(step);
    uint8_t before = step->state->memory[variable];
    step->state->memory[variable] = value;
    return before;
}

uint8_t sdm_add(sdm_step *step, unsigned variable, int value) {
    return sdm_exchange(step, variable, (uint8_t)(step->state->memory[variable] + value));
}

uint8_t sdm_or(sdm_step *step, unsigned variable, uint8_t bits) {
    return sdm_exchange(step, variable, step->state->memory[variable] | bits);
}

bool sdm_cas(sdm_step *step, unsigned variable, uint8_t expected, uint8_t value) {
    sdm_drain(step);
    return sdm_cas_relaxed(step, variable, expected, value);
}

bool sdm_cas_relaxed(sdm_step *step, unsigned variable, uint8_t expected, uint8_t value) {
    for (unsigned i = 0; i < step->thread->pending_count; i++) {
        if (step->thread->pending[i].variable == variable) sdm_block(step);
    }
    if (step->state->memory[variable] != expected) return false;
    step->state->memory[variable] = value;
    return true;
}

static bool may_leave_buffer(const sdm_thread *thread, unsigned which) {
    if (which > 0 && thread->pending[which].release) return false;
    for (unsigned i = 0; i < which; i++) {
        if (thread->pending[i].variable == thread->pending[which].variable) return false;
    }
    return true;
}

static void leave_buffer(sdm_state *state, sdm_thread *thread, unsigned which) {
    state->memory[thread->pending[which].variable] = thread->pending[which].value;
    thread->pending_count--;
    for (unsigned i = which; i < thread->pending_count; i++) thread->pending[i] = thread->pending[i + 1];
    memset(&thread->pending[thread->pending_count], 0, sizeof thread->pending[0]);
}

/* --- states that were met ---------------------------------------------------------------------------------------- */

typedef struct met {
    uint64_t first;  /* 0: no state */
    uint64_t second; /* its lowest bit: on the path */
} met;

typedef struct frame {
    sdm_state state;
    unsigned thread; /* the successor that comes next: a step of `thread` with `choice`, or from its buffer */
    unsigned choice;
    bool went_on; /* there was a successor */
    size_t key_hint;
    met key;
    const char *name; /* of what led here */
    unsigned by;
} frame;

typedef struct explorer {
    const sdm_model *model;
    unsigned variant, fault;
    met *table;
    size_t capacity, count;
    frame *path;
    size_t depth;
    sdm_result result;
} explorer;

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static met key_of(const explorer *e, const sdm_state *state) {
    uint64_t words[sizeof *state / 8 + 1] = {0}, first = 1, second = 2;
    size_t used = offsetof(sdm_state, threads) + e->model->threads * sizeof(sdm_thread);
    memcpy(words, state, used);
    for (size_t i = 0; i < (used + 7) / 8; i++) {
        first = (first ^ words[i]) * UINT64_C(0x9E3779B97F4A7C15);
        first ^= first >> 29;
        second = (second + words[i]) * UINT64_C(0xD6E8FEB86659FD93);
        second ^= second >> 32;
    }
    return (met){mix(first) | 1, mix(second) & ~UINT64_C(1)};
}

static met *place_of(const explorer *e, met key) {
    size_t at = (size_t)key.first & (e->capacity - 1);
    at = (size_t)(mix(key.first) & (e->capacity - 1));
    while (e->table[at].first != 0 &&
           (e->table[at].first != key.first || (e->table[at].second & ~UINT64_C(1)) != key.second))
        at = (at + 1) & (e->capacity - 1);
    return &e->table[at];
}

static void *must(void *memory) {
    if (!memory) {
        fputs("explore: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

static void grow_table(explorer *e) {
    met *before = e->table;
    size_t capacity = e->capacity;
    e->capacity *= 2;
    e->table = must(calloc(e->capacity, sizeof *e->table));
    for (size_t i = 0; i < capacity; i++) {
        if (before[i].first != 0) *place_of(e, before[i]) = before[i];
    }
    free(before);
}

/* --- going through them ------------------------------------------------------------------------------------------ */

static void found(explorer *e, const char *what) {
    if (!e->result.wrong) e->result.wrong = what;
}

/* Puts a state on the path, unless it was met before. */
static void visit(explorer *e, const sdm_state *state, unsigned by, const char *name) {
    met key = key_of(e, state), *place = place_of(e, key);
    e->result.steps++;
    if (place->first != 0) {
        if (place->second & 1) found(e, "livelock: a state leads to itself");
        return;
    }
    if (e->depth == DEEPEST || e->count == MOST_STATES) {
        e->result.gave_up = true;
        return;
    }
    *place = (met){key.first, key.second | 1};
    if (++e->count > e->capacity / 2) grow_table(e);
    e->result.states = e->count;
    frame *top = &e->path[e->depth++];
    memset(top, 0, sizeof *top);
    top->state = *state;
    top->key = key;
    top->by = by;
    top->name = name;
}

/* Steps of a thread are choices 0 and up; from BUFFER on, stores that leave its buffer. */
enum { BUFFER = 64 };

/* One successor of the state on top, the next in order. */
static void go_on(explorer *e, frame *top) {
    sdm_state next = top->state;
    unsigned number = top->thread, choice = top->choice;
    sdm_thread *thread = &next.threads[number];
    if (choice >= BUFFER) {
        unsigned which = choice - BUFFER;
        if (which >= thread->pending_count) {
            top->thread++;
            top->choice = 0;
            return;
        }
        top->choice++;
        if (!may_leave_buffer(thread, which)) return;
        top->went_on = true;
        leave_buffer(&next, thread, which);
        visit(e, &next, number, "(a store leaves the buffer)");
        return;
    }
    top->choice = BUFFER;
    if (thread->at == SDM_END) return;
    sdm_step step = {.state = &next, .thread = thread, .number = number, .fault = e->fault, .variant = e->variant,
                     .choice = choice};
    e->model->step(&step);
    if (step.more_choices) top->choice = choice + 1;
    if (step.blocked) return;
    top->went_on = true;
    if (step.wrong) {
        found(e, step.wrong);
        return;
    }
    visit(e, &next, number, step.name);
}

/* All successors of the state on top were tried. */
static void leave(explorer *e, frame *top) {
    bool all_ended = true;
    for (unsigned t = 0; t < e->model->threads; t++) all_ended &= top->state.threads[t].at == SDM_END;
    if (!top->went_on) {
        if (!all_ended) {
            found(e, "deadlock: nobody can go on");
            return;
        }
        const char *wrong = e->model->at_end ? e->model->at_end(&top->state, e->variant) : NULL;
        if (wrong) {
            found(e, wrong);
            return;
        }
    }
    place_of(e, top->key)->second &= ~UINT64_C(1);
    e->depth--;
}

static void print_path(const explorer *e) {
    for (size_t i = 1; i < e->depth; i++)
        printf("    thread %u: %s\n", e->path[i].by, e->path[i].name ? e->path[i].name : "");
    if (e->depth > 0) printf("    thread %u: and then it shows\n", e->path[e->depth - 1].thread);
}

sdm_result sdm_explore(const sdm_model *model, unsigned variant, unsigned fault, bool trace) {
    explorer e = {.model = model, .variant = variant, .fault = fault, .capacity = FIRST_CAPACITY};
    sdm_state first;
    memset(&first, 0, sizeof first);
    e.table = must(calloc(e.capacity, sizeof *e.table));
    e.path = must(malloc(DEEPEST * sizeof *e.path));
    model->begin(&first, variant);
    visit(&e, &first, 0, "begins");
    while (e.depth > 0 && !e.result.wrong && !e.result.gave_up) {
        frame *top = &e.path[e.depth - 1];
        if (top->thread < model->threads) go_on(&e, top);
        else leave(&e, top);
    }
    if (e.result.wrong && trace) print_path(&e);
    free(e.table);
    free(e.path);
    return e.result;
}
