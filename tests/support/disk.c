/* SPDX-License-Identifier: Apache-2.0
 *
 * disk.c — applies recorded calls to files in memory: as they were made, or as a loss of power may leave them.
 */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512 };

void test_disk_free(test_disk *d) {
    for (size_t i = 0; i < TEST_DISK_FILES; i++) free(d->files[i].bytes);
    memset(d, 0, sizeof *d);
}

static void file_resize(test_disk_file *file, size_t size) {
    if (size >= file->capacity) {
        file->capacity = 2 * size + 1;
        file->bytes = realloc(file->bytes, file->capacity);
        CHECK(file->bytes);
    }
    if (size > file->size) memset(file->bytes + file->size, 0, size - file->size);
    file->size = size;
}

static void file_put(test_disk_file *file, size_t offset, const uint8_t *data, size_t size) {
    if (offset + size > file->size) file_resize(file, offset + size);
    memcpy(file->bytes + offset, data, size);
}

/* Part of a write: each sector with a chance of one half. */
static void file_put_some_sectors(test_disk_file *file, const sdi_fault_op *op, test_random *random) {
    size_t end = (size_t)(op->offset + op->size);
    if (end > file->size && test_random_below(random, 2)) file_resize(file, end); /* the size before the data */
    for (size_t at = (size_t)op->offset; at < end;) {
        size_t next = (at / SECTOR + 1) * SECTOR;
        if (next > end) next = end;
        if (test_random_below(random, 2)) file_put(file, at, op->data + (at - (size_t)op->offset), next - at);
        at = next;
    }
}

test_disk_file *test_disk_find(test_disk *d, const char *path) {
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        if (strcmp(d->files[i].path, path) == 0) return &d->files[i];
    }
    return NULL;
}

static void rename_on(test_disk *d, const sdi_fault_op *op) {
    test_disk_file *from = test_disk_find(d, op->path), *to = test_disk_find(d, op->to_path);
    if (to) to->path[0] = 0;
    CHECK(from);
    snprintf(from->path, sizeof from->path, "%s", op->to_path);
}

void test_disk_apply(test_disk *d, const sdi_fault_op *op) {
    test_disk_file *file = op->file ? &d->files[op->file - 1] : NULL;
    CHECK(op->file <= TEST_DISK_FILES);
    switch (op->kind) {
    case SDI_OP_ATTACH:
    case SDI_OP_CREATE:
        snprintf(file->path, sizeof file->path, "%s", op->path);
        file_resize(file, 0);
        if (op->kind == SDI_OP_ATTACH) file_put(file, 0, op->data, (size_t)op->size);
        break;
    case SDI_OP_WRITE: file_put(file, (size_t)op->offset, op->data, (size_t)op->size); break;
    case SDI_OP_TRUNCATE: file_resize(file, (size_t)op->size); break;
    case SDI_OP_RENAME: rename_on(d, op); break;
    case SDI_OP_UNLINK:
        file = test_disk_find(d, op->path);
        if (file) file->path[0] = 0;
        break;
    default: break;
    }
}

/* Whether the file is synced again, or the folder is, between two operations. */
static bool made_durable(const sdi_fault_op *log, size_t i, size_t end) {
    for (size_t k = i + 1; k < end; k++) {
        if (log[i].kind == SDI_OP_RENAME || log[i].kind == SDI_OP_UNLINK) {
            if (log[k].kind == SDI_OP_SYNC_FOLDER) return true;
        } else if (log[k].kind == SDI_OP_SYNC && log[k].file == log[i].file) {
            return true;
        }
    }
    return false;
}

void test_disk_lose_power(test_disk *d, const sdi_fault_op *log, size_t end, test_random *random) {
    for (size_t i = 0; i < end; i++) {
        bool durable = made_durable(log, i, end);
        bool appears = log[i].kind == SDI_OP_ATTACH || log[i].kind == SDI_OP_CREATE;
        if (!durable && log[i].kind == SDI_OP_WRITE)
            file_put_some_sectors(&d->files[log[i].file - 1], &log[i], random);
        else if (durable || appears || test_random_below(random, 2))
            test_disk_apply(d, &log[i]);
    }
}
