/* SPDX-License-Identifier: Apache-2.0
 *
 * disk.h — what a crash may leave on the disk, built from the record of the calls that were made of the system
 * (fault_os.h):
 *
 *   death of the process  all calls up to some point, the last one torn anywhere: test_disk_apply() of each;
 *   loss of power         besides, any 512-byte sectors of what was not synced yet may be missing, the size may have
 *                         grown or not, a renaming may have happened or not: test_disk_lose_power().
 */
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include "check.h"
#include "fault_os.h"
#include "files.h"

enum { TEST_DISK_FILES = 8 };

typedef struct test_disk_file {
    char path[TEST_PATH_MAX]; /* "" when it has no name */
    uint8_t *bytes;
    size_t size, capacity;
} test_disk_file;

/* File i is number i + 1 of the record. Begins as zeros. */
typedef struct test_disk {
    test_disk_file files[TEST_DISK_FILES];
} test_disk;

void test_disk_free(test_disk *d);
/* NULL when no file has that name. */
test_disk_file *test_disk_find(test_disk *d, const char *path);
void test_disk_apply(test_disk *d, const sdi_fault_op *op);
/* The disk after the first `end` operations of the record and a loss of power. */
void test_disk_lose_power(test_disk *d, const sdi_fault_op *log, size_t end, test_random *random);

#endif
