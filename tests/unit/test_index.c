/* SPDX-License-Identifier: Apache-2.0 */
/* test_index.c — the index against a plain model: what is put is found, what is not put is not, at every size, with
 * random and with spiteful hashes, within its memory bounds.
 *
 * The file that the index reads hashes from is an array here: the n-th key put gets the n-th place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "index/state.h"
#include "os/os.h"

enum { STRIDE = 16, FIRST = 48 };

static const uint64_t seed = 0x5DEECE66D1234567u;

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Places are drawn from the same seed, so that a failure can be had again. */
static sdi_index *new_index(uint64_t expected_keys, const uint8_t *base) {
    sdi_index *index = sdi_index_create_seeded(expected_keys, base, seed);
    assert_non_null(index);
    return index;
}

typedef struct fake_file {
    uint8_t *bytes;
    size_t room;
    size_t count;
} fake_file;

static fake_file file_create(size_t room) {
    fake_file file = {.bytes = malloc(FIRST + room * STRIDE), .room = room};
    assert_non_null(file.bytes);
    return file;
}

static uint64_t file_append(fake_file *file, uint64_t hash) {
    assert_true(file->count < file->room);
    uint64_t offset = FIRST + file->count++ * STRIDE;
    sdi_store64(file->bytes + offset, hash);
    return offset;
}

/* The n-th hash of a kind. All kinds give different hashes for different n. */
typedef uint64_t (*hash_kind)(uint64_t n);

static uint64_t random_hash(uint64_t n) {
    uint64_t state = seed + n * 0x9E3779B97F4A7C15u;
    return next_random(&state);
}
static uint64_t sequential_hash(uint64_t n) {
    return n;
}
static uint64_t high_bits_hash(uint64_t n) {
    return n << 40;
}
static uint64_t equal_low_half_hash(uint64_t n) {
    return n << 32 | 0xDEADBEEFu;
}
static uint64_t equal_high_half_hash(uint64_t n) {
    return 0xFFFFFFFF00000000u | n;
}

/* The inverse of an odd number modulo 2^64. */
static uint64_t inverse(uint64_t odd) {
    uint64_t x = odd;
    for (int i = 0; i < 6; i++) x *= 2 - odd * x;
    return x;
}
/* Made against the index by someone who knows its seed: the hash whose product, from which its place comes, is this. */
static uint64_t hash_with_product(uint64_t product) {
    sdi_seed places = sdi_seed_of(seed);
    return (product * inverse(places.factor)) ^ places.flip;
}
/* All have the same u, so that no directory can part them. */
static uint64_t equal_u_hash(uint64_t n) {
    return hash_with_product(UINT64_C(0x1234567800000000) + n * 2654435761u % 0xFFFFFFFBu);
}
/* Almost the same u: only deep directories part them. */
static uint64_t close_u_hash(uint64_t n) {
    return hash_with_product(UINT64_C(0x1234500000000000) + random_hash(n) % (UINT64_C(1) << 44));
}
/* All have the same home line, the last of the segment. */
static uint64_t equal_home_hash(uint64_t n) {
    uint64_t folded = (UINT64_C(0xFFFFFFFF00000000) | (uint32_t)n * 2654435761u) * inverse(SDI_HOME_FACTOR);
    return hash_with_product(folded ^ folded >> 32);
}
/* Made by someone who knows all of the index but its seed: the same home and nearly the same u, were the seed one that
 * changes nothing. That was so once, and an open of a file with 800000 such hashes took seconds. */
static uint64_t flood_hash(uint64_t n) {
    static uint64_t known, low;
    if (n < known) known = low = 0;
    for (;; known++) {
        uint64_t hash;
        do {
            hash = low << 32 | (low ^ 0x1234567);
            low++;
        } while (sdi_spiral((uint32_t)((hash * SDI_HOME_FACTOR) >> 32)) >> 25 != 5);
        if (known == n) {
            known++;
            return hash;
        }
    }
}

static void assert_found(const sdi_index *index, uint64_t hash, uint64_t offset, const uint8_t *base) {
    sdi_index_hit hit = sdi_index_find(index, hash);
    assert_int_equal(hit.offset, offset);
    assert_ptr_equal(hit.base, base);
}

static void assert_missing(const sdi_index *index, uint64_t hash) {
    assert_int_equal(sdi_index_find(index, hash).offset, SDI_INDEX_NONE);
}

static void put_new(sdi_index *index, fake_file *file, uint64_t hash) {
    assert_int_equal(sdi_index_reserve(index, &hash, 1), SIMDRIVE_OK);
    assert_int_equal(sdi_index_put(index, hash, file_append(file, hash)), SDI_INDEX_NONE);
}

/* Keys 0 to n-1 of a kind, put once each in order, are all there. */
static void assert_all_there(const sdi_index *index, const fake_file *file, hash_kind kind, uint64_t n) {
    uint64_t hashes[100];
    sdi_index_hit hits[100];
    for (uint64_t i = 0; i < n; i += 100) {
        size_t count = n - i < 100 ? (size_t)(n - i) : 100;
        for (size_t k = 0; k < count; k++) hashes[k] = kind(i + k);
        sdi_index_find_batch(index, hashes, count, hits);
        for (size_t k = 0; k < count; k++) {
            uint64_t key = i + k;
            if (hits[k].offset != FIRST + key * STRIDE) fail_msg("key %llu is not found", (unsigned long long)key);
            assert_ptr_equal(hits[k].base, file->bytes);
        }
    }
}

static void test_an_empty_index_finds_nothing(void **state) {
    (void)state;
    sdi_index *index = new_index(0, NULL);
    assert_non_null(index);
    uint64_t hashes[3] = {0, 1, UINT64_MAX};
    sdi_index_hit hits[3];
    sdi_index_find_batch(index, hashes, 3, hits);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hits[i].offset, SDI_INDEX_NONE);
        assert_missing(index, hashes[i]);
    }
    sdi_index_find_batch(index, NULL, 0, NULL);
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    assert_int_equal(stats.keys, 0);
    assert_true(stats.bytes < 2048);
    sdi_index_destroy(index);
    sdi_index_destroy(NULL);
}

static void test_a_put_replaces_the_offset(void **state) {
    (void)state;
    fake_file file = file_create(3);
    sdi_index *index = new_index(0, file.bytes);
    put_new(index, &file, 42);
    uint64_t newer = file_append(&file, 42);
    assert_int_equal(sdi_index_put(index, 42, newer), FIRST);
    assert_found(index, 42, newer, file.bytes);
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    assert_int_equal(stats.keys, 1);
    sdi_index_destroy(index);
    free(file.bytes);
}

static void test_a_new_base_is_handed_out(void **state) {
    (void)state;
    fake_file file = file_create(2);
    sdi_index *index = new_index(0, file.bytes);
    put_new(index, &file, 7);
    uint8_t *moved = malloc(FIRST + 2 * STRIDE);
    memcpy(moved, file.bytes, FIRST + 2 * STRIDE);
    sdi_index_set_base(index, moved);
    assert_found(index, 7, FIRST, moved);
    sdi_index_destroy(index);
    free(file.bytes);
    free(moved);
}

/* Grows key by key; all keys are checked whenever their number has grown by half. */
static void grow_and_check(hash_kind kind, uint64_t keys) {
    fake_file file = file_create(keys);
    sdi_index *index = new_index(0, file.bytes);
    for (uint64_t n = 0, check = 1; n < keys; n++) {
        put_new(index, &file, kind(n));
        if (n + 1 < check && n + 1 < keys) continue;
        check += check / 2 + 1;
        assert_all_there(index, &file, kind, n + 1);
        assert_missing(index, kind(n + 1));
    }
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    assert_int_equal(stats.keys, keys);
    sdi_index_destroy(index);
    free(file.bytes);
}

static void test_growth_keeps_every_key(void **state) {
    (void)state;
    grow_and_check(random_hash, 3000000);
}
static void test_sequential_hashes(void **state) {
    (void)state;
    grow_and_check(sequential_hash, 400000);
}
static void test_hashes_in_the_high_bits(void **state) {
    (void)state;
    grow_and_check(high_bits_hash, 400000);
}
static void test_hashes_with_equal_low_half(void **state) {
    (void)state;
    grow_and_check(equal_low_half_hash, 400000);
}
static void test_hashes_with_equal_high_half(void **state) {
    (void)state;
    grow_and_check(equal_high_half_hash, 400000);
}
static void test_hashes_with_equal_u(void **state) {
    (void)state;
    grow_and_check(equal_u_hash, 300000);
}
static void test_hashes_with_close_u(void **state) {
    (void)state;
    grow_and_check(close_u_hash, 400000);
}
static void test_hashes_with_equal_home(void **state) {
    (void)state;
    grow_and_check(equal_home_hash, 20000);
}

/* What hashes that nobody chose to be spiteful cost to find, in lines beyond the home line. */
typedef struct probes {
    double mean;
    uint32_t most;
} probes;

static probes count_probes(const sdi_index *index, const fake_file *file) {
    probes result = {0};
    for (size_t n = 0; n < file->count; n++) {
        uint64_t offset = FIRST + n * STRIDE;
        sdi_place place = sdi_place_of(index->seed, sdi_load64(file->bytes + offset));
        uint64_t word = sdi_own_word(index, place.u);
        uint32_t lines = 1u << sdi_word_lines_log2(word), beyond = 0;
        uint32_t home = sdi_home_line(place.home, sdi_word_lines_log2(word));
        for (;; beyond++) {
            const sdi_slot *line = sdi_word_segment(word) + (size_t)((home + beyond) & (lines - 1)) * SDI_LINE_SLOTS;
            bool here = false;
            for (unsigned i = 0; i < SDI_LINE_SLOTS; i++) here |= sdi_slot_offset(atomic_load(&line[i])) == offset;
            if (here) break;
            assert_true(beyond < lines);
        }
        result.mean += (double)beyond / (double)file->count;
        if (beyond > result.most) result.most = beyond;
    }
    return result;
}

static void assert_probes_are_short(hash_kind kind, size_t keys) {
    const uint64_t seeds[] = {seed, 1, 2, 3, sdi_unique_number()};
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        fake_file file = file_create(keys);
        sdi_index *index = sdi_index_create_seeded(0, file.bytes, seeds[s]);
        for (uint64_t n = 0; n < keys; n++) put_new(index, &file, kind(n));
        probes p = count_probes(index, &file);
        print_message("seed %llx: %.2f lines beyond the home line, at most %u\n", (unsigned long long)seeds[s], p.mean,
                      p.most);
        assert_true(p.mean < 2.0);
        assert_true(p.most < 512);
        sdi_index_destroy(index);
        free(file.bytes);
    }
}

static void test_probes_of_random_hashes_are_short(void **state) {
    (void)state;
    assert_probes_are_short(random_hash, 100000);
}
static void test_a_flood_of_chosen_hashes_has_no_longer_probes(void **state) {
    (void)state;
    assert_probes_are_short(flood_hash, 100000);
}
static void test_probes_of_sequential_hashes_are_short(void **state) {
    (void)state;
    assert_probes_are_short(sequential_hash, 100000);
}

static void test_indexes_draw_different_seeds(void **state) {
    (void)state;
    sdi_index *one = sdi_index_create(0, NULL), *other = sdi_index_create(0, NULL);
    assert_true(one->seed.flip != other->seed.flip);
    assert_true(one->seed.factor != other->seed.factor);
    sdi_index_destroy(one);
    sdi_index_destroy(other);
}

static double bytes_per_key(const sdi_index *index) {
    sdi_index_stats stats;
    sdi_index_get_stats(index, &stats);
    return (double)stats.bytes / (double)stats.keys;
}

static void test_memory_per_key_stays_within_its_bound(void **state) {
    (void)state;
    const uint64_t keys = 3000000;
    fake_file file = file_create(keys);
    sdi_index *index = new_index(0, file.bytes);
    double most = 0, sum = 0;
    uint64_t samples = 0;
    for (uint64_t n = 0; n < keys; n++) {
        put_new(index, &file, random_hash(n));
        if (n < 200000 || n % 100 != 0) continue;
        double now = bytes_per_key(index);
        most = now > most ? now : most;
        sum += now;
        samples++;
    }
    print_message("bytes per key: at most %.2f, on average %.2f\n", most, sum / (double)samples);
    assert_true(most <= 16.0);
    assert_true(sum / (double)samples <= 13.5);
    sdi_index_destroy(index);
    free(file.bytes);
}

static void test_an_expected_size_is_met_without_growth(void **state) {
    (void)state;
    const uint64_t sizes[] = {1, 100, 5000, 29000, 30000, 200000, 1000000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        fake_file file = file_create((size_t)sizes[s]);
        sdi_index *index = new_index(sizes[s], file.bytes);
        sdi_index_stats before, after;
        sdi_index_get_stats(index, &before);
        for (uint64_t n = 0; n < sizes[s]; n++) put_new(index, &file, random_hash(n));
        sdi_index_get_stats(index, &after);
        assert_int_equal(before.segments, after.segments);
        assert_int_equal(before.slots, after.slots);
        assert_int_equal(before.bytes, after.bytes);
        assert_all_there(index, &file, random_hash, sizes[s]);
        if (sizes[s] >= 200000) assert_true(bytes_per_key(index) <= 16.5);
        sdi_index_destroy(index);
        free(file.bytes);
    }
}

static void add_new(sdi_index *index, fake_file *file, uint64_t n) {
    uint64_t hash = random_hash(n), offset = file_append(file, hash), existing;
    assert_int_equal(sdi_index_add_batch(index, &hash, &offset, 1, &existing), SIMDRIVE_OK);
    assert_int_equal(existing, SDI_INDEX_NONE);
}

/* Room for keys that did not come is given back; a few too few are not worth it. */
static void test_an_index_made_too_large_is_made_to_fit(void **state) {
    (void)state;
    for (uint64_t keys = 0; keys <= 300000; keys = keys * 3 + 1000) {
        fake_file file = file_create((size_t)keys + 1);
        sdi_index *index = new_index(300000, file.bytes);
        for (uint64_t n = 0; n < keys; n++) add_new(index, &file, n);
        sdi_index *fit = sdi_index_fit(index);
        sdi_index_stats stats;
        sdi_index_get_stats(fit, &stats);
        assert_int_equal(stats.keys, keys);
        assert_true(stats.bytes <= 20 * keys + 2048);
        assert_all_there(fit, &file, random_hash, keys);
        assert_missing(fit, random_hash(keys));
        assert_ptr_equal(sdi_index_fit(fit), fit);
        sdi_index_destroy(fit);
        free(file.bytes);
    }
}

/* --- random operations against a model --------------------------------------------------------------------------- */

enum { MODEL_KEYS = 60000, MODEL_BATCH = 300 };

typedef struct model {
    fake_file file;
    sdi_index *index;
    uint64_t *offsets; /* of key n, or 0 */
    uint64_t keys;
    uint64_t random;
} model;

static void model_put(model *m, uint64_t key) {
    uint64_t hash = random_hash(key), offset = file_append(&m->file, hash);
    assert_int_equal(sdi_index_reserve(m->index, &hash, 1), SIMDRIVE_OK);
    assert_int_equal(sdi_index_put(m->index, hash, offset), m->offsets[key]);
    m->keys += m->offsets[key] == 0;
    m->offsets[key] = offset;
}

/* Keys may come several times in a batch. `add` keeps what is there, put replaces it. */
static void model_batch(model *m, uint64_t range, bool add) {
    uint64_t keys[MODEL_BATCH], hashes[MODEL_BATCH], offsets[MODEL_BATCH], answers[MODEL_BATCH];
    size_t count = (size_t)(next_random(&m->random) % MODEL_BATCH) + 1;
    for (size_t i = 0; i < count; i++) {
        keys[i] = next_random(&m->random) % range;
        hashes[i] = random_hash(keys[i]);
        offsets[i] = file_append(&m->file, hashes[i]);
    }
    if (add) {
        assert_int_equal(sdi_index_add_batch(m->index, hashes, offsets, count, answers), SIMDRIVE_OK);
    } else {
        assert_int_equal(sdi_index_reserve(m->index, hashes, count), SIMDRIVE_OK);
        sdi_index_put_batch(m->index, hashes, offsets, count, answers);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(answers[i], m->offsets[keys[i]]);
        if (add && m->offsets[keys[i]]) continue;
        m->keys += m->offsets[keys[i]] == 0;
        m->offsets[keys[i]] = offsets[i];
    }
}

static void model_look(model *m, uint64_t range) {
    uint64_t key = next_random(&m->random) % range;
    assert_int_equal(sdi_index_find(m->index, random_hash(key)).offset, m->offsets[key]);
}

static void model_look_at_all(model *m) {
    uint64_t hashes[MODEL_BATCH];
    sdi_index_hit hits[MODEL_BATCH];
    for (uint64_t first = 0; first < MODEL_KEYS; first += MODEL_BATCH) {
        for (uint64_t i = 0; i < MODEL_BATCH; i++) hashes[i] = random_hash(first + i);
        sdi_index_find_batch(m->index, hashes, MODEL_BATCH, hits);
        for (uint64_t i = 0; i < MODEL_BATCH; i++) assert_int_equal(hits[i].offset, m->offsets[first + i]);
    }
    sdi_index_stats stats;
    sdi_index_get_stats(m->index, &stats);
    assert_int_equal(stats.keys, m->keys);
}

static void test_random_operations_match_a_model(void **state) {
    (void)state;
    model m = {.file = file_create(800000), .random = seed};
    m.index = new_index(0, m.file.bytes);
    m.offsets = calloc(MODEL_KEYS, sizeof *m.offsets);
    for (int step = 0; step < 20000; step++) {
        uint64_t range = 50 + (uint64_t)step * 3; /* new keys all the time, repeats as well */
        unsigned what = (unsigned)(next_random(&m.random) % 16);
        if (what == 0) model_batch(&m, range, false);
        else if (what == 1) model_batch(&m, range, true);
        else if (what < 6) model_put(&m, next_random(&m.random) % range);
        else model_look(&m, range);
        if (step % 2000 == 1999) model_look_at_all(&m);
    }
    sdi_index_destroy(m.index);
    free(m.offsets);
    free(m.file.bytes);
}

/* --- reserve ----------------------------------------------------------------------------------------------------- */

static void test_one_reserve_makes_room_for_a_large_batch(void **state) {
    (void)state;
    const size_t keys = 300000;
    fake_file file = file_create(keys);
    sdi_index *index = new_index(0, file.bytes);
    uint64_t *hashes = malloc(3 * keys * sizeof *hashes), *offsets = hashes + keys, *replaced = offsets + keys;
    for (size_t i = 0; i < keys; i++) {
        hashes[i] = random_hash(i);
        offsets[i] = file_append(&file, hashes[i]);
    }
    sdi_index_stats before, after;
    assert_int_equal(sdi_index_reserve(index, hashes, keys), SIMDRIVE_OK);
    sdi_index_get_stats(index, &before);
    sdi_index_put_batch(index, hashes, offsets, keys, replaced);
    for (size_t i = 0; i < keys; i++) assert_int_equal(replaced[i], SDI_INDEX_NONE);
    assert_all_there(index, &file, random_hash, keys);
    assert_true(bytes_per_key(index) <= 17.0);

    /* Neither keys that are there already nor a reserve that no put follows take more room. */
    for (int i = 0; i < 20; i++) assert_int_equal(sdi_index_reserve(index, hashes, keys), SIMDRIVE_OK);
    sdi_index_get_stats(index, &after);
    assert_int_equal(before.bytes, after.bytes);
    sdi_index_destroy(index);
    free(hashes);
    free(file.bytes);
}

static void test_reserving_again_and_again_takes_room_once(void **state) {
    (void)state;
    fake_file file = file_create(100000);
    sdi_index *index = new_index(0, file.bytes);
    for (uint64_t n = 0; n < 100000; n++) put_new(index, &file, random_hash(n));
    uint64_t hashes[20000];
    sdi_index_stats once, often;
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < 20000; i++) hashes[i] = random_hash(1000000 + i);
        assert_int_equal(sdi_index_reserve(index, hashes, 20000), SIMDRIVE_OK);
        sdi_index_get_stats(index, round == 0 ? &once : &often);
    }
    assert_int_equal(once.bytes, often.bytes);
    sdi_index_destroy(index);
    free(file.bytes);
}

/* A sample holds offsets that were put, and cuts the file into parts that none of them is much longer than others. */
static void test_a_sample_comes_from_all_over_the_file(void **state) {
    enum { KEYS = 100000, SAMPLE = 1024, PARTS = 16 };
    static const hash_kind kinds[] = {random_hash, sequential_hash, high_bits_hash, equal_low_half_hash};
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        fake_file file = file_create(KEYS);
        sdi_index *index = new_index(0, file.bytes);
        uint64_t offsets[SAMPLE];
        size_t in_part[PARTS] = {0};
        assert_int_equal(0, sdi_index_sample(index, offsets, SAMPLE));
        for (uint64_t n = 0; n < KEYS; n++) {
            uint64_t hash = kinds[k](n);
            assert_int_equal(SIMDRIVE_OK, sdi_index_reserve(index, &hash, 1));
            sdi_index_put(index, hash, file_append(&file, hash));
        }
        size_t count = sdi_index_sample(index, offsets, SAMPLE);
        assert_in_range(count, SAMPLE / 4, SAMPLE);
        for (size_t i = 0; i < count; i++) {
            assert_in_range(offsets[i], FIRST, FIRST + (KEYS - 1) * STRIDE);
            assert_int_equal(0, (offsets[i] - FIRST) % STRIDE);
            in_part[(offsets[i] - FIRST) / STRIDE * PARTS / KEYS]++;
        }
        for (size_t i = 0; i < PARTS; i++) assert_in_range(in_part[i], 1, 4 * count / PARTS);
        sdi_index_destroy(index);
        free(file.bytes);
    }
}

static void test_a_discarded_index_gives_no_wrong_answer(void **state) {
    (void)state;
    fake_file file = file_create(200000);
    sdi_index *index = new_index(0, file.bytes);
    for (uint64_t n = 0; n < 200000; n++) put_new(index, &file, random_hash(n));
    sdi_index_discard(index);
    for (uint64_t n = 0; n < 200000; n++) {
        uint64_t offset = sdi_index_find(index, random_hash(n)).offset;
        assert_true(offset == SDI_INDEX_NONE || offset == FIRST + n * STRIDE);
    }
    sdi_index_destroy(index);
    free(file.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_index_finds_nothing),
        cmocka_unit_test(test_a_put_replaces_the_offset),
        cmocka_unit_test(test_a_new_base_is_handed_out),
        cmocka_unit_test(test_growth_keeps_every_key),
        cmocka_unit_test(test_sequential_hashes),
        cmocka_unit_test(test_hashes_in_the_high_bits),
        cmocka_unit_test(test_hashes_with_equal_low_half),
        cmocka_unit_test(test_hashes_with_equal_high_half),
        cmocka_unit_test(test_hashes_with_equal_u),
        cmocka_unit_test(test_hashes_with_close_u),
        cmocka_unit_test(test_hashes_with_equal_home),
        cmocka_unit_test(test_probes_of_random_hashes_are_short),
        cmocka_unit_test(test_a_flood_of_chosen_hashes_has_no_longer_probes),
        cmocka_unit_test(test_probes_of_sequential_hashes_are_short),
        cmocka_unit_test(test_indexes_draw_different_seeds),
        cmocka_unit_test(test_memory_per_key_stays_within_its_bound),
        cmocka_unit_test(test_an_expected_size_is_met_without_growth),
        cmocka_unit_test(test_an_index_made_too_large_is_made_to_fit),
        cmocka_unit_test(test_random_operations_match_a_model),
        cmocka_unit_test(test_one_reserve_makes_room_for_a_large_batch),
        cmocka_unit_test(test_reserving_again_and_again_takes_room_once),
        cmocka_unit_test(test_a_sample_comes_from_all_over_the_file),
        cmocka_unit_test(test_a_discarded_index_gives_no_wrong_answer),
    };
    print_message("seed %llx\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
