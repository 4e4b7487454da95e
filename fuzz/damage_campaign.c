/* SPDX-License-Identifier: Apache-2.0
 *
 * damage_campaign.c — the long form of the tests of damage, beyond what a fuzzer is for:
 *
 *   damage_campaign --every-bit KIB     each bit of a store of at least so many KiB, for five shapes
 *   damage_campaign --random N SEED     N times several bytes at random, in stores of all shapes
 *
 * What must hold stands in damage_check.h. Salvage and a writer follow for each bit of links, and for one in so many of
 * the rest. A failure names the state; the same arguments find it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage_check.h"

enum { STORES = 5, THOROUGH_ONE_IN = 64, ENTRIES_PER_SHAPE = 60, ROUNDS_PER_STORE = 2000, MOST_DAMAGES = 4,
       MOST_BYTES = 300 };

static const test_shape SHAPES[STORES] = {TEST_SHAPE_RANDOM, TEST_SHAPE_NO_PAD, TEST_SHAPE_TOMBSTONES,
                                          TEST_SHAPE_NESTED_LAST, TEST_SHAPE_ZEROS};

static void report(const damage_case *damaged, const char *what) {
    printf("%s: %llu states, %llu entries hit, %llu keys differ in reading, %llu after salvage\n", what,
           (unsigned long long)damaged->states, (unsigned long long)damaged->hit,
           (unsigned long long)damaged->lost_in_reading, (unsigned long long)damaged->lost_by_salvage);
    fflush(stdout);
}

/* Whether the byte belongs to a link: those of each entry are followed by everything that there is. */
static bool is_link(const test_image *image, size_t offset) {
    const test_record *record = &image->records[test_image_complete(image, offset)];
    return offset >= record->end + 8 && offset < record->end + 16;
}

/* An image of at least so many bytes. */
static void make_large(test_image *image, test_shape shape, size_t size) {
    for (size_t entries = 64;; entries *= 2) {
        test_random random = {(uint64_t)shape};
        test_image_free(image);
        test_image_generate(image, shape, entries, 200, &random);
        if (image->size >= size) return;
    }
}

static void every_bit(size_t size) {
    for (size_t i = 0; i < STORES; i++) {
        test_image image = {0};
        damage_case damaged;
        make_large(&image, SHAPES[i], size);
        damage_begin(&damaged, &image);
        for (size_t bit = 0; bit < damaged.image.size * 8; bit++) {
            test_context("shape %s: bit %zu of byte %zu of %zu", test_shape_name(SHAPES[i]), bit % 8, bit / 8,
                         damaged.image.size);
            damaged.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            damage_check(&damaged, bit % THOROUGH_ONE_IN == bit / 8 % 8 ||
                                       (is_link(&damaged.image, bit / 8) && bit % 5 == 0));
            damaged.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        char what[96];
        snprintf(what, sizeof what, "every bit of %zu bytes, shape %s", damaged.image.size,
                 test_shape_name(SHAPES[i]));
        report(&damaged, what);
        damage_end(&damaged);
    }
}

static void damage_at_random(damage_case *damaged, test_random *random) {
    for (size_t left = 1 + (size_t)test_random_below(random, MOST_DAMAGES); left > 0; left--) {
        size_t place = (size_t)test_random_below(random, damaged->size);
        size_t size = 1 + (size_t)test_random_below(random, test_random_below(random, 2) ? MOST_BYTES : 4);
        if (size > damaged->size - place) size = damaged->size - place;
        if (test_random_below(random, 3) == 0)
            memset(damaged->bytes + place, 0, size);
        else
            test_random_fill(random, damaged->bytes + place, size);
    }
}

static void at_random(uint64_t rounds, uint64_t seed) {
    test_random random = {seed};
    damage_case sum = {0};
    while (sum.states < rounds) {
        test_shape shape = (test_shape)test_random_below(&random, TEST_SHAPE_COUNT);
        uint64_t begun = random.state;
        test_image image = {.checksum = begun % 2 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C};
        damage_case damaged;
        test_image_generate(&image, shape, 2 + (size_t)test_random_below(&random, ENTRIES_PER_SHAPE),
                            4 + (size_t)test_random_below(&random, 120), &random);
        damage_begin(&damaged, &image);
        for (size_t i = 0; i < ROUNDS_PER_STORE && sum.states + damaged.states < rounds; i++) {
            test_context("shape %s, store begun at %llu, round %zu", test_shape_name(shape),
                         (unsigned long long)begun, i);
            damage_at_random(&damaged, &random);
            damage_check(&damaged, i % 8 == 0);
            damage_undo(&damaged);
        }
        sum.states += damaged.states;
        sum.hit += damaged.hit;
        sum.lost_in_reading += damaged.lost_in_reading;
        sum.lost_by_salvage += damaged.lost_by_salvage;
        damage_end(&damaged);
    }
    report(&sum, "damages at random");
}

int main(int argc, char **argv) {
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    if (argc == 3 && strcmp(argv[1], "--every-bit") == 0) {
        every_bit((size_t)strtoull(argv[2], NULL, 10) << 10);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--random") == 0) {
        at_random(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        return 0;
    }
    fprintf(stderr, "usage: damage_campaign --every-bit KIB | --random N SEED\n");
    return 2;
}
