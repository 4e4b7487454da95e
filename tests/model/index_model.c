/* SPDX-License-Identifier: Apache-2.0 */
/* index_model.c — lookups beside the writer of the index: src/index/lookup.c (steps 1 to 3), src/index/writer.c (put),
 * src/index/growth.c (split_segment, double_segment: steps 1 to 4) and src/index/segments.c (M1, M2). Steps follow the
 * order there; who changes it there changes it here.
 *
 * A segment is one line of two slots. Tags tell nothing, so that the file decides on every slot. A word is a segment
 * and a depth. The writer's script goes through a split in place, one that deepens the directory and takes the first
 * segment again, and one that takes the second again:
 *
 *   begin     directory 0:  [S0] [S0]                A@1 B@2 in S0
 *   put A@3   the base is moved first
 *   split 1   directory 0:  [S1] [S2]                S0 is given back
 *   put C@4   into S1
 *   split 2   directory 1:  [S0] [S3] [S2] [S2]      S1 is given back, and directory 0 left as it is
 *   del B@5   its tombstone, into the slot of B
 *   split 3   directory 1:  [S0] [S3] [S1] [S4]      S2 is given back
 *   put A@6
 *
 * A's u begins with 00, C's with 01, B's with 11. One reader looks up two keys, each of the three, one after the other:
 * it writes nothing, so two readers do nothing to each other. */
#include "models.h"

enum { WRITER = 0, READER = 1 };
enum { A = 0, B = 1, C = 2, KEYS = 3, SLOTS = 2, SEGMENTS = 5, OFFSETS = 7, NEW_BASE_FROM = 3 };

/* Shared variables. `bytes` of an offset are there or not; `ack` is what a put that has returned is known by. */
enum { ROOT, BASE, WORDS_0, WORDS_1 = WORDS_0 + 2, SEGMENT_0 = WORDS_1 + 4, BYTES = SEGMENT_0 + SEGMENTS * SLOTS,
       ACK = BYTES + OFFSETS };

static const uint8_t key_at[OFFSETS] = {0, A, B, A, C, B, A};
static const uint8_t u_of[KEYS] = {0, 3, 1}; /* two bits */

static uint8_t word_of(unsigned segment, unsigned depth) {
    return (uint8_t)(segment << 2 | depth | 0x80);
}
static unsigned segment_of(uint8_t word) {
    return (word & 0x7F) >> 2;
}
static unsigned slot_at(unsigned segment, unsigned slot) {
    return SEGMENT_0 + segment * SLOTS + slot;
}
static unsigned word_at(unsigned root, unsigned key) {
    return root == 0 ? (unsigned)WORDS_0 + (u_of[key] >> 1) : (unsigned)WORDS_1 + u_of[key];
}

enum {
    BASE_AFTER_PUT = 1, SLOT_BEFORE_BYTES, SLOT_RELAXED, WORD_BEFORE_FILL, GROWTH_RELAXED, NO_SECOND_LOOK,
    NO_LOOK_AT_ROOT, CLEAR_RELAXED, CLEAR_WHILE_IN_USE, NO_FILE_CHECK, BASE_BEFORE_SLOT
};

/* --- the writer: a script of stores ------------------------------------------------------------------------------ */

typedef enum order { RELAXED, RELEASE } order;

typedef struct store_step {
    const char *name;
    uint8_t variable, value;
    order order;
} store_step;

#define SLOT(segment, i) (SEGMENT_0 + (segment) * SLOTS + (i))
#define WORD(segment, depth) ((segment) << 2 | (depth) | 0x80)

static const store_step script[] = {
    /* sdi_index_set_base, the bytes, put_at */
    {"set base", BASE, 1, RELEASE},
    {"bytes of A@3", BYTES + 3, 1, RELAXED},
    {"put A@3", SLOT(0, 0), 3, RELEASE},
    {"A@3 returns", ACK + A, 3, RELEASE},
    /* split 1, in place: fill_from_tags, publish */
    {"fill S1 with A@3", SLOT(1, 0), 3, RELEASE},
    {"fill S2 with B@2", SLOT(2, 0), 2, RELEASE},
    {"word 0 of directory 0 := S1", WORDS_0, WORD(1, 1), RELEASE},
    {"word 1 of directory 0 := S2", WORDS_0 + 1, WORD(2, 1), RELEASE},
    {"bytes of C@4", BYTES + 4, 1, RELAXED},
    {"put C@4", SLOT(1, 1), 4, RELEASE},
    {"C@4 returns", ACK + C, 4, RELEASE},
    /* split 2: clear, deepen, fill, publish, root */
    {"clear S0, slot 0", SLOT(0, 0), 0, RELEASE},
    {"clear S0, slot 1", SLOT(0, 1), 0, RELEASE},
    {"copy word 2", WORDS_1 + 2, WORD(2, 1), RELAXED},
    {"copy word 3", WORDS_1 + 3, WORD(2, 1), RELAXED},
    {"fill S0 with A@3", SLOT(0, 0), 3, RELEASE},
    {"fill S3 with C@4", SLOT(3, 0), 4, RELEASE},
    {"word 0 of directory 1 := S0", WORDS_1, WORD(0, 2), RELEASE},
    {"word 1 of directory 1 := S3", WORDS_1 + 1, WORD(3, 2), RELEASE},
    {"root := directory 1", ROOT, 1, RELEASE},
    {"bytes of B@5", BYTES + 5, 1, RELAXED},
    {"put B@5", SLOT(2, 0), 5, RELEASE},
    {"B@5 returns", ACK + B, 5, RELEASE},
    /* split 3, in place, with the segment that split 2 gave back */
    {"clear S1, slot 0", SLOT(1, 0), 0, RELEASE},
    {"clear S1, slot 1", SLOT(1, 1), 0, RELEASE},
    {"fill S4 with B@5", SLOT(4, 0), 5, RELEASE},
    {"word 2 of directory 1 := S1", WORDS_1 + 2, WORD(1, 2), RELEASE},
    {"word 3 of directory 1 := S4", WORDS_1 + 3, WORD(4, 2), RELEASE},
    {"bytes of A@6", BYTES + 6, 1, RELAXED},
    {"put A@6", SLOT(0, 0), 6, RELEASE},
    {"A@6 returns", ACK + A, 6, RELEASE},
};

enum { STEPS = sizeof script / sizeof *script };

/* The script with one of the faults in it: which step comes `at`-th. */
static unsigned step_at(unsigned fault, unsigned at) {
    if (fault == BASE_AFTER_PUT && at < 3) return at == 0 ? 1 : at == 1 ? 2 : 0;
    if (fault == SLOT_BEFORE_BYTES && (at == 8 || at == 9)) return 17 - at;
    if (fault == WORD_BEFORE_FILL && (at == 4 || at == 6)) return 10 - at;
    if (fault == CLEAR_WHILE_IN_USE && at >= 4 && at <= 7) { /* S0 is cleared before words lead elsewhere */
        static const uint8_t instead[] = {4, 5, 11, 12};
        return instead[at - 4];
    }
    return at;
}

static order order_of(unsigned fault, unsigned number) {
    const char *name = script[number].name;
    if (fault == SLOT_RELAXED && name[0] == 'p') return RELAXED;
    if (fault == GROWTH_RELAXED && (name[0] == 'f' || name[0] == 'w' || name[0] == 'r')) return RELAXED;
    if (fault == CLEAR_RELAXED && name[0] == 'c' && name[1] == 'l') return RELAXED;
    return script[number].order;
}

static void step_writer(sdm_step *s) {
    unsigned number = step_at(s->fault, s->thread->at);
    const store_step *does = &script[number];
    s->name = does->name;
    if (order_of(s->fault, number) == RELEASE) sdm_store_release(s, does->variable, does->value);
    else sdm_store_relaxed(s, does->variable, does->value);
    if (++s->thread->at == STEPS) s->thread->at = SDM_END;
}

/* --- the reader: sdi_index_find ---------------------------------------------------------------------------------- */

enum { CHOOSE, LOAD_ROOT, LOAD_WORD, LOAD_BASE_EARLY, LOAD_SLOT, LOAD_BASE, CONFIRM, ROOT_AGAIN, WORD_AGAIN };
enum { KEY, FLOOR, MY_ROOT, MY_WORD, MY_SLOT, OFFSET, MY_BASE, LOOKUPS, SEEN, TRIES = SEEN + KEYS };

static void finished(sdm_step *s, uint8_t offset) {
    uint8_t *l = s->thread->local, key = l[KEY];
    sdm_require(s, l[FLOOR] == 0 || offset != 0, "X1: a key that is in was not found");
    sdm_require(s, offset == 0 || key_at[offset] == key, "another key was found");
    sdm_require(s, offset >= l[FLOOR], "X1: an older entry was found than the one that was put");
    sdm_require(s, offset >= l[SEEN + key], "X2: an older entry was found than before");
    l[SEEN + key] = offset;
    l[KEY] = l[FLOOR] = l[MY_ROOT] = l[MY_WORD] = l[MY_SLOT] = l[OFFSET] = l[MY_BASE] = l[TRIES] = 0;
    s->thread->at = ++l[LOOKUPS] == 2 ? SDM_END : CHOOSE;
}

static void next_slot(sdm_step *s) {
    uint8_t *l = s->thread->local;
    s->thread->at = LOAD_SLOT;
    if (++l[MY_SLOT] < SLOTS) return;
    if (sdm_fault(s, NO_SECOND_LOOK)) finished(s, 0);
    else s->thread->at = sdm_fault(s, NO_LOOK_AT_ROOT) ? WORD_AGAIN : ROOT_AGAIN;
}

static void again(sdm_step *s) {
    uint8_t *l = s->thread->local;
    l[MY_SLOT] = l[OFFSET] = 0;
    l[TRIES]++;
    s->thread->at = LOAD_ROOT;
}

static void step_reader(sdm_step *s) {
    uint8_t *l = s->thread->local;
    switch (s->thread->at) {
    case CHOOSE:
        s->name = "begin a lookup";
        l[KEY] = (uint8_t)sdm_choose(s, KEYS);
        l[FLOOR] = sdm_load(s, ACK + l[KEY]);
        s->thread->at = LOAD_ROOT;
        break;
    case LOAD_ROOT:
        s->name = "load root";
        l[MY_ROOT] = sdm_load(s, ROOT);
        s->thread->at = LOAD_WORD;
        break;
    case LOAD_WORD:
        s->name = "load word";
        l[MY_WORD] = sdm_load(s, word_at(l[MY_ROOT], l[KEY]));
        sdm_require(s, l[MY_WORD] != 0, "a word of the directory was not there yet");
        s->thread->at = sdm_fault(s, BASE_BEFORE_SLOT) ? LOAD_BASE_EARLY : LOAD_SLOT;
        break;
    case LOAD_BASE_EARLY:
        s->name = "load base, too early";
        l[MY_BASE] = sdm_load(s, BASE);
        s->thread->at = LOAD_SLOT;
        break;
    case LOAD_SLOT:
        s->name = "load slot";
        l[OFFSET] = sdm_load(s, slot_at(segment_of(l[MY_WORD]), l[MY_SLOT]));
        if (l[OFFSET] == 0) next_slot(s);
        else s->thread->at = sdm_fault(s, BASE_BEFORE_SLOT) ? CONFIRM : LOAD_BASE;
        break;
    case LOAD_BASE:
        s->name = "load base";
        l[MY_BASE] = sdm_load(s, BASE);
        s->thread->at = CONFIRM;
        break;
    case CONFIRM:
        s->name = "look at the hash in the file";
        sdm_require(s, l[MY_BASE] == 1 || l[OFFSET] < NEW_BASE_FROM, "the base does not cover the offset");
        sdm_require(s, sdm_load(s, BYTES + l[OFFSET]) == 1, "S1: a slot leads to bytes that are not there");
        if (key_at[l[OFFSET]] == l[KEY] || sdm_fault(s, NO_FILE_CHECK)) finished(s, l[OFFSET]);
        else next_slot(s);
        break;
    case ROOT_AGAIN:
        s->name = "look at the root again";
        if (sdm_load(s, ROOT) == l[MY_ROOT]) s->thread->at = WORD_AGAIN;
        else again(s);
        break;
    case WORD_AGAIN:
        s->name = "look at the word again";
        if (sdm_load(s, word_at(l[MY_ROOT], l[KEY])) == l[MY_WORD]) finished(s, 0);
        else again(s);
        break;
    default: sdm_require(s, false, "the model has no such step");
    }
}

static void step(sdm_step *s) {
    if (s->number == WRITER) step_writer(s);
    else step_reader(s);
}

static void begin(sdm_state *state, unsigned variant) {
    (void)variant;
    state->memory[WORDS_0] = state->memory[WORDS_0 + 1] = word_of(0, 0);
    state->memory[slot_at(0, 0)] = state->memory[ACK + A] = 1;
    state->memory[slot_at(0, 1)] = state->memory[ACK + B] = 2;
    state->memory[BYTES + 1] = state->memory[BYTES + 2] = 1;
}

static const sdm_fault_case faults[] = {
    {BASE_AFTER_PUT, 0, "the base is moved after the put"},
    {SLOT_BEFORE_BYTES, 0, "the slot is stored before the bytes"},
    {SLOT_RELAXED, 0, "slots are put without release order"},
    {WORD_BEFORE_FILL, 0, "a word is published before its segment is filled"},
    {GROWTH_RELAXED, 0, "growth stores without release order"},
    {NO_SECOND_LOOK, 0, "root and word are not looked at again (X1)"},
    {NO_LOOK_AT_ROOT, 0, "the word is looked at again, the root is not (L4)"},
    {CLEAR_RELAXED, 0, "segments that are used again are cleared without release order (M2)"},
    {CLEAR_WHILE_IN_USE, 0, "a segment is cleared before words lead elsewhere"},
    {NO_FILE_CHECK, 0, "the hash in the file is not compared (X4)"},
    {BASE_BEFORE_SLOT, 0, "the base is loaded before the slot"},
};

const sdm_model sdm_index_model = {"index", 2, 1, 1, begin, step, NULL, faults, sizeof faults / sizeof *faults};
