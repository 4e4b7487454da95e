/* SPDX-License-Identifier: Apache-2.0 */
/* place_model.c — the writer's place, the queue for it, and groups of commits: src/store/place.c (the short way, turns,
 * sleep) and src/store/commit.c (lead, take_group, dismiss). Steps have the names of the functions there; who changes
 * their order there changes it here.
 *
 * Three threads. A turn lives on the stack of its owner: the checks know whether it still does (`alive`). What the
 * place protects is one number, the tail, which each write raises by one with a plain load and a plain store. The group
 * has two rounds instead of many; who waits looks at his turn once before he sleeps.
 *
 *   variant 0   three writes
 *   variant 1   two writes, and one who works in the place alone, as a compaction does in its last steps
 *   variant 2   as 0, and the first thread writes twice; in the long form only */
#include "models.h"

enum { THREADS = 3, ALONE_THREAD = 2, ROUNDS = 2 };
enum { WRITES = 0, WITH_ALONE = 1, WRITES_LONG = 2 };
enum { TAKEN = 1, ATTENTION = 2 };
enum { WAITS, SLEEPS, HAS_PLACE, SERVED };

/* Shared variables. The queue is under the mutex. `asleep`: on the condition of the turn. */
enum { PLACE, MUTEX, TAIL, QUEUE_COUNT, QUEUE, IN_PLACE = QUEUE + THREADS, TURN, STATUS = TURN + THREADS,
       ASLEEP = STATUS + THREADS, ALIVE = ASLEEP + THREADS };

/* Locals. */
enum { GROUP, TAIL_SEEN, ROUND, TARGET, TARGET_SLEPT, OUTCOME, THEN, WRITTEN, WAS_ALONE };

enum {
    BEGIN, PLACE_TRY, TURN_BEGINS, WAIT_LOCK, BEGIN_TURN, WAIT_UNLOCK, AWAIT, SLEEP_LOCK, SLEEP_CHECK, CONDITION_WAIT,
    WOKEN, SLEEP_UNLOCK, TURN_ENDED, GROUP_LOCK, TAKE_GROUP, GROUP_UNLOCK, SERVE, SERVE_ENDS, TRY_LEAVE, LEAVE_LOCK,
    DISMISS, NEXT_ROUND, PLACE_FREE, END_LOOK, END_STORE, END_WAKE, LEAVE_UNLOCK, RETURN
};

enum {
    LEAVE_BY_STORE = 1, NO_ATTENTION, NO_CHECK_UNDER_MUTEX, OUTCOME_RELAXED, WAKE_ANYWAY, LEAVE_RELAXED,
    FREE_WITHOUT_HANDING, FREE_WORD_TOO
};

static unsigned writes_of(unsigned variant, unsigned thread) {
    if (variant == WITH_ALONE && thread == ALONE_THREAD) return 0;
    return variant == WRITES_LONG && thread == 0 ? 2 : 1;
}

static bool works_alone(const sdm_step *s, unsigned thread) {
    return writes_of(s->variant, thread) == 0;
}

static uint8_t bit(unsigned thread) {
    return (uint8_t)(1u << thread);
}

/* Acquire order alone: stores from before may still be on their way. */
static void lock(sdm_step *s, uint8_t then) {
    if (s->state->memory[MUTEX]) sdm_block(s);
    s->state->memory[MUTEX] = 1;
    s->thread->at = then;
}

static void unlock(sdm_step *s, uint8_t then) {
    sdm_drain(s);
    s->state->memory[MUTEX] = 0;
    s->thread->at = then;
}

static void enqueue(sdm_step *s) {
    uint8_t *memory = s->state->memory;
    memory[QUEUE + memory[QUEUE_COUNT]++] = (uint8_t)s->number;
}

static unsigned dequeue(sdm_step *s) {
    uint8_t *memory = s->state->memory, first = memory[QUEUE];
    memory[QUEUE_COUNT]--;
    for (unsigned i = 0; i < memory[QUEUE_COUNT]; i++) memory[QUEUE + i] = memory[QUEUE + i + 1];
    memory[QUEUE + memory[QUEUE_COUNT]] = 0;
    return first;
}

/* Those at the head of the queue who write; the mutex is held. */
static void take_group(sdm_step *s) {
    const uint8_t *memory = s->state->memory;
    while (memory[QUEUE_COUNT] > 0 && !works_alone(s, memory[QUEUE]))
        s->thread->local[GROUP] |= bit(dequeue(s));
}

static bool has_ended(sdm_step *s) {
    return sdm_load(s, TURN + s->number) > SLEEPS;
}

/* --- sdi_place_try, sdi_place_wait ------------------------------------------------------------------------------- */

static void step_wait(sdm_step *s) {
    unsigned own = s->number;
    switch (s->thread->at) {
    case BEGIN:
    case PLACE_TRY:
        s->name = "try to take the place";
        s->thread->local[GROUP] = bit(own);
        s->thread->local[WAS_ALONE] = sdm_cas_relaxed(s, PLACE, 0, TAKEN);
        s->thread->at = s->thread->local[WAS_ALONE] ? SERVE : TURN_BEGINS;
        break;
    case TURN_BEGINS:
        s->name = "a turn begins";
        *sdm_ghost(s, ALIVE + own) = 1;
        sdm_store_relaxed(s, TURN + own, WAITS);
        s->thread->at = WAIT_LOCK;
        break;
    case WAIT_LOCK: s->name = "lock to wait"; lock(s, BEGIN_TURN); break;
    case BEGIN_TURN: {
        s->name = "take the place or queue";
        uint8_t before = sdm_or(s, PLACE, sdm_fault(s, NO_ATTENTION) ? TAKEN : TAKEN | ATTENTION);
        s->thread->local[OUTCOME] = before & TAKEN ? WAITS : HAS_PLACE;
        if (before & TAKEN) enqueue(s);
        s->thread->at = WAIT_UNLOCK;
        break;
    }
    case WAIT_UNLOCK:
        s->name = "unlock";
        unlock(s, s->thread->local[OUTCOME] == HAS_PLACE ? GROUP_LOCK : AWAIT);
        break;
    case AWAIT:
        s->name = "look whether the turn has ended";
        s->thread->at = has_ended(s) ? TURN_ENDED : SLEEP_LOCK;
        break;
    case SLEEP_LOCK: s->name = "lock to sleep"; lock(s, SLEEP_CHECK); break;
    case SLEEP_CHECK:
        s->name = "sleep, unless it has ended";
        if (sdm_fault(s, NO_CHECK_UNDER_MUTEX) || !has_ended(s)) {
            sdm_store_relaxed(s, TURN + own, SLEEPS);
            s->thread->at = CONDITION_WAIT;
        } else {
            s->thread->at = SLEEP_UNLOCK;
        }
        break;
    case CONDITION_WAIT:
        s->name = "wait on the condition";
        if (has_ended(s)) {
            s->thread->at = SLEEP_UNLOCK;
            break;
        }
        *sdm_ghost(s, ASLEEP + own) = 1;
        unlock(s, WOKEN);
        break;
    case WOKEN:
        s->name = "woken";
        if (*sdm_ghost(s, ASLEEP + own)) sdm_block(s);
        lock(s, CONDITION_WAIT);
        break;
    case SLEEP_UNLOCK: s->name = "unlock"; unlock(s, TURN_ENDED); break;
    case TURN_ENDED:
        s->name = "the turn has ended";
        s->thread->local[OUTCOME] = sdm_load(s, TURN + own);
        *sdm_ghost(s, ALIVE + own) = 0;
        s->thread->at = s->thread->local[OUTCOME] == HAS_PLACE ? GROUP_LOCK : RETURN;
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

/* --- lead, sdi_place_leave --------------------------------------------------------------------------------------- */

static void step_lead(sdm_step *s) {
    uint8_t *l = s->thread->local;
    unsigned own = s->number;
    switch (s->thread->at) {
    case GROUP_LOCK:
        s->name = "lock to take a group";
        if (works_alone(s, own)) s->thread->at = SERVE;
        else lock(s, TAKE_GROUP);
        break;
    case TAKE_GROUP:
        s->name = "take a group";
        take_group(s);
        s->thread->at = GROUP_UNLOCK;
        break;
    case GROUP_UNLOCK: s->name = "unlock"; unlock(s, SERVE); break;
    case SERVE:
        s->name = "serve";
        sdm_require(s, *sdm_ghost(s, IN_PLACE) == 0, "S5: two are in the place");
        *sdm_ghost(s, IN_PLACE) = (uint8_t)(own + 1);
        l[TAIL_SEEN] = sdm_load(s, TAIL);
        s->thread->at = SERVE_ENDS;
        break;
    case SERVE_ENDS: {
        s->name = "served";
        uint8_t written = 0;
        for (unsigned t = 0; t < THREADS && !works_alone(s, own); t++) {
            if (!(l[GROUP] & bit(t))) continue;
            sdm_store_relaxed(s, STATUS + t, 1);
            written++;
        }
        if (written > 0) sdm_store_relaxed(s, TAIL, (uint8_t)(l[TAIL_SEEN] + written));
        *sdm_ghost(s, IN_PLACE) = 0;
        l[TAIL_SEEN] = 0;
        s->thread->at = l[GROUP] == bit(own) ? TRY_LEAVE : LEAVE_LOCK;
        break;
    }
    case TRY_LEAVE: /* sdi_place_try_leave */
        s->name = "try to leave";
        if (sdm_fault(s, LEAVE_BY_STORE)) {
            sdm_store_release(s, PLACE, 0);
            s->thread->at = RETURN;
        } else {
            bool left = sdm_fault(s, LEAVE_RELAXED) ? sdm_cas_relaxed(s, PLACE, TAKEN, 0) : sdm_cas(s, PLACE, TAKEN, 0);
            s->thread->at = left ? RETURN : LEAVE_LOCK;
        }
        break;
    case LEAVE_LOCK: s->name = "lock to leave"; lock(s, works_alone(s, own) ? PLACE_FREE : DISMISS); break;
    case DISMISS:
        s->name = "dismiss";
        l[GROUP] &= (uint8_t)~bit(own);
        if (l[GROUP] == 0) {
            s->thread->at = NEXT_ROUND;
            break;
        }
        for (l[TARGET] = 0; !(l[GROUP] & bit(l[TARGET])); l[TARGET]++) {}
        l[GROUP] &= (uint8_t)~bit(l[TARGET]);
        l[OUTCOME] = SERVED;
        l[THEN] = DISMISS;
        s->thread->at = END_LOOK;
        break;
    case NEXT_ROUND:
        s->name = "another group, or free the place";
        if (++l[ROUND] < ROUNDS) take_group(s);
        s->thread->at = l[GROUP] ? GROUP_UNLOCK : PLACE_FREE;
        break;
    case PLACE_FREE: /* sdi_place_free */
        s->name = "free the place";
        s->thread->at = LEAVE_UNLOCK;
        if (s->state->memory[QUEUE_COUNT] == 0 || sdm_fault(s, FREE_WITHOUT_HANDING)) {
            sdm_store_release(s, PLACE, 0);
            break;
        }
        if (sdm_fault(s, FREE_WORD_TOO)) sdm_store_release(s, PLACE, 0);
        l[TARGET] = (uint8_t)dequeue(s);
        l[OUTCOME] = HAS_PLACE;
        l[THEN] = LEAVE_UNLOCK;
        s->thread->at = END_LOOK;
        break;
    case END_LOOK: /* sdi_turn_end */
        s->name = "end a turn: does its owner sleep";
        sdm_require(s, *sdm_ghost(s, ALIVE + l[TARGET]), "a turn is looked at whose owner has gone");
        l[TARGET_SLEPT] = sdm_load(s, TURN + l[TARGET]) == SLEEPS || sdm_fault(s, WAKE_ANYWAY);
        s->thread->at = END_STORE;
        break;
    case END_STORE:
        s->name = "end a turn: its outcome";
        sdm_require(s, *sdm_ghost(s, ALIVE + l[TARGET]), "a turn is ended whose owner has gone");
        if (sdm_fault(s, OUTCOME_RELAXED)) sdm_store_relaxed(s, TURN + l[TARGET], l[OUTCOME]);
        else sdm_store_release(s, TURN + l[TARGET], l[OUTCOME]);
        s->thread->at = l[TARGET_SLEPT] ? END_WAKE : l[THEN];
        break;
    case END_WAKE:
        s->name = "end a turn: wake its owner";
        sdm_require(s, *sdm_ghost(s, ALIVE + l[TARGET]), "somebody is woken who has gone");
        sdm_drain(s);
        *sdm_ghost(s, ASLEEP + l[TARGET]) = 0;
        s->thread->at = l[THEN];
        break;
    case LEAVE_UNLOCK: s->name = "unlock"; unlock(s, RETURN); break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

static void step(sdm_step *s) {
    if (s->thread->at <= TURN_ENDED) {
        step_wait(s);
    } else if (s->thread->at < RETURN) {
        step_lead(s);
    } else {
        s->name = "return";
        uint8_t written = (uint8_t)(s->thread->local[WRITTEN] + 1);
        sdm_require(s, works_alone(s, s->number) || sdm_load(s, STATUS + s->number) == 1,
                    "a write returns that was not done");
        if (!works_alone(s, s->number)) sdm_store_relaxed(s, STATUS + s->number, 0);
        for (unsigned i = 0; i < SDM_LOCALS; i++) s->thread->local[i] = 0;
        s->thread->local[WRITTEN] = written;
        s->thread->at = written >= writes_of(s->variant, s->number) ? SDM_END : PLACE_TRY;
    }
}

static void begin(sdm_state *state, unsigned variant) {
    (void)variant;
    for (unsigned t = 0; t < THREADS; t++) state->threads[t].at = PLACE_TRY;
}

static const char *at_end(const sdm_state *state, unsigned variant) {
    unsigned writes = 0;
    for (unsigned t = 0; t < THREADS; t++) writes += writes_of(variant, t);
    if (state->memory[TAIL] != writes) return "a write was lost, or done twice";
    return state->memory[PLACE] || state->memory[MUTEX] || state->memory[QUEUE_COUNT] ? "the place is not free" : NULL;
}

static const sdm_fault_case faults[] = {
    {LEAVE_BY_STORE, WRITES, "the place is left without a look at who is attentive"},
    {NO_ATTENTION, WRITES, "who queues does not say so in the word"},
    {NO_CHECK_UNDER_MUTEX, WRITES, "who falls asleep does not look at his turn with the mutex held"},
    {OUTCOME_RELAXED, WRITES, "outcomes are stored without release order"},
    {WAKE_ANYWAY, WRITES, "who was awake is woken after his turn has ended"},
    {LEAVE_RELAXED, WRITES, "the place is left without release order"},
    {FREE_WITHOUT_HANDING, WITH_ALONE, "the place is freed although somebody stands in the queue"},
    {FREE_WORD_TOO, WITH_ALONE, "the place is handed over and its word cleared"},
};

const sdm_model sdm_place_model = {"place", THREADS, 2, 3, begin, step, at_end, faults,
                                   sizeof faults / sizeof *faults};
