/* SPDX-License-Identifier: Apache-2.0
 *
 * test_os.c — what os.h promises, tried on this system: files, locks, names, rights, maps, memory, threads.
 *
 * Calls that the system hardly ever interrupts or shortens are replaced here (see "the system, misbehaving"), and whole
 * system calls are taken away in a child by a filter, so that the ways around them are walked too.
 */
#define _FILE_OFFSET_BITS 64
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#endif

#include "check.h"
#include "files.h"

enum { NOBODY = 65534, CLUB = 4242 /* a group that nobody is a member of besides their own */ };

static const sdi_os *os;
static test_folder folder;

static int make_folder(void **state) {
    (void)state;
    os = sdi_os_native();
    folder = test_folder_create();
    CHECK(chmod(folder.path, 0755) == 0);
    umask(022);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static sdi_file *open_as(const char *path, sdi_open_mode how) {
    sdi_file *file = NULL;
    CHECK_OK(os->open(os, path, how, 0666, &file));
    CHECK(file != NULL);
    return file;
}

static sdi_file *create(const char *name) {
    char path[TEST_PATH_MAX];
    return open_as(test_path(&folder, name, path), SDI_OPEN_CREATE);
}

static void check_open(simdrive_status expected, const char *path, sdi_open_mode how) {
    sdi_file *file = (sdi_file *)(void *)&file;
    CHECK_STATUS(expected, os->open(os, path, how, 0666, &file));
    CHECK(file == NULL);
}

static uint64_t size_of(sdi_file *file) {
    sdi_file_info info;
    CHECK_OK(os->info(os, file, &info));
    return info.size;
}

/* --- the system, misbehaving ----------------------------------------------------------------------------------- */

#if defined(__linux__) && defined(__LP64__)
#define CAN_MISBEHAVE 1

/* These take the place of the C library's for the whole program. */
static struct {
    bool on;
    unsigned calls;
    int sync_error; /* what fdatasync gives instead of syncing, once */
    unsigned sync_calls;
} misbehaviour;

/* Every other call is interrupted, the rest move at most seven bytes. */
static bool interrupted(size_t *size) {
    if (!misbehaviour.on) return false;
    if (misbehaviour.calls++ % 2 == 0) {
        errno = EINTR;
        return true;
    }
    if (*size > 7) *size = 7;
    return false;
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    return interrupted(&size) ? -1 : syscall(SYS_pread64, fd, buffer, size, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    return interrupted(&size) ? -1 : syscall(SYS_pwrite64, fd, buffer, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    if (!misbehaviour.on) return syscall(SYS_pwritev, fd, pieces, count, offset, 0);
    uint8_t first_bytes[7];
    size_t size = 0;
    for (int i = 0; i < count; i++)
        for (size_t at = 0; at < pieces[i].iov_len && size < sizeof first_bytes; at++)
            first_bytes[size++] = ((const uint8_t *)pieces[i].iov_base)[at];
    return pwrite(fd, first_bytes, size, offset);
}

int fdatasync(int fd) {
    misbehaviour.sync_calls++;
    if (misbehaviour.sync_error == 0) return (int)syscall(SYS_fdatasync, fd);
    errno = misbehaviour.sync_error;
    misbehaviour.sync_error = 0;
    return -1;
}

/* From now on the kernel answers `call` with `error`; with `argument` >= 0, only when its second argument is that.
 * False where it cannot be told so, as under an emulator. */
static bool take_away(long call, long argument, int error) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)argument, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JA, argument < 0 ? 0u : 1u, 0, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof *steps, .filter = steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
#endif

/* --- opening --------------------------------------------------------------------------------------------------- */

static void missing_files_and_folders_are_told(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    check_open(SIMDRIVE_ERROR_NO_SUCH_FILE, test_path(&folder, "none", path), SDI_OPEN_READ);
    CHECK(sdi_get_os_error() == ENOENT);
    check_open(SIMDRIVE_ERROR_NO_SUCH_FILE, path, SDI_OPEN_WRITE);
    CHECK(!test_file_exists(path));
    check_open(SIMDRIVE_ERROR_NO_SUCH_FILE, test_path(&folder, "none/file", path), SDI_OPEN_CREATE);
    test_file_put(test_path(&folder, "file", path), "x", 1);
    check_open(SIMDRIVE_ERROR_NO_SUCH_FILE, test_path(&folder, "file/in-it", path), SDI_OPEN_CREATE);
    CHECK(sdi_get_os_error() == ENOTDIR);
}

static void only_regular_files_are_opened(void **state) {
    (void)state;
    static const sdi_open_mode modes[] = {SDI_OPEN_READ, SDI_OPEN_WRITE, SDI_OPEN_CREATE};
    char fifo[TEST_PATH_MAX];
    sdi_file_info info;
    CHECK(mkfifo(test_path(&folder, "fifo", fifo), 0666) == 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        check_open(SIMDRIVE_ERROR_NOT_A_FILE, folder.path, modes[i]);
        check_open(SIMDRIVE_ERROR_NOT_A_FILE, fifo, modes[i]); /* and at once: nobody is at its other end */
        check_open(SIMDRIVE_ERROR_NOT_A_FILE, "/dev/null", modes[i]);
    }
    check_open(SIMDRIVE_ERROR_EXISTS, folder.path, SDI_OPEN_CREATE_NEW);
    CHECK_STATUS(SIMDRIVE_ERROR_NOT_A_FILE, os->path_info(os, folder.path, &info));
}

static void creating_keeps_what_is_there_and_creating_new_refuses_it(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    test_path(&folder, "store", path);
    os->close(os, open_as(path, SDI_OPEN_CREATE_NEW));
    CHECK_U64(0, test_file_size(path));
    test_file_put(path, "content", 7);
    check_open(SIMDRIVE_ERROR_EXISTS, path, SDI_OPEN_CREATE_NEW);
    os->close(os, open_as(path, SDI_OPEN_CREATE));
    CHECK(test_file_equals(path, "content", 7));
}

static void a_dangling_link_is_created_where_it_points(void **state) {
    (void)state;
    char link_path[TEST_PATH_MAX];
    char target[TEST_PATH_MAX];
    CHECK(symlink("target", test_path(&folder, "link", link_path)) == 0);
    os->close(os, open_as(link_path, SDI_OPEN_CREATE));
    CHECK_U64(0, test_file_size(test_path(&folder, "target", target)));
}

static void a_new_file_has_the_mode_less_the_umask(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    sdi_file *file = NULL;
    sdi_file_info info;
    umask(027);
    CHECK_OK(os->open(os, test_path(&folder, "file", path), SDI_OPEN_CREATE, 0666, &file));
    umask(022);
    CHECK_OK(os->info(os, file, &info));
    CHECK_U64(0640, info.mode);
    os->close(os, file);
}

static void open_with_standard_streams_closed(void *user) {
    (void)user;
    int lowest_free = dup(0);
    close(lowest_free);
    for (int fd = 0; fd <= 2; fd++) close(fd);
    sdi_file *file = create("file");
    for (int fd = 0; fd <= 2; fd++) CHECK(fcntl(fd, F_GETFD) == -1);
    CHECK(fcntl(lowest_free, F_GETFD) == FD_CLOEXEC);
    CHECK(!(fcntl(lowest_free, F_GETFL) & O_NONBLOCK));
    os->close(os, file);
    CHECK(fcntl(lowest_free, F_GETFD) == -1);
}

static void descriptors_are_close_on_exec_and_never_standard_ones(void **state) { /* O1 */
    (void)state;
    int next = dup(0);
    close(next);
    sdi_file *file = create("file");
    CHECK(fcntl(next, F_GETFD) == FD_CLOEXEC);
    os->close(os, file);
    CHECK(test_in_child(open_with_standard_streams_closed, NULL));
}

/* --- identity -------------------------------------------------------------------------------------------------- */

static bool same_id(sdi_file_id a, sdi_file_id b) {
    return a.device == b.device && a.number == b.number;
}

static void a_file_is_the_same_under_all_its_names(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    char other[TEST_PATH_MAX];
    sdi_file_info info;
    sdi_file_info seen;
    sdi_file *file = create("file");
    test_path(&folder, "file", path);
    CHECK_OK(os->write_at(os, file, 0, "12345", 5));
    CHECK(symlink("file", test_path(&folder, "symlink", other)) == 0);
    CHECK_OK(os->path_info(os, other, &seen));
    CHECK(link(path, test_path(&folder, "link", other)) == 0);
    CHECK_OK(os->info(os, file, &info));
    CHECK_U64(5, info.size);
    CHECK_U64(0644, info.mode);
    CHECK_U64(2, info.link_count);
    CHECK(same_id(info.id, seen.id));
    CHECK_OK(os->path_info(os, other, &seen));
    CHECK(same_id(info.id, seen.id));

    sdi_file *stranger = create("stranger");
    CHECK_OK(os->info(os, stranger, &seen));
    CHECK(!same_id(info.id, seen.id));
    os->close(os, stranger);

    CHECK_OK(os->unlink(os, path));
    CHECK_OK(os->unlink(os, other));
    CHECK_OK(os->info(os, file, &info));
    CHECK_U64(0, info.link_count);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->path_info(os, path, &seen));
    os->close(os, file);
}

/* --- locks (O4) ------------------------------------------------------------------------------------------------ */

static void lock_is_held_elsewhere(void *path) {
    sdi_file *file = open_as(path, SDI_OPEN_WRITE);
    CHECK_STATUS(SIMDRIVE_ERROR_LOCKED, os->lock(os, file));
    CHECK(sdi_get_os_error() != 0);
    os->close(os, file);
}

static void check_lock(void *user) {
    (void)user;
    char path[TEST_PATH_MAX];
    sdi_file *first = create("file");
    test_path(&folder, "file", path);
    CHECK_OK(os->lock(os, first));
    lock_is_held_elsewhere(path);
    lock_is_held_elsewhere(path); /* the close in the line before did not drop it */
    os->close(os, open_as(path, SDI_OPEN_READ));
    lock_is_held_elsewhere(path);
    os->close(os, first);
    sdi_file *second = open_as(path, SDI_OPEN_WRITE);
    CHECK_OK(os->lock(os, second));
    os->close(os, second);
}

static void a_lock_excludes_a_second_open_in_this_process(void **state) {
    (void)state;
    check_lock(NULL);
}

static void a_lock_excludes_other_processes(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    sdi_file *file = create("file");
    CHECK_OK(os->lock(os, file));
    CHECK(test_in_child(lock_is_held_elsewhere, test_path(&folder, "file", path)));
    os->close(os, file);
}

static void a_lock_dies_with_its_process(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    char byte;
    int locked[2];
    os->close(os, create("file"));
    test_path(&folder, "file", path);
    CHECK(pipe(locked) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        CHECK_OK(os->lock(os, open_as(path, SDI_OPEN_WRITE)));
        CHECK(write(locked[1], "", 1) == 1);
        for (;;) pause();
    }
    CHECK(read(locked[0], &byte, 1) == 1);
    lock_is_held_elsewhere(path);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    sdi_file *file = open_as(path, SDI_OPEN_WRITE);
    CHECK_OK(os->lock(os, file));
    os->close(os, file);
    close(locked[0]);
    close(locked[1]);
}

/* Data is never said to be a hole; a hole may be said to be data. */
static void data_is_found_behind_holes(void **state) {
    (void)state;
    enum { FAR = 1 << 20, STEP = 1 << 16 };
    uint64_t start = 99, end = 99;
    sdi_file *file = create("sparse");
    CHECK_OK(os->next_data(os, file, 0, &start, &end));
    CHECK(start == 0 && end == 0);
    CHECK_OK(os->write_at(os, file, FAR, "data", 4));
    CHECK_OK(os->truncate(os, file, 3 * FAR));
    for (uint64_t offset = 0; offset < 4 * (uint64_t)FAR; offset += STEP) {
        CHECK_OK(os->next_data(os, file, offset, &start, &end));
        CHECK(end <= 3 * (uint64_t)FAR || offset >= 3 * (uint64_t)FAR);
        if (offset >= 3 * (uint64_t)FAR) CHECK(start == 3 * (uint64_t)FAR && end == start);
        if (offset <= FAR) CHECK(start <= FAR && end >= FAR + 4 && start >= offset);
        if (offset > FAR && offset < 3 * (uint64_t)FAR) CHECK(start >= offset && start <= end);
    }
    CHECK_OK(os->next_data(os, file, UINT64_MAX, &start, &end));
    CHECK(start == 3 * (uint64_t)FAR && end == start);
    os->close(os, file);
}

#if defined(CAN_MISBEHAVE)
static void lock_without_open_file_locks(void *user) {
    if (take_away(SYS_fcntl, F_OFD_SETLK, EINVAL)) check_lock(user);
}

static void locks_work_where_open_file_locks_are_unknown(void **state) {
    (void)state;
    CHECK(test_in_child(lock_without_open_file_locks, NULL));
}
#endif

/* --- reading and writing (O2, O3) ------------------------------------------------------------------------------ */

static void bytes_go_where_they_were_sent(void **state) {
    (void)state;
    enum { SPACE = 20000, ROUNDS = 300 };
    test_random random = test_random_begin(1);
    uint8_t *model = calloc(1, SPACE);
    uint8_t *seen = test_alloc(SPACE);
    uint8_t *bytes = test_alloc(SPACE);
    size_t end = 0;
    sdi_file *file = create("file");
    for (int round = 0; round < ROUNDS; round++) {
        size_t at = (size_t)test_random_below(&random, SPACE);
        size_t size = (size_t)test_random_below(&random, SPACE - at + 1);
        test_random_fill(&random, bytes, size);
        CHECK_OK(os->write_at(os, file, at, bytes, size));
        memcpy(model + at, bytes, size);
        if (size > 0 && at + size > end) end = at + size;
        CHECK_U64(end, size_of(file));
        CHECK_OK(os->read_at(os, file, 0, seen, end));
        CHECK(memcmp(model, seen, end) == 0);
    }
    os->close(os, file);
    free(bytes);
    free(seen);
    free(model);
}

static void reading_past_the_end_fails_with_no_system_error(void **state) {
    (void)state;
    char buffer[8];
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, 0, "12345", 5));
    CHECK_OK(os->read_at(os, file, 0, buffer, 5));
    CHECK_OK(os->read_at(os, file, 5, buffer, 0));
    sdi_set_os_error(EIO);
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->read_at(os, file, 0, buffer, 6));
    CHECK_U64(0, sdi_get_os_error());
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->read_at(os, file, 5, buffer, 1));
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->read_at(os, file, UINT64_MAX, buffer, 1));
    CHECK_U64(0, sdi_get_os_error());
    os->close(os, file);
}

static void offsets_have_64_bits(void **state) {
    (void)state;
    const uint64_t far = (UINT64_C(1) << 33) + 5;
    char buffer[4] = "";
    simdrive_bytes pieces[] = {{"uv", 2}, {"wx", 2}};
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, far, "abcd", 4));
    CHECK_U64(far + 4, size_of(file));
    CHECK_OK(os->read_at(os, file, far, buffer, 4));
    CHECK(memcmp(buffer, "abcd", 4) == 0);
    CHECK_OK(os->write_pieces_at(os, file, far - 4, pieces, 2));
    CHECK_OK(os->read_at(os, file, far - 4, buffer, 4));
    CHECK(memcmp(buffer, "uvwx", 4) == 0);

    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, file, INT64_MAX, "ab", 2));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, file, UINT64_MAX, "ab", 2));
    simdrive_bytes beyond[] = {{"a", 1}, {"b", 1}};
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_pieces_at(os, file, INT64_MAX - 1, beyond, 2));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->truncate(os, file, UINT64_MAX));
    CHECK_U64(far + 4, size_of(file));
    os->close(os, file);
}

/* Many pieces, some of them empty, written as one; the file then holds them one behind the other. */
static void check_gather(size_t count, size_t largest, unsigned empty_of_ten) {
    enum { START = 3 };
    test_random random = test_random_begin(2 + count);
    simdrive_bytes *pieces = test_alloc(count * sizeof *pieces);
    uint8_t *bytes = test_alloc(count * largest);
    size_t total = 0;
    test_random_fill(&random, bytes, count * largest);
    for (size_t i = 0; i < count; i++) {
        bool empty = test_random_below(&random, 10) < empty_of_ten;
        pieces[i].size = empty ? 0 : 1 + (size_t)test_random_below(&random, largest);
        pieces[i].data = pieces[i].size > 0 ? bytes + total : NULL;
        total += pieces[i].size;
    }
    sdi_file *file = create("gathered");
    CHECK_OK(os->write_pieces_at(os, file, START, pieces, count));
    uint8_t *seen = test_alloc(total);
    if (total > 0) CHECK_U64(START + total, size_of(file));
    CHECK_OK(os->read_at(os, file, START, seen, total));
    CHECK(memcmp(bytes, seen, total) == 0);
    CHECK_OK(os->truncate(os, file, 0));
    os->close(os, file);
    free(seen);
    free(bytes);
    free(pieces);
}

static void check_gather_of_one_byte_among_empty_pieces(size_t before, size_t behind) {
    size_t count = before + 1 + behind;
    simdrive_bytes *pieces = calloc(count, sizeof *pieces);
    char seen = 0;
    pieces[before] = (simdrive_bytes){"x", 1};
    sdi_file *file = create("file");
    CHECK_OK(os->write_pieces_at(os, file, 0, pieces, count));
    CHECK_OK(os->read_at(os, file, 0, &seen, 1));
    CHECK(seen == 'x');
    os->close(os, file);
    free(pieces);
}

static void pieces_are_gathered_however_many_and_empty(void **state) {
    (void)state;
    check_gather_of_one_byte_among_empty_pieces(1, 0);
    check_gather_of_one_byte_among_empty_pieces(3000, 3000);
    check_gather(0, 1, 0);
    check_gather(1, 100, 0);
    check_gather(5, 100, 10);
    check_gather(1023, 10, 0);
    check_gather(1024, 10, 0);
    check_gather(1025, 10, 0);
    check_gather(5000, 50, 3);
    check_gather(5000, 50, 9);
}

#if defined(CAN_MISBEHAVE)
static void interrupted_and_short_transfers_are_completed(void **state) {
    (void)state;
    uint8_t bytes[100];
    uint8_t seen[100];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i + 1);
    misbehaviour.on = true;
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, 9, bytes, sizeof bytes));
    CHECK_OK(os->read_at(os, file, 9, seen, sizeof seen));
    CHECK(memcmp(bytes, seen, sizeof seen) == 0);
    os->close(os, file);
    check_gather(1, 100, 0);
    check_gather(300, 20, 3);
    check_gather(300, 3, 3);
    check_gather(3000, 2, 0);
    misbehaviour.on = false;
}

static void a_failed_sync_is_not_repeated(void **state) { /* O5 */
    (void)state;
    sdi_file *file = create("file");
    misbehaviour.sync_calls = 0;
    misbehaviour.sync_error = EIO;
    CHECK_STATUS(SIMDRIVE_ERROR_IO, os->sync(os, file));
    CHECK_U64(EIO, sdi_get_os_error());
    CHECK_U64(1, misbehaviour.sync_calls);
    misbehaviour.sync_error = EINTR;
    CHECK_OK(os->sync(os, file));
    CHECK_U64(3, misbehaviour.sync_calls);
    os->close(os, file);
}
#endif

static void truncating_cuts_and_extends_with_zeros(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, 0, "12345", 5));
    CHECK_OK(os->truncate(os, file, 2));
    CHECK_OK(os->truncate(os, file, 4));
    os->begin_write_back(os, file, 1, 100); /* a hint: also of bytes that are not there */
    CHECK_OK(os->sync(os, file));
    CHECK(test_file_equals(test_path(&folder, "file", path), "12\0\0", 4));
    os->close(os, file);
}

static void set_size_limit(rlim_t size) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* SIGXFSZ has its default action here, which is death. */
static void write_up_to_the_limit(void *user) {
    (void)user;
    enum { LIMIT = 4096 };
    simdrive_bytes pieces[] = {{"1", 1}, {"2", 1}};
    uint64_t copied;
    sdi_file *large = create("large");
    CHECK_OK(os->truncate(os, large, 2 * LIMIT));
    os->close(os, large);
    set_size_limit(LIMIT);
    large = create("large");
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, LIMIT - 1, "x", 1));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_at(os, file, LIMIT, "x", 1));
    CHECK_U64(EFBIG, sdi_get_os_error());
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->write_pieces_at(os, file, LIMIT - 1, pieces, 2));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SPACE, os->truncate(os, file, LIMIT + 1));
    CHECK(os->copy_range(os, large, 0, file, LIMIT, 1, &copied) != SIMDRIVE_OK);
    CHECK_U64(LIMIT, size_of(file));
    CHECK_OK(os->write_at(os, file, UINT64_MAX / 4, "x", 0));
    CHECK_OK(os->truncate(os, large, 2 * LIMIT - 1)); /* past the limit, but not growing */
    set_size_limit(2 * LIMIT);
    CHECK_OK(os->write_at(os, file, LIMIT, "x", 1));
    os->close(os, file);
    os->close(os, large);
}

static void the_file_size_limit_is_an_error_and_not_a_signal(void **state) {
    (void)state;
    CHECK(test_in_child(write_up_to_the_limit, NULL));
}

static void ranges_are_copied_by_the_system_or_refused(void **state) {
    (void)state;
    uint64_t copied = 99;
    char seen[8];
    sdi_file *from = create("from");
    sdi_file *to = create("to");
    CHECK_OK(os->write_at(os, from, 0, "0123456789", 10));
    CHECK_OK(os->write_at(os, to, 0, "abcdefgh", 8));
    simdrive_status status = os->copy_range(os, from, 5, to, 2, 4, &copied);
    if (status == SIMDRIVE_OK) {
        CHECK(copied > 0 && copied <= 4);
        CHECK_OK(os->read_at(os, to, 0, seen, 8));
        CHECK(memcmp(seen, "ab", 2) == 0);
        CHECK(memcmp(seen + 2, "5678", (size_t)copied) == 0);
        CHECK(memcmp(seen + 6, "gh", 2) == 0);
        CHECK_OK(os->copy_range(os, from, 8, to, 8, 100, &copied));
        CHECK_U64(2, copied);
    }
    CHECK_STATUS(SIMDRIVE_ERROR_UNSUPPORTED, os->copy_range(os, from, 10, to, 8, 4, &copied));
    CHECK_U64(0, copied);
    os->close(os, to);
    os->close(os, from);
}

#if defined(CAN_MISBEHAVE)
static void copy_range_is_unknown(void *user) {
    static const int reasons[] = {ENOSYS, EXDEV, EINVAL, EOPNOTSUPP};
    uint64_t copied;
    sdi_file *from = create("from");
    sdi_file *to = create("to");
    CHECK_OK(os->write_at(os, from, 0, "0123456789", 10));
    if (take_away(SYS_copy_file_range, -1, reasons[*(int *)user]))
        CHECK_STATUS(SIMDRIVE_ERROR_UNSUPPORTED, os->copy_range(os, from, 0, to, 0, 4, &copied));
    CHECK_U64(0, size_of(to));
    os->close(os, to);
    os->close(os, from);
}

static void a_system_that_cannot_copy_says_so(void **state) {
    (void)state;
    for (int reason = 0; reason < 4; reason++) CHECK(test_in_child(copy_range_is_unknown, &reason));
}
#endif

/* --- names ----------------------------------------------------------------------------------------------------- */

static void resolving_follows_links_to_the_real_name(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    char *real = NULL;
    char *seen = NULL;
    os->close(os, create("file"));
    CHECK(symlink("file", test_path(&folder, "one", path)) == 0);
    CHECK(symlink("one", test_path(&folder, "two", path)) == 0);
    CHECK_OK(os->resolve(os, path, &seen));
    real = realpath(folder.path, NULL);
    CHECK(real != NULL);
    CHECK(strncmp(seen, real, strlen(real)) == 0);
    CHECK(strcmp(seen + strlen(real), "/file") == 0);
    free(real);
    free(seen);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->resolve(os, test_path(&folder, "none", path), &seen));
    CHECK(seen == NULL);
}

static void renaming_replaces(void **state) {
    (void)state;
    char from[TEST_PATH_MAX];
    char to[TEST_PATH_MAX];
    test_file_put(test_path(&folder, "from", from), "new", 3);
    test_file_put(test_path(&folder, "to", to), "old", 3);
    CHECK_OK(os->rename(os, from, to));
    CHECK(!test_file_exists(from));
    CHECK(test_file_equals(to, "new", 3));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->rename(os, from, to));
    CHECK(test_file_equals(to, "new", 3));
}

static void check_rename_new(void *user) {
    (void)user;
    char from[TEST_PATH_MAX];
    char to[TEST_PATH_MAX];
    char free_name[TEST_PATH_MAX];
    test_file_put(test_path(&folder, "from", from), "new", 3);
    test_file_put(test_path(&folder, "to", to), "old", 3);
    test_path(&folder, "free", free_name);
    CHECK_STATUS(SIMDRIVE_ERROR_EXISTS, os->rename_new(os, from, to));
    CHECK(test_file_equals(from, "new", 3));
    CHECK(test_file_equals(to, "old", 3));
    CHECK_OK(os->rename_new(os, from, free_name));
    CHECK(!test_file_exists(from));
    CHECK(test_file_equals(free_name, "new", 3));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->rename_new(os, from, free_name));
}

static void renaming_to_a_new_name_never_replaces(void **state) {
    (void)state;
    check_rename_new(NULL);
}

#if defined(CAN_MISBEHAVE)
static void rename_new_without_system_help(void *user) {
    if (take_away(SYS_renameat2, -1, ENOSYS)) check_rename_new(user);
}

static void renaming_to_a_new_name_works_on_older_systems(void **state) {
    (void)state;
    CHECK(test_in_child(rename_new_without_system_help, NULL));
}
#endif

static void removing_what_is_not_there_is_told(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    os->close(os, create("file"));
    CHECK_OK(os->unlink(os, test_path(&folder, "file", path)));
    CHECK(!test_file_exists(path));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->unlink(os, path));
}

static void folders_are_synced_by_the_name_of_a_file_in_them(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    CHECK_OK(os->sync_folder_of(os, test_path(&folder, "whatever", path)));
    CHECK_OK(os->sync_folder_of(os, "/whatever"));
    CHECK_OK(os->sync_folder_of(os, "whatever"));
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE, os->sync_folder_of(os, test_path(&folder, "none/file", path)));
}

typedef struct listing {
    unsigned calls;
    unsigned wanted;
    bool stop;
} listing;

static bool count_name(void *user, const char *name) {
    listing *seen = user;
    seen->calls++;
    if (strcmp(name, "one") == 0 || strcmp(name, "two") == 0) seen->wanted++;
    return !seen->stop;
}

static void folders_are_listed_until_the_visitor_has_enough(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    listing all = {0};
    listing first = {.stop = true};
    os->close(os, create("one"));
    os->close(os, create("two"));
    CHECK_OK(os->list_folder_of(os, test_path(&folder, "none", path), count_name, &all));
    CHECK_U64(2, all.calls);
    CHECK_U64(2, all.wanted);
    CHECK_OK(os->list_folder_of(os, path, count_name, &first));
    CHECK_U64(1, first.calls);
    CHECK_STATUS(SIMDRIVE_ERROR_NO_SUCH_FILE,
                 os->list_folder_of(os, test_path(&folder, "none/file", path), count_name, &all));
}

/* --- rights ---------------------------------------------------------------------------------------------------- */

/* Tests that need root to become somebody else, or to stay what they are not. */
static void need_root(void) {
    if (geteuid() == 0) return;
    print_message("needs root\n");
    skip();
}

static void become_nobody(void) {
    const gid_t club = CLUB;
    CHECK(setgroups(1, &club) == 0);
    CHECK(setgid(NOBODY) == 0);
    CHECK(setuid(NOBODY) == 0);
}

static void open_without_rights(void *user) {
    (void)user;
    char path[TEST_PATH_MAX];
    if (geteuid() == 0) become_nobody();
    check_open(SIMDRIVE_ERROR_PERMISSION, test_path(&folder, "closed", path), SDI_OPEN_READ);
    CHECK_U64(EACCES, sdi_get_os_error());
    check_open(SIMDRIVE_ERROR_PERMISSION, test_path(&folder, "readable", path), SDI_OPEN_WRITE);
    os->close(os, open_as(path, SDI_OPEN_READ));
    check_open(SIMDRIVE_ERROR_PERMISSION, test_path(&folder, "new", path), SDI_OPEN_CREATE);
}

static void lack_of_rights_is_told(void **state) {
    (void)state;
    char path[TEST_PATH_MAX];
    test_file_put(test_path(&folder, "closed", path), "x", 1);
    CHECK(chmod(path, 0) == 0);
    test_file_put(test_path(&folder, "readable", path), "x", 1);
    CHECK(chmod(path, 0444) == 0);
    CHECK(chmod(folder.path, 0555) == 0);
    CHECK(test_in_child(open_without_rights, NULL));
    CHECK(chmod(folder.path, 0755) == 0);
}

static struct stat attributes_of(const char *name) {
    char path[TEST_PATH_MAX];
    struct stat found;
    CHECK(stat(test_path(&folder, name, path), &found) == 0);
    return found;
}

static void set_attributes(const char *name, uid_t user, gid_t group, mode_t mode) {
    char path[TEST_PATH_MAX];
    CHECK(chown(test_path(&folder, name, path), user, group) == 0);
    CHECK(chmod(path, mode) == 0);
}

static void permission_bits_are_copied(void **state) {
    (void)state;
    static const mode_t modes[] = {0600, 0640, 0664, 0444, 0604, 0755};
    sdi_file *from = create("from");
    sdi_file *to = create("to");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        set_attributes("from", (uid_t)-1, (gid_t)-1, modes[i]);
        CHECK_OK(os->copy_attributes(os, from, to));
        CHECK_U64(modes[i], attributes_of("to").st_mode & 07777);
    }
    os->close(os, to);
    os->close(os, from);
}

static void owner_and_group_are_copied_where_allowed(void **state) {
    (void)state;
    need_root();
    sdi_file *from = create("from");
    sdi_file *to = create("to");
    set_attributes("from", NOBODY, 12345, 0640);
    CHECK_OK(os->copy_attributes(os, from, to));
    CHECK_U64(NOBODY, attributes_of("to").st_uid);
    CHECK_U64(12345, attributes_of("to").st_gid);
    CHECK_U64(0640, attributes_of("to").st_mode & 07777);
    os->close(os, to);
    os->close(os, from);
}

typedef struct rights_case {
    uid_t owner;
    gid_t group;
    mode_t mode;
    mode_t expected; /* of a copy that nobody makes, in nobody's group */
} rights_case;

static const rights_case rights_cases[] = {
    {NOBODY, NOBODY, 0660, 0660},
    {NOBODY, NOBODY, 0604, 0604},
    {NOBODY, 0, 0660, 0600},      /* nobody's group was among the others */
    {NOBODY, 0, 0664, 0644},
    {NOBODY, 0, 0604, 0600},      /* the old group was shut out, and is among the others now */
    {0, NOBODY, 0660, 0660},
    {0, CLUB, 0660, 0660},        /* whoever may give the file that group does so */
    {0, NOBODY, 0466, 0444},      /* the old owner may not write, and is of the group or the others now */
    {0, 0, 0664, 0644},
    {0, 0, 0644, 0644},
    {0, 0, 0077, 0000},
};

static void copy_as_nobody(void *user) {
    const rights_case *given = user;
    sdi_file *from = create("from");
    char path[TEST_PATH_MAX];
    become_nobody();
    sdi_file *to = NULL;
    CHECK_OK(os->open(os, test_path(&folder, "mine/to", path), SDI_OPEN_CREATE_NEW, 0600, &to));
    CHECK_OK(os->copy_attributes(os, from, to));
    sdi_file_info info;
    CHECK_OK(os->info(os, to, &info));
    CHECK_U64(given->expected, info.mode);
    CHECK_OK(os->unlink(os, path));
    os->close(os, to);
    os->close(os, from);
}

static void make_folder_of_nobody(void) {
    char mine[TEST_PATH_MAX];
    CHECK(mkdir(test_path(&folder, "mine", mine), 0755) == 0);
    CHECK(chown(mine, NOBODY, NOBODY) == 0);
}

static void nobody_gains_rights_where_owner_or_group_are_lost(void **state) {
    (void)state;
    need_root();
    make_folder_of_nobody();
    os->close(os, create("from"));
    for (size_t i = 0; i < sizeof rights_cases / sizeof *rights_cases; i++) {
        rights_case given = rights_cases[i];
        test_context("mode %o of %u:%u", (unsigned)given.mode, (unsigned)given.owner, (unsigned)given.group);
        set_attributes("from", given.owner, given.group, given.mode);
        CHECK(test_in_child(copy_as_nobody, &given));
    }
}

#if defined(__linux__)
/* user::rw- user:1234:rw- group::--- mask::rw- other::--- : the mode says 0660, though the group may do nothing. */
static const uint8_t access_list[] = {
    2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 6, 0, 0xd2, 4, 0, 0, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    0x10, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
};

static void set_access_list(const char *name, const char *which) {
    char path[TEST_PATH_MAX];
    if (setxattr(test_path(&folder, name, path), which, access_list, sizeof access_list, 0) == 0) return;
    print_message("no access lists on this file system\n");
    skip();
}

static bool has_access_list(const char *name) {
    char path[TEST_PATH_MAX];
    return getxattr(test_path(&folder, name, path), "system.posix_acl_access", NULL, 0) > 0;
}

static void access_lists_are_copied(void **state) {
    (void)state;
    uint8_t seen[sizeof access_list];
    char path[TEST_PATH_MAX];
    sdi_file *from = create("from");
    sdi_file *to = create("to");
    set_access_list("from", "system.posix_acl_access");
    CHECK_OK(os->copy_attributes(os, from, to));
    CHECK(getxattr(test_path(&folder, "to", path), "system.posix_acl_access", seen, sizeof seen) == sizeof seen);
    CHECK(memcmp(seen, access_list, sizeof seen) == 0);
    CHECK_U64(0660, attributes_of("to").st_mode & 07777);
    os->close(os, to);
    os->close(os, from);
}

static void access_lists_of_the_folder_are_not_left_on_a_copy(void **state) {
    (void)state;
    sdi_file *from = create("from");
    set_attributes("from", (uid_t)-1, (gid_t)-1, 0660);
    set_access_list(".", "system.posix_acl_default");
    sdi_file *to = create("to");
    CHECK(has_access_list("to"));
    CHECK_OK(os->copy_attributes(os, from, to));
    CHECK(!has_access_list("to"));
    CHECK_U64(0660, attributes_of("to").st_mode & 07777);
    os->close(os, to);
    os->close(os, from);
}

static void access_lists_that_cannot_be_copied_leave_the_owner_alone(void **state) {
    (void)state;
    need_root();
    make_folder_of_nobody();
    os->close(os, create("from"));
    set_attributes("from", 0, NOBODY, 0600);
    set_access_list("from", "system.posix_acl_access");
    rights_case given = {.expected = 0600};
    CHECK(test_in_child(copy_as_nobody, &given));
}
#endif

/* --- maps (O6) ------------------------------------------------------------------------------------------------- */

static void a_map_larger_than_the_file_shows_it_growing(void **state) {
    (void)state;
    enum { STEP = 100000 };
    const uint64_t reserved = UINT64_C(1) << 30;
    uint8_t bytes[STEP];
    char path[TEST_PATH_MAX];
    const uint8_t *base = NULL;
    sdi_file *file = create("file");
    CHECK_OK(os->write_at(os, file, 0, "begin", 5));
    CHECK_OK(os->map(os, file, reserved, &base));
    CHECK(memcmp(base, "begin", 5) == 0);
    for (int i = 0; i < 20; i++) {
        memset(bytes, 'a' + i, STEP);
        CHECK_OK(os->write_at(os, file, (uint64_t)i * STEP, bytes, STEP));
        CHECK(memcmp(base + (size_t)i * STEP, bytes, STEP) == 0);
    }
    for (int advice = SDI_ADVICE_SEQUENTIAL; advice <= SDI_ADVICE_DONT_NEED; advice++)
        os->advise(os, base + 5, (uint64_t)20 * STEP - 5, (sdi_advice)advice);
    CHECK(base[0] == 'a' && base[20 * STEP - 1] == 'a' + 19);
    os->close(os, file);
    CHECK_OK(os->unlink(os, test_path(&folder, "file", path)));
    CHECK(base[0] == 'a' && base[20 * STEP - 1] == 'a' + 19); /* the map outlives handle and name */
    os->unmap(os, base, reserved);
}

static void a_map_that_finds_no_addresses_is_refused(void **state) {
    (void)state;
    const uint8_t *base = (const uint8_t *)"";
    sdi_file *file = create("file");
    CHECK_STATUS(SIMDRIVE_ERROR_NO_MEMORY, os->map(os, file, UINT64_C(1) << 60, &base));
    CHECK(base == NULL);
    os->close(os, file);
}

/* --- memory ---------------------------------------------------------------------------------------------------- */

static bool all_are(const uint8_t *bytes, size_t size, uint8_t value) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value) return false;
    return true;
}

static void pages_are_zero_and_large_ones_aligned(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4096, 100001, 2 << 20, (2 << 20) + 1, 7 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *pages = sdi_pages_acquire(sizes[i]);
        CHECK(pages != NULL);
        CHECK_U64(0, (uintptr_t)pages % (sizes[i] >= 2 << 20 ? 2 << 20 : 4096));
        CHECK(all_are(pages, sizes[i], 0));
        memset(pages, 1, sizes[i]);
        sdi_pages_release(pages, sizes[i]);
    }
    CHECK(sdi_pages_acquire(0) == NULL);
    CHECK(sdi_pages_acquire(SIZE_MAX) == NULL);
    CHECK(sdi_pages_acquire(SIZE_MAX / 2) == NULL);
    CHECK_U64(ENOMEM, sdi_get_os_error());
    sdi_pages_release(NULL, 4096);
}

static void discarded_pages_read_as_zero(void **state) {
    (void)state;
    enum { SIZE = 6 << 20 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages = sdi_pages_acquire(SIZE);
    CHECK(pages != NULL);
    memset(pages, 7, SIZE);
    sdi_pages_discard(pages + 1, SIZE / 2); /* neither the page it begins in nor the one it ends in */
    CHECK(all_are(pages, page, 7));
    CHECK(all_are(pages + SIZE / 2, SIZE / 2, 7));
#if defined(__linux__)
    CHECK(all_are(pages + page, SIZE / 2 - page, 0));
#endif
    pages[page] = 9;
    CHECK(pages[page] == 9);
    sdi_pages_discard(pages, 0);
    sdi_pages_discard(pages, 100);
    CHECK(all_are(pages, page, 7));
    sdi_pages_release(pages, SIZE);
}

/* --- threads --------------------------------------------------------------------------------------------------- */

enum { CROWD = 100 };

/* Threads that all take their numbers, and live until all have. */
typedef struct crowd {
    sdi_mutex mutex;
    sdi_condition arrived;
    unsigned present;
    unsigned numbers[CROWD];
    uint64_t ids[CROWD];
} crowd;

static void join_crowd(void *user) {
    crowd *all = user;
    unsigned number = sdi_thread_number();
    uint64_t id = sdi_thread_id();
    CHECK_U64(0, sdi_get_os_error());
    sdi_mutex_lock(&all->mutex);
    sdi_set_os_error((int)all->present + 1);
    all->numbers[all->present] = number;
    all->ids[all->present++] = id;
    int own_error = (int)all->present;
    sdi_condition_wake_all(&all->arrived);
    while (all->present < CROWD) sdi_condition_wait(&all->arrived, &all->mutex);
    sdi_mutex_unlock(&all->mutex);
    CHECK(number == sdi_thread_number());
    CHECK(id == sdi_thread_id());
    CHECK_U64(own_error, sdi_get_os_error());
}

static void check_distinct(const crowd *all) {
    for (int i = 0; i < CROWD; i++) {
        CHECK(all->numbers[i] != sdi_thread_number());
        CHECK(all->ids[i] != sdi_thread_id() && all->ids[i] != 0);
        for (int j = 0; j < i; j++) {
            CHECK(all->numbers[i] != all->numbers[j]);
            CHECK(all->ids[i] != all->ids[j]);
        }
    }
}

static void live_threads_never_share_a_number_and_numbers_stay_small(void **state) {
    (void)state;
    unsigned own = sdi_thread_number();
    CHECK(own == sdi_thread_number());
    for (int round = 0; round < 3; round++) {
        crowd all = {0};
        sdi_thread threads[CROWD];
        CHECK_OK(sdi_mutex_init(&all.mutex));
        CHECK_OK(sdi_condition_init(&all.arrived));
        for (int i = 0; i < CROWD; i++) CHECK_OK(sdi_thread_start(&threads[i], join_crowd, &all));
        for (int i = 0; i < CROWD; i++) sdi_thread_join(&threads[i]);
        check_distinct(&all);
        for (int i = 0; i < CROWD; i++) CHECK(all.numbers[i] <= CROWD);
        sdi_condition_destroy(&all.arrived);
        sdi_mutex_destroy(&all.mutex);
    }
}

static void waiting_ends_with_the_time(void **state) {
    (void)state;
    sdi_mutex mutex;
    sdi_condition never;
    CHECK_OK(sdi_mutex_init(&mutex));
    CHECK_OK(sdi_condition_init(&never));
    sdi_mutex_lock(&mutex);
    uint64_t before = sdi_monotonic_ns();
    while (sdi_condition_wait_ms(&never, &mutex, 3)) {} /* a condition may wake for nothing */
    CHECK(sdi_monotonic_ns() - before >= 3000000);
    while (sdi_condition_wait_ms(&never, &mutex, 0)) {}
    sdi_mutex_unlock(&mutex);
    sdi_condition_destroy(&never);
    sdi_mutex_destroy(&mutex);
}

typedef struct handover {
    sdi_mutex mutex;
    sdi_condition changed;
    bool done;
    bool signals_blocked;
} handover;

static void hand_over(void *user) {
    handover *shared = user;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    sdi_mutex_lock(&shared->mutex);
    shared->signals_blocked = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGALRM) &&
                              !sigismember(&blocked, SIGBUS) && !sigismember(&blocked, SIGSEGV);
    shared->done = true;
    sdi_condition_wake_all(&shared->changed);
    sdi_mutex_unlock(&shared->mutex);
}

static void waiting_ends_with_a_wake(void **state) {
    (void)state;
    handover shared = {.done = false};
    sdi_thread thread;
    sigset_t own;
    bool in_time = true;
    CHECK_OK(sdi_mutex_init(&shared.mutex));
    CHECK_OK(sdi_condition_init(&shared.changed));
    sdi_mutex_lock(&shared.mutex);
    CHECK_OK(sdi_thread_start(&thread, hand_over, &shared));
    while (!shared.done && in_time) in_time = sdi_condition_wait_ms(&shared.changed, &shared.mutex, UINT32_MAX);
    CHECK(shared.done && in_time);
    CHECK(shared.signals_blocked);
    sdi_mutex_unlock(&shared.mutex);
    sdi_thread_join(&thread);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    CHECK(!sigismember(&own, SIGTERM));
    sdi_condition_destroy(&shared.changed);
    sdi_mutex_destroy(&shared.mutex);
}

static void unique_numbers_differ(void **state) {
    (void)state;
    enum { COUNT = 500 };
    uint64_t seen[COUNT];
    for (int i = 0; i < COUNT; i++) {
        seen[i] = sdi_unique_number();
        for (int j = 0; j < i; j++) CHECK(seen[i] != seen[j]);
    }
    CHECK(sdi_processor_count() >= 1);
}

#define ON_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_FOLDER(missing_files_and_folders_are_told),
        ON_FOLDER(only_regular_files_are_opened),
        ON_FOLDER(creating_keeps_what_is_there_and_creating_new_refuses_it),
        ON_FOLDER(a_dangling_link_is_created_where_it_points),
        ON_FOLDER(a_new_file_has_the_mode_less_the_umask),
        ON_FOLDER(descriptors_are_close_on_exec_and_never_standard_ones),
        ON_FOLDER(a_file_is_the_same_under_all_its_names),
        ON_FOLDER(a_lock_excludes_a_second_open_in_this_process),
        ON_FOLDER(a_lock_excludes_other_processes),
        ON_FOLDER(a_lock_dies_with_its_process),
        ON_FOLDER(bytes_go_where_they_were_sent),
        ON_FOLDER(reading_past_the_end_fails_with_no_system_error),
        ON_FOLDER(offsets_have_64_bits),
        ON_FOLDER(pieces_are_gathered_however_many_and_empty),
        ON_FOLDER(truncating_cuts_and_extends_with_zeros),
        ON_FOLDER(the_file_size_limit_is_an_error_and_not_a_signal),
        ON_FOLDER(data_is_found_behind_holes),
        ON_FOLDER(ranges_are_copied_by_the_system_or_refused),
        ON_FOLDER(resolving_follows_links_to_the_real_name),
        ON_FOLDER(renaming_replaces),
        ON_FOLDER(renaming_to_a_new_name_never_replaces),
        ON_FOLDER(removing_what_is_not_there_is_told),
        ON_FOLDER(folders_are_synced_by_the_name_of_a_file_in_them),
        ON_FOLDER(folders_are_listed_until_the_visitor_has_enough),
        ON_FOLDER(lack_of_rights_is_told),
        ON_FOLDER(permission_bits_are_copied),
        ON_FOLDER(owner_and_group_are_copied_where_allowed),
        ON_FOLDER(nobody_gains_rights_where_owner_or_group_are_lost),
        ON_FOLDER(a_map_larger_than_the_file_shows_it_growing),
        ON_FOLDER(a_map_that_finds_no_addresses_is_refused),
        cmocka_unit_test(pages_are_zero_and_large_ones_aligned),
        cmocka_unit_test(discarded_pages_read_as_zero),
        cmocka_unit_test(live_threads_never_share_a_number_and_numbers_stay_small),
        cmocka_unit_test(waiting_ends_with_the_time),
        cmocka_unit_test(waiting_ends_with_a_wake),
        cmocka_unit_test(unique_numbers_differ),
#if defined(__linux__)
        ON_FOLDER(access_lists_are_copied),
        ON_FOLDER(access_lists_of_the_folder_are_not_left_on_a_copy),
        ON_FOLDER(access_lists_that_cannot_be_copied_leave_the_owner_alone),
#endif
#if defined(CAN_MISBEHAVE)
        ON_FOLDER(locks_work_where_open_file_locks_are_unknown),
        ON_FOLDER(interrupted_and_short_transfers_are_completed),
        ON_FOLDER(a_failed_sync_is_not_repeated),
        ON_FOLDER(a_system_that_cannot_copy_says_so),
        ON_FOLDER(renaming_to_a_new_name_works_on_older_systems),
#endif
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
