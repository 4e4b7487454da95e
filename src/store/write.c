/* SPDX-License-Identifier: Apache-2.0 */
/* write.c — the public writing calls: each becomes a list of changes that is committed as one. */
#include <string.h>

#include "digest/hash.h"
#include "store/store.h"

enum { CHANGES_ON_STACK = 64 };

static simdrive_status apply(simdrive_store *store, const simdrive_change *changes, size_t count,
                             simdrive_batch_mode mode, size_t *applied, uint64_t *tail) {
    sdi_request request = {.turn.kind = SDI_TURN_WRITE, .changes = changes, .count = count, .mode = mode};
    if (applied) *applied = 0;
    simdrive_status status = sdi_commit(store, &request);
    if (status != SIMDRIVE_OK) return status;
    if (applied) *applied = request.applied;
    if (tail) *tail = request.tail;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_apply(simdrive_store *store, const simdrive_change *changes, size_t count,
                               simdrive_batch_mode mode, uint64_t *tail) {
    if (tail) *tail = 0;
    if (!store || (!changes && count > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (mode != SIMDRIVE_BATCH_ATOMIC && mode != SIMDRIVE_BATCH_PLAIN)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return apply(store, changes, count, mode, NULL, tail);
}

simdrive_status simdrive_write_hash(simdrive_store *store, uint64_t key_hash, const void *data, size_t size,
                                    uint64_t *tail) {
    if (tail) *tail = 0;
    if (!store || (!data && size > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    const simdrive_change change = {SIMDRIVE_PUT, key_hash, {data, size}};
    return apply(store, &change, 1, SIMDRIVE_BATCH_ATOMIC, NULL, tail);
}

simdrive_status simdrive_write(simdrive_store *store, const void *key, size_t key_size, const void *data, size_t size,
                               uint64_t *tail) {
    if (tail) *tail = 0;
    if (!key && key_size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return simdrive_write_hash(store, sdi_hash(key, key_size), data, size, tail);
}

/* Keys or hashes, payloads or none (deletes), as changes; false when a key is missing. */
static bool fill_changes(simdrive_change *changes, simdrive_operation operation, const simdrive_bytes *keys,
                         const uint64_t *hashes, const simdrive_bytes *payloads, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (keys && !keys[i].data && keys[i].size > 0) return false;
        changes[i].operation = operation;
        changes[i].key_hash = hashes ? hashes[i] : sdi_hash(keys[i].data, keys[i].size);
        changes[i].payload = payloads ? payloads[i] : (simdrive_bytes){0};
    }
    return true;
}

static simdrive_status apply_batch(simdrive_store *store, simdrive_operation operation, const simdrive_bytes *keys,
                                   const uint64_t *hashes, const simdrive_bytes *payloads, size_t count,
                                   size_t *applied, uint64_t *tail) {
    simdrive_change on_stack[CHANGES_ON_STACK], *changes = on_stack;
    if (applied) *applied = 0;
    if (tail) *tail = 0;
    if (!store || (count > 0 && ((!keys && !hashes) || (operation == SIMDRIVE_PUT && !payloads))))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (count == 0) return apply(store, NULL, 0, SIMDRIVE_BATCH_ATOMIC, applied, tail);
    if (count > SIZE_MAX / sizeof *changes) return SIMDRIVE_ERROR_NO_MEMORY;
    if (count > CHANGES_ON_STACK) {
        changes = malloc(count * sizeof *changes);
        if (!changes) return SIMDRIVE_ERROR_NO_MEMORY;
    }
    simdrive_status status = fill_changes(changes, operation, keys, hashes, payloads, count)
                                 ? apply(store, changes, count, SIMDRIVE_BATCH_ATOMIC, applied, tail)
                                 : sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (changes != on_stack) free(changes);
    return status;
}

simdrive_status simdrive_write_batch(simdrive_store *store, const simdrive_bytes *keys, const simdrive_bytes *payloads,
                                     size_t count, uint64_t *tail) {
    return apply_batch(store, SIMDRIVE_PUT, keys, NULL, payloads, count, NULL, tail);
}

simdrive_status simdrive_write_batch_hash(simdrive_store *store, const uint64_t *key_hashes,
                                          const simdrive_bytes *payloads, size_t count, uint64_t *tail) {
    return apply_batch(store, SIMDRIVE_PUT, NULL, key_hashes, payloads, count, NULL, tail);
}

simdrive_status simdrive_delete_hash(simdrive_store *store, uint64_t key_hash, uint64_t *tail) {
    size_t deleted = 0;
    simdrive_status status = apply_batch(store, SIMDRIVE_DELETE, NULL, &key_hash, NULL, 1, &deleted, tail);
    return status == SIMDRIVE_OK && deleted == 0 ? SIMDRIVE_NOT_FOUND : status;
}

simdrive_status simdrive_delete(simdrive_store *store, const void *key, size_t key_size, uint64_t *tail) {
    if (tail) *tail = 0;
    if (!key && key_size > 0) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return simdrive_delete_hash(store, sdi_hash(key, key_size), tail);
}

simdrive_status simdrive_delete_batch(simdrive_store *store, const simdrive_bytes *keys, size_t count, size_t *deleted,
                                      uint64_t *tail) {
    return apply_batch(store, SIMDRIVE_DELETE, keys, NULL, NULL, count, deleted, tail);
}

simdrive_status simdrive_delete_batch_hash(simdrive_store *store, const uint64_t *key_hashes, size_t count,
                                           size_t *deleted, uint64_t *tail) {
    return apply_batch(store, SIMDRIVE_DELETE, NULL, key_hashes, NULL, count, deleted, tail);
}

/* --- from entry to entry ----------------------------------------------------------------------------------------- */

/* The live entry of a key, its checksum verified. */
static simdrive_status read_verified(simdrive_store *store, const void *key, size_t key_size, simdrive_entry *entry) {
    simdrive_status status = simdrive_read(store, key, key_size, entry);
    if (status != SIMDRIVE_OK || simdrive_entry_is_valid(entry)) return status;
    simdrive_entry_release(entry);
    return SIMDRIVE_ERROR_CORRUPT;
}

simdrive_status simdrive_rename(simdrive_store *store, const void *old_key, size_t old_key_size, const void *new_key,
                                size_t new_key_size, uint64_t *tail) {
    simdrive_entry entry;
    if (tail) *tail = 0;
    if (!store || (!old_key && old_key_size > 0) || (!new_key && new_key_size > 0))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    uint64_t old_hash = sdi_hash(old_key, old_key_size), new_hash = sdi_hash(new_key, new_key_size);
    if (old_hash == new_hash) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    /* The place is taken before the entry is read: no other write of the key may come in between. */
    simdrive_status status = sdi_place_take(store, true);
    if (status != SIMDRIVE_OK) return status;
    status = read_verified(store, old_key, old_key_size, &entry);
    if (status == SIMDRIVE_OK) {
        const simdrive_change changes[2] = {{SIMDRIVE_PUT, new_hash, {entry.data, entry.size}},
                                            {SIMDRIVE_DELETE, old_hash, {NULL, 0}}};
        status = sdi_append(store, changes, 2, SIMDRIVE_BATCH_ATOMIC, NULL);
        simdrive_entry_release(&entry);
    }
    if (status == SIMDRIVE_OK && tail)
        *tail = sdi_tail(atomic_load_explicit(&store->current, memory_order_relaxed));
    sdi_place_leave(store);
    if (status == SIMDRIVE_OK) sdi_after_append(store);
    return status;
}

simdrive_status simdrive_copy(simdrive_store *store, const void *key, size_t key_size, simdrive_store *target,
                              uint64_t *tail) {
    simdrive_entry entry;
    if (tail) *tail = 0;
    if (!store || !target || store == target || (!key && key_size > 0))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = read_verified(store, key, key_size, &entry);
    if (status != SIMDRIVE_OK) return status;
    status = simdrive_write_hash(target, simdrive_entry_key_hash(&entry), entry.data, entry.size, tail);
    simdrive_entry_release(&entry);
    return status;
}

simdrive_status simdrive_transfer(simdrive_store *store, const void *key, size_t key_size, simdrive_store *target,
                                  uint64_t *tail) {
    if (tail) *tail = 0;
    if (!store || !target || store == target || (!key && key_size > 0))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    /* The source's place is held, so that what is deleted is what was copied. The target's is taken and left within:
     * two threads that transfer in opposite directions would wait for each other, hence the order by address. */
    if (store->options.read_only || target->options.read_only) return SIMDRIVE_ERROR_READ_ONLY;
    bool source_first = (uintptr_t)store < (uintptr_t)target;
    simdrive_status status = sdi_place_take(source_first ? store : target, true);
    if (status != SIMDRIVE_OK) return status;
    status = sdi_place_take(source_first ? target : store, true);
    if (status != SIMDRIVE_OK) {
        sdi_place_leave(source_first ? store : target);
        return status;
    }
    simdrive_entry entry;
    status = read_verified(store, key, key_size, &entry);
    if (status == SIMDRIVE_OK) {
        uint64_t hash = simdrive_entry_key_hash(&entry);
        const simdrive_change put = {SIMDRIVE_PUT, hash, {entry.data, entry.size}};
        const simdrive_change drop = {SIMDRIVE_DELETE, hash, {NULL, 0}};
        status = sdi_append(target, &put, 1, SIMDRIVE_BATCH_ATOMIC, NULL);
        if (status == SIMDRIVE_OK) status = sdi_append(store, &drop, 1, SIMDRIVE_BATCH_ATOMIC, NULL);
        simdrive_entry_release(&entry);
    }
    if (status == SIMDRIVE_OK && tail)
        *tail = sdi_tail(atomic_load_explicit(&target->current, memory_order_relaxed));
    sdi_place_leave(source_first ? target : store);
    sdi_place_leave(source_first ? store : target);
    if (status == SIMDRIVE_OK) {
        sdi_after_append(target);
        sdi_after_append(store);
    }
    return status;
}
