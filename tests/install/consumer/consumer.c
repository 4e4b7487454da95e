/* SPDX-License-Identifier: Apache-2.0
 *
 * consumer VERSION FILE — a program that has nothing but the installed package: checks the version and that a store can
 * be written, closed, opened and read. */
#include <simdrive.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, simdrive_status status) {
    fprintf(stderr, "%s: %s\n", what, simdrive_status_text(status));
    return 1;
}

int main(int argc, char **argv) {
    static const char payload[] = "written by a stranger";
    simdrive_store *store = NULL;
    simdrive_entry entry = {0};

    if (argc != 3) return 2;
    if (strcmp(simdrive_version(), argv[1]) != 0) return fail("another version", SIMDRIVE_OK);

    simdrive_status status = simdrive_open(argv[2], NULL, &store);
    if (status != SIMDRIVE_OK) return fail("open", status);
    status = simdrive_write(store, "key", 3, payload, sizeof payload, NULL);
    if (status != SIMDRIVE_OK) return fail("write", status);
    status = simdrive_close(store);
    if (status != SIMDRIVE_OK) return fail("close", status);

    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    status = simdrive_open(argv[2], &options, &store);
    if (status != SIMDRIVE_OK) return fail("open again", status);
    status = simdrive_read(store, "key", 3, &entry);
    if (status != SIMDRIVE_OK) return fail("read", status);
    int same = entry.size == sizeof payload && memcmp(entry.data, payload, sizeof payload) == 0;
    simdrive_entry_release(&entry);
    simdrive_close(store);
    return same ? 0 : fail("read something else", SIMDRIVE_OK);
}
