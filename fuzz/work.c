/* SPDX-License-Identifier: Apache-2.0
 *
 * work.c — counts the steps of the objects that were built with -fsanitize-coverage=trace-pc. Steps of helper threads
 * count too; a few of them may be lost, which does not matter for a bound.
 */
#include <stdint.h>

#include "fuzz.h"

static uint64_t steps;

#define NOT_CHECKED __attribute__((no_sanitize("address", "undefined")))

/* libFuzzer has a function of this name as well, which comes first; there, calls lead to the second one. */
__attribute__((weak)) void __sanitizer_cov_trace_pc(void);
void __wrap___sanitizer_cov_trace_pc(void);

NOT_CHECKED void __sanitizer_cov_trace_pc(void) {
    steps++;
}

NOT_CHECKED void __wrap___sanitizer_cov_trace_pc(void) {
    steps++;
}

void fuzz_work_begin(void) {
    steps = 0;
}

uint64_t fuzz_work_done(void) {
    return steps;
}
