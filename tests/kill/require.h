/* SPDX-License-Identifier: Apache-2.0
 *
 * require.h — what must hold in a program that is killed, or runs as the only one of a machine: says where it does not,
 * and ends the process at once with a status that no signal gives. No test framework is needed, nor a file system.
 */
#ifndef KILL_REQUIRE_H
#define KILL_REQUIRE_H

#include <stdio.h>
#include <unistd.h>

#include "simdrive.h"

enum { KILL_REQUIRE_FAILED = 99 };

#define REQUIRE(condition) ((condition) ? (void)0 : kill_require_failed(__FILE__, __LINE__, #condition, SIMDRIVE_OK))
#define REQUIRE_OK(call) kill_require_ok(__FILE__, __LINE__, #call, (call))

static inline void kill_require_failed(const char *file, int line, const char *what, simdrive_status status) {
    fprintf(stderr, "%s:%d: does not hold: %s (status %s, os error %d)\n", file, line, what,
            simdrive_status_name(status), simdrive_last_os_error());
    fflush(NULL);
    _exit(KILL_REQUIRE_FAILED);
}

static inline void kill_require_ok(const char *file, int line, const char *what, simdrive_status status) {
    if (status != SIMDRIVE_OK) kill_require_failed(file, line, what, status);
}

#endif
