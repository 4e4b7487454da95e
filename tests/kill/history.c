/* SPDX-License-Identifier: Apache-2.0
 *
 * history.c — operations, states and values from a seed.
 *
 * Behind its head, word i of a value is base + i * step, both of them from the value's identity, or zeros for one value
 * in eight: zeros are what a file has where nothing was written, and what recovery could take for metadata.
 */
#include "history.h"

#include <stdio.h>
#include <string.h>

#include "require.h"

enum { HEAD_WORDS = 4, BODY_CHUNK = 512 };

#define SMALL_LIMIT UINT64_C(1000)
#define MIDDLE_LIMIT UINT64_C(40000)
#define FILL_STEP UINT64_C(0x9E3779B97F4A7C15)

uint64_t kill_mix(uint64_t a, uint64_t b) {
    uint64_t z = a * UINT64_C(0x9E3779B97F4A7C15) + b * UINT64_C(0xD1B54A32D192ED03) + 1;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t next(uint64_t *random) {
    *random += FILL_STEP;
    return kill_mix(*random, 7);
}

static uint64_t below(uint64_t *random, uint64_t limit) {
    return next(random) % limit;
}

/* Sizes are spread over their magnitudes, up to the largest of the key. */
static uint64_t draw_size(const kill_history *history, unsigned key, uint64_t *random) {
    uint64_t limit = SMALL_LIMIT, dice = below(random, 16);
    if (dice >= 9) limit = MIDDLE_LIMIT;
    if (dice >= 12 && key < KILL_LARGE_KEYS) limit = history->largest >> (2 * below(random, 4));
    if (limit > history->largest) limit = history->largest;
    if (limit < 2 * KILL_SMALLEST) limit = 2 * KILL_SMALLEST;
    return KILL_SMALLEST + below(random, limit - KILL_SMALLEST + 1);
}

static kill_step draw_put(const kill_history *history, unsigned lane, uint64_t number, uint64_t *random) {
    kill_step step = {.key = (unsigned)below(random, KILL_KEYS)};
    step.value = (kill_value){number, draw_size(history, step.key, random), lane, step.key};
    return step;
}

static kill_kind draw_kind(uint64_t *random) {
    static const kill_kind kinds[] = {
        KILL_WRITE, KILL_WRITE, KILL_WRITE,  KILL_WRITE, KILL_WRITE, KILL_STREAM, KILL_STREAM, KILL_PUSH,
        KILL_BATCH, KILL_BATCH, KILL_BATCH, KILL_PLAIN, KILL_DELETE, KILL_DELETE, KILL_RENAME, KILL_RENAME};
    return kinds[below(random, sizeof kinds / sizeof *kinds)];
}

/* One step for each key: two puts of one operation to one key would have one identity. */
static void draw_batch(const kill_history *history, uint64_t number, uint64_t *random, kill_operation *out) {
    unsigned wanted = 2 + (unsigned)below(random, KILL_STEPS - 1), taken = 0;
    for (unsigned i = 0; i < wanted; i++) {
        kill_step step = draw_put(history, out->lane, number, random);
        if (taken & 1u << step.key) continue;
        taken |= 1u << step.key;
        if (below(random, 4) == 0) step.value = (kill_value){0, 0, 0, 0};
        out->steps[out->count++] = step;
    }
}

void kill_operation_make(const kill_history *history, unsigned lane, uint64_t number, kill_operation *out) {
    uint64_t random = kill_mix(kill_mix(history->seed, lane), number);
    *out = (kill_operation){.kind = draw_kind(&random), .lane = lane, .count = 1};
    switch (out->kind) {
    case KILL_BATCH:
    case KILL_PLAIN:
        out->count = 0;
        draw_batch(history, number, &random, out);
        break;
    case KILL_DELETE:
        out->steps[0].key = (unsigned)below(&random, KILL_KEYS);
        break;
    case KILL_RENAME:
        out->count = 2;
        out->steps[0].key = (unsigned)below(&random, KILL_KEYS);
        out->steps[1].key = out->steps[0].key ^ 1;
        break;
    default:
        out->steps[0] = draw_put(history, lane, number, &random);
        out->piece = 1 + (size_t)below(&random, below(&random, 2) ? 5000 : 300000);
    }
}

void kill_state_apply(kill_state *state, const kill_operation *operation, unsigned steps) {
    const kill_step *step = operation->steps;
    if (operation->kind == KILL_RENAME) {
        kill_value *from = &state->values[step[0].key];
        if (from->operation == 0) return;
        state->values[step[1].key] = *from;
        *from = (kill_value){0, 0, 0, 0};
        return;
    }
    for (unsigned i = 0; i < steps; i++) state->values[step[i].key] = step[i].value;
}

void kill_state_advance(kill_state *state, const kill_history *history, unsigned lane, uint64_t number) {
    kill_operation operation;
    kill_operation_make(history, lane, number, &operation);
    kill_state_apply(state, &operation, operation.count);
}

bool kill_same_value(const kill_value *a, const kill_value *b) {
    return a->operation == b->operation && a->size == b->size && a->lane == b->lane && a->origin == b->origin;
}

void kill_key(unsigned lane, unsigned key, char out[KILL_KEY_SIZE]) {
    char text[2 * KILL_KEY_SIZE];
    snprintf(text, sizeof text, "lane %03u key %03u", lane % 1000, key % 1000);
    memcpy(out, text, KILL_KEY_SIZE);
}

static void head_of(const kill_value *value, uint64_t head[HEAD_WORDS]) {
    head[0] = value->operation;
    head[1] = value->size;
    head[2] = (uint64_t)value->lane << 32 | value->origin;
    head[3] = kill_mix(kill_mix(head[0], head[1]), head[2]);
}

/* Words `at` to `at + count` of the body. */
static void fill_words(uint64_t identity, uint64_t at, uint64_t *out, size_t count) {
    uint64_t step = identity % 8 == 0 ? 0 : FILL_STEP, base = identity % 8 == 0 ? 0 : identity;
    for (size_t i = 0; i < count; i++) out[i] = base + (at + i) * step;
}

void kill_value_fill(const kill_value *value, uint8_t *out) {
    uint64_t head[HEAD_WORDS], words[BODY_CHUNK];
    head_of(value, head);
    memcpy(out, head, sizeof head);
    size_t size = (size_t)value->size - sizeof head;
    for (size_t at = 0; at < size; at += sizeof words) {
        fill_words(head[3], at / sizeof *words, words, BODY_CHUNK);
        memcpy(out + sizeof head + at, words, size - at < sizeof words ? size - at : sizeof words);
    }
}

bool kill_value_of(const void *bytes, size_t size, kill_value *out) {
    uint64_t head[HEAD_WORDS], expected[HEAD_WORDS];
    if (size < sizeof head) return false;
    memcpy(head, bytes, sizeof head);
    *out = (kill_value){head[0], head[1], (uint32_t)(head[2] >> 32), (uint32_t)head[2]};
    head_of(out, expected);
    return head[1] == size && memcmp(head, expected, sizeof head) == 0;
}

bool kill_value_is(const kill_value *value, const void *bytes, size_t size) {
    uint64_t head[HEAD_WORDS], words[BODY_CHUNK];
    head_of(value, head);
    if (size != value->size || memcmp(bytes, head, sizeof head) != 0) return false;
    const uint8_t *body = (const uint8_t *)bytes + sizeof head;
    size -= sizeof head;
    for (size_t at = 0; at < size; at += sizeof words) {
        fill_words(head[3], at / sizeof *words, words, BODY_CHUNK);
        if (memcmp(body + at, words, size - at < sizeof words ? size - at : sizeof words) != 0) return false;
    }
    return true;
}
