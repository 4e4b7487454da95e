/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c — runs inputs through a fuzz target without a fuzzer, and keeps corpora small in number of files:
 *
 *   replay_TARGET INPUT...              each INPUT is a file, a folder of files, or a pack
 *   replay_TARGET --pack FOLDER PACK    all files of the folder in one
 *   replay_TARGET --unpack PACK FOLDER  and back
 *
 * A pack is a line that says what it is, then each input: its size in 4 bytes, least first, and its bytes. The order is
 * that of the files' names, so that the same folder gives the same pack.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char MAGIC[] = "fuzz inputs, packed\n";

enum { MAGIC_SIZE = sizeof MAGIC - 1, SIZE_FIELD = 4 };

typedef void (*input_visitor)(void *user, const char *name, const uint8_t *bytes, size_t size);

/* --- reading ----------------------------------------------------------------------------------------------------- */

static uint8_t *must_get(const char *path, size_t *size) {
    uint8_t *bytes = test_file_get(path, size);
    if (!bytes) {
        fprintf(stderr, "cannot be read: %s\n", path);
        exit(2);
    }
    return bytes;
}

static void each_of_pack(const char *path, const uint8_t *bytes, size_t size, input_visitor visit, void *user) {
    size_t at = MAGIC_SIZE;
    for (unsigned number = 0; at + SIZE_FIELD <= size; number++) {
        size_t length = bytes[at] | (size_t)bytes[at + 1] << 8 | (size_t)bytes[at + 2] << 16 |
                        (size_t)bytes[at + 3] << 24;
        at += SIZE_FIELD;
        if (length > size - at) break;
        char name[TEST_PATH_MAX];
        snprintf(name, sizeof name, "%s, number %u", path, number);
        visit(user, name, bytes + at, length);
        at += length;
    }
    if (at != size) {
        fprintf(stderr, "no whole pack: %s\n", path);
        exit(2);
    }
}

/* A copy that ends where the input does, so that reading on is seen. */
static void visit_exact(input_visitor visit, void *user, const char *name, const uint8_t *bytes, size_t size) {
    uint8_t *copy = test_alloc(size);
    if (size) memcpy(copy, bytes, size);
    visit(user, name, copy, size);
    free(copy);
}

static void each_of(const char *path, input_visitor visit, void *user);

static void each_of_folder(const char *path, input_visitor visit, void *user) {
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[TEST_PATH_MAX];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') each_of(name, visit, user);
        free(names[i]);
    }
    free(names);
}

static void each_of(const char *path, input_visitor visit, void *user) {
    struct stat found;
    size_t size;
    if (stat(path, &found) == 0 && S_ISDIR(found.st_mode)) {
        each_of_folder(path, visit, user);
        return;
    }
    uint8_t *bytes = must_get(path, &size);
    if (size >= MAGIC_SIZE && memcmp(bytes, MAGIC, MAGIC_SIZE) == 0)
        each_of_pack(path, bytes, size, visit, user);
    else
        visit_exact(visit, user, path, bytes, size);
    free(bytes);
}

/* --- what is done with inputs ------------------------------------------------------------------------------------ */

static void run(void *user, const char *name, const uint8_t *bytes, size_t size) {
    size_t *count = user;
    ++*count;
    test_context("input %s (%zu bytes)", name, size);
    if (getenv("FUZZ_NAME_INPUTS")) fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(bytes, size);
}

static void put_in_pack(void *user, const char *name, const uint8_t *bytes, size_t size) {
    FILE *pack = user;
    (void)name;
    for (int i = 0; i < SIZE_FIELD; i++) fputc((int)(size >> (8 * i) & 0xFF), pack);
    fwrite(bytes, 1, size, pack);
}

typedef struct unpacking {
    const char *folder;
    unsigned count;
} unpacking;

static void put_in_folder(void *user, const char *name, const uint8_t *bytes, size_t size) {
    unpacking *to = user;
    char path[TEST_PATH_MAX];
    (void)name;
    snprintf(path, sizeof path, "%s/%05u", to->folder, to->count++);
    test_file_put(path, bytes, size);
}

static int pack(const char *folder, const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file) return 2;
    fwrite(MAGIC, 1, MAGIC_SIZE, file);
    each_of(folder, put_in_pack, file);
    return fclose(file) == 0 ? 0 : 2;
}

int main(int argc, char **argv) {
    size_t count = 0;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed check ends the program, and says so */
    if (argc == 4 && strcmp(argv[1], "--pack") == 0) return pack(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "--unpack") == 0) {
        unpacking to = {.folder = argv[3]};
        each_of(argv[2], put_in_folder, &to);
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "give inputs: files, folders or packs\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) each_of(argv[i], run, &count);
    printf("%zu inputs\n", count);
    return count > 0 ? 0 : 2;
}
