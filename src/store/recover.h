/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h — finds the entries of a file, whole or damaged, and never writes. Only open.c and salvage use it. */
#ifndef SDI_RECOVER_H
#define SDI_RECOVER_H

#include "store/store.h"

/* What is found. On success the caller owns `index` and the arrays of `damage`. */
typedef struct sdi_recovery {
    uint64_t tail;
    sdi_index *index;
    sdi_damage_map damage;
    sdi_crc_kind last_checksum; /* of the last entry; only when there is one */
    bool has_entries;
    uint64_t expected; /* number of entries, estimated before */
    uint64_t entries, tombstones, stale_entries, live_bytes, stale_bytes;
} sdi_recovery;

typedef struct sdi_recovery_options {
    uint64_t check_window; /* payloads that end within the last so many bytes of the chain are checked */
    sdi_crc_kind likely;   /* checksum kind to try first */
    const sdi_os *os;      /* of a mapped file, to read ahead with; NULL for other bytes */
} sdi_recovery_options;

/* At the end of what is known; not sorted. */
simdrive_status sdi_damage_add_corrupt(sdi_damage_map *damage, uint64_t end);

/* OK (also with damage: see out->damage.kind), ERROR_NOT_A_STORE, ERROR_ALIGNMENT, ERROR_NO_MEMORY. */
simdrive_status sdi_recover(const uint8_t *file, uint64_t size, const sdi_recovery_options *options, sdi_recovery *out);

/* Where entries end in a file of `size` bytes whose last ones may be zeros that a writer has set aside (append_map.c):
 * `size` when they are none; otherwise the highest tail above `floor` whose entry is plausible and has its checksum.
 * Without one, `floor`; or when that is 0, or not all above it was looked at, an offset not below the last tail, for
 * recovery to start from. Stores that have a tail at `floor` give it, others 0. Looks at the zeros, and no further than
 * the largest entry that is stored into them in one piece and may not be complete. `*end` is behind the last byte above
 * `floor` that is not zero, or `floor`. */
uint64_t sdi_end_of_entries(const uint8_t *file, uint64_t size, uint64_t floor, sdi_crc_kind likely,
                            uint64_t *end);

/* Whether links lead from `from`, above `tail`, exactly there. Checksums are not looked at; but the first entry of a
 * file must be finished. */
bool sdi_leads_to(const uint8_t *file, uint64_t from, uint64_t tail);

/* Finds what was appended to a store whose tail was at `tail`, in a file that is `size` bytes long now: the highest
 * tail whose chain leads exactly there; `tail` itself when there is none. */
simdrive_status sdi_recover_added(const uint8_t *file, uint64_t tail, uint64_t size, sdi_crc_kind likely,
                                  uint64_t *new_tail);

#endif
