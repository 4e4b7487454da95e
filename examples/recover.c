/* SPDX-License-Identifier: Apache-2.0
 *
 * recover — what happens when a file ends in the middle of an entry, as after a crash: opening finds the last complete
 * one, changes nothing, and the next write keeps the damaged bytes aside.
 *
 *     recover [STORE]
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "must.h"

enum { ENTRIES = 100, VALUE_SIZE = 5000 };

static uint64_t size_of(const char *path) {
    struct stat status;
    must_hold(stat(path, &status) == 0, "the file is there");
    return (uint64_t)status.st_size;
}

static void write_entries(const char *path) {
    simdrive_store *store = NULL;
    unsigned char value[VALUE_SIZE];

    must(simdrive_open(path, NULL, &store), "open");
    for (unsigned key = 0; key < ENTRIES; key++) {
        memset(value, (int)key + 1, sizeof value);
        must(simdrive_write(store, &key, sizeof key, value, sizeof value, NULL), "write");
    }
    must(simdrive_close(store), "close");
}

static void check_entries(simdrive_store *store) {
    for (unsigned key = 0; key < ENTRIES - 1; key++) {
        simdrive_entry entry = {0};
        must(simdrive_read(store, &key, sizeof key, &entry), "read an entry from before the cut");
        must_hold(entry.size == VALUE_SIZE && *(const unsigned char *)entry.data == key + 1, "it is the right one");
        must_hold(simdrive_entry_is_valid(&entry), "its checksum is right");
        simdrive_entry_release(&entry);
    }
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "recover.store";
    simdrive_store *store = NULL;
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_report report = {.struct_size = sizeof report};
    char aside[4096];

    write_entries(path);
    uint64_t cut = size_of(path) - VALUE_SIZE / 2;
    must_hold(truncate(path, (off_t)cut) == 0, "the file can be cut");

    must(simdrive_open(path, NULL, &store), "open what was cut");
    must(simdrive_get_info(store, &info), "info");
    printf("cut at byte %llu: %llu entries are there, %llu bytes of a half one are left out\n",
           (unsigned long long)cut, (unsigned long long)info.entries, (unsigned long long)info.damaged_tail_bytes);
    must_hold(info.entries == ENTRIES - 1, "all complete entries are there");
    must_hold(info.damage == SIMDRIVE_DAMAGE_TAIL && info.tail + info.damaged_tail_bytes == cut, "the damage is told");
    must_hold(size_of(path) == cut, "opening did not change the file");
    check_entries(store);

    must(simdrive_write(store, "new", 3, "after the crash", 15, NULL), "write again");
    snprintf(aside, sizeof aside, "%s.tail-%llu", path, (unsigned long long)info.tail);
    must_hold(size_of(aside) == info.damaged_tail_bytes, "the damaged bytes are kept aside");
    check_entries(store);
    must(simdrive_close(store), "close");

    must(simdrive_open(path, NULL, &store), "open again");
    must(simdrive_verify(store, NULL, NULL, NULL, &report), "verify");
    printf("written again: %llu entries checked, %llu corrupt\n", (unsigned long long)report.entries_checked,
           (unsigned long long)report.entries_corrupt);
    must_hold(report.entries_checked == ENTRIES && report.damaged_tail_bytes == 0, "the store is whole again");
    must(simdrive_close(store), "close");
    return 0;
}
