/* SPDX-License-Identifier: Apache-2.0 */
/* backup_stream.c — the bytes of a store, from a position on, to a pipe or a network.
 *
 * They are read with system calls and not through the map, so that a backup of a large store takes no pages from those
 * who read it. A position is good when it has the right check and the chain from the tail passes it: then what is given
 * out is whole entries, and fits behind the bytes before it. That is so in a damaged store as well, whose bytes are
 * given as they are; its chain has gaps there, and entries that cannot be reached end at no position.
 */
#include "store/backup.h"

#include <string.h>

/* The entries between a position and the tail; ERROR_STALE_OFFSET when the chain does not pass the position. */
static simdrive_status count_entries_since(sdi_backup *backup, uint64_t since) {
    sdi_walk walk;
    sdi_record record;
    sdi_walk_begin(&walk, sdi_base(backup->from), &backup->from->damage, backup->tail);
    backup->entries = 0;
    while (walk.position > since && sdi_walk_next(&walk, &record)) backup->entries++;
    return walk.position == since ? SIMDRIVE_OK : sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
}

static simdrive_status check_position(sdi_backup *backup, const simdrive_position *since) {
    if (!sdi_position_holds(backup->from, since)) return sdi_refuse(SIMDRIVE_ERROR_STALE_OFFSET);
    return since->offset > 0 ? count_entries_since(backup, since->offset) : SIMDRIVE_OK;
}

static simdrive_status give_bytes(sdi_backup *backup, uint64_t offset, simdrive_sink sink, void *sink_user) {
    while (offset < backup->tail) {
        uint64_t left = backup->tail - offset;
        size_t size = left < SDI_BACKUP_BUFFER ? (size_t)left : SDI_BACKUP_BUFFER;
        simdrive_status status = sdi_read_bytes(backup->from, offset, backup->buffer, size);
        if (status != SIMDRIVE_OK) return status;
        status = sink(sink_user, backup->buffer, size);
        if (status != SIMDRIVE_OK) return sdi_refuse(status);
        status = sdi_backup_advance(backup, size);
        if (status != SIMDRIVE_OK) return status;
        offset += size;
    }
    return SIMDRIVE_OK;
}

simdrive_status simdrive_backup_stream(simdrive_store *store, const simdrive_position *since, simdrive_sink sink,
                                       void *sink_user, const simdrive_work_options *given, simdrive_position *end,
                                       simdrive_report *report) {
    static const simdrive_position beginning = {0};
    simdrive_position from = since ? *since : beginning; /* `end` may be the same object */
    simdrive_work_options options;
    sdi_backup backup;
    if (end) *end = beginning;
    if (!store || !sink || (report && report->struct_size < sizeof(size_t)))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    simdrive_status status = sdi_take_work_options(given, &options);
    if (status != SIMDRIVE_OK) return status;
    status = sdi_backup_begin(store, &options, &backup);
    simdrive_report known = {.damage = backup.from->damage.kind};
    if (status == SIMDRIVE_OK) status = check_position(&backup, &from);
    if (status == SIMDRIVE_OK) {
        backup.total = backup.tail - from.offset;
        status = give_bytes(&backup, from.offset, sink, sink_user);
    }
    if (status == SIMDRIVE_OK) {
        known.bytes_written = backup.total;
        known.entries_written = backup.entries;
        if (end) *end = (simdrive_position){backup.tail, sdi_position_check(backup.from, backup.tail)};
    }
    sdi_backup_end(&backup);
    if (report) sdi_give_report(&known, report);
    return status;
}
