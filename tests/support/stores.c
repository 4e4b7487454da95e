/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.c — opening stores in tests, and sources for streams.
 */
#include "stores.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernel/kernel.h"

enum { PAGE = 4096, SECTOR = 512, CHECKSUM_FIELD = 16 };

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

static size_t first_page(const test_record *record) {
    return (record->start + PAGE - 1) / PAGE * PAGE;
}

bool test_can_be_reclaimed(const test_record *record) {
    return first_page(record) + PAGE <= record->end && (record->end + CHECKSUM_FIELD) % SECTOR <= SECTOR - 4;
}

void test_reclaim_record(uint8_t *file, const test_record *record) {
    memset(file + first_page(record), 0, record->end / PAGE * PAGE - first_page(record));
    uint32_t crc = sdi_crc(SDI_CRC32C, 0, file + record->start, test_record_size(record));
    sdi_store32(file + record->end + CHECKSUM_FIELD, crc ^ UINT32_C(0x6D65C1A2));
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

int test_bench_begin(void **state) {
    test_bench *bench = test_alloc(sizeof *bench);
    bench->folder = test_folder_create();
    test_path(&bench->folder, "store", bench->path);
    *state = bench;
    return 0;
}

int test_bench_end(void **state) {
    test_bench *bench = *state;
    test_folder_remove(&bench->folder);
    free(bench);
    return 0;
}
