/* SPDX-License-Identifier: Apache-2.0 */
/* backup.c — a copy of the store up to its tail at one moment, while writers go on: bytes before a tail never change,
 * so copying them is all there is to do. In the kernel where it can, which shares the extents where the file system
 * can. */
#include <stdio.h>
#include <string.h>

#include "store/store.h"

enum { BUFFER = 1 << 20 };

typedef struct backup_job {
    const sdi_os *os;
    const sdi_generation *from;
    sdi_file *to;
    uint64_t size;
    const simdrive_work_options *options;
} backup_job;

static simdrive_status copy_step(backup_job *backup, uint64_t offset, uint8_t *buffer, bool *in_kernel,
                                 uint64_t *copied) {
    uint64_t wanted = backup->size - offset < SDI_PROGRESS_STEP ? backup->size - offset : SDI_PROGRESS_STEP;
    *copied = 0;
    if (*in_kernel) {
        simdrive_status status =
            backup->os->copy_range(backup->os, backup->from->file, offset, backup->to, offset, wanted, copied);
        if (status == SIMDRIVE_OK && *copied > 0) return SIMDRIVE_OK;
        if (status != SIMDRIVE_OK && status != SIMDRIVE_ERROR_UNSUPPORTED) return status;
        *in_kernel = false;
    }
    *copied = wanted < BUFFER ? wanted : BUFFER;
    simdrive_status status = sdi_read_bytes(backup->from, offset, buffer, (size_t)*copied);
    if (status != SIMDRIVE_OK) return status;
    return backup->os->write_at(backup->os, backup->to, offset, buffer, (size_t)*copied);
}

static simdrive_status copy_all(backup_job *backup) {
    uint8_t *buffer = malloc(BUFFER);
    bool in_kernel = backup->from->file != NULL;
    uint64_t done = 0, reported = 0;
    simdrive_status status = buffer ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    while (status == SIMDRIVE_OK && done < backup->size) {
        uint64_t copied;
        status = copy_step(backup, done, buffer, &in_kernel, &copied);
        done += copied;
        if (status == SIMDRIVE_OK && (done - reported >= SDI_PROGRESS_STEP || done == backup->size)) {
            reported = done;
            status = sdi_report_progress(backup->options, done, backup->size);
        }
    }
    free(buffer);
    return status == SIMDRIVE_OK ? backup->os->sync(backup->os, backup->to) : status;
}

/* Under a temporary name until it is complete; never over a file that exists. */
static simdrive_status write_copy(backup_job *backup, const char *out_path) {
    const sdi_os *os = backup->os;
    sdi_file_info existing;
    char suffix[40];
    snprintf(suffix, sizeof suffix, ".partial-%016llx", (unsigned long long)sdi_unique_number());
    if (os->path_info(os, out_path, &existing) == SIMDRIVE_OK) return SIMDRIVE_ERROR_EXISTS;
    char *partial = sdi_path_with_suffix(out_path, suffix);
    if (!partial) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_status status = os->open(os, partial, SDI_OPEN_CREATE_NEW, 0600, &backup->to);
    if (status == SIMDRIVE_OK) {
        if (backup->from->file) status = os->copy_attributes(os, backup->from->file, backup->to);
        if (status == SIMDRIVE_OK) status = copy_all(backup);
        if (status == SIMDRIVE_OK) status = os->rename_new(os, partial, out_path);
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
    sdi_snapshot *snapshot = NULL;
    if (!store || !out_path || !*out_path || (report && report->struct_size < sizeof(size_t)))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = sdi_snapshot_begin(store, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    sdi_generation *generation = sdi_snapshot_pin(snapshot)->generation;
    const sdi_counters *counters = &generation->counters;
    backup_job backup = {
        .os = store->os, .from = generation, .size = sdi_snapshot_tail(snapshot), .options = &options};
    simdrive_report known = {.damage = generation->damage.kind};
    status = write_copy(&backup, out_path);
    if (status == SIMDRIVE_OK) {
        known.bytes_written = backup.size;
        known.entries_written = atomic_load_explicit(&counters->entries, memory_order_relaxed) +
                                atomic_load_explicit(&counters->stale_entries, memory_order_relaxed) +
                                atomic_load_explicit(&counters->tombstones, memory_order_relaxed);
    }
    sdi_snapshot_end(snapshot);
    if (report) sdi_give_report(&known, report);
    return status;
}
