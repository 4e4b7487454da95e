/* SPDX-License-Identifier: Apache-2.0
 *
 * files.h — temporary folders, and whole files in and out of memory.
 */
#ifndef TEST_FILES_H
#define TEST_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEST_PATH_MAX = 1024 };

/* A folder of its own, in memory where the system has that; removed with everything in it. */
typedef struct test_folder {
    char path[TEST_PATH_MAX / 2];
} test_folder;

test_folder test_folder_create(void);
void test_folder_remove(const test_folder *folder);

/* "<folder>/<name>" in `out`, which has TEST_PATH_MAX bytes; returns it. */
char *test_path(const test_folder *folder, const char *name, char *out);

/* How many names in the folder begin with `prefix`; the last of them is copied to `found` (may be NULL). */
size_t test_folder_count(const test_folder *folder, const char *prefix, char found[TEST_PATH_MAX]);

void test_file_put(const char *path, const void *bytes, size_t size);
void test_file_append(const char *path, const void *bytes, size_t size);
void test_file_truncate(const char *path, size_t size);
void test_file_copy(const char *from, const char *to);
bool test_file_exists(const char *path);
size_t test_file_size(const char *path);

/* All bytes of the file, with one more behind; freed with free(). NULL when there is no such file. */
uint8_t *test_file_get(const char *path, size_t *size);
bool test_file_equals(const char *path, const void *bytes, size_t size);

/* Path of a file of the repository, given from tests/ on. */
char *test_repository_path(const char *from_tests, char *out);

#endif
