/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c — see check.h.
 *
 * Strict is what is asked after the death of the process, and under COMMIT after a loss of power too: the store shows
 * one of the steps between the last that was acknowledged and the last that was begun, all keys together, and passes
 * verification. Where nothing orders what reaches the disk, each key by itself has its value of the last durable step
 * or of one since; if it has changed since, it may be missing or corrupt as well.
 */
#include "check.h"

#include <string.h>

#include "digest/hash.h"
#include "format/format.h"
#include "store/store.h"

unsigned boot_number = 1;

/* Linked in place of the system's. */
bool sdi_boot_id(uint8_t id[SDI_BOOT_ID_BYTES]) {
    memset(id, 0, SDI_BOOT_ID_BYTES);
    sdi_store32(id, boot_number);
    return true;
}

static bool is_strict(const run *r, const situation *s) {
    return !s->power || r->spec.policy == POLICY_COMMIT;
}

/* --- what a store shows ------------------------------------------------------------------------------------------- */

static int value_of(const run *r, const void *bytes, size_t size) {
    for (unsigned i = r->value_count; i-- > 0;) {
        if (r->values[i].size == size && memcmp(r->values[i].bytes, bytes, size) == 0) return (int)i;
    }
    return BAD_VALUE;
}

/* I2. */
static bool look_at(const run *r, simdrive_store *store, content *shows) {
    for (unsigned key = 0; key < KEYS; key++) {
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_read_hash(store, key_hash(key), &entry);
        if (status == SIMDRIVE_NOT_FOUND) {
            shows->value[key] = NO_VALUE;
        } else if (status == SIMDRIVE_ERROR_CORRUPT) {
            shows->value[key] = BAD_VALUE;
        } else if (status == SIMDRIVE_OK) {
            shows->value[key] = value_of(r, entry.data, entry.size);
            size_t size = entry.size;
            simdrive_entry_release(&entry);
            if (shows->value[key] == BAD_VALUE)
                return does_not_hold("I2: key %u has %zu bytes that nobody has written", key, size);
        } else {
            return does_not_hold("I6: reading key %u gave %s", key, simdrive_status_name(status));
        }
    }
    return true;
}

static bool same(const content *a, const content *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* For the report: what a key has, and what it should have. */
static bool tell_difference(const content *shows, const content *expected, const situation *s) {
    unsigned key = 0;
    while (key < KEYS - 1 && shows->value[key] == expected->value[key]) key++;
    return does_not_hold("I1/I3: key %u shows value %d, not %d (steps acknowledged %u, begun %u, durable %u; %s)", key,
                         shows->value[key], expected->value[key], s->done, s->begun, s->durable,
                         s->power ? "loss of power" : "death of the process");
}

static bool may_show_strictly(const run *r, const situation *s, const content *shows) {
    for (unsigned i = s->done; i <= s->begun; i++) {
        if (same(shows, &r->steps[i].shows)) return true;
    }
    const step *last = &r->steps[s->begun];
    for (unsigned i = 0; s->begun > s->done && !last->is_atomic && i < last->between_count; i++) {
        if (same(shows, &last->between[i])) return true;
    }
    return tell_difference(shows, &r->steps[s->done].shows, s);
}

static bool may_have(const run *r, const situation *s, unsigned key, int v) {
    bool changed = false;
    int durable = r->steps[s->durable].shows.value[key];
    for (unsigned i = s->durable; i <= s->begun; i++) {
        const step *at = &r->steps[i];
        if (at->shows.value[key] == v) return true;
        changed |= at->shows.value[key] != durable;
        for (unsigned b = 0; i > s->durable && b < at->between_count; b++) {
            if (at->between[b].value[key] == v) return true;
            changed |= at->between[b].value[key] != durable;
        }
    }
    return changed && v < 0;
}

/* I1, I3. */
static bool may_show(const run *r, const situation *s, const content *shows) {
    if (is_strict(r, s)) return may_show_strictly(r, s, shows);
    for (unsigned key = 0; key < KEYS; key++) {
        if (!may_have(r, s, key, shows->value[key])) return tell_difference(shows, &r->steps[s->durable].shows, s);
    }
    return true;
}

static unsigned live_keys(const content *shows) {
    unsigned count = 0;
    for (unsigned key = 0; key < KEYS; key++) count += shows->value[key] != NO_VALUE;
    return count;
}

static bool has_rotten(const content *shows) {
    for (unsigned key = 0; key < KEYS; key++) {
        if (shows->value[key] == BAD_VALUE) return true;
    }
    return false;
}

static bool iterates(simdrive_store *store, unsigned count) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    unsigned met = 0;
    if (simdrive_iterate(store, &iterator) != SIMDRIVE_OK) return does_not_hold("I6: no iterator");
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) met++;
    simdrive_iterator_close(iterator);
    return met == count || does_not_hold("I2: iteration meets %u entries, there are %u", met, count);
}

/* Nothing but the keys that were asked for, and nothing wrong with them. */
static bool is_whole(simdrive_store *store, const content *shows) {
    unsigned live = live_keys(shows);
    if (simdrive_count(store) != live)
        return does_not_hold("I2: %llu keys counted, %u found", (unsigned long long)simdrive_count(store), live);
    if (!iterates(store, live)) return false;
    simdrive_status status = simdrive_verify(store, NULL, NULL, NULL, NULL);
    return status == SIMDRIVE_OK || does_not_hold("verifying gave %s", simdrive_status_name(status));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* What opening may say where there is no store to be read. */
static bool may_refuse(const run *r, const situation *s, simdrive_status status) {
    bool nothing_durable = live_keys(&r->steps[s->durable].shows) == 0;
    if (status == SIMDRIVE_ERROR_NO_SUCH_FILE && nothing_durable) return true;
    if (!is_strict(r, s) && status == SIMDRIVE_ERROR_NOT_A_STORE && nothing_durable) return true;
    return does_not_hold("I1/I6: opening for reading gave %s", simdrive_status_name(status));
}

/* I9: whether there may be no bytes behind the tail. */
static bool is_tidy(const run *r, const situation *s) {
    return !r->after_crash && !s->power && s->done == s->begun;
}

static bool read_store(const run *r, const situation *s, memory_os *state, finding *found) {
    simdrive_open_options options = run_options(r->spec.policy, true);
    simdrive_store *store = NULL;
    simdrive_status status = sdi_open_with_os(&state->table, STORE_PATH, &options, &store);
    memset(found, 0, sizeof *found);
    for (unsigned key = 0; key < KEYS; key++) found->shows.value[key] = NO_VALUE;
    if (status != SIMDRIVE_OK) {
        found->complete = status == SIMDRIVE_ERROR_NO_SUCH_FILE;
        return may_refuse(r, s, status) && may_show(r, s, &found->shows);
    }
    simdrive_info info = {.struct_size = sizeof info};
    if (simdrive_get_info(store, &info) != SIMDRIVE_OK) return does_not_hold("I6: no info");
    found->tail = info.tail;
    found->damaged_bytes = info.damaged_tail_bytes;
    found->complete = info.damage <= SIMDRIVE_DAMAGE_TAIL && info.corrupt_entries == 0;
    bool holds = look_at(r, store, &found->shows) && may_show(r, s, &found->shows);
    if (holds && is_strict(r, s) && !has_rotten(&found->shows)) {
        holds = is_whole(store, &found->shows);
        if (!found->complete) holds = does_not_hold("damage of kind %d is found", (int)info.damage);
    }
    if (holds && is_tidy(r, s) && found->damaged_bytes > 0)
        holds = does_not_hold("I9: %llu bytes are left behind the tail", (unsigned long long)found->damaged_bytes);
    status = simdrive_close(store);
    return holds && (status == SIMDRIVE_OK || does_not_hold("I6: closing gave %s", simdrive_status_name(status)));
}

/* I8. */
static bool read_backup(const run *r, const situation *s, memory_os *state) {
    const step *done = &r->steps[s->done], *begun = &r->steps[s->begun];
    simdrive_open_options options = run_options(r->spec.policy, true);
    simdrive_store *store = NULL;
    content shows;
    simdrive_status status = sdi_open_with_os(&state->table, BACKUP_PATH, &options, &store);
    if (status == SIMDRIVE_ERROR_NO_SUCH_FILE)
        return !done->has_backup || does_not_hold("I8: the backup is gone");
    if (status != SIMDRIVE_OK) return does_not_hold("I8: opening the backup gave %s", simdrive_status_name(status));
    bool holds = look_at(r, store, &shows);
    bool old = done->has_backup && same(&shows, &done->backup), new = begun->has_backup && same(&shows, &begun->backup);
    if (holds && !old && !new) holds = does_not_hold("I8: the backup shows what it never had");
    if (holds) holds = is_whole(store, &shows);
    status = simdrive_close(store);
    return holds && (status == SIMDRIVE_OK || does_not_hold("I6: closing gave %s", simdrive_status_name(status)));
}

/* I7. */
static bool damaged_bytes_are_kept(const run *r, const situation *s, memory_os *state) {
    if (!r->damaged || s->call < r->damaged_from) return true;
    const memory_file *file = memory_os_find(state, STORE_NAME);
    if (!file && !is_strict(r, s)) return true; /* its name was not durable */
    if (file && file->size >= r->damaged_offset + r->damaged_size &&
        memcmp(file->bytes + r->damaged_offset, r->damaged, r->damaged_size) == 0)
        return true;
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        file = &state->files[i];
        if (file->bytes && strncmp(file->name, STORE_NAME ".tail-", strlen(STORE_NAME ".tail-")) == 0 &&
            file->size == r->damaged_size && memcmp(file->bytes, r->damaged, r->damaged_size) == 0)
            return true;
    }
    return does_not_hold("I7: %zu bytes behind the tail at %llu are lost", r->damaged_size,
                         (unsigned long long)r->damaged_offset);
}

bool check_reading(const run *r, const situation *s, memory_os *state, finding *found) {
    uint64_t changes = state->changes;
    return damaged_bytes_are_kept(r, s, state) && read_store(r, s, state, found) && read_backup(r, s, state) &&
           (state->changes == changes || does_not_hold("I5: opening has changed something"));
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool write_and_look(const run *r, simdrive_store *store, const finding *found, simdrive_status *status) {
    static const uint8_t probe[] = "written after the crash";
    content shows;
    *status = simdrive_write(store, "probe", 5, probe, sizeof probe, NULL);
    if (*status != SIMDRIVE_OK) return does_not_hold("I4: the first write gave %s", simdrive_status_name(*status));
    if (!simdrive_exists(store, "probe", 5)) return does_not_hold("I4: the first write is not found");
    if (!look_at(r, store, &shows)) return false;
    return same(&shows, &found->shows) || does_not_hold("I4: the first write changes more");
}

static bool look_again(const run *r, memory_os *state, const finding *found) {
    simdrive_open_options options = run_options(r->spec.policy, true);
    simdrive_store *store = NULL;
    content shows;
    simdrive_status status = sdi_open_with_os(&state->table, STORE_PATH, &options, &store);
    if (status != SIMDRIVE_OK) return does_not_hold("I4: opening again gave %s", simdrive_status_name(status));
    bool holds = look_at(r, store, &shows);
    if (holds && (!same(&shows, &found->shows) || !simdrive_exists(store, "probe", 5)))
        holds = does_not_hold("I4: another content after the first write, on opening again");
    return simdrive_close(store) == SIMDRIVE_OK && holds;
}

bool check_writing(const run *r, const situation *s, memory_os *state, const finding *found) {
    simdrive_open_options options = run_options(r->spec.policy, false);
    simdrive_store *store = NULL;
    simdrive_status status = sdi_open_with_os(&state->table, STORE_PATH, &options, &store);
    if (status != SIMDRIVE_OK) {
        bool damaged = status == SIMDRIVE_ERROR_CORRUPT || status == SIMDRIVE_ERROR_NOT_A_STORE;
        if (!is_strict(r, s) && damaged && !found->complete) return true;
        return does_not_hold("I4: opening for writing gave %s", simdrive_status_name(status));
    }
    bool holds = write_and_look(r, store, found, &status);
    status = simdrive_close(store);
    if (holds && status != SIMDRIVE_OK) holds = does_not_hold("I6: closing gave %s", simdrive_status_name(status));
    return holds && look_again(r, state, found);
}

/* --- the expectation ---------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t digest, uint64_t more) {
    uint64_t both[2] = {digest, more};
    return sdi_hash(both, sizeof both);
}

static uint64_t mix_content(const run *r, uint64_t digest, const content *shows) {
    for (unsigned key = 0; key < KEYS; key++) {
        int v = shows->value[key];
        digest = mix(digest, v >= 0 ? r->values[v].digest : (uint64_t)(v + 10));
    }
    return digest;
}

uint64_t digest_of_expectation(const run *r, const situation *s) {
    bool strict = is_strict(r, s);
    uint64_t digest = (uint64_t)r->spec.policy << 2 | (uint64_t)s->power << 1 | strict | (uint64_t)is_tidy(r, s) << 8;
    for (unsigned i = strict ? s->done : s->durable; i <= s->begun; i++) {
        const step *at = &r->steps[i];
        digest = mix_content(r, digest, &at->shows);
        for (unsigned b = 0; b < at->between_count; b++) digest = mix_content(r, digest, &at->between[b]);
        if (at->has_backup) digest = mix_content(r, mix(digest, i - s->done), &at->backup);
    }
    if (r->damaged && s->call >= r->damaged_from) digest = mix(digest, sdi_hash(r->damaged, r->damaged_size));
    return digest;
}
