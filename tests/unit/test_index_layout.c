/* SPDX-License-Identifier: Apache-2.0 */
/* test_index_layout.c — the small pieces of the index: matching a line in one go is what matching slot by slot is,
 * words and slots give back what was put into them, and the coordinates of keys are spread as they are meant to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "index/layout.h"

static uint64_t random_state = 0xC0FFEE123u;

static uint64_t next_random(void) {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static _Alignas(64) sdi_slot line[SDI_LINE_SLOTS];

static void fill_line(unsigned taken, const unsigned *tags, size_t kinds) {
    for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) {
        uint64_t slot = sdi_slot_make(tags[next_random() % kinds], (next_random() & SDI_OFFSET_MASK) | 1);
        uint64_t mark = taken == SDI_LINE_SLOTS ? next_random() & SDI_SLOT_MARK : 0;
        atomic_store(&line[i], i < taken ? slot | mark : 0);
    }
}

static void test_a_line_is_matched_as_its_slots_are(void **state) {
    (void)state;
    const unsigned tags[] = {0, 1, 7, 8, 0x3FFF, 0x4000, 0x4001, 0x7FFF, 0x7F00, 0x00FF};
    const size_t kinds = sizeof tags / sizeof *tags;
    for (int round = 0; round < 20000; round++) {
        unsigned taken = (unsigned)(next_random() % (SDI_LINE_SLOTS + 1)), tag = tags[next_random() % kinds];
        fill_line(taken, tags, kinds);
        unsigned expected = 0;
        for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) expected |= (unsigned)((line[i] >> 48 & 0x7FFF) == tag) << i;
        assert_int_equal(sdi_line_match(line, tag), expected);
        assert_int_equal(sdi_line_is_full(line), taken == SDI_LINE_SLOTS);
        if (taken < SDI_LINE_SLOTS) assert_int_equal(sdi_line_first_empty(line), taken);
    }
}

/* The class is the same for a key wherever it lies, and keeps to its three bits. */
static void test_a_mark_leads_on_those_of_its_class_alone(void **state) {
    (void)state;
    const unsigned tags[] = {0, 8, 0x7FFF, 0x5A5A, 0x0123};
    for (unsigned marked = 0; marked < 1u << SDI_TAG_BITS; marked += 5) {
        fill_line(SDI_LINE_SLOTS, tags, sizeof tags / sizeof *tags);
        uint64_t before[SDI_LINE_SLOTS];
        for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) {
            atomic_store(&line[i], line[i] & ~SDI_SLOT_MARK);
            before[i] = line[i];
        }
        for (unsigned again = 0; again < 2; again++) {
            sdi_line_mark(line, marked);
            for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) {
                uint64_t mark = i == (marked >> 3) % 8 ? SDI_SLOT_MARK : 0;
                assert_true(line[i] == (before[i] | mark));
                assert_int_equal(sdi_line_leads_on(line, i << 3), mark != 0);
                assert_int_equal(sdi_line_leads_on(line, i << 3 | SDI_MOST_DISPLACED), mark != 0);
                assert_int_equal(sdi_line_leads_on(line, (i << 3) + 0x7FC0), mark != 0);
            }
        }
    }
}

static void test_matches_are_taken_one_by_one(void **state) {
    (void)state;
    unsigned found = 0xA5;
    const unsigned slots[] = {0, 2, 5, 7};
    for (int i = 0; i < 4; i++) assert_int_equal(sdi_next_match(&found), slots[i]);
    assert_int_equal(found, 0);
}

static void test_slots_keep_the_largest_offset(void **state) {
    (void)state;
    const uint64_t largest = (UINT64_C(1) << 48) - 1;
    for (unsigned tag = 0; tag <= 0x7FFF; tag += 0x1111) {
        uint64_t slot = sdi_slot_make(tag, largest);
        assert_int_equal(sdi_slot_offset(slot), largest);
        assert_int_equal(sdi_slot_offset(slot | SDI_SLOT_MARK), largest);
        assert_int_equal(sdi_slot_tag(slot | SDI_SLOT_MARK), tag);
        assert_int_equal(sdi_slot_tag(slot), tag);
        assert_int_equal(sdi_slot_offset(sdi_slot_make(tag, 1)), 1);
    }
}

static void test_words_keep_their_parts(void **state) {
    (void)state;
    for (unsigned depth = 0; depth <= SDI_DEEPEST; depth++) {
        uint64_t word = sdi_word_make(line, SDI_LARGEST_LINES_LOG2 - depth, depth, SDI_DEEPEST - depth);
        assert_ptr_equal((void *)(uintptr_t)sdi_word_segment(word), (void *)(uintptr_t)line);
        assert_int_equal(sdi_word_lines_log2(word), SDI_LARGEST_LINES_LOG2 - depth);
        assert_int_equal(sdi_word_depth(word), depth);
        assert_int_equal(sdi_word_tag_base(word), SDI_DEEPEST - depth);
    }
}

static void test_a_tag_counts_displacement_up_to_its_most(void **state) {
    (void)state;
    unsigned tag = sdi_tag(0xFFFFFFFFu, 3);
    assert_int_equal(tag, 0x7FF8);
    for (unsigned displaced = 1; displaced < 20; displaced++) {
        tag = sdi_tag_further(tag);
        assert_int_equal(tag, 0x7FF8 + (displaced < SDI_MOST_DISPLACED ? displaced : SDI_MOST_DISPLACED));
    }
}

static void test_the_spiral_rises_and_spans_all(void **state) {
    (void)state;
    assert_int_equal(sdi_spiral(0), 0);
    assert_true(sdi_spiral(UINT32_MAX) >= UINT32_MAX - 4);
    for (uint64_t x = 0, before = 0; x <= UINT32_MAX; x += 1000003) {
        assert_true(sdi_spiral((uint32_t)x) >= before);
        before = sdi_spiral((uint32_t)x);
    }
}

/* Sixteenths of u: the first holds about twice as many keys as the last. Lines: all about the same. */
static void assert_spread_by(sdi_seed seed, uint64_t (*hash)(uint64_t n)) {
    enum { KEYS = 1 << 16 };
    unsigned by_u[16] = {0}, by_home[16] = {0};
    for (uint64_t n = 0; n < KEYS; n++) {
        sdi_place place = sdi_place_of(seed, hash(n));
        by_u[place.u >> 28]++;
        by_home[place.home >> 28]++;
    }
    double ratio = (double)by_u[0] / by_u[15];
    assert_true(ratio > 1.8 && ratio < 2.2);
    for (int i = 0; i < 16; i++) assert_in_range(by_home[i], KEYS / 16 * 8 / 10, KEYS / 16 * 12 / 10);
}

/* Few seeds are bad for hashes that are all alike; none of these is. */
static void assert_spread(uint64_t (*hash)(uint64_t n)) {
    for (uint64_t number = 0; number < 20; number++) assert_spread_by(sdi_seed_of(number), hash);
}

static uint64_t any(uint64_t n) {
    (void)n;
    return next_random();
}
static uint64_t counting(uint64_t n) {
    return n;
}
static uint64_t counting_high(uint64_t n) {
    return n << 40;
}
static uint64_t counting_by_64(uint64_t n) {
    return n * 64;
}

static void test_keys_are_spread_whatever_their_hashes(void **state) {
    (void)state;
    assert_spread(any);
    assert_spread(counting);
    assert_spread(counting_high);
    assert_spread(counting_by_64);
}

static void test_another_seed_gives_other_places(void **state) {
    (void)state;
    sdi_place first = sdi_place_of(sdi_seed_of(1), 42);
    unsigned same_u = 0, same_home = 0;
    for (uint64_t number = 2; number < 1000; number++) {
        sdi_place place = sdi_place_of(sdi_seed_of(number), 42);
        same_u += place.u >> 24 == first.u >> 24;
        same_home += place.home >> 24 == first.home >> 24;
    }
    assert_true(same_u < 25 && same_home < 25); /* about four of 256 parts */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_matched_as_its_slots_are),
        cmocka_unit_test(test_a_mark_leads_on_those_of_its_class_alone),
        cmocka_unit_test(test_matches_are_taken_one_by_one),
        cmocka_unit_test(test_slots_keep_the_largest_offset),
        cmocka_unit_test(test_words_keep_their_parts),
        cmocka_unit_test(test_a_tag_counts_displacement_up_to_its_most),
        cmocka_unit_test(test_the_spiral_rises_and_spans_all),
        cmocka_unit_test(test_keys_are_spread_whatever_their_hashes),
        cmocka_unit_test(test_another_seed_gives_other_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
