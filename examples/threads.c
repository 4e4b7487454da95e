/* SPDX-License-Identifier: Apache-2.0
 *
 * threads — readers beside a writer on one handle. Each key's value names its version in every byte: a reader that saw
 * half of an old and half of a new value would notice.
 *
 *     threads [STORE]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "must.h"

enum { READERS = 3, KEYS = 16, VERSIONS = 200, VALUE_SIZE = 1000 };

typedef struct shared {
    simdrive_store *store;
    atomic_bool done;
    atomic_ullong reads;
} shared;

static void write_version(simdrive_store *store, unsigned key, unsigned version) {
    unsigned char value[VALUE_SIZE];
    memset(value, (int)(version % 255) + 1, sizeof value);
    must(simdrive_write(store, &key, sizeof key, value, sizeof value, NULL), "write");
}

static void *read_all_the_time(void *user) {
    shared *s = user;
    unsigned long long reads = 0;

    while (!atomic_load(&s->done) || reads == 0) {
        for (unsigned key = 0; key < KEYS; key++) {
            simdrive_entry entry = {0};
            must(simdrive_read(s->store, &key, sizeof key, &entry), "read");
            const unsigned char *value = entry.data;
            must_hold(entry.size == VALUE_SIZE && memcmp(value, value + 1, VALUE_SIZE - 1) == 0,
                      "a reader sees one version, whole");
            simdrive_entry_release(&entry);
            reads++;
        }
    }
    atomic_fetch_add(&s->reads, reads);
    return NULL;
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "threads.store";
    shared s = {0};
    pthread_t readers[READERS];

    must(simdrive_open(path, NULL, &s.store), "open");
    for (unsigned key = 0; key < KEYS; key++) write_version(s.store, key, 0);

    for (int i = 0; i < READERS; i++) {
        must_hold(pthread_create(&readers[i], NULL, read_all_the_time, &s) == 0, "threads can be started");
    }
    for (unsigned version = 1; version <= VERSIONS; version++) {
        for (unsigned key = 0; key < KEYS; key++) write_version(s.store, key, version);
        /* Compaction does not disturb them either. */
        if (version % 50 == 0) must(simdrive_compact(s.store, NULL, NULL), "compact");
    }
    atomic_store(&s.done, true);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);

    must_hold(simdrive_count(s.store) == KEYS, "all keys are there");
    printf("%d writes and 4 compactions beside %llu reads on %d threads: every value whole\n", KEYS * (VERSIONS + 1),
           (unsigned long long)atomic_load(&s.reads), READERS);
    must(simdrive_close(s.store), "close");
    return 0;
}
