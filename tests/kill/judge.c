/* SPDX-License-Identifier: Apache-2.0
 *
 * judge.c — compares what a store shows with the states of a history.
 */
#include "judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static bool refuse(char reason[KILL_REASON_MAX], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, KILL_REASON_MAX, format, arguments);
    va_end(arguments);
    return false;
}

static bool see_value(const simdrive_entry *entry, unsigned lane, unsigned key, uint64_t whole, kill_value *out,
                      char reason[KILL_REASON_MAX]) {
    if (!kill_value_of(entry->data, entry->size, out))
        return refuse(reason, "lane %u, key %u: %zu bytes that were never written", lane, key, entry->size);
    if (out->lane != lane || (out->origin | 1) != (key | 1))
        return refuse(reason, "lane %u, key %u: a value of lane %u, key %u", lane, key, out->lane, out->origin);
    if (entry->size <= whole && !kill_value_is(out, entry->data, entry->size))
        return refuse(reason, "lane %u, key %u: wrong bytes in the value of operation %llu", lane, key,
                      (unsigned long long)out->operation);
    return true;
}

bool kill_see(simdrive_store *store, unsigned lane, uint64_t whole, kill_sight *sight, char reason[KILL_REASON_MAX]) {
    memset(sight, 0, sizeof *sight);
    for (unsigned key = 0; key < KILL_KEYS; key++) {
        char name[KILL_KEY_SIZE];
        simdrive_entry entry = {0};
        kill_key(lane, key, name);
        simdrive_status status = simdrive_read(store, name, sizeof name, &entry);
        sight->corrupt[key] = status == SIMDRIVE_ERROR_CORRUPT;
        if (status == SIMDRIVE_NOT_FOUND || status == SIMDRIVE_ERROR_CORRUPT) continue;
        if (status != SIMDRIVE_OK)
            return refuse(reason, "lane %u, key %u: reading gave %s", lane, key, simdrive_status_name(status));
        bool good = see_value(&entry, lane, key, whole, &sight->values[key], reason);
        simdrive_entry_release(&entry);
        if (!good) return false;
    }
    return true;
}

static bool shows(const kill_sight *sight, const kill_state *state) {
    for (unsigned key = 0; key < KILL_KEYS; key++)
        if (sight->corrupt[key] || !kill_same_value(&sight->values[key], &state->values[key])) return false;
    return true;
}

/* How what was seen differs from the two ends of the stretch. */
static bool refuse_state(unsigned lane, const kill_sight *sight, const kill_state *first, uint64_t from,
                         const kill_state *last, uint64_t to, char reason[KILL_REASON_MAX]) {
    size_t used = (size_t)snprintf(reason, KILL_REASON_MAX, "lane %u is at no state from %llu to %llu:", lane,
                                   (unsigned long long)from, (unsigned long long)to);
    for (unsigned key = 0; key < KILL_KEYS && used < KILL_REASON_MAX; key++) {
        const kill_value *seen = &sight->values[key];
        if (!sight->corrupt[key] && kill_same_value(seen, &first->values[key]) &&
            kill_same_value(seen, &last->values[key]))
            continue;
        used += (size_t)snprintf(reason + used, KILL_REASON_MAX - used, " key %u has operation %llu%s (%llu to %llu)",
                                 key, (unsigned long long)seen->operation, sight->corrupt[key] ? ", corrupt" : "",
                                 (unsigned long long)first->values[key].operation,
                                 (unsigned long long)last->values[key].operation);
    }
    return false;
}

bool kill_find(const kill_history *history, unsigned lane, const kill_state *state, uint64_t from, uint64_t to,
               const kill_sight *sight, kill_place *place, char reason[KILL_REASON_MAX]) {
    kill_state at = *state;
    for (uint64_t number = from;; number++) {
        *place = (kill_place){number, 0};
        if (shows(sight, &at)) return true;
        if (number >= to) return refuse_state(lane, sight, state, from, &at, to, reason);
        kill_operation operation;
        kill_operation_make(history, lane, number + 1, &operation);
        for (unsigned steps = 1; operation.kind == KILL_PLAIN && steps < operation.count; steps++) {
            kill_state partly = at;
            kill_state_apply(&partly, &operation, steps);
            *place = (kill_place){number, steps};
            if (shows(sight, &partly)) return true;
        }
        kill_state_apply(&at, &operation, operation.count);
    }
}

bool kill_find_each(const kill_history *history, unsigned lane, const kill_state *state, uint64_t from, uint64_t to,
                    const kill_sight *sight, char reason[KILL_REASON_MAX]) {
    kill_state at = *state;
    bool explained[KILL_KEYS] = {false}, all = false;
    for (uint64_t number = from; !all; number++) {
        all = true;
        for (unsigned key = 0; key < KILL_KEYS; key++) {
            bool fits = sight->corrupt[key] ? !kill_same_value(&at.values[key], &state->values[key])
                                            : kill_same_value(&at.values[key], &sight->values[key]);
            explained[key] = explained[key] || fits;
            all = all && explained[key];
        }
        if (!all && number >= to) return refuse_state(lane, sight, state, from, &at, to, reason);
        kill_state_advance(&at, history, lane, number + 1);
    }
    return true;
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool all_keys_are_known(simdrive_store *store, const kill_history *history, char reason[KILL_REASON_MAX]) {
    uint64_t known[KILL_LANES * KILL_KEYS];
    size_t count = 0;
    for (unsigned lane = 0; lane < history->lanes; lane++) {
        for (unsigned key = 0; key < KILL_KEYS; key++) {
            char name[KILL_KEY_SIZE];
            kill_key(lane, key, name);
            known[count++] = simdrive_hash_key(name, sizeof name);
        }
    }
    qsort(known, count, sizeof *known, compare_hashes);
    simdrive_iterator *iterator = NULL;
    if (simdrive_iterate(store, &iterator) != SIMDRIVE_OK) return refuse(reason, "cannot be iterated");
    const simdrive_entry *entry;
    simdrive_status status;
    while ((status = simdrive_iterator_peek_next(iterator, &entry)) == SIMDRIVE_OK) {
        uint64_t hash = simdrive_entry_key_hash(entry);
        if (!bsearch(&hash, known, count, sizeof *known, compare_hashes)) break;
    }
    simdrive_iterator_close(iterator);
    return status == SIMDRIVE_END || refuse(reason, "a key that was never written (%s)", simdrive_status_name(status));
}

bool kill_judge_whole(simdrive_store *store, const kill_history *history, char reason[KILL_REASON_MAX]) {
    if (!all_keys_are_known(store, history, reason)) return false;
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_status status = simdrive_verify(store, NULL, NULL, NULL, &report);
    if (status == SIMDRIVE_OK) return true;
    return refuse(reason, "verification gave %s, %llu corrupt entries", simdrive_status_name(status),
                  (unsigned long long)report.entries_corrupt);
}
