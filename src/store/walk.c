/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c — from entry to entry along the chain, newest to oldest, over the runs of a damaged store too.
 *
 * Each step needs the one before it: where an entry's predecessor ends is only known from the entry. Two things keep
 * such a walk from waiting for memory at every step, both guesses that nothing depends on:
 *
 *   Lines.  Neighbours are mostly of like size. So the line in which the metadata of an entry some steps further down
 *           would be, if all between were as large as the one just met, is asked for ahead of time.
 *   Pages.  The walk goes down, and systems read ahead upwards. So the stretch below the one that the walk is in is
 *           asked for, to be read while this one is walked. Stretches begin short, for many a walk ends soon, and
 *           double. Of entries so large that most pages hold no metadata, the pages are asked for only when payloads
 *           are wanted. Through a map that nobody has used yet, small entries' pages are going to be touched all: when
 *           they are in memory, they are mapped with one call for a stretch, which costs less than the faults.
 *
 * What had to be fetched from the disk was used by nobody before, and is let go of when the walk has left it: so a walk
 * over a file larger than memory does not fill the process with it. Stretches that were in memory stay as they are. A
 * block of records ends where a stretch does: whoever asks for the next one is done with those of the stretch. (Should
 * he hold on to one, or another thread be at it, its pages are mapped again from the page cache.)
 */
#include "store/store.h"

enum {
    STEPS_AHEAD = 12,               /* of lines: what a miss takes, in steps of a walk without misses */
    FIRST_STRETCH = 256 << 10,      /* bytes */
    LONGEST_STRETCH = 4 << 20,
    LARGE_ENTRY = 16 << 10
};

void sdi_walk_begin(sdi_walk *walk, const uint8_t *file, const sdi_damage_map *damage, uint64_t tail) {
    walk->file = file;
    walk->damage = damage;
    walk->position = tail;
    walk->floor = 0;
    walk->run = 0;
    while (walk->run + 1 < damage->run_count && tail <= damage->runs[walk->run].bottom) walk->run++;
    walk->broken = false;
    walk->os = NULL;
    walk->cold = false;
}

void sdi_walk_end_at(sdi_walk *walk, uint64_t floor) {
    walk->floor = floor;
}

void sdi_walk_read_ahead(sdi_walk *walk, const sdi_os *os, sdi_walk_purpose purpose) {
    walk->os = os;
    walk->purpose = purpose;
    walk->entry_size = 0;
    walk->above = walk->position;
    walk->inside = walk->asked = (sdi_stretch){.bottom = walk->position};
    walk->next_size = FIRST_STRETCH;
}

/* The walk has come to the bottom of its stretch, and lets go of it. */
static void leave_stretch(sdi_walk *walk) {
    uint64_t bottom = walk->position;
    if (walk->inside.fetched && bottom < walk->above)
        walk->os->advise(walk->os, walk->file + bottom, walk->above - bottom, SDI_ADVICE_DONT_NEED);
    walk->above = bottom;
}

/* What lies below was asked for when the walk entered the stretch that it has left; asks for more, below that again. A
 * walk that is at the end of what was asked for, as at its beginning, asks twice. */
static void enter_stretch(sdi_walk *walk) {
    uint64_t top = walk->asked.bottom < walk->position ? walk->asked.bottom : walk->position;
    uint64_t bottom = top > walk->floor + walk->next_size ? top - walk->next_size : walk->floor;
    bool dense = walk->entry_size < LARGE_ENTRY;
    leave_stretch(walk);
    if (walk->purpose == SDI_WALK_TO_OPEN && dense && top < walk->position && !walk->asked.fetched)
        walk->os->advise(walk->os, walk->file + top, walk->position - top, SDI_ADVICE_NEED_NOW);
    walk->inside = (sdi_stretch){top, walk->asked.fetched};
    walk->asked = (sdi_stretch){bottom, false};
    if (walk->next_size < LONGEST_STRETCH) walk->next_size *= 2;
    if (bottom < top && (walk->purpose == SDI_WALK_TO_READ || dense))
        walk->asked.fetched = walk->os->advise(walk->os, walk->file + bottom, top - bottom, SDI_ADVICE_WILL_NEED);
    walk->cold |= walk->asked.fetched;
}

/* Asks for the lines in which the next entries' metadata will be, when they are like the last one. */
static inline void prefetch_below(const uint8_t *file, uint64_t position, uint64_t entry_size) {
    uint64_t ahead = entry_size * STEPS_AHEAD;
    if (ahead < position) __builtin_prefetch(file + (position - ahead));
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

/* One step in a damaged store. */
static void next_in_runs(sdi_walk *walk, sdi_record *record) {
    const sdi_damage_map *damage = walk->damage;
    uint64_t end = walk->position - SDI_METADATA_SIZE;
    bool decoded = sdi_record_at(damage, walk->file, end, record);
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
}

/* Steps in a store whose chain is whole, but for links that are mended; up to one that arrives at `floor` or below. */
static size_t next_in_chain(sdi_walk *walk, uint64_t floor, sdi_record *records, size_t capacity) {
    const uint8_t *file = walk->file;
    const bool mended = walk->damage->repair_count > 0;
    uint64_t position = walk->position;
    size_t count = 0;
    while (count < capacity && position > floor && position >= SDI_ENTRY_MIN) {
        sdi_record *record = &records[count];
        uint64_t end = position - SDI_METADATA_SIZE;
        if (mended ? !sdi_record_at(walk->damage, file, end, record) : !sdi_decode(file, end, record)) {
            walk->broken = true;
            break;
        }
        prefetch_below(file, record->prev, position - record->prev);
        position = record->prev;
        count++;
    }
    walk->position = position;
    return count;
}

static size_t chain_block(sdi_walk *walk, sdi_record *records, size_t capacity) {
    size_t count = 0;
    while (count < capacity && walk->position >= SDI_ENTRY_MIN && walk->position > walk->floor && !walk->broken) {
        bool at_bottom = walk->os && walk->position <= walk->inside.bottom;
        if (at_bottom && count > 0) break;
        if (at_bottom) enter_stretch(walk);
        uint64_t bottom = walk->os && walk->inside.bottom > walk->floor ? walk->inside.bottom : walk->floor;
        size_t more = next_in_chain(walk, bottom, records + count, capacity - count);
        count += more;
        if (more > 0) walk->entry_size = sdi_record_tail(&records[count - 1]) - records[count - 1].prev;
    }
    if (walk->position > 0 && walk->position < SDI_ENTRY_MIN) walk->broken = true;
    if (walk->position < walk->floor) walk->broken = true; /* passed over the entry that it was to end at */
    return count;
}

static size_t runs_block(sdi_walk *walk, sdi_record *records, size_t capacity) {
    size_t count = 0;
    while (count < capacity && walk->position >= SDI_ENTRY_MIN) next_in_runs(walk, &records[count++]);
    walk->broken = walk->position > 0 && walk->position < SDI_ENTRY_MIN;
    return count;
}

size_t sdi_walk_block(sdi_walk *walk, sdi_record *records, size_t capacity) {
    return walk->damage->run_count == 0 ? chain_block(walk, records, capacity) : runs_block(walk, records, capacity);
}

bool sdi_walk_next(sdi_walk *walk, sdi_record *record) {
    return sdi_walk_block(walk, record, 1) == 1;
}
