/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h — how a test says what must hold: checks that print where the test was (its context and seed), and work in
 * the main thread (cmocka's failure), in other threads (abort) and in forked children (exit status) alike.
 */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "simdrive.h"

#define CHECK(condition) ((condition) ? (void)0 : test_failed(__FILE__, __LINE__, #condition))
#define CHECK_STATUS(expected, call) test_check_status(__FILE__, __LINE__, #call, (expected), (call))
#define CHECK_OK(call) CHECK_STATUS(SIMDRIVE_OK, call)
#define CHECK_U64(expected, value)                                                                                     \
    test_check_u64(__FILE__, __LINE__, #value, (uint64_t)(expected), (uint64_t)(value))

/* What the test is doing, printed when a check fails. Used by the main thread only. */
__attribute__((format(printf, 1, 2))) void test_context(const char *format, ...);

void test_failed(const char *file, int line, const char *what);
void test_check_status(const char *file, int line, const char *what, simdrive_status expected, simdrive_status got);
void test_check_u64(const char *file, int line, const char *what, uint64_t expected, uint64_t got);

/* Runs `body` in a forked child, in which checks end the child. Returns whether all of them held. */
bool test_in_child(void (*body)(void *user), void *user);

/* After fork(), by hand: makes checks of this process end it with a status other than 0. */
void test_become_child(void);

/* Random numbers, the same on every machine for one seed. */
typedef struct test_random {
    uint64_t state;
} test_random;

/* Seeded from the environment's SIMDRIVE_TEST_SEED, else from a constant; the seed is printed. `stream` tells the
 * users of one seed apart. */
test_random test_random_begin(uint64_t stream);
uint64_t test_random_next(test_random *random);
uint64_t test_random_below(test_random *random, uint64_t limit);
void test_random_fill(test_random *random, void *buffer, size_t size);

/* Whether the environment asks for the long forms of the tests (SIMDRIVE_TEST_EXHAUSTIVE=1). */
bool test_exhaustive(void);

/* malloc that never returns NULL. */
void *test_alloc(size_t size);

#endif
