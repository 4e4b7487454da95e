/* SPDX-License-Identifier: Apache-2.0 */
/* backup_update.c — brings an earlier backup up to date by appending what is new.
 *
 *        backup   0 .......... T                    T is a tail of the store, S its tail at the moment of the call
 *        store    0 .......... T ............ S     all below T is the same in both
 *
 *   1  What can be refused without looking into the backup is: the store itself, a store that is damaged.
 *   2  The backup is opened as any store is, for writing: locked, its tail T found, its last payloads checked. What
 *      lies behind T is left of an update that was interrupted, or damaged.
 *   3  Both chains are walked from T to the beginning, and all of their metadata compared. Where that is the same, and
 *      T a tail of the store, the backup is an earlier state of it, and all that follows cannot lose anything.
 *   4  Bytes behind T are cut off, durably.
 *   5  Bytes from T to S are appended, the link of the first new entry turned around (sdi_unpublished_prev): until it
 *      is true, no reader and no recovery takes what is above T for more than a damaged tail. When that is more than
 *      recovery would take for the traces of a crash (SDI_CHECK_WINDOW), the turned link is synced before the rest
 *      follows, so that it is there to be found, whatever else is missing. Then all is synced.
 *   6  The true link is written, and synced.
 *
 * An empty backup has no chain on which a link could be held back. It is replaced by a new, complete file.
 *
 * A failure in 5 or 6 cuts the backup back to T.
 */
#include "store/backup.h"

#include <string.h>

enum {
    STEPS_BETWEEN_REPORTS = 1 << 16,
    SECTOR = 512 /* bytes that a disk writes all or none of */
};

typedef struct update_job {
    sdi_backup copy;
    const char *out_path;
    simdrive_store *backup; /* open for writing */
    sdi_generation *to;
    uint64_t old_tail;  /* T */
    uint64_t first_end; /* metadata of the first new entry; 0 when there is none */
    uint64_t compared;  /* entries, for progress */
} update_job;

/* --- is it an earlier state of the store? (steps 1 to 3) ---------------------------------------------------------- */

static bool same_file(sdi_file_id a, sdi_file_id b) {
    return a.device == b.device && a.number == b.number;
}

/* The file that is open, or another one that has taken the store's name since. */
static bool is_store_itself(const simdrive_store *store, const sdi_generation *generation, sdi_file_id id) {
    sdi_file_info named;
    if (!generation->file) return false;
    if (same_file(generation->file_id, id)) return true;
    return store->os->path_info(store->os, store->real_path, &named) == SIMDRIVE_OK && same_file(named.id, id);
}

static simdrive_status open_backup(update_job *job, simdrive_store *store) {
    const sdi_os *os = store->os;
    simdrive_open_options options = {
        .struct_size = sizeof options, .must_exist = true, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    sdi_file_info info;
    /* Before it is opened: this process may have the store open for reading, and would lock it. */
    simdrive_status status = os->path_info(os, job->out_path, &info);
    if (status != SIMDRIVE_OK) return status;
    if (is_store_itself(store, job->copy.from, info.id)) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    status = sdi_open_with_os(os, job->out_path, &options, &job->backup);
    if (status != SIMDRIVE_OK) return status;
    job->to = atomic_load_explicit(&job->backup->current, memory_order_relaxed);
    job->old_tail = sdi_tail(job->to);
    bool itself = is_store_itself(store, job->copy.from, job->to->file_id);
    return itself ? sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT) : SIMDRIVE_OK;
}

static simdrive_status count_step(update_job *job) {
    if (++job->compared % STEPS_BETWEEN_REPORTS != 0) return SIMDRIVE_OK;
    return sdi_report_progress(job->copy.options, 0, job->copy.tail);
}

/* From S down to T. */
static simdrive_status find_old_tail(update_job *job) {
    const uint8_t *ours = sdi_base(job->copy.from);
    sdi_record record;
    uint64_t tail = job->copy.tail;
    job->copy.entries = 0;
    for (; tail > job->old_tail; tail = record.prev) {
        if (!sdi_decode(ours, tail - SDI_METADATA_SIZE, &record)) return sdi_refuse(SIMDRIVE_ERROR_CORRUPT);
        job->first_end = record.end;
        job->copy.entries++;
        simdrive_status status = count_step(job);
        if (status != SIMDRIVE_OK) return status;
    }
    return tail == job->old_tail ? SIMDRIVE_OK : sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
}

/* From T down to the beginning. Where a payload begins follows from its metadata, but for tombstones. */
static simdrive_status compare_chains(update_job *job) {
    const uint8_t *ours = sdi_base(job->copy.from), *theirs = sdi_base(job->to);
    sdi_record record, copy;
    for (uint64_t tail = job->old_tail; tail != 0; tail = record.prev) {
        uint64_t end = tail - SDI_METADATA_SIZE;
        if (memcmp(ours + end, theirs + end, SDI_CHECKSUM_FIELD) != 0 || !sdi_decode(ours, end, &record) ||
            !sdi_decode(theirs, end, &copy) || record.tombstone != copy.tombstone)
            return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
        if (record.checksum != copy.checksum && !sdi_is_reclaimed(ours, &record) && !sdi_is_reclaimed(theirs, &copy))
            return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
        simdrive_status status = count_step(job);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* Payloads of the backup that its opening found to be damaged must be so in the store. */
static simdrive_status compare_corrupt_entries(const update_job *job) {
    const uint8_t *ours = sdi_base(job->copy.from), *theirs = sdi_base(job->to);
    for (size_t i = 0; i < job->to->damage.corrupt_count; i++) {
        sdi_record record;
        if (!sdi_decode(theirs, job->to->damage.corrupt[i], &record) ||
            memcmp(ours + record.start, theirs + record.start, (size_t)sdi_record_size(&record)) != 0)
            return sdi_refuse(SIMDRIVE_ERROR_CORRUPT);
    }
    return SIMDRIVE_OK;
}

static simdrive_status compare(update_job *job) {
    if (job->old_tail > job->copy.tail) return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    simdrive_status status = find_old_tail(job);
    if (status == SIMDRIVE_OK) status = compare_chains(job);
    return status == SIMDRIVE_OK ? compare_corrupt_entries(job) : status;
}

/* --- appending (steps 4 to 6) ------------------------------------------------------------------------------------ */

static simdrive_status clear_tail(update_job *job) {
    sdi_file_info info;
    simdrive_status status = job->backup->os->info(job->backup->os, job->to->file, &info);
    if (status != SIMDRIVE_OK || info.size == job->old_tail) return status;
    status = sdi_cut(job->backup, job->to->file, job->old_tail);
    return status == SIMDRIVE_OK ? sdi_sync_file(job->backup, job->to, job->old_tail) : status;
}

/* The sectors of the first new entry's metadata, with its link turned around. In one write, with all that is new in
 * them: what two writes put into one sector may be there by half, which recovery takes for damage. */
static simdrive_status write_unpublished_metadata(update_job *job, uint64_t start, uint64_t end) {
    sdi_backup *copy = &job->copy;
    uint64_t link = job->first_end + SDI_PREV_FIELD;
    simdrive_status status = sdi_read_bytes(copy->from, start, copy->buffer, (size_t)(end - start));
    if (status != SIMDRIVE_OK) return status;
    sdi_unpublished_prev(link, job->old_tail, copy->buffer + (link - start));
    status = copy->os->write_at(copy->os, copy->to, start, copy->buffer, (size_t)(end - start));
    return status == SIMDRIVE_OK ? sdi_backup_advance(copy, end - start) : status;
}

/* Step 5. */
static simdrive_status append_unpublished(update_job *job) {
    sdi_backup *copy = &job->copy;
    uint64_t start = job->first_end - job->first_end % SECTOR;
    uint64_t end = sdi_align_up(job->first_end + SDI_METADATA_SIZE, SECTOR);
    if (start < job->old_tail) start = job->old_tail;
    if (end > copy->tail) end = copy->tail;
    simdrive_status status = sdi_backup_copy(copy, job->old_tail, start);
    if (status == SIMDRIVE_OK) status = write_unpublished_metadata(job, start, end);
    if (status == SIMDRIVE_OK && copy->tail - job->old_tail > SDI_CHECK_WINDOW)
        status = sdi_sync_file(job->backup, job->to, job->old_tail);
    if (status == SIMDRIVE_OK) status = sdi_backup_copy(copy, end, copy->tail);
    return status == SIMDRIVE_OK ? sdi_sync_file(job->backup, job->to, job->old_tail) : status;
}

static simdrive_status append(update_job *job) {
    job->copy.to = job->to->file;
    job->copy.total = job->copy.tail - job->old_tail;
    simdrive_status status = clear_tail(job);
    if (status != SIMDRIVE_OK) return status;
    status = append_unpublished(job);
    if (status == SIMDRIVE_OK) status = sdi_write_held_link(job->to, job->first_end, job->old_tail);
    if (status == SIMDRIVE_OK) status = sdi_sync_file(job->backup, job->to, job->copy.tail);
    return status == SIMDRIVE_OK ? SIMDRIVE_OK : sdi_roll_back(job->backup, job->to, status);
}

/* Bytes that are no entries, and not what is left of an update, may be somebody's. */
static simdrive_status replace_empty(update_job *job) {
    uint64_t size = atomic_load_explicit(&job->backup->damaged_tail, memory_order_relaxed);
    if (!sdi_is_zero(sdi_base(job->to), size)) return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    return sdi_backup_new_file(&job->copy, job->backup->real_path, job->to->file, true);
}

static simdrive_status update(update_job *job) {
    simdrive_status status = compare(job);
    if (status != SIMDRIVE_OK) return status;
    /* An update whose last sync failed or never came may have left it complete, and not durable. */
    if (job->old_tail == job->copy.tail) return sdi_sync_file(job->backup, job->to, job->old_tail);
    return job->old_tail > 0 ? append(job) : replace_empty(job);
}

static simdrive_status run(update_job *job, simdrive_store *store) {
    if (job->copy.from->damage.kind > SIMDRIVE_DAMAGE_TAIL) return sdi_refuse(SIMDRIVE_ERROR_CORRUPT);
    simdrive_status status = open_backup(job, store);
    if (status == SIMDRIVE_OK) status = update(job);
    int os_error = sdi_get_os_error();
    if (simdrive_close(job->backup) != SIMDRIVE_OK && status == SIMDRIVE_OK) status = SIMDRIVE_ERROR_IO;
    sdi_set_os_error(os_error);
    return status;
}

simdrive_status simdrive_backup_update(simdrive_store *store, const char *out_path, const simdrive_work_options *given,
                                       simdrive_report *report) {
    simdrive_work_options options;
    update_job job = {.out_path = out_path};
    if (!store || !out_path || !*out_path || (report && report->struct_size < sizeof(size_t)))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status != SIMDRIVE_OK) return status;
    status = sdi_backup_begin(store, &options, &job.copy);
    simdrive_report known = {.damage = job.copy.from->damage.kind};
    if (status == SIMDRIVE_OK) status = run(&job, store);
    if (status == SIMDRIVE_OK) {
        known.bytes_written = job.copy.tail - job.old_tail;
        known.entries_written = job.copy.entries;
    }
    sdi_backup_end(&job.copy);
    if (report) sdi_give_report(&known, report);
    return status;
}
