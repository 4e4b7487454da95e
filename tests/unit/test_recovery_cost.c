/* SPDX-License-Identifier: Apache-2.0 */
/* test_recovery_cost.c — recovery and following look at a file's bytes a bounded number of times, whatever they are.
 *
 * recover.c is compiled into this program with a counter before each look at metadata and each byte of a checksum. So
 * the work on a file is a number that no clock has a say in: for a file of twice the entries it must be about twice as
 * much. Where a search began anew at each entry, it was four times as much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/build.h"
#include "store/recover.h"

static uint64_t looks;

static bool counted_decode(const uint8_t *file, uint64_t end, sdi_record *out) {
    looks++;
    return sdi_decode(file, end, out);
}

static uint32_t counted_crc(sdi_crc_kind kind, uint32_t crc, const void *bytes, size_t size) {
    looks += size;
    return sdi_crc(kind, crc, bytes, size);
}

static bool counted_matches(const uint8_t *file, const sdi_record *record, sdi_crc_kind hint, sdi_crc_kind *kind) {
    looks += sdi_record_size(record);
    return sdi_checksum_matches(file, record, hint, kind);
}

#define sdi_decode counted_decode
#define sdi_crc counted_crc
#define sdi_checksum_matches counted_matches
#include "store/recover.c"
#undef sdi_decode
#undef sdi_crc
#undef sdi_checksum_matches

#include "support/check.h"

enum {
    MARGIN_PERCENT = 250, /* twice the entries: at most so much of the work */
    PAYLOAD = 2000, FEW = 300,
    SMALL_PAYLOAD = 40, MANY = 2000 /* where a step for each pair of entries is to outweigh the look at their bytes */
};

typedef struct made_file {
    uint8_t *bytes;
    uint64_t size;
    size_t payload; /* of each entry */
} made_file;

static made_file file_for(size_t entries, size_t payload) {
    size_t room = (entries + 4) * (payload + SIMDRIVE_ALIGNMENT + SDI_METADATA_SIZE);
    made_file file = {test_alloc(room), 0, payload};
    memset(file.bytes, 0, room);
    return file;
}

/* Appends an entry, and returns where its payload ends. */
static uint64_t add_entry(made_file *file, uint64_t key) {
    uint64_t start = sdi_payload_start(file->size), end = start + file->payload;
    for (uint64_t at = start; at < end; at++) file->bytes[at] = (uint8_t)(1 + (key * 31 + at) % 255);
    sdi_encode_metadata(file->bytes + end, key, file->size, sdi_crc(SDI_CRC32C, 0, file->bytes + start, file->payload));
    file->size = end + SDI_METADATA_SIZE;
    return end;
}

static void check_is_linear(uint64_t (*work)(size_t entries), size_t entries) {
    uint64_t once = work(entries), twice = work(2 * entries);
    test_context("%llu looks for %zu entries, %llu for twice as many", (unsigned long long)once, entries,
                 (unsigned long long)twice);
    CHECK(once > 0 && twice <= once / 100 * MARGIN_PERCENT);
}

/* --- following an empty store ------------------------------------------------------------------------------------- */

/* The first batch of a file is all there, but for the link of its first entry. */
static uint64_t follow_unpublished_batch(size_t entries) {
    made_file file = file_for(entries, SMALL_PAYLOAD);
    uint64_t tail = 1;
    uint64_t first = add_entry(&file, 1);
    for (uint64_t key = 2; key <= entries; key++) add_entry(&file, key);
    memcpy(file.bytes, sdi_first_write_mark, sizeof sdi_first_write_mark);
    sdi_unpublished_prev(first + SDI_PREV_FIELD, 0, file.bytes + first + SDI_PREV_FIELD);
    looks = 0;
    CHECK_OK(sdi_recover_added(file.bytes, 0, file.size, SDI_CRC32C, &tail));
    CHECK_U64(0, tail);
    free(file.bytes);
    return looks;
}

static void an_empty_store_follows_a_first_batch_in_linear_time(void **state) {
    (void)state;
    check_is_linear(follow_unpublished_batch, MANY);
}

/* --- torn payloads, one upon the other ---------------------------------------------------------------------------- */

/* A whole entry; one whose metadata is lost; torn payloads; and a whole entry at the end, from which to come down. */
static uint64_t explain_torn_payloads(size_t entries) {
    made_file file = file_for(entries, PAYLOAD);
    const sdi_recovery_options options = {.check_window = SDI_CHECK_WINDOW, .likely = SDI_CRC32C};
    sdi_recovery found = {0};
    add_entry(&file, 1);
    uint64_t tail = file.size, lost = add_entry(&file, 2), sector = lost - lost % 512;
    for (uint64_t key = 3; key <= entries; key++) {
        uint64_t end = add_entry(&file, key), torn = (end - PAYLOAD / 2) / 512 * 512;
        memset(file.bytes + torn, 0, 512);
    }
    add_entry(&file, 1000000);
    memset(file.bytes + sector, 0, 512);
    looks = 0;
    CHECK_OK(sdi_recover(file.bytes, file.size, &options, &found));
    uint64_t work = looks;
    CHECK_U64(SIMDRIVE_DAMAGE_TAIL, found.damage.kind);
    CHECK_U64(tail, found.tail);
    CHECK(found.damage.keep_tail);
    sdi_index_destroy(found.index);
    sdi_damage_free(&found.damage);
    free(file.bytes);
    return work;
}

static void torn_payloads_are_explained_in_linear_time(void **state) {
    (void)state;
    check_is_linear(explain_torn_payloads, FEW);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_store_follows_a_first_batch_in_linear_time),
        cmocka_unit_test(torn_payloads_are_explained_in_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
