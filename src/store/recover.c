/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c — from the bytes of a file to its entries.
 *
 * The clean way, which nearly every opening takes (build_index):
 *   1  The file's end is taken for the tail. Its last entry must have its checksum.
 *   2  One walk back to offset 0 checks every link and fills the index, newest first.
 *   3  The first entry must have its checksum: a chain that ends at 0 proves nothing by itself, for zeros and nested
 *      stores make such chains too. A chain that passes 1 to 3 is *valid*.
 *   4  Payloads in the last `check_window` bytes must have their checksums; those that do not are remembered as
 *      corrupt.
 *
 * When any of these fails, the long way (recover_damaged):
 *   5  Every offset, from the file's end down, is looked at as if it were a tail, until one is found whose entry is
 *      plausible, padded with zeros, and has its checksum. When its chain is valid, it is the answer, and what lies
 *      above it is a damaged tail.
 *   6  When its chain is broken further down, it is the top of a *run*. The run is followed down, every checksum looked
 *      at, to the entry where it breaks; the next tail is looked for below the last good entry, and so on down to a
 *      valid one. When every break on the way is of the kind that a crash makes, all above the valid tail is a damaged
 *      tail like any other: the link of an unpublished batch (sdi_unpublished_prev), the mark of an interrupted first
 *      write, or a sector of zeros where metadata must be, for metadata is never zero: not far from the end, or above
 *      the first entry of an unpublished batch.
 *   7  Otherwise the store is damaged in its middle, and all runs are collected (collect_runs). At each break the next
 *      tail found tells what was damaged: the link of the last good entry, the link of the entry where it breaks, or
 *      more of it. Links are mended, the rest is remembered as corrupt.
 *
 * An entry that was reclaimed (reclaimed.h) proves itself like any other. Only when it turns out to be the newest of
 * its key, for what had replaced it is lost, it counts as corrupt: it has no payload to give.
 *
 * Time is linear in the file's size whatever the bytes are: a chain's verdict is remembered for each tail on it, so
 * that no entry is walked twice (verdicts); and when the payloads whose checksums are asked for add up to more than
 * twice the file, checkpoints of the file's running checksum give that of any range in constant time (ranges).
 */
#include "store/recover.h"

#include <string.h>

#include "store/build.h"

enum {
    CHECKPOINT_STEP = 256, /* bytes between checkpoints of the running checksum */
    WALK_GROUP = 128,      /* entries met before they are looked at */
    FEW_CANDIDATES = 4096, /* up to so many plausible tails, one checksum is proof enough */
    ADDED_BUDGET = 16,     /* times what was appended, for direct checksums: most appends need one */
    SPARE_STEPS = 1 << 17, /* to tell a link from a payload, in a file of any size */
    SECTOR = 512,          /* what a disk writes as a whole */
    SAMPLE = 1000,         /* entries from which the number of all is estimated */
    SAMPLE_SHARE = 64,     /* an estimate rests on at least one in so many */
    TORN_MAX = 2 * SDI_MAPPED_MAX, /* above the last entry, of what is being stored */
    END_BUDGET = 1 << 28   /* bytes checksummed to find the end before zeros */
};

/* --- checksums of arbitrary ranges ------------------------------------------------------------------------------- */

typedef struct crc_ranges {
    const uint8_t *file;
    uint64_t base, size;      /* all ranges lie between them */
    uint64_t budget;          /* bytes that may still be checksummed directly */
    uint32_t *checkpoints[2]; /* running checksum, from base on, at each CHECKPOINT_STEP, once the budget is spent */
} crc_ranges;

static void ranges_begin(crc_ranges *ranges, const uint8_t *file, uint64_t base, uint64_t size) {
    memset(ranges, 0, sizeof *ranges);
    ranges->file = file;
    ranges->base = base;
    ranges->size = size;
    ranges->budget = 2 * size;
}

static void ranges_end(crc_ranges *ranges) {
    free(ranges->checkpoints[0]);
    free(ranges->checkpoints[1]);
}

static simdrive_status make_checkpoints(crc_ranges *ranges) {
    size_t count = (size_t)((ranges->size - ranges->base) / CHECKPOINT_STEP) + 1;
    const uint8_t *from = ranges->file + ranges->base;
    for (unsigned kind = 0; kind < 2; kind++) {
        uint32_t *at = malloc(count * sizeof *at);
        if (!at) return SIMDRIVE_ERROR_NO_MEMORY;
        ranges->checkpoints[kind] = at;
        uint32_t crc = 0;
        for (size_t i = 0; i < count; i++) {
            at[i] = crc;
            if (i + 1 < count)
                crc = sdi_crc((sdi_crc_kind)kind, crc, from + i * CHECKPOINT_STEP, CHECKPOINT_STEP);
        }
    }
    return SIMDRIVE_OK;
}

static uint32_t prefix_crc(const crc_ranges *ranges, sdi_crc_kind kind, uint64_t end) {
    uint64_t step = (end - ranges->base) / CHECKPOINT_STEP, from = ranges->base + step * CHECKPOINT_STEP;
    return sdi_crc(kind, ranges->checkpoints[kind][step], ranges->file + from, (size_t)(end - from));
}

static uint32_t crc_from_checkpoints(const crc_ranges *ranges, sdi_crc_kind kind, uint64_t start, uint64_t end) {
    uint64_t size = end - start;
    if (size <= (uint64_t)2 * CHECKPOINT_STEP) return sdi_crc(kind, 0, ranges->file + start, (size_t)size);
    return sdi_crc_suffix(kind, prefix_crc(ranges, kind, end), prefix_crc(ranges, kind, start), size);
}

static bool matches_by_checkpoints(const crc_ranges *ranges, const sdi_record *record, sdi_crc_kind kind) {
    return crc_from_checkpoints(ranges, kind, record->start, record->end) == record->checksum;
}

static bool is_reclaimed_by_checkpoints(const crc_ranges *ranges, const sdi_record *record) {
    uint64_t from, to;
    if (!sdi_reclaimable_range(record, &from, &to)) return false;
    uint32_t head = crc_from_checkpoints(ranges, SDI_CRC32C, record->start, from);
    uint32_t rest = crc_from_checkpoints(ranges, SDI_CRC32C, to, record->end);
    return sdi_reclaimed_mark_of(record, head, rest) == record->checksum;
}

/* Whether the entry has its checksum, of either kind, or was reclaimed. */
static simdrive_status range_matches(crc_ranges *ranges, const sdi_record *record, sdi_crc_kind *kind, bool *matches) {
    uint64_t cost = 3 * sdi_record_size(record);
    if (!ranges->checkpoints[1] && cost > ranges->budget) {
        simdrive_status status = make_checkpoints(ranges);
        if (status != SIMDRIVE_OK) return status;
    }
    if (ranges->checkpoints[1]) {
        sdi_crc_kind other = *kind == SDI_CRC32C ? SDI_CRC32 : SDI_CRC32C;
        *matches = matches_by_checkpoints(ranges, record, *kind);
        if (!*matches && matches_by_checkpoints(ranges, record, other)) {
            *matches = true;
            *kind = other;
        }
        if (!*matches) *matches = is_reclaimed_by_checkpoints(ranges, record);
        return SIMDRIVE_OK;
    }
    ranges->budget -= cost;
    *matches = sdi_checksum_matches(ranges->file, record, *kind, kind) || sdi_is_reclaimed(ranges->file, record);
    return SIMDRIVE_OK;
}

/* --- verdicts on chains ------------------------------------------------------------------------------------------ */

/* An open-addressing map from tail to verdict; keys are above 0. */
typedef struct verdict_map {
    uint64_t *tails;
    uint8_t *valid;
    size_t capacity, count;
} verdict_map;

static size_t verdict_slot(const verdict_map *map, uint64_t tail) {
    size_t slot = (size_t)((tail * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (map->capacity - 1);
    while (map->tails[slot] != 0 && map->tails[slot] != tail) slot = (slot + 1) & (map->capacity - 1);
    return slot;
}

static simdrive_status verdicts_grow(verdict_map *map) {
    verdict_map larger = {.capacity = map->capacity ? map->capacity * 2 : 1024};
    larger.tails = calloc(larger.capacity, sizeof *larger.tails);
    larger.valid = malloc(larger.capacity);
    if (!larger.tails || !larger.valid) {
        free(larger.tails);
        free(larger.valid);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->tails[i] == 0) continue;
        size_t slot = verdict_slot(&larger, map->tails[i]);
        larger.tails[slot] = map->tails[i];
        larger.valid[slot] = map->valid[i];
        larger.count++;
    }
    free(map->tails);
    free(map->valid);
    *map = larger;
    return SIMDRIVE_OK;
}

static simdrive_status verdicts_set(verdict_map *map, uint64_t tail, bool valid) {
    if (map->count * 2 >= map->capacity) {
        simdrive_status status = verdicts_grow(map);
        if (status != SIMDRIVE_OK) return status;
    }
    size_t slot = verdict_slot(map, tail);
    map->count += map->tails[slot] == 0;
    map->tails[slot] = tail;
    map->valid[slot] = valid;
    return SIMDRIVE_OK;
}

static bool verdicts_get(const verdict_map *map, uint64_t tail, bool *valid) {
    if (map->capacity == 0) return false;
    size_t slot = verdict_slot(map, tail);
    if (map->tails[slot] == 0) return false;
    *valid = map->valid[slot];
    return true;
}

static void verdicts_end(verdict_map *map) {
    free(map->tails);
    free(map->valid);
}

/* --- the search -------------------------------------------------------------------------------------------------- */

typedef struct search_state {
    const uint8_t *file;
    uint64_t size;
    uint64_t floor;    /* a tail that is known to be right; 0: none. Nothing below it is looked at */
    sdi_crc_kind kind; /* of the entries met last */
    crc_ranges ranges;
    verdict_map verdicts;
    uint64_t candidates;   /* plausible tails whose checksum was tried */
    uint64_t spare_steps;  /* offsets that may be looked at a second time, to tell a link from a payload */
    sdi_damage_map damage; /* runs, repairs and corrupt entries as collected so far */
} search_state;

static simdrive_status push(void **array, size_t *count, const void *element, size_t element_size) {
    if ((*count & (*count - 1)) == 0) { /* room for the next power of two */
        void *larger = realloc(*array, (*count ? *count * 2 : 1) * element_size);
        if (!larger) return SIMDRIVE_ERROR_NO_MEMORY;
        *array = larger;
    }
    memcpy((uint8_t *)*array + *count * element_size, element, element_size);
    (*count)++;
    return SIMDRIVE_OK;
}

static simdrive_status push_run(sdi_damage_map *damage, uint64_t top, uint64_t bottom) {
    sdi_run run = {top, bottom};
    void *array = damage->runs;
    simdrive_status status = push(&array, &damage->run_count, &run, sizeof run);
    damage->runs = array;
    return status;
}

simdrive_status sdi_damage_add_corrupt(sdi_damage_map *damage, uint64_t end) {
    void *array = damage->corrupt;
    simdrive_status status = push(&array, &damage->corrupt_count, &end, sizeof end);
    damage->corrupt = array;
    return status;
}

static simdrive_status push_repair(sdi_damage_map *damage, uint64_t end, uint64_t prev) {
    sdi_repair repair = {end, prev};
    void *array = damage->repairs;
    simdrive_status status = push(&array, &damage->repair_count, &repair, sizeof repair);
    damage->repairs = array;
    return status;
}

static void forget_damage(sdi_damage_map *damage) {
    free(damage->runs);
    free(damage->repairs);
    free(damage->corrupt);
    memset(damage, 0, sizeof *damage);
}

static simdrive_status matches(search_state *search, const sdi_record *record, bool *out) {
    return range_matches(&search->ranges, record, &search->kind, out);
}

/* Whether the chain from `tail` arrives at the floor; without one at 0, at a first entry that has its checksum. */
static simdrive_status judge_chain(search_state *search, uint64_t tail, bool *valid) {
    uint64_t position = tail;
    sdi_record record;
    simdrive_status status = SIMDRIVE_OK;
    *valid = false;
    while (!verdicts_get(&search->verdicts, position, valid)) {
        if (search->floor != 0 && position <= search->floor) {
            *valid = position == search->floor;
            break;
        }
        if (position < SDI_ENTRY_MIN || !sdi_decode(search->file, position - SDI_METADATA_SIZE, &record)) break;
        if (record.prev < search->floor) break;
        if (record.prev == 0) {
            status = matches(search, &record, valid);
            break;
        }
        position = record.prev;
    }
    if (status != SIMDRIVE_OK) return status;
    /* The same way again, to leave the verdict at each tail passed. `last` itself may be no tail at all. */
    uint64_t last = position;
    for (position = tail; position != last; position = record.prev) {
        status = verdicts_set(&search->verdicts, position, *valid);
        if (status != SIMDRIVE_OK) return status;
        /* Decoded a moment ago; but the bytes are shared with whoever may write to the file. */
        if (!sdi_decode(search->file, position - SDI_METADATA_SIZE, &record)) return SIMDRIVE_OK;
    }
    return last >= SDI_ENTRY_MIN ? verdicts_set(&search->verdicts, last, *valid) : SIMDRIVE_OK;
}

/* The highest tail at or below `from` whose metadata is not all zero: all-zero metadata is a hole, not an entry. */
static uint64_t skip_zeros(const uint8_t *file, uint64_t from) {
    uint64_t byte = from;
    while (byte >= 8 && sdi_load64(file + byte - 8) == 0) byte -= 8;
    while (byte > 0 && file[byte - 1] == 0) byte--;
    if (byte == 0) return 0;
    uint64_t highest = byte - 1 + SDI_METADATA_SIZE; /* the last tail whose metadata includes that byte */
    return highest < from ? highest : from;
}

static simdrive_status has_plausible_predecessor(search_state *search, const sdi_record *record, bool *answer) {
    sdi_record before;
    *answer = record->prev == 0;
    if (*answer) return SIMDRIVE_OK;
    simdrive_status status = judge_chain(search, record->prev, answer);
    if (status != SIMDRIVE_OK || *answer) return status;
    *answer = sdi_decode(search->file, record->prev - SDI_METADATA_SIZE, &before) &&
              sdi_padding_is_zero(search->file, &before);
    return SIMDRIVE_OK;
}

/* Finds the highest tail from `from` down to `lowest` whose entry is plausible and has its checksum; 0 when there is
 * none. */
static simdrive_status find_tail(search_state *search, uint64_t from, uint64_t lowest, uint64_t *found) {
    sdi_record record;
    if (lowest < SDI_ENTRY_MIN) lowest = SDI_ENTRY_MIN;
    *found = 0;
    for (uint64_t tail = from; tail >= lowest; tail--) {
        uint64_t end = tail - SDI_METADATA_SIZE;
        if (sdi_load64(search->file + end) == 0 && sdi_load64(search->file + end + SDI_PREV_FIELD) == 0 &&
            sdi_load32(search->file + end + SDI_CHECKSUM_FIELD) == 0) {
            tail = skip_zeros(search->file, tail);
            if (tail < lowest) return SIMDRIVE_OK;
            end = tail - SDI_METADATA_SIZE;
        }
        if (!sdi_decode(search->file, end, &record) || record.prev < search->floor ||
            !sdi_padding_is_zero(search->file, &record))
            continue;
        bool right = true;
        simdrive_status status = SIMDRIVE_OK;
        /* Where many offsets look like tails, most are not: ask for a predecessor that looks like an entry too. */
        if (++search->candidates > FEW_CANDIDATES) status = has_plausible_predecessor(search, &record, &right);
        if (status == SIMDRIVE_OK && right) status = matches(search, &record, &right);
        if (status != SIMDRIVE_OK) return status;
        if (right) {
            *found = tail;
            return SIMDRIVE_OK;
        }
    }
    return SIMDRIVE_OK;
}

/* A run followed down from its top. */
typedef struct followed_run {
    uint64_t proven;   /* entries that have their checksums */
    uint64_t broken;   /* tail of the entry at which it breaks; 0 when it arrives at the start of the file */
    sdi_record lowest; /* last good entry */
} followed_run;

/* Whether the link of an entry without its checksum leads too far down: the entry has its checksum when it begins
 * behind another tail; or, for the checksum may be damaged as well, an entry that has its own stands within what would
 * be the payload. The links of a store within a payload count from that store's beginning, and make none there. */
static simdrive_status link_is_suspect(search_state *search, const sdi_record *record, bool *suspect) {
    uint64_t below = record->end + 1, steps = record->end - record->prev;
    *suspect = false;
    if (steps > search->spare_steps) return SIMDRIVE_OK; /* a file made to keep us busy */
    search->spare_steps -= steps;
    for (;;) {
        sdi_record mended;
        simdrive_status status = find_tail(search, below - 1, record->prev + 1, &below);
        if (status != SIMDRIVE_OK || below == 0) return status;
        *suspect = sdi_decode(search->file, below - SDI_METADATA_SIZE, &mended) && mended.prev >= record->prev;
        if (*suspect) return SIMDRIVE_OK;
        if (!sdi_decode_with_prev(search->file, record->end, below, &mended)) continue;
        status = matches(search, &mended, suspect);
        if (status != SIMDRIVE_OK || *suspect) return status;
    }
}

/* Whether an entry whose link leads to 0 is the first of the file, as it seems: then no entry stands within it that has
 * its checksum. A link of zeros may just as well be one that was lost, and other damage may lie below it. */
static simdrive_status is_first_entry(search_state *search, const sdi_record *record, bool *answer) {
    uint64_t within = 0;
    *answer = true;
    if (record->end > search->spare_steps) return SIMDRIVE_OK;
    search->spare_steps -= record->end;
    simdrive_status status = find_tail(search, record->end, 0, &within);
    *answer = within == 0;
    return status;
}

/* Whether an entry without its checksum can be passed over as one damaged payload, for its link is right. */
static simdrive_status only_payload_damaged(search_state *search, const sdi_record *record, bool *answer) {
    bool chained = false, suspect = false;
    *answer = false;
    simdrive_status status = record->prev == 0 ? is_first_entry(search, record, &chained)
                                               : judge_chain(search, record->prev, &chained);
    if (status != SIMDRIVE_OK || !chained) return status;
    status = link_is_suspect(search, record, &suspect);
    *answer = !suspect;
    return status;
}

/* Whether the true predecessor of a good entry ends elsewhere than its link says. Its start is right (it has its
 * checksum), so that is within the padding before it. */
static simdrive_status other_predecessor(search_state *search, const sdi_record *upper, bool *other) {
    uint64_t lowest = upper->start >= SIMDRIVE_ALIGNMENT ? upper->start - SIMDRIVE_ALIGNMENT + 1 : 0, found = 0;
    simdrive_status status = SIMDRIVE_OK;
    if (!upper->tombstone) status = find_tail(search, upper->start, lowest, &found);
    *other = found != 0 && found != upper->prev;
    return status;
}

/* Whether an entry that has not its checksum, at the end of a good one's link, is to be passed over as damaged. */
static simdrive_status is_passable(search_state *search, const sdi_record *upper, const sdi_record *record,
                                   bool *answer) {
    bool other = false;
    *answer = false;
    simdrive_status status = other_predecessor(search, upper, &other);
    return status == SIMDRIVE_OK && !other ? only_payload_damaged(search, record, answer) : status;
}

/* Follows a run from `top`, whose entry has its checksum. With `collect`, damaged payloads are noted and passed by. */
static simdrive_status follow_run(search_state *search, uint64_t top, bool collect, followed_run *out) {
    memset(out, 0, sizeof *out);
    for (uint64_t position = top; position != 0;) {
        sdi_record record;
        bool right = false, passable = false;
        simdrive_status status = SIMDRIVE_OK;
        out->broken = position;
        if (position < SDI_ENTRY_MIN || !sdi_decode(search->file, position - SDI_METADATA_SIZE, &record))
            return SIMDRIVE_OK;
        status = matches(search, &record, &right);
        if (status == SIMDRIVE_OK && !right && collect)
            status = is_passable(search, &out->lowest, &record, &passable);
        if (passable && sdi_fits_other_alignment(search->file, record.end)) return SIMDRIVE_ERROR_ALIGNMENT;
        if (status == SIMDRIVE_OK && passable) status = sdi_damage_add_corrupt(&search->damage, record.end);
        if (status != SIMDRIVE_OK) return status;
        if (!right && !passable) return SIMDRIVE_OK;
        out->proven += right;
        out->lowest = record;
        position = record.prev;
    }
    out->broken = 0;
    return SIMDRIVE_OK;
}

/* Step 7, at one break: `below` is the tail found next under the last good entry (0: none, or the file's start). */
static simdrive_status mend_break(search_state *search, const followed_run *run, uint64_t below) {
    const sdi_record *upper = &run->lowest;
    sdi_record mended;
    bool right = false;
    /* The good entry's own link: its start is right, so its true predecessor ends right before it. */
    if (below != 0 && sdi_payload_start(below) == upper->start && below != upper->prev && !upper->tombstone)
        return push_repair(&search->damage, upper->end, below);
    if (run->broken < SDI_ENTRY_MIN) return SIMDRIVE_OK;
    uint64_t end = run->broken - SDI_METADATA_SIZE;
    if (sdi_decode_with_prev(search->file, end, below, &mended)) {
        simdrive_status status = matches(search, &mended, &right);
        if (status != SIMDRIVE_OK) return status;
    }
    if (!right && sdi_fits_other_alignment(search->file, end)) return SIMDRIVE_ERROR_ALIGNMENT;
    if (!right) return sdi_damage_add_corrupt(&search->damage, end);
    if (sdi_load64(search->file + end + SDI_PREV_FIELD) == below) return SIMDRIVE_OK;
    return push_repair(&search->damage, end, below);
}

/* Step 7: all runs, newest first, from a tail that has its checksum. */
static simdrive_status collect_runs(search_state *search, uint64_t top) {
    while (top != 0) {
        followed_run run;
        uint64_t below = 0;
        simdrive_status status = follow_run(search, top, true, &run);
        if (status == SIMDRIVE_OK && run.broken != 0) {
            status = find_tail(search, run.lowest.start, 0, &below);
            if (status == SIMDRIVE_OK) status = mend_break(search, &run, below);
        }
        /* The broken entry belongs to the run unless the link above it was what was wrong. */
        bool own = run.broken >= SDI_ENTRY_MIN && !(below != 0 && sdi_payload_start(below) == run.lowest.start);
        if (status == SIMDRIVE_OK)
            status = push_run(&search->damage, top, own ? run.broken - 1 : run.lowest.end);
        if (status != SIMDRIVE_OK) return status;
        top = below;
    }
    return SIMDRIVE_OK;
}

static bool has_first_write_mark(const search_state *search) {
    return search->size >= sizeof sdi_first_write_mark &&
           memcmp(search->file, sdi_first_write_mark, sizeof sdi_first_write_mark) == 0;
}

/* Whether bytes from `start` to `end` lie in a sector that is zero as a whole (but for what was there before, up to
 * `tail`), as one is that was never written. */
static bool has_zero_sector(const search_state *search, uint64_t start, uint64_t end, uint64_t tail) {
    for (uint64_t sector = start - start % SECTOR; sector < end; sector += SECTOR) {
        uint64_t from = sector < tail ? tail : sector, to = sector + SECTOR;
        if (to > search->size) to = search->size;
        if (from < to && sdi_is_zero(search->file + from, to - from)) return true;
    }
    return false;
}

/* Whether the entry that ends at `broken` holds the first link of a batch that was not published on top of `tail`. Of
 * a link across two sectors the first one may not have been written. */
static bool is_unpublished(const search_state *search, uint64_t broken, uint64_t tail) {
    uint8_t field[8];
    uint64_t at = broken - SDI_METADATA_SIZE + SDI_PREV_FIELD;
    unsigned kept = sdi_unpublished_prev(at, tail, field);
    if (memcmp(search->file + at + kept, field + kept, sizeof field - kept) != 0) return false;
    return memcmp(search->file + at, field, kept) == 0 || has_zero_sector(search, at, at + kept, tail);
}

/* Whether the first entry of an unpublished batch stands whole on top of `tail`, below `end`. Who writes more than
 * recovery would take for the traces of a crash makes that entry durable first. */
static simdrive_status first_is_unpublished(search_state *search, uint64_t tail, uint64_t end, bool *answer) {
    enum { HIGHEST_LINK_BYTE = SDI_METADATA_SIZE - SDI_PREV_FIELD - 7 }; /* from the entry's tail down */
    simdrive_status status = SIMDRIVE_OK;
    *answer = false;
    for (uint64_t at = tail + SDI_ENTRY_MIN; at <= end && status == SIMDRIVE_OK && !*answer; at++) {
        sdi_record record;
        if (search->file[at - HIGHEST_LINK_BYTE] != 0xFF || !is_unpublished(search, at, tail)) continue;
        if (sdi_decode_with_prev(search->file, at - SDI_METADATA_SIZE, tail, &record))
            status = matches(search, &record, answer);
    }
    return status;
}

/* Whether nothing can have stood between the tail found and where the good entry's link leads. Then it is the link
 * that is damaged, and no crash does that. */
static bool no_entry_between(uint64_t below, const followed_run *run) {
    if (below + SDI_ENTRY_MIN > run->broken) return true;
    bool only_padding = sdi_payload_start(below) == run->lowest.start;
    return only_padding && run->broken - below != SDI_ENTRY_MIN; /* a tombstone fits into padding */
}

/* Whether an entry without its checksum misses a sector of its payload. Zeros may be its own, so its link must hold. */
static simdrive_status payload_is_torn(search_state *search, uint64_t broken, sdi_record *record, bool *torn) {
    bool suspect = false;
    *torn = sdi_decode(search->file, broken - SDI_METADATA_SIZE, record) &&
            has_zero_sector(search, record->start, record->end, record->prev);
    if (!*torn) return SIMDRIVE_OK;
    simdrive_status status = link_is_suspect(search, record, &suspect);
    *torn = !suspect;
    return status;
}

/* Step 6, from the first break down: whether all breaks are those of a crash, and the valid tail (or 0) below them. */
static simdrive_status explain_breaks(search_state *search, followed_run *run, uint64_t *tail, bool *explained) {
    uint64_t below = UINT64_MAX; /* highest tail under what was searched last */
    *explained = false;
    while (run->broken >= SDI_ENTRY_MIN) {
        bool valid = false, torn = false;
        uint64_t next, metadata = run->broken - SDI_METADATA_SIZE;
        sdi_record record;
        simdrive_status status = SIMDRIVE_OK;
        /* Down to it there is none: torn payloads may follow one another for long, and must not be searched anew. */
        if (below > run->lowest.start) status = find_tail(search, run->lowest.start, 0, &below);
        if (status == SIMDRIVE_OK && below != 0) status = judge_chain(search, below, &valid);
        if (status != SIMDRIVE_OK) return status;
        *tail = next = below;
        bool mendable = false;
        if (sdi_decode_with_prev(search->file, metadata, below, &record)) status = matches(search, &record, &mendable);
        if (status != SIMDRIVE_OK) return status;
        if (mendable && !is_unpublished(search, run->broken, below)) return SIMDRIVE_OK; /* only its link is wrong */
        if (no_entry_between(below, run)) return SIMDRIVE_OK;
        *explained = (valid && is_unpublished(search, run->broken, below)) ||
                     (below == 0 && (has_first_write_mark(search) || is_unpublished(search, run->broken, 0)));
        if (*explained) return SIMDRIVE_OK;
        if (!has_zero_sector(search, metadata, run->broken, below)) {
            status = payload_is_torn(search, run->broken, &record, &torn);
            if (status != SIMDRIVE_OK || !torn) return status;
            *tail = next = record.prev;
            valid = false; /* a link to 0 proves nothing, least of all about what was found below */
            if (next != 0) status = judge_chain(search, next, &valid);
            if (status != SIMDRIVE_OK) return status;
            run->lowest = record;
        }
        /* Zeros far from the end are more likely a medium's fault than a crash's. */
        *explained = valid && search->size - *tail <= SDI_CHECK_WINDOW;
        if (valid && !*explained) return first_is_unpublished(search, *tail, run->broken, explained);
        if (valid || next == 0) return SIMDRIVE_OK;
        record = run->lowest;
        status = follow_run(search, next, false, run);
        if (status != SIMDRIVE_OK) return status;
        if (run->proven == 0) run->lowest = record;
    }
    return SIMDRIVE_OK;
}

/* A valid chain of one entry, found after many tries, may be an accident. A longer one below it is then the better
 * answer, but a guess. */
static simdrive_status doubt_lonely_tail(search_state *search, uint64_t *tail, bool *ambiguous) {
    sdi_record record;
    uint64_t lower = *tail;
    *ambiguous = false;
    if (search->candidates <= FEW_CANDIDATES || !sdi_decode(search->file, lower - SDI_METADATA_SIZE, &record) ||
        record.prev != 0)
        return SIMDRIVE_OK;
    for (;;) {
        bool valid = false;
        simdrive_status status = find_tail(search, lower - 1, 0, &lower);
        if (status != SIMDRIVE_OK || lower == 0) return status;
        status = judge_chain(search, lower, &valid);
        if (status != SIMDRIVE_OK) return status;
        if (valid && sdi_decode(search->file, lower - SDI_METADATA_SIZE, &record) && record.prev != 0) {
            *tail = lower;
            *ambiguous = true;
            return SIMDRIVE_OK;
        }
    }
}

/* Steps 5 and 6. OK with the tail of a valid chain (or 0 for an interrupted first write) in `tail`, or with `middle`
 * set and the top of the first run in `tail`. */
static simdrive_status locate(search_state *search, uint64_t *tail, simdrive_damage *damage) {
    uint64_t from = search->size;
    for (;;) {
        bool valid = false, ambiguous = false;
        followed_run run;
        uint64_t below = 0;
        simdrive_status status = find_tail(search, from, 0, tail);
        if (status == SIMDRIVE_OK && *tail != 0) status = judge_chain(search, *tail, &valid);
        if (status != SIMDRIVE_OK) return status;
        if (*tail == 0) {
            *damage = SIMDRIVE_DAMAGE_TAIL;
            search->damage.keep_tail = true; /* the mark is a strong hint, and no proof */
            return has_first_write_mark(search) ? SIMDRIVE_OK : SIMDRIVE_ERROR_NOT_A_STORE;
        }
        if (valid) {
            status = doubt_lonely_tail(search, tail, &ambiguous);
            *damage = ambiguous                ? SIMDRIVE_DAMAGE_AMBIGUOUS
                      : *tail < search->size ? SIMDRIVE_DAMAGE_TAIL
                                               : SIMDRIVE_DAMAGE_NONE;
            return status;
        }
        status = follow_run(search, *tail, false, &run);
        if (status != SIMDRIVE_OK) return status;
        if (run.proven < 2 && search->candidates > FEW_CANDIDATES) { /* an accident, most likely */
            from = *tail - 1;
            continue;
        }
        bool explained = false;
        status = explain_breaks(search, &run, &below, &explained);
        if (status != SIMDRIVE_OK) return status;
        *damage = explained ? SIMDRIVE_DAMAGE_TAIL : SIMDRIVE_DAMAGE_MIDDLE;
        search->damage.keep_tail = explained; /* there are whole entries in it */
        if (explained) *tail = below;
        return SIMDRIVE_OK;
    }
}

/* --- filling the index ------------------------------------------------------------------------------------------- */

/* How many keys to make room for: from what the newest entries take each. A large estimate is made from more of them,
 * for those written last may be small for once. */
static uint64_t estimate_entries(const uint8_t *file, uint64_t tail) {
    uint64_t position = tail, count = 0, wanted = SAMPLE, estimate = 0;
    sdi_record record;
    for (;;) {
        while (count < wanted && position >= SDI_ENTRY_MIN && sdi_decode(file, position - SDI_METADATA_SIZE, &record)) {
            position = record.prev;
            count++;
        }
        if (count < wanted || position >= tail) return count;
        estimate = (uint64_t)((double)tail / (double)(tail - position) * (double)count);
        if (estimate / SAMPLE_SHARE <= count) break;
        wanted = estimate / SAMPLE_SHARE;
    }
    /* A little less: growing costs little, and room for keys that are not there stays. */
    return estimate - estimate / 10;
}

static simdrive_status recovery_begin(sdi_recovery *out, const uint8_t *file, uint64_t tail) {
    memset(out, 0, sizeof *out);
    out->expected = estimate_entries(file, tail);
    out->index = sdi_index_create(out->expected, file);
    if (!out->index) out->index = sdi_index_create(0, file); /* perhaps there are fewer */
    return out->index ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

static void recovery_abandon(sdi_recovery *out) {
    sdi_index_destroy(out->index);
    forget_damage(&out->damage);
    memset(out, 0, sizeof *out);
}

static int ascending_end(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Both arrays begin each element with its end. */
static void sort_damage(sdi_damage_map *damage) {
    if (damage->corrupt_count > 1)
        qsort(damage->corrupt, damage->corrupt_count, sizeof *damage->corrupt, ascending_end);
    if (damage->repair_count > 1)
        qsort(damage->repairs, damage->repair_count, sizeof *damage->repairs, ascending_end);
}

/* Checksums of a walk over a whole chain, newest entry first (steps 1, 3 and 4). */
typedef struct chain_check {
    const uint8_t *file;
    uint64_t tail;
    uint64_t checked_from; /* payloads that end there or behind are looked at */
    sdi_crc_kind kind;     /* of the entry met last */
    const sdi_kernels *kernels;
} chain_check;

/* The common case, without a detour: too small to be reclaimed, and the same kind of checksum as the last. */
static inline bool matches_at_once(const chain_check *check, const sdi_record *record) {
    uint64_t size = sdi_record_size(record);
    return size < SDI_RECLAIMED_PAGE &&
           check->kernels->crc[check->kind](0, check->file + record->start, (size_t)size) == record->checksum;
}

/* What is to be said of an entry to the builder. `*proven` is false when it must have its checksum and has not. */
static simdrive_status check_entry(chain_check *check, const sdi_record *record, unsigned *marks, bool *proven) {
    bool must_match = sdi_record_tail(record) == check->tail || record->prev == 0;
    *marks = 0;
    *proven = true;
    if (!must_match && record->end < check->checked_from) return SIMDRIVE_OK;
    if (matches_at_once(check, record)) return SIMDRIVE_OK;
    if (sdi_is_reclaimed(check->file, record)) { /* first: no need to read through its holes */
        *marks = SDI_BUILD_RECLAIMED;
    } else if (!sdi_checksum_matches(check->file, record, check->kind, &check->kind)) {
        *proven = !must_match;
        if (*proven && sdi_fits_other_alignment(check->file, record->end)) return SIMDRIVE_ERROR_ALIGNMENT;
        *marks = SDI_BUILD_CORRUPT;
    }
    return SIMDRIVE_OK;
}

/* Walks a chain that begins at `tail` into the builder. `whole` is false when a link does not hold or the first entry
 * has not its checksum. */
static simdrive_status walk_chain(chain_check *check, sdi_walk *walk, sdi_builder *builder, sdi_recovery *out,
                                  bool *whole) {
    sdi_record records[WALK_GROUP];
    size_t count;
    *whole = false;
    while ((count = sdi_walk_block(walk, records, WALK_GROUP)) > 0) {
        for (size_t i = 0; i < count; i++) {
            unsigned marks;
            bool proven;
            simdrive_status status = check_entry(check, &records[i], &marks, &proven);
            if (status != SIMDRIVE_OK || !proven) return status;
            if (sdi_record_tail(&records[i]) == check->tail) out->last_checksum = check->kind;
            status = sdi_builder_add(builder, &records[i], marks);
            if (status != SIMDRIVE_OK) return status;
        }
    }
    *whole = !walk->broken;
    return SIMDRIVE_OK;
}

/* Steps 1 to 4 for a chain that begins at `tail`. Payloads with wrong checksums go to out->damage.corrupt. */
static simdrive_status build_index(const uint8_t *file, uint64_t tail, const sdi_recovery_options *options,
                                   sdi_recovery *out, bool *whole) {
    static const sdi_damage_map none = {.kind = SIMDRIVE_DAMAGE_NONE};
    uint64_t checked_from = tail > options->check_window ? tail - options->check_window : 0;
    chain_check check = {.file = file, .tail = tail, .checked_from = checked_from,
                         .kind = options->likely, .kernels = sdi_kernels_active()};
    sdi_builder builder;
    sdi_walk walk;
    *whole = false;
    simdrive_status status = sdi_builder_begin(&builder, out, out->expected);
    if (status != SIMDRIVE_OK) return status;
    sdi_walk_begin(&walk, file, &none, tail);
    if (options->os) sdi_walk_read_ahead(&walk, options->os, SDI_WALK_TO_OPEN);
    status = walk_chain(&check, &walk, &builder, out, whole);
    status = sdi_builder_end(&builder, status);
    if (*whole) {
        out->has_entries = tail != 0;
        out->tail = tail;
    }
    return status;
}

/* The corrupt entries that were found while walking join those that the walk had to know of. */
static simdrive_status add_corrupt(sdi_damage_map *damage, const sdi_damage_map *found) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < found->corrupt_count && status == SIMDRIVE_OK; i++)
        status = sdi_damage_add_corrupt(damage, found->corrupt[i]);
    sort_damage(damage);
    return status;
}

/* The same over the runs of a store damaged in its middle. */
static simdrive_status build_index_of_runs(const uint8_t *file, sdi_recovery *out) {
    sdi_recovery built = {.index = out->index};
    sdi_builder builder;
    sdi_walk walk;
    sdi_record record;
    simdrive_status status = sdi_builder_begin(&builder, &built, 0);
    if (status != SIMDRIVE_OK) return status;
    sdi_walk_begin(&walk, file, &out->damage, out->tail);
    while (status == SIMDRIVE_OK && sdi_walk_next(&walk, &record))
        status = sdi_builder_add(&builder, &record, sdi_is_reclaimed(file, &record) ? SDI_BUILD_RECLAIMED : 0);
    status = sdi_builder_end(&builder, status);
    if (status == SIMDRIVE_OK) status = add_corrupt(&out->damage, &built.damage);
    forget_damage(&built.damage);
    out->has_entries = true;
    out->entries = built.entries;
    out->tombstones = built.tombstones;
    out->stale_entries = built.stale_entries;
    out->live_bytes = built.live_bytes;
    out->stale_bytes = built.stale_bytes;
    return status;
}

static simdrive_status recover_middle(search_state *search, uint64_t top, sdi_recovery *out) {
    simdrive_status status = collect_runs(search, top);
    if (status == SIMDRIVE_OK) status = recovery_begin(out, search->file, top);
    if (status != SIMDRIVE_OK) return status;
    out->damage = search->damage;
    memset(&search->damage, 0, sizeof search->damage);
    out->damage.kind = SIMDRIVE_DAMAGE_MIDDLE;
    out->tail = top;
    out->last_checksum = search->kind;
    sort_damage(&out->damage);
    return build_index_of_runs(search->file, out);
}

/* Whether one of the corrupt entries of a valid chain is so because its link leads past entries that are there. */
static simdrive_status any_link_suspect(search_state *search, const sdi_damage_map *found, bool *suspect) {
    simdrive_status status = SIMDRIVE_OK;
    *suspect = false;
    for (size_t i = 0; i < found->corrupt_count && status == SIMDRIVE_OK && !*suspect; i++) {
        sdi_record record;
        if (sdi_decode(search->file, found->corrupt[i], &record) && !sdi_is_reclaimed(search->file, &record))
            status = link_is_suspect(search, &record, suspect);
    }
    return status;
}

static simdrive_status recover_valid(search_state *search, uint64_t tail, simdrive_damage damage,
                                     const sdi_recovery_options *options, sdi_recovery *out) {
    bool whole = false, suspect = false;
    simdrive_status status = recovery_begin(out, search->file, tail);
    if (status == SIMDRIVE_OK) status = build_index(search->file, tail, options, out, &whole);
    if (status == SIMDRIVE_OK) status = any_link_suspect(search, &out->damage, &suspect);
    if (status != SIMDRIVE_OK) return status;
    if (suspect) {
        recovery_abandon(out);
        return recover_middle(search, tail, out);
    }
    sort_damage(&out->damage);
    out->damage.kind = damage;
    out->damage.keep_tail = search->damage.keep_tail;
    return SIMDRIVE_OK;
}

/* Whether a whole chain leads from the file's end to its beginning in which an entry has its checksum under another
 * payload alignment only. The links alone are followed: where payloads begin is what is in question. */
static bool is_of_other_alignment(const uint8_t *file, uint64_t size) {
    uint64_t tail, prev;
    sdi_record record;
    for (tail = size; tail >= SDI_ENTRY_MIN; tail = prev) {
        prev = sdi_load64(file + tail - SDI_METADATA_SIZE + SDI_PREV_FIELD);
        if (prev >= tail - SDI_METADATA_SIZE) return false;
    }
    if (tail != 0) return false;
    for (tail = size; tail >= SDI_ENTRY_MIN; tail = prev) {
        uint64_t end = tail - SDI_METADATA_SIZE;
        prev = sdi_load64(file + end + SDI_PREV_FIELD);
        bool ours = sdi_decode(file, end, &record) && sdi_checksum_matches(file, &record, SDI_CRC32C, NULL);
        if (!ours && sdi_fits_other_alignment(file, end)) return true;
        if (prev >= end) return false; /* true a moment ago; but the bytes are shared */
    }
    return false;
}

static simdrive_status recover_damaged(const uint8_t *file, uint64_t size, const sdi_recovery_options *options,
                                       sdi_recovery *out) {
    search_state search = {.file = file, .size = size, .kind = options->likely, .spare_steps = 2 * size + SPARE_STEPS};
    uint64_t tail = 0;
    simdrive_damage damage = SIMDRIVE_DAMAGE_NONE;
    if (is_of_other_alignment(file, size)) return SIMDRIVE_ERROR_ALIGNMENT;
    ranges_begin(&search.ranges, file, 0, size);
    simdrive_status status = size < SDI_ENTRY_MIN && !has_first_write_mark(&search)
                                 ? SIMDRIVE_ERROR_NOT_A_STORE
                                 : locate(&search, &tail, &damage);
    if (status == SIMDRIVE_OK)
        status = damage == SIMDRIVE_DAMAGE_MIDDLE ? recover_middle(&search, tail, out)
                                                  : recover_valid(&search, tail, damage, options, out);
    ranges_end(&search.ranges);
    verdicts_end(&search.verdicts);
    forget_damage(&search.damage);
    if (status != SIMDRIVE_OK) recovery_abandon(out);
    return status;
}

simdrive_status sdi_recover(const uint8_t *file, uint64_t size, const sdi_recovery_options *options,
                            sdi_recovery *out) {
    bool whole = false;
    simdrive_status status = recovery_begin(out, file, size >= SDI_ENTRY_MIN ? size : 0);
    if (status != SIMDRIVE_OK || size == 0) return status;
    if (size >= SDI_ENTRY_MIN) status = build_index(file, size, options, out, &whole);
    if (status == SIMDRIVE_OK && whole && out->damage.corrupt_count == 0) {
        out->index = sdi_index_fit(out->index); /* the estimate was of entries: many may be of the same keys */
        return SIMDRIVE_OK;
    }
    recovery_abandon(out);
    if (status != SIMDRIVE_OK) return status;
    if (sdi_is_zero(file, size)) { /* space set aside, nothing written yet */
        status = recovery_begin(out, file, 0);
        out->damage.kind = SIMDRIVE_DAMAGE_TAIL;
        return status;
    }
    return recover_damaged(file, size, options, out);
}

/* End of the last byte that is not zero, above `floor`, or `floor`. */
static uint64_t end_of_bytes(const uint8_t *file, uint64_t size, uint64_t floor) {
    while (size - floor >= SECTOR && sdi_is_zero(file + size - SECTOR, SECTOR)) size -= SECTOR;
    while (size > floor && file[size - 1] == 0) size--;
    return size;
}

/* An entry whose link leads to 0 is left to recovery: where zeros are, too many offsets look like one. */
uint64_t sdi_end_of_entries(const uint8_t *file, uint64_t size, uint64_t floor, sdi_crc_kind likely,
                            uint64_t *end) {
    uint64_t bytes_end = *end = end_of_bytes(file, size, floor);
    if (size < floor + SDI_ENTRY_MIN || bytes_end + SDI_METADATA_SIZE > size) return size;
    if (bytes_end == floor) return floor == 0 ? size : floor;
    uint64_t highest = bytes_end + SDI_METADATA_SIZE - 1 < size ? bytes_end + SDI_METADATA_SIZE - 1 : size;
    uint64_t lowest = bytes_end > floor + TORN_MAX ? bytes_end - TORN_MAX : floor;
    uint64_t budget = END_BUDGET;
    if (lowest < floor + SDI_ENTRY_MIN) lowest = floor + SDI_ENTRY_MIN;
    for (uint64_t tail = highest; tail >= lowest; tail--) {
        sdi_record record;
        if (!sdi_decode(file, tail - SDI_METADATA_SIZE, &record) || record.prev < floor || record.prev == 0 ||
            !sdi_padding_is_zero(file, &record))
            continue;
        uint64_t cost = sdi_record_size(&record);
        if (cost > budget) return highest;
        budget -= cost;
        if (sdi_checksum_matches(file, &record, likely, NULL) || sdi_is_reclaimed(file, &record)) return tail;
    }
    bool all_seen = lowest == floor + SDI_ENTRY_MIN;
    return all_seen && floor != 0 ? floor : highest;
}

/* A broken link is of an append not yet published. */
bool sdi_leads_to(const uint8_t *file, uint64_t from, uint64_t tail) {
    sdi_record record = {0};
    while (from > tail) {
        if (from < SDI_ENTRY_MIN || !sdi_decode(file, from - SDI_METADATA_SIZE, &record)) return false;
        from = record.prev;
    }
    if (from != tail) return false;
    /* The first entry of a file is not finished as long as it begins with the mark; unless that is its payload. */
    bool marked = tail == 0 && memcmp(file, sdi_first_write_mark, sizeof sdi_first_write_mark) == 0;
    return !marked || sdi_checksum_matches(file, &record, SDI_CRC32C, NULL);
}

simdrive_status sdi_recover_added(const uint8_t *file, uint64_t tail, uint64_t size, sdi_crc_kind likely,
                                  uint64_t *new_tail) {
    search_state search = {.file = file, .size = size, .floor = tail, .kind = likely};
    simdrive_status status = SIMDRIVE_OK;
    uint64_t found = size + 1;
    bool valid = false;
    *new_tail = tail;
    ranges_begin(&search.ranges, file, tail, size);
    search.ranges.budget = ADDED_BUDGET * (size - tail);
    /* A chain's verdict is given once: a link that is made true meanwhile does not let in the lower part of a batch
     * whose upper part was passed over before. */
    do {
        status = find_tail(&search, found - 1, tail + 1, &found);
        if (status != SIMDRIVE_OK || found == 0) break;
        status = judge_chain(&search, found, &valid);
    } while (status == SIMDRIVE_OK && !valid);
    if (status == SIMDRIVE_OK && found != 0) *new_tail = found;
    ranges_end(&search.ranges);
    verdicts_end(&search.verdicts);
    return status;
}
