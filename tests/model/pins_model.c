/* SPDX-License-Identifier: Apache-2.0 */
/* pins_model.c — pins and the reclamation of generations: src/store/pins.h (P1 to P6), src/store/pins.c, and from
 * src/store/generation.c the round of the structs (reset, publish, retire, drain). Steps have the names of the
 * functions there; who changes their order there changes it here.
 *
 * Two readers, each with a slot of its own, and one holder of the writer's place. Two structs, so that a compaction
 * uses the struct again that the one before has retired. What a generation gives to readers is the number of its file
 * (`base`); the checks know which file is mapped (`mapped`).
 *
 *   variant 0   readers pin, look, unpin; two compactions
 *   variant 1   reader 0 pins, pins again, hands one pin to reader 1 and unpins the other; the store is closed
 *   variant 2   readers pin, look, unpin; a reclaim pauses the pins, punches if nothing is held, and resumes
 *   variant 3   as 0 without membarrier: both sides use sequentially consistent operations
 *   variant 4   as 0, and one of the readers does so twice; in the long form only
 *   variant 5   as 0 with a third compaction; in the long form only */
#include "models.h"

enum { READERS = 2, WRITER = 2, STRUCTS = 2 };
enum { COMPACTIONS = 0, HANDED_OVER = 1, RECLAIM = 2, BY_ORDER = 3, COMPACTIONS_LONG = 4, THREE_COMPACTIONS = 5 };
enum { CLOSED = 1, PAUSED = 2, DRAINABLE = 4, DRAINED = 8, FLAGS = 15, LIFE = 16 };
enum { FILE_OF_FIRST = 1 };

/* Shared variables. */
enum { CURRENT, HANDED, STORE_CLOSED, PUNCHED, PER_STRUCT };
enum { STATE, BASE, FREE, MAPPED, TAKEN, RELEASED = TAKEN + READERS, RELEASED_BY_OTHERS = RELEASED + READERS,
       STRUCT_SIZE = RELEASED_BY_OTHERS + READERS };

static unsigned of(unsigned generation, unsigned field) {
    return PER_STRUCT + generation * STRUCT_SIZE + field;
}

/* Locals. */
enum { G, SLOT, BEFORE, SUM, ROUND, FILE_SEEN, PUNCHES_SEEN, AGAIN, FROM_HANDED, NEXT, RETIRED };

enum {
    /* readers */
    LOAD_CURRENT, COUNT_TAKEN, LOOK_AT_STATE, TAKE_BACK, WAIT_FOR_OPEN, LOOK, LOOK_ONCE_MORE, PIN_AGAIN, HAND_OVER,
    WAIT_FOR_HANDED, COUNT_RELEASED, LOOK_AFTER_RELEASE,
    /* sdi_pins_look_at_end */
    END_STATE, END_TAKEN_TOO_EARLY, END_RELEASED, END_BY_OTHERS, END_TAKEN, END_CHANGE, DRAIN,
    /* the writer */
    TAKE_FREE, BEGIN_LIFE, FILL, OPEN, PUBLISH, CLOSE, CLOSE_BARRIER, CLOSE_DRAINABLE,
    PAUSE, PAUSE_BARRIER, REST_RELEASED, REST_TAKEN, PUNCH, RESUME, AFTER_RETIRE
};

enum {
    NO_BARRIER = 1, STATE_BEFORE_COUNT, TAKEN_BEFORE_RELEASED, NO_LOOK_AFTER_RELEASE, END_BY_LOAD, DRAINABLE_AT_ONCE,
    COUNTERS_FROM_ZERO, NO_LIFE, OPEN_BEFORE_FILL, NO_BARRIER_IN_PAUSE, ORDER_BY_STORE
};

static void begin(sdm_state *state, unsigned variant) {
    state->memory[of(0, BASE)] = state->memory[of(0, MAPPED)] = FILE_OF_FIRST;
    state->memory[of(1, STATE)] = CLOSED | DRAINED;
    state->memory[of(1, FREE)] = 1;
    for (unsigned r = 0; r < READERS; r++) state->threads[r].at = LOAD_CURRENT;
    if (variant == HANDED_OVER) state->threads[1].at = WAIT_FOR_HANDED;
    sdm_thread *writer = &state->threads[WRITER];
    writer->at = variant == RECLAIM ? PAUSE : variant == HANDED_OVER ? CLOSE : TAKE_FREE;
    writer->local[RETIRED] = 0;
    writer->local[NEXT] = 1;
}

/* sdi_pins_announce */
static void announce(sdm_step *s, unsigned variable, uint8_t value) {
    if (s->variant == BY_ORDER && !sdm_fault(s, ORDER_BY_STORE))
        sdm_exchange(s, variable, value);
    else
        sdm_store_release(s, variable, value);
}

static unsigned rounds_of(const sdm_step *s) {
    return s->variant == COMPACTIONS_LONG && s->number == 0 ? 2 : 1;
}

static unsigned compactions_of(const sdm_step *s) {
    return s->variant == THREE_COMPACTIONS ? 3 : s->variant == HANDED_OVER ? 1 : 2;
}

static void next_round(sdm_step *s) {
    uint8_t *l = s->thread->local;
    uint8_t rounds = (uint8_t)(l[ROUND] + 1);
    bool ended = rounds >= rounds_of(s);
    for (unsigned i = 0; i < SDM_LOCALS; i++) l[i] = 0;
    l[ROUND] = rounds;
    s->thread->at = ended ? SDM_END : LOAD_CURRENT;
}

/* After sdi_pins_look_at_end: a reader goes on, after a pin that failed or one that was released. */
static void end_is_looked_at(sdm_step *s) {
    uint8_t *l = s->thread->local;
    if (s->number == WRITER) s->thread->at = AFTER_RETIRE;
    else if (l[FILE_SEEN] == 0) s->thread->at = WAIT_FOR_OPEN;
    else next_round(s);
}

static void step_reader(sdm_step *s) {
    uint8_t *l = s->thread->local;
    unsigned g = l[G], own = s->number;
    switch (s->thread->at) {
    case LOAD_CURRENT:
        s->name = "load current";
        l[G] = sdm_load(s, CURRENT);
        s->thread->at = sdm_fault(s, STATE_BEFORE_COUNT) ? LOOK_AT_STATE : COUNT_TAKEN;
        break;
    case COUNT_TAKEN: /* sdi_pins_take */
        s->name = "count taken";
        announce(s, of(g, TAKEN + own), (uint8_t)(sdm_load(s, of(g, TAKEN + own)) + 1));
        s->thread->at = sdm_fault(s, STATE_BEFORE_COUNT) ? LOOK : LOOK_AT_STATE;
        break;
    case LOOK_AT_STATE:
        s->name = "look at the state";
        if ((sdm_load(s, of(g, STATE)) & FLAGS) == 0)
            s->thread->at = sdm_fault(s, STATE_BEFORE_COUNT) ? COUNT_TAKEN : LOOK;
        else
            s->thread->at = sdm_fault(s, STATE_BEFORE_COUNT) ? WAIT_FOR_OPEN : TAKE_BACK;
        break;
    case TAKE_BACK: /* sdi_pins_take_back */
        s->name = "take back";
        announce(s, of(g, RELEASED + own), (uint8_t)(sdm_load(s, of(g, RELEASED + own)) + 1));
        s->thread->at = END_STATE;
        break;
    case WAIT_FOR_OPEN: /* sdi_pin_current goes round until something is open, or the store is closed */
        s->name = "wait until it is open";
        if (sdm_load(s, STORE_CLOSED)) s->thread->at = SDM_END;
        else if (sdm_load(s, CURRENT) != g || (sdm_load(s, of(g, STATE)) & FLAGS) == 0) s->thread->at = LOAD_CURRENT;
        else sdm_block(s);
        break;
    case LOOK:
        s->name = "look at what is pinned";
        l[FILE_SEEN] = sdm_load(s, of(g, BASE));
        l[PUNCHES_SEEN] = *sdm_ghost(s, PUNCHED);
        sdm_require(s, l[FILE_SEEN] != 0 && l[FILE_SEEN] == *sdm_ghost(s, of(g, MAPPED)),
                    "S4: what is pinned is not mapped");
        s->thread->at = s->variant == HANDED_OVER && own == 0 ? PIN_AGAIN : LOOK_ONCE_MORE;
        break;
    case PIN_AGAIN: /* sdi_pin_again */
        s->name = "pin again";
        sdm_store_release(s, of(g, TAKEN + own), (uint8_t)(sdm_load(s, of(g, TAKEN + own)) + 1));
        s->thread->at = HAND_OVER;
        break;
    case HAND_OVER:
        s->name = "hand over";
        sdm_store_release(s, HANDED, l[FILE_SEEN]);
        s->thread->at = LOOK_ONCE_MORE;
        break;
    case WAIT_FOR_HANDED:
        s->name = "wait for what is handed over";
        if (sdm_load(s, HANDED) == 0) {
            if (s->state->threads[0].at == SDM_END && s->state->threads[0].pending_count == 0) s->thread->at = SDM_END;
            else sdm_block(s);
            break;
        }
        l[FROM_HANDED] = 1;
        l[FILE_SEEN] = sdm_load(s, HANDED);
        s->thread->at = LOOK_ONCE_MORE;
        break;
    case LOOK_ONCE_MORE:
        s->name = "look once more";
        sdm_require(s, l[FILE_SEEN] == *sdm_ghost(s, of(g, MAPPED)), "S4: what is pinned was unmapped");
        sdm_require(s, l[FROM_HANDED] || l[PUNCHES_SEEN] == *sdm_ghost(s, PUNCHED), "what is pinned was punched");
        s->thread->at = COUNT_RELEASED;
        break;
    case COUNT_RELEASED: /* sdi_pins_add_released */
        s->name = "count released";
        if (l[FROM_HANDED]) sdm_add(s, of(g, RELEASED_BY_OTHERS + 0), 1);
        else announce(s, of(g, RELEASED + own), (uint8_t)(sdm_load(s, of(g, RELEASED + own)) + 1));
        s->thread->at = LOOK_AFTER_RELEASE;
        break;
    case LOOK_AFTER_RELEASE: /* sdi_unpin */
        s->name = "look at the state after the release";
        if (!sdm_fault(s, NO_LOOK_AFTER_RELEASE) && (sdm_load(s, of(g, STATE)) & FLAGS) != 0)
            s->thread->at = END_STATE;
        else
            next_round(s);
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

/* sdi_pins_look_at_end, and held_in for each slot */
static void step_end(sdm_step *s) {
    uint8_t *l = s->thread->local;
    unsigned g = s->number == WRITER ? l[RETIRED] : l[G];
    switch (s->thread->at) {
    case END_STATE:
        s->name = "state for the end";
        l[BEFORE] = sdm_fault(s, END_BY_LOAD) ? sdm_load(s, of(g, STATE)) : sdm_or(s, of(g, STATE), 0);
        l[SLOT] = 0;
        if ((l[BEFORE] & FLAGS) != (CLOSED | DRAINABLE)) end_is_looked_at(s);
        else s->thread->at = sdm_fault(s, TAKEN_BEFORE_RELEASED) ? END_TAKEN_TOO_EARLY : END_RELEASED;
        break;
    case END_TAKEN_TOO_EARLY:
        s->name = "taken, too early";
        l[SUM] = (uint8_t)-sdm_load(s, of(g, TAKEN + l[SLOT]));
        s->thread->at = END_RELEASED;
        break;
    case END_RELEASED:
        s->name = "released";
        l[SUM] = (uint8_t)(sdm_load(s, of(g, RELEASED + l[SLOT])) + (sdm_fault(s, TAKEN_BEFORE_RELEASED) ? l[SUM] : 0));
        s->thread->at = END_BY_OTHERS;
        break;
    case END_BY_OTHERS:
        s->name = "released by others";
        l[SUM] = (uint8_t)(l[SUM] + sdm_load(s, of(g, RELEASED_BY_OTHERS + l[SLOT])));
        s->thread->at = END_TAKEN;
        break;
    case END_TAKEN:
        s->name = "taken";
        if (!sdm_fault(s, TAKEN_BEFORE_RELEASED)) l[SUM] = (uint8_t)(l[SUM] - sdm_load(s, of(g, TAKEN + l[SLOT])));
        l[SLOT]++;
        if (l[SUM] != 0) end_is_looked_at(s);
        else if (l[SLOT] == READERS) s->thread->at = END_CHANGE;
        else s->thread->at = sdm_fault(s, TAKEN_BEFORE_RELEASED) ? END_TAKEN_TOO_EARLY : END_RELEASED;
        l[SUM] = 0;
        break;
    case END_CHANGE:
        s->name = "change to drained";
        if (sdm_cas(s, of(g, STATE), l[BEFORE], l[BEFORE] | DRAINED)) s->thread->at = DRAIN;
        else end_is_looked_at(s);
        break;
    case DRAIN: /* drain() of generation.c: unmap, then onto the list */
        s->name = "drain";
        sdm_drain(s);
        sdm_require(s, *sdm_ghost(s, of(g, MAPPED)) != 0, "P5: drained twice");
        *sdm_ghost(s, of(g, MAPPED)) = 0;
        sdm_exchange(s, of(g, FREE), 1);
        end_is_looked_at(s);
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

static void zero_counters(sdm_step *s, unsigned g) {
    for (unsigned i = TAKEN; i < STRUCT_SIZE; i++) s->state->memory[of(g, i)] = 0;
}

static void step_compaction(sdm_step *s) {
    uint8_t *l = s->thread->local;
    unsigned next = l[NEXT], old = l[RETIRED];
    switch (s->thread->at) {
    case TAKE_FREE: /* sdi_generation_create; with more structs it would take another or make one */
        s->name = "take a struct that is free";
        if (!sdm_cas(s, of(next, FREE), 1, 0)) sdm_block(s);
        s->thread->at = BEGIN_LIFE;
        break;
    case BEGIN_LIFE: { /* reset, sdi_pins_begin */
        s->name = "begin a life";
        uint8_t life = sdm_load(s, of(next, STATE)) & (uint8_t)~FLAGS;
        if (!sdm_fault(s, NO_LIFE)) life = (uint8_t)(life + LIFE);
        sdm_exchange(s, of(next, STATE), life | CLOSED);
        if (sdm_fault(s, COUNTERS_FROM_ZERO)) zero_counters(s, next);
        s->thread->at = sdm_fault(s, OPEN_BEFORE_FILL) ? OPEN : FILL;
        break;
    }
    case FILL:
        s->name = "map the new file";
        *sdm_ghost(s, of(next, MAPPED)) = (uint8_t)(FILE_OF_FIRST + 1 + l[ROUND]);
        sdm_store_relaxed(s, of(next, BASE), *sdm_ghost(s, of(next, MAPPED)));
        s->thread->at = sdm_fault(s, OPEN_BEFORE_FILL) ? PUBLISH : OPEN;
        break;
    case OPEN: /* sdi_generation_publish */
        s->name = "open";
        sdm_exchange(s, of(next, STATE), sdm_load(s, of(next, STATE)) & (uint8_t)~FLAGS);
        s->thread->at = sdm_fault(s, OPEN_BEFORE_FILL) ? FILL : PUBLISH;
        break;
    case PUBLISH:
        s->name = "publish as current";
        sdm_store_release(s, CURRENT, (uint8_t)next);
        s->thread->at = CLOSE;
        break;
    case CLOSE: /* sdi_pins_close */
        s->name = "close";
        if (s->variant == HANDED_OVER) *sdm_ghost(s, STORE_CLOSED) = 1;
        sdm_or(s, of(old, STATE), sdm_fault(s, DRAINABLE_AT_ONCE) ? CLOSED | DRAINABLE : CLOSED);
        s->thread->at = s->variant == BY_ORDER || sdm_fault(s, NO_BARRIER) ? CLOSE_DRAINABLE : CLOSE_BARRIER;
        break;
    case CLOSE_BARRIER:
        s->name = "barrier everywhere";
        sdm_drain_all(s);
        s->thread->at = CLOSE_DRAINABLE;
        break;
    case CLOSE_DRAINABLE:
        s->name = "drainable";
        sdm_or(s, of(old, STATE), DRAINABLE);
        s->thread->at = END_STATE;
        break;
    case AFTER_RETIRE:
        s->name = "retired";
        l[SLOT] = l[SUM] = l[BEFORE] = 0;
        l[NEXT] = (uint8_t)old;
        l[RETIRED] = (uint8_t)next;
        s->thread->at = ++l[ROUND] == compactions_of(s) ? SDM_END : TAKE_FREE;
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

/* sdi_pins_pause, a look at each slot, sdi_pins_resume: reclaim.c */
static void step_reclaim(sdm_step *s) {
    uint8_t *l = s->thread->local;
    switch (s->thread->at) {
    case PAUSE:
        s->name = "pause";
        sdm_or(s, of(0, STATE), PAUSED);
        s->thread->at = sdm_fault(s, NO_BARRIER_IN_PAUSE) ? REST_RELEASED : PAUSE_BARRIER;
        break;
    case PAUSE_BARRIER:
        s->name = "barrier everywhere";
        sdm_drain_all(s);
        s->thread->at = REST_RELEASED;
        break;
    case REST_RELEASED:
        s->name = "released";
        l[SUM] = sdm_load(s, of(0, RELEASED + l[SLOT]));
        s->thread->at = REST_TAKEN;
        break;
    case REST_TAKEN:
        s->name = "taken";
        if (sdm_load(s, of(0, TAKEN + l[SLOT])) != l[SUM]) s->thread->at = RESUME;
        else s->thread->at = ++l[SLOT] == READERS ? PUNCH : REST_RELEASED;
        break;
    case PUNCH:
        s->name = "punch";
        ++*sdm_ghost(s, PUNCHED);
        s->thread->at = RESUME;
        break;
    case RESUME:
        s->name = "resume";
        sdm_exchange(s, of(0, STATE), sdm_load(s, of(0, STATE)) & (uint8_t)~PAUSED);
        s->thread->at = SDM_END;
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

static void step(sdm_step *s) {
    uint8_t at = s->thread->at;
    if (at >= END_STATE && at <= DRAIN) step_end(s);
    else if (s->number != WRITER) step_reader(s);
    else if (at >= PAUSE && at <= RESUME) step_reclaim(s);
    else step_compaction(s);
}

static bool is_at_rest(const sdm_state *state, unsigned g) {
    uint8_t held = 0;
    for (unsigned r = 0; r < READERS; r++)
        held |= (uint8_t)(state->memory[of(g, TAKEN + r)] - state->memory[of(g, RELEASED + r)] -
                          state->memory[of(g, RELEASED_BY_OTHERS + r)]);
    return held == 0;
}

static const char *at_end(const sdm_state *state, unsigned variant) {
    unsigned current = state->memory[CURRENT];
    if (variant == RECLAIM && (state->memory[of(0, STATE)] & FLAGS)) return "the pause did not end";
    if (!is_at_rest(state, 0) || !is_at_rest(state, 1)) return "P1: all was released and not all is at rest";
    if (variant == HANDED_OVER)
        return state->memory[of(0, MAPPED)] ? "S4: nothing is pinned and nobody cleared away" : NULL;
    if (!state->memory[of(current, MAPPED)]) return "the current generation was drained";
    return state->memory[of(!current, MAPPED)] ? "S4: nothing is pinned and nobody cleared away" : NULL;
}

static const sdm_fault_case faults[] = {
    {NO_BARRIER, COMPACTIONS, "closing without the barrier (P3)"},
    {STATE_BEFORE_COUNT, COMPACTIONS, "the state is looked at before the pin is counted (P2)"},
    {TAKEN_BEFORE_RELEASED, HANDED_OVER, "taken is read before released (P4)"},
    {NO_LOOK_AFTER_RELEASE, COMPACTIONS, "who releases does not look at the state (P5)"},
    {END_BY_LOAD, COMPACTIONS, "who releases looks at the state by a load, not an atomic change (P5)"},
    {DRAINABLE_AT_ONCE, COMPACTIONS, "drainable before the barrier (P3)"},
    {COUNTERS_FROM_ZERO, COMPACTIONS, "counters are set to zero when a struct is used again (P1)"},
    {NO_LIFE, THREE_COMPACTIONS, "lives are not counted (P6)"},
    {OPEN_BEFORE_FILL, COMPACTIONS, "pins are opened before the generation is complete (S3)"},
    {NO_BARRIER_IN_PAUSE, RECLAIM, "pausing without the barrier (P3)"},
    {ORDER_BY_STORE, BY_ORDER, "without a barrier, pins are counted by plain stores"},
};

const sdm_model sdm_pins_model = {"pins", 3, 4, 6, begin, step, at_end, faults, sizeof faults / sizeof *faults};
