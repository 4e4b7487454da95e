/* SPDX-License-Identifier: Apache-2.0
 *
 * shown.h — what a store shows, held against the bytes of its file, and remembered to be compared with what it shows
 * later. Reads every way there is: iteration, visits, single reads, history, changes, streams.
 */
#ifndef FUZZ_SHOWN_H
#define FUZZ_SHOWN_H

#include "support/stores.h"

typedef struct shown_entry {
    uint64_t key_hash;
    uint8_t *payload;
    size_t size;
} shown_entry;

/* The entries that can be read, newest first, with copies of their payloads. */
typedef struct shown {
    shown_entry *entries;
    size_t count, capacity;
} shown;

void shown_free(shown *all);

/* Collects what iteration gives, after checking each entry: it lies within the file, on its boundary, before its
 * metadata, holds the file's bytes, and no key comes twice. `bytes` are those of the file. */
void shown_take(shown *all, simdrive_store *store, const uint8_t *bytes, size_t size);

/* Leaves out payloads that are the single byte 00, which nobody can store again. */
void shown_drop_unstorable(shown *all);

/* NULL when it is not there. */
const shown_entry *shown_find(const shown *all, uint64_t key_hash);
/* Whether `all` has every entry of `some`, with the same payload. */
bool shown_has_all(const shown *all, const shown *some);

/* All other ways of reading agree with it and with each other. */
void shown_check_other_ways(const shown *all, simdrive_store *store);

/* Whether the bytes are a chain of entries, each with its checksum and zero padding, from the last byte to the first.
 * Written from the format's description; knows nothing of reclaimed payloads, which it takes for damage. */
bool is_intact_chain(const uint8_t *bytes, size_t size);

/* Whether somewhere in the bytes this payload stands before metadata with that key and its checksum. */
bool stands_in(const uint8_t *bytes, size_t size, const shown_entry *entry);

#endif
