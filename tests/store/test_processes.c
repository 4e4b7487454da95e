/* SPDX-License-Identifier: Apache-2.0
 *
 * test_processes.c — several reader processes beside a writer process that is killed again and again.
 *
 * The writer changes groups of keys, each group in one atomic batch, deletes whole groups too, streams single large
 * values, and compacts now and then. In memory that the processes share it notes which version of a group it begins to
 * write, and which has been acknowledged. The parent kills it at a random moment; the next writer checks, before it
 * goes on, that each group is at a version between the two, as a whole. Readers refresh all the time and check that
 * each group is whole, has the bytes of its version, is never older than what was acknowledged before the refresh nor
 * than what they saw before, and that entries they hold keep their bytes. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stores.h"

enum {
    GROUPS = 40,
    GROUP_KEYS = 5,
    READERS = 3,
    KILLS = 25,
    KILLS_EXHAUSTIVE = 2000,
    STREAM_EVERY = 97,    /* versions: then a large value is streamed too */
    DELETE_EVERY = 7,     /* versions of a group */
    COMPACT_EVERY = 30, /* writes of one process */
    HEAD = 24,
    SMALL = 2000,
    LARGE = 200000,
    STREAM_SIZE = 3 << 20,
    HELD = 16
};

/* What all processes share. */
typedef struct oracle {
    _Atomic uint64_t begun[GROUPS], acknowledged[GROUPS];
    _Atomic uint64_t last; /* version given to a write */
    _Atomic bool over;     /* readers shall end */
    _Atomic uint64_t looks, writes, compactions;
} oracle;

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    oracle *shared;
    uint64_t seed;
} bench;

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t z = a * UINT64_C(0x9E3779B97F4A7C15) + b * UINT64_C(0xD1B54A32D192ED03) + 1;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    return z ^ z >> 29;
}

static uint64_t hash_of(uint64_t group, uint64_t key) {
    return mix(group + 1, key + 1);
}

static size_t size_of(uint64_t group, uint64_t key, uint64_t version) {
    uint64_t random = mix(mix(group, key), version);
    return HEAD + (size_t)(random / 64 % (random % 8 == 0 ? LARGE : SMALL));
}

/* The bytes from `from` on of a value. */
static void fill_value(uint64_t group, uint64_t key, uint64_t version, size_t from, uint8_t *out, size_t size) {
    uint64_t head[3] = {group, key, version}, word = 0;
    for (size_t i = 0; i < size; i++) {
        size_t at = from + i;
        if (at < HEAD) {
            out[i] = ((const uint8_t *)head)[at];
        } else {
            if (at % 8 == 0 || i == 0) word = mix(mix(group, key) + at / 8, version);
            out[i] = (uint8_t)(word >> (at % 8 * 8));
        }
    }
}

static bool value_is_right(uint64_t group, uint64_t key, uint64_t version, const uint8_t *bytes, size_t size) {
    uint8_t expected[4096];
    if (size != size_of(group, key, version)) return false;
    for (size_t at = 0; at < size; at += sizeof expected) {
        size_t chunk = size - at < sizeof expected ? size - at : sizeof expected;
        fill_value(group, key, version, at, expected, chunk);
        if (memcmp(bytes + at, expected, chunk) != 0) return false;
    }
    return true;
}

static bool is_deletion(uint64_t version) {
    return version % DELETE_EVERY == 0;
}

/* The version a group is at, all of its keys; UINT64_MAX when they do not agree, 0 when none is there. */
static uint64_t look_at_group(simdrive_store *store, uint64_t group, simdrive_entry entries[GROUP_KEYS]) {
    uint64_t hashes[GROUP_KEYS], version = 0;
    size_t found = 0;
    for (uint64_t key = 0; key < GROUP_KEYS; key++) hashes[key] = hash_of(group, key);
    CHECK_OK(simdrive_read_batch_hash(store, hashes, GROUP_KEYS, entries, &found));
    if (found == 0) return 0;
    if (found != GROUP_KEYS) return UINT64_MAX;
    for (uint64_t key = 0; key < GROUP_KEYS; key++) {
        uint64_t of_key = 0;
        CHECK(entries[key].size >= HEAD);
        memcpy(&of_key, (const uint8_t *)entries[key].data + 16, sizeof of_key);
        if (key == 0) version = of_key;
        if (of_key != version || !value_is_right(group, key, version, entries[key].data, entries[key].size))
            return UINT64_MAX;
    }
    return version;
}

/* --- the writer -------------------------------------------------------------------------------------------------- */

typedef struct value_source {
    uint64_t group, version;
    size_t given, size;
} value_source;

static simdrive_status give_value(void *user, void *buffer, size_t capacity, size_t *produced) {
    value_source *source = user;
    *produced = source->size - source->given < capacity ? source->size - source->given : capacity;
    fill_value(source->group, 0, source->version, source->given, buffer, *produced);
    source->given += *produced;
    return SIMDRIVE_OK;
}

static void write_group(simdrive_store *store, uint64_t group, uint64_t version) {
    simdrive_change changes[GROUP_KEYS];
    uint8_t *values[GROUP_KEYS] = {NULL};
    for (uint64_t key = 0; key < GROUP_KEYS; key++) {
        size_t size = is_deletion(version) ? 0 : size_of(group, key, version);
        values[key] = test_alloc(size + 1);
        if (size > 0) fill_value(group, key, version, 0, values[key], size);
        changes[key] = (simdrive_change){is_deletion(version) ? SIMDRIVE_DELETE : SIMDRIVE_PUT, hash_of(group, key),
                                         {values[key], size}};
    }
    CHECK_OK(simdrive_apply(store, changes, GROUP_KEYS, SIMDRIVE_BATCH_ATOMIC, NULL));
    for (uint64_t key = 0; key < GROUP_KEYS; key++) free(values[key]);
}

/* One key beside the groups, streamed: there or not, never part of it. */
static void write_streamed(simdrive_store *store, uint64_t version) {
    value_source source = {GROUPS, version, 0, STREAM_SIZE + (size_t)(version % SMALL)};
    CHECK_OK(simdrive_write_stream_hash(store, hash_of(GROUPS, 0), give_value, &source, 0, NULL));
}

static void check_streamed(simdrive_store *store) {
    simdrive_entry entry = {0};
    simdrive_status status = simdrive_read_hash(store, hash_of(GROUPS, 0), &entry);
    if (status == SIMDRIVE_NOT_FOUND) return;
    CHECK_OK(status);
    CHECK(simdrive_entry_is_valid(&entry) && entry.size >= STREAM_SIZE);
    simdrive_entry_release(&entry);
}

/* What the writer before this one has left. */
static void check_what_was_left(simdrive_store *store, oracle *shared) {
    for (uint64_t group = 0; group < GROUPS; group++) {
        simdrive_entry entries[GROUP_KEYS];
        uint64_t version = look_at_group(store, group, entries);
        uint64_t begun = atomic_load(&shared->begun[group]), acknowledged = atomic_load(&shared->acknowledged[group]);
        CHECK(version != UINT64_MAX);
        if (version == 0)
            CHECK(acknowledged == 0 || is_deletion(acknowledged) || (begun != acknowledged && is_deletion(begun)));
        else
            CHECK(version == acknowledged || version == begun);
        atomic_store(&shared->acknowledged[group], version != 0 ? version : is_deletion(begun) ? begun : acknowledged);
        simdrive_entries_release(entries, GROUP_KEYS);
    }
    check_streamed(store);
}

static void write_on(bench *b, uint64_t round) {
    test_random random = {b->seed + round};
    oracle *shared = b->shared;
    simdrive_store *store = test_open(b->path);
    check_what_was_left(store, shared);
    for (uint64_t i = 1;; i++) {
        uint64_t group = test_random_below(&random, GROUPS), version = atomic_fetch_add(&shared->last, 1) + 1;
        atomic_store(&shared->begun[group], version);
        write_group(store, group, version);
        atomic_store(&shared->acknowledged[group], version);
        atomic_fetch_add(&shared->writes, 1);
        if (version % STREAM_EVERY == 0) write_streamed(store, version);
        if (i % COMPACT_EVERY == 0) {
            CHECK_OK(simdrive_compact(store, NULL, NULL));
            atomic_fetch_add(&shared->compactions, 1);
        }
    }
}

/* --- readers ----------------------------------------------------------------------------------------------------- */

/* Entries kept for a while, whatever the writer does. */
typedef struct held_entry {
    simdrive_entry entry;
    uint64_t group, key, version;
} held_entry;

static void check_held(held_entry *held, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (held[i].entry.data)
            CHECK(value_is_right(held[i].group, held[i].key, held[i].version, held[i].entry.data, held[i].entry.size));
    }
}

static void hold(held_entry *held, uint64_t at, const simdrive_entry *entry, uint64_t group, uint64_t key,
                 uint64_t version) {
    simdrive_entry_release(&held[at].entry);
    simdrive_entry_clone(entry, &held[at].entry);
    held[at].group = group;
    held[at].key = key;
    held[at].version = version;
}

static void read_on(bench *b, uint64_t number) {
    test_random random = {b->seed ^ mix(number, 99)};
    oracle *shared = b->shared;
    uint64_t seen[GROUPS] = {0};
    held_entry held[HELD] = {{{0}, 0, 0, 0}};
    simdrive_store *store = test_open_read_only(b->path);
    while (!atomic_load(&shared->over)) {
        uint64_t group = test_random_below(&random, GROUPS), key = test_random_below(&random, GROUP_KEYS);
        uint64_t acknowledged = atomic_load(&shared->acknowledged[group]);
        simdrive_entry entries[GROUP_KEYS];
        CHECK_OK(simdrive_refresh(store, NULL));
        uint64_t version = look_at_group(store, group, entries);
        CHECK(version != UINT64_MAX);
        /* What is not there has no version; then it is at a deletion, which may be any that was begun. */
        if (version != 0) {
            CHECK(version >= acknowledged && version >= seen[group]);
            CHECK(version <= atomic_load(&shared->begun[group]));
            seen[group] = version;
            hold(held, test_random_below(&random, HELD), &entries[key], group, key, version);
        }
        simdrive_entries_release(entries, GROUP_KEYS);
        if (test_random_below(&random, 50) == 0) check_held(held, HELD);
        if (test_random_below(&random, 200) == 0) { /* another opening, beside the writer at work */
            simdrive_store *other = test_open_read_only(b->path);
            CHECK(look_at_group(other, group, entries) != UINT64_MAX);
            simdrive_entries_release(entries, GROUP_KEYS);
            CHECK_OK(simdrive_close(other));
        }
        atomic_fetch_add(&shared->looks, 1);
    }
    check_held(held, HELD);
    for (size_t i = 0; i < HELD; i++) simdrive_entry_release(&held[i].entry);
    CHECK_OK(simdrive_close(store));
}

/* --- the parent -------------------------------------------------------------------------------------------------- */

typedef void (*process_body)(bench *b, uint64_t number);

static pid_t start(bench *b, process_body body, uint64_t number) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) return pid;
    test_become_child();
    body(b, number);
    _exit(0);
}

static void kill_at_a_random_moment(pid_t writer, test_random *random) {
    int status = 0;
    usleep((useconds_t)(1000 + test_random_below(random, 60000)));
    kill(writer, SIGKILL);
    CHECK(waitpid(writer, &status, 0) == writer);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* otherwise a check of its own has ended it */
}

static void readers_beside_a_writer_that_is_killed(void **state) {
    bench *b = *state;
    test_random random = test_random_begin(71);
    uint64_t kills = test_exhaustive() ? KILLS_EXHAUSTIVE : KILLS;
    pid_t readers[READERS];
    b->seed = test_random_next(&random);
    CHECK_OK(simdrive_close(test_open(b->path)));
    for (uint64_t i = 0; i < READERS; i++) readers[i] = start(b, read_on, i);
    for (uint64_t round = 0; round < kills; round++) {
        test_context("writer %llu of %llu", (unsigned long long)round, (unsigned long long)kills);
        kill_at_a_random_moment(start(b, write_on, round), &random);
        for (uint64_t i = 0; i < READERS; i++) CHECK(waitpid(readers[i], NULL, WNOHANG) == 0);
    }
    atomic_store(&b->shared->over, true);
    for (uint64_t i = 0; i < READERS; i++) {
        int status = 0;
        CHECK(waitpid(readers[i], &status, 0) == readers[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    simdrive_store *store = test_open(b->path);
    check_what_was_left(store, b->shared);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    printf("%llu kills, %llu writes, %llu compactions, %llu looks\n", (unsigned long long)kills,
           (unsigned long long)atomic_load(&b->shared->writes),
           (unsigned long long)atomic_load(&b->shared->compactions),
           (unsigned long long)atomic_load(&b->shared->looks));
}

static int bench_begin(void **state) {
    bench *b = test_alloc(sizeof *b);
    b->folder = test_folder_create();
    test_path(&b->folder, "shared", b->path);
    b->shared = mmap(NULL, sizeof *b->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b->shared == MAP_FAILED) return -1;
    *state = b;
    return 0;
}

static int bench_end(void **state) {
    bench *b = *state;
    munmap(b->shared, sizeof *b->shared);
    test_folder_remove(&b->folder);
    free(b);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readers_beside_a_writer_that_is_killed, bench_begin, bench_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
