/* SPDX-License-Identifier: Apache-2.0
 *
 * nested — puts a whole store into an entry of another, and reads a file through both without taking either apart.
 *
 *     nested                        makes a small inner store of its own
 *     nested OUTER INNER KEY FILE   nests the store INNER; its entry KEY has to equal FILE
 */
#include <string.h>

#include "must.h"

/* The bytes of a file, for simdrive_write_stream(). */
static simdrive_status from_file(void *user, void *buffer, size_t capacity, size_t *produced) {
    FILE *file = user;
    *produced = fread(buffer, 1, capacity, file);
    return ferror(file) ? SIMDRIVE_ERROR_IO : SIMDRIVE_OK;
}

static void nest(simdrive_store *outer, const char *inner_path) {
    FILE *file = fopen(inner_path, "rb");
    must_hold(file != NULL, "the inner store can be opened as a file");
    must(simdrive_write_stream(outer, "inner", 5, from_file, file, 0, NULL), "write the inner store");
    fclose(file);
}

static void make_inner(const char *path) {
    simdrive_store *inner = NULL;
    must(simdrive_open(path, NULL, &inner), "open inner");
    must(simdrive_write(inner, "first", 5, "of the inner store", 18, NULL), "write first");
    must(simdrive_write(inner, "greeting", 8, "hello from within", 17, NULL), "write greeting");
    must(simdrive_close(inner), "close inner");
}

static void make_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    must_hold(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, "the file to compare with can be written");
}

static bool equals_file(const simdrive_entry *entry, const char *path) {
    FILE *file = fopen(path, "rb");
    const unsigned char *at = entry->data;
    size_t compared = 0;
    bool same = file != NULL;
    unsigned char buffer[4096];

    while (same) {
        size_t got = fread(buffer, 1, sizeof buffer, file);
        if (got == 0) break;
        same = got <= entry->size - compared && memcmp(at + compared, buffer, got) == 0;
        compared += got;
    }
    if (file != NULL) fclose(file);
    return same && compared == entry->size;
}

int main(int argc, char **argv) {
    static const char *const own[] = {"outer.store", "inner.store", "greeting", "greeting.txt"};
    bool given = argc == 5;
    const char *outer_path = given ? argv[1] : own[0], *inner_path = given ? argv[2] : own[1];
    const char *key = given ? argv[3] : own[2], *file_path = given ? argv[4] : own[3];
    simdrive_store *outer = NULL, *inner = NULL;
    simdrive_entry container = {0}, entry = {0};

    must_hold(given || argc == 1, "usage: nested [OUTER INNER KEY FILE]");
    if (!given) {
        make_inner(inner_path);
        make_file(file_path, "hello from within");
    }

    must(simdrive_open(outer_path, NULL, &outer), "open outer");
    nest(outer, inner_path);

    must(simdrive_read(outer, "inner", 5, &container), "read the inner store");
    must(simdrive_open_nested(&container, &inner), "open it where it lies");
    printf("%llu entries in an entry of %zu bytes\n", (unsigned long long)simdrive_count(inner), container.size);
    simdrive_entry_release(&container);

    must(simdrive_read(inner, key, strlen(key), &entry), "read through both");
    must_hold((uintptr_t)entry.data % simdrive_alignment() == 0, "a nested entry is aligned like any other");
    must_hold(simdrive_entry_is_valid(&entry), "its checksum is right");
    must_hold(equals_file(&entry, file_path), "it equals the file");
    printf("%s: %zu bytes, read through both stores, equal to the file\n", key, entry.size);

    /* Everything may be closed now: the entry keeps what it needs. */
    must(simdrive_close(inner), "close inner");
    must(simdrive_close(outer), "close outer");
    must_hold(equals_file(&entry, file_path), "it equals the file still");
    simdrive_entry_release(&entry);
    return 0;
}
