/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_damage.c — a store that is made from the input, and then damaged as the input says; what must hold stands in
 * damage_check.h. Payloads are of the kinds that tests use (test_shape): an input chooses their shape and where the
 * damage is, not bytes that forge an entry, for which nothing could be promised.
 *
 *   input   shape | entries | scale | seed, 2 bytes | cut, 2 bytes | damages...
 *   damage  place, 2 bytes | kind and length | value
 */
#include <stdlib.h>
#include <string.h>

#include "damage_check.h"
#include "fuzz.h"

enum { MOST_ENTRIES = 40, MOST_SCALE = 100, MOST_DAMAGES = 12, MOST_BYTES = 64 };

static void make_image(test_image *image, fuzz_input *input) {
    test_shape shape = (test_shape)(fuzz_byte(input) % TEST_SHAPE_COUNT);
    size_t entries = 2 + fuzz_byte(input) % MOST_ENTRIES, scale = 4 + fuzz_byte(input) % MOST_SCALE;
    test_random random = {fuzz_word(input)};
    image->checksum = random.state % 3 == 0 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_CRC32C;
    test_image_generate(image, shape, entries, scale, &random);
}

static void damage_once(damage_case *damaged, fuzz_input *input) {
    size_t place = fuzz_place(input, damaged->size);
    unsigned how = fuzz_byte(input), value = fuzz_byte(input);
    size_t size = 1 + how / 4 % MOST_BYTES;
    if (size > damaged->size - place) size = damaged->size - place;
    uint8_t *at = damaged->bytes + place;
    test_random random = {value};
    switch (how % 4) {
    case 0: *at ^= (uint8_t)(1u << value % 8); break;
    case 1: memset(at, value % 4 == 0 ? (int)(value / 4) : 0, size); break;
    case 2: test_random_fill(&random, at, size); break;
    default: /* a sector that was never written */
        place -= place % 512;
        memset(damaged->bytes + place, 0, damaged->size - place < 512 ? damaged->size - place : 512);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    test_image image = {0};
    damage_case damaged;
    if (size < 8) return 0;
    make_image(&image, &input);
    damage_begin(&damaged, &image);
    size_t cut = fuzz_word(&input);
    if (cut % 4 == 0) damaged.size = 1 + cut / 4 % damaged.size;
    for (size_t i = 0; i < MOST_DAMAGES && fuzz_left(&input) >= 4; i++) damage_once(&damaged, &input);
    damage_check(&damaged, true);
    damage_end(&damaged);
    return 0;
}
