/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_libc.c — see fault_libc.h. For each wrapped name F the linker gives us __wrap_F to define, and __real_F to
 * call. Each of ours asks verdict_of() first. No function here allocates, since it may stand inside an allocation.
 *
 * Only for the GNU C library on 64-bit Linux, whose names these are; elsewhere this file is empty.
 */
#if defined(__linux__) && defined(__LP64__)
#include "fault_libc.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#if defined(__GLIBC__)

/* Declared for those who define them: nobody calls them by these names. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-declarations"

enum class { CLASS_MEMORY, CLASS_THREAD, CLASS_FILE, CLASS_HINT };

static const struct {
    const char *name;
    enum class class;
} kinds[CALL_KIND_COUNT] = {
#define CALL_ROW(kind, name, class) [CALL_##kind] = {#name, CLASS_##class},
    CALL_LIST(CALL_ROW)
#undef CALL_ROW
};

static fault_plan plan; /* written while `active` is false only */
static bool has_plan;
static atomic_bool active;
static atomic_uint_fast64_t counts[CALL_KIND_COUNT], memory_count, file_count, fired, logged;
static uint8_t log_kinds[FAULT_LOG_MAX];
static atomic_int_fast64_t live_blocks, live_bytes;

/* What is to happen to a call: as usual, an error, or a part of it. */
typedef enum verdict { GO_ON, FAIL, PART, NONE } verdict;

static uint64_t ordinal(call_kind kind) {
    uint64_t own = atomic_fetch_add(&counts[kind], 1) + 1, of_class = 0;
    if (kinds[kind].class == CLASS_MEMORY) of_class = atomic_fetch_add(&memory_count, 1) + 1;
    if (kinds[kind].class == CLASS_FILE) of_class = atomic_fetch_add(&file_count, 1) + 1;
    if (!has_plan) return 0;
    if (plan.kind == kind) return own;
    if (plan.kind == CALL_ANY_MEMORY && kinds[kind].class == CLASS_MEMORY) return of_class;
    return plan.kind == CALL_ANY_FILE && kinds[kind].class == CLASS_FILE ? of_class : 0;
}

static verdict verdict_of(call_kind kind) {
    if (!atomic_load_explicit(&active, memory_order_acquire)) return GO_ON;
    uint64_t at = atomic_fetch_add(&logged, 1);
    if (at < FAULT_LOG_MAX) log_kinds[at] = (uint8_t)kind;
    uint64_t n = ordinal(kind);
    if (n < plan.nth || n == 0 || n - plan.nth >= plan.times) return GO_ON;
    atomic_fetch_add(&fired, 1);
    if (plan.action == FAULT_NOTHING) return NONE;
    if (plan.action == FAULT_SHORT || (plan.action == FAULT_SHORT_THEN_ERROR && n == plan.nth)) return PART;
    errno = plan.error;
    return FAIL;
}

/* For calls that are done or not. */
static bool fails(call_kind kind) {
    return verdict_of(kind) == FAIL;
}

/* How much of a transfer happens; -1 when it fails. */
static ssize_t allowed(call_kind kind, size_t size) {
    switch (verdict_of(kind)) {
    case FAIL:
        return -1;
    case PART:
        return (ssize_t)(size > 1 ? size / 2 : size);
    case NONE:
        return 0;
    default:
        return (ssize_t)size;
    }
}

/* --- the test's side ---------------------------------------------------------------------------------------------- */

void fault_libc_begin(const fault_plan *wanted) {
    assert(!atomic_load(&active));
    has_plan = wanted != NULL;
    plan = wanted ? *wanted : (fault_plan){0};
    for (int i = 0; i < CALL_KIND_COUNT; i++) atomic_store(&counts[i], 0);
    atomic_store(&memory_count, 0);
    atomic_store(&file_count, 0);
    atomic_store(&fired, 0);
    atomic_store(&logged, 0);
    atomic_store_explicit(&active, true, memory_order_release);
}

uint64_t fault_libc_end(void) {
    atomic_store(&active, false);
    return atomic_load(&fired);
}

uint64_t fault_libc_count(call_kind kind) {
    return atomic_load(&counts[kind]);
}

size_t fault_libc_log(const uint8_t **out) {
    uint64_t count = atomic_load(&logged);
    *out = log_kinds;
    return count < FAULT_LOG_MAX ? (size_t)count : FAULT_LOG_MAX;
}

const char *call_kind_name(call_kind kind) {
    if (kind == CALL_ANY_MEMORY) return "all memory";
    return kind == CALL_ANY_FILE ? "all of the disk" : kinds[kind].name;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void *counted(void *block) {
    if (block != NULL) atomic_fetch_add(&live_blocks, 1);
    return block;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    return fails(CALL_MALLOC) ? NULL : counted(__real_malloc(size));
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
    return fails(CALL_CALLOC) ? NULL : counted(__real_calloc(count, size));
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size) {
    if (fails(CALL_REALLOC)) return NULL;
    void *block = __real_realloc(old, size);
    return old == NULL ? counted(block) : block;
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails(CALL_ALIGNED_ALLOC) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

char *__real_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size) {
    return fails(CALL_STRNDUP) ? NULL : counted(__real_strndup(text, size));
}

void __real_free(void *block);
void __wrap_free(void *block) {
    if (block != NULL) atomic_fetch_sub(&live_blocks, 1);
    __real_free(block);
}

static int64_t whole_pages(size_t size) {
    int64_t page = sysconf(_SC_PAGESIZE);
    return ((int64_t)size + page - 1) / page * page;
}

static void *counted_map(void *pages, size_t size) {
    if (pages != MAP_FAILED) atomic_fetch_add(&live_bytes, whole_pages(size));
    return pages;
}

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (fails(fd < 0 ? CALL_MMAP_MEMORY : CALL_MMAP_FILE)) return MAP_FAILED;
    return counted_map(__real_mmap(at, size, protection, flags, fd, offset), size);
}
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return __wrap_mmap(at, size, protection, flags, fd, offset);
}

/* Never to another place, and no extra argument is used. */
void *__real_mremap(void *old, size_t old_size, size_t size, int flags, ...);
void *__wrap_mremap(void *old, size_t old_size, size_t size, int flags, ...) {
    if (fails(CALL_MREMAP)) return MAP_FAILED;
    void *pages = __real_mremap(old, old_size, size, flags);
    if (pages != MAP_FAILED) atomic_fetch_add(&live_bytes, whole_pages(size) - whole_pages(old_size));
    return pages;
}

int __real_munmap(void *pages, size_t size);
int __wrap_munmap(void *pages, size_t size) {
    atomic_fetch_sub(&live_bytes, whole_pages(size));
    return __real_munmap(pages, size);
}

int __real_madvise(void *pages, size_t size, int advice);
int __wrap_madvise(void *pages, size_t size, int advice) {
    return fails(CALL_MADVISE) ? -1 : __real_madvise(pages, size, advice);
}

int __real_mincore(void *pages, size_t size, unsigned char *present);
int __wrap_mincore(void *pages, size_t size, unsigned char *present) {
    return fails(CALL_MINCORE) ? -1 : __real_mincore(pages, size, present);
}

/* --- threads: these return their error ---------------------------------------------------------------------------- */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *user) {
    return fails(CALL_THREAD_CREATE) ? plan.error : __real_pthread_create(thread, how, run, user);
}

int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how) {
    return fails(CALL_MUTEX_INIT) ? plan.error : __real_pthread_mutex_init(mutex, how);
}

int __real_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how) {
    return fails(CALL_COND_INIT) ? plan.error : __real_pthread_cond_init(condition, how);
}

int __real_pthread_condattr_init(pthread_condattr_t *how);
int __wrap_pthread_condattr_init(pthread_condattr_t *how) {
    return fails(CALL_CONDATTR_INIT) ? plan.error : __real_pthread_condattr_init(how);
}

int __real_pthread_attr_init(pthread_attr_t *how);
int __wrap_pthread_attr_init(pthread_attr_t *how) {
    return fails(CALL_ATTR_INIT) ? plan.error : __real_pthread_attr_init(how);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}
int __wrap_open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}

/* The descriptor is gone in any case, as on Linux. */
int __real_close(int fd);
int __wrap_close(int fd) {
    bool failed = fails(CALL_CLOSE);
    int error = errno, result = __real_close(fd);
    if (!failed) return result;
    errno = error;
    return -1;
}

int __real_fstat(int fd, struct stat *out);
int __wrap_fstat(int fd, struct stat *out) {
    return fails(CALL_FSTAT) ? -1 : __real_fstat(fd, out);
}
int __wrap_fstat64(int fd, struct stat *out) {
    return __wrap_fstat(fd, out);
}

int __real_stat(const char *path, struct stat *out);
int __wrap_stat(const char *path, struct stat *out) {
    return fails(CALL_STAT) ? -1 : __real_stat(path, out);
}
int __wrap_stat64(const char *path, struct stat *out) {
    return __wrap_stat(path, out);
}

int __real_statx(int fd, const char *path, int flags, unsigned mask, struct statx *out);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *out) {
    return fails(CALL_STATX) ? -1 : __real_statx(fd, path, flags, mask, out);
}

/* The writer's lock begins at 0, those of single bytes do not. Giving back a lock does not fail. */
static call_kind kind_of_fcntl(int command, void *argument) {
    if (command != F_OFD_SETLK && command != F_OFD_SETLKW) return CALL_FCNTL;
    const struct flock *place = argument;
    return place->l_start == 0 ? CALL_LOCK : CALL_LOCK_BYTE;
}

static bool gives_back(int command, void *argument) {
    if (command != F_OFD_SETLK && command != F_OFD_SETLKW) return false;
    return ((const struct flock *)argument)->l_type == F_UNLCK;
}

int __real_fcntl(int fd, int command, ...);
static int wrapped_fcntl(int fd, int command, void *argument) {
    if (!gives_back(command, argument) && fails(kind_of_fcntl(command, argument))) return -1;
    return __real_fcntl(fd, command, argument);
}
int __wrap_fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *); /* numbers too are passed in a register of that size */
    va_end(rest);
    return wrapped_fcntl(fd, command, argument);
}
int __wrap_fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return wrapped_fcntl(fd, command, argument);
}

ssize_t __real_pread(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t offset) {
    ssize_t part = allowed(CALL_PREAD, size);
    return part < 0 ? -1 : __real_pread(fd, buffer, (size_t)part, offset);
}
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset) {
    return __wrap_pread(fd, buffer, size, offset);
}

ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset) {
    ssize_t part = allowed(CALL_PWRITE, size);
    return part < 0 ? -1 : __real_pwrite(fd, data, (size_t)part, offset);
}
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset) {
    return __wrap_pwrite(fd, data, size, offset);
}

/* A part is written piece by piece: the caller's array is not to be changed. */
static ssize_t write_part(int fd, const struct iovec *pieces, int count, off_t offset, size_t part) {
    size_t done = 0;
    for (int i = 0; i < count && done < part; i++) {
        size_t size = pieces[i].iov_len < part - done ? pieces[i].iov_len : part - done;
        ssize_t put = __real_pwrite(fd, pieces[i].iov_base, size, offset + (off_t)done);
        if (put < 0) return done > 0 ? (ssize_t)done : -1;
        done += (size_t)put;
    }
    return (ssize_t)done;
}

ssize_t __real_pwritev(int fd, const struct iovec *pieces, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    size_t size = 0;
    for (int i = 0; i < count; i++) size += pieces[i].iov_len;
    ssize_t part = allowed(CALL_PWRITEV, size);
    if (part < 0) return -1;
    if ((size_t)part < size) return write_part(fd, pieces, count, offset, (size_t)part);
    return __real_pwritev(fd, pieces, count, offset);
}
ssize_t __wrap_pwritev64(int fd, const struct iovec *pieces, int count, off_t offset) {
    return __wrap_pwritev(fd, pieces, count, offset);
}

ssize_t __real_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags);
ssize_t __wrap_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags) {
    ssize_t part = allowed(CALL_COPY_FILE_RANGE, size);
    return part <= 0 ? part : __real_copy_file_range(from, from_at, to, to_at, (size_t)part, flags);
}

int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size) {
    return fails(CALL_FTRUNCATE) ? -1 : __real_ftruncate(fd, size);
}
int __wrap_ftruncate64(int fd, off_t size) {
    return __wrap_ftruncate(fd, size);
}

int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size) {
    return fails(CALL_FALLOCATE) ? -1 : __real_fallocate(fd, mode, offset, size);
}
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size) {
    return __wrap_fallocate(fd, mode, offset, size);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
    return fails(CALL_FDATASYNC) ? -1 : __real_fdatasync(fd);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd) {
    return fails(CALL_FSYNC) ? -1 : __real_fsync(fd);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode) {
    return fails(CALL_FCHMOD) ? -1 : __real_fchmod(fd, mode);
}

int __real_fchown(int fd, uid_t owner, gid_t group);
int __wrap_fchown(int fd, uid_t owner, gid_t group) {
    return fails(CALL_FCHOWN) ? -1 : __real_fchown(fd, owner, group);
}

off_t __real_lseek(int fd, off_t offset, int whence);
off_t __wrap_lseek(int fd, off_t offset, int whence) {
    return fails(CALL_LSEEK) ? -1 : __real_lseek(fd, offset, whence);
}
off_t __wrap_lseek64(int fd, off_t offset, int whence) {
    return __wrap_lseek(fd, offset, whence);
}

int __real_fstatvfs(int fd, struct statvfs *out);
int __wrap_fstatvfs(int fd, struct statvfs *out) {
    return fails(CALL_FSTATVFS) ? -1 : __real_fstatvfs(fd, out);
}
int __wrap_fstatvfs64(int fd, struct statvfs *out) {
    return __wrap_fstatvfs(fd, out);
}

int __real_fstatfs(int fd, struct statfs *out);
int __wrap_fstatfs(int fd, struct statfs *out) {
    return fails(CALL_FSTATFS) ? -1 : __real_fstatfs(fd, out);
}
int __wrap_fstatfs64(int fd, struct statfs *out) {
    return __wrap_fstatfs(fd, out);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

char *__real_realpath(const char *path, char *out);
char *__wrap_realpath(const char *path, char *out) {
    if (fails(CALL_REALPATH)) return NULL;
    char *resolved = __real_realpath(path, out);
    return out == NULL ? counted(resolved) : resolved;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    return fails(CALL_RENAME) ? -1 : __real_rename(from, to);
}

/* renameat2() has no name in older C libraries; the other calls made this way go through. */
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_renameat2 && fails(CALL_RENAME_NEW)) return -1;
    if (number == SYS_renameat2 && has_plan && plan.kind == CALL_LINK && atomic_load(&active)) {
        errno = ENOSYS; /* link() is called where that is missing only */
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to) {
    return fails(CALL_LINK) ? -1 : __real_link(from, to);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path) {
    return fails(CALL_UNLINK) ? -1 : __real_unlink(path);
}

DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd) {
    return fails(CALL_FDOPENDIR) ? NULL : __real_fdopendir(fd);
}

struct dirent *__real_readdir(DIR *folder);
struct dirent *__wrap_readdir(DIR *folder) {
    return fails(CALL_READDIR) ? NULL : __real_readdir(folder);
}
struct dirent64 *__real_readdir64(DIR *folder);
struct dirent64 *__wrap_readdir64(DIR *folder) {
    return fails(CALL_READDIR) ? NULL : __real_readdir64(folder);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

int __real_inotify_init1(int flags);
int __wrap_inotify_init1(int flags) {
    return fails(CALL_INOTIFY_INIT) ? -1 : __real_inotify_init1(flags);
}

int __real_inotify_add_watch(int fd, const char *path, uint32_t events);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t events) {
    return fails(CALL_INOTIFY_ADD) ? -1 : __real_inotify_add_watch(fd, path, events);
}

int __real_poll(struct pollfd *files, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms) {
    return fails(CALL_POLL) ? -1 : __real_poll(files, count, timeout_ms);
}

fault_live fault_libc_live(void) {
    enum { LOOKED_AT = 64 }; /* the lowest free number is given, so a lost one shows among the first */
    fault_live live = {.blocks = atomic_load(&live_blocks), .mapped_bytes = atomic_load(&live_bytes)};
    for (int fd = 0; fd < LOOKED_AT; fd++) live.descriptors += __real_fcntl(fd, F_GETFD) >= 0;
    return live;
}

#endif
#endif
