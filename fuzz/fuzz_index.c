/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_index.c — a valid store beside a damaged saved index: opening takes the index or does without it, and shows the
 * store as it is in either case; nothing is trusted that a disk may have changed.
 *
 *   input   flags | entries | later entries | seed, 2 bytes | damages...
 *   damage  place, 2 bytes | kind and length | value
 *
 * With the flag SEALED the header gets its checksum again after the damage. Whoever can do that can lay any index there
 * and is the store's owner (saved_index.c); so then only this is asked: all that is shown lies in the file.
 */
#include <stdlib.h>
#include <string.h>

#include "digest/hash.h"
#include "fuzz.h"
#include "shown.h"

#define STORE "store"
#define INDEX "store.index"

enum { SEALED = 1, READ_ONLY = 2, CUT = 4, CHECK_ON_READ = 8, HEADER_SIZE = 128, MOST_DAMAGES = 16, MOST_LATER = 20 };

typedef struct run {
    memory_os *memory;
    unsigned flags;
    test_image image;
} run;

static simdrive_store *open_store(const run *r, simdrive_saved_index saved, bool read_only) {
    simdrive_open_options options = {.struct_size = sizeof options, .saved_index = saved, .read_only = read_only,
                                     .check_on_read = r->flags & CHECK_ON_READ,
                                     .map_reserve_bytes = MEMORY_OS_RESERVE};
    simdrive_store *store = NULL;
    CHECK_OK(sdi_open_with_os(memory_os_table(r->memory), STORE, &options, &store));
    return store;
}

static void write_some(run *r, simdrive_store *store, size_t count, test_random *random) {
    uint8_t payload[200];
    for (size_t i = 0; i < count; i++) {
        uint64_t key = test_key_hash(test_random_below(random, 300));
        size_t size = 2 + (size_t)test_random_below(random, sizeof payload - 2);
        if (test_random_below(random, 6) == 0) {
            if (!test_image_find(&r->image, key)) continue;
            test_image_delete(&r->image, key);
            CHECK_OK(simdrive_delete_hash(store, key, NULL));
            continue;
        }
        test_random_fill(random, payload, size);
        test_image_put(&r->image, key, payload, size);
        CHECK_OK(simdrive_write_hash(store, key, payload, size, NULL));
    }
}

/* A store whose index was saved, and that was written to afterwards. */
static void make_store(run *r, fuzz_input *input) {
    size_t entries = 1 + fuzz_byte(input), later = fuzz_byte(input) % MOST_LATER;
    test_random random = {fuzz_word(input)};
    simdrive_store *store = open_store(r, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_some(r, store, entries, &random);
    CHECK_OK(simdrive_close(store));
    store = open_store(r, SIMDRIVE_SAVED_INDEX_OFF, false);
    write_some(r, store, later, &random);
    CHECK_OK(simdrive_close(store));
}

static void damage_index(const run *r, fuzz_input *input) {
    size_t size;
    const uint8_t *saved = memory_os_get(r->memory, INDEX, &size);
    if (!saved || size < HEADER_SIZE) return; /* there was nothing to save */
    uint8_t *bytes = test_alloc(size);
    memcpy(bytes, saved, size);
    for (size_t i = 0; i < MOST_DAMAGES && fuzz_left(input) >= 4; i++) {
        size_t place = fuzz_place(input, r->flags & SEALED ? HEADER_SIZE : size);
        unsigned how = fuzz_byte(input), value = fuzz_byte(input);
        size_t part = 1 + how / 4;
        if (part > size - place) part = size - place;
        test_random random = {value};
        switch (how % 4) {
        case 0: bytes[place] ^= (uint8_t)(1u << value % 8); break;
        case 1: bytes[place] = (uint8_t)value; break;
        case 2: memset(bytes + place, 0, part); break;
        default: test_random_fill(&random, bytes + place, part);
        }
    }
    if (r->flags & SEALED) {
        uint64_t checksum = sdi_hash(bytes, HEADER_SIZE - sizeof checksum);
        memcpy(bytes + HEADER_SIZE - sizeof checksum, &checksum, sizeof checksum);
    }
    if (r->flags & CUT) size = fuzz_place(input, size);
    memory_os_put(r->memory, INDEX, bytes, size);
    free(bytes);
}

/* A forged index may lead to entries that are old, or twice to one; never out of the file. */
static void read_everything(const run *r, simdrive_store *store) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry;
    size_t count = 0;
    CHECK_OK(simdrive_iterate(store, &iterator));
    while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
        uint64_t start, end;
        simdrive_entry_offset_range(entry, &start, &end);
        CHECK(start < end && end < r->image.size);
        CHECK(memcmp(entry->data, r->image.bytes + start, entry->size) == 0);
        CHECK(count++ <= r->image.count);
    }
    simdrive_iterator_close(iterator);
}

static void check_store(const run *r, simdrive_store *store) {
    if (r->flags & SEALED) {
        read_everything(r, store);
    } else {
        shown all = {0};
        shown_take(&all, store, r->image.bytes, r->image.size);
        test_check_shows(store, &r->image);
        shown_check_other_ways(&all, store);
        shown_free(&all);
    }
    for (uint64_t number = 0; number < 300; number += 7) {
        simdrive_entry entry = {0};
        if (simdrive_read_hash(store, test_key_hash(number), &entry) != SIMDRIVE_OK) continue;
        CHECK(simdrive_entry_key_hash(&entry) == test_key_hash(number));
        CHECK(test_image_ever_had(&r->image, test_key_hash(number), entry.data, entry.size));
        simdrive_entry_release(&entry);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    if (size < 6) return 0;
    run r = {.memory = memory_os_create(), .flags = fuzz_byte(&input)};
    make_store(&r, &input);
    damage_index(&r, &input);
    bool read_only = r.flags & READ_ONLY;
    simdrive_store *store = open_store(&r, SIMDRIVE_SAVED_INDEX_AUTO, read_only);
    check_store(&r, store);
    if (!read_only && !(r.flags & SEALED)) {
        test_random random = {size};
        write_some(&r, store, 3, &random);
        check_store(&r, store);
    }
    CHECK_OK(simdrive_close(store));
    size_t stored_size;
    const uint8_t *stored = memory_os_get(r.memory, STORE, &stored_size);
    CHECK_U64(r.image.size, stored_size);
    CHECK(stored_size == 0 || memcmp(stored, r.image.bytes, stored_size) == 0);
    test_image_free(&r.image);
    memory_os_destroy(r.memory);
    return 0;
}
