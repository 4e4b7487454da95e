/* SPDX-License-Identifier: Apache-2.0 */
/* backup.c — a copy of the store up to its tail at one moment, in a new file.
 *
 *   1  The moment: a pinned generation, its tail, and how many entries are below it.
 *   2  The copy is made under a temporary name, extent by extent: data in the kernel where it can, which shares the
 *      extents where the file system can; otherwise through a buffer. A hole is not written, and so stays one.
 *   3  It is synced, gets its name, and the name is synced.
 *
 * What a file system calls a hole is read nevertheless (no disk is needed for that): some have called bytes a hole that
 * were written a moment ago and were not on the disk yet, and copies made by their word had zeros in their place.
 */
#include "store/backup.h"

#include <stdio.h>
#include <string.h>

/* --- the moment (step 1) ----------------------------------------------------------------------------------------- */

/* A tail, and the entries below it. Counters change while a publication is under way, before the tail does. */
static void note_moment(sdi_backup *backup) {
    const sdi_generation *generation = backup->from;
    const sdi_counters *counters = &generation->counters;
    const _Atomic bool *publishing = &generation->superseded.publishing;
    do {
        while (atomic_load(publishing)) sdi_thread_yield();
        backup->tail = sdi_tail(generation);
        backup->entries = atomic_load_explicit(&counters->entries, memory_order_acquire) +
                          atomic_load_explicit(&counters->stale_entries, memory_order_acquire) +
                          atomic_load_explicit(&counters->tombstones, memory_order_acquire);
    } while (atomic_load(publishing) || sdi_tail(generation) != backup->tail);
}

simdrive_status sdi_backup_begin(simdrive_store *store, const simdrive_work_options *options, sdi_backup *out) {
    memset(out, 0, sizeof *out);
    sdi_set_os_error(0);
    out->os = store->os;
    out->options = options;
    out->pin = sdi_pin_current(store);
    out->from = out->pin->generation;
    out->in_kernel = out->from->file != NULL;
    out->buffer = malloc(SDI_BACKUP_BUFFER);
    note_moment(out);
    return out->buffer ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

void sdi_backup_end(sdi_backup *backup) {
    free(backup->buffer);
    sdi_unpin(backup->pin, 1);
}

simdrive_status sdi_backup_advance(sdi_backup *backup, uint64_t bytes) {
    backup->done += bytes;
    if (backup->done - backup->reported < SDI_PROGRESS_STEP && backup->done < backup->total) return SIMDRIVE_OK;
    backup->reported = backup->done;
    return sdi_report_progress(backup->options, backup->done, backup->total);
}

/* --- copying (step 2) -------------------------------------------------------------------------------------------- */

/* Up to the end of a range, or of the step it is in: so no two steps write to one sector. */
static uint64_t step_size(uint64_t offset, uint64_t end, uint64_t step) {
    uint64_t left = step - offset % step;
    return end - offset < left ? end - offset : left;
}

/* Part of a range of data; `copied` says how much. */
static simdrive_status copy_step(sdi_backup *backup, uint64_t offset, uint64_t end, uint64_t *copied) {
    uint64_t wanted = step_size(offset, end, SDI_PROGRESS_STEP);
    *copied = 0;
    if (backup->in_kernel) {
        simdrive_status status =
            backup->os->copy_range(backup->os, backup->from->file, offset, backup->to, offset, wanted, copied);
        if (status == SIMDRIVE_OK && *copied > 0) return SIMDRIVE_OK;
        if (status != SIMDRIVE_OK && status != SIMDRIVE_ERROR_UNSUPPORTED) return status;
        backup->in_kernel = false;
    }
    *copied = step_size(offset, end, SDI_BACKUP_BUFFER);
    simdrive_status status = sdi_read_bytes(backup->from, offset, backup->buffer, (size_t)*copied);
    if (status != SIMDRIVE_OK) return status;
    return backup->os->write_at(backup->os, backup->to, offset, backup->buffer, (size_t)*copied);
}

static simdrive_status copy_data(sdi_backup *backup, uint64_t offset, uint64_t end) {
    while (offset < end) {
        uint64_t copied;
        simdrive_status status = copy_step(backup, offset, end, &copied);
        offset += copied;
        if (status == SIMDRIVE_OK) status = sdi_backup_advance(backup, copied);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* What is said to be a hole: written only where it is none. `written` becomes the end of that. */
static simdrive_status copy_hole(sdi_backup *backup, uint64_t offset, uint64_t end, uint64_t *written) {
    while (offset < end) {
        size_t size = (size_t)step_size(offset, end, SDI_BACKUP_BUFFER);
        simdrive_status status = sdi_read_bytes(backup->from, offset, backup->buffer, size);
        if (status == SIMDRIVE_OK && !sdi_is_zero(backup->buffer, size)) {
            status = backup->os->write_at(backup->os, backup->to, offset, backup->buffer, size);
            *written = offset + size;
        }
        offset += size;
        if (status == SIMDRIVE_OK) status = sdi_backup_advance(backup, size);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* The first data of a range; both are `end` when there is none. */
static simdrive_status next_data(const sdi_backup *backup, uint64_t offset, uint64_t end, uint64_t *data,
                                 uint64_t *data_end) {
    *data = offset;
    *data_end = end;
    if (!backup->from->file) return SIMDRIVE_OK;
    simdrive_status status = backup->os->next_data(backup->os, backup->from->file, offset, data, data_end);
    if (status != SIMDRIVE_OK) return status;
    if (*data >= *data_end || *data > end) *data = end; /* also when the file was cut: reading it tells */
    if (*data_end > end || *data == end) *data_end = end;
    if (*data < offset) *data = offset;
    return SIMDRIVE_OK;
}

simdrive_status sdi_backup_copy(sdi_backup *backup, uint64_t offset, uint64_t end) {
    uint64_t written = offset;
    while (offset < end) {
        uint64_t data, data_end;
        simdrive_status status = next_data(backup, offset, end, &data, &data_end);
        if (status == SIMDRIVE_OK) status = copy_hole(backup, offset, data, &written);
        if (status == SIMDRIVE_OK) status = copy_data(backup, data, data_end);
        if (status != SIMDRIVE_OK) return status;
        if (data_end > data) written = data_end;
        offset = data_end;
    }
    return written < end ? backup->os->truncate(backup->os, backup->to, end) : SIMDRIVE_OK;
}

/* --- the new file (steps 2 and 3) -------------------------------------------------------------------------------- */

static simdrive_status fill_file(sdi_backup *backup, sdi_file *like) {
    const sdi_os *os = backup->os;
    simdrive_status status = like ? os->copy_attributes(os, like, backup->to) : SIMDRIVE_OK;
    if (status == SIMDRIVE_OK) status = sdi_backup_copy(backup, 0, backup->tail);
    return status == SIMDRIVE_OK ? os->sync(os, backup->to) : status;
}

simdrive_status sdi_backup_new_file(sdi_backup *backup, const char *out_path, sdi_file *like, bool replace) {
    const sdi_os *os = backup->os;
    sdi_file_info existing;
    char suffix[40];
    snprintf(suffix, sizeof suffix, ".partial-%016llx", (unsigned long long)sdi_unique_number());
    if (!replace && os->path_info(os, out_path, &existing) == SIMDRIVE_OK) return SIMDRIVE_ERROR_EXISTS;
    char *partial = sdi_path_with_suffix(out_path, suffix);
    if (!partial) return SIMDRIVE_ERROR_NO_MEMORY;
    backup->total = backup->tail;
    simdrive_status status = os->open(os, partial, SDI_OPEN_CREATE_NEW, 0600, &backup->to);
    if (status == SIMDRIVE_OK) {
        status = fill_file(backup, like);
        if (status == SIMDRIVE_OK)
            status = replace ? os->rename(os, partial, out_path) : os->rename_new(os, partial, out_path);
        os->close(os, backup->to);
        if (status != SIMDRIVE_OK) {
            int os_error = sdi_get_os_error();
            os->unlink(os, partial);
            sdi_set_os_error(os_error);
        } else {
            status = os->sync_folder_of(os, out_path);
        }
    }
    free(partial);
    return status;
}

simdrive_status simdrive_backup(simdrive_store *store, const char *out_path, const simdrive_work_options *given,
                                simdrive_report *report) {
    simdrive_work_options options;
    sdi_backup backup;
    if (!store || !out_path || !*out_path || (report && report->struct_size < sizeof(size_t)))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status != SIMDRIVE_OK) return status;
    status = sdi_backup_begin(store, &options, &backup);
    simdrive_report known = {.damage = backup.from->damage.kind};
    if (status == SIMDRIVE_OK) status = sdi_backup_new_file(&backup, out_path, backup.from->file, false);
    if (status == SIMDRIVE_OK) {
        known.bytes_written = backup.tail;
        known.entries_written = backup.entries;
    }
    sdi_backup_end(&backup);
    if (report) sdi_give_report(&known, report);
    return status;
}
