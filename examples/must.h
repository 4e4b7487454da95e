/* SPDX-License-Identifier: Apache-2.0
 *
 * must.h — how the examples end when something is not as they say: loudly. */
#ifndef EXAMPLES_MUST_H
#define EXAMPLES_MUST_H

#include <simdrive.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* A call that has to succeed. */
static inline void must(simdrive_status status, const char *what) {
    if (status == SIMDRIVE_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", what, simdrive_status_text(status), simdrive_status_name(status));
    exit(1);
}

/* A statement that has to be true. */
static inline void must_hold(bool statement, const char *what) {
    if (statement) return;
    fprintf(stderr, "not so: %s\n", what);
    exit(1);
}

#endif
