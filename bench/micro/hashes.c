/* SPDX-License-Identifier: Apache-2.0
 *
 * hashes.c — what the hash of a key costs: many that overlap, and one that is waited for.
 */
#include "micro.h"

#include "digest/hash.h"

uint64_t micro_hash_independent(const void *keys, size_t size, size_t count)
{
    const unsigned char *key = keys;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++, key += size)
        sum ^= sdi_hash(key, size);
    return sum;
}

uint64_t micro_hash_dependent(const void *keys, size_t size, size_t count)
{
    const unsigned char *key = keys;
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++)
        hash = sdi_hash(key + (i ^ (hash & 1)) * size, size);
    return hash;
}
