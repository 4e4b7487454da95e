/* SPDX-License-Identifier: Apache-2.0
 *
 * damage_check.c — see damage_check.h.
 */
#include "damage_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shown.h"

#define STORE "store"
#define SAVED "saved"

enum { SECTOR = 512 };

void damage_begin(damage_case *damaged, const test_image *image) {
    *damaged = (damage_case){.image = *image, .memory = memory_os_create()};
    test_view_build(&damaged->view, &damaged->image, damaged->image.count);
    damaged->bytes = test_alloc(damaged->image.size);
    damage_undo(damaged);
}

void damage_end(damage_case *damaged) {
    test_view_free(&damaged->view);
    test_image_free(&damaged->image);
    free(damaged->bytes);
    memory_os_destroy(damaged->memory);
}

void damage_undo(damage_case *damaged) {
    damaged->size = damaged->image.size;
    memcpy(damaged->bytes, damaged->image.bytes, damaged->size);
}

/* --- what was hit ------------------------------------------------------------------------------------------------ */

typedef struct hits {
    size_t entries;
    bool beside_hashes; /* something else than a key hash differs */
} hits;

static bool differs(const damage_case *damaged, size_t from, size_t to) {
    return to > damaged->size || memcmp(damaged->bytes + from, damaged->image.bytes + from, to - from) != 0;
}

/* Whether damage made all of that zero. */
static bool was_cleared(const damage_case *damaged, size_t from, size_t to) {
    if (to > damaged->size) to = damaged->size;
    if (from >= to || !differs(damaged, from, to)) return false;
    for (size_t i = from; i < to; i++) {
        if (damaged->bytes[i]) return false;
    }
    return true;
}

/* The lowest sector that damage has made zero, or zero from the end of an entry in it: that is what a crash leaves of
 * bytes that were not written, and what lies above is taken for the rest of it, not far from the file's end. */
static size_t first_cleared(const damage_case *damaged) {
    for (size_t sector = 0; sector < damaged->size; sector += SECTOR) {
        if (was_cleared(damaged, sector, sector + SECTOR)) return sector;
        for (size_t i = 0; i < damaged->image.count; i++) {
            size_t tail = damaged->image.records[i].tail;
            if (tail > sector && tail < sector + SECTOR && was_cleared(damaged, tail, sector + SECTOR)) return tail;
        }
    }
    return damaged->size;
}

static hits count_hits(const damage_case *damaged) {
    hits found = {0};
    size_t cleared = first_cleared(damaged);
    for (size_t i = 0; i < damaged->image.count; i++) {
        const test_record *record = &damaged->image.records[i];
        if (record->tail <= cleared && !differs(damaged, record->prev, record->tail)) continue;
        found.entries++;
        if (differs(damaged, record->prev, record->end) || differs(damaged, record->end + 8, record->tail))
            found.beside_hashes = true;
    }
    return found;
}

/* --- what is shown ----------------------------------------------------------------------------------------------- */

/* Keys that are shown otherwise than they were: lost, older, or back from their deletion. */
static size_t differing_keys(simdrive_store *store, const damage_case *damaged) {
    const test_view *view = &damaged->view;
    size_t differ = 0;
    for (size_t i = 0; i < view->live_count + view->gone_count; i++) {
        bool live = i < view->live_count;
        const test_record *record = live ? view->live[i] : NULL;
        uint64_t hash = live ? record->key_hash : view->gone[i - view->live_count];
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_read_hash(store, hash, &entry);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_NOT_FOUND || status == SIMDRIVE_ERROR_CORRUPT);
        bool found = status == SIMDRIVE_OK;
        bool as_it_was = found && live && entry.size == test_record_size(record) &&
                         memcmp(entry.data, damaged->image.bytes + record->start, entry.size) == 0;
        if (found && !as_it_was) CHECK(test_image_ever_had(&damaged->image, hash, entry.data, entry.size));
        differ += live ? !as_it_was : found;
        simdrive_entry_release(&entry);
    }
    return differ;
}

static simdrive_status open_strictly(damage_case *damaged, const char *name, bool read_only, simdrive_store **store) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = read_only, .verify_all = true,
                                     .check_on_read = true, .saved_index = SIMDRIVE_SAVED_INDEX_OFF,
                                     .map_reserve_bytes = MEMORY_OS_RESERVE};
    return sdi_open_with_os(memory_os_table(damaged->memory), name, &options, store);
}

static void check_untouched(const damage_case *damaged) {
    size_t size;
    const uint8_t *bytes = memory_os_get(damaged->memory, STORE, &size);
    CHECK_U64(damaged->size, size);
    CHECK(size == 0 || memcmp(bytes, damaged->bytes, size) == 0);
}

static bool check_reading(damage_case *damaged, const hits *found) {
    simdrive_store *store = NULL;
    simdrive_status status = open_strictly(damaged, STORE, true, &store);
    check_untouched(damaged);
    if (status == SIMDRIVE_ERROR_NOT_A_STORE) {
        CHECK_U64(damaged->image.count, found->entries);
        return false;
    }
    CHECK_OK(status);
    size_t differ = differing_keys(store, damaged);
    CHECK(differ <= found->entries);
    damaged->lost_in_reading += differ;
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_status verdict = simdrive_verify(store, NULL, NULL, NULL, &report);
    CHECK(verdict == SIMDRIVE_OK || verdict == SIMDRIVE_ERROR_CORRUPT);
    bool whole_entries_cut = damaged->size < damaged->image.size;
    if (found->beside_hashes && !whole_entries_cut)
        CHECK(verdict == SIMDRIVE_ERROR_CORRUPT || report.damaged_tail_bytes > 0);
    CHECK_OK(simdrive_close(store));
    return true;
}

static void check_salvage(damage_case *damaged, const hits *found) {
    simdrive_store *store = NULL;
    CHECK_OK(sdi_salvage_with_os(memory_os_table(damaged->memory), STORE, SAVED, NULL, NULL, NULL, NULL));
    size_t size;
    const uint8_t *bytes = memory_os_get(damaged->memory, SAVED, &size);
    CHECK(size == 0 || is_intact_chain(bytes, size));
    CHECK_OK(open_strictly(damaged, SAVED, true, &store));
    size_t differ = differing_keys(store, damaged);
    CHECK(differ <= found->entries);
    damaged->lost_by_salvage += differ;
    CHECK_OK(simdrive_close(store));
    memory_os_remove(damaged->memory, SAVED);
    check_untouched(damaged);
}

static void check_writer(damage_case *damaged, const hits *found) {
    simdrive_store *store = NULL;
    simdrive_status status = open_strictly(damaged, STORE, false, &store);
    CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT);
    check_untouched(damaged);
    if (status != SIMDRIVE_OK) return;
    CHECK(differing_keys(store, damaged) <= found->entries);
    CHECK_OK(simdrive_write(store, "key of the writer", 17, "value", 5, NULL));
    CHECK(differing_keys(store, damaged) <= found->entries);
    CHECK_OK(simdrive_close(store));
    CHECK_OK(open_strictly(damaged, STORE, false, &store));
    CHECK(differing_keys(store, damaged) <= found->entries);
    CHECK(simdrive_exists(store, "key of the writer", 17));
    CHECK_OK(simdrive_close(store));
}

void damage_check(damage_case *damaged, bool thorough) {
    hits found = count_hits(damaged);
    damaged->states++;
    damaged->hit += found.entries;
    memory_os_put(damaged->memory, STORE, damaged->bytes, damaged->size);
    if (!check_reading(damaged, &found) || !thorough) return;
    check_salvage(damaged, &found);
    check_writer(damaged, &found);
    for (size_t i = 0; i <= damaged->image.count; i++) {
        char kept[64];
        snprintf(kept, sizeof kept, STORE ".tail-%zu", i < damaged->image.count ? damaged->image.records[i].prev : 0);
        memory_os_remove(damaged->memory, kept);
    }
}
