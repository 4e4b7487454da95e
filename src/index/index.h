/* SPDX-License-Identifier: Apache-2.0 */
/* index.h — from the 64-bit hash of a key to where its newest entry is, in memory.
 *
 * What this module knows: hashes, and the offset in the file at which an entry's metadata starts (its first 8 bytes are
 * the hash, little-endian: that is all it knows of the format). What it must not know: files, locks, stores. It does no
 * I/O; it reads hashes through `base`, the address of the file's first byte.
 *
 * One writer at a time (the caller sees to it), any number of readers beside it, which take no lock and write nothing.
 *
 * Invariants
 *   X1  A key that is in the index is found by every lookup that begins after its put returned.
 *   X2  A put of a key that is there replaces its offset by one 8-byte store: a reader finds the old one or the new
 *       one.
 *   X3  Slots are never emptied: keys leave the index only with the index. (A deleted key's slot points to its
 *       tombstone.)
 *   X4  Memory that a reader may still look at is never given back before sdi_index_destroy(); memory that is used
 *       again is recognised by the reader, who looks again.
 *   X5  After sdi_index_reserve(n keys) returned OK, puts of those keys cannot fail.
 */
#ifndef SDI_INDEX_H
#define SDI_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simdrive.h"

typedef struct sdi_index sdi_index;

/* No entry. Offsets of metadata are from 1 to 2^48 - 1. */
#define SDI_INDEX_NONE 0u
/* There was no memory to mend the part of a saved index in which the key would be (image.h): ask again later. */
#define SDI_INDEX_UNKNOWN UINT64_MAX

/* An empty index, sized for `expected_keys` (0: grows from a few hundred bytes). `base` may be NULL as long as nothing
 * is in it. NULL when there is no memory. */
sdi_index *sdi_index_create(uint64_t expected_keys, const uint8_t *base);
/* The same with a seed that is chosen, not drawn: for tests, so that a failure can be had again. Whoever knows the seed
 * can choose hashes that lie in each other's way. */
sdi_index *sdi_index_create_seeded(uint64_t expected_keys, const uint8_t *base, uint64_t seed);
void sdi_index_destroy(sdi_index *index);

/* A new address for the same bytes, and more behind them. The old one must stay readable as long as a reader may be in
 * a lookup. Call it before the first put of an offset that only the new one covers. Writer only. */
void sdi_index_set_base(sdi_index *index, const uint8_t *base);

/* --- readers ---------------------------------------------------------------------------------------------------- */

typedef struct sdi_index_hit {
    uint64_t offset;     /* of the metadata, SDI_INDEX_NONE, or SDI_INDEX_UNKNOWN */
    const uint8_t *base; /* the address that covers it */
} sdi_index_hit;

/* The newest offset put for `hash`. */
sdi_index_hit sdi_index_find(const sdi_index *index, uint64_t hash);

/* hits[i] for hashes[i]: the same with the cache misses of many keys overlapped. */
void sdi_index_find_batch(const sdi_index *index, const uint64_t *hashes, size_t count, sdi_index_hit *hits);

/* Up to `capacity` offsets that are in the index, in no order, some perhaps twice: of keys from all over the file. None
 * when there is nothing in it, or little and it was not come upon. */
size_t sdi_index_sample(const sdi_index *index, uint64_t *offsets, size_t capacity);

/* --- the writer -------------------------------------------------------------------------------------------------- */

/* Sees to it that no lookup of these keys is answered with SDI_INDEX_UNKNOWN: ERROR_NO_MEMORY when it cannot. */
simdrive_status sdi_index_check(sdi_index *index, const uint64_t *hashes, size_t count);

/* Makes room for these keys, whether or not they are there already. ERROR_NO_MEMORY, and nothing has changed for
 * readers, when it cannot. */
simdrive_status sdi_index_reserve(sdi_index *index, const uint64_t *hashes, size_t count);

/* Sets the offset of a key; returns the one it replaces, or SDI_INDEX_NONE. The caller has reserved room. */
uint64_t sdi_index_put(sdi_index *index, uint64_t hash, uint64_t offset);

/* The same for many, in order, with overlapped cache misses; replaced[i] belongs to hashes[i]. A hash may stand in it
 * several times: then replaced[] of the later one is the offset of the earlier one. */
void sdi_index_put_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                         uint64_t *replaced);

/* For building, newest first, before any reader is there: puts each key unless it is there already; existing[i] is the
 * offset it has already, or SDI_INDEX_NONE when it was put. Makes room itself: ERROR_NO_MEMORY. */
simdrive_status sdi_index_add_batch(sdi_index *index, const uint64_t *hashes, const uint64_t *offsets, size_t count,
                                    uint64_t *existing);

/* After building: an index for what is in it, when it was made for many more keys than came; else, and when there is no
 * memory, the one given. Before any reader is there. */
sdi_index *sdi_index_fit(sdi_index *index);

/* Gives the memory back to the system although readers may still look: from then on every lookup may find nothing.
 * (Whoever calls this has told readers how to know.) The index must still be destroyed. */
void sdi_index_discard(sdi_index *index);

typedef struct sdi_index_stats {
    uint64_t keys;
    uint64_t bytes;     /* memory held, directory included */
    uint64_t segments;
    uint64_t slots;
} sdi_index_stats;

void sdi_index_get_stats(const sdi_index *index, sdi_index_stats *stats); /* any thread; figures may lag */

#endif
