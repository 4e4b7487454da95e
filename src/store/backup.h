/* SPDX-License-Identifier: Apache-2.0 */
/* backup.h — what the kinds of backup share: a moment of a store that is held, and the copying of its bytes to a file.
 *
 * Invariants
 *   B1  Bytes before a tail never change (S2), and the pinned generation stays. So the bytes up to the tail at one
 *       moment can be copied at leisure, while writers go on and compactions swap files.
 *   B2  What was copied has the same bytes. Holes of the source become holes, or zeros; nothing is left out because a
 *       file system says that it is a hole.
 */
#ifndef SDI_BACKUP_H
#define SDI_BACKUP_H

#include "store/store.h"

enum { SDI_BACKUP_BUFFER = 1 << 20 };

typedef struct sdi_backup {
    const sdi_os *os;
    sdi_pin *pin;
    const sdi_generation *from;
    uint64_t tail;    /* of it, at the moment of the beginning */
    uint64_t entries; /* up to there: live ones, stale ones, tombstones */
    sdi_file *to;
    uint8_t *buffer;
    bool in_kernel; /* copying there was not refused yet */
    uint64_t done, total, reported; /* bytes, for progress */
    const simdrive_work_options *options;
} sdi_backup;

/* Pins the store's generation and notes the moment. To be ended in any case. */
simdrive_status sdi_backup_begin(simdrive_store *store, const simdrive_work_options *options, sdi_backup *out);
void sdi_backup_end(sdi_backup *backup);

/* Counts bytes as done, and reports progress when it is time. */
simdrive_status sdi_backup_advance(sdi_backup *backup, uint64_t bytes);

/* Copies a range to the same place of `to`, which ends at `offset`, or had nothing but zeros from there on. */
simdrive_status sdi_backup_copy(sdi_backup *backup, uint64_t offset, uint64_t end);

/* Copies everything to a new file, under a temporary name until it is complete and synced; then it gets its name,
 * durably. `like` (may be NULL) is whose owner and permissions it gets. ERROR_EXISTS when something has that name, and
 * is not to be replaced. */
simdrive_status sdi_backup_new_file(sdi_backup *backup, const char *out_path, sdi_file *like, bool replace);

#endif
