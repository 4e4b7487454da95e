/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c — from entry to entry along the chain, newest to oldest, over the runs of a damaged store too. */
#include "store/store.h"

void sdi_walk_begin(sdi_walk *walk, const uint8_t *file, const sdi_damage_map *damage, uint64_t tail) {
    walk->file = file;
    walk->damage = damage;
    walk->position = tail;
    walk->run = 0;
    while (walk->run + 1 < damage->run_count && tail <= damage->runs[walk->run].bottom) walk->run++;
    walk->broken = false;
}

static uint64_t next_top(const sdi_walk *walk) {
    return walk->run + 1 < walk->damage->run_count ? walk->damage->runs[walk->run + 1].top : 0;
}

/* A lost entry: where it ends is known from its successor, where it begins is a guess. */
static void describe_lost(const sdi_walk *walk, uint64_t end, sdi_record *record) {
    if (sdi_decode_with_prev(walk->file, end, next_top(walk), record)) return;
    record->prev = end - 1;
    record->start = end - 1;
    record->end = end;
    record->key_hash = sdi_load64(walk->file + end);
    record->checksum = sdi_load32(walk->file + end + SDI_CHECKSUM_FIELD);
    record->tombstone = false;
}

bool sdi_walk_next(sdi_walk *walk, sdi_record *record) {
    const sdi_damage_map *damage = walk->damage;
    if (walk->position < SDI_ENTRY_MIN) {
        walk->broken = walk->position != 0;
        return false;
    }
    uint64_t end = walk->position - SDI_METADATA_SIZE;
    bool decoded = sdi_record_at(damage, walk->file, end, record);
    if (damage->run_count == 0) {
        if (!decoded) {
            walk->broken = true;
            return false;
        }
        walk->position = record->prev;
        return true;
    }
    /* In a damaged store every entry that stands where a run breaks is in the list of repairs or of corrupt entries. */
    uint64_t bottom = damage->runs[walk->run].bottom;
    bool last = !decoded || record->prev <= bottom;
    if (last && sdi_is_corrupt(damage, end)) describe_lost(walk, end, record);
    if (last) {
        walk->position = next_top(walk);
        walk->run++;
    } else {
        walk->position = record->prev;
    }
    return true;
}
