/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_file.c — any bytes as a store. The first byte of an input chooses options, the rest is the file.
 *
 * Whatever they are:
 *   - opening, reading, verifying and salvaging leave the file as it is, to the byte, and beside it only what salvage
 *     was asked for;
 *   - all that is shown lies in the file, and all ways of reading agree;
 *   - bytes that are a whole chain of good entries are shown exactly;
 *   - salvage gives what reading gives, and nothing that does not stand in the file;
 *   - a writer is refused, or keeps all that was shown, and what it cuts off is kept aside to the byte;
 *   - compaction keeps all that was shown, or refuses;
 *   - the steps of all this together are in proportion to the bytes.
 */
#include "fuzz.h"
#include "shown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORE "store"
#define SAVED "saved"

enum {
    VERIFY_ALL = 1,
    CHECK_ON_READ = 2,
    NO_OTHER_WAYS = 4,
    NO_SALVAGE = 8,
    NO_WRITING = 16,
    RESET_FOREIGN = 32,
    LARGEST = 1 << 18
};

/* Steps that all of the calls below may take. Seen: at most a third of it. */
#define STEPS_AT_LEAST UINT64_C(400000)
#define STEPS_PER_BYTE UINT64_C(6000)

typedef struct run {
    memory_os *memory;
    const sdi_os *os;
    unsigned flags;
    const uint8_t *bytes;
    size_t size;
    shown before; /* what reading shows */
    bool opens, writable;
    simdrive_damage damage;
    uint64_t corrupt, tail;
} run;

static simdrive_open_options options_of(const run *r, bool read_only) {
    return (simdrive_open_options){.struct_size = sizeof(simdrive_open_options),
                                   .read_only = read_only,
                                   .verify_all = r->flags & VERIFY_ALL,
                                   .check_on_read = r->flags & CHECK_ON_READ,
                                   .reset_foreign = !read_only && (r->flags & RESET_FOREIGN),
                                   .map_reserve_bytes = MEMORY_OS_RESERVE,
                                   .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
}

static void check_untouched(const run *r, size_t files) {
    size_t size;
    const uint8_t *bytes = memory_os_get(r->memory, STORE, &size);
    CHECK_U64(r->size, size);
    CHECK(size == 0 || memcmp(bytes, r->bytes, size) == 0);
    CHECK_U64(files, memory_os_count(r->memory, ""));
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i]) return false;
    }
    return true;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static void check_info(run *r, simdrive_store *store) {
    simdrive_info info = test_info(store);
    CHECK(info.tail <= r->size && info.file_size == r->size && info.damaged_tail_bytes <= r->size);
    CHECK(info.entries <= r->size && info.live_bytes <= r->size && info.stale_bytes <= r->size);
    CHECK(info.entries >= r->before.count && info.entries <= r->before.count + info.corrupt_entries +
                                                                 (r->flags & CHECK_ON_READ ? r->size : 0));
    r->damage = info.damage;
    r->corrupt = info.corrupt_entries;
    r->tail = info.tail;
}

static void check_verify(run *r, simdrive_store *store) {
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_status verdict = simdrive_verify(store, NULL, NULL, NULL, &report);
    CHECK(verdict == SIMDRIVE_OK || verdict == SIMDRIVE_ERROR_CORRUPT);
    CHECK(report.bytes_checked <= r->size && report.entries_checked <= r->size);
    if (verdict == SIMDRIVE_OK) CHECK_U64(0, report.entries_corrupt);
}

static void check_intact(const run *r, simdrive_store *store) {
    test_image image;
    test_image_parse(&image, r->bytes, r->size);
    test_check_shows(store, &image);
    CHECK(test_info(store).damage == SIMDRIVE_DAMAGE_NONE);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    test_image_free(&image);
}

static void check_reading(run *r) {
    simdrive_open_options options = options_of(r, true);
    simdrive_store *store = NULL;
    bool intact = is_intact_chain(r->bytes, r->size);
    simdrive_status status = sdi_open_with_os(r->os, STORE, &options, &store);
    r->opens = status == SIMDRIVE_OK;
    CHECK(r->opens || status == SIMDRIVE_ERROR_NOT_A_STORE || status == SIMDRIVE_ERROR_ALIGNMENT);
    CHECK(r->opens || !(intact || all_zero(r->bytes, r->size)));
    if (r->opens) {
        shown_take(&r->before, store, r->bytes, r->size);
        check_info(r, store);
        if (!(r->flags & NO_OTHER_WAYS)) shown_check_other_ways(&r->before, store);
        check_verify(r, store);
        if (intact) check_intact(r, store);
        CHECK_OK(simdrive_close(store));
    }
    check_untouched(r, 1);
}

/* The past, at a tail that may be one, and the bytes in memory. */
static void check_other_openings(const run *r) {
    simdrive_open_options options = options_of(r, true);
    simdrive_store *store = NULL;
    options.at_offset = r->before.count ? r->tail / 2 + 1 : r->size;
    if (sdi_open_with_os(r->os, STORE, &options, &store) == SIMDRIVE_OK) {
        shown past = {0};
        if (options.at_offset != 0) CHECK(simdrive_tail(store) == options.at_offset);
        shown_take(&past, store, r->bytes, r->size);
        shown_free(&past);
        CHECK_OK(simdrive_close(store));
    }
    void *copy = NULL;
    if (posix_memalign(&copy, TEST_ALIGNMENT, r->size ? r->size : 1) != 0) abort();
    if (r->size) memcpy(copy, r->bytes, r->size);
    if (simdrive_open_memory(copy, r->size, &store) == SIMDRIVE_OK) {
        shown inner = {0};
        shown_take(&inner, store, r->bytes, r->size);
        shown_free(&inner);
        CHECK_OK(simdrive_close(store));
    }
    free(copy);
    check_untouched(r, 1);
}

/* --- salvage ----------------------------------------------------------------------------------------------------- */

/* What can be read for certain: with every checksum looked at. */
static void take_readable(const run *r, shown *readable) {
    run strict = *r;
    strict.flags |= VERIFY_ALL | CHECK_ON_READ;
    simdrive_open_options options = options_of(&strict, true);
    simdrive_store *store = NULL;
    CHECK_OK(sdi_open_with_os(r->os, STORE, &options, &store));
    shown_take(readable, store, r->bytes, r->size);
    shown_drop_unstorable(readable);
    CHECK_OK(simdrive_close(store));
}

static void check_salvage(const run *r) {
    simdrive_report report = {.struct_size = sizeof report};
    simdrive_status status = sdi_salvage_with_os(r->os, STORE, SAVED, NULL, NULL, NULL, &report);
    /* It looks at all checksums, and may find those of another alignment. */
    CHECK(status != SIMDRIVE_OK || r->opens);
    if (r->opens && status != SIMDRIVE_ERROR_ALIGNMENT) CHECK_OK(status);
    check_untouched(r, status == SIMDRIVE_OK ? 2 : 1);
    if (status != SIMDRIVE_OK) return;

    shown readable = {0}, saved = {0};
    size_t saved_size;
    const uint8_t *saved_bytes = memory_os_get(r->memory, SAVED, &saved_size);
    simdrive_open_options options = options_of(r, true);
    simdrive_store *store = NULL;
    CHECK(saved_size == 0 || is_intact_chain(saved_bytes, saved_size));
    CHECK_U64(saved_size, report.bytes_written);
    CHECK_OK(sdi_open_with_os(r->os, SAVED, &options, &store));
    shown_take(&saved, store, saved_bytes, saved_size);
    CHECK_U64(saved.count, report.entries_written);
    for (size_t i = 0; i < saved.count; i++) CHECK(stands_in(r->bytes, r->size, &saved.entries[i]));
    take_readable(r, &readable);
    CHECK(shown_has_all(&saved, &readable));
    CHECK_OK(simdrive_close(store));
    shown_free(&readable);
    shown_free(&saved);
    memory_os_remove(r->memory, SAVED);
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* The bytes behind the tail are in a file of their own, unless all are zero. */
static void check_kept(const run *r, uint64_t tail) {
    char name[64];
    size_t size;
    snprintf(name, sizeof name, STORE ".tail-%llu", (unsigned long long)tail);
    const uint8_t *kept = memory_os_get(r->memory, name, &size);
    bool expected = !all_zero(r->bytes + tail, r->size - tail);
    CHECK((kept != NULL) == expected);
    if (!expected) return;
    CHECK_U64(r->size - tail, size);
    CHECK(memcmp(kept, r->bytes + tail, size) == 0);
    memory_os_remove(r->memory, name);
}

static void check_still_shown(const run *r, simdrive_store *store, const shown *expected) {
    size_t size;
    shown now = {0};
    const uint8_t *bytes = memory_os_get(r->memory, STORE, &size);
    shown_take(&now, store, bytes, size);
    CHECK(shown_has_all(&now, expected));
    shown_free(&now);
}

static void reopen(const run *r, simdrive_store **store, bool read_only) {
    simdrive_open_options options = options_of(r, read_only);
    CHECK_OK(simdrive_close(*store));
    CHECK_OK(sdi_open_with_os(r->os, STORE, &options, store));
}

static void check_compaction(const run *r, simdrive_store **store, const shown *expected) {
    uint64_t corrupt = test_info(*store).corrupt_entries;
    simdrive_status status = simdrive_compact(*store, NULL, NULL);
    CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT);
    check_still_shown(r, *store, expected);
    reopen(r, store, false);
    check_still_shown(r, *store, expected);
    if (status == SIMDRIVE_OK && corrupt == 0) CHECK(test_info(*store).damage == SIMDRIVE_DAMAGE_NONE);
}

static void check_writing(const run *r) {
    static const char value[] = "value of the fuzzer";
    simdrive_open_options options = options_of(r, false);
    simdrive_store *store = NULL;
    size_t size;
    simdrive_status status = sdi_open_with_os(r->os, STORE, &options, &store);
    bool refused = r->opens && r->damage > SIMDRIVE_DAMAGE_TAIL;
    check_untouched(r, 1);
    if (!r->opens && (r->flags & RESET_FOREIGN)) CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_ALIGNMENT);
    if (r->opens) CHECK_STATUS(refused ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK, status);
    if (status != SIMDRIVE_OK) return;

    uint64_t hash = simdrive_hash_key("fuzz", 4), tail = simdrive_tail(store);
    shown expected = {0};
    check_still_shown(r, store, &r->before);
    CHECK_OK(simdrive_write_hash(store, hash, value, sizeof value, NULL));
    const uint8_t *bytes = memory_os_get(r->memory, STORE, &size);
    CHECK(size > tail && (tail == 0 || memcmp(bytes, r->bytes, tail) == 0));
    check_kept(r, tail);
    shown_take(&expected, store, bytes, size);
    for (size_t i = 0; i < r->before.count; i++) {
        const shown_entry *found = shown_find(&expected, r->before.entries[i].key_hash);
        CHECK(found && (found->key_hash == hash || (found->size == r->before.entries[i].size &&
                                                    memcmp(found->payload, r->before.entries[i].payload,
                                                           found->size) == 0)));
    }
    CHECK(shown_find(&expected, hash) && shown_find(&expected, hash)->size == sizeof value);
    reopen(r, &store, false);
    check_still_shown(r, store, &expected);
    check_compaction(r, &store, &expected);
    CHECK_OK(simdrive_close(store));
    shown_free(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > LARGEST) return 0;
    run r = {.memory = memory_os_create(), .flags = data[0], .bytes = data + 1, .size = size - 1};
    r.os = memory_os_table(r.memory);
    memory_os_put(r.memory, STORE, r.bytes, r.size);
    fuzz_work_begin();
    check_reading(&r);
    if (!(r.flags & NO_OTHER_WAYS)) check_other_openings(&r);
    if (!(r.flags & NO_SALVAGE)) check_salvage(&r);
    if (!(r.flags & NO_WRITING)) check_writing(&r);
    CHECK(fuzz_work_done() <= STEPS_AT_LEAST + STEPS_PER_BYTE * r.size);
    if (getenv("FUZZ_SHOW_WORK"))
        fprintf(stderr, "%zu bytes, %llu steps\n", r.size, (unsigned long long)fuzz_work_done());
    shown_free(&r.before);
    memory_os_destroy(r.memory);
    return 0;
}
