/* SPDX-License-Identifier: Apache-2.0
 *
 * faulty.c — a store on the fault_os table, and the pieces of work that the fault tests interrupt.
 */
#include "faulty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

enum { BIG = 300000, KEYS = 12 };

static const uint8_t *big_payload(void) {
    static uint8_t bytes[BIG];
    for (size_t i = 0; i < BIG; i++) bytes[i] = (uint8_t)(i * 7 + i / 256 + 1);
    return bytes;
}

/* --- work -------------------------------------------------------------------------------------------------------- */

static simdrive_status run_write(test_faulty *f) {
    return simdrive_write_hash(f->store, 1, "new value", 9, NULL);
}
static void change_write(test_image *image) {
    test_image_put(image, 1, "new value", 9);
}

static simdrive_status run_overwrite(test_faulty *f) {
    return simdrive_write_hash(f->store, test_key_hash(3), "newer", 5, NULL);
}
static void change_overwrite(test_image *image) {
    test_image_put(image, test_key_hash(3), "newer", 5);
}

static simdrive_status run_write_big(test_faulty *f) {
    return simdrive_write_hash(f->store, 2, big_payload(), BIG, NULL);
}
static void change_write_big(test_image *image) {
    test_image_put(image, 2, big_payload(), BIG);
}

enum { BATCH = 5 };

static void fill_batch(uint64_t hashes[BATCH], simdrive_bytes payloads[BATCH]) {
    for (size_t i = 0; i < BATCH; i++) {
        hashes[i] = i % 2 ? test_key_hash(i) : 100 + i;
        payloads[i] = (simdrive_bytes){big_payload() + i, i == 3 ? BIG / 4 : 20 + i};
    }
}

static simdrive_status run_batch(test_faulty *f) {
    uint64_t hashes[BATCH];
    simdrive_bytes payloads[BATCH];
    fill_batch(hashes, payloads);
    return simdrive_write_batch_hash(f->store, hashes, payloads, BATCH, NULL);
}
static void change_batch(test_image *image) {
    uint64_t hashes[BATCH];
    simdrive_bytes payloads[BATCH];
    fill_batch(hashes, payloads);
    for (size_t i = 0; i < BATCH; i++) test_image_put(image, hashes[i], payloads[i].data, payloads[i].size);
}

static simdrive_status apply_mixed(test_faulty *f, simdrive_batch_mode mode) {
    const simdrive_change changes[] = {{SIMDRIVE_PUT, 7, {"seven", 5}},
                                       {SIMDRIVE_DELETE, test_key_hash(2), {NULL, 0}},
                                       {SIMDRIVE_DELETE, 999, {NULL, 0}},
                                       {SIMDRIVE_PUT, test_key_hash(4), {big_payload(), 70000}}};
    return simdrive_apply(f->store, changes, 4, mode, NULL);
}
static simdrive_status run_apply(test_faulty *f) {
    return apply_mixed(f, SIMDRIVE_BATCH_ATOMIC);
}
static simdrive_status run_apply_plain(test_faulty *f) {
    return apply_mixed(f, SIMDRIVE_BATCH_PLAIN);
}
static void change_apply(test_image *image) {
    test_image_put(image, 7, "seven", 5);
    test_image_delete(image, test_key_hash(2));
    test_image_put(image, test_key_hash(4), big_payload(), 70000);
}

static simdrive_status run_delete(test_faulty *f) {
    return simdrive_delete_hash(f->store, test_key_hash(5), NULL);
}
static void change_delete(test_image *image) {
    test_image_delete(image, test_key_hash(5));
}

static simdrive_status run_delete_batch(test_faulty *f) {
    uint64_t hashes[] = {test_key_hash(1), 12345, test_key_hash(6)};
    return simdrive_delete_batch_hash(f->store, hashes, 3, NULL, NULL);
}
static void change_delete_batch(test_image *image) {
    test_image_delete(image, test_key_hash(1));
    test_image_delete(image, test_key_hash(6));
}

static simdrive_status run_rename(test_faulty *f) {
    return simdrive_rename(f->store, "key-7", 5, "renamed", 7, NULL);
}
static void change_rename(test_image *image) {
    const test_record *record = test_image_find(image, test_key_hash(7));
    size_t size = test_record_size(record);
    uint8_t *payload = test_alloc(size);
    memcpy(payload, image->bytes + record->start, size);
    test_image_put(image, simdrive_hash_key("renamed", 7), payload, size);
    test_image_delete(image, test_key_hash(7));
    free(payload);
}

static simdrive_status run_pull(test_faulty *f) {
    test_source source = {.bytes = big_payload(), .size = BIG / 2, .piece = 9999};
    return simdrive_write_stream_hash(f->store, 8, test_source_read, &source, 40000, NULL);
}
static void change_pull(test_image *image) {
    test_image_put(image, 8, big_payload(), BIG / 2);
}

static simdrive_status run_push(test_faulty *f) {
    simdrive_stream *stream = NULL;
    simdrive_status status = simdrive_stream_begin_hash(f->store, 9, 4096, &stream);
    if (status != SIMDRIVE_OK) return status;
    for (size_t done = 0; status == SIMDRIVE_OK && done < 30000; done += 3000)
        status = simdrive_stream_append(stream, big_payload() + done, 3000);
    if (status == SIMDRIVE_OK) return simdrive_stream_commit(stream, NULL);
    simdrive_stream_abort(stream);
    return status;
}
static void change_push(test_image *image) {
    test_image_put(image, 9, big_payload(), 30000);
}

static simdrive_status run_compact(test_faulty *f) {
    return simdrive_compact(f->store, NULL, NULL);
}

static simdrive_status run_sync(test_faulty *f) {
    return simdrive_sync(f->store, NULL);
}
static void change_nothing(test_image *image) {
    (void)image;
}

static simdrive_status run_copy(test_faulty *f) {
    return simdrive_copy(f->store, "key-3", 5, f->other, NULL);
}

static simdrive_status run_transfer(test_faulty *f) {
    return simdrive_transfer(f->store, "key-5", 5, f->other, NULL);
}

static simdrive_status run_backup(test_faulty *f) {
    return simdrive_backup(f->store, f->out_path, NULL, NULL);
}

const test_work TEST_WORKS[] = {
    {"write", run_write, change_write, 0, false, false},
    {"overwrite", run_overwrite, change_overwrite, 0, false, false},
    {"big write", run_write_big, change_write_big, 0, false, false},
    {"batch", run_batch, change_batch, 0, false, false},
    {"mixed batch", run_apply, change_apply, 0, false, false},
    {"plain mixed batch", run_apply_plain, change_apply, 0, false, false},
    {"delete", run_delete, change_delete, 0, false, false},
    {"delete batch", run_delete_batch, change_delete_batch, 0, false, false},
    {"rename", run_rename, change_rename, 0, false, false},
    {"pulled stream", run_pull, change_pull, 0, false, false},
    {"pushed stream", run_push, change_push, 0, false, false},
    {"compaction", run_compact, test_image_compact, 0, false, true},
    {"sync", run_sync, change_nothing, 0, false, false},
    {"copy", run_copy, change_nothing, 3, false, false},
    {"transfer", run_transfer, change_delete, 5, true, false},
    {"backup", run_backup, change_nothing, 0, false, false},
};
const size_t TEST_WORK_COUNT = sizeof TEST_WORKS / sizeof TEST_WORKS[0];

/* --- the bench --------------------------------------------------------------------------------------------------- */

static void fill(test_image *image) {
    for (uint64_t key = 0; key < KEYS; key++) {
        test_image_put(image, test_key_hash(key), big_payload() + key * 100, 60 + (size_t)key * 500);
        if (key % 4 == 1) test_image_put(image, test_key_hash(key), big_payload() + key, 30);
    }
    test_image_delete(image, test_key_hash(11));
}

void test_faulty_begin(test_faulty *f, const simdrive_open_options *options) {
    memset(f, 0, sizeof *f);
    f->folder = test_folder_create();
    test_path(&f->folder, "store", f->path);
    test_path(&f->folder, "other", f->other_path);
    test_path(&f->folder, "copied", f->out_path);
    fill(&f->before);
    fill(&f->other_before);
    test_image_put(&f->other_before, 55, "only here", 9);
    test_file_put(f->path, f->before.bytes, f->before.size);
    test_file_put(f->other_path, f->other_before.bytes, f->other_before.size);
    f->faults = sdi_fault_os_create();
    f->options = options ? *options : (simdrive_open_options){.struct_size = sizeof *options};
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(f->faults), f->path, &f->options, &f->store));
    CHECK_OK(sdi_open_with_os(sdi_fault_os_table(f->faults), f->other_path, &f->options, &f->other));
}

void test_faulty_end(test_faulty *f) {
    simdrive_close(f->store);
    simdrive_close(f->other);
    sdi_fault_os_destroy(f->faults);
    test_image_free(&f->before);
    test_image_free(&f->other_before);
    test_folder_remove(&f->folder);
}

const test_fault TEST_FAULTS[] = {
    {SIMDRIVE_ERROR_NO_SPACE, ENOSPC, 0, false},
    {SIMDRIVE_ERROR_IO, EIO, 0, true},
    {SIMDRIVE_ERROR_NO_SPACE, EDQUOT, 37, false},
    {SIMDRIVE_ERROR_IO, EIO, 37, true},
    {SIMDRIVE_ERROR_NO_MEMORY, ENOMEM, 0, false},
    {SIMDRIVE_ERROR_IO, EIO, SDI_FAULT_WHOLE, false},
    {SIMDRIVE_ERROR_PERMISSION, EPERM, 0, false},
};
const size_t TEST_FAULT_COUNT = sizeof TEST_FAULTS / sizeof TEST_FAULTS[0];

void test_faulty_arm(test_faulty *f, const test_fault *fault, uint64_t nth) {
    sdi_fault_os_arm(f->faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY, .nth = nth, .for_ever = fault->for_ever,
                                                  .status = fault->status, .os_error = fault->os_error,
                                                  .effect = fault->effect});
}

bool test_file_is(const char *path, const test_image *image) {
    if (!test_file_equals(path, image->bytes, image->size)) return false;
    test_check_file(path, image);
    return true;
}
