/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lock.c — one writer at a time, in this process or any other; its lock dies with it; readers in other processes
 * see a consistent prefix of what it wrote.
 */
#include "support/stores.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
} bench;

static int bench_begin(void **state) {
    bench *b = calloc(1, sizeof *b);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    *state = b;
    return 0;
}

static int bench_end(void **state) {
    bench *b = *state;
    test_folder_remove(&b->folder);
    free(b);
    return 0;
}

/* A child that runs `body` with one end of a pipe; the parent reads what it says from `*said`. */
static pid_t start_child(void (*body)(const bench *b, int say), const bench *b, int *said) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        close(ends[0]);
        body(b, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    *said = ends[0];
    return child;
}

static void say(int pipe_end, uint64_t number) {
    CHECK(write(pipe_end, &number, sizeof number) == sizeof number);
}

static uint64_t listen_to(int pipe_end) {
    uint64_t number = UINT64_MAX;
    CHECK(read(pipe_end, &number, sizeof number) == sizeof number);
    return number;
}

static void kill_and_wait(pid_t child) {
    int status;
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child);
}

static void a_second_writer_in_this_process_is_refused(void **state) {
    bench *b = *state;
    test_context("second writer, same process");
    simdrive_store *store = test_open(b->path), *second = NULL;
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(b->path, NULL, &second));
    CHECK(second == NULL);
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(b->path, NULL, &second));

    char link_path[TEST_PATH_MAX];
    test_path(&b->folder, "another-name", link_path);
    CHECK(symlink(b->path, link_path) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(link_path, NULL, &second));
    simdrive_store *reader = test_open_read_only(b->path);
    CHECK(simdrive_exists(reader, "k", 1));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_write(reader, "k", 1, "w", 1, NULL));
    CHECK_OK(simdrive_close(reader));
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(b->path, NULL, &second)); /* the reader's close freed nothing */
    CHECK_OK(simdrive_close(store));
    store = test_open(link_path);
    CHECK_OK(simdrive_close(store));
}

static void compaction_keeps_the_lock(void **state) {
    bench *b = *state;
    test_context("second writer after compaction");
    simdrive_store *store = test_open(b->path), *second = NULL;
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    CHECK_OK(simdrive_write(store, "k", 1, "w", 1, NULL));
    CHECK_OK(simdrive_compact(store, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(b->path, NULL, &second));
    CHECK_OK(simdrive_close(store));
    store = test_open(b->path);
    CHECK_U64(1, simdrive_count(store));
    CHECK_OK(simdrive_close(store));
}

/* An entry that outlives its store must not keep others from writing. */
static void the_lock_goes_with_close_though_entries_are_held(void **state) {
    bench *b = *state;
    test_context("lock after close with an entry held");
    simdrive_store *store = test_open(b->path);
    CHECK_OK(simdrive_write(store, "k", 1, "v", 1, NULL));
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read(store, "k", 1, &entry));
    CHECK_OK(simdrive_close(store));
    store = test_open(b->path);
    CHECK_OK(simdrive_write(store, "k", 1, "w", 1, NULL));
    CHECK(memcmp(entry.data, "v", 1) == 0);
    simdrive_entry_release(&entry);
    CHECK_OK(simdrive_close(store));
}

static void hold_the_store(const bench *b, int pipe_end) {
    simdrive_store *store = test_open(b->path);
    CHECK_OK(simdrive_write(store, "from the child", 14, "value", 5, NULL));
    say(pipe_end, 1);
    for (;;) pause();
}

static void a_second_writer_in_another_process_is_refused_until_it_is_killed(void **state) {
    bench *b = *state;
    test_context("second writer, other process");
    int said;
    pid_t child = start_child(hold_the_store, b, &said);
    CHECK_U64(1, listen_to(said));
    simdrive_store *store = NULL;
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, simdrive_open(b->path, NULL, &store));
    simdrive_store *reader = test_open_read_only(b->path);
    CHECK(simdrive_exists(reader, "from the child", 14));
    CHECK_OK(simdrive_close(reader));
    kill_and_wait(child);
    close(said);
    store = test_open(b->path);
    CHECK(simdrive_exists(store, "from the child", 14));
    CHECK_OK(simdrive_close(store));
}

/* Value i of the writing child: its number again and again, of a size that varies much. */
static size_t numbered_value(uint64_t number, uint64_t *value) {
    size_t words = 1 + (size_t)(number * 2654435761u % 3000);
    for (size_t i = 0; i < words; i++) value[i] = number + 1;
    return words * sizeof *value;
}

static void write_numbers(const bench *b, int pipe_end) {
    static uint64_t value[3001];
    simdrive_store *store = test_open(b->path);
    for (uint64_t number = simdrive_count(store);; number++) {
        size_t size = numbered_value(number, value);
        if (number % 5 == 4) {
            test_source source = {.bytes = (const uint8_t *)value, .size = size, .piece = 4096};
            CHECK_OK(simdrive_write_stream(store, &number, sizeof number, test_source_read, &source, 4096, NULL));
        } else {
            CHECK_OK(simdrive_write(store, &number, sizeof number, value, size, NULL));
        }
        say(pipe_end, number);
    }
}

/* Keys 0 .. count-1 are there, whole, and no others. Returns their number. */
static uint64_t check_numbers(simdrive_store *store) {
    static uint64_t expected[3001];
    uint64_t count = simdrive_count(store);
    for (uint64_t number = 0; number < count; number++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read(store, &number, sizeof number, &entry));
        CHECK_U64(numbered_value(number, expected), entry.size);
        CHECK(memcmp(entry.data, expected, entry.size) == 0);
        simdrive_entry_release(&entry);
    }
    return count;
}

static void readers_beside_a_writing_process_see_a_prefix(void **state) {
    bench *b = *state;
    int said;
    pid_t child = start_child(write_numbers, b, &said);
    uint64_t acknowledged = 0, seen = 0;
    for (int round = 0; round < 150; round++) {
        test_context("reader beside a writing process, round %d", round);
        for (int i = 0; i < 8; i++) acknowledged = listen_to(said);
        simdrive_store *reader = test_open_read_only(b->path);
        uint64_t count = check_numbers(reader);
        CHECK(count > acknowledged && count >= seen);
        seen = count;
        CHECK_OK(simdrive_close(reader));
    }
    kill_and_wait(child);
    close(said);
    simdrive_store *store = test_open(b->path);
    CHECK(check_numbers(store) >= seen);
    CHECK_OK(simdrive_close(store));
}

static void what_was_acknowledged_survives_kill(void **state) {
    bench *b = *state;
    test_random random = test_random_begin(700);
    for (int round = 0; round < (test_exhaustive() ? 2000 : 40); round++) {
        test_context("killed writer, round %d", round);
        int said;
        pid_t child = start_child(write_numbers, b, &said);
        uint64_t heard = 1 + test_random_below(&random, 30), acknowledged = 0;
        for (uint64_t i = 0; i < heard; i++) acknowledged = listen_to(said);
        kill_and_wait(child);
        uint64_t number;
        while (read(said, &number, sizeof number) == sizeof number) acknowledged = number;
        close(said);
        simdrive_store *store = test_open(b->path);
        CHECK(check_numbers(store) > acknowledged);
        CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
        CHECK_OK(simdrive_close(store));
    }
}

static void compact_for_ever(const bench *b, int pipe_end) {
    simdrive_store *store = test_open(b->path);
    for (uint64_t i = 0;; i++) {
        uint64_t number = i % 50;
        static uint64_t value[3001];
        size_t size = numbered_value(number, value);
        CHECK_OK(simdrive_write(store, &number, sizeof number, value, size, NULL));
        if (i % 20 == 19) CHECK_OK(simdrive_compact(store, NULL, NULL));
        if (i >= 50) say(pipe_end, i);
    }
}

static void killed_compaction_leaves_the_old_or_the_new_file(void **state) {
    bench *b = *state;
    test_random random = test_random_begin(710);
    for (int round = 0; round < (test_exhaustive() ? 2000 : 40); round++) {
        test_context("killed compaction, round %d", round);
        int said;
        pid_t child = start_child(compact_for_ever, b, &said);
        uint64_t heard = 1 + test_random_below(&random, 30);
        for (uint64_t i = 0; i < heard; i++) listen_to(said);
        simdrive_store *reader = test_open_read_only(b->path);
        CHECK_U64(50, check_numbers(reader));
        CHECK_OK(simdrive_close(reader));
        kill_and_wait(child);
        close(said);
        simdrive_store *store = test_open(b->path);
        CHECK_U64(50, check_numbers(store));
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        CHECK_U64(50, check_numbers(store));
        CHECK_OK(simdrive_close(store));
        /* Left-overs went with the compaction; the damaged tail of a killed write is kept aside. */
        CHECK_U64(1 + test_folder_count(&b->folder, "store.tail-", NULL), test_folder_count(&b->folder, "", NULL));
    }
}

#define LOCK_TEST(test) cmocka_unit_test_setup_teardown(test, bench_begin, bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        LOCK_TEST(a_second_writer_in_this_process_is_refused),
        LOCK_TEST(compaction_keeps_the_lock),
        LOCK_TEST(the_lock_goes_with_close_though_entries_are_held),
        LOCK_TEST(a_second_writer_in_another_process_is_refused_until_it_is_killed),
        LOCK_TEST(readers_beside_a_writing_process_see_a_prefix),
        LOCK_TEST(what_was_acknowledged_survives_kill),
        LOCK_TEST(killed_compaction_leaves_the_old_or_the_new_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
