/* SPDX-License-Identifier: Apache-2.0 */
/* salvage.c — what is intact in a damaged store, written to a new one: of each key the newest entry whose checksum is
 * right. The damaged file is opened for reading and stays as it is. */
#include <string.h>

#include "store/store.h"

enum { GROUP = 256, BATCH_ENTRIES = 1024, BATCH_BYTES = 8 << 20 };

typedef struct salvage_job {
    simdrive_store *from, *to;
    const simdrive_work_options *options;
    simdrive_finding_handler handler;
    void *handler_user;
    const sdi_generation *generation;
    const uint8_t *file;
    sdi_index *settled; /* keys whose newest intact entry, or tombstone, has been seen */
    uint64_t *ends;     /* of entries to be written, newest first */
    size_t count, capacity;
    simdrive_report report;
} salvage_job;

static simdrive_status tell(salvage_job *salvage, const sdi_record *record) {
    salvage->report.entries_corrupt++;
    if (!salvage->handler) return SIMDRIVE_OK;
    const simdrive_finding finding = {
        .offset = record->start,
        .end = record->end,
        .key_hash = record->key_hash,
        .live = sdi_index_find(salvage->generation->index, record->key_hash).offset == record->end,
        .reason = "checksum does not match",
    };
    return salvage->handler(salvage->handler_user, &finding) == SIMDRIVE_OK ? SIMDRIVE_OK : SIMDRIVE_ERROR_CANCELLED;
}

static bool is_stale(const salvage_job *salvage, const sdi_record *record) {
    return sdi_index_find(salvage->generation->index, record->key_hash).offset != record->end;
}

static simdrive_status remember(salvage_job *salvage, uint64_t end) {
    if (salvage->count == salvage->capacity) {
        size_t capacity = salvage->capacity ? salvage->capacity * 2 : 1024;
        uint64_t *ends = realloc(salvage->ends, capacity * sizeof *ends);
        if (!ends) return SIMDRIVE_ERROR_NO_MEMORY;
        salvage->ends = ends;
        salvage->capacity = capacity;
    }
    salvage->ends[salvage->count++] = end;
    return SIMDRIVE_OK;
}

/* Whether it holds a value. The single byte 00 behind padding is no tombstone, but nothing that can be stored either,
 * and means a deletion to other implementations. */
static bool has_value(const salvage_job *salvage, const sdi_record *record) {
    return !record->tombstone && (sdi_record_size(record) > 1 || salvage->file[record->start] != 0);
}

/* Takes over those of a group of intact records that are the newest of their keys. */
static simdrive_status settle(salvage_job *salvage, const sdi_record *records, size_t count) {
    uint64_t hashes[GROUP], ends[GROUP], existing[GROUP];
    for (size_t i = 0; i < count; i++) {
        hashes[i] = records[i].key_hash;
        ends[i] = records[i].end;
    }
    simdrive_status status = sdi_index_add_batch(salvage->settled, hashes, ends, count, existing);
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        if (existing[i] == SDI_INDEX_NONE && has_value(salvage, &records[i])) status = remember(salvage, ends[i]);
    }
    return status;
}

static simdrive_status choose(salvage_job *salvage, sdi_snapshot *snapshot) {
    sdi_record records[GROUP];
    uint64_t tail = sdi_snapshot_tail(snapshot);
    for (;;) {
        size_t count, intact = 0;
        simdrive_status status = sdi_snapshot_walk(snapshot, records, GROUP, &count);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) return SIMDRIVE_OK;
        uint64_t lowest = records[count - 1].prev;
        for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
            salvage->report.entries_checked++;
            if (!records[i].tombstone) salvage->report.bytes_checked += sdi_record_size(&records[i]);
            if (sdi_checksum_matches(salvage->file, &records[i], salvage->from->checksum, NULL))
                records[intact++] = records[i];
            else if (is_stale(salvage, &records[i]) && sdi_is_reclaimed(salvage->file, &records[i]))
                salvage->report.entries_reclaimed++;
            else
                status = tell(salvage, &records[i]);
        }
        if (status == SIMDRIVE_OK) status = settle(salvage, records, intact);
        /* Reading is half of the work. */
        if (status == SIMDRIVE_OK) status = sdi_report_progress(salvage->options, (tail - lowest) / 2, tail);
        if (status != SIMDRIVE_OK) return status;
    }
}

static simdrive_status write_chosen(salvage_job *salvage) {
    simdrive_change *changes = malloc(BATCH_ENTRIES * sizeof *changes);
    simdrive_status status = changes ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    size_t left = salvage->count;
    while (left > 0 && status == SIMDRIVE_OK) {
        size_t count = 0, bytes = 0;
        for (; left > 0 && count < BATCH_ENTRIES && bytes < BATCH_BYTES; left--) {
            sdi_record record;
            if (!sdi_record_at(&salvage->generation->damage, salvage->file, salvage->ends[left - 1], &record)) continue;
            changes[count].operation = SIMDRIVE_PUT;
            changes[count].key_hash = record.key_hash;
            changes[count].payload = (simdrive_bytes){salvage->file + record.start, (size_t)sdi_record_size(&record)};
            bytes += changes[count++].payload.size;
        }
        status = simdrive_apply(salvage->to, changes, count, SIMDRIVE_BATCH_PLAIN, NULL);
        uint64_t total = simdrive_tail(salvage->from);
        uint64_t done = total / 2 + (uint64_t)((double)total / 2 * (double)(salvage->count - left) /
                                               (double)salvage->count);
        if (status == SIMDRIVE_OK) status = sdi_report_progress(salvage->options, done, total);
    }
    free(changes);
    if (status == SIMDRIVE_OK) status = simdrive_sync(salvage->to, NULL);
    if (status != SIMDRIVE_OK) return status;
    return sdi_report_progress(salvage->options, simdrive_tail(salvage->from), simdrive_tail(salvage->from));
}

/* With both stores open. */
static simdrive_status run(salvage_job *salvage) {
    sdi_snapshot *snapshot = NULL;
    simdrive_status status = sdi_snapshot_begin(salvage->from, SDI_WALK_TO_READ, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    salvage->generation = sdi_snapshot_pin(snapshot)->generation;
    salvage->file = sdi_snapshot_base(snapshot);
    salvage->report.damage = salvage->generation->damage.kind;
    const sdi_tail_state tail = sdi_get_tail_state(salvage->generation);
    salvage->report.damaged_tail_bytes = tail.damaged;
    salvage->report.room_ahead_bytes = tail.room;
    salvage->settled = sdi_index_create(simdrive_count(salvage->from), salvage->file);
    status = salvage->settled ? choose(salvage, snapshot) : SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) status = write_chosen(salvage);
    if (status == SIMDRIVE_OK) {
        salvage->report.entries_written = salvage->count;
        salvage->report.bytes_written = simdrive_tail(salvage->to);
    }
    sdi_index_destroy(salvage->settled);
    free(salvage->ends);
    sdi_snapshot_end(snapshot);
    return status;
}

static sdi_file *file_of(simdrive_store *store) {
    return atomic_load_explicit(&store->current, memory_order_relaxed)->file;
}

simdrive_status sdi_salvage_with_os(const sdi_os *os, const char *path, const char *out_path,
                                    const simdrive_work_options *given, simdrive_finding_handler handler,
                                    void *handler_user, simdrive_report *report) {
    simdrive_work_options options;
    simdrive_open_options source = {.struct_size = sizeof source, .read_only = true, .verify_all = true};
    simdrive_open_options target = {.struct_size = sizeof target, .must_create = true, .file_mode = 0600};
    salvage_job salvage = {.options = &options, .handler = handler, .handler_user = handler_user};
    if (!path || !out_path || (report && report->struct_size < sizeof(size_t)))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = sdi_open_with_os(os, path, &source, &salvage.from);
    if (status != SIMDRIVE_OK) return status;
    target.checksum = salvage.from->checksum == SDI_CRC32 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
    status = sdi_open_with_os(os, out_path, &target, &salvage.to);
    if (status == SIMDRIVE_OK) {
        status = os->copy_attributes(os, file_of(salvage.from), file_of(salvage.to));
        if (status == SIMDRIVE_OK) status = run(&salvage);
        simdrive_close(salvage.to);
        if (status != SIMDRIVE_OK) os->unlink(os, out_path);
    }
    simdrive_close(salvage.from);
    if (report) sdi_give_report(&salvage.report, report);
    return status;
}

simdrive_status simdrive_salvage(const char *path, const char *out_path, const simdrive_work_options *options,
                                 simdrive_finding_handler handler, void *handler_user, simdrive_report *report) {
    return sdi_salvage_with_os(sdi_os_native(), path, out_path, options, handler, handler_user, report);
}
