/* SPDX-License-Identifier: Apache-2.0
 *
 * history.h — what a writer that may be killed at any moment does, as a pure function of a seed, so that whoever judges
 * what it left needs nothing of it but two numbers.
 *
 * A writer has lanes. A lane has keys of its own and does one operation after the other, numbered from 1, each given by
 * (seed, lane, number) alone; lanes run side by side. So the content of a lane's keys after n operations is known to
 * everybody: state n. What a kill may leave of a lane is state n for some n between the last operation that was
 * acknowledged and the last that was begun. Whoever goes on does operation n + 1 next, again if it was begun before.
 *
 * An operation consists of steps, each of which puts or deletes one key. All of them become visible at once, except
 * those of a plain batch, of which any number from the first on may. A state is therefore (number, steps): the first
 * `steps` steps of the operation behind `number` too.
 *
 * A value begins with a head that names its lane, the key under which it was written first (a rename moves it), the
 * operation and its size; the bytes behind follow from that. So a value under a wrong key, an old one, or one made of
 * parts of two is told from the right one by looking at it.
 */
#ifndef KILL_HISTORY_H
#define KILL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KILL_LANES = 4, /* at most */
    KILL_KEYS = 14, /* of a lane */
    KILL_LARGE_KEYS = 2, /* the first of them have large values now and then */
    KILL_STEPS = 8, /* of an operation, at most */
    KILL_SMALLEST = 100,
    KILL_KEY_SIZE = 16
};

typedef enum kill_kind {
    KILL_WRITE,
    KILL_STREAM, /* pulled from a source */
    KILL_PUSH,   /* pushed piece by piece */
    KILL_DELETE,
    KILL_BATCH, /* puts and deletes, all or nothing */
    KILL_PLAIN, /* the same, a prefix of which may be left */
    KILL_RENAME, /* to the neighbouring key, number XOR 1: two steps, the first of which copies */
    KILL_KINDS
} kill_kind;

/* What stands under a key. Operation 0: nothing. */
typedef struct kill_value {
    uint64_t operation;
    uint64_t size;
    uint32_t lane, origin;
} kill_value;

typedef struct kill_step {
    unsigned key;
    kill_value value; /* nothing: the key is deleted */
} kill_step;

typedef struct kill_operation {
    kill_kind kind;
    unsigned lane;
    size_t piece; /* of streams */
    unsigned count;
    kill_step steps[KILL_STEPS]; /* of a rename: key and its new name, without values */
} kill_operation;

typedef struct kill_history {
    uint64_t seed;
    uint64_t largest; /* bytes of a value */
    unsigned lanes;
} kill_history;

typedef struct kill_state {
    kill_value values[KILL_KEYS];
} kill_state;

uint64_t kill_mix(uint64_t a, uint64_t b);

/* Operation `number` (from 1) of a lane. */
void kill_operation_make(const kill_history *history, unsigned lane, uint64_t number, kill_operation *out);

/* The first `steps` steps of it. */
void kill_state_apply(kill_state *state, const kill_operation *operation, unsigned steps);
/* All of them. */
void kill_state_advance(kill_state *state, const kill_history *history, unsigned lane, uint64_t number);

bool kill_same_value(const kill_value *a, const kill_value *b);

/* KILL_KEY_SIZE bytes. */
void kill_key(unsigned lane, unsigned key, char out[KILL_KEY_SIZE]);

/* The bytes of a value. */
void kill_value_fill(const kill_value *value, uint8_t *out);
/* What the head of these bytes says; false when they are no value at all. */
bool kill_value_of(const void *bytes, size_t size, kill_value *out);
/* Whether all bytes are those of the value. */
bool kill_value_is(const kill_value *value, const void *bytes, size_t size);

#endif
