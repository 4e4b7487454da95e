/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c — what whoever has the writer's place does around an append: damaged bytes are moved out of its way, and it
 * is made durable or taken back. */
#include <stdio.h>
#include <string.h>

#include "store/store.h"

enum { COPY_CHUNK = 1 << 20, QUARANTINE_NAMES = 1000 };

/* --- taking back, and making durable ----------------------------------------------------------------------------- */

simdrive_status sdi_cut(simdrive_store *store, sdi_file *file, uint64_t size) {
    store->os->claim_length(store->os, file);
    simdrive_status status = store->os->truncate(store->os, file, size);
    store->os->release_length(store->os, file);
    return status;
}

simdrive_status sdi_roll_back(simdrive_store *store, sdi_generation *generation, simdrive_status status) {
    int os_error = sdi_get_os_error();
    sdi_tail_map_forget(generation);
    if (sdi_cut(store, generation->file, sdi_tail(generation)) != SIMDRIVE_OK) sdi_poison(store);
    sdi_set_os_error(os_error);
    return status;
}

simdrive_status sdi_sync_file(simdrive_store *store, sdi_generation *generation, uint64_t tail) {
    uint64_t began = sdi_monotonic_ns();
    simdrive_status status = store->os->sync(store->os, generation->file);
    if (status == SIMDRIVE_OK && atomic_load_explicit(&store->folder_unsynced, memory_order_relaxed))
        status = store->os->sync_folder_of(store->os, store->real_path);
    sdi_histogram_record(&store->stats.sync, sdi_monotonic_ns() - began);
    /* A compaction that has left the place may have failed to sync the folder meanwhile: a second try is no proof. */
    if (status == SIMDRIVE_OK && sdi_place_ready(store) != SIMDRIVE_OK) return sdi_refuse(SIMDRIVE_ERROR_POISONED);
    if (status != SIMDRIVE_OK) {
        sdi_poison(store);
        return status;
    }
    atomic_store_explicit(&store->folder_unsynced, false, memory_order_relaxed);
    atomic_store_explicit(&store->durable_tail, tail, memory_order_release);
    return SIMDRIVE_OK;
}

simdrive_status sdi_sync_commit(simdrive_store *store, sdi_generation *generation, uint64_t tail) {
    if (store->options.sync == SIMDRIVE_SYNC_COMMIT) return sdi_sync_file(store, generation, tail);
    if (store->options.sync == SIMDRIVE_SYNC_INTERVAL &&
        atomic_exchange_explicit(&store->unsynced, true, memory_order_relaxed) == false) {
        sdi_mutex_lock(&store->mutex);
        sdi_condition_wake_all(&store->sync_wanted);
        sdi_mutex_unlock(&store->mutex);
    }
    return SIMDRIVE_OK;
}

simdrive_status simdrive_sync(simdrive_store *store, uint64_t *durable_tail) {
    if (durable_tail) *durable_tail = 0;
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_place_take(store, false);
    if (status != SIMDRIVE_OK) return status;
    sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_relaxed);
    uint64_t tail = sdi_tail(generation);
    atomic_store_explicit(&store->unsynced, false, memory_order_relaxed);
    if (atomic_load_explicit(&store->poisoned, memory_order_relaxed)) {
        status = SIMDRIVE_ERROR_POISONED;
    } else if (tail != atomic_load_explicit(&store->durable_tail, memory_order_relaxed) ||
               atomic_load_explicit(&store->folder_unsynced, memory_order_relaxed)) {
        status = sdi_sync_file(store, generation, tail);
    }
    if (durable_tail) *durable_tail = atomic_load_explicit(&store->durable_tail, memory_order_relaxed);
    sdi_place_leave(store);
    return status;
}

/* --- damaged bytes behind the tail ------------------------------------------------------------------------------- */

static simdrive_status copy_out(simdrive_store *store, sdi_file *from, uint64_t offset, uint64_t size, sdi_file *to) {
    uint8_t *buffer = malloc(COPY_CHUNK);
    simdrive_status status = buffer ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    for (uint64_t done = 0; status == SIMDRIVE_OK && done < size;) {
        size_t chunk = size - done < COPY_CHUNK ? (size_t)(size - done) : COPY_CHUNK;
        status = store->os->read_at(store->os, from, offset + done, buffer, chunk);
        if (status == SIMDRIVE_OK) status = store->os->write_at(store->os, to, done, buffer, chunk);
        done += chunk;
    }
    if (status == SIMDRIVE_OK) status = store->os->sync(store->os, to);
    free(buffer);
    return status;
}

/* A new file `<store>.tail-<offset>`, or with a number behind it when that name is taken. */
static simdrive_status create_quarantine(simdrive_store *store, uint64_t offset, sdi_file **file, char **path) {
    char suffix[64];
    for (unsigned number = 1; number <= QUARANTINE_NAMES; number++) {
        int length = snprintf(suffix, sizeof suffix, ".tail-%llu", (unsigned long long)offset);
        if (number > 1) snprintf(suffix + length, sizeof suffix - (size_t)length, "-%u", number);
        *path = sdi_path_with_suffix(store->real_path, suffix);
        if (!*path) return SIMDRIVE_ERROR_NO_MEMORY;
        simdrive_status status = store->os->open(store->os, *path, SDI_OPEN_CREATE_NEW, 0600, file);
        if (status == SIMDRIVE_OK) return status;
        free(*path);
        *path = NULL;
        if (status != SIMDRIVE_ERROR_EXISTS) return status;
    }
    return SIMDRIVE_ERROR_EXISTS;
}

static simdrive_status quarantine(simdrive_store *store, sdi_file *from, uint64_t offset, uint64_t size) {
    sdi_file *file = NULL;
    char *path = NULL;
    simdrive_status status = create_quarantine(store, offset, &file, &path);
    if (status != SIMDRIVE_OK) return status;
    status = store->os->copy_attributes(store->os, from, file);
    if (status == SIMDRIVE_OK) status = copy_out(store, from, offset, size, file);
    if (status == SIMDRIVE_OK) status = store->os->sync_folder_of(store->os, path);
    store->os->close(store->os, file);
    if (status != SIMDRIVE_OK) {
        int os_error = sdi_get_os_error();
        store->os->unlink(store->os, path);
        sdi_set_os_error(os_error);
    }
    free(path);
    return status;
}

/* Read with system calls: the bytes behind the tail may be in a hole that the medium cannot give. */
static simdrive_status range_is_zero(simdrive_store *store, sdi_file *file, uint64_t offset, uint64_t size,
                                     bool *zero) {
    enum { CHUNK = 1 << 16 };
    uint8_t *buffer = malloc(CHUNK);
    simdrive_status status = buffer ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    *zero = true;
    for (uint64_t done = 0; status == SIMDRIVE_OK && *zero && done < size;) {
        size_t chunk = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        status = store->os->read_at(store->os, file, offset + done, buffer, chunk);
        if (status == SIMDRIVE_OK) *zero = sdi_is_zero(buffer, chunk);
        done += chunk;
    }
    free(buffer);
    return status;
}

simdrive_status sdi_clear_damaged_tail(simdrive_store *store, sdi_generation *generation) {
    if (atomic_load_explicit(&store->damaged_tail, memory_order_relaxed) == 0) return SIMDRIVE_OK;
    uint64_t tail = sdi_tail(generation);
    sdi_file_info info;
    bool zero = false;
    simdrive_status status = store->os->info(store->os, generation->file, &info);
    if (status != SIMDRIVE_OK) return status;
    uint64_t size = info.size > tail ? info.size - tail : 0; /* an earlier attempt may have cut it */
    status = range_is_zero(store, generation->file, tail, size, &zero);
    if (status != SIMDRIVE_OK) return status;
    if (!zero && (generation->damage.keep_tail || size <= store->options.quarantine_max_bytes)) {
        status = quarantine(store, generation->file, tail, size);
        if (status != SIMDRIVE_OK) return status;
        sdi_count(&store->quarantined, (int64_t)size);
    }
    status = sdi_cut(store, generation->file, tail);
    if (status != SIMDRIVE_OK) return status;
    sdi_note_behind(store, 0, true);
    return sdi_sync_file(store, generation, tail);
}
