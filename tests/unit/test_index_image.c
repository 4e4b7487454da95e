/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_image.c — an index that is saved and used again from its bytes: it answers as before, goes on growing, and
 * does neither harm nor wrong when the bytes are damaged, hostile, or memory is short; saved beside a writer, used by
 * many threads at once.
 *
 * The sources that allocate are compiled into this program with allocators that fail when told to; the rest of the
 * index comes from the library. Put number n of a test writes its hash at n * STRIDE of a pretended file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/os.h"

/* Allocations that still succeed, then how many fail. Of the main thread's tests only. */
static uint64_t succeed, fail_then;

static bool grants(void) {
    if (succeed > 0) {
        succeed--;
        return true;
    }
    if (fail_then == 0) return true;
    fail_then--;
    return false;
}

static bool threads_run; /* then nothing fails, and nothing is counted */

static void (*on_malloc)(void); /* once */

static void *grudging_malloc(size_t size) {
    void (*call)(void) = on_malloc;
    on_malloc = NULL;
    if (call) call();
    return threads_run || grants() ? malloc(size) : NULL;
}
static void *grudging_calloc(size_t count, size_t size) {
    return threads_run || grants() ? calloc(count, size) : NULL;
}
static void *grudging_realloc(void *old, size_t size) {
    return threads_run || grants() ? realloc(old, size) : NULL;
}
static void *grudging_pages(size_t size) {
    return threads_run || grants() ? sdi_pages_acquire(size) : NULL;
}

#define malloc grudging_malloc
#define calloc grudging_calloc
#define realloc grudging_realloc
#define sdi_pages_acquire grudging_pages
#include "index/growth.c"
#include "index/image.c"
#include "index/segments.c"
#undef malloc
#undef calloc
#undef realloc
#undef sdi_pages_acquire

#include "support/check.h"

enum { STRIDE = 32, ENTRY_END = 20, MOST_PUTS = 700000, MOST_KEYS = 500000, PAGE = 4096, READERS = 3 };

/* --- the file, and what the index must say of it ------------------------------------------------------------------ */

static uint8_t *file;
static uint64_t newest[MOST_KEYS]; /* offset of each key, or 0 */
static uint64_t put_sum, keys; /* keys from 0 up */

static uint64_t hash_of(uint64_t key) {
    uint64_t z = (key + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t tail_after(uint64_t put_count) {
    return put_count * STRIDE + ENTRY_END;
}

static int begin_file(void **state) {
    (void)state;
    if (!file) file = calloc(MOST_PUTS + 2, STRIDE);
    memset(newest, 0, sizeof newest);
    put_sum = keys = 0;
    succeed = fail_then = 0;
    threads_run = false;
    return file ? 0 : -1;
}

static int end_file(void **state) {
    (void)state;
    free(file);
    file = NULL;
    return 0;
}

static void put_key(sdi_index *index, uint64_t key) {
    uint64_t hash = hash_of(key), offset = ++put_sum * STRIDE;
    CHECK(put_sum <= MOST_PUTS && key < MOST_KEYS);
    sdi_store64(file + offset, hash);
    CHECK_OK(sdi_index_reserve(index, &hash, 1));
    CHECK_U64(newest[key], sdi_index_put(index, hash, offset));
    newest[key] = offset;
    if (key >= keys) keys = key + 1;
}

/* `count` keys, every seventh of them put twice. */
static sdi_index *fill(uint64_t count, uint64_t seed) {
    begin_file(NULL);
    sdi_index *index = sdi_index_create_seeded(0, file, seed);
    CHECK(index);
    for (uint64_t key = 0; key < count; key++) put_key(index, key);
    for (uint64_t key = 0; key < count; key += 7) put_key(index, key);
    return index;
}

static void check_all(const sdi_index *index) {
    enum { BATCH = 100 };
    uint64_t hashes[BATCH];
    sdi_index_hit hits[BATCH];
    for (uint64_t first = 0; first < keys + BATCH; first += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) hashes[i] = hash_of(first + i);
        sdi_index_find_batch(index, hashes, BATCH, hits);
        for (uint64_t i = 0; i < BATCH; i++)
            CHECK_U64(first + i < keys ? newest[first + i] : 0, hits[i].offset);
    }
}

static void check_singly(const sdi_index *index, uint64_t step) {
    for (uint64_t key = 0; key < keys + 50; key += step)
        CHECK_U64(key < keys ? newest[key] : 0, sdi_index_find(index, hash_of(key)).offset);
}

static simdrive_status recall(const uint8_t *base, uint64_t tail, sdi_recall_visitor visit, void *visit_user) {
    for (uint64_t n = (tail - ENTRY_END) / STRIDE; n > 0; n--) {
        simdrive_status status = visit(visit_user, sdi_load64(base + n * STRIDE), n * STRIDE);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

typedef struct blob {
    uint8_t *bytes;
    size_t size, capacity;
} blob;

static simdrive_status collect_bytes(void *user, const void *bytes, size_t size) {
    blob *to = user;
    if (to->size + size > to->capacity) {
        to->capacity = (to->size + size) * 2;
        to->bytes = realloc(to->bytes, to->capacity);
        CHECK(to->bytes);
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    return SIMDRIVE_OK;
}

static blob save_image(const sdi_index *index) {
    blob image = {0};
    sdi_index_stats stats;
    uint64_t size, key_count;
    CHECK_OK(sdi_index_save(index, collect_bytes, &image, &size, &key_count));
    sdi_index_get_stats(index, &stats);
    CHECK_U64(image.size, size);
    CHECK_U64(stats.keys, key_count);
    return image;
}

static _Atomic int lent; /* images that were not released yet */

static void release(void *user) {
    free(user);
    lent--;
}

/* On a copy that ends where the image does, so that the address sanitizer sees who looks behind it. */
static sdi_index *load_bytes(const uint8_t *bytes, size_t size, const uint8_t *base, uint64_t tail) {
    void *copy = NULL;
    CHECK(posix_memalign(&copy, PAGE, size > 0 ? size : 1) == 0);
    memcpy(copy, bytes, size);
    const sdi_image_source source = {copy, size, base, tail, tail - ENTRY_END, recall, release, copy};
    lent++;
    sdi_index *index = sdi_index_load(&source);
    if (!index) release(copy);
    return index;
}

static sdi_index *load_image(const blob *image) {
    return load_bytes(image->bytes, image->size, file, tail_after(put_sum));
}

static image_trailer *trailer_of(const blob *image) {
    return (image_trailer *)(void *)(image->bytes + image->size - sizeof(image_trailer));
}

static image_record *records_of(const blob *image) {
    return (image_record *)(void *)trailer_of(image) - trailer_of(image)->segments;
}

static uint64_t *slots_at(const blob *image, size_t segment) {
    uint8_t *at = image->bytes;
    for (size_t i = 0; i < segment; i++) at += segment_bytes(records_of(image)[i].lines_log2);
    return (uint64_t *)(void *)at;
}

static void reseal_records(blob *image) {
    image_trailer *trailer = trailer_of(image);
    trailer->records_checksum = sdi_hash(records_of(image), trailer->segments * sizeof(image_record));
    trailer->checksum = trailer_checksum(trailer);
}

/* Makes counts and checksums right again after slots were changed. */
static void reseal(blob *image) {
    trailer_of(image)->keys = 0;
    for (size_t i = 0; i < trailer_of(image)->segments; i++) {
        image_record *record = &records_of(image)[i];
        const uint64_t *slots = slots_at(image, i);
        size_t size = segment_bytes(record->lines_log2);
        record->keys = 0;
        for (size_t s = 0; s < size / sizeof *slots; s++) record->keys += slots[s] != 0;
        record->checksum = sdi_hash(slots, size);
        trailer_of(image)->keys += record->keys;
    }
    reseal_records(image);
}

static blob copy_of(const blob *image) {
    blob copy = {malloc(image->size), image->size, image->size};
    CHECK(copy.bytes);
    memcpy(copy.bytes, image->bytes, image->size);
    return copy;
}

/* --- round trips -------------------------------------------------------------------------------------------------- */

static void round_trip(uint64_t count, uint64_t more, test_random *random) {
    test_context("round trip of %llu keys, %llu more", (unsigned long long)count, (unsigned long long)more);
    sdi_index *index = fill(count, test_random_next(random));
    blob image = save_image(index);
    sdi_index_stats before, after;
    sdi_index_get_stats(index, &before);
    sdi_index_destroy(index);

    index = load_image(&image);
    CHECK(index);
    sdi_index_get_stats(index, &after);
    CHECK_U64(before.keys, after.keys);
    CHECK_U64(before.segments, after.segments);
    CHECK_U64(before.slots, after.slots);
    check_singly(index, count > 20000 ? 37 : 1);
    check_all(index);
    uint64_t range = count + more + 1;
    for (uint64_t i = 0; i < more; i++) put_key(index, test_random_below(random, range));
    check_all(index);
    free(image.bytes);
    image = save_image(index);
    sdi_index_destroy(index);
    index = load_image(&image);
    CHECK(index);
    for (uint64_t i = 0; i < more / 4; i++) put_key(index, test_random_below(random, range));
    check_all(index);
    sdi_index_destroy(index);
    free(image.bytes);
    CHECK_U64(0, lent);
}

static void test_an_image_is_what_was_saved(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0, 1, 7, 8, 9, 300, 700, 12000, 30000, 80000};
    test_random random = test_random_begin(900);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) round_trip(sizes[i], 3000, &random);
    for (unsigned lines = SDI_SMALLEST_LINES_LOG2; lines <= SDI_SEGMENT_LINES_LOG2; lines++)
        for (uint64_t off = 0; off < 3; off++) round_trip(sdi_segment_limit(lines) + off - 1, 400, &random);
    round_trip(300000, 100000, &random);
}

/* Sized beforehand: segments that nothing was put into, a directory that is complete from the start. */
static void test_an_index_sized_beforehand_is_saved_too(void **state) {
    (void)state;
    static const uint64_t expected[] = {1, 5000, 9000, 200000};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        begin_file(NULL);
        sdi_index *index = sdi_index_create_seeded(expected[i], file, i);
        for (uint64_t key = 0; key < 100; key++) put_key(index, key);
        blob image = save_image(index);
        sdi_index_destroy(index);
        index = load_image(&image);
        CHECK(index);
        for (uint64_t key = 50; key < 20000; key++) put_key(index, key);
        check_all(index);
        sdi_index_destroy(index);
        free(image.bytes);
    }
}

/* Keys that no split can tell apart make segments larger than the usual size. */
static void test_segments_of_other_sizes_are_saved_too(void **state) {
    (void)state;
    enum { SAME = 40000 };
    begin_file(NULL);
    sdi_index *index = sdi_index_create_seeded(0, file, 5);
    uint64_t hash = 0;
    for (uint64_t n = 0; n < SAME; n++) { /* all with the same upper half of the product: the same u */
        uint64_t inverse = index->seed.factor;
        for (int i = 0; i < 6; i++) inverse *= 2 - index->seed.factor * inverse;
        hash = ((UINT64_C(0x12345678) << 32 | (n * 0x9E3779B1u & 0xFFFFFFFFu)) * inverse) ^ index->seed.flip;
        uint64_t offset = ++put_sum * STRIDE;
        sdi_store64(file + offset, hash);
        CHECK_OK(sdi_index_reserve(index, &hash, 1));
        CHECK_U64(0, sdi_index_put(index, hash, offset));
    }
    blob image = save_image(index);
    unsigned largest = 0;
    for (size_t i = 0; i < trailer_of(&image)->segments; i++)
        if (records_of(&image)[i].lines_log2 > largest) largest = records_of(&image)[i].lines_log2;
    CHECK(largest > SDI_SEGMENT_LINES_LOG2);
    for (int damaged = 0; damaged < 2; damaged++) {
        if (damaged) image.bytes[trailer_of(&image)->segment_bytes / 2] ^= 1;
        sdi_index *loaded = load_image(&image);
        CHECK(loaded);
        for (uint64_t n = 1; n <= SAME; n++)
            CHECK_U64(n * STRIDE, sdi_index_find(loaded, sdi_load64(file + n * STRIDE)).offset);
        sdi_index_destroy(loaded);
    }
    sdi_index_destroy(index);
    free(image.bytes);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

/* Refused, or every answer is right. */
static bool is_right_or_refused(const uint8_t *bytes, size_t size) {
    sdi_index *index = load_bytes(bytes, size, file, tail_after(put_sum));
    if (!index) return false;
    check_all(index);
    check_singly(index, keys / 50 + 1);
    sdi_index_destroy(index);
    return true;
}

static void test_every_changed_byte_of_a_small_image(void **state) {
    (void)state;
    static const uint8_t changes[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    sdi_index *index = fill(40, 3);
    blob image = save_image(index);
    sdi_index_destroy(index);
    size_t refused = 0;
    for (size_t at = 0; at < image.size; at++) {
        for (size_t c = 0; c < sizeof changes; c++) {
            test_context("byte %zu of %zu changed by %u", at, image.size, changes[c]);
            image.bytes[at] ^= changes[c];
            refused += !is_right_or_refused(image.bytes, image.size);
            image.bytes[at] ^= changes[c];
        }
    }
    CHECK_U64((image.size - trailer_of(&image)->segment_bytes) * sizeof changes, refused);
    free(image.bytes);
    CHECK_U64(0, lent);
}

static void test_random_damage_of_a_large_image(void **state) {
    (void)state;
    test_random random = test_random_begin(910);
    sdi_index *index = fill(16000, 4);
    blob image = save_image(index);
    sdi_index_destroy(index);
    CHECK(trailer_of(&image)->segments > 2);
    for (int round = 0; round < 700; round++) {
        blob damaged = copy_of(&image);
        uint64_t changes = 1 + test_random_below(&random, 4);
        bool all_zero = test_random_below(&random, 20) == 0;
        test_context("round %d of random damage", round);
        for (uint64_t i = 0; i < changes; i++) {
            size_t at = (size_t)test_random_below(&random, damaged.size), length = all_zero ? 600 : 1;
            if (at + length > damaged.size) continue;
            if (all_zero) memset(damaged.bytes + at, 0, length);
            else damaged.bytes[at] ^= (uint8_t)(1 + test_random_below(&random, 255));
        }
        is_right_or_refused(damaged.bytes, damaged.size);
        free(damaged.bytes);
    }
    free(image.bytes);
}

static void test_a_mended_index_goes_on(void **state) {
    (void)state;
    sdi_index *index = fill(60000, 6);
    blob image = save_image(index);
    sdi_index_destroy(index);
    for (size_t i = 0; i < trailer_of(&image)->segments; i += 2) slots_at(&image, i)[17] ^= 1;
    index = load_image(&image);
    CHECK(index);
    for (uint64_t key = 0; key < 120000; key += 2) put_key(index, key);
    check_all(index);
    blob again = save_image(index);
    sdi_index_destroy(index);
    CHECK(is_right_or_refused(again.bytes, again.size));
    free(again.bytes);
    free(image.bytes);
}

static void test_every_truncation(void **state) {
    (void)state;
    sdi_index *index = fill(30, 3);
    blob image = save_image(index);
    sdi_index_destroy(index);
    for (size_t size = 0; size < image.size; size++) CHECK(!is_right_or_refused(image.bytes, size));
    for (size_t at = 1; at < image.size; at++) CHECK(!is_right_or_refused(image.bytes + at, image.size - at));
    free(image.bytes);
}

/* --- hostile images: all checksums are right ---------------------------------------------------------------------- */

/* Whatever it says, it stays within bounds and comes to an end; so do thousands of puts. The file ends where the image
 * says. */
static void use_hostile(const blob *image, uint64_t puts_before) {
    uint8_t *exact = malloc(tail_after(puts_before) + 4000 * STRIDE);
    CHECK(exact);
    memcpy(exact, file, tail_after(puts_before));
    sdi_index *index = load_bytes(image->bytes, image->size, exact, tail_after(puts_before));
    if (index) {
        uint64_t hashes[200], replaced;
        sdi_index_hit hits[200];
        for (uint64_t i = 0; i < 200; i++) hashes[i] = hash_of(i * 3);
        sdi_index_find_batch(index, hashes, 200, hits);
        for (uint64_t i = 0; i < 200; i++) CHECK(hits[i].offset <= puts_before * STRIDE);
        for (uint64_t n = 1; n < 4000; n++) {
            uint64_t hash = hash_of(n * 5), offset = (puts_before + n) * STRIDE;
            sdi_store64(exact + offset, hash);
            CHECK_OK(sdi_index_reserve(index, &hash, 1));
            sdi_index_put_batch(index, &hash, &offset, 1, &replaced);
            CHECK_U64(offset, sdi_index_find(index, hash).offset);
        }
        sdi_index_destroy(index);
    }
    free(exact);
}

static void test_hostile_slots(void **state) {
    (void)state;
    test_random random = test_random_begin(920);
    static const uint64_t counts[] = {40, 400, 7000, 12000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        sdi_index *index = fill(counts[c], 7);
        blob image = save_image(index);
        sdi_index_destroy(index);
        size_t slot_count = (size_t)trailer_of(&image)->segment_bytes / sizeof(uint64_t);
        for (int round = 0; round < 60; round++) {
            blob hostile = copy_of(&image);
            uint64_t *slots = slots_at(&hostile, 0);
            uint64_t way = (uint64_t)round % 6;
            test_context("%llu keys, hostile slots, round %d", (unsigned long long)counts[c], round);
            for (size_t i = 0; i < slot_count; i++) {
                if (way == 0) slots[i] = i % SDI_LINE_SLOTS == 7 ? STRIDE : 0; /* gaps: all lines look full */
                if (slots[i] == 0 || test_random_below(&random, 4) != 0) continue;
                if (way == 1) slots[i] = (slots[i] & SDI_OFFSET_MASK) | test_random_next(&random) << 48;
                if (way == 2) slots[i] = (slots[i] & SDI_OFFSET_MASK) | UINT64_MAX << 48;
                if (way == 3) slots[i] = test_random_next(&random);
                if (way == 4) slots[i] = slots[(i * 7 + 3) % slot_count]; /* may be empty: a gap */
                if (way == 5)
                    slots[i] = (slots[i] & ~SDI_OFFSET_MASK) | (1 + test_random_below(&random, put_sum * STRIDE));
            }
            reseal(&hostile);
            use_hostile(&hostile, put_sum);
            free(hostile.bytes);
        }
        free(image.bytes);
    }
    CHECK_U64(0, lent);
}

/* Wrong in a way that can be seen: all answers are right. */
static void test_offsets_out_of_the_file_are_seen(void **state) {
    (void)state;
    sdi_index *index = fill(50, 8);
    blob image = save_image(index);
    sdi_index_destroy(index);
    const uint64_t last = put_sum * STRIDE;
    const uint64_t wrong[] = {0, last + 1, last + 12, tail_after(put_sum), tail_after(put_sum) + 1, SDI_OFFSET_MASK};
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
        for (size_t i = 0; i < trailer_of(&image)->segment_bytes / 8; i++) {
            if (slots_at(&image, 0)[i] == 0) continue;
            blob hostile = copy_of(&image);
            test_context("slot %zu leads to %llu", i, (unsigned long long)wrong[w]);
            slots_at(&hostile, 0)[i] = (slots_at(&hostile, 0)[i] & ~SDI_OFFSET_MASK) | UINT64_C(1) << 50 | wrong[w];
            reseal(&hostile);
            CHECK(is_right_or_refused(hostile.bytes, hostile.size));
            free(hostile.bytes);
        }
    }
    free(image.bytes);
}

/* Without an empty slot, no probe would end. */
static void test_a_full_segment_that_claims_few_keys_is_seen(void **state) {
    (void)state;
    sdi_index *index = fill(50, 8);
    blob image = save_image(index);
    sdi_index_destroy(index);
    image_record *record = &records_of(&image)[0];
    size_t size = segment_bytes(record->lines_log2);
    for (size_t i = 0; i < size / 8; i++) slots_at(&image, 0)[i] = UINT64_C(1) << 50 | STRIDE;
    record->checksum = sdi_hash(slots_at(&image, 0), size);
    reseal_records(&image);
    test_context("a full segment");
    CHECK(is_right_or_refused(image.bytes, image.size));
    use_hostile(&image, put_sum);
    free(image.bytes);
}

typedef void change_of_image(blob *image, image_record *records, image_trailer *trailer);

static void refuses(const blob *image, const char *name, change_of_image *change) {
    blob hostile = copy_of(image);
    test_context("hostile image: %s", name);
    change(&hostile, records_of(&hostile), trailer_of(&hostile));
    trailer_of(&hostile)->checksum = trailer_checksum(trailer_of(&hostile));
    CHECK(!is_right_or_refused(hostile.bytes, hostile.size));
    free(hostile.bytes);
}

#define REFUSED(name, ...)                                                                                             \
    static void change_##name(blob *image, image_record *records, image_trailer *trailer) {                            \
        (void)image, (void)records, (void)trailer;                                                                     \
        __VA_ARGS__;                                                                                                   \
    }
#define RECORDS(name, ...) REFUSED(name, __VA_ARGS__; reseal_records(image))

REFUSED(magic, trailer->magic = __builtin_bswap64(trailer->magic))
REFUSED(even_factor, trailer->factor &= ~UINT64_C(1))
REFUSED(no_segments, trailer->segments = 0)
REFUSED(one_segment_less, trailer->segments--)
REFUSED(one_segment_more, trailer->segments++)
REFUSED(very_many_segments, trailer->segments = UINT64_C(1) << 60)
REFUSED(all_segments, trailer->segments = UINT64_MAX / sizeof(image_record) + 2)
REFUSED(more_bytes, trailer->segment_bytes += 64)
REFUSED(no_bytes, trailer->segment_bytes = 0)
REFUSED(other_bytes, trailer->segment_bytes += UINT64_C(1) << 63)
REFUSED(more_keys, trailer->keys++)
RECORDS(depth_of_27, records[0].depth = 27)
RECORDS(depth_of_32, records[0].depth = 32)
RECORDS(depth_of_255, records[1].depth = 255)
RECORDS(depth_less, records[0].depth--)
RECORDS(depth_more, records[0].depth++)
RECORDS(no_depth, records[0].depth = 0)
RECORDS(no_lines, records[0].lines_log2 = 0)
RECORDS(few_lines, records[0].lines_log2 = 3)
RECORDS(more_lines, records[0].lines_log2++)
RECORDS(lines_of_29, records[0].lines_log2 = 29)
RECORDS(lines_of_64, records[0].lines_log2 = 64)
RECORDS(lines_of_255, records[1].lines_log2 = 255)
RECORDS(tag_base_above_depth, records[0].tag_base = (uint8_t)(records[0].depth + 1))
RECORDS(tag_base_255, records[0].tag_base = 255)
RECORDS(key_more, records[0].keys++)
RECORDS(too_many_keys, records[0].keys += 6000; records[1].keys -= 6000)
RECORDS(order_changed, image_record first = records[0]; records[0] = records[1]; records[1] = first)
RECORDS(begins_later, records[0].u = 1)
RECORDS(same_twice, records[1].u = records[0].u)

static void test_hostile_records_are_refused(void **state) {
    (void)state;
    sdi_index *index = fill(20000, 9);
    blob image = save_image(index);
    sdi_index_destroy(index);
    CHECK(is_right_or_refused(image.bytes, image.size));
#define REFUSES(name) refuses(&image, #name, change_##name)
    REFUSES(magic), REFUSES(even_factor), REFUSES(no_segments), REFUSES(one_segment_less), REFUSES(one_segment_more);
    REFUSES(very_many_segments), REFUSES(all_segments), REFUSES(more_bytes), REFUSES(no_bytes), REFUSES(other_bytes);
    REFUSES(more_keys), REFUSES(depth_of_27), REFUSES(depth_of_32), REFUSES(depth_of_255), REFUSES(depth_less);
    REFUSES(depth_more), REFUSES(no_depth), REFUSES(no_lines), REFUSES(few_lines), REFUSES(more_lines);
    REFUSES(lines_of_29), REFUSES(lines_of_64), REFUSES(lines_of_255), REFUSES(tag_base_above_depth);
    REFUSES(tag_base_255), REFUSES(key_more), REFUSES(too_many_keys), REFUSES(order_changed), REFUSES(begins_later);
    REFUSES(same_twice);
    free(image.bytes);
}

/* An image of empty segments whose depths are given; the largest depth is what the directory would have. */
static sdi_index *load_depths(const uint8_t *depths, const uint8_t *tag_bases, size_t count) {
    size_t bytes = count * segment_bytes(SDI_SEGMENT_LINES_LOG2);
    blob image = {calloc(1, bytes + count * sizeof(image_record) + sizeof(image_trailer)), 0, 0};
    CHECK(image.bytes);
    image.size = bytes + count * sizeof(image_record) + sizeof(image_trailer);
    *trailer_of(&image) = (image_trailer){.magic = MAGIC, .factor = 1, .segments = count, .segment_bytes = bytes};
    uint64_t u = 0;
    for (size_t i = 0; i < count; i++) {
        records_of(&image)[i] = (image_record){
            .u = (uint32_t)u, .depth = depths[i], .lines_log2 = SDI_SEGMENT_LINES_LOG2, .tag_base = tag_bases[i]};
        u += UINT64_C(1) << (32 - depths[i]);
    }
    reseal(&image);
    sdi_index *index = load_bytes(image.bytes, image.size, file, tail_after(put_sum));
    free(image.bytes);
    return index;
}

static void test_a_directory_is_not_larger_than_what_it_leads_to(void **state) {
    (void)state;
    begin_file(NULL);
    uint8_t depths[32];
    for (uint8_t deepest = 1; deepest <= 28; deepest++) {
        for (uint8_t i = 0; i < deepest; i++) depths[i] = (uint8_t)(i + 1);
        depths[deepest] = deepest;
        sdi_index *index = load_depths(depths, depths, deepest + 1u);
        bool small = UINT64_C(1) << deepest <= (deepest + 1u) * (uint64_t)SDI_WORDS_PER_SEGMENT;
        test_context("deepest of %u", deepest);
        CHECK(small == (index != NULL));
        sdi_index_destroy(index);
    }
    /* Tags that were spent. */
    const uint8_t flat[] = {6, 6}, deep[] = {1, 2, 3, 4, 5, 6, 6};
    uint8_t bases[7];
    for (size_t i = 0; i < 7; i++) bases[i] = deep[i] > 5 ? 1 : 0;
    sdi_index *index = load_depths(deep, bases, 7);
    CHECK(index);
    sdi_index_destroy(index);
    bases[6] = 0;
    CHECK(!load_depths(deep, bases, 7));
    CHECK(!load_depths(flat, flat, 2)); /* leaves most of u without a segment */
    CHECK_U64(0, lent);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void test_any_allocation_of_saving_and_loading_may_fail(void **state) {
    (void)state;
    sdi_index *index = fill(30000, 10);
    blob image = save_image(index);
    for (uint64_t allowed = 0;; allowed++) {
        blob again = {0};
        succeed = allowed;
        fail_then = 1;
        simdrive_status status = sdi_index_save(index, collect_bytes, &again, NULL, NULL);
        bool failed = fail_then == 0;
        fail_then = 0;
        CHECK_STATUS(failed ? SIMDRIVE_ERROR_NO_MEMORY : SIMDRIVE_OK, status);
        if (!failed) CHECK(again.size == image.size && memcmp(again.bytes, image.bytes, image.size) == 0);
        free(again.bytes);
        if (!failed) break;
    }
    sdi_index_destroy(index);
    for (uint64_t allowed = 0;; allowed++) {
        succeed = allowed;
        fail_then = 1;
        index = load_image(&image);
        bool failed = fail_then == 0;
        fail_then = 0;
        CHECK(failed == (index == NULL));
        sdi_index_destroy(index);
        if (!failed) break;
        CHECK(allowed < 100);
    }
    free(image.bytes);
    CHECK_U64(0, lent);
}

/* Without memory to mend, no answer is given; never a wrong one. */
static void test_without_memory_to_mend_nothing_is_said(void **state) {
    (void)state;
    sdi_index *index = fill(14000, 11);
    blob image = save_image(index);
    sdi_index_destroy(index);
    slots_at(&image, 1)[100] ^= 4;
    slots_at(&image, 0)[100] ^= 4;
    uint64_t unknown_sum = 0;
    for (uint64_t allowed = 0;; allowed++) {
        test_context("%llu allocations of mending succeed", (unsigned long long)allowed);
        index = load_image(&image);
        CHECK(index);
        succeed = allowed;
        fail_then = UINT64_MAX;
        uint64_t unknown = 0, refused = 0;
        for (uint64_t key = 0; key < keys + 100; key += 131) {
            uint64_t right = key < keys ? newest[key] : 0, hash = hash_of(key);
            sdi_index_hit hit = sdi_index_find(index, hash), batch[1];
            sdi_index_find_batch(index, &hash, 1, batch);
            CHECK(hit.offset == right || hit.offset == SDI_INDEX_UNKNOWN);
            CHECK(batch[0].offset == right || batch[0].offset == SDI_INDEX_UNKNOWN);
            unknown += hit.offset == SDI_INDEX_UNKNOWN;
            if (hit.offset == SDI_INDEX_UNKNOWN) {
                CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, sdi_index_reserve(index, &hash, 1));
                CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, sdi_index_check(index, &hash, 1));
                refused++;
            }
        }
        bool failed = unknown > 0;
        if (failed) {
            blob none = {0};
            CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, sdi_index_save(index, collect_bytes, &none, NULL, NULL));
            free(none.bytes);
        }
        fail_then = 0;
        unknown_sum += unknown;
        check_all(index);
        uint64_t saved_puts = put_sum;
        uint64_t saved[3] = {newest[0], newest[1], newest[13000]};
        put_key(index, 0), put_key(index, 1), put_key(index, 13000);
        check_all(index);
        sdi_index_destroy(index);
        put_sum = saved_puts;
        newest[0] = saved[0], newest[1] = saved[1], newest[13000] = saved[2];
        if (!failed) break;
        CHECK(allowed < 100);
    }
    CHECK(unknown_sum > 0);
    free(image.bytes);
    CHECK_U64(0, lent);
}

static simdrive_status refuse_bytes(void *user, const void *bytes, size_t size) {
    uint64_t *left = user;
    (void)bytes, (void)size;
    return (*left)-- == 0 ? SIMDRIVE_ERROR_NO_SPACE : SIMDRIVE_OK;
}

static void test_a_sink_may_refuse(void **state) {
    (void)state;
    sdi_index *index = fill(20000, 12);
    simdrive_status status = SIMDRIVE_ERROR_NO_SPACE;
    uint64_t n;
    for (n = 0; status != SIMDRIVE_OK; n++) {
        uint64_t left = n;
        status = sdi_index_save(index, refuse_bytes, &left, NULL, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_NO_SPACE);
    }
    CHECK(n > 4);
    sdi_index_destroy(index);
}

/* --- beside others ------------------------------------------------------------------------------------------------ */

static uint64_t first_late_put;
static sdi_index *growing;

/* The segment that is about to be copied is split, and its memory is used for another one. */
static void put_many(void) {
    first_late_put = put_sum + 1;
    for (uint64_t n = 0; n < 60000; n++) put_key(growing, 9000 + n);
}

static void test_a_segment_replaced_while_it_is_copied_is_copied_again(void **state) {
    (void)state;
    static uint64_t keys_of_puts[100000];
    growing = fill(9000, 14);
    on_malloc = put_many;
    blob image = {0};
    CHECK_OK(sdi_index_save(growing, collect_bytes, &image, NULL, NULL));
    sdi_index_destroy(growing);
    for (uint64_t key = 0; key < keys; key++) keys_of_puts[newest[key] / STRIDE] = key;
    sdi_index *index = load_image(&image);
    CHECK(index);
    for (uint64_t n = first_late_put; n <= put_sum; n++) {
        uint64_t hash = hash_of(keys_of_puts[n]);
        CHECK_OK(sdi_index_reserve(index, &hash, 1));
        sdi_index_put(index, hash, n * STRIDE);
    }
    check_all(index);
    sdi_index_destroy(index);
    free(image.bytes);
}

enum { RACE_PUTS = 300000, RACE_BATCH = 50 };

static struct {
    sdi_index *index;
    uint64_t most; /* puts */
    _Atomic uint64_t begun, returned;
    _Atomic bool done, discarded;
    _Atomic uint64_t at_least[MOST_KEYS];
    _Atomic uint64_t known_keys, failures;
} race;

/* New keys and old ones, some at once in a batch. */
static uint64_t key_of_put(uint64_t n) {
    uint64_t z = hash_of(n * 11 + 3);
    return z % 3 == 0 ? z / 3 % (n / 2 + 1) : n / 2 + 1;
}

static void put_on(void *user) {
    uint64_t hashes[RACE_BATCH], offsets[RACE_BATCH], replaced[RACE_BATCH];
    (void)user;
    for (uint64_t n = 1; n + RACE_BATCH < race.most && !atomic_load(&race.done);) {
        uint64_t count = n % 4 == 0 ? RACE_BATCH : 1;
        for (uint64_t i = 0; i < count; i++) {
            offsets[i] = (n + i) * STRIDE;
            hashes[i] = hash_of(key_of_put(n + i));
            sdi_store64(file + offsets[i], hashes[i]);
        }
        if (sdi_index_reserve(race.index, hashes, count) != SIMDRIVE_OK) abort();
        atomic_store(&race.begun, n + count - 1);
        sdi_index_put_batch(race.index, hashes, offsets, count, replaced);
        atomic_store(&race.returned, n + count - 1);
        n += count;
    }
    atomic_store(&race.done, true);
}

/* What loading promises: the image, and what was put meanwhile put again, is the index as it was at the end. */
static void check_saved_beside(const blob *image, uint64_t low, uint64_t high) {
    uint64_t replaced;
    sdi_index *index = load_bytes(image->bytes, image->size, file, tail_after(high));
    CHECK(index);
    keys = high / 2 + 2;
    memset(newest, 0, keys * sizeof *newest);
    for (uint64_t n = 1; n <= high; n++) {
        newest[key_of_put(n)] = n * STRIDE;
        if (n <= low) continue;
        uint64_t hash = hash_of(key_of_put(n)), offset = n * STRIDE;
        CHECK_OK(sdi_index_reserve(index, &hash, 1));
        sdi_index_put_batch(index, &hash, &offset, 1, &replaced);
    }
    check_all(index);
    sdi_index_stats stats;
    uint64_t there = 0;
    for (uint64_t key = 0; key < keys; key++) there += newest[key] != 0;
    sdi_index_get_stats(index, &stats);
    CHECK_U64(there, stats.keys); /* none of them twice */
    sdi_index_destroy(index);
}

static void test_saved_beside_a_writer(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) { /* most of them within one segment, where writer and saver meet */
        sdi_thread writer;
        begin_file(NULL);
        race.most = round < 2 ? RACE_PUTS : 14000;
        threads_run = true;
        race.index = sdi_index_create_seeded(0, file, (uint64_t)round);
        atomic_store(&race.done, false);
        atomic_store(&race.begun, 0);
        atomic_store(&race.returned, 0);
        CHECK_OK(sdi_thread_start(&writer, put_on, NULL));
        for (int saves = 0; !atomic_load(&race.done) && saves < 20; saves++) {
            blob image = {0};
            uint64_t low = atomic_load(&race.returned);
            simdrive_status status = sdi_index_save(race.index, collect_bytes, &image, NULL, NULL);
            uint64_t high = atomic_load(&race.begun);
            test_context("save %d, from put %llu to %llu", saves, (unsigned long long)low, (unsigned long long)high);
            CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY);
            if (status == SIMDRIVE_OK) check_saved_beside(&image, low, high);
            free(image.bytes);
        }
        atomic_store(&race.done, true);
        sdi_thread_join(&writer);
        sdi_index_destroy(race.index);
    }
}

static void look_up(uint64_t key) {
    uint64_t at_least = atomic_load_explicit(&race.at_least[key], memory_order_acquire);
    sdi_index_hit hit = sdi_index_find(race.index, hash_of(key)), batch[8];
    uint64_t hashes[8];
    for (uint64_t i = 0; i < 8; i++) hashes[i] = hash_of(key);
    sdi_index_find_batch(race.index, hashes, 8, batch);
    bool right = hit.offset >= at_least && sdi_load64(hit.base + hit.offset) == hash_of(key);
    for (int i = 0; right && i < 8; i++) right = batch[i].offset >= at_least && batch[i].offset != SDI_INDEX_UNKNOWN;
    if (!right && !atomic_load(&race.discarded)) atomic_fetch_add(&race.failures, 1);
}

static void look_on(void *user) {
    uint64_t state = (uint64_t)(uintptr_t)user * 1000003;
    do {
        for (int i = 0; i < 20; i++) look_up(hash_of(state++) % atomic_load(&race.known_keys));
    } while (!atomic_load(&race.done));
}

static void test_many_threads_use_a_fresh_image(void **state) {
    (void)state;
    enum { AT_FIRST = 40000, LATER = 25000 };
    test_random random = test_random_begin(930);
    sdi_index *index = fill(AT_FIRST, 13);
    blob image = save_image(index);
    sdi_index_destroy(index);
    uint64_t first_puts = put_sum;
    static uint64_t newest_at_first[AT_FIRST];
    memcpy(newest_at_first, newest, sizeof newest_at_first);
    threads_run = true;
    for (uint64_t round = 0; round < 16; round++) {
        sdi_thread readers[READERS];
        blob damaged = copy_of(&image);
        size_t segment = (size_t)test_random_below(&random, trailer_of(&image)->segments);
        test_context("round %llu", (unsigned long long)round);
        if (round % 4 != 0) slots_at(&damaged, segment)[test_random_below(&random, 8000)] ^= 2;
        put_sum = first_puts;
        keys = AT_FIRST;
        memset(newest, 0, sizeof newest);
        memcpy(newest, newest_at_first, sizeof newest_at_first);
        for (uint64_t key = 0; key < AT_FIRST; key++) atomic_store(&race.at_least[key], newest[key]);
        atomic_store(&race.known_keys, AT_FIRST);
        atomic_store(&race.failures, 0);
        atomic_store(&race.done, false);
        atomic_store(&race.discarded, false);
        race.index = load_image(&damaged);
        CHECK(race.index);
        for (uint64_t i = 0; i < READERS; i++)
            CHECK_OK(sdi_thread_start(&readers[i], look_on, (void *)(uintptr_t)(round * READERS + i)));
        bool discards = round % 4 == 3;
        for (uint64_t n = 0; n < LATER && !discards; n++) {
            uint64_t key = n % 3 == 0 ? test_random_below(&random, AT_FIRST) : AT_FIRST + n;
            put_key(race.index, key);
            atomic_store_explicit(&race.at_least[key], newest[key], memory_order_release);
        }
        if (discards) {
            atomic_store(&race.discarded, true);
            sdi_index_discard(race.index);
        }
        atomic_store(&race.done, true);
        for (int i = 0; i < READERS; i++) sdi_thread_join(&readers[i]);
        CHECK_U64(0, race.failures);
        if (!discards) {
            for (uint64_t key = 0; key < keys; key++)
                CHECK_U64(newest[key], sdi_index_find(race.index, hash_of(key)).offset);
        }
        sdi_index_destroy(race.index);
        free(damaged.bytes);
    }
    free(image.bytes);
    CHECK_U64(0, lent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_image_is_what_was_saved),
        cmocka_unit_test(test_an_index_sized_beforehand_is_saved_too),
        cmocka_unit_test(test_segments_of_other_sizes_are_saved_too),
        cmocka_unit_test(test_every_changed_byte_of_a_small_image),
        cmocka_unit_test(test_random_damage_of_a_large_image),
        cmocka_unit_test(test_a_mended_index_goes_on),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_hostile_slots),
        cmocka_unit_test(test_offsets_out_of_the_file_are_seen),
        cmocka_unit_test(test_a_full_segment_that_claims_few_keys_is_seen),
        cmocka_unit_test(test_hostile_records_are_refused),
        cmocka_unit_test(test_a_directory_is_not_larger_than_what_it_leads_to),
        cmocka_unit_test(test_any_allocation_of_saving_and_loading_may_fail),
        cmocka_unit_test(test_without_memory_to_mend_nothing_is_said),
        cmocka_unit_test(test_a_sink_may_refuse),
        cmocka_unit_test(test_a_segment_replaced_while_it_is_copied_is_copied_again),
        cmocka_unit_test(test_saved_beside_a_writer),
        cmocka_unit_test(test_many_threads_use_a_fresh_image),
    };
    return cmocka_run_group_tests(tests, begin_file, end_file);
}
