/* SPDX-License-Identifier: Apache-2.0
 *
 * files.c — temporary folders, and whole files in and out of memory.
 */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static const char *base_folder(void) {
    const char *asked = getenv("SIMDRIVE_TEST_FOLDER");
    if (asked) return asked;
    if (access("/dev/shm", W_OK) == 0) return "/dev/shm";
    asked = getenv("TMPDIR");
    return asked ? asked : P_tmpdir;
}

test_folder test_folder_create(void) {
    test_folder folder;
    snprintf(folder.path, sizeof folder.path, "%s/simdrive-test-XXXXXX", base_folder());
    CHECK(mkdtemp(folder.path));
    return folder;
}

static void remove_all(const char *path) {
    DIR *listing = opendir(path);
    if (!listing) return;
    for (struct dirent *item; (item = readdir(listing));) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
        char name[2 * TEST_PATH_MAX];
        snprintf(name, sizeof name, "%s/%s", path, item->d_name);
        if (unlink(name) != 0) remove_all(name);
    }
    closedir(listing);
    rmdir(path);
}

void test_folder_remove(const test_folder *folder) {
    remove_all(folder->path);
}

char *test_path(const test_folder *folder, const char *name, char *out) {
    snprintf(out, TEST_PATH_MAX, "%s/%s", folder->path, name);
    return out;
}

size_t test_folder_count(const test_folder *folder, const char *prefix, char found[TEST_PATH_MAX]) {
    size_t count = 0;
    DIR *listing = opendir(folder->path);
    CHECK(listing);
    for (struct dirent *item; (item = readdir(listing));) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
        if (strncmp(item->d_name, prefix, strlen(prefix)) != 0) continue;
        if (found) snprintf(found, TEST_PATH_MAX, "%s", item->d_name);
        count++;
    }
    closedir(listing);
    return count;
}

static void write_all(int file, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t done = write(file, bytes, size);
        if (done < 0 && errno == EINTR) continue;
        CHECK(done > 0);
        bytes += done;
        size -= (size_t)done;
    }
}

static void put(const char *path, int flags, const void *bytes, size_t size) {
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
    CHECK(file >= 0);
    write_all(file, bytes, size);
    close(file);
}

void test_file_put(const char *path, const void *bytes, size_t size) {
    put(path, O_TRUNC, bytes, size);
}

void test_file_append(const char *path, const void *bytes, size_t size) {
    put(path, O_APPEND, bytes, size);
}

void test_file_truncate(const char *path, size_t size) {
    CHECK(truncate(path, (off_t)size) == 0);
}

void test_file_copy(const char *from, const char *to) {
    size_t size;
    uint8_t *bytes = test_file_get(from, &size);
    CHECK(bytes);
    test_file_put(to, bytes, size);
    free(bytes);
}

bool test_file_exists(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

size_t test_file_size(const char *path) {
    struct stat found;
    CHECK(stat(path, &found) == 0);
    return test_size_without_room(path, (size_t)found.st_size);
}

uint8_t *test_file_get(const char *path, size_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return NULL;
    struct stat found;
    CHECK(fstat(file, &found) == 0);
    *size = test_size_without_room(path, (size_t)found.st_size);
    uint8_t *bytes = test_alloc(*size + 1);
    size_t done = 0;
    while (done < *size) {
        ssize_t got = read(file, bytes + done, *size - done);
        CHECK(got > 0);
        done += (size_t)got;
    }
    close(file);
    return bytes;
}

bool test_file_equals(const char *path, const void *bytes, size_t size) {
    size_t found_size;
    uint8_t *found = test_file_get(path, &found_size);
    bool same = found && found_size == size && memcmp(found, bytes, size) == 0;
    free(found);
    return same;
}

/* This file is tests/support/files.c: two names off its own path are the folder of the tests. */
char *test_repository_path(const char *from_tests, char *out) {
    char folder[TEST_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(folder, '/');
        if (!slash) {
            snprintf(folder, sizeof folder, i == 0 ? ".." : ".");
            break;
        }
        *slash = 0;
    }
    int length = snprintf(out, TEST_PATH_MAX, "%s/%s", folder, from_tests);
    CHECK(length > 0 && length < TEST_PATH_MAX);
    return out;
}
