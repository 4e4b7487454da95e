/* SPDX-License-Identifier: Apache-2.0
 *
 * append_mode.c — opens stores for tests, in the append mode of the environment (append_mode.h).
 *
 * Options that are not of the size known here go to the library as they are: a test is about that size then.
 */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_STEP = 1 << 20 }; /* such lengths a file has that is longer than its entries */

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

bool test_appends_to_map(void) {
    const char *mode = getenv("SIMDRIVE_TEST_APPEND");
    return mode && strcmp(mode, "map") == 0;
}

size_t test_size_without_room(const char *path, size_t size) {
    open_options options = {.struct_size = sizeof options, .read_only = true, .saved_index = SIMDRIVE_SAVED_INDEX_OFF};
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_store *store = NULL;
    if (!test_appends_to_map() || size == 0 || size % ROOM_STEP != 0) return size;
    if (simdrive_open(path, &options, &store) != SIMDRIVE_OK) return size;
    if (simdrive_get_info(store, &info) == SIMDRIVE_OK && info.tail > 0 && info.room_ahead_bytes > 0)
        size = (size_t)info.tail;
    simdrive_close(store);
    return size;
}

/* What to open with: `given`, or `*changed`. */
static const open_options *in_mode(const open_options *given, open_options *changed) {
    if (!test_appends_to_map()) return given;
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
