/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel.c — every set of kernels that this machine can run computes what a bitwise reference computes, at every
 * length and alignment, and touches no byte that is not its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if !defined(_WIN32)
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "kernel/crc_constants.h"
#include "kernel/kernel.h"

enum { LENGTHS = 1024, ALIGNMENTS = 64, GUARD = 64, KINDS = 2 };
enum { FILL = 0xA5 };

static const uint32_t polynomial[KINDS] = {[SDI_CRC32C] = 0x82F63B78, [SDI_CRC32] = 0xEDB88320};

/* --- The reference: one bit at a time, nothing shared with the kernels. --- */

static uint32_t times_x(sdi_crc_kind kind, uint32_t value) {
    return (value >> 1) ^ ((value & 1) ? polynomial[kind] : 0);
}

static uint32_t times(sdi_crc_kind kind, uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000; bit != 0; bit >>= 1, b = times_x(kind, b))
        if (a & bit) product ^= b;
    return product;
}

static uint32_t reference_crc(sdi_crc_kind kind, uint32_t crc, const uint8_t *data, size_t size) {
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = times_x(kind, crc);
    }
    return ~crc;
}

/* --- Random bytes from a printed seed. --- */

static uint64_t random_state;

static uint64_t random_next(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void random_fill(uint8_t *to, size_t size) {
    for (size_t i = 0; i < size; i++) to[i] = (uint8_t)random_next();
}

static int seed_random(void **state) {
    (void)state;
    const char *given = getenv("SIMDRIVE_TEST_SEED");
    random_state = given ? strtoull(given, NULL, 0) : 0x51D2;
    printf("seed %#llx (SIMDRIVE_TEST_SEED)\n", (unsigned long long)random_state);
    return 0;
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    assert_non_null(memory);
    return memory;
}

/* A place in a larger allocation with the given address modulo 64, and guards around it. */
static uint8_t *aligned_place(uint8_t *memory, size_t alignment) {
    uintptr_t start = ((uintptr_t)memory + GUARD + 63) & ~(uintptr_t)63;
    return memory + (start - (uintptr_t)memory) + alignment;
}

enum { PLACE_SLACK = GUARD + 64 + ALIGNMENTS + GUARD };

#define fail_at(set, kind, size, from, to) \
    fail_msg("%s, kind %d, size %zu, source at +%zu, target at +%zu", (set)->name, (int)(kind), (size_t)(size), \
             (size_t)(from), (size_t)(to))

typedef void (*set_test)(const sdi_kernels *set);

static void for_each_set(set_test test) {
    size_t count;
    const sdi_kernels *const *sets = sdi_kernels_available(&count);
    for (size_t i = 0; i < count; i++) test(sets[i]);
}

/* --- Known values --- */

static void check_known_values(const sdi_kernels *set) {
    assert_int_equal(set->crc[SDI_CRC32C](0, "123456789", 9), 0xE3069283);
    assert_int_equal(set->crc[SDI_CRC32](0, "123456789", 9), 0xCBF43926);
    uint8_t zeros[32] = {0}, ones[32];
    memset(ones, 0xFF, sizeof ones);
    assert_int_equal(set->crc[SDI_CRC32C](0, zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
    assert_int_equal(set->crc[SDI_CRC32C](0, ones, 32), 0x62A8AB43);
    for (int kind = 0; kind < KINDS; kind++) {
        assert_int_equal(set->crc[kind](0, NULL, 0), 0);
        assert_int_equal(set->crc[kind](0x12345678, NULL, 0), 0x12345678);
        assert_int_equal(set->copy_crc[kind](0x12345678, NULL, NULL, 0), 0x12345678);
    }
    set->copy(NULL, NULL, 0);
}

static void known_values_come_out(void **state) {
    (void)state;
    for_each_set(check_known_values);
}

static void the_sets_start_with_the_portable_one_and_end_with_the_active_one(void **state) {
    (void)state;
    size_t count;
    const sdi_kernels *const *sets = sdi_kernels_available(&count);
    assert_true(count >= 1);
    assert_string_equal(sets[0]->name, "portable");
    assert_ptr_equal(sdi_kernels_active(), sets[count - 1]);
    printf("sets:");
    for (size_t i = 0; i < count; i++) printf(" %s", sets[i]->name);
    printf("\n");
}

#if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__)

/* The compiler's own look at the processor, as a second opinion. */
static void the_best_set_that_the_processor_has_is_chosen(void **state) {
    (void)state;
    __builtin_cpu_init();
    const char *best = "sse2";
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) best = "sse4.2+pclmulqdq";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul")) best = "avx2+pclmulqdq";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq")) best = "avx2+vpclmulqdq";
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("vpclmulqdq")) best = "avx512+vpclmulqdq";
    assert_string_equal(sdi_kernels_active()->name, best);
}

#endif

/* --- Every length at every alignment --- */

static uint8_t pattern[LENGTHS];
static uint32_t expected[KINDS][LENGTHS + 1]; /* [size]: of the first bytes of the pattern, after `before` */
static const uint32_t before = 0x89ABCDEF;

static int make_pattern(void **state) {
    seed_random(state);
    random_fill(pattern, sizeof pattern);
    for (int kind = 0; kind < KINDS; kind++) {
        expected[kind][0] = before;
        for (size_t i = 0; i < LENGTHS; i++)
            expected[kind][i + 1] = reference_crc((sdi_crc_kind)kind, expected[kind][i], pattern + i, 1);
    }
    return 0;
}

static void check_crc_everywhere(const sdi_kernels *set) {
    uint8_t *memory = allocate(LENGTHS + PLACE_SLACK);
    for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++) {
        uint8_t *from = aligned_place(memory, alignment);
        memcpy(from, pattern, LENGTHS);
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t size = 0; size <= LENGTHS; size++)
                if (set->crc[kind](before, from, size) != expected[kind][size]) fail_at(set, kind, size, alignment, 0);
    }
    free(memory);
}

static void crc_is_right_at_every_length_and_alignment(void **state) {
    (void)state;
    for_each_set(check_crc_everywhere);
}

static int all_bytes_are(const uint8_t *at, size_t size, uint8_t value) {
    for (size_t i = 0; i < size; i++)
        if (at[i] != value) return 0;
    return 1;
}

/* One copy into a place that is filled and guarded; `kind` of KINDS is the plain copy. */
static void check_copy(const sdi_kernels *set, int kind, uint8_t *to, const uint8_t *from, size_t size, size_t from_at,
                       size_t to_at) {
    memset(to - GUARD, FILL, GUARD + size + GUARD);
    if (kind == KINDS) {
        set->copy(to, from, size);
    } else if (set->copy_crc[kind](before, to, from, size) != expected[kind][size]) {
        fail_at(set, kind, size, from_at, to_at);
    }
    if (memcmp(to, pattern, size) != 0 || memcmp(from, pattern, size) != 0 || !all_bytes_are(to - GUARD, GUARD, FILL) ||
        !all_bytes_are(to + size, GUARD, FILL))
        fail_at(set, kind, size, from_at, to_at);
}

/* All alignments of the source, each with a target alignment that varies; then the other way round. */
static void check_copies_everywhere(const sdi_kernels *set) {
    uint8_t *from_memory = allocate(LENGTHS + PLACE_SLACK), *to_memory = allocate(LENGTHS + PLACE_SLACK);
    for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++) {
        uint8_t *from = aligned_place(from_memory, alignment);
        memcpy(from, pattern, LENGTHS);
        for (size_t size = 0; size <= LENGTHS; size++) {
            size_t to_at = (7 * size + 5 * alignment) % ALIGNMENTS;
            for (int kind = 0; kind <= KINDS; kind++)
                check_copy(set, kind, aligned_place(to_memory, to_at), from, size, alignment, to_at);
        }
    }
    uint8_t *from = aligned_place(from_memory, 0);
    memcpy(from, pattern, LENGTHS);
    for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++)
        for (size_t size = 0; size <= LENGTHS; size++)
            for (int kind = 0; kind <= KINDS; kind++)
                check_copy(set, kind, aligned_place(to_memory, alignment), from, size, 0, alignment);
    free(from_memory);
    free(to_memory);
}

static void copies_are_exact_at_every_length_and_alignment(void **state) {
    (void)state;
    for_each_set(check_copies_everywhere);
}

#if !defined(_WIN32)

/* Three pages of which the outer two may not be touched. */
static uint8_t *fenced_page(size_t *page_size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_int_equal(mprotect(memory + page, page, PROT_READ | PROT_WRITE), 0);
    *page_size = page;
    return memory + page;
}

static void check_fences(const sdi_kernels *set) {
    size_t page;
    uint8_t *source = fenced_page(&page), *target = fenced_page(&page);
    for (size_t size = 0; size <= LENGTHS; size++) {
        for (int at_end = 0; at_end < 2; at_end++) {
            uint8_t *from = at_end ? source + page - size : source, *to = at_end ? target + page - size : target;
            memcpy(from, pattern, size);
            set->copy(to, from, size);
            for (int kind = 0; kind < KINDS; kind++) {
                assert_int_equal(set->crc[kind](before, from, size), expected[kind][size]);
                assert_int_equal(set->copy_crc[kind](before, to, from, size), expected[kind][size]);
            }
        }
    }
    munmap(source - page, 3 * page);
    munmap(target - page, 3 * page);
}

static void nothing_outside_the_bytes_is_even_read(void **state) {
    (void)state;
    for_each_set(check_fences);
}

/* All threads ask for the kernels at once: a thread sanitizer sees any race in the choice. */
static void *ask_for_kernels(void *result) {
    *(const sdi_kernels **)result = sdi_kernels_active();
    return NULL;
}

static void many_threads_may_ask_first(void **state) {
    (void)state;
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    const sdi_kernels *answers[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_kernels, &answers[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_ptr_equal(answers[i], answers[0]);
    }
}

#endif

/* --- Long and divided messages --- */

static void check_long(const sdi_kernels *set) {
    static const size_t sizes[] = {4096, 65537, (1u << 20) + 1, (8u << 20) - 17, 16u << 20, (16u << 20) + 1023};
    const size_t largest = (16u << 20) + 1023;
    const sdi_kernels *portable = sdi_kernels_available(&(size_t){0})[0];
    uint8_t *from_memory = allocate(largest + PLACE_SLACK), *to_memory = allocate(largest + PLACE_SLACK);
    random_fill(from_memory, largest + PLACE_SLACK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i], from_at = random_next() % ALIGNMENTS, to_at = random_next() % ALIGNMENTS;
        if (i + 1 == sizeof sizes / sizeof *sizes) to_at = 62; /* a few bytes before an aligned place */
        uint8_t *from = aligned_place(from_memory, from_at), *to = aligned_place(to_memory, to_at);
        for (int kind = 0; kind <= KINDS; kind++) {
            memset(to - GUARD, FILL, GUARD + size + GUARD);
            if (kind == KINDS) {
                set->copy(to, from, size);
            } else {
                uint32_t crc = portable->crc[kind](0, from, size);
                if (set->crc[kind](0, from, size) != crc || set->copy_crc[kind](0, to, from, size) != crc)
                    fail_at(set, kind, size, from_at, to_at);
            }
            if (memcmp(to, from, size) != 0 || !all_bytes_are(to - GUARD, GUARD, FILL) ||
                !all_bytes_are(to + size, GUARD, FILL))
                fail_at(set, kind, size, from_at, to_at);
        }
    }
    free(from_memory);
    free(to_memory);
}

static void long_messages_agree_with_the_portable_set(void **state) {
    (void)state;
    const sdi_kernels *portable = sdi_kernels_available(&(size_t){0})[0];
    uint8_t *data = allocate(100003); /* the portable set itself against the reference */
    random_fill(data, 100003);
    for (int kind = 0; kind < KINDS; kind++)
        assert_int_equal(portable->crc[kind](0, data, 100003), reference_crc((sdi_crc_kind)kind, 0, data, 100003));
    free(data);
    for_each_set(check_long);
}

static void check_divided(const sdi_kernels *set) {
    enum { SIZE = 20000 };
    uint8_t *data = allocate(SIZE), *copy = allocate(SIZE);
    random_fill(data, SIZE);
    for (int round = 0; round < 300; round++) {
        int kind = (int)(random_next() % KINDS);
        size_t longest = (size_t)2 << (random_next() % 13);
        uint32_t crc = 0;
        size_t at = 0;
        memset(copy, 0, SIZE);
        while (at < SIZE) {
            size_t step = random_next() % (longest + 1);
            if (step > SIZE - at) step = SIZE - at;
            if (random_next() & 1) {
                crc = set->copy_crc[kind](crc, copy + at, data + at, step);
            } else {
                set->copy(copy + at, data + at, step);
                crc = set->crc[kind](crc, data + at, step);
            }
            at += step;
        }
        assert_int_equal(crc, reference_crc((sdi_crc_kind)kind, 0, data, SIZE));
        assert_memory_equal(copy, data, SIZE);
    }
    free(data);
    free(copy);
}

static void a_message_may_be_divided_anywhere(void **state) {
    (void)state;
    for_each_set(check_divided);
}

/* --- Joining checksums --- */

static void combine_joins_and_suffix_divides(void **state) {
    (void)state;
    enum { SIZE = 3000 };
    uint8_t *data = allocate(SIZE);
    random_fill(data, SIZE);
    for (int round = 0; round < 500; round++) {
        sdi_crc_kind kind = (sdi_crc_kind)(random_next() % KINDS);
        size_t size = random_next() % (SIZE + 1), size_a = random_next() % (size + 1), size_b = size - size_a;
        uint32_t whole = reference_crc(kind, 0, data, size), a = reference_crc(kind, 0, data, size_a);
        uint32_t b = reference_crc(kind, 0, data + size_a, size_b);
        assert_int_equal(sdi_crc_combine(kind, a, b, size_b), whole);
        assert_int_equal(sdi_crc_suffix(kind, whole, a, size_b), b);
    }
    free(data);
}

static void combine_takes_nothing_and_enormous_lengths(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        sdi_crc_kind kind = (sdi_crc_kind)k;
        assert_int_equal(sdi_crc_combine(kind, 0x12345678, 0, 0), 0x12345678);
        assert_int_equal(sdi_crc_combine(kind, 0, 0x12345678, 1000), 0x12345678);
        for (int round = 0; round < 200; round++) { /* associative, also where lengths are far beyond any buffer */
            uint32_t a = (uint32_t)random_next(), b = (uint32_t)random_next(), c = (uint32_t)random_next();
            uint64_t size_b = random_next() >> (1 + random_next() % 60);
            uint64_t size_c = random_next() >> (1 + random_next() % 60);
            uint32_t left = sdi_crc_combine(kind, sdi_crc_combine(kind, a, b, size_b), c, size_c);
            uint32_t right = sdi_crc_combine(kind, a, sdi_crc_combine(kind, b, c, size_c), size_b + size_c);
            assert_int_equal(left, right);
            assert_int_equal(sdi_crc_suffix(kind, sdi_crc_combine(kind, a, b, size_b), a, size_b), b);
        }
    }
}

/* By definition: the remainder of A times x^(8 * size_b), by repeated squaring over all bits of the length. */
static uint32_t reference_combine(sdi_crc_kind kind, uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
    uint32_t power = 0x00800000; /* x^8 */
    for (; size_b != 0; size_b >>= 1, power = times(kind, power, power))
        if (size_b & 1) crc_a = times(kind, crc_a, power);
    return crc_a ^ crc_b;
}

static void assert_combines(sdi_crc_kind kind, uint64_t size_b) {
    uint32_t a = (uint32_t)random_next(), b = (uint32_t)random_next();
    uint32_t whole = reference_combine(kind, a, b, size_b);
    if (sdi_crc_combine(kind, a, b, size_b) != whole || sdi_crc_suffix(kind, whole, a, size_b) != b)
        fail_msg("kind %d, crc %#x, size %llu", (int)kind, (unsigned)a, (unsigned long long)size_b);
}

static void combine_follows_its_definition_at_every_length(void **state) {
    (void)state;
    static const uint64_t edges[] = {0, 1, 255, 256, UINT32_MAX, INT32_MAX, (uint64_t)1 << 48, UINT64_MAX};
    for (int k = 0; k < KINDS; k++) {
        sdi_crc_kind kind = (sdi_crc_kind)k;
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) assert_combines(kind, edges[i]);
        for (int bit = 0; bit < 64; bit++) /* around powers of two, full periods, and their sums */
            for (uint64_t around = 0; around <= 6; around++) {
                assert_combines(kind, ((uint64_t)1 << bit) + around - 3);
                assert_combines(kind, ~(((uint64_t)1 << bit) - 1) + around - 3);
                assert_combines(kind, UINT32_MAX * ((uint64_t)1 << bit) + around - 3);
                assert_combines(kind, INT32_MAX * ((uint64_t)1 << bit) + around - 3);
            }
        for (int place = 0; place < 64; place += 8)
            for (uint64_t digit = 0; digit < 256; digit++) assert_combines(kind, digit << place);
        for (int round = 0; round < 5000; round++) {
            assert_combines(kind, random_next() >> (16 + random_next() % 48));
            assert_combines(kind, random_next());
        }
    }
}

/* --- The constants, derived again --- */

/* x^n mod P, reflected. */
static uint32_t power_of_x(sdi_crc_kind kind, uint64_t n) {
    uint32_t value = 0x80000000;
    for (; n > 0; n--) value = times_x(kind, value);
    return value;
}

static uint64_t widened(sdi_crc_kind kind, uint64_t n) {
    return (uint64_t)power_of_x(kind, n) << 32;
}

static void assert_pair(sdi_crc_kind kind, sdi_fold_pair pair, unsigned distance) {
    assert_true(pair.first_half == widened(kind, distance + 63));
    assert_true(pair.second_half == widened(kind, distance - 1));
}

static void assert_join(sdi_crc_kind kind, sdi_join_pair pair, unsigned length) {
    assert_int_equal(pair.first, power_of_x(kind, 16 * length - 33));
    assert_int_equal(pair.second, power_of_x(kind, 8 * length - 33));
}

/* x^95 / P by long division. The running remainder is reflected; each step brings down one power. */
static uint64_t quotient_of_x95(sdi_crc_kind kind) {
    uint64_t quotient = 0;
    uint32_t remainder = 0x00000001; /* x^31: of the leading terms of x^95, those below the degree of P */
    for (int power = 63; power >= 0; power--) {
        if (remainder & 1) quotient |= (uint64_t)1 << (63 - power);
        remainder = times_x(kind, remainder);
    }
    return quotient;
}

static void the_constants_follow_from_the_polynomials(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        sdi_crc_kind kind = (sdi_crc_kind)k;
        const sdi_crc_constants *constants = &sdi_crc_constants_of[kind];
        assert_pair(kind, constants->by_128, 128);
        assert_pair(kind, constants->by_256, 256);
        assert_pair(kind, constants->by_384, 384);
        assert_pair(kind, constants->by_512, 512);
        assert_pair(kind, constants->by_768, 768);
        assert_pair(kind, constants->by_1024, 1024);
        assert_pair(kind, constants->by_1536, 1536);
        assert_pair(kind, constants->by_2048, 2048);
        for (unsigned i = 0; i < 8; i++) assert_true(constants->to_96[7 - i] == widened(kind, 64 * i + 31));
        assert_true(constants->quotient == quotient_of_x95(kind));
        assert_true(constants->polynomial == widened(kind, 32));
        assert_join(kind, constants->join_128, 128);
        assert_join(kind, constants->join_1024, 1024);
        uint32_t turned = power_of_x(kind, 1); /* x^(2^period_bits) = x, after a full turn */
        for (unsigned i = 0; i < constants->period_bits; i++) turned = times(kind, turned, turned);
        assert_int_equal(turned, power_of_x(kind, 1));
        uint32_t digit_step = power_of_x(kind, 8); /* x^(8 * 256^place) */
        for (unsigned place = 0; place < SDI_POWER_DIGITS; place++) {
            uint32_t power = 0x80000000;
            for (unsigned digit = 0; digit < 256; digit++, power = times(kind, power, digit_step))
                assert_int_equal(sdi_crc_powers_of[kind][place][digit], power);
            digit_step = power;
        }
        for (unsigned slice = 0; slice < SDI_SLICES; slice++)
            for (unsigned byte = 0; byte < 256; byte++) {
                uint32_t sum = 0;
                for (unsigned bit = 0; bit < 8; bit++)
                    if (byte >> (7 - bit) & 1) sum ^= power_of_x(kind, 32 + 8 * slice + bit);
                assert_int_equal(sdi_crc_slices_of[kind][slice][byte], sum);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#if !defined(_WIN32)
        cmocka_unit_test(many_threads_may_ask_first),
#endif
        cmocka_unit_test(the_sets_start_with_the_portable_one_and_end_with_the_active_one),
#if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__)
        cmocka_unit_test(the_best_set_that_the_processor_has_is_chosen),
#endif
        cmocka_unit_test(the_constants_follow_from_the_polynomials),
        cmocka_unit_test(known_values_come_out),
        cmocka_unit_test(crc_is_right_at_every_length_and_alignment),
        cmocka_unit_test(copies_are_exact_at_every_length_and_alignment),
#if !defined(_WIN32)
        cmocka_unit_test(nothing_outside_the_bytes_is_even_read),
#endif
        cmocka_unit_test_setup(long_messages_agree_with_the_portable_set, seed_random),
        cmocka_unit_test_setup(a_message_may_be_divided_anywhere, seed_random),
        cmocka_unit_test_setup(combine_joins_and_suffix_divides, seed_random),
        cmocka_unit_test_setup(combine_takes_nothing_and_enormous_lengths, seed_random),
        cmocka_unit_test_setup(combine_follows_its_definition_at_every_length, seed_random),
    };
    return cmocka_run_group_tests(tests, make_pattern, NULL);
}
