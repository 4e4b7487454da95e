/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h — one sequence of operations on a store, carried out and recorded, beside the model of what must be found.
 *
 * A run is told by a short text, and the same text makes the same run:
 *
 *     POLICY BASE OPERATIONS SEED FAULT          commit 1 wbk 7 0
 *
 *   policy      when the store is synced, or that it stores into a map
 *   base        0: the file does not exist yet; 1: it has entries, stale ones and tombstones, all durable
 *   operations  one letter each, see OPERATIONS in run.c
 *   seed        chooses keys, sizes and bytes
 *   fault       0, or: the how many-th sync from the first operation on fails. Nothing follows the operation that
 *               noticed but a write, which must be refused, and closing
 *
 * The model is a list of steps: step 0 is the base, step i what the store and its backup show after operation i. While
 * an operation runs, either is right, and of a plain batch any prefix too. `durable` is the last step that no loss of
 * power may take back, given what was synced, as the store reports it; under COMMIT, each one that was acknowledged.
 */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "memory_os.h"

enum { KEYS = 8, OPERATIONS_MAX = 12, ALTERNATIVES = 6, VALUES_MAX = 256 };
enum { NO_VALUE = -1, BAD_VALUE = -2 /* seen only: ERROR_CORRUPT */ };

#define STORE_PATH "m/store"
#define STORE_NAME "store"
#define BACKUP_PATH "m/backup"
#define BACKUP_NAME "backup"

typedef enum policy { POLICY_COMMIT, POLICY_NONE, POLICY_INTERVAL, POLICY_MAP, POLICY_COUNT } policy;

typedef struct run_spec {
    policy policy;
    unsigned base;
    char operations[OPERATIONS_MAX + 1];
    uint64_t seed;
    unsigned fault;
} run_spec;

/* The same numbers on every machine. */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}
static inline uint64_t random_below(uint64_t *state, uint64_t limit) {
    return random_next(state) % limit;
}

/* What each key has. */
typedef struct content {
    int value[KEYS];
} content;

typedef struct step {
    content shows;
    content between[ALTERNATIVES]; /* what is right as well while the operation runs */
    unsigned between_count;
    bool is_atomic; /* then the keys may be so one by one only, where nothing orders what reaches the disk */
    bool has_backup;
    content backup;
    unsigned durable; /* once it is acknowledged */
} step;

typedef struct known_value {
    uint8_t *bytes;
    size_t size;
    uint64_t digest;
} known_value;

typedef struct run {
    run_spec spec;
    memory_os *os; /* with the record in it */
    memory_os *before; /* the files that it begins with */
    known_value values[VALUES_MAX];
    unsigned value_count, own_values; /* those from `own_values` on are freed with the run */
    step steps[OPERATIONS_MAX + 3];
    bool after_crash;    /* it begins with what a crash has left */
    unsigned step_count; /* of operations that were acknowledged, closing included; step 0 besides */
    /* Bytes behind the tail that must not be lost, from this call of the record on; NULL: none. */
    uint8_t *damaged;
    uint64_t damaged_offset;
    size_t damaged_size, damaged_from;
} run;

/* Marks in the record. */
enum { MARK_BEGUN = 1 << 16, MARK_DONE = 1 << 17, MARK_STEP = (1 << 16) - 1 };

/* Carries it out. False, and `fault_message` is set, when an operation did not do what it must. */
bool run_begin(run *r, const run_spec *spec);
/* The same for one write to what a crash has left: the files in `left`, which show `shows`. Values are the parent's. */
bool run_begin_first_write(run *r, const run *parent, memory_os *left, const content *shows);
void run_end(run *r);

/* Copies all files that have names; `to` is empty. */
void copy_files(const memory_os *from, memory_os *to);

bool run_spec_parse(const char *text, run_spec *spec);
void run_spec_print(const run_spec *spec, char *text, size_t size);
extern const char ALL_OPERATIONS[];

simdrive_open_options run_options(policy p, bool read_only);
uint64_t key_hash(unsigned key);

/* Why a check does not hold; the first one since it was cleared stays. */
extern char fault_message[512];
__attribute__((format(printf, 1, 2))) bool does_not_hold(const char *format, ...); /* false */

#endif
