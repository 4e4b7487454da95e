/* SPDX-License-Identifier: Apache-2.0 */
/* open.c — opening and closing: from a path, or from bytes in memory, to a handle; and what a handle says of itself.
 *
 * Opening a path never changes a file that has bytes in it:
 *   1  Open, and for a writer lock it. Then look whether the path still names the locked file: a compaction by another
 *      process may have put a new one in its place in between. If so, begin again.
 *   2  Map it, and find its entries (recover.c).
 *      With `at_offset` that must be a tail on the chain of the whole file; then the bytes before it are all there is.
 *   3  A writer is refused when the chain is broken in its middle; what lies behind the last entry is left for the
 *      first write to move aside (writer.c).
 */
#include <string.h>

#include "store/recover.h"
#include "store/store.h"

enum { OPEN_ATTEMPTS = 100, FOREIGN_LOOKS = 4, INTERVAL_DEFAULT_MS = 1000, FILE_MODE_DEFAULT = 0666 };

/* --- options ----------------------------------------------------------------------------------------------------- */

bool sdi_take_struct(void *known, size_t known_size, const void *given, size_t given_size) {
    if (given_size < sizeof(size_t) || given_size > 4096) return false;
    memcpy(known, given, given_size < known_size ? given_size : known_size);
    /* What a newer caller asks for beyond what is known here must be nothing. */
    return given_size <= known_size ||
           sdi_is_zero((const uint8_t *)given + known_size, given_size - known_size);
}

static simdrive_status take_options(const simdrive_open_options *given, simdrive_open_options *out) {
    memset(out, 0, sizeof *out);
    if (given && !sdi_take_struct(out, sizeof *out, given, given->struct_size))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    out->struct_size = sizeof *out;
    if (out->read_only && (out->must_create || out->reset_foreign)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->must_create && out->must_exist) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->at_offset != 0 && !out->read_only) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->checksum < SIMDRIVE_CHECKSUM_DEFAULT || out->checksum > SIMDRIVE_CHECKSUM_CRC32)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->saved_index < SIMDRIVE_SAVED_INDEX_AUTO || out->saved_index > SIMDRIVE_SAVED_INDEX_ALWAYS)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->sync < SIMDRIVE_SYNC_NONE || out->sync > SIMDRIVE_SYNC_INTERVAL)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->append < SIMDRIVE_APPEND_WRITE || out->append > SIMDRIVE_APPEND_MAP)
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->sync_interval_ms == 0) out->sync_interval_ms = INTERVAL_DEFAULT_MS;
    if (out->file_mode == 0) out->file_mode = FILE_MODE_DEFAULT;
    if (out->compact_stale_percent > 100) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if (out->compact_min_bytes == 0) out->compact_min_bytes = SDI_COMPACT_MIN_DEFAULT;
    if (out->read_only) out->compact_stale_percent = 0;
    if (out->quarantine_max_bytes == 0) out->quarantine_max_bytes = SDI_QUARANTINE_DEFAULT;
    return SIMDRIVE_OK;
}

char *sdi_path_with_suffix(const char *base, const char *suffix) {
    size_t base_size = strlen(base), suffix_size = strlen(suffix);
    char *path = malloc(base_size + suffix_size + 1);
    if (!path) return NULL;
    memcpy(path, base, base_size);
    memcpy(path + base_size, suffix, suffix_size + 1);
    return path;
}

simdrive_status sdi_take_work_options(const simdrive_work_options *given, simdrive_work_options *out) {
    memset(out, 0, sizeof *out);
    if (given && !sdi_take_struct(out, sizeof *out, given, given->struct_size))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return SIMDRIVE_OK;
}

simdrive_status sdi_report_progress(const simdrive_work_options *options, uint64_t done, uint64_t total) {
    if (!options->progress || options->progress(options->user, done, total) == SIMDRIVE_OK) return SIMDRIVE_OK;
    return SIMDRIVE_ERROR_CANCELLED;
}

void sdi_give_report(simdrive_report *known, simdrive_report *out) {
    size_t size = out->struct_size;
    known->struct_size = size;
    memcpy(out, known, size < sizeof *known ? size : sizeof *known);
}

/* --- the handle -------------------------------------------------------------------------------------------------- */

static simdrive_status store_create(const sdi_os *os, const char *path, const simdrive_open_options *options,
                                    simdrive_store **out) {
    simdrive_store *store = calloc(1, sizeof *store);
    if (!store) return SIMDRIVE_ERROR_NO_MEMORY;
    store->os = os;
    store->options = *options;
    store->processors = sdi_processor_count();
    store->checksum = options->checksum == SIMDRIVE_CHECKSUM_CRC32 ? SDI_CRC32 : SDI_CRC32C;
    atomic_init(&store->references, 1);
    store->path = sdi_path_with_suffix(path, "");
    simdrive_status status = store->path ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) status = sdi_mutex_init(&store->mutex);
    if (status != SIMDRIVE_OK) goto no_mutex;
    status = sdi_condition_init(&store->place_left);
    if (status != SIMDRIVE_OK) goto no_condition;
    status = sdi_condition_init(&store->sync_wanted);
    if (status != SIMDRIVE_OK) goto no_second_condition;
    status = sdi_condition_init(&store->changed);
    if (status != SIMDRIVE_OK) goto no_third_condition;
    status = sdi_condition_init(&store->compaction.ended);
    if (status != SIMDRIVE_OK) goto no_fourth_condition;
    *out = store;
    return SIMDRIVE_OK;

no_fourth_condition:
    sdi_condition_destroy(&store->changed);
no_third_condition:
    sdi_condition_destroy(&store->sync_wanted);
no_second_condition:
    sdi_condition_destroy(&store->place_left);
no_condition:
    sdi_mutex_destroy(&store->mutex);
no_mutex:
    free(store->path);
    free(store);
    return status;
}

/* The index, the counters and the damage that were found become the generation's. */
static void adopt(sdi_generation *generation, sdi_recovery *recovery) {
    simdrive_store *store = generation->store;
    sdi_counters *counters = &generation->counters;
    generation->index = recovery->index;
    generation->damage = recovery->damage;
    atomic_store_explicit(&generation->tail, recovery->tail, memory_order_relaxed);
    atomic_store_explicit(&counters->entries, recovery->entries, memory_order_relaxed);
    atomic_store_explicit(&counters->tombstones, recovery->tombstones, memory_order_relaxed);
    atomic_store_explicit(&counters->stale_entries, recovery->stale_entries, memory_order_relaxed);
    atomic_store_explicit(&counters->live_bytes, recovery->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&counters->stale_bytes, recovery->stale_bytes, memory_order_relaxed);
    if (recovery->has_entries) store->checksum = recovery->last_checksum;
}

/* `os` as in sdi_recovery_options. */
static simdrive_status recover(simdrive_store *store, const sdi_os *os, const uint8_t *file, uint64_t size,
                               sdi_recovery *out) {
    const simdrive_open_options *options = &store->options;
    const sdi_recovery_options how = {.check_window = options->verify_all ? UINT64_MAX : SDI_CHECK_WINDOW,
                                      .likely = store->checksum,
                                      .os = os};
    simdrive_status status = sdi_recover(file, size, &how, out);
    if (status == SIMDRIVE_ERROR_NOT_A_STORE && options->reset_foreign) {
        memset(out, 0, sizeof *out);
        out->damage.kind = SIMDRIVE_DAMAGE_TAIL;
        out->index = sdi_index_create(0, file);
        status = out->index ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    }
    return status;
}

static bool refuses_writers(simdrive_damage damage) {
    return damage == SIMDRIVE_DAMAGE_MIDDLE || damage == SIMDRIVE_DAMAGE_AMBIGUOUS;
}

/* Whether links lead from `tail` to 0 by way of `offset`. Less than opening asks for, and no index is made. */
static bool chain_passes(const uint8_t *file, uint64_t tail, uint64_t offset) {
    bool passed = false;
    sdi_record record;
    for (uint64_t position = tail; position != 0; position = record.prev) {
        passed |= position == offset;
        if (position < SDI_ENTRY_MIN || !sdi_decode(file, position - SDI_METADATA_SIZE, &record)) return false;
    }
    return passed;
}

/* Whether an entry of the store ends at `offset`. Bytes before it that make a store are no proof: the first payload may
 * be one. */
static simdrive_status check_offset(simdrive_store *store, const uint8_t *file, uint64_t size, uint64_t offset) {
    sdi_recovery recovery = {0};
    sdi_walk walk;
    sdi_record record;
    bool found = false;
    if (offset < SDI_ENTRY_MIN || offset > size) return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    if (chain_passes(file, size, offset)) return SIMDRIVE_OK;
    simdrive_status status = recover(store, store->os, file, size, &recovery);
    if (status != SIMDRIVE_OK) return status;
    sdi_walk_begin(&walk, file, &recovery.damage, recovery.tail);
    do {
        found = walk.position == offset;
    } while (!found && sdi_walk_next(&walk, &record));
    sdi_index_destroy(recovery.index);
    sdi_damage_free(&recovery.damage);
    return found ? SIMDRIVE_OK : sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
}

/* The same as load() for a store as it was. */
static simdrive_status load_earlier(sdi_generation *generation, uint64_t size) {
    simdrive_store *store = generation->store;
    uint64_t offset = store->options.at_offset;
    sdi_recovery recovery = {0};
    simdrive_status status = check_offset(store, sdi_base(generation), size, offset);
    if (status != SIMDRIVE_OK) return status;
    status = recover(store, store->os, sdi_base(generation), offset, &recovery);
    if (status != SIMDRIVE_OK) return status == SIMDRIVE_ERROR_NOT_A_STORE ? SIMDRIVE_ERROR_STALE_OFFSET : status;
    adopt(generation, &recovery);
    return recovery.damage.kind == SIMDRIVE_DAMAGE_NONE ? SIMDRIVE_OK : sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
}

/* What is behind the tail, in bytes that end with zeros from `bytes_end` on. Zeros alone are no damage: a writer has
 * set them aside, and not given them back yet (append_map.c). The first write cuts them off all the same. */
static void note_tail(sdi_generation *generation, uint64_t file_size, uint64_t bytes_end) {
    uint64_t tail = sdi_tail(generation), behind = file_size > tail ? file_size - tail : 0;
    bool is_room = bytes_end <= tail;
    if (generation->damage.kind <= SIMDRIVE_DAMAGE_TAIL)
        generation->damage.kind = behind > 0 && !is_room ? SIMDRIVE_DAMAGE_TAIL : SIMDRIVE_DAMAGE_NONE;
    sdi_note_behind(generation->store, behind, is_room);
}

/* What a look at a file begins with. */
typedef struct file_look {
    uint64_t file_size;
    uint64_t entries_end;
    uint64_t beginning; /* its first bytes, which the first write of all makes true last */
} file_look;

/* The other members, from a file of `file_size` bytes that is mapped; also the end of its bytes. */
static uint64_t begin_look(sdi_generation *generation, file_look *look) {
    const uint8_t *file = sdi_base(generation);
    uint64_t bytes_end;
    look->beginning = look->file_size >= sizeof look->beginning ? sdi_load64(file) : 0;
    look->entries_end = sdi_end_of_entries(file, look->file_size, 0, generation->store->checksum, &bytes_end);
    return bytes_end;
}

/* Steps 2 and 3; the file is the generation's, and has `look->file_size` bytes. */
static simdrive_status load(sdi_generation *generation, file_look *look) {
    simdrive_store *store = generation->store;
    sdi_recovery recovery = {0};
    uint64_t file_size = look->file_size;
    simdrive_status status = sdi_generation_map(generation, file_size > 0 ? file_size : 1);
    if (status != SIMDRIVE_OK) return status;
    uint64_t bytes_end = begin_look(generation, look), size = look->entries_end;
    if (store->options.at_offset != 0) return load_earlier(generation, size);
    if (sdi_saved_index_load(generation, &size)) {
        note_tail(generation, file_size, bytes_end);
        return SIMDRIVE_OK;
    }
    look->entries_end = size;
    status = sdi_generation_map(generation, size > 0 ? size : 1);
    if (status == SIMDRIVE_OK) status = recover(store, store->os, sdi_base(generation), size, &recovery);
    if (status != SIMDRIVE_OK) return status;
    adopt(generation, &recovery);
    note_tail(generation, file_size, bytes_end);
    store->seen_end = size;
    if (!store->options.read_only && refuses_writers(generation->damage.kind)) return SIMDRIVE_ERROR_CORRUPT;
    /* Beside a writer at work, what was found may be old by now. */
    bool follows = store->options.read_only && generation->damage.kind <= SIMDRIVE_DAMAGE_TAIL;
    return follows ? sdi_keep_up(generation, size) : SIMDRIVE_OK;
}

/* --- the sync thread of the interval policy ---------------------------------------------------------------------- */

static void sync_run(void *user) {
    simdrive_store *store = user;
    sdi_mutex_lock(&store->mutex);
    while (!store->sync_thread_stop) {
        if (!atomic_load_explicit(&store->unsynced, memory_order_relaxed)) {
            sdi_condition_wait(&store->sync_wanted, &store->mutex);
            continue;
        }
        /* Something was written: give others the interval to join it. */
        uint64_t until = sdi_monotonic_ns() + (uint64_t)store->options.sync_interval_ms * 1000000;
        for (uint64_t now = sdi_monotonic_ns(); now < until && !store->sync_thread_stop; now = sdi_monotonic_ns())
            sdi_condition_wait_ms(&store->sync_wanted, &store->mutex, (uint32_t)((until - now) / 1000000) + 1);
        if (store->sync_thread_stop) break;
        sdi_mutex_unlock(&store->mutex);
        if (simdrive_sync(store, NULL) == SIMDRIVE_ERROR_BUSY) sdi_thread_yield(); /* a pushed stream: later */
        sdi_mutex_lock(&store->mutex);
    }
    sdi_mutex_unlock(&store->mutex);
}

static simdrive_status start_sync_thread(simdrive_store *store) {
    if (store->options.sync != SIMDRIVE_SYNC_INTERVAL || store->options.read_only) return SIMDRIVE_OK;
    simdrive_status status = sdi_thread_start(&store->sync_thread, sync_run, store);
    store->sync_thread_runs = status == SIMDRIVE_OK;
    return status;
}

static void stop_sync_thread(simdrive_store *store) {
    if (!store->sync_thread_runs) return;
    sdi_mutex_lock(&store->mutex);
    store->sync_thread_stop = true;
    sdi_condition_wake_all(&store->sync_wanted);
    sdi_mutex_unlock(&store->mutex);
    sdi_thread_join(&store->sync_thread);
    store->sync_thread_runs = false;
}

/* --- opening a path ---------------------------------------------------------------------------------------------- */

static simdrive_status open_file(simdrive_store *store, sdi_file **out, bool *created) {
    const simdrive_open_options *options = &store->options;
    const sdi_os *os = store->os;
    *created = false;
    if (options->read_only) return os->open(os, store->path, SDI_OPEN_READ, 0, out);
    if (options->must_create) {
        *created = true;
        return os->open(os, store->path, SDI_OPEN_CREATE_NEW, options->file_mode, out);
    }
    simdrive_status status = os->open(os, store->path, SDI_OPEN_WRITE, 0, out);
    if (status != SIMDRIVE_ERROR_NO_SUCH_FILE || options->must_exist) return status;
    *created = true;
    return os->open(os, store->path, SDI_OPEN_CREATE, options->file_mode, out);
}

/* A call that fails leaves no file that it has made. Whether it has can be told with `must_create` only. The lock is
 * held, so nobody else has written to it. */
static void take_back_new_file(const simdrive_store *store, sdi_file *file) {
    const sdi_os *os = store->os;
    sdi_file_info info, named;
    int os_error = sdi_get_os_error();
    if (store->options.must_create && os->info(os, file, &info) == SIMDRIVE_OK &&
        os->path_info(os, store->path, &named) == SIMDRIVE_OK && named.id.device == info.id.device &&
        named.id.number == info.id.number && info.size == 0)
        os->unlink(os, store->path);
    sdi_set_os_error(os_error);
}

/* Step 1. */
static simdrive_status open_and_lock(sdi_generation *generation, uint64_t *size) {
    simdrive_store *store = generation->store;
    const sdi_os *os = store->os;
    for (unsigned attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        sdi_file_info info, named;
        sdi_file *file = NULL;
        bool created;
        simdrive_status status = open_file(store, &file, &created);
        if (status != SIMDRIVE_OK) return status;
        if (store->options.read_only) {
            os->share_presence(os, file); /* as long as it is open: reclaim.c */
            os->share_length(os, file);   /* until it is loaded */
        } else {
            status = os->lock(os, file);
        }
        bool locked = status == SIMDRIVE_OK;
        if (status == SIMDRIVE_OK) status = os->info(os, file, &info);
        if (status == SIMDRIVE_OK && !store->options.read_only) {
            status = os->path_info(os, store->path, &named);
            bool replaced = status == SIMDRIVE_ERROR_NO_SUCH_FILE ||
                            (status == SIMDRIVE_OK &&
                             (named.id.device != info.id.device || named.id.number != info.id.number));
            if (replaced) {
                os->close(os, file);
                continue;
            }
        }
        if (status == SIMDRIVE_OK && !store->real_path) status = os->resolve(os, store->path, &store->real_path);
        /* A file's name must last as long as what is synced into it. */
        bool sync_name = created && store->options.sync != SIMDRIVE_SYNC_NONE;
        if (status == SIMDRIVE_OK && sync_name) status = os->sync_folder_of(os, store->real_path);
        if (status != SIMDRIVE_OK) {
            if (locked) take_back_new_file(store, file);
            os->close(os, file);
            return status;
        }
        generation->file_id = info.id;
        /* Whoever created a file that was there may not have synced its name. */
        atomic_store_explicit(&store->folder_unsynced, !store->options.read_only && !sync_name, memory_order_relaxed);
        *size = info.size;
        generation->file = file;
        return SIMDRIVE_OK;
    }
    return SIMDRIVE_ERROR_LOCKED; /* replaced again and again: somebody is at work on it */
}

/* Whether the file is no longer as it was when the look at it began. */
static bool has_changed(sdi_generation *generation, const file_look *look) {
    const sdi_os *os = generation->store->os;
    sdi_file_info info;
    if (os->info(os, generation->file, &info) != SIMDRIVE_OK) return false;
    file_look now = {.file_size = info.size};
    if (now.file_size != look->file_size) return true;
    if (sdi_generation_map(generation, now.file_size > 0 ? now.file_size : 1) != SIMDRIVE_OK) return false;
    begin_look(generation, &now);
    return now.entries_end != look->entries_end || now.beginning != look->beginning;
}

/* Whether a reader saw damage, or no store at all, while the file was changing: then it may be none. Of the first write
 * of all a look may see the lower part, and not find its mark any more. When it sees that, the write is over, and one
 * more look finds it; but a file of somebody else's may be growing all the time, and each look is at all of it. */
static bool look_again(sdi_generation *generation, simdrive_status status, const file_look *look, unsigned looks) {
    bool seems_damaged = status == SIMDRIVE_OK && generation->damage.kind > SIMDRIVE_DAMAGE_TAIL;
    bool seems_foreign = status == SIMDRIVE_ERROR_NOT_A_STORE && looks < FOREIGN_LOOKS;
    return generation->store->options.read_only && looks < OPEN_ATTEMPTS && (seems_damaged || seems_foreign) &&
           has_changed(generation, look);
}

/* Every entry was looked at that no saved index told of, those too that a writer has added meanwhile. */
static void note_opening(sdi_generation *generation, uint64_t began) {
    sdi_stats *stats = &generation->store->stats;
    uint64_t walked = sdi_entries_in_file(generation) - generation->store->saved.entries;
    atomic_store_explicit(&stats->open_entries_walked, walked, memory_order_relaxed);
    atomic_store_explicit(&stats->open_ns, sdi_monotonic_ns() - began, memory_order_relaxed);
    sdi_work_begin(generation, NULL);
}

simdrive_status sdi_open_generation(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    file_look look = {0};
    uint64_t began = sdi_monotonic_ns();
    simdrive_status status = open_and_lock(generation, &look.file_size);
    if (status != SIMDRIVE_OK) return status;
    status = load(generation, &look);
    for (unsigned looks = 0; look_again(generation, status, &look, looks); looks++) {
        sdi_file_info info;
        sdi_generation_forget(generation);
        status = store->os->info(store->os, generation->file, &info);
        look.file_size = info.size;
        if (status == SIMDRIVE_OK) status = load(generation, &look);
    }
    if (store->options.read_only) store->os->release_length(store->os, generation->file);
    if (status == SIMDRIVE_OK) note_opening(generation, began);
    return status;
}

simdrive_status sdi_open_with_os(const sdi_os *os, const char *path, const simdrive_open_options *given,
                                 simdrive_store **out) {
    simdrive_open_options options;
    simdrive_store *store = NULL;
    sdi_set_os_error(0);
    if (out) *out = NULL;
    if (!path || !*path || !out) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = take_options(given, &options);
    if (status == SIMDRIVE_OK) status = store_create(os, path, &options, &store);
    if (status != SIMDRIVE_OK) return status;
    sdi_generation *generation = sdi_generation_create(store);
    status = generation ? sdi_open_generation(generation) : SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) {
        sdi_generation_publish(generation);
        sdi_saved_index_begin(store, generation);
        status = start_sync_thread(store);
    }
    if (status != SIMDRIVE_OK) {
        int os_error = sdi_get_os_error();
        if (generation && generation->file) take_back_new_file(store, generation->file);
        if (generation) sdi_generation_retire(generation);
        sdi_store_unref(store);
        sdi_set_os_error(os_error);
        return status;
    }
    *out = store;
    sdi_after_append(store); /* the file may have been left with much that is stale */
    return SIMDRIVE_OK;
}

simdrive_status simdrive_open(const char *path, const simdrive_open_options *options, simdrive_store **out) {
    return sdi_open_with_os(sdi_os_native(), path, options, out);
}

/* --- opening bytes ----------------------------------------------------------------------------------------------- */

static simdrive_status open_bytes(const void *data, uint64_t size, const simdrive_entry *holder, simdrive_store **out) {
    simdrive_store *store = NULL;
    sdi_recovery recovery = {0};
    simdrive_open_options options;
    uint64_t began = sdi_monotonic_ns();
    simdrive_status status = take_options(NULL, &options);
    options.read_only = true;
    if (status == SIMDRIVE_OK) status = store_create(sdi_os_native(), "", &options, &store);
    if (status != SIMDRIVE_OK) return status;
    sdi_generation *generation = sdi_generation_create(store);
    status = generation ? recover(store, NULL, data, size, &recovery) : SIMDRIVE_ERROR_NO_MEMORY;
    if (status != SIMDRIVE_OK) {
        if (generation) sdi_generation_retire(generation);
        sdi_store_unref(store);
        return status;
    }
    atomic_store_explicit(&generation->base, data, memory_order_relaxed);
    atomic_store_explicit(&generation->map_size, size, memory_order_relaxed);
    adopt(generation, &recovery);
    bool is_room = sdi_is_zero((const uint8_t *)data + recovery.tail, size - recovery.tail);
    note_tail(generation, size, is_room ? recovery.tail : size);
    note_opening(generation, began);
    if (holder) simdrive_entry_clone(holder, &generation->nested);
    sdi_generation_publish(generation);
    *out = store;
    return SIMDRIVE_OK;
}

simdrive_status simdrive_open_memory(const void *data, size_t size, simdrive_store **out) {
    static const uint8_t nothing[1] = {0};
    if (out) *out = NULL;
    if (!out || (!data && size > 0)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    if ((uintptr_t)data % SIMDRIVE_ALIGNMENT != 0) return SIMDRIVE_ERROR_UNALIGNED;
    return open_bytes(size > 0 ? data : nothing, size, NULL, out);
}

simdrive_status simdrive_open_nested(const simdrive_entry *entry, simdrive_store **out) {
    if (out) *out = NULL;
    if (!out || !entry || !entry->private_pin) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    return open_bytes(entry->data, entry->size, entry, out);
}

/* --- closing ----------------------------------------------------------------------------------------------------- */

simdrive_status simdrive_close(simdrive_store *store) {
    simdrive_status status = SIMDRIVE_OK;
    if (!store) return status;
    simdrive_compact_cancel(store); /* first, or it would take the place that the stream leaves */
    if (store->open_stream) simdrive_stream_abort(store->open_stream);
    sdi_compaction_join(store);
    stop_sync_thread(store);
    if (store->options.sync == SIMDRIVE_SYNC_INTERVAL && !store->options.read_only) status = simdrive_sync(store, NULL);
    sdi_saved_index_end(store);
    sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_acquire);
    sdi_tail_map_give_back(generation);
    atomic_store(&store->closed, true);
    /* The file may stay open for entries that are held; the lock must not. */
    if (generation->file && !store->options.read_only) store->os->unlock(store->os, generation->file);
    sdi_generation_retire(generation);
    sdi_store_unref(store);
    return status;
}

/* --- what it is -------------------------------------------------------------------------------------------------- */

static uint64_t file_size_of(const simdrive_store *store, sdi_generation *generation, const sdi_tail_state *tail) {
    sdi_file_info info;
    if (sdi_tail_map_is_used(generation) || tail->room > 0) return sdi_tail(generation);
    if (generation->file && store->os->info(store->os, generation->file, &info) == SIMDRIVE_OK) return info.size;
    return sdi_tail(generation) + tail->damaged;
}

/* The calls below take a store that is not theirs to change; pinning changes no more than a count. */
static sdi_pin *pin_of(const simdrive_store *store) {
    return sdi_pin_current((simdrive_store *)(uintptr_t)store);
}

simdrive_status simdrive_get_info(const simdrive_store *store, simdrive_info *info) {
    simdrive_info known = {0};
    sdi_index_stats index;
    if (!store || !info || info->struct_size < sizeof(size_t)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    size_t size = info->struct_size;
    sdi_pin *pin = pin_of(store);
    sdi_generation *generation = pin->generation;
    const sdi_counters *counters = &generation->counters;
    sdi_index_get_stats(generation->index, &index);
    known.struct_size = size;
    const sdi_tail_state tail = sdi_get_tail_state(generation);
    known.file_size = file_size_of(store, generation, &tail);
    known.tail = sdi_tail(generation);
    known.entries = atomic_load_explicit(&counters->entries, memory_order_relaxed);
    known.tombstones = atomic_load_explicit(&counters->tombstones, memory_order_relaxed);
    known.stale_entries = atomic_load_explicit(&counters->stale_entries, memory_order_relaxed);
    known.live_bytes = atomic_load_explicit(&counters->live_bytes, memory_order_relaxed);
    known.stale_bytes = atomic_load_explicit(&counters->stale_bytes, memory_order_relaxed);
    known.damaged_tail_bytes = tail.damaged;
    known.room_ahead_bytes = tail.room;
    known.append_map_wanted = tail.map_wanted;
    known.append_map_used = tail.map_used;
    known.append_map_status = tail.map_status;
    known.corrupt_entries = generation->damage.corrupt_count;
    known.durable_tail = atomic_load_explicit(&store->durable_tail, memory_order_relaxed);
    known.index_bytes = index.bytes;
    known.quarantined_bytes = atomic_load_explicit(&store->quarantined, memory_order_relaxed);
    known.damage = generation->damage.kind;
    known.checksum = store->checksum == SDI_CRC32 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
    known.read_only = store->options.read_only;
    known.poisoned = atomic_load_explicit(&store->poisoned, memory_order_relaxed);
    sdi_unpin(pin, 1);
    memcpy(info, &known, size < sizeof known ? size : sizeof known);
    return SIMDRIVE_OK;
}

uint64_t simdrive_count(const simdrive_store *store) {
    if (!store) return 0;
    sdi_pin *pin = pin_of(store);
    uint64_t count = atomic_load_explicit(&pin->generation->counters.entries, memory_order_relaxed);
    sdi_unpin(pin, 1);
    return count;
}

bool simdrive_is_empty(const simdrive_store *store) {
    return simdrive_count(store) == 0;
}

uint64_t simdrive_tail(const simdrive_store *store) {
    if (!store) return 0;
    sdi_pin *pin = pin_of(store);
    uint64_t tail = sdi_tail(pin->generation);
    sdi_unpin(pin, 1);
    return tail;
}

const char *simdrive_path(const simdrive_store *store) {
    return store ? store->path : "";
}
