/* SPDX-License-Identifier: Apache-2.0
 *
 * quickstart — the first five minutes: write, read in place, overwrite, delete, look at all entries.
 *
 *     quickstart [STORE]
 */
#include <string.h>

#include "must.h"

static void read_in_place(simdrive_store *store) {
    simdrive_entry entry = {0};

    must(simdrive_read(store, "alice", 5, &entry), "read alice");
    printf("alice has %zu bytes: %.*s\n", entry.size, (int)entry.size, (const char *)entry.data);

    /* What was acquired stays as it is, whatever is written later. */
    must(simdrive_write(store, "alice", 5, "a newer value", 13, NULL), "overwrite alice");
    must_hold(memcmp(entry.data, "first value", 11) == 0, "an entry keeps its bytes until it is released");
    simdrive_entry_release(&entry);

    must(simdrive_read(store, "alice", 5, &entry), "read alice again");
    printf("alice now: %.*s\n", (int)entry.size, (const char *)entry.data);
    must_hold(entry.size == 13, "the newest value is the one that is found");
    simdrive_entry_release(&entry);
}

static void show_all(simdrive_store *store) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    simdrive_status status;

    must(simdrive_iterate(store, &iterator), "iterate");
    while ((status = simdrive_iterator_peek_next(iterator, &entry)) == SIMDRIVE_OK) {
        printf("%016llx: %zu bytes\n", (unsigned long long)simdrive_entry_key_hash(entry), entry->size);
    }
    must_hold(status == SIMDRIVE_END, "an iteration ends with SIMDRIVE_END");
    simdrive_iterator_close(iterator);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "quickstart.store";
    simdrive_store *store = NULL;
    simdrive_entry entry = {0};

    must(simdrive_open(path, NULL, &store), "open");
    must(simdrive_write(store, "alice", 5, "first value", 11, NULL), "write alice");
    must(simdrive_write(store, "bob", 3, "value of bob", 12, NULL), "write bob");
    read_in_place(store);

    must(simdrive_delete(store, "bob", 3, NULL), "delete bob");
    must_hold(simdrive_read(store, "bob", 3, &entry) == SIMDRIVE_NOT_FOUND, "what was deleted is not found");

    show_all(store);
    must_hold(simdrive_count(store) == 1, "one entry is left");
    must(simdrive_close(store), "close");
    return 0;
}
