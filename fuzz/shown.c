/* SPDX-License-Identifier: Apache-2.0
 *
 * shown.c — see shown.h.
 */
#include "shown.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLE_KEYS = 4, SMALLEST_ENTRY = TEST_METADATA_SIZE + 1, HASH_SIZE = 8, CHECKSUM_FIELD = 16 };

static uint64_t load(const uint8_t *at, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* --- what is shown ----------------------------------------------------------------------------------------------- */

void shown_free(shown *all) {
    for (size_t i = 0; i < all->count; i++) free(all->entries[i].payload);
    free(all->entries);
    *all = (shown){0};
}

static void add(shown *all, const simdrive_entry *entry) {
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 16;
        all->entries = realloc(all->entries, all->capacity * sizeof *all->entries);
        if (!all->entries) abort();
    }
    shown_entry *added = &all->entries[all->count++];
    *added = (shown_entry){simdrive_entry_key_hash(entry), test_alloc(entry->size), entry->size};
    memcpy(added->payload, entry->data, entry->size);
}

static void check_place(simdrive_store *store, const simdrive_entry *entry, const uint8_t *bytes, size_t size) {
    simdrive_metadata metadata;
    uint64_t start, end, tail = simdrive_tail(store);
    simdrive_entry_metadata(entry, &metadata);
    simdrive_entry_offset_range(entry, &start, &end);
    CHECK(tail <= size);
    CHECK(start < end && end + TEST_METADATA_SIZE <= tail && end - start == entry->size);
    CHECK(start % TEST_ALIGNMENT == 0 && (uintptr_t)entry->data % TEST_ALIGNMENT == 0);
    CHECK(metadata.start == start && metadata.end == end);
    /* As stored, which is wrong where a link was mended. */
    CHECK(metadata.prev_offset <= start || test_info(store).damage == SIMDRIVE_DAMAGE_MIDDLE);
    CHECK(memcmp(entry->data, bytes + start, entry->size) == 0);
    CHECK(load(bytes + end, HASH_SIZE) == metadata.key_hash);
    (void)simdrive_entry_is_valid(entry);
}

void shown_take(shown *all, simdrive_store *store, const uint8_t *bytes, size_t size) {
    simdrive_iterator *iterator = NULL;
    simdrive_entry entry = {0};
    simdrive_status status;
    CHECK_OK(simdrive_iterate(store, &iterator));
    while ((status = simdrive_iterator_next(iterator, &entry)) == SIMDRIVE_OK) {
        check_place(store, &entry, bytes, size);
        CHECK(shown_find(all, simdrive_entry_key_hash(&entry)) == NULL);
        add(all, &entry);
        simdrive_entry_release(&entry);
        CHECK(all->count <= size / SMALLEST_ENTRY);
    }
    CHECK_STATUS(SIMDRIVE_END, status);
    simdrive_iterator_close(iterator);
}

void shown_drop_unstorable(shown *all) {
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (all->entries[i].size > 1 || all->entries[i].payload[0] != 0)
            all->entries[kept++] = all->entries[i];
        else
            free(all->entries[i].payload);
    }
    all->count = kept;
}

const shown_entry *shown_find(const shown *all, uint64_t key_hash) {
    for (size_t i = 0; i < all->count; i++) {
        if (all->entries[i].key_hash == key_hash) return &all->entries[i];
    }
    return NULL;
}

static bool same(const shown_entry *a, const shown_entry *b) {
    return a->size == b->size && memcmp(a->payload, b->payload, a->size) == 0;
}

bool shown_has_all(const shown *all, const shown *some) {
    for (size_t i = 0; i < some->count; i++) {
        const shown_entry *found = shown_find(all, some->entries[i].key_hash);
        if (!found || !same(found, &some->entries[i])) return false;
    }
    return true;
}

/* --- the other ways ---------------------------------------------------------------------------------------------- */

typedef struct visit_state {
    const shown *all;
    size_t count;
} visit_state;

static simdrive_status visit_one(void *user, unsigned thread, const simdrive_entry *entry) {
    visit_state *state = user;
    (void)thread;
    const shown_entry *known = shown_find(state->all, simdrive_entry_key_hash(entry));
    CHECK(known && known->size == entry->size && memcmp(known->payload, entry->data, entry->size) == 0);
    state->count++;
    return SIMDRIVE_OK;
}

static void check_single_reads(const shown *all, simdrive_store *store) {
    for (size_t i = 0; i < all->count; i++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, all->entries[i].key_hash, &entry));
        CHECK(entry.size == all->entries[i].size && memcmp(entry.data, all->entries[i].payload, entry.size) == 0);
        simdrive_entry_release(&entry);
    }
    simdrive_entry last = {0};
    simdrive_status status = simdrive_read_last(store, &last);
    CHECK_STATUS(all->count ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, status);
    if (all->count) CHECK(simdrive_entry_key_hash(&last) == all->entries[0].key_hash);
    simdrive_entry_release(&last);
}

/* The newest revision of a key is what a read finds. */
static void check_history(const shown_entry *known, simdrive_store *store, size_t most) {
    simdrive_history *history = NULL;
    simdrive_revision revision;
    size_t count = 0;
    simdrive_status status;
    CHECK_OK(simdrive_history_begin_hash(store, known->key_hash, &history));
    while ((status = simdrive_history_next(history, &revision)) == SIMDRIVE_OK) {
        if (count++ == 0 && revision.live && !revision.corrupt)
            CHECK(revision.payload.size == known->size &&
                  memcmp(revision.payload.data, known->payload, known->size) == 0);
        CHECK(count <= most);
    }
    CHECK_STATUS(SIMDRIVE_END, status);
    simdrive_history_end(history);
}

/* Changes come to an end, and leave what is shown. */
static void check_changes(const shown *all, simdrive_store *store, size_t most) {
    simdrive_changes *changes = NULL;
    simdrive_event event;
    size_t count = 0;
    uint64_t *last = test_alloc(all->count * sizeof *last); /* size of the last put of each key, 0 for none */
    memset(last, 0, all->count * sizeof *last);
    CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
    for (;;) {
        simdrive_status status = simdrive_changes_next(changes, 0, &event);
        if (status == SIMDRIVE_END) break;
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT);
        CHECK(count++ <= most);
        const shown_entry *known = shown_find(all, event.key_hash);
        if (known && status == SIMDRIVE_OK)
            last[known - all->entries] = event.operation == SIMDRIVE_PUT ? event.payload.size : 0;
    }
    simdrive_changes_end(changes);
    simdrive_info info = test_info(store);
    for (size_t i = 0; i < all->count && info.damage <= SIMDRIVE_DAMAGE_TAIL && info.corrupt_entries == 0; i++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, all->entries[i].key_hash, &entry));
        if (simdrive_entry_is_valid(&entry)) CHECK_U64(all->entries[i].size, last[i]);
        simdrive_entry_release(&entry);
    }
    free(last);
}

static simdrive_status count_bytes(void *user, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)user += size;
    return SIMDRIVE_OK;
}

void shown_check_other_ways(const shown *all, simdrive_store *store) {
    visit_state state = {.all = all};
    uint64_t streamed = 0, tail = simdrive_tail(store);
    size_t most = (size_t)tail / SMALLEST_ENTRY + 1;
    CHECK_OK(simdrive_visit(store, 1, visit_one, &state));
    CHECK_U64(all->count, state.count);
    check_single_reads(all, store);
    for (size_t i = 0; i < all->count && i < SAMPLE_KEYS; i++) check_history(&all->entries[i], store, most);
    check_changes(all, store, most);
    CHECK_OK(simdrive_backup_stream(store, NULL, count_bytes, &streamed, NULL, NULL, NULL));
    CHECK_U64(tail, streamed);
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    CHECK_OK(simdrive_get_statistics(store, &statistics));
}

/* --- the bytes by themselves ------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i]) return false;
    }
    return true;
}

static bool has_checksum(const uint8_t *payload, size_t size, uint32_t checksum) {
    return test_crc(SIMDRIVE_CHECKSUM_CRC32C, payload, size) == checksum ||
           test_crc(SIMDRIVE_CHECKSUM_CRC32, payload, size) == checksum;
}

bool is_intact_chain(const uint8_t *bytes, size_t size) {
    size_t tail = size;
    if (size < SMALLEST_ENTRY || is_zero(bytes + size - TEST_METADATA_SIZE, TEST_METADATA_SIZE)) return false;
    while (tail >= SMALLEST_ENTRY) {
        size_t end = tail - TEST_METADATA_SIZE;
        uint64_t prev = load(bytes + end + HASH_SIZE, 8);
        uint32_t checksum = (uint32_t)load(bytes + end + CHECKSUM_FIELD, 4);
        if (prev >= end || (prev != 0 && prev < SMALLEST_ENTRY)) return false;
        bool tombstone = end - prev == 1 && bytes[prev] == 0;
        size_t start = tombstone ? (size_t)prev : (size_t)(prev + TEST_ALIGNMENT - 1) / TEST_ALIGNMENT * TEST_ALIGNMENT;
        if (start >= end || !is_zero(bytes + prev, start - (size_t)prev)) return false;
        if (!has_checksum(bytes + start, end - start, checksum)) return false;
        tail = (size_t)prev;
    }
    return tail == 0;
}

bool stands_in(const uint8_t *bytes, size_t size, const shown_entry *entry) {
    if (size < entry->size + TEST_METADATA_SIZE) return false;
    for (size_t end = entry->size; end + TEST_METADATA_SIZE <= size; end++) {
        if (load(bytes + end, HASH_SIZE) != entry->key_hash) continue;
        if (memcmp(bytes + end - entry->size, entry->payload, entry->size) != 0) continue;
        if (has_checksum(entry->payload, entry->size, (uint32_t)load(bytes + end + CHECKSUM_FIELD, 4))) return true;
    }
    return false;
}
