/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c — looks at every entry of a store, live and stale: link, padding, checksum. Of a stale entry whose payload
 * was reclaimed, link and padding. */
#include <string.h>

#include "store/store.h"

typedef struct verify_job {
    simdrive_store *store;
    const sdi_generation *generation;
    const uint8_t *file;
    simdrive_finding_handler handler;
    void *handler_user;
    simdrive_report report;
} verify_job;

static bool is_stale(const verify_job *verification, const sdi_record *record) {
    return sdi_index_find(verification->generation->index, record->key_hash).offset != record->end;
}

/* What is wrong with an entry; NULL when nothing is. */
static const char *fault_of(verify_job *verification, const sdi_record *record) {
    const sdi_damage_map *damage = &verification->generation->damage;
    sdi_record decoded;
    if (!sdi_record_at(damage, verification->file, record->end, &decoded) || decoded.start != record->start)
        return "entry is lost: neither its link nor its checksum can be trusted";
    if (is_stale(verification, record) &&
        sdi_stale_payload_is_gone(verification->generation, verification->file, record))
        verification->report.entries_reclaimed++;
    else if (sdi_is_reclaimed(verification->file, record))
        return "payload was given back, and what had replaced it is lost";
    else if (!sdi_checksum_matches(verification->file, record, verification->store->checksum, NULL))
        return "checksum does not match";
    if (sdi_repair_at(damage, record->end)) return "link to the entry before is damaged; the payload is intact";
    if (!sdi_padding_is_zero(verification->file, record)) return "padding is not zero; the payload is intact";
    return NULL;
}

static simdrive_status check_entry(verify_job *verification, const sdi_record *record) {
    verification->report.entries_checked++;
    if (!record->tombstone) verification->report.bytes_checked += sdi_record_size(record);
    const char *fault = fault_of(verification, record);
    if (!fault) return SIMDRIVE_OK;
    verification->report.entries_corrupt++;
    if (!verification->handler) return SIMDRIVE_OK;
    const simdrive_finding finding = {
        .offset = record->start,
        .end = record->end,
        .key_hash = record->key_hash,
        .live = sdi_index_find(verification->generation->index, record->key_hash).offset == record->end,
        .reason = fault,
    };
    return verification->handler(verification->handler_user, &finding) == SIMDRIVE_OK ? SIMDRIVE_OK
                                                                                      : SIMDRIVE_ERROR_CANCELLED;
}

static simdrive_status check_all(verify_job *verification, sdi_snapshot *snapshot,
                                 const simdrive_work_options *options) {
    uint64_t tail = sdi_snapshot_tail(snapshot), reported = tail;
    sdi_record record;
    size_t count;
    for (;;) {
        simdrive_status status = sdi_snapshot_walk(snapshot, &record, 1, &count);
        if (status != SIMDRIVE_OK) return status;
        if (count == 0) return sdi_report_progress(options, tail, tail);
        status = check_entry(verification, &record);
        if (status == SIMDRIVE_OK && reported - record.prev >= SDI_PROGRESS_STEP) {
            reported = record.prev;
            status = sdi_report_progress(options, tail - reported, tail);
        }
        if (status != SIMDRIVE_OK) return status;
    }
}

simdrive_status simdrive_verify(simdrive_store *store, const simdrive_work_options *given,
                                simdrive_finding_handler handler, void *handler_user, simdrive_report *report) {
    simdrive_work_options options;
    sdi_snapshot *snapshot = NULL;
    if (!store || (report && report->struct_size < sizeof(size_t))) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status == SIMDRIVE_OK) status = sdi_snapshot_begin(store, SDI_WALK_TO_READ, &snapshot);
    if (status != SIMDRIVE_OK) return status;
    verify_job verification = {.store = store,
                                 .generation = sdi_snapshot_pin(snapshot)->generation,
                                 .file = sdi_snapshot_base(snapshot),
                                 .handler = handler,
                                 .handler_user = handler_user};
    status = check_all(&verification, snapshot, &options);
    verification.report.damage = verification.generation->damage.kind;
    const sdi_tail_state tail = sdi_get_tail_state(verification.generation);
    verification.report.damaged_tail_bytes = tail.damaged;
    verification.report.room_ahead_bytes = tail.room;
    bool damaged = verification.report.entries_corrupt > 0 ||
                   verification.report.damage == SIMDRIVE_DAMAGE_MIDDLE ||
                   verification.report.damage == SIMDRIVE_DAMAGE_AMBIGUOUS;
    sdi_snapshot_end(snapshot);
    if (report) sdi_give_report(&verification.report, report);
    return status == SIMDRIVE_OK && damaged ? SIMDRIVE_ERROR_CORRUPT : status;
}
