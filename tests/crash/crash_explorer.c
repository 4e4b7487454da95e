/* SPDX-License-Identifier: Apache-2.0
 *
 * crash_explorer.c — which sequences are explored: the program that tests/CMakeLists.txt runs in its short form, and
 * `./dev crash` in its long one.
 *
 *   --short       each operation alone, on every policy and base, each sync of it failing in turn; sequences that
 *                 find what none of those can (SEQUENCES); and a sample of pairs: some seconds, always the same
 *   --minutes N   for so long: every sequence up to three operations, and behind those random ones of up to --ops
 *   --from N      begins with that sequence; the last line of output tells where to go on
 *   --replay X    one state, as printed with a violation
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "explore.h"

enum { BASES = 2, SHORT_PAIRS = 48, VIOLATIONS_MAX = 20 };

static const thoroughness SHORT = {.torn = 24, .exhaustive = 48, .samples = 12, .again = 64};
static const thoroughness SHORT_AND_LARGE = {.torn = 6, .exhaustive = 16, .samples = 2, .again = 512};
static const thoroughness LONG = {.torn = 4096, .exhaustive = 4096, .samples = 160, .again = 64};
static const thoroughness LONG_TRIPLES = {.torn = 200, .exhaustive = 512, .samples = 48, .again = 96};

/* What shows only when something else came before. */
static const struct {
    policy policy;
    unsigned base;
    const char *operations;
} SEQUENCES[] = {
    {POLICY_COMMIT, 1, "cw"},   /* the name of the new file is durable before what follows is */
    {POLICY_NONE, 1, "wi"},     /* a saved index of entries that are not durable */
    {POLICY_COMMIT, 1, "kbk"},  /* an update of a backup adds all or nothing */
    {POLICY_NONE, 1, "kwk"},
    {POLICY_COMMIT, 1, "fw"},   /* nothing is left of a stream that failed */
    {POLICY_MAP, 1, "fw"},
};

typedef struct arguments {
    bool is_short;
    double minutes;
    uint64_t seed, from;
    unsigned operations;
    const char *replay;
} arguments;

static void on_signal(int number) {
    tell_where();
    signal(number, SIG_DFL);
    raise(number);
}

static bool explore_named(unsigned which, const char *operations, uint64_t seed, const thoroughness *how, bool faults) {
    run_spec spec = {.policy = (policy)(which % POLICY_COUNT), .base = which / POLICY_COUNT % BASES, .seed = seed};
    snprintf(spec.operations, sizeof spec.operations, "%s", operations);
    return explore(&spec, how, faults);
}

/* What a large batch leaves takes a hundred times as long to build and to open. */
static bool explore_shortly_named(unsigned which, const char *operations, uint64_t seed, bool faults) {
    bool is_large = strchr(operations, 'B') != NULL;
    return explore_named(which, operations, seed, is_large ? &SHORT_AND_LARGE : &SHORT, faults);
}

static bool explore_shortly(const arguments *a) {
    unsigned letters = (unsigned)strlen(ALL_OPERATIONS);
    uint64_t random = a->seed;
    bool holds = true;
    for (unsigned i = 0; i < letters && holds; i++) {
        char operation[2] = {ALL_OPERATIONS[i], 0};
        for (unsigned which = 0; which < POLICY_COUNT * BASES && holds; which++)
            holds = explore_shortly_named(which, operation, a->seed, true);
    }
    for (size_t i = 0; i < sizeof SEQUENCES / sizeof *SEQUENCES && holds; i++) {
        unsigned which = SEQUENCES[i].base * POLICY_COUNT + (unsigned)SEQUENCES[i].policy;
        holds = explore_shortly_named(which, SEQUENCES[i].operations, a->seed, false);
    }
    for (unsigned i = 0; i < SHORT_PAIRS && holds; i++) {
        char pair[3] = {0};
        for (unsigned k = 0; k < 2; k++) pair[k] = ALL_OPERATIONS[random_below(&random, letters)];
        holds = explore_shortly_named((unsigned)random_below(&random, POLICY_COUNT * BASES), pair, a->seed, false);
    }
    return holds;
}

/* Sequence number `n` of all with that many operations. */
static void name_sequence(uint64_t n, unsigned operations, char *name) {
    uint64_t letters = strlen(ALL_OPERATIONS);
    for (unsigned i = 0; i < operations; i++, n /= letters) name[operations - 1 - i] = ALL_OPERATIONS[n % letters];
    name[operations] = 0;
}

/* Sequences of one operation come first, then two, then three, and behind them random ones. Those of three are met in
 * an order that spreads over all of them. */
static bool explore_number(const arguments *a, uint64_t number) {
    uint64_t letters = strlen(ALL_OPERATIONS), kinds = POLICY_COUNT * BASES, count = letters;
    char name[OPERATIONS_MAX + 1];
    unsigned operations = 1;
    while (operations <= 3 && number >= count * kinds) {
        number -= count * kinds;
        count *= letters;
        operations++;
    }
    if (operations <= 3) {
        if (operations == 3) number = (number * 12289 + a->seed) % (count * kinds);
        name_sequence(number / kinds, operations, name);
        const thoroughness *how = operations < 3 ? &LONG : &LONG_TRIPLES;
        return explore_named((unsigned)(number % kinds), name, a->seed, how, operations < 3 || number % 8 == 0);
    }
    uint64_t random = a->seed + number * 77;
    operations = 3 + (unsigned)random_below(&random, a->operations > 3 ? a->operations - 2 : 1);
    for (unsigned i = 0; i < operations; i++) name[i] = ALL_OPERATIONS[random_below(&random, letters)];
    name[operations] = 0;
    return explore_named((unsigned)random_below(&random, kinds), name, random, &LONG_TRIPLES, number % 8 == 0);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool explore_for_long(const arguments *a) {
    double end = seconds_now() + a->minutes * 60;
    uint64_t number = a->from;
    for (; seconds_now() < end && explored.violations < VIOLATIONS_MAX; number++) explore_number(a, number);
    printf("go on with --seed %llu --from %llu\n", (unsigned long long)a->seed, (unsigned long long)number);
    return explored.violations == 0;
}

static int usage(void) {
    fprintf(stderr, "usage: crash_explorer --short | --minutes N [--seed S] [--from N] [--ops N] | --replay STATE\n");
    return 2;
}

static bool parse(int count, char **words, arguments *a) {
    *a = (arguments){.minutes = 10, .seed = 1, .operations = 6};
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *next = i + 1 < count ? words[i + 1] : NULL;
        if (strcmp(word, "--short") == 0) {
            a->is_short = true;
            continue;
        }
        if (!next) return false;
        i++;
        if (strcmp(word, "--minutes") == 0) a->minutes = strtod(next, NULL);
        else if (strcmp(word, "--seed") == 0) a->seed = strtoull(next, NULL, 0);
        else if (strcmp(word, "--from") == 0) a->from = strtoull(next, NULL, 0);
        else if (strcmp(word, "--ops") == 0) a->operations = (unsigned)strtoul(next, NULL, 0);
        else if (strcmp(word, "--replay") == 0) a->replay = next;
        else return false;
    }
    return a->operations >= 1 && a->operations <= OPERATIONS_MAX;
}

int main(int count, char **words) {
    arguments a;
    if (!parse(count, words, &a)) return usage();
    for (size_t i = 0; i < 4; i++) signal((const int[]){SIGSEGV, SIGABRT, SIGBUS, SIGTERM}[i], on_signal);
    if (a.replay) {
        bool holds = replay(a.replay);
        printf("%s\n", holds ? "holds" : fault_message);
        return holds ? 0 : 1;
    }
    bool holds = a.is_short ? explore_shortly(&a) : explore_for_long(&a);
    printf("seed %llu: %llu runs, %llu states built, %llu distinct, %llu violations\n", (unsigned long long)a.seed,
           (unsigned long long)explored.runs, (unsigned long long)explored.built,
           (unsigned long long)explored.distinct, (unsigned long long)explored.violations);
    return holds && explored.distinct > 0 ? 0 : 1;
}
