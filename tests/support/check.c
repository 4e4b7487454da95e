/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c — failing loudly, and random numbers from a printed seed.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_FAILED = 99 };

static const uint64_t DEFAULT_SEED = 20261122;

static char context[512];
static bool is_child;
static pthread_t main_thread;
static bool main_thread_known;

void test_context(const char *format, ...) {
    main_thread = pthread_self();
    main_thread_known = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
}

void test_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: does not hold: %s\n    while: %s\n", file, line, what, context);
    fflush(stderr);
    if (is_child) _exit(CHILD_FAILED);
    if (main_thread_known && !pthread_equal(main_thread, pthread_self())) abort();
    _fail(file, line);
    abort();
}

void test_check_status(const char *file, int line, const char *what, simdrive_status expected, simdrive_status got) {
    if (expected == got) return;
    char text[640];
    snprintf(text, sizeof text, "%s gave %s (os error %d), expected %s", what, simdrive_status_name(got),
             simdrive_last_os_error(), simdrive_status_name(expected));
    test_failed(file, line, text);
}

void test_check_u64(const char *file, int line, const char *what, uint64_t expected, uint64_t got) {
    if (expected == got) return;
    char text[640];
    snprintf(text, sizeof text, "%s is %llu, expected %llu", what, (unsigned long long)got,
             (unsigned long long)expected);
    test_failed(file, line, text);
}

void test_become_child(void) {
    is_child = true;
}

bool test_in_child(void (*body)(void *user), void *user) {
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) test_failed(__FILE__, __LINE__, "fork");
    if (child == 0) {
        test_become_child();
        body(user);
        _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) test_failed(__FILE__, __LINE__, "waitpid");
    if (WIFSIGNALED(status)) fprintf(stderr, "child killed by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t seed(void) {
    static atomic_flag printed = ATOMIC_FLAG_INIT;
    const char *text = getenv("SIMDRIVE_TEST_SEED");
    uint64_t value = text ? strtoull(text, NULL, 0) : DEFAULT_SEED;
    if (!atomic_flag_test_and_set(&printed)) print_message("SIMDRIVE_TEST_SEED=%llu\n", (unsigned long long)value);
    return value;
}

test_random test_random_begin(uint64_t stream) {
    test_random random = {seed() * 0x9E3779B97F4A7C15u + stream};
    test_random_next(&random);
    return random;
}

/* splitmix64 */
uint64_t test_random_next(test_random *random) {
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t test_random_below(test_random *random, uint64_t limit) {
    return test_random_next(random) % limit;
}

void test_random_fill(test_random *random, void *buffer, size_t size) {
    unsigned char *at = buffer;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t value = test_random_next(random);
        memcpy(at + i, &value, size - i < 8 ? size - i : 8);
    }
}

bool test_exhaustive(void) {
    const char *text = getenv("SIMDRIVE_TEST_EXHAUSTIVE");
    return text && strcmp(text, "1") == 0;
}

void *test_alloc(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) abort();
    return memory;
}
