/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h — the hash that the format keeps of a key: XXH3-64 with seed 0, from libxxhash, inlined here because short
 * keys are hashed on the way to every read. */
#ifndef SDI_HASH_H
#define SDI_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t sdi_hash(const void *data, size_t size) {
    return XXH3_64bits(data, size);
}

#endif
