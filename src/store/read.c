/* SPDX-License-Identifier: Apache-2.0 */
/* read.c — from a key to its entry: single, in batches, in sessions, copied out. No lock, no system call (but for the
 * copying form), no write to memory that threads share. */
#include <string.h>

#include "digest/hash.h"
#include "index/probe.h"
#include "store/store.h"

/* Several groups of the index, which overlaps one with the next; what is found of them stays in the first cache. */
enum { BATCH_GROUP = 256 };

/* These have no status to refuse bytes that are not there with: NULL is the empty key, whatever its size. */
uint64_t simdrive_hash_key(const void *key, size_t key_size) {
    return sdi_hash(key, key ? key_size : 0);
}

void simdrive_hash_keys(const simdrive_bytes *keys, size_t count, uint64_t *hashes) {
    for (size_t i = 0; i < count; i++) hashes[i] = simdrive_hash_key(keys[i].data, keys[i].size);
}

void simdrive_namespaced_key(const void *name_space, size_t name_space_size, const void *key, size_t key_size,
                             unsigned char out[16]) {
    sdi_store64(out, simdrive_hash_key(name_space, name_space_size));
    sdi_store64(out + 8, simdrive_hash_key(key, key_size));
}

static int compare_repair(const void *key, const void *element) {
    uint64_t end = *(const uint64_t *)key, other = ((const sdi_repair *)element)->end;
    return end < other ? -1 : end > other;
}

static int compare_end(const void *key, const void *element) {
    uint64_t end = *(const uint64_t *)key, other = *(const uint64_t *)element;
    return end < other ? -1 : end > other;
}

const sdi_repair *sdi_repair_at(const sdi_damage_map *damage, uint64_t end) {
    if (damage->repair_count == 0) return NULL;
    return bsearch(&end, damage->repairs, damage->repair_count, sizeof *damage->repairs, compare_repair);
}

bool sdi_record_at(const sdi_damage_map *damage, const uint8_t *base, uint64_t end, sdi_record *out) {
    const sdi_repair *repair = sdi_repair_at(damage, end);
    return repair ? sdi_decode_with_prev(base, end, repair->prev, out) : sdi_decode(base, end, out);
}

bool sdi_is_corrupt(const sdi_damage_map *damage, uint64_t end) {
    return damage->corrupt_count > 0 &&
           bsearch(&end, damage->corrupt, damage->corrupt_count, sizeof *damage->corrupt, compare_end) != NULL;
}

simdrive_status sdi_judge_hit(const sdi_generation *generation, sdi_index_hit hit, sdi_record *out) {
    if (hit.offset == SDI_INDEX_NONE) return SIMDRIVE_NOT_FOUND;
    if (hit.offset == SDI_INDEX_UNKNOWN) return SIMDRIVE_ERROR_NO_MEMORY;
    /* Corrupt first: of a lost entry not even the link is known. */
    if (sdi_is_corrupt(&generation->damage, hit.offset)) return SIMDRIVE_ERROR_CORRUPT;
    if (!sdi_record_at(&generation->damage, hit.base, hit.offset, out)) return SIMDRIVE_ERROR_CORRUPT;
    return out->tombstone ? SIMDRIVE_NOT_FOUND : SIMDRIVE_OK;
}

simdrive_status sdi_find_record(const sdi_generation *generation, uint64_t hash, sdi_record *out,
                                const uint8_t **base) {
    sdi_index_hit hit = sdi_index_find(generation->index, hash);
    *base = hit.base;
    return sdi_judge_hit(generation, hit, out);
}

simdrive_status sdi_pin_record(simdrive_store *store, uint64_t hash, sdi_pin **out, sdi_record *record,
                               const uint8_t **base) {
    for (;;) {
        sdi_pin *pin = sdi_pin_current(store);
        simdrive_status status = sdi_find_record(pin->generation, hash, record, base);
        if (status == SIMDRIVE_OK) {
            *out = pin;
            return SIMDRIVE_OK;
        }
        bool final = sdi_is_current(store, pin->generation);
        sdi_unpin(pin, 1);
        if (final) return sdi_refuse(status);
    }
}

bool sdi_passes_check(const simdrive_store *store, const uint8_t *base, const sdi_record *record) {
    return !store->options.check_on_read || sdi_checksum_matches(base, record, store->checksum, NULL);
}

/* What nearly every single read is: a key that one look into the index decides, in a store without damage. Nothing has
 * happened, and the long way is to be gone, where it is not so. See probe.h for why this is worth its lines. */
static inline bool read_at_once(simdrive_store *store, uint64_t hash, simdrive_entry *entry,
                                simdrive_status *status) {
    const uint8_t *base;
    uint64_t start;
    sdi_pin *pin = sdi_pin_at_once(store);
    if (SDI_SELDOM(!pin)) return false;
    const sdi_generation *generation = pin->generation;
    uint64_t end = generation->plain ? sdi_index_probe(generation->index, hash, &base) : SDI_PROBE_UNDECIDED;
    if (end != SDI_INDEX_NONE && SDI_OFTEN(end != SDI_PROBE_UNDECIDED && sdi_locate_payload(base, end, &start))) {
        *entry = (simdrive_entry){base + start, (size_t)(end - start), start, pin};
        *status = SIMDRIVE_OK;
        return true;
    }
    bool absent = end == SDI_INDEX_NONE && sdi_is_current(store, generation);
    sdi_unpin(pin, 1);
    if (absent) {
        *entry = (simdrive_entry){0};
        *status = sdi_refuse(SIMDRIVE_NOT_FOUND);
    }
    return absent;
}

SDI_COLD static simdrive_status read_carefully(simdrive_store *store, uint64_t key_hash, simdrive_entry *entry) {
    sdi_pin *pin;
    sdi_record record;
    const uint8_t *base;
    memset(entry, 0, sizeof *entry);
    simdrive_status status = sdi_pin_record(store, key_hash, &pin, &record, &base);
    if (status != SIMDRIVE_OK) return status;
    if (!sdi_passes_check(store, base, &record)) {
        sdi_unpin(pin, 1);
        return SIMDRIVE_ERROR_CORRUPT;
    }
    sdi_entry_fill(entry, base, &record, pin);
    return SIMDRIVE_OK;
}

SDI_COLD static simdrive_status refuse_read(simdrive_entry *entry) {
    if (entry) memset(entry, 0, sizeof *entry);
    return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
}

simdrive_status simdrive_read_hash(simdrive_store *store, uint64_t key_hash, simdrive_entry *entry) {
    simdrive_status status;
    if (SDI_SELDOM(!store || !entry)) return refuse_read(entry);
    return read_at_once(store, key_hash, entry, &status) ? status : read_carefully(store, key_hash, entry);
}

simdrive_status simdrive_read(simdrive_store *store, const void *key, size_t key_size, simdrive_entry *entry) {
    simdrive_status status;
    if (SDI_SELDOM(!store || !entry || (!key && key_size > 0))) return refuse_read(entry);
    uint64_t hash = sdi_hash(key, key_size);
    return read_at_once(store, hash, entry, &status) ? status : read_carefully(store, hash, entry);
}

/* Without memory to mend the index: what the newest entry of the key is tells the chain, which needs none. */
SDI_COLD static bool exists_in_chain(simdrive_store *store, uint64_t key_hash) {
    sdi_walk walk;
    sdi_record record = {0};
    for (;;) {
        sdi_pin *pin = sdi_pin_current(store);
        const sdi_generation *generation = pin->generation;
        uint64_t tail = sdi_tail(generation);
        bool met = false;
        sdi_walk_begin(&walk, sdi_base(generation), &generation->damage, tail);
        while (!met && sdi_walk_next(&walk, &record)) met = record.key_hash == key_hash;
        bool live = met && !record.tombstone && !sdi_is_corrupt(&generation->damage, record.end);
        bool final = live || sdi_is_current(store, generation);
        sdi_unpin(pin, 1);
        if (final) return live;
    }
}

bool simdrive_exists_hash(simdrive_store *store, uint64_t key_hash) {
    sdi_pin *pin;
    sdi_record record;
    const uint8_t *base;
    if (!store) return false;
    simdrive_status status = sdi_pin_record(store, key_hash, &pin, &record, &base);
    if (status == SIMDRIVE_ERROR_NO_MEMORY) return exists_in_chain(store, key_hash);
    if (status != SIMDRIVE_OK) return false;
    sdi_unpin(pin, 1);
    return true;
}

bool simdrive_exists(simdrive_store *store, const void *key, size_t key_size) {
    return (key || key_size == 0) && simdrive_exists_hash(store, sdi_hash(key, key_size));
}

/* --- batches ----------------------------------------------------------------------------------------------------- */

/* What a group of lookups found. */
typedef struct group_result {
    sdi_record records[BATCH_GROUP];
    sdi_index_hit hits[BATCH_GROUP];
    bool found[BATCH_GROUP];
    size_t found_count;
    size_t corrupt_count;
    bool unknown; /* for want of memory it cannot be told of one of them whether it is there */
} group_result;

/* False when something was not found and the generation is no longer current: then look again in the new one. */
static bool find_group(simdrive_store *store, const sdi_generation *generation, const uint64_t *hashes, size_t count,
                       group_result *result) {
    result->found_count = result->corrupt_count = 0;
    result->unknown = false;
    sdi_index_find_batch(generation->index, hashes, count, result->hits);
    for (size_t i = 0; i < count; i++) {
        simdrive_status status = sdi_judge_hit(generation, result->hits[i], &result->records[i]);
        if (status == SIMDRIVE_OK && !sdi_passes_check(store, result->hits[i].base, &result->records[i]))
            status = SIMDRIVE_ERROR_CORRUPT;
        result->found[i] = status == SIMDRIVE_OK;
        result->found_count += status == SIMDRIVE_OK;
        result->corrupt_count += status == SIMDRIVE_ERROR_CORRUPT;
        result->unknown |= status == SIMDRIVE_ERROR_NO_MEMORY;
    }
    return result->found_count == count || sdi_is_current(store, generation);
}

/* Reads one group, pinning what it finds with one pin for each entry. */
static void read_group(simdrive_store *store, const uint64_t *hashes, size_t count, simdrive_entry *entries,
                       group_result *result) {
    sdi_pin *pin = sdi_pin_current(store);
    while (!find_group(store, pin->generation, hashes, count, result)) {
        sdi_unpin(pin, 1);
        pin = sdi_pin_current(store);
    }
    for (size_t i = 0; i < count; i++) {
        if (result->found[i])
            sdi_entry_fill(&entries[i], result->hits[i].base, &result->records[i], pin);
        else
            memset(&entries[i], 0, sizeof entries[i]);
    }
    if (result->found_count > 1) sdi_pin_again(pin, result->found_count - 1);
    if (result->found_count == 0) sdi_unpin(pin, 1);
}

/* Hashes of keys, or the hashes themselves: the two ways in which batches are asked for. */
static const uint64_t *group_hashes(const simdrive_bytes *keys, const uint64_t *hashes, size_t first, size_t count,
                                    uint64_t *space) {
    if (hashes) return hashes + first;
    simdrive_hash_keys(keys + first, count, space);
    return space;
}

static bool keys_are_there(const simdrive_bytes *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!keys[i].data && keys[i].size > 0) return false;
    }
    return true;
}

static simdrive_status read_batch(simdrive_store *store, const simdrive_bytes *keys, const uint64_t *hashes,
                                  size_t count, simdrive_entry *entries, size_t *found) {
    uint64_t space[BATCH_GROUP];
    group_result result;
    size_t found_count = 0, corrupt_count = 0;
    if (found) *found = 0;
    if (!store || (count > 0 && (!entries || (!keys && !hashes)))) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (keys && !keys_are_there(keys, count)) {
        memset(entries, 0, count * sizeof *entries);
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    }
    for (size_t first = 0; first < count; first += BATCH_GROUP) {
        size_t group = count - first < BATCH_GROUP ? count - first : BATCH_GROUP;
        read_group(store, group_hashes(keys, hashes, first, group, space), group, entries + first, &result);
        if (result.unknown) {
            simdrive_entries_release(entries, first + group);
            memset(entries, 0, count * sizeof *entries);
            return sdi_refuse(SIMDRIVE_ERROR_NO_MEMORY);
        }
        found_count += result.found_count;
        corrupt_count += result.corrupt_count;
    }
    if (found) *found = found_count;
    return corrupt_count > 0 ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK;
}

simdrive_status simdrive_read_batch(simdrive_store *store, const simdrive_bytes *keys, size_t count,
                                    simdrive_entry *entries, size_t *found) {
    return read_batch(store, keys, NULL, count, entries, found);
}

simdrive_status simdrive_read_batch_hash(simdrive_store *store, const uint64_t *key_hashes, size_t count,
                                         simdrive_entry *entries, size_t *found) {
    return read_batch(store, NULL, key_hashes, count, entries, found);
}

/* --- sessions ---------------------------------------------------------------------------------------------------- */

/* The pins of a session: the newest generation it has seen first, and those before it, whose bytes it has lent out. */
struct simdrive_session {
    simdrive_store *store;
    sdi_pin *pin;
    sdi_pin **older;
    size_t older_count;
};

simdrive_status simdrive_session_begin(simdrive_store *store, simdrive_session **out) {
    if (out) *out = NULL;
    if (!store || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_session *session = calloc(1, sizeof *session);
    if (!session) return SIMDRIVE_ERROR_NO_MEMORY;
    session->store = store;
    session->pin = sdi_pin_with_index(store);
    *out = session;
    return SIMDRIVE_OK;
}

void simdrive_session_end(simdrive_session *session) {
    if (!session) return;
    sdi_release_index(session->pin->generation);
    sdi_unpin(session->pin, 1);
    for (size_t i = 0; i < session->older_count; i++) sdi_unpin(session->older[i], 1);
    free(session->older);
    free(session);
}

/* Whether the session's own generation is the one to look into. That of a closed store has no successor. */
static bool session_is_current(const simdrive_session *session) {
    return sdi_is_current(session->store, session->pin->generation) || atomic_load(&session->store->closed);
}

static simdrive_status session_follow(simdrive_session *session) {
    sdi_pin **older = realloc(session->older, (session->older_count + 1) * sizeof *older);
    if (!older) return SIMDRIVE_ERROR_NO_MEMORY;
    session->older = older;
    sdi_pin *pin = sdi_pin_with_index(session->store);
    if (!pin) return SIMDRIVE_OK; /* closed meanwhile: the caller sees it too, and stays where he is */
    older[session->older_count++] = session->pin;
    sdi_release_index(session->pin->generation);
    session->pin = pin;
    return SIMDRIVE_OK;
}

/* read_at_once() of a session, which has its pin already. */
static inline bool session_read_at_once(simdrive_session *session, uint64_t hash, simdrive_bytes *payload,
                                        simdrive_status *status) {
    const uint8_t *base;
    uint64_t start;
    const sdi_generation *generation = session->pin->generation;
    if (SDI_SELDOM(!generation->plain || !sdi_is_current(session->store, generation))) return false;
    uint64_t end = sdi_index_probe(generation->index, hash, &base);
    if (end == SDI_INDEX_NONE) {
        if (!sdi_is_current(session->store, generation)) return false;
        *payload = (simdrive_bytes){0};
        *status = sdi_refuse(SIMDRIVE_NOT_FOUND);
        return true;
    }
    if (SDI_SELDOM(end == SDI_PROBE_UNDECIDED || !sdi_locate_payload(base, end, &start))) return false;
    *payload = (simdrive_bytes){base + start, (size_t)(end - start)};
    *status = SIMDRIVE_OK;
    return true;
}

SDI_COLD static simdrive_status session_read_carefully(simdrive_session *session, uint64_t key_hash,
                                                       simdrive_bytes *payload) {
    sdi_record record;
    const uint8_t *base;
    *payload = (simdrive_bytes){0};
    for (;;) {
        const sdi_generation *generation = session->pin->generation;
        /* Unlike a single read, a session may be on an old generation for long, and would go on finding old entries. */
        simdrive_status status = session_is_current(session)
                                     ? sdi_find_record(generation, key_hash, &record, &base)
                                     : SIMDRIVE_NOT_FOUND;
        if (status == SIMDRIVE_OK) {
            if (!sdi_passes_check(session->store, base, &record)) return SIMDRIVE_ERROR_CORRUPT;
            payload->data = base + record.start;
            payload->size = (size_t)sdi_record_size(&record);
            return SIMDRIVE_OK;
        }
        if (session_is_current(session)) return status;
        status = session_follow(session);
        if (status != SIMDRIVE_OK) return status;
    }
}

SDI_COLD static simdrive_status refuse_session_read(simdrive_bytes *payload) {
    if (payload) *payload = (simdrive_bytes){0};
    return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
}

simdrive_status simdrive_session_read_hash(simdrive_session *session, uint64_t key_hash, simdrive_bytes *payload) {
    simdrive_status status;
    if (SDI_SELDOM(!session || !payload)) return refuse_session_read(payload);
    if (session_read_at_once(session, key_hash, payload, &status)) return status;
    return session_read_carefully(session, key_hash, payload);
}

simdrive_status simdrive_session_read(simdrive_session *session, const void *key, size_t key_size,
                                      simdrive_bytes *payload) {
    if (SDI_SELDOM(!key && key_size > 0)) return refuse_session_read(payload);
    return simdrive_session_read_hash(session, sdi_hash(key, key_size), payload);
}

simdrive_status simdrive_session_read_batch_hash(simdrive_session *session, const uint64_t *key_hashes, size_t count,
                                                 simdrive_bytes *payloads, size_t *found) {
    group_result result;
    size_t found_count = 0, corrupt_count = 0;
    if (found) *found = 0;
    if (!session || (count > 0 && (!key_hashes || !payloads))) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    for (size_t first = 0; first < count; first += BATCH_GROUP) {
        size_t group = count - first < BATCH_GROUP ? count - first : BATCH_GROUP;
        while (!session_is_current(session) || (!find_group(session->store, session->pin->generation,
                                                            key_hashes + first, group, &result) &&
                                                !session_is_current(session))) {
            simdrive_status status = session_follow(session);
            if (status == SIMDRIVE_OK) continue;
            memset(payloads, 0, count * sizeof *payloads);
            return status;
        }
        if (result.unknown) {
            memset(payloads, 0, count * sizeof *payloads);
            return sdi_refuse(SIMDRIVE_ERROR_NO_MEMORY);
        }
        for (size_t i = 0; i < group; i++) {
            simdrive_bytes *payload = &payloads[first + i];
            payload->data = result.found[i] ? result.hits[i].base + result.records[i].start : NULL;
            payload->size = result.found[i] ? (size_t)sdi_record_size(&result.records[i]) : 0;
        }
        found_count += result.found_count;
        corrupt_count += result.corrupt_count;
    }
    if (found) *found = found_count;
    return corrupt_count > 0 ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK;
}

/* --- copied out, described --------------------------------------------------------------------------------------- */

simdrive_status sdi_read_bytes(const sdi_generation *generation, uint64_t offset, void *buffer, size_t size) {
    if (generation->file) {
        const sdi_os *os = generation->store->os;
        return os->read_at(os, generation->file, offset, buffer, size);
    }
    sdi_copy(buffer, sdi_base(generation) + offset, size);
    return SIMDRIVE_OK;
}

/* What `check_on_read` asks for where nothing may be read through the map. The part that is copied says nothing of the
 * rest, so all of the payload is read, unless `whole` is it. */
static simdrive_status check_by_reading(const sdi_generation *generation, const sdi_record *record,
                                        const uint8_t *whole) {
    enum { CHUNK = 1 << 16 };
    uint64_t size = sdi_record_size(record);
    uint32_t crc[2] = {0, 0};
    uint8_t *buffer = whole ? NULL : malloc(CHUNK);
    simdrive_status status = whole || buffer ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    for (uint64_t done = 0; status == SIMDRIVE_OK && done < size;) {
        size_t chunk = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        const uint8_t *bytes = whole ? whole + done : buffer;
        if (!whole) status = sdi_read_bytes(generation, record->start + done, buffer, chunk);
        for (unsigned kind = 0; kind < 2 && status == SIMDRIVE_OK; kind++)
            crc[kind] = sdi_crc((sdi_crc_kind)kind, crc[kind], bytes, chunk);
        done += chunk;
    }
    free(buffer);
    if (status == SIMDRIVE_OK && crc[0] != record->checksum && crc[1] != record->checksum)
        status = sdi_refuse(SIMDRIVE_ERROR_CORRUPT);
    return status;
}

/* Looking a key up touches metadata through the map: not when the file was cut short. */
static simdrive_status check_length(simdrive_store *store) {
    sdi_pin *pin = sdi_pin_current(store);
    sdi_file_info info = {.size = UINT64_MAX};
    simdrive_status status = SIMDRIVE_OK;
    uint64_t tail = sdi_tail(pin->generation); /* before the length, which may grow in between */
    if (pin->generation->file) status = store->os->info(store->os, pin->generation->file, &info);
    if (status == SIMDRIVE_OK && info.size < tail) status = sdi_refuse(SIMDRIVE_ERROR_IO);
    sdi_unpin(pin, 1);
    return status;
}

simdrive_status simdrive_read_copy(simdrive_store *store, const void *key, size_t key_size, uint64_t offset,
                                   void *buffer, size_t capacity, uint64_t *payload_size, size_t *copied) {
    sdi_pin *pin;
    sdi_record record;
    const uint8_t *base;
    size_t amount = 0;
    if (payload_size) *payload_size = 0;
    if (copied) *copied = 0;
    if (!store || (!key && key_size > 0) || (!buffer && capacity > 0))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = check_length(store);
    if (status == SIMDRIVE_OK) status = sdi_pin_record(store, sdi_hash(key, key_size), &pin, &record, &base);
    if (status != SIMDRIVE_OK) return status;
    uint64_t size = sdi_record_size(&record);
    if (offset < size) amount = size - offset < capacity ? (size_t)(size - offset) : capacity;
    if (amount > 0) status = sdi_read_bytes(pin->generation, record.start + offset, buffer, amount);
    if (status == SIMDRIVE_OK && amount > 0 && store->options.check_on_read) {
        status = check_by_reading(pin->generation, &record, amount == size ? buffer : NULL);
        if (status == SIMDRIVE_ERROR_CORRUPT) memset(buffer, 0, amount); /* damaged bytes are not given out */
    }
    sdi_unpin(pin, 1);
    if (status != SIMDRIVE_OK) return status;
    if (payload_size) *payload_size = size;
    if (copied) *copied = amount;
    return SIMDRIVE_OK;
}

static void describe(const sdi_record *record, simdrive_metadata *metadata) {
    metadata->key_hash = record->key_hash;
    metadata->prev_offset = record->prev;
    metadata->start = record->start;
    metadata->end = record->end;
    metadata->size = sdi_record_size(record);
    metadata->total_size = metadata->size + SDI_METADATA_SIZE;
    metadata->checksum = record->checksum;
}

simdrive_status simdrive_read_metadata(simdrive_store *store, const void *key, size_t key_size,
                                       simdrive_metadata *metadata) {
    sdi_pin *pin;
    sdi_record record;
    const uint8_t *base;
    if (!store || !metadata || (!key && key_size > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    memset(metadata, 0, sizeof *metadata);
    simdrive_status status = sdi_pin_record(store, sdi_hash(key, key_size), &pin, &record, &base);
    if (status != SIMDRIVE_OK) return status;
    describe(&record, metadata);
    sdi_unpin(pin, 1);
    return SIMDRIVE_OK;
}

simdrive_status simdrive_read_last(simdrive_store *store, simdrive_entry *entry) {
    simdrive_iterator *iterator = NULL;
    if (!entry) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    memset(entry, 0, sizeof *entry);
    simdrive_status status = simdrive_iterate(store, &iterator);
    if (status != SIMDRIVE_OK) return status;
    status = simdrive_iterator_next(iterator, entry);
    simdrive_iterator_close(iterator);
    return status == SIMDRIVE_END ? SIMDRIVE_NOT_FOUND : status;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

void simdrive_entry_release(simdrive_entry *entry) {
    if (!entry || !entry->private_pin) return;
    sdi_pin *pin = entry->private_pin;
    memset(entry, 0, sizeof *entry);
    sdi_unpin(pin, 1);
}

void simdrive_entries_release(simdrive_entry *entries, size_t count) {
    /* Neighbours often share a pin: give them back together. */
    for (size_t i = 0; i < count;) {
        sdi_pin *pin = entries[i].private_pin;
        size_t same = i;
        while (same < count && entries[same].private_pin == pin)
            memset(&entries[same++], 0, sizeof *entries);
        if (pin) sdi_unpin(pin, same - i);
        i = same;
    }
}

void simdrive_entry_clone(const simdrive_entry *entry, simdrive_entry *out) {
    if (entry->private_pin) sdi_pin_again(entry->private_pin, 1);
    *out = *entry;
}

static uint64_t entry_end(const simdrive_entry *entry) {
    return entry->private_start + entry->size;
}

void simdrive_entry_metadata(const simdrive_entry *entry, simdrive_metadata *metadata) {
    const uint8_t *payload = entry->data;
    memset(metadata, 0, sizeof *metadata);
    if (!payload) return;
    metadata->key_hash = sdi_load64(payload + entry->size);
    metadata->prev_offset = sdi_load64(payload + entry->size + SDI_PREV_FIELD);
    metadata->start = entry->private_start;
    metadata->end = entry_end(entry);
    metadata->size = entry->size;
    metadata->total_size = simdrive_entry_total_size(entry);
    metadata->checksum = simdrive_entry_checksum(entry);
}

uint64_t simdrive_entry_key_hash(const simdrive_entry *entry) {
    return entry->data ? sdi_load64((const uint8_t *)entry->data + entry->size) : 0;
}

uint32_t simdrive_entry_checksum(const simdrive_entry *entry) {
    return entry->data ? sdi_load32((const uint8_t *)entry->data + entry->size + SDI_CHECKSUM_FIELD) : 0;
}

uint64_t simdrive_entry_total_size(const simdrive_entry *entry) {
    return entry->data ? (uint64_t)entry->size + SDI_METADATA_SIZE : 0;
}

void simdrive_entry_offset_range(const simdrive_entry *entry, uint64_t *start, uint64_t *end) {
    if (start) *start = entry->private_start;
    if (end) *end = entry_end(entry);
}

void simdrive_entry_address_range(const simdrive_entry *entry, uintptr_t *start, uintptr_t *end) {
    if (start) *start = (uintptr_t)entry->data;
    if (end) *end = (uintptr_t)entry->data + entry->size;
}

bool simdrive_entry_is_valid(const simdrive_entry *entry) {
    if (!entry->data) return false;
    uint32_t stored = simdrive_entry_checksum(entry);
    return sdi_crc(SDI_CRC32C, 0, entry->data, entry->size) == stored ||
           sdi_crc(SDI_CRC32, 0, entry->data, entry->size) == stored;
}

simdrive_status simdrive_entry_elements(const simdrive_entry *entry, size_t element_size, const void **elements,
                                        size_t *count) {
    if (elements) *elements = NULL;
    if (count) *count = 0;
    if (!entry || !entry->data || element_size == 0 || !elements || !count)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    size_t alignment = element_size & (~element_size + 1);
    if (alignment > SIMDRIVE_ALIGNMENT) alignment = SIMDRIVE_ALIGNMENT;
    if (entry->size % element_size != 0 || (uintptr_t)entry->data % alignment != 0) return SIMDRIVE_ERROR_UNALIGNED;
    *elements = entry->data;
    *count = entry->size / element_size;
    return SIMDRIVE_OK;
}

size_t simdrive_entry_copy_elements(const simdrive_entry *entry, size_t element_size, void *buffer, size_t capacity) {
    if (!entry || !entry->data || element_size == 0 || !buffer) return 0;
    size_t count = entry->size / element_size;
    if (count > capacity) count = capacity;
    sdi_copy(buffer, entry->data, count * element_size);
    return count;
}

size_t simdrive_alignment(void) {
    return SIMDRIVE_ALIGNMENT;
}

const char *simdrive_kernels(void) {
    return sdi_kernels_active()->name;
}

int simdrive_last_os_error(void) {
    return sdi_get_os_error();
}
