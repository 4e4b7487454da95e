/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.c — opening stores in tests, and sources for streams.
 */
#include "stores.h"

#include <string.h>

simdrive_store *test_open(const char *path) {
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(path, NULL, &store));
    return store;
}

simdrive_store *test_open_read_only(const char *path) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(path, &options, &store));
    return store;
}

simdrive_info test_info(const simdrive_store *store) {
    simdrive_info info = {.struct_size = sizeof info};
    CHECK_OK(simdrive_get_info(store, &info));
    return info;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

simdrive_status test_source_read(void *user, void *buffer, size_t capacity, size_t *produced) {
    test_source *source = user;
    source->calls++;
    *produced = 0;
    if (source->failure != SIMDRIVE_OK && source->given >= source->fail_at) return source->failure;
    size_t left = source->size - source->given;
    if (source->failure != SIMDRIVE_OK) left = smaller(left, source->fail_at - source->given);
    size_t size = smaller(smaller(capacity, source->piece), left);
    memcpy(buffer, source->bytes + source->given, size);
    source->given += size;
    *produced = size;
    return SIMDRIVE_OK;
}

void test_check_file(const char *path, const test_image *image) {
    simdrive_store *store = test_open_read_only(path);
    test_check_shows(store, image);
    simdrive_report report = {.struct_size = sizeof report};
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, &report));
    CHECK_U64(image->count, report.entries_checked);
    CHECK_U64(0, report.entries_corrupt);
    simdrive_close(store);
}
