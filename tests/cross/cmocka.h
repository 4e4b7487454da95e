/* SPDX-License-Identifier: Apache-2.0
 *
 * cmocka.h — stands in for cmocka in cross builds, where the real one is not installed for the other machine: the part
 * of its interface that our tests use. The first failure ends the program. */
#ifndef CROSS_CMOCKA_H
#define CROSS_CMOCKA_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    CMFixtureFunction set_up;
    CMFixtureFunction tear_down;
};

#define cmocka_unit_test(test) {#test, test, NULL, NULL}
#define cmocka_unit_test_setup(test, set_up) {#test, test, set_up, NULL}
#define cmocka_unit_test_teardown(test, tear_down) {#test, test, NULL, tear_down}
#define cmocka_unit_test_setup_teardown(test, set_up, tear_down) {#test, test, set_up, tear_down}

#define print_message(...) printf(__VA_ARGS__)
#define print_error(...) fprintf(stderr, __VA_ARGS__)

/* Where skip() goes to. One program has one source file that runs tests, hence static. */
__attribute__((unused)) static jmp_buf cross_skipped;
#define skip() longjmp(cross_skipped, 1)

__attribute__((noreturn, unused)) static void cross_fail(const char *file, int line, const char *what) {
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(1);
}

#define _fail(file, line) cross_fail((file), (line), "failed")
#define fail() cross_fail(__FILE__, __LINE__, "failed")
#define fail_msg(...) (fprintf(stderr, __VA_ARGS__), cross_fail(__FILE__, __LINE__, "failed"))

#define cross_check(holds, what) ((holds) ? (void)0 : cross_fail(__FILE__, __LINE__, what))
#define assert_true(a) cross_check((a), #a " is not true")
#define assert_false(a) cross_check(!(a), #a " is not false")
#define assert_null(a) cross_check((a) == NULL, #a " is not NULL")
#define assert_non_null(a) cross_check((a) != NULL, #a " is NULL")
#define assert_int_equal(a, b) cross_check((uint64_t)(a) == (uint64_t)(b), #a " is not " #b)
#define assert_int_not_equal(a, b) cross_check((uint64_t)(a) != (uint64_t)(b), #a " is " #b)
#define assert_in_range(a, low, high) \
    cross_check((uint64_t)(a) >= (uint64_t)(low) && (uint64_t)(a) <= (uint64_t)(high), #a " is out of range")
#define assert_ptr_equal(a, b) cross_check((const void *)(a) == (const void *)(b), #a " is not " #b)
#define assert_ptr_not_equal(a, b) cross_check((const void *)(a) != (const void *)(b), #a " is " #b)
#define assert_string_equal(a, b) cross_check(strcmp((a), (b)) == 0, #a " is not " #b)
#define assert_string_not_equal(a, b) cross_check(strcmp((a), (b)) != 0, #a " is " #b)
#define assert_memory_equal(a, b, size) cross_check(memcmp((a), (b), (size)) == 0, #a " is not " #b)
#define assert_memory_not_equal(a, b, size) cross_check(memcmp((a), (b), (size)) != 0, #a " is " #b)

__attribute__((unused)) static void cross_run_one(const struct CMUnitTest *test, void *state) {
    printf("%s\n", test->name);
    fflush(stdout);
    if (setjmp(cross_skipped) == 0) {
        test->run(&state);
    } else {
        printf("    skipped\n");
    }
}

__attribute__((unused)) static int cross_run(const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up,
                                             CMFixtureFunction tear_down) {
    void *group_state = NULL;
    if (set_up && set_up(&group_state) != 0) cross_fail(__FILE__, __LINE__, "the group's setup failed");
    for (size_t i = 0; i < count; i++) {
        const struct CMUnitTest *test = &tests[i];
        void *state = group_state;
        if (test->set_up && test->set_up(&state) != 0) cross_fail(__FILE__, __LINE__, "a test's setup failed");
        cross_run_one(test, state);
        if (test->tear_down && test->tear_down(&state) != 0) cross_fail(__FILE__, __LINE__, "a teardown failed");
    }
    if (tear_down && tear_down(&group_state) != 0) cross_fail(__FILE__, __LINE__, "the group's teardown failed");
    return 0;
}

#define cmocka_run_group_tests(tests, set_up, tear_down) \
    cross_run((tests), sizeof(tests) / sizeof *(tests), (set_up), (tear_down))
#define cmocka_run_group_tests_name(name, tests, set_up, tear_down) \
    cmocka_run_group_tests(tests, set_up, tear_down)

#endif
