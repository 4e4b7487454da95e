/* SPDX-License-Identifier: Apache-2.0
 *
 * explore.c — see explore.h. What has been checked once, the same bytes with the same expectation, is not checked
 * again; `explored.distinct` counts the different bytes.
 *
 * A crash point is before each call of the record. For the death of a process its state is the cache, and the cache
 * with any beginning of that call. For a loss of power it is any choice of answers; where calls make something durable
 * or something was just acknowledged, all of them or many are tried, in between a few, for what can be chosen there can
 * be chosen later too.
 */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/format.h"
#include "states.h"

enum { CHOICES_MAX = 8192, EVERY_BYTE = 4096, ATOMIC_BYTES = 8, SINGLES = 48, MUCH = 1 << 16 };
enum { SPEC_TEXT = 128, STATE_TEXT = 2048 };

totals explored;

static void *need(void *memory) {
    if (!memory) abort();
    return memory;
}

/* --- what was seen ------------------------------------------------------------------------------------------------ */

typedef struct digest_set {
    uint64_t *digests;
    size_t capacity, count;
} digest_set;

static digest_set checked, seen;

static bool insert(digest_set *set, uint64_t digest) {
    if (2 * set->count >= set->capacity) {
        digest_set larger = {.capacity = set->capacity ? 2 * set->capacity : 1 << 16};
        larger.digests = need(calloc(larger.capacity, sizeof *larger.digests));
        for (size_t i = 0; i < set->capacity; i++) {
            if (set->digests[i]) insert(&larger, set->digests[i]);
        }
        free(set->digests);
        *set = larger;
    }
    if (digest == 0) digest = 1;
    size_t slot = (size_t)(digest * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (set->capacity - 1);
    while (set->digests[slot] != 0 && set->digests[slot] != digest) slot = (slot + 1) & (set->capacity - 1);
    bool is_new = set->digests[slot] == 0;
    set->digests[slot] = digest;
    set->count += is_new;
    return is_new;
}

/* --- one state ---------------------------------------------------------------------------------------------------- */

/* How it comes about. */
typedef struct state_spec {
    size_t call;
    bool power;
    uint8_t answers[CHOICES_MAX]; /* of a loss of power */
    size_t choices;
    size_t torn; /* bytes of the call, for the death of a process */
} state_spec;

/* Exploration of one run; of a first write after a crash, `parent` is what crashed, in the state `parent_state`. */
typedef struct explorer {
    const run *r;
    history *h;
    const thoroughness *how;
    situation s;
    uint64_t random;
    state_spec spec;
    const struct explorer *parent;
    memory_os *state;
} explorer;

static const explorer *current; /* for tell_where() */

static size_t print_state(const explorer *e, char *text, size_t size) {
    const state_spec *spec = &e->spec;
    size_t used = (size_t)snprintf(text, size, "@%zu ", spec->call);
    if (!spec->power) return used + (size_t)snprintf(text + used, size - used, spec->torn ? "k%zu" : "k", spec->torn);
    used += (size_t)snprintf(text + used, size - used, "p");
    bool first = true;
    for (size_t i = 0; i < spec->choices && used + 24 < size; i++) {
        if (spec->answers[i] + 1u == history_answers(e->h, i)) continue;
        used += (size_t)snprintf(text + used, size - used, first ? "%zu:%u" : ",%zu:%u", i, spec->answers[i]);
        first = false;
    }
    return used;
}

static void print_where(const explorer *e, char *text, size_t size) {
    size_t used;
    const explorer *root = e->parent ? e->parent : e;
    run_spec_print(&root->r->spec, text, size);
    used = strlen(text);
    text[used++] = ' ';
    used += print_state(root, text + used, size - used);
    if (!e->parent) return;
    used += (size_t)snprintf(text + used, size - used, " + ");
    print_state(e, text + used, size - used);
}

void tell_where(void) {
    static char text[SPEC_TEXT + 2 * STATE_TEXT];
    if (!current) return;
    print_where(current, text, sizeof text - 1);
    strcat(text, "\n");
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static uint64_t build(explorer *e) {
    const state_spec *spec = &e->spec;
    memory_os_clear(e->state);
    if (spec->power) return history_build(e->h, spec->answers, NULL, 0, e->state);
    return history_build(e->h, NULL, spec->torn ? &e->r->os->log[spec->call] : NULL, spec->torn, e->state);
}

static bool explore_first_write(explorer *e, memory_os *left, const finding *found);

/* Whether to crash in the first write as well. */
static bool is_crashed_again(explorer *e, const finding *found) {
    if (e->parent || !e->how->again || !found->complete) return false;
    if (found->damaged_bytes > MUCH && random_below(&e->random, 64) != 0) return false; /* it is slow */
    return found->damaged_bytes > 0 ? random_below(&e->random, e->how->again) < 4
                                    : random_below(&e->random, 4 * (uint64_t)e->how->again) == 0;
}

static bool check_state(explorer *e) {
    finding found;
    memory_os *left = NULL;
    boot_number += e->spec.power;
    bool holds = check_reading(e->r, &e->s, e->state, &found);
    if (holds && is_crashed_again(e, &found)) {
        left = memory_os_create();
        copy_files(e->state, left);
    }
    if (holds) holds = check_writing(e->r, &e->s, e->state, &found);
    if (holds && left) holds = explore_first_write(e, left, &found);
    if (left) memory_os_destroy(left);
    boot_number -= e->spec.power;
    return holds;
}

static void set_situation(explorer *e) {
    e->s.power = e->spec.power;
    e->s.call = e->spec.call;
}

/* Builds and checks it, unless that was done. */
static bool try_state(explorer *e) {
    set_situation(e);
    uint64_t digest = build(e);
    explored.built++;
    explored.distinct += insert(&seen, digest);
    if (!insert(&checked, digest ^ digest_of_expectation(e->r, &e->s) * 3)) return true;
    current = e;
    bool holds = check_state(e);
    current = e->parent;
    return holds;
}

/* The same, without a look at what was done. */
static bool holds_again(explorer *e) {
    fault_message[0] = 0;
    set_situation(e);
    build(e);
    return check_state(e);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* Gives each choice the cache's answer, as long as it still fails. */
static void shrink(explorer *e) {
    thoroughness no_further = {0};
    const thoroughness *how = e->how;
    char message[sizeof fault_message];
    memcpy(message, fault_message, sizeof message);
    e->how = &no_further;
    for (size_t i = 0; e->spec.power && i < e->spec.choices; i++) {
        uint8_t answer = e->spec.answers[i], last = (uint8_t)(history_answers(e->h, i) - 1);
        if (answer == last) continue;
        e->spec.answers[i] = last;
        if (holds_again(e)) e->spec.answers[i] = answer;
        else memcpy(message, fault_message, sizeof message);
    }
    e->how = how;
    memcpy(fault_message, message, sizeof message);
}

static void report(const explorer *e) {
    static char text[SPEC_TEXT + 2 * STATE_TEXT];
    print_where(e, text, sizeof text);
    printf("VIOLATION: %s\n    --replay '%s'\n", fault_message, text);
    fflush(stdout);
}

/* Of the inner of two crashes, where that is the one that fails: the outer one has nothing more to tell then. */
static bool failed(explorer *e) {
    static bool was_told;
    if (!fault_message[0]) return false;
    if (!e->parent && was_told) return was_told = false;
    shrink(e);
    report(e);
    explored.violations++;
    was_told = e->parent != NULL;
    return false;
}

static bool try_or_tell(explorer *e) {
    return try_state(e) || failed(e);
}

/* --- death of the process ----------------------------------------------------------------------------------------- */

/* Writes of a few bytes within a sector are all or nothing, as processors make them; so is the mark of a first write.
 */
static bool may_tear(const recorded_call *call, size_t size) {
    if (call->kind != CALL_WRITE && call->kind != CALL_STORE) return false;
    if (call->kind == CALL_WRITE && call->size <= ATOMIC_BYTES) return false;
    return call->offset > 0 || size >= ATOMIC_BYTES;
}

static bool tear(explorer *e, const recorded_call *call) {
    size_t size = (size_t)call->size;
    bool every = size <= EVERY_BYTE && size <= e->how->torn;
    size_t tries = every ? size - 1 : e->how->torn;
    for (size_t t = 0; t < tries; t++) {
        size_t to = every ? t + 1 : 1 + (size_t)random_below(&e->random, size - 1);
        /* The end of it, where the metadata is; sectors; anything. */
        if (!every && t < tries / 3 && t + 1 < size) to = size - 1 - t;
        else if (!every && t % 2) to -= (to + (size_t)call->offset) % SECTOR;
        if (to == 0 || to >= size || !may_tear(call, to)) continue;
        e->spec.torn = to;
        if (!try_or_tell(e)) return false;
    }
    e->spec.torn = 0;
    return true;
}

static bool kill_process(explorer *e) {
    e->spec.power = false;
    e->spec.torn = 0;
    if (!try_or_tell(e)) return false;
    if (e->spec.call == e->r->os->log_count) return true;
    const recorded_call *call = &e->r->os->log[e->spec.call];
    return call->size < 2 || !may_tear(call, ATOMIC_BYTES) || tear(e, call);
}

/* --- loss of power ------------------------------------------------------------------------------------------------ */

static unsigned last_answer(const explorer *e, size_t i) {
    return history_answers(e->h, i) - 1;
}

static bool try_all(explorer *e) {
    memset(e->spec.answers, 0, e->spec.choices);
    for (;;) {
        if (!try_or_tell(e)) return false;
        size_t i = 0;
        while (i < e->spec.choices && e->spec.answers[i] == last_answer(e, i)) e->spec.answers[i++] = 0;
        if (i == e->spec.choices) return true;
        e->spec.answers[i]++;
    }
}

/* What is most likely, and what each choice does by itself. */
static bool try_typical(explorer *e) {
    for (unsigned sectors = 0; sectors < 2; sectors++) {
        for (unsigned others = 0; others < 2; others++) {
            for (size_t i = 0; i < e->spec.choices; i++) {
                bool last = history_is_sector(e->h, i) ? sectors : others;
                e->spec.answers[i] = (uint8_t)(last ? last_answer(e, i) : 0);
            }
            if (!try_or_tell(e)) return false;
        }
    }
    for (unsigned alone = 0; alone < 2; alone++) {
        size_t stride = e->spec.choices / SINGLES + 1;
        for (size_t k = 0; k < e->spec.choices; k += stride) {
            for (size_t i = 0; i < e->spec.choices; i++)
                e->spec.answers[i] = (uint8_t)((i == k) == (alone == 1) ? last_answer(e, i) : 0);
            if (!try_or_tell(e)) return false;
        }
    }
    return true;
}

static bool try_samples(explorer *e, unsigned samples) {
    for (unsigned n = 0; n < samples; n++) {
        uint64_t cached = 1 + random_below(&e->random, 99);
        for (size_t i = 0; i < e->spec.choices; i++) {
            bool last = random_below(&e->random, 100) < cached;
            unsigned answer = last ? last_answer(e, i) : (unsigned)random_below(&e->random, last_answer(e, i) + 1u);
            e->spec.answers[i] = (uint8_t)answer;
        }
        if (!try_or_tell(e)) return false;
    }
    return true;
}

/* Whether there is more to choose here than before the next call. */
static bool is_turning_point(const run *r, size_t call) {
    if (call == r->os->log_count || (call > 0 && r->os->log[call - 1].kind == CALL_MARK)) return true;
    call_kind kind = r->os->log[call].kind;
    return kind == CALL_SYNC || kind == CALL_SYNC_FOLDER || kind == CALL_SYNC_FAILED ||
           kind == CALL_SYNC_FOLDER_FAILED;
}

static bool lose_power(explorer *e) {
    uint64_t combinations = 1;
    unsigned samples = is_turning_point(e->r, e->spec.call) ? e->how->samples : e->how->samples / 8;
    e->spec.power = true;
    e->spec.choices = history_choices(e->h);
    if (e->spec.choices > CHOICES_MAX) abort();
    for (size_t i = 0; i < e->spec.choices && combinations <= e->how->exhaustive; i++)
        combinations *= history_answers(e->h, i);
    if (combinations <= e->how->exhaustive && combinations <= 1 + 4 * (uint64_t)samples) return try_all(e);
    return try_typical(e) && try_samples(e, samples);
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

/* Steps that were begun and acknowledged before a call. */
static void pass(explorer *e, const recorded_call *call) {
    history_apply(e->h, call);
    if (call->kind != CALL_MARK) return;
    if (call->mark & MARK_BEGUN) e->s.begun = call->mark & MARK_STEP;
    if (call->mark & MARK_DONE) {
        e->s.done = call->mark & MARK_STEP;
        e->s.durable = e->r->steps[e->s.done].durable;
    }
}

static bool explore_calls(explorer *e, size_t from) {
    bool holds = true;
    e->h = history_begin(e->r->before);
    for (size_t i = 0; i <= e->r->os->log_count && holds; i++) {
        e->spec.call = i;
        if (i >= from) holds = kill_process(e) && lose_power(e);
        if (i < e->r->os->log_count) pass(e, &e->r->os->log[i]);
    }
    history_end(e->h);
    e->h = NULL;
    return holds;
}

/* Where the last operation begins: 0 when it is the only one. */
static size_t last_operation(const run *r) {
    size_t count = strlen(r->spec.operations);
    for (size_t i = 0; i < r->os->log_count && count > 1; i++) {
        if (r->os->log[i].kind == CALL_MARK && r->os->log[i].mark == (MARK_BEGUN | (unsigned)count)) return i;
    }
    return 0;
}

static void note_damage(run *again, memory_os *left, const finding *found) {
    const memory_file *file = memory_os_find(left, STORE_NAME);
    if (!file || found->damaged_bytes == 0 || file->used <= found->tail) return;
    again->damaged_offset = found->tail;
    again->damaged_size = file->size - (size_t)found->tail;
    if (sdi_is_zero(file->bytes + found->tail, again->damaged_size)) return;
    again->damaged = need(malloc(again->damaged_size));
    memcpy(again->damaged, file->bytes + found->tail, again->damaged_size);
}

static explorer *make_explorer(const run *r, const thoroughness *how, const explorer *parent) {
    explorer *e = need(calloc(1, sizeof *e));
    e->r = r;
    e->how = how;
    e->parent = parent;
    e->random = r->spec.seed ^ 0xC4A5;
    e->state = memory_os_create();
    return e;
}

static void free_explorer(explorer *e) {
    history_end(e->h);
    memory_os_destroy(e->state);
    free(e);
}

/* I4: a crash of the first write after a crash leaves what the crash has left, or that and the write. */
static bool explore_first_write(explorer *outer, memory_os *left, const finding *found) {
    thoroughness how = {.torn = outer->how->torn / 8 + 4, .exhaustive = 64, .samples = outer->how->samples / 8 + 4};
    run again;
    bool holds = run_begin_first_write(&again, outer->r, left, &found->shows);
    note_damage(&again, left, found);
    if (again.step_count > 0 && outer->r->steps[outer->s.begun].has_backup) {
        for (unsigned i = 0; i <= again.step_count; i++) again.steps[i].has_backup = false;
    }
    memory_file *backup = memory_os_find(again.before, BACKUP_NAME);
    if (backup) backup->name[0] = 0; /* it has been looked at */
    explorer *e = make_explorer(&again, &how, outer);
    holds = holds && explore_calls(e, 0);
    free_explorer(e);
    run_end(&again);
    current = outer;
    return holds;
}

static unsigned syncs_before(const run *r, size_t end) {
    unsigned count = 0;
    for (size_t i = 0; i < end; i++) {
        call_kind kind = r->os->log[i].kind;
        count += kind == CALL_SYNC || kind == CALL_SYNC_FOLDER;
    }
    return count;
}

static bool explore_run(const run_spec *spec, const thoroughness *how, unsigned *first_sync, unsigned *last_sync) {
    run r;
    char text[SPEC_TEXT];
    fault_message[0] = 0;
    bool holds = run_begin(&r, spec);
    explored.runs++;
    if (!holds) {
        run_spec_print(spec, text, sizeof text);
        printf("VIOLATION: %s\n    --replay '%s'\n", fault_message, text);
        explored.violations++;
    } else {
        size_t from = last_operation(&r);
        *first_sync = syncs_before(&r, from) + 1;
        *last_sync = syncs_before(&r, r.os->log_count);
        explorer *e = make_explorer(&r, how, NULL);
        current = e;
        holds = explore_calls(e, from);
        current = NULL;
        free_explorer(e);
    }
    run_end(&r);
    return holds;
}

bool explore(const run_spec *spec, const thoroughness *how, bool faults) {
    unsigned first = 1, last = 0, unused;
    bool holds = explore_run(spec, how, &first, &last);
    for (unsigned n = first; holds && faults && n <= last; n++) {
        run_spec failing = *spec;
        failing.fault = n;
        holds = explore_run(&failing, how, &unused, &unused);
    }
    return holds;
}

/* --- replay ------------------------------------------------------------------------------------------------------- */

/* What the answers of choices are for, and the calls, to read beside a violation. */
static void print_record(const explorer *e) {
    static const char *const names[] = {"create", "write", "store",  "truncate",    "sync",              "sync fails",
                                        "rename", "unlink", "sync folder", "sync of folder fails", "mark"};
    const run *r = e->r;
    for (size_t i = 0; i < r->os->log_count; i++) {
        const recorded_call *call = &r->os->log[i];
        if (call->kind == CALL_MARK) {
            printf("%4zu  -- step %u %s\n", i, call->mark & MARK_STEP, call->mark & MARK_BEGUN ? "begun" : "done");
            continue;
        }
        printf("%4zu  %s file %u %s %s offset %llu size %llu\n", i, names[call->kind], call->file, call->name,
               call->to_name, (unsigned long long)call->offset, (unsigned long long)call->size);
    }
    for (size_t i = 0; e->spec.power && i < e->spec.choices; i++) {
        if (e->spec.answers[i] == history_answers(e->h, i) - 1) continue;
        history_print_choice(e->h, i);
        printf(": answer %u of 0 to %u\n", e->spec.answers[i], history_answers(e->h, i) - 1);
    }
}

/* Reads "@call kTORN" or "@call pI:A,..."; the history is where it is to be. */
static bool parse_state(explorer *e, const char *text) {
    const char *at = strchr(text, ' ');
    if (!at) return false;
    e->spec.power = at[1] == 'p';
    e->spec.torn = e->spec.power ? 0 : (size_t)strtoull(at + 2, NULL, 10);
    if (!e->spec.power) return at[1] == 'k';
    e->spec.choices = history_choices(e->h);
    for (size_t i = 0; i < e->spec.choices; i++) e->spec.answers[i] = (uint8_t)last_answer(e, i);
    for (at += 2; *at >= '0' && *at <= '9'; at += *at == ',') {
        char *end;
        size_t i = (size_t)strtoull(at, &end, 10);
        if (*end != ':' || i >= e->spec.choices) return false;
        e->spec.answers[i] = (uint8_t)strtoul(end + 1, &end, 10);
        at = end;
    }
    return true;
}

static bool go_to(explorer *e, const char *text) {
    size_t call;
    if (sscanf(text, "@%zu", &call) != 1 || call > e->r->os->log_count) return false;
    e->h = history_begin(e->r->before);
    for (size_t i = 0; i < call; i++) pass(e, &e->r->os->log[i]);
    e->spec.call = call;
    return parse_state(e, text);
}

static bool replay_again(explorer *outer, const char *text) {
    static const thoroughness no_further = {0};
    finding found;
    run again;
    set_situation(outer);
    build(outer);
    boot_number += outer->spec.power;
    bool holds = check_reading(outer->r, &outer->s, outer->state, &found);
    if (holds) holds = run_begin_first_write(&again, outer->r, outer->state, &found.shows);
    if (!holds) return false;
    note_damage(&again, outer->state, &found);
    memory_file *backup = memory_os_find(again.before, BACKUP_NAME);
    if (backup) backup->name[0] = 0;
    explorer *e = make_explorer(&again, &no_further, outer);
    bool found_it = go_to(e, text);
    if (found_it) print_record(e);
    holds = found_it ? holds_again(e) : does_not_hold("no such state: %s", text);
    free_explorer(e);
    run_end(&again);
    return holds;
}

bool replay(const char *text) {
    static const thoroughness no_further = {0};
    const char *state = strchr(text, '@'), *again = strchr(text, '+');
    run_spec spec;
    run r;
    fault_message[0] = 0;
    if (!run_spec_parse(text, &spec)) return does_not_hold("not to be read: %s", text);
    bool holds = run_begin(&r, &spec);
    explorer *e = make_explorer(&r, &no_further, NULL);
    bool found = holds && state && go_to(e, state);
    if (found) print_record(e);
    if (holds && state && !found) holds = does_not_hold("no such state: %s", state);
    else if (holds && state && again) holds = replay_again(e, again + 2);
    else if (holds && state) holds = holds_again(e);
    free_explorer(e);
    run_end(&r);
    return holds;
}
