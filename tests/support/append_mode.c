/* SPDX-License-Identifier: Apache-2.0
 *
 * append_mode.c — opens stores for tests, in the append mode of the environment (append_mode.h).
 *
 * Options that are not of the size known here go to the library as they are: a test is about that size then.
 */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

typedef simdrive_open_options open_options;

simdrive_status test_open_with_os_in_mode(const sdi_os *os, const char *path, const open_options *given,
                                          simdrive_store **out);
simdrive_status test_open_in_mode(const char *path, const open_options *given, simdrive_store **out);

/* The real ones. */
#undef simdrive_open
#undef sdi_open_with_os
simdrive_status simdrive_open(const char *path, const open_options *options, simdrive_store **out);
simdrive_status sdi_open_with_os(const sdi_os *os, const char *path, const open_options *options,
                                 simdrive_store **out);

/* What to open with: `given`, or `*changed`. */
static const open_options *in_mode(const open_options *given, open_options *changed) {
    const char *mode = getenv("SIMDRIVE_TEST_APPEND");
    if (!mode || strcmp(mode, "map") != 0) return given;
    if (given && (given->struct_size != sizeof *given || given->read_only)) return given;
    *changed = given ? *given : (open_options){.struct_size = sizeof *changed};
    changed->append = SIMDRIVE_APPEND_MAP;
    return changed;
}

simdrive_status test_open_with_os_in_mode(const sdi_os *os, const char *path, const open_options *given,
                                          simdrive_store **out) {
    open_options changed;
    return sdi_open_with_os(os, path, in_mode(given, &changed), out);
}

simdrive_status test_open_in_mode(const char *path, const open_options *given, simdrive_store **out) {
    open_options changed;
    return simdrive_open(path, in_mode(given, &changed), out);
}
