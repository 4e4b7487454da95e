/* SPDX-License-Identifier: Apache-2.0
 *
 * test_odd_input.c — calls and surroundings at the edge of what is allowed: each gives the status that the header
 * names, changes nothing when it fails, and the store goes on working.
 */
#include "support/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NOBODY = 65534, DISK_BYTES = 4 << 20 };

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX];
    simdrive_store *store;
    test_image image; /* what the store must show */
} bench;

static int bench_begin(void **state) {
    bench *b = calloc(1, sizeof *b);
    b->folder = test_folder_create();
    b->store = test_open(test_path(&b->folder, "store", b->path));
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_OK(simdrive_write_hash(b->store, test_key_hash(i), "a first value", 5 + (size_t)i % 8, NULL));
        test_image_put(&b->image, test_key_hash(i), "a first value", 5 + (size_t)i % 8);
    }
    *state = b;
    return 0;
}

static int bench_end(void **state) {
    bench *b = *state;
    if (b->store) CHECK_OK(simdrive_close(b->store));
    test_image_free(&b->image);
    test_folder_remove(&b->folder);
    free(b);
    return 0;
}

static void check_unchanged(bench *b) {
    test_check_shows(b->store, &b->image);
    CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
}

/* After odd input the handle goes on writing, and the file opens again. */
static void check_goes_on(bench *b) {
    CHECK_OK(simdrive_write(b->store, "goes on", 7, "value", 5, NULL));
    test_image_put(&b->image, simdrive_hash_key("goes on", 7), "value", 5);
    check_unchanged(b);
    CHECK_OK(simdrive_close(b->store));
    b->store = test_open(b->path);
    check_unchanged(b);
}

/* --- payloads and keys -------------------------------------------------------------------------------------------- */

static simdrive_status zero_source(void *user, void *buffer, size_t capacity, size_t *produced) {
    size_t *left = user;
    *produced = *left < capacity ? *left : capacity;
    memset(buffer, 0, *produced);
    *left -= *produced;
    return SIMDRIVE_OK;
}

static void unstorable_payloads_are_refused(void **state) {
    bench *b = *state;
    test_context("empty and 00 payloads");
    uint64_t tail = 77;
    simdrive_status refused = SIMDRIVE_ERROR_INVALID_PAYLOAD;
    CHECK_STATUS(refused, simdrive_write(b->store, "k", 1, "", 0, &tail));
    CHECK_U64(0, tail);
    CHECK_STATUS(refused, simdrive_write(b->store, "k", 1, NULL, 0, NULL));
    CHECK_STATUS(refused, simdrive_write(b->store, "k", 1, "", 1, NULL));
    CHECK_STATUS(refused, simdrive_write_hash(b->store, 1, "", 1, NULL));
    simdrive_change changes[3] = {{SIMDRIVE_PUT, 1, {"abc", 3}}, {SIMDRIVE_DELETE, test_key_hash(1), {NULL, 0}},
                                  {SIMDRIVE_PUT, 2, {"", 1}}};
    CHECK_STATUS(refused, simdrive_apply(b->store, changes, 3, SIMDRIVE_BATCH_ATOMIC, NULL));
    CHECK_STATUS(refused, simdrive_apply(b->store, changes, 3, SIMDRIVE_BATCH_PLAIN, NULL));
    for (size_t zeros = 0; zeros < 2; zeros++) {
        size_t left = zeros;
        CHECK_STATUS(refused, simdrive_write_stream(b->store, "k", 1, zero_source, &left, 0, NULL));
        simdrive_stream *stream = NULL;
        CHECK_OK(simdrive_stream_begin(b->store, "k", 1, 0, &stream));
        CHECK_OK(simdrive_stream_append(stream, "", 0));
        if (zeros) CHECK_OK(simdrive_stream_append(stream, "", 1));
        CHECK_STATUS(refused, simdrive_stream_commit(stream, NULL));
    }
    check_unchanged(b);
    check_goes_on(b);
}

static void longer_runs_of_zeros_are_ordinary_payloads(void **state) {
    bench *b = *state;
    static const uint8_t zeros[200000];
    static const size_t sizes[] = {2, 19, 20, 21, 44, 64, 100, 200000};
    test_context("payloads of zeros");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK_OK(simdrive_write_hash(b->store, 1000 + i, zeros, sizes[i], NULL));
        test_image_put(&b->image, 1000 + i, zeros, sizes[i]);
        size_t left = sizes[i];
        CHECK_OK(simdrive_write_stream_hash(b->store, 2000 + i, zero_source, &left, 0, NULL));
        test_image_put(&b->image, 2000 + i, zeros, sizes[i]);
    }
    CHECK_OK(simdrive_write_hash(b->store, 0, "\x01", 1, NULL)); /* hash 0, one byte */
    test_image_put(&b->image, 0, "\x01", 1);
    check_goes_on(b);
    CHECK_OK(simdrive_compact(b->store, NULL, NULL));
    test_image_compact(&b->image);
    check_goes_on(b);
}

static void keys_of_any_length(void **state) {
    bench *b = *state;
    test_context("keys of 0 bytes and of 1 MB");
    size_t size = 1 << 20;
    uint8_t *key = test_alloc(size);
    memset(key, 0xAB, size);
    CHECK_OK(simdrive_write(b->store, key, size, "long", 4, NULL));
    test_image_put(&b->image, simdrive_hash_key(key, size), "long", 4);
    CHECK_OK(simdrive_write(b->store, NULL, 0, "empty", 5, NULL));
    test_image_put(&b->image, simdrive_hash_key("", 0), "empty", 5);
    CHECK(simdrive_exists(b->store, key, size) && simdrive_exists(b->store, "", 0));
    CHECK(!simdrive_exists(b->store, key, size - 1));
    CHECK_OK(simdrive_rename(b->store, key, size, key, 3, NULL));
    test_image_put(&b->image, simdrive_hash_key(key, 3), "long", 4);
    test_image_delete(&b->image, simdrive_hash_key(key, size));
    free(key);
    check_goes_on(b);
}

/* --- large payloads ----------------------------------------------------------------------------------------------- */

typedef struct huge_source {
    uint64_t size, given;
} huge_source;

static uint8_t huge_byte(uint64_t offset) {
    return (uint8_t)(offset >> 20 ^ offset >> 12 ^ 0x5A);
}

static simdrive_status huge_read(void *user, void *buffer, size_t capacity, size_t *produced) {
    huge_source *source = user;
    uint64_t left = source->size - source->given;
    *produced = left < capacity ? (size_t)left : capacity;
    uint64_t step = 4096 - source->given % 4096;
    if (*produced > step) *produced = (size_t)step; /* one value for each block of 4 KiB */
    memset(buffer, huge_byte(source->given), *produced);
    source->given += *produced;
    return SIMDRIVE_OK;
}

static uint64_t huge_size(const bench *b) {
    const char *asked = getenv("SIMDRIVE_TEST_LARGE");
    struct statvfs space;
    bool large = asked && strcmp(asked, "1") == 0 && statvfs(b->folder.path, &space) == 0 &&
                 (uint64_t)space.f_bavail * space.f_frsize >= UINT64_C(10) << 30;
    return large ? (UINT64_C(4) << 30) + 12345 : (UINT64_C(64) << 20) + 12345;
}

static void large_payloads_go_through_streams(void **state) {
    bench *b = *state;
    huge_source source = {.size = huge_size(b)};
    test_context("stream of %llu bytes", (unsigned long long)source.size);
    uint64_t tail = 0;
    CHECK_OK(simdrive_write_stream(b->store, "huge", 4, huge_read, &source, 0, &tail));
    CHECK_OK(simdrive_close(b->store));
    b->store = test_open(b->path);
    CHECK_U64(tail, simdrive_tail(b->store));
    simdrive_reader *reader = NULL;
    CHECK_OK(simdrive_reader_open(b->store, "huge", 4, &reader));
    CHECK_U64(source.size, simdrive_reader_size(reader));
    uint8_t *buffer = test_alloc(1 << 20);
    uint64_t offset = 0;
    size_t copied = 0;
    simdrive_status status;
    while ((status = simdrive_reader_next(reader, buffer, 1 << 20, &copied)) == SIMDRIVE_OK) {
        for (size_t i = 0; i < copied; i += 511) CHECK(buffer[i] == huge_byte(offset + i));
        offset += copied;
    }
    CHECK_STATUS(SIMDRIVE_END, status);
    CHECK_U64(source.size, offset);
    simdrive_reader_close(reader);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read(b->store, "huge", 4, &entry));
    CHECK_U64(source.size, entry.size);
    CHECK(simdrive_entry_is_valid(&entry));
    simdrive_entry_release(&entry);
    size_t read = 0;
    CHECK_OK(simdrive_read_copy(b->store, "huge", 4, source.size - 10, buffer, 100, NULL, &read));
    CHECK(read == 10 && buffer[9] == huge_byte(source.size - 1));
    CHECK_OK(simdrive_delete(b->store, "huge", 4, NULL));
    CHECK_OK(simdrive_compact(b->store, NULL, NULL));
    CHECK_U64(b->image.size, simdrive_tail(b->store));
    check_unchanged(b);
    free(buffer);
}

/* --- sources that fail -------------------------------------------------------------------------------------------- */

static void a_source_failing_at_any_byte_leaves_nothing(void **state) {
    bench *b = *state;
    uint8_t bytes[300];
    memset(bytes, 0x77, sizeof bytes);
    for (size_t at = 0; at <= sizeof bytes; at++) {
        test_context("source that fails after %zu bytes", at);
        test_source source = {.bytes = bytes, .size = sizeof bytes, .piece = 1 + at % 90, .fail_at = at,
                              .failure = at % 2 ? SIMDRIVE_ERROR_IO : (simdrive_status)12345};
        uint64_t tail = 5;
        CHECK_STATUS(source.failure, simdrive_write_stream(b->store, "k", 1, test_source_read, &source, 64, &tail));
        CHECK_U64(0, tail);
        CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
        if (at % 50 == 0) check_goes_on(b);
    }
    check_goes_on(b);
}

/* A large stream that fails late: its bytes were in the file already. */
static void a_source_failing_late_is_rolled_back(void **state) {
    bench *b = *state;
    test_context("source that fails after 20 MB");
    size_t size = 20 << 20;
    uint8_t *bytes = test_alloc(size);
    memset(bytes, 0x31, size);
    test_source source = {.bytes = bytes, .size = size, .piece = size, .fail_at = size - 1,
                          .failure = SIMDRIVE_ERROR_CANCELLED};
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED,
                 simdrive_write_stream(b->store, "k", 1, test_source_read, &source, 0, NULL));
    check_unchanged(b);
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin(b->store, "k", 1, 0, &stream));
    CHECK_OK(simdrive_stream_append(stream, bytes, size));
    CHECK_OK(simdrive_stream_abort(stream));
    free(bytes);
    check_goes_on(b);
}

static simdrive_status calling_back(void *user, void *buffer, size_t capacity, size_t *produced) {
    bench *b = user;
    (void)buffer;
    (void)capacity;
    *produced = 0;
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read_hash(b->store, test_key_hash(3), &entry));
    simdrive_entry_release(&entry);
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_write(b->store, "k", 1, "v", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_delete_hash(b->store, test_key_hash(3), NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact(b->store, NULL, NULL));
    return SIMDRIVE_ERROR_CANCELLED;
}

static simdrive_status progress_calling_back(void *user, uint64_t done, uint64_t total) {
    bench *b = user;
    CHECK(done <= total);
    CHECK(simdrive_exists_hash(b->store, test_key_hash(3)));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_write(b->store, "k", 1, "v", 1, NULL));
    return SIMDRIVE_ERROR_CANCELLED;
}

static void callbacks_may_read_and_not_write(void **state) {
    bench *b = *state;
    test_context("callbacks that call back");
    CHECK_STATUS(SIMDRIVE_ERROR_CANCELLED, simdrive_write_stream(b->store, "k", 1, calling_back, b, 0, NULL));
    simdrive_work_options work = {.struct_size = sizeof work, .progress = progress_calling_back, .user = b};
    simdrive_status status = simdrive_compact(b->store, &work, NULL);
    CHECK(status == SIMDRIVE_ERROR_CANCELLED || status == SIMDRIVE_OK);
    check_unchanged(b);
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL));
    check_goes_on(b);
}

static void a_pushed_stream_is_aborted_by_close(void **state) {
    bench *b = *state;
    test_context("close with an open stream");
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin(b->store, "k", 1, 16, &stream));
    CHECK_OK(simdrive_stream_append(stream, "0123456789012345678901234567890123456789", 40));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_compact(b->store, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_BUSY, simdrive_delete_hash(b->store, test_key_hash(1), NULL));
    CHECK_OK(simdrive_close(b->store));
    b->store = test_open(b->path);
    check_unchanged(b);
    check_goes_on(b);
}

/* --- full disks and limits ---------------------------------------------------------------------------------------- */

/* Writes until nothing goes any more, then checks that every acknowledged key is there, and goes on after `relieve`. */
static void fill_up(const char *path, void (*relieve)(const char *folder), const char *folder) {
    simdrive_store *store = test_open(path);
    static uint8_t value[65536];
    test_image image = {0};
    simdrive_status status = SIMDRIVE_OK;
    for (uint64_t i = 0; status == SIMDRIVE_OK && i < 1000; i++) {
        memset(value, (int)i + 1, sizeof value);
        status = simdrive_write_hash(store, i, value, sizeof value, NULL);
        if (status == SIMDRIVE_OK) test_image_put(&image, i, value, sizeof value);
    }
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, status);
    CHECK(image.count > 10);
    test_check_shows(store, &image);
    CHECK(test_file_equals(path, image.bytes, image.size));
    size_t left = 40 * sizeof value;
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, simdrive_write_stream(store, "k", 1, zero_source, &left, 0, NULL));
    CHECK(test_file_equals(path, image.bytes, image.size));
    relieve(folder);
    CHECK_OK(simdrive_write_hash(store, 5000, "goes on", 7, NULL));
    test_image_put(&image, 5000, "goes on", 7);
    test_check_shows(store, &image);
    CHECK_OK(simdrive_close(store));
    test_check_file(path, &image);
    test_image_free(&image);
}

static void free_some_space(const char *folder) {
    char path[TEST_PATH_MAX];
    snprintf(path, sizeof path, "%s/ballast", folder);
    CHECK(unlink(path) == 0);
}

/* In a child with mounts of its own, which go with it. */
static void fill_a_small_disk(void *user) {
    bench *b = user;
    char mount_point[TEST_PATH_MAX], path[TEST_PATH_MAX + 16], options[64];
    static const uint8_t ballast[65536];
    snprintf(options, sizeof options, "size=%d", DISK_BYTES);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) != 0 ||
        mount("tmpfs", test_path(&b->folder, "disk", mount_point), "tmpfs", 0, options) != 0) {
        fprintf(stderr, "no right to mount: the file-size limit stands for the full disk\n");
        return;
    }
    snprintf(path, sizeof path, "%s/ballast", mount_point);
    test_file_put(path, ballast, sizeof ballast);
    snprintf(path, sizeof path, "%s/store", mount_point);
    fill_up(path, free_some_space, mount_point);
}

static void a_full_disk_loses_nothing(void **state) {
    bench *b = *state;
    test_context("full disk");
    char mount_point[TEST_PATH_MAX];
    CHECK(mkdir(test_path(&b->folder, "disk", mount_point), 0700) == 0);
    CHECK(test_in_child(fill_a_small_disk, b));
}

static void lift_file_size_limit(const char *folder) {
    (void)folder;
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void write_under_file_size_limit(void *user) {
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 2 << 20;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    fill_up(user, lift_file_size_limit, NULL);
}

static void a_file_size_limit_loses_nothing(void **state) {
    bench *b = *state;
    test_context("file-size limit");
    char path[TEST_PATH_MAX];
    CHECK(test_in_child(write_under_file_size_limit, test_path(&b->folder, "limited", path)));
}

/* What cannot be written whole is not left in part. */
static void care_under_file_size_limit(void *user) {
    bench *b = user;
    struct rlimit limit;
    char out[TEST_PATH_MAX];
    test_path(&b->folder, "out", out);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = b->image.size / 2;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, simdrive_salvage(b->path, out, NULL, NULL, NULL, NULL));
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL));
    simdrive_store *store = test_open(b->path);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, simdrive_backup(store, out, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, simdrive_delete_hash(store, test_key_hash(1), NULL));
    CHECK_OK(simdrive_close(store));
    CHECK_U64(1, test_folder_count(&b->folder, "", NULL));
}

static void unfinished_copies_are_not_left_behind(void **state) {
    bench *b = *state;
    test_context("salvage and backup under a file-size limit");
    CHECK_OK(simdrive_close(b->store));
    b->store = NULL;
    CHECK(test_in_child(care_under_file_size_limit, b));
    CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
}

#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#if !SANITIZED
static void write_in_little_address_space(void *user) {
    struct rlimit limit = {UINT64_C(200) << 20, UINT64_C(200) << 20};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    simdrive_store *store = test_open(user);
    size_t size = 2 << 20;
    uint8_t *value = test_alloc(size);
    uint64_t acknowledged = 0;
    for (uint64_t i = 0; i < 200; i++) {
        memset(value, (int)i + 1, size);
        simdrive_status status = simdrive_write_hash(store, i, value, size, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_NO_MEMORY);
        if (status != SIMDRIVE_OK) break;
        acknowledged++;
    }
    for (uint64_t i = 0; i < acknowledged; i++) {
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, i, &entry));
        CHECK(entry.size == size && *(const uint8_t *)entry.data == (uint8_t)(i + 1));
        simdrive_entry_release(&entry);
    }
    CHECK_U64(acknowledged, simdrive_count(store));
    CHECK(acknowledged > 20);
    free(value);
    CHECK_OK(simdrive_close(store));
}
#endif

static void little_address_space_is_an_error_or_no_problem(void **state) {
    bench *b = *state;
    test_context("address-space limit");
#if SANITIZED
    print_message("sanitizers need the address space themselves\n");
    (void)b;
#else
    char path[TEST_PATH_MAX];
    CHECK_OK(simdrive_close(b->store)); /* or the child would inherit its map, and begin beyond the limit */
    b->store = NULL;
    CHECK(test_in_child(write_in_little_address_space, test_path(&b->folder, "cramped", path)));
    simdrive_store *store = test_open_read_only(path);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_OK(simdrive_close(store));
#endif
}

/* --- paths and permissions ---------------------------------------------------------------------------------------- */

static void paths_that_are_no_files(void **state) {
    bench *b = *state;
    test_context("paths");
    simdrive_store *store = NULL;
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true};
    simdrive_open_options existing = {.struct_size = sizeof existing, .must_exist = true};
    simdrive_open_options creating = {.struct_size = sizeof creating, .must_create = true};
    char path[TEST_PATH_MAX];
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_open(b->folder.path, NULL, &store));
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_open(b->folder.path, &reading, &store));
    test_path(&b->folder, "missing/store", path);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(path, NULL, &store));
    test_path(&b->folder, "store/below-a-file", path);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(path, NULL, &store));
    test_path(&b->folder, "missing", path);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(path, &reading, &store));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(path, &existing, &store));
    CHECK(!test_file_exists(path) && store == NULL);
    CHECK_OK(simdrive_open(path, &creating, &store));
    CHECK_OK(simdrive_close(store));
    CHECK_STATUS(SIMDRIVE_ERROR_EXISTS, simdrive_open(path, &creating, &store));
    test_path(&b->folder, "pipe", path);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_open(path, NULL, &store));
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_open(path, &reading, &store)); /* must not wait for a writer */
    CHECK(store == NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, simdrive_open("/dev/null", NULL, &store));
}

static void a_new_file_has_the_mode_asked_for(void **state) {
    bench *b = *state;
    test_context("file_mode");
    char path[TEST_PATH_MAX];
    test_path(&b->folder, "private", path);
    simdrive_open_options options = {.struct_size = sizeof options, .file_mode = 0600};
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(path, &options, &store));
    CHECK_OK(simdrive_close(store));
    struct stat found;
    CHECK(stat(path, &found) == 0 && (found.st_mode & 07777) == 0600);
}

/* In a child without rights: the store may be read where its bits allow it, and nothing else. */
static void without_rights(void *user) {
    bench *b = user;
    if (getuid() == 0) CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    simdrive_store *store = NULL;
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true};
    CHECK_STATUS(SIMDRIVE_ERROR_PERMISSION, simdrive_open(b->path, NULL, &store));
    CHECK(store == NULL);
    CHECK_OK(simdrive_open(b->path, &reading, &store));
    test_check_shows(store, &b->image);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_write(store, "k", 1, "v", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_delete_hash(store, test_key_hash(1), NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_compact(store, NULL, NULL));
    CHECK_OK(simdrive_close(store));
    char path[TEST_PATH_MAX];
    test_path(&b->folder, "new", path);
    CHECK_STATUS(SIMDRIVE_ERROR_PERMISSION, simdrive_open(path, NULL, &store));
    test_path(&b->folder, "hidden", path);
    CHECK_STATUS(SIMDRIVE_ERROR_PERMISSION, simdrive_open(path, &reading, &store));
}

static void read_only_files_in_read_only_folders(void **state) {
    bench *b = *state;
    test_context("read-only file in a read-only folder");
    char hidden[TEST_PATH_MAX];
    test_file_put(test_path(&b->folder, "hidden", hidden), b->image.bytes, b->image.size);
    CHECK(chmod(hidden, 0) == 0 && chmod(b->path, 0444) == 0 && chmod(b->folder.path, 0555) == 0);
    CHECK_OK(simdrive_close(b->store));
    b->store = NULL;
    CHECK(test_in_child(without_rights, b));
    CHECK(chmod(b->folder.path, 0700) == 0);
    CHECK(test_file_equals(b->path, b->image.bytes, b->image.size));
}

/* --- wrong calls -------------------------------------------------------------------------------------------------- */

static void missing_arguments_are_refused(void **state) {
    bench *b = *state;
    test_context("NULL arguments");
    simdrive_status refused = SIMDRIVE_ERROR_INVALID_ARGUMENT;
    simdrive_store *store = b->store, *other = NULL;
    simdrive_entry entry = {0};
    simdrive_bytes bytes = {NULL, 1};
    uint64_t hash = 1;
    CHECK_STATUS(refused, simdrive_open(NULL, NULL, &other));
    CHECK_STATUS(refused, simdrive_open(b->path, NULL, NULL));
    CHECK_STATUS(refused, simdrive_get_info(store, NULL));
    CHECK_STATUS(refused, simdrive_read(NULL, "k", 1, &entry));
    CHECK_STATUS(refused, simdrive_read(store, NULL, 1, &entry));
    CHECK_STATUS(refused, simdrive_read(store, "k", 1, NULL));
    CHECK_STATUS(refused, simdrive_read_batch(store, NULL, 1, &entry, NULL));
    CHECK_STATUS(refused, simdrive_read_batch_hash(store, &hash, 1, NULL, NULL));
    CHECK_STATUS(refused, simdrive_read_copy(store, "k", 1, 0, NULL, 1, NULL, NULL));
    CHECK_STATUS(refused, simdrive_write(NULL, "k", 1, "v", 1, NULL));
    CHECK_STATUS(refused, simdrive_write(store, NULL, 1, "v", 1, NULL));
    CHECK_STATUS(refused, simdrive_write(store, "k", 1, NULL, 1, NULL));
    CHECK_STATUS(refused, simdrive_write_batch(store, NULL, &bytes, 1, NULL));
    CHECK_STATUS(refused, simdrive_write_batch_hash(store, &hash, &bytes, 1, NULL));
    CHECK_STATUS(refused, simdrive_apply(store, NULL, 1, SIMDRIVE_BATCH_ATOMIC, NULL));
    simdrive_change unknown = {(simdrive_operation)7, 1, {"v", 1}};
    CHECK_STATUS(refused, simdrive_apply(store, &unknown, 1, SIMDRIVE_BATCH_ATOMIC, NULL));
    simdrive_change change = {SIMDRIVE_PUT, 1, {"v", 1}};
    CHECK_STATUS(refused, simdrive_apply(store, &change, 1, (simdrive_batch_mode)9, NULL));
    CHECK_STATUS(refused, simdrive_write_stream(store, "k", 1, NULL, NULL, 0, NULL));
    CHECK_STATUS(refused, simdrive_stream_begin(store, "k", 1, 0, NULL));
    CHECK_STATUS(refused, simdrive_iterate(store, NULL));
    CHECK_STATUS(refused, simdrive_visit(store, 1, NULL, NULL));
    CHECK_STATUS(refused, simdrive_copy(store, "k", 1, NULL, NULL));
    CHECK_STATUS(refused, simdrive_open_nested(NULL, &other));
    CHECK_STATUS(refused, simdrive_open_memory(NULL, 100, &other));
    CHECK_STATUS(refused, simdrive_salvage(NULL, b->path, NULL, NULL, NULL, NULL));
    CHECK_STATUS(refused, simdrive_backup(store, NULL, NULL, NULL));
    CHECK(!simdrive_exists(NULL, "k", 1) && !simdrive_exists(store, NULL, 1));
    CHECK(other == NULL && entry.data == NULL);
    simdrive_close(NULL);
    simdrive_entry_release(NULL);
    simdrive_entry_release(&entry);
    simdrive_iterator_close(NULL);
    simdrive_reader_close(NULL);
    simdrive_session_end(NULL);
    CHECK_OK(simdrive_stream_abort(NULL));
    check_goes_on(b);
}

static void wrong_struct_sizes_are_refused(void **state) {
    bench *b = *state;
    test_context("struct_size");
    simdrive_status refused = SIMDRIVE_ERROR_INVALID_ARGUMENT;
    char path[TEST_PATH_MAX];
    test_path(&b->folder, "new", path);
    simdrive_store *store = NULL;
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        simdrive_open_options open = {.struct_size = sizes[i]};
        simdrive_work_options work = {.struct_size = sizes[i]};
        CHECK_STATUS(refused, simdrive_open(path, &open, &store));
        CHECK(!store && !test_file_exists(path));
        CHECK_STATUS(refused, simdrive_compact(b->store, &work, NULL));
        CHECK_STATUS(refused, simdrive_verify(b->store, &work, NULL, NULL, NULL));
        CHECK_STATUS(refused, simdrive_backup(b->store, path, &work, NULL));
        if (sizes[i] == SIZE_MAX) continue; /* what is filled in may be larger than what is known */
        simdrive_info info = {.struct_size = sizes[i]};
        simdrive_report report = {.struct_size = sizes[i]};
        CHECK_STATUS(refused, simdrive_get_info(b->store, &info));
        CHECK_STATUS(refused, simdrive_verify(b->store, NULL, NULL, NULL, &report));
        CHECK_STATUS(refused, simdrive_backup(b->store, path, NULL, &report));
        CHECK(!test_file_exists(path));
    }
    simdrive_open_options unknown = {.struct_size = sizeof unknown, .checksum = (simdrive_checksum_kind)3};
    CHECK_STATUS(refused, simdrive_open(path, &unknown, &store));
    unknown = (simdrive_open_options){.struct_size = sizeof unknown, .sync = (simdrive_sync_policy)3};
    CHECK_STATUS(refused, simdrive_open(path, &unknown, &store));
    check_goes_on(b);
}

/* A program built with an older header has shorter structs, one with a newer header longer ones. */
static void older_and_newer_structs_are_understood(void **state) {
    bench *b = *state;
    test_context("struct_size of other versions");
    simdrive_store *store = NULL;
    simdrive_open_options shorter = {.struct_size = offsetof(simdrive_open_options, must_exist), .read_only = true};
    CHECK_OK(simdrive_open(b->path, &shorter, &store));
    CHECK(test_info(store).read_only);
    CHECK_OK(simdrive_close(store));
    struct {
        simdrive_open_options known;
        uint64_t unknown[2];
    } longer = {.known = {.struct_size = sizeof longer, .read_only = true}};
    CHECK_OK(simdrive_open(b->path, &longer.known, &store));
    CHECK_OK(simdrive_close(store));
    longer.unknown[1] = 1; /* asks for what this version cannot do */
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_open(b->path, &longer.known, &store));
    struct {
        simdrive_info known;
        uint64_t unknown;
    } info = {.known = {.struct_size = offsetof(simdrive_info, tombstones)}};
    info.known.tombstones = 99;
    CHECK_OK(simdrive_get_info(b->store, &info.known));
    CHECK(info.known.entries == b->image.count && info.known.tombstones == 99);
    info.known.struct_size = sizeof info;
    info.unknown = 77;
    CHECK_OK(simdrive_get_info(b->store, &info.known));
    CHECK(info.known.tombstones == 0 && info.known.checksum == SIMDRIVE_CHECKSUM_CRC32C);
}

/* The number of an earlier failure must not be taken for the cause of a later one. */
static void the_system_error_is_that_of_the_last_failure(void **state) {
    bench *b = *state;
    test_context("simdrive_last_os_error()");
    simdrive_store *store = NULL;
    char path[TEST_PATH_MAX];
    simdrive_open_options reading = {.struct_size = sizeof reading, .read_only = true};
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(test_path(&b->folder, "missing", path), &reading, &store));
    CHECK_U64(ENOENT, simdrive_last_os_error());
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_PAYLOAD, simdrive_write(b->store, "k", 1, "", 0, NULL));
    CHECK_U64(0, simdrive_last_os_error());
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, simdrive_open(path, &reading, &store));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_open(NULL, NULL, &store));
    CHECK_U64(0, simdrive_last_os_error());
}

static void statuses_have_names_and_texts(void **state) {
    (void)state;
    test_context("status texts");
    CHECK(strcmp(simdrive_status_name(SIMDRIVE_ERROR_LOCKED), "SIMDRIVE_ERROR_LOCKED") == 0);
    for (int number = -1; number < 300; number++) {
        CHECK(simdrive_status_name((simdrive_status)number));
        CHECK(simdrive_status_text((simdrive_status)number));
    }
}

/* --- elements ----------------------------------------------------------------------------------------------------- */

static void typed_views_fit_or_are_refused(void **state) {
    bench *b = *state;
    test_context("typed views");
    float floats[7] = {1, 2, 3, 4, 5, 6, 7};
    CHECK_OK(simdrive_write(b->store, "floats", 6, floats, sizeof floats, NULL));
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read(b->store, "floats", 6, &entry));
    const void *elements = NULL;
    size_t count = 0;
    CHECK_OK(simdrive_entry_elements(&entry, sizeof(float), &elements, &count));
    CHECK(count == 7 && elements == entry.data && memcmp(elements, floats, sizeof floats) == 0);
    CHECK_OK(simdrive_entry_elements(&entry, 28, &elements, &count));
    CHECK(count == 1);
    CHECK_STATUS(SIMDRIVE_ERROR_UNALIGNED, simdrive_entry_elements(&entry, 8, &elements, &count));
    CHECK_STATUS(SIMDRIVE_ERROR_UNALIGNED, simdrive_entry_elements(&entry, 29, &elements, &count));
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_entry_elements(&entry, 0, &elements, &count));
    double copied[4] = {0};
    CHECK_U64(3, simdrive_entry_copy_elements(&entry, 8, copied, 4));
    CHECK(memcmp(copied, floats, 24) == 0 && copied[3] == 0);
    CHECK_U64(2, simdrive_entry_copy_elements(&entry, 8, copied, 2));
    uintptr_t start, end;
    simdrive_entry_address_range(&entry, &start, &end);
    CHECK(start == (uintptr_t)entry.data && end - start == sizeof floats);
    CHECK_U64(sizeof floats + TEST_METADATA_SIZE, simdrive_entry_total_size(&entry));
    simdrive_entry_release(&entry);
}

/* --- files that others cut ---------------------------------------------------------------------------------------- */

static void read_a_file_that_was_cut(void *user) {
    bench *b = user;
    size_t size = 1 << 20;
    uint8_t *value = test_alloc(size);
    memset(value, 5, size);
    simdrive_store *store = test_open(b->path);
    CHECK_OK(simdrive_write(store, "big", 3, value, size, NULL));
    simdrive_reader *reader = NULL;
    CHECK_OK(simdrive_reader_open(store, "big", 3, &reader));
    test_file_truncate(b->path, 70000);
    size_t copied = 0;
    simdrive_status status;
    while ((status = simdrive_reader_next(reader, value, 4096, &copied)) == SIMDRIVE_OK) CHECK(copied > 0);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, status);
    simdrive_reader_close(reader);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, simdrive_read_copy(store, "big", 3, 0, value, size, NULL, &copied));
    free(value);
    CHECK_OK(simdrive_close(store));
}

static void a_file_cut_by_others_gives_errors_and_no_signal(void **state) {
    bench *b = *state;
    test_context("file cut behind the store's back");
    CHECK_OK(simdrive_close(b->store));
    b->store = NULL;
    CHECK(test_in_child(read_a_file_that_was_cut, b)); /* a signal would end the child */
    b->store = test_open(b->path);
    test_check_shows(b->store, &b->image);
}

/* --- a store in memory -------------------------------------------------------------------------------------------- */

static void stores_in_memory_are_read_in_place(void **state) {
    bench *b = *state;
    test_context("store in memory");
    uint8_t *bytes = aligned_alloc(TEST_ALIGNMENT, (b->image.size / TEST_ALIGNMENT + 2) * TEST_ALIGNMENT);
    memcpy(bytes, b->image.bytes, b->image.size);
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open_memory(bytes, b->image.size, &store));
    test_check_shows(store, &b->image);
    CHECK(strcmp(simdrive_path(store), "") == 0);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_READ_ONLY, simdrive_write(store, "k", 1, "v", 1, NULL));
    uint8_t buffer[5];
    char key[32];
    size_t key_size = test_key(2, key), copied = 0;
    CHECK_OK(simdrive_read_copy(store, key, key_size, 2, buffer, 5, NULL, &copied));
    CHECK(copied == 5 && memcmp(buffer, "first", 5) == 0);
    simdrive_entry entry = {0};
    CHECK_OK(simdrive_read(store, key, key_size, &entry));
    CHECK((const uint8_t *)entry.data >= bytes && (const uint8_t *)entry.data < bytes + b->image.size);
    CHECK_OK(simdrive_close(store));
    CHECK(memcmp(entry.data, "a first", 7) == 0);
    simdrive_entry_release(&entry);

    memmove(bytes + 1, b->image.bytes, b->image.size);
    CHECK_STATUS(SIMDRIVE_ERROR_UNALIGNED, simdrive_open_memory(bytes + 1, b->image.size, &store));
    memset(bytes, 'x', b->image.size);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_STORE, simdrive_open_memory(bytes, b->image.size, &store));
    free(bytes);
}

#define ODD_TEST(test) cmocka_unit_test_setup_teardown(test, bench_begin, bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        ODD_TEST(unstorable_payloads_are_refused),
        ODD_TEST(longer_runs_of_zeros_are_ordinary_payloads),
        ODD_TEST(keys_of_any_length),
        ODD_TEST(large_payloads_go_through_streams),
        ODD_TEST(a_source_failing_at_any_byte_leaves_nothing),
        ODD_TEST(a_source_failing_late_is_rolled_back),
        ODD_TEST(callbacks_may_read_and_not_write),
        ODD_TEST(a_pushed_stream_is_aborted_by_close),
        ODD_TEST(a_full_disk_loses_nothing),
        ODD_TEST(a_file_size_limit_loses_nothing),
        ODD_TEST(unfinished_copies_are_not_left_behind),
        ODD_TEST(little_address_space_is_an_error_or_no_problem),
        ODD_TEST(paths_that_are_no_files),
        ODD_TEST(a_new_file_has_the_mode_asked_for),
        ODD_TEST(read_only_files_in_read_only_folders),
        ODD_TEST(missing_arguments_are_refused),
        ODD_TEST(wrong_struct_sizes_are_refused),
        ODD_TEST(older_and_newer_structs_are_understood),
        ODD_TEST(the_system_error_is_that_of_the_last_failure),
        ODD_TEST(statuses_have_names_and_texts),
        ODD_TEST(typed_views_fit_or_are_refused),
        ODD_TEST(a_file_cut_by_others_gives_errors_and_no_signal),
        ODD_TEST(stores_in_memory_are_read_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
