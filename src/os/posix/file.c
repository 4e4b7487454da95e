/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c — one open file on POSIX: opening, identity, locks, size, holes, sync.
 */
#include "os/posix/posix.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#if defined(__linux__)
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#endif
#include <time.h>
#include <unistd.h>

enum { FIRST_FREE_DESCRIPTOR = 3 }; /* 0, 1 and 2 are printed to by anyone: O1 */

/* A host that closed its standard streams would otherwise print into the store. */
int sdi_posix_leave_standard(int fd) {
    if (fd < 0 || fd >= FIRST_FREE_DESCRIPTOR) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_DESCRIPTOR);
    int error = errno;
    close(fd);
    errno = error;
    return moved;
}

int sdi_posix_open(const char *path, int flags, mode_t mode) {
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    } while (fd < 0 && errno == EINTR);
    return sdi_posix_leave_standard(fd);
}

/* O_NONBLOCK keeps the open itself from waiting for the other end of a FIFO that took the name meanwhile. */
static int open_as(const char *path, sdi_open_mode how, mode_t mode) {
    switch (how) {
    case SDI_OPEN_READ:
        return sdi_posix_open(path, O_RDONLY | O_NONBLOCK, 0);
    case SDI_OPEN_CREATE_NEW:
        return sdi_posix_open(path, O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL, mode);
    default:
        break;
    }
    /* O_CREAT only when nothing is there: in a sticky folder Linux refuses it on a file that belongs to somebody else
     * (fs.protected_regular), even to who may write that file. */
    int fd = sdi_posix_open(path, O_RDWR | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT && how == SDI_OPEN_CREATE)
        fd = sdi_posix_open(path, O_RDWR | O_NONBLOCK | O_CREAT, mode);
    return fd;
}

static int set_blocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    return fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static simdrive_status not_a_file(void) {
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_NOT_A_FILE;
}

static uint64_t current_size_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    return limit.rlim_cur;
}

/* Merely opening a device can act on it, so what is known to be none of ours is not opened at all. */
static simdrive_status refuse_other_kinds(const char *path) {
    struct stat found;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode)) return not_a_file();
    return SIMDRIVE_OK;
}

simdrive_status sdi_posix_file_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode,
                                    sdi_file **out) {
    (void)os;
    *out = NULL;
    /* Who asks for a new file learns from the open itself that the name is taken, whatever has it. */
    simdrive_status status = how == SDI_OPEN_CREATE_NEW ? SIMDRIVE_OK : refuse_other_kinds(path);
    if (status != SIMDRIVE_OK) return status;

    sdi_file *file = malloc(sizeof *file);
    if (file == NULL) return sdi_posix_error(ENOMEM);
    file->fd = open_as(path, how, (mode_t)mode);
    if (file->fd < 0) {
        status = sdi_posix_error(errno);
        free(file);
        return status;
    }

    struct stat opened;
    if (fstat(file->fd, &opened) != 0) status = sdi_posix_error(errno);
    else if (!S_ISREG(opened.st_mode)) status = not_a_file();
    else if (set_blocking(file->fd) != 0) status = sdi_posix_error(errno);
    if (status != SIMDRIVE_OK) {
        if (how == SDI_OPEN_CREATE_NEW) unlink(path); /* it is ours, and nobody else knows of it */
        sdi_posix_file_close(os, file);
        return status;
    }
    file->size_limit = current_size_limit();
    *out = file;
    return SIMDRIVE_OK;
}

void sdi_posix_file_close(const sdi_os *os, sdi_file *file) {
    (void)os;
    if (file == NULL) return;
    close(file->fd); /* never again on EINTR: the number may be another thread's file by then */
    free(file);
}

enum { STAT_BLOCK = 512 }; /* of st_blocks, whatever the file system's blocks are */

/* The file of the descriptor, or of the path when that is not NULL. 0, or -1 and errno; `kind` is its mode's. */
#if defined(STATX_BTIME)
static int look_at(int fd, const char *path, sdi_file_info *out, mode_t *kind) {
    struct statx found;
    int flags = path ? 0 : AT_EMPTY_PATH;
    if (statx(path ? AT_FDCWD : fd, path ? path : "", flags, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) return -1;
    *kind = found.stx_mode;
    *out = (sdi_file_info){
        .id = {.device = (uint64_t)makedev(found.stx_dev_major, found.stx_dev_minor), .number = found.stx_ino},
        .size = found.stx_size,
        .mode = found.stx_mode & 07777u,
        .owner = found.stx_uid,
        .link_count = found.stx_nlink,
        .disk_bytes = found.stx_blocks * STAT_BLOCK,
    };
    if (found.stx_mask & STATX_BTIME)
        out->id.born = (uint64_t)found.stx_btime.tv_sec * 1000000000u + found.stx_btime.tv_nsec;
    return 0;
}
#else
static void describe(const struct stat *from, sdi_file_info *out) {
    *out = (sdi_file_info){
        .id = {.device = (uint64_t)from->st_dev, .number = (uint64_t)from->st_ino},
        .size = (uint64_t)from->st_size,
        .mode = (uint32_t)(from->st_mode & 07777),
        .owner = (uint32_t)from->st_uid,
        .link_count = (uint32_t)from->st_nlink,
        .disk_bytes = (uint64_t)from->st_blocks * STAT_BLOCK,
    };
#if defined(__APPLE__)
    out->id.born = (uint64_t)from->st_birthtimespec.tv_sec * 1000000000u + (uint64_t)from->st_birthtimespec.tv_nsec;
#endif
}

static int look_at(int fd, const char *path, sdi_file_info *out, mode_t *kind) {
    struct stat found;
    if ((path ? stat(path, &found) : fstat(fd, &found)) != 0) return -1;
    *kind = found.st_mode;
    describe(&found, out);
    return 0;
}
#endif

simdrive_status sdi_posix_file_info(const sdi_os *os, sdi_file *file, sdi_file_info *out) {
    mode_t kind;
    (void)os;
    *out = (sdi_file_info){0};
    return look_at(file->fd, NULL, out, &kind) == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

simdrive_status sdi_posix_path_info(const sdi_os *os, const char *path, sdi_file_info *out) {
    mode_t kind;
    (void)os;
    *out = (sdi_file_info){0};
    if (look_at(-1, path, out, &kind) != 0) return sdi_posix_error(errno);
    if (S_ISREG(kind)) return SIMDRIVE_OK;
    *out = (sdi_file_info){0};
    return not_a_file();
}

/* The writer's lock covers the bytes up to this one, which stands for the file's length. No store is that long. */
#define LENGTH_LOCK (INT64_C(1) << 62)
#define PRESENCE_LOCK (LENGTH_LOCK + 1) /* and this one for the readers that are there */

enum { CLAIM_ATTEMPTS = 1000, CLAIM_PAUSE_NS = 1000000 };

/* 0, or -1 and errno. Plain POSIX locks would not do: they belong to the process, and any close of the file there
 * drops them (O4). */
static int lock_descriptor(int fd) {
#if defined(F_OFD_SETLK)
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = LENGTH_LOCK};
    if (fcntl(fd, F_OFD_SETLK, &whole_file) == 0) return 0;
    if (errno != EINVAL) return -1; /* EINVAL: a kernel before 3.15, or a file system without them */
#endif
    return flock(fd, LOCK_EX | LOCK_NB);
}

simdrive_status sdi_posix_file_lock(const sdi_os *os, sdi_file *file) {
    (void)os;
    while (lock_descriptor(file->fd) != 0) {
        if (errno == EINTR) continue;
        simdrive_status status = sdi_posix_error(errno);
        bool held = errno == EAGAIN || errno == EACCES || errno == EWOULDBLOCK;
        return held ? SIMDRIVE_ERROR_LOCKED : status;
    }
    return SIMDRIVE_OK;
}

#if defined(F_OFD_SETLK)
static int lock_byte(int fd, int64_t byte, int command, short type) {
    struct flock place = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int result;
    do result = fcntl(fd, command, &place);
    while (result != 0 && errno == EINTR);
    return result;
}
#endif

void sdi_posix_share_length(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    lock_byte(file->fd, LENGTH_LOCK, F_OFD_SETLKW, F_RDLCK); /* held against it for the time of one truncation only */
#else
    (void)file;
#endif
}

void sdi_posix_claim_length(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    for (unsigned i = 0; i < CLAIM_ATTEMPTS && lock_byte(file->fd, LENGTH_LOCK, F_OFD_SETLK, F_WRLCK) != 0; i++) {
        if (errno != EAGAIN && errno != EACCES) return; /* no such locks here */
        nanosleep(&(struct timespec){.tv_nsec = CLAIM_PAUSE_NS}, NULL);
    }
#else
    (void)file;
#endif
}

void sdi_posix_release_length(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    lock_byte(file->fd, LENGTH_LOCK, F_OFD_SETLK, F_UNLCK);
#else
    (void)file;
#endif
}

void sdi_posix_share_presence(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    lock_byte(file->fd, PRESENCE_LOCK, F_OFD_SETLKW, F_RDLCK);
#else
    (void)file;
#endif
}

simdrive_status sdi_posix_claim_presence(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    if (lock_byte(file->fd, PRESENCE_LOCK, F_OFD_SETLK, F_WRLCK) == 0) return SIMDRIVE_OK;
    int error = errno;
    simdrive_status status = sdi_posix_error(error);
    if (error == EAGAIN || error == EACCES) return SIMDRIVE_ERROR_BUSY;
    return error == EINVAL || error == ENOLCK || error == ENOTSUP ? SIMDRIVE_ERROR_UNSUPPORTED : status;
#else
    (void)file;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
#endif
}

void sdi_posix_release_presence(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    lock_byte(file->fd, PRESENCE_LOCK, F_OFD_SETLK, F_UNLCK);
#else
    (void)file;
#endif
}

simdrive_status sdi_posix_file_space(const sdi_os *os, sdi_file *file, uint64_t *available) {
    struct statvfs found;
    (void)os;
    *available = 0;
    while (fstatvfs(file->fd, &found) != 0) {
        if (errno != EINTR) return sdi_posix_error(errno);
    }
    *available = (uint64_t)found.f_bavail * found.f_frsize;
    return SIMDRIVE_OK;
}

void sdi_posix_file_unlock(const sdi_os *os, sdi_file *file) {
    (void)os;
#if defined(F_OFD_SETLK)
    struct flock whole_file = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = LENGTH_LOCK};
    fcntl(file->fd, F_OFD_SETLK, &whole_file);
#endif
    flock(file->fd, LOCK_UN); /* whichever of the two it was */
}

simdrive_status sdi_posix_check_limit(const sdi_file *file, uint64_t end) {
    /* The limit may have been raised since, so who seems to pass it looks again. */
    if (end > file->size_limit && end > current_size_limit()) return sdi_posix_error(EFBIG);
    return SIMDRIVE_OK;
}

simdrive_status sdi_posix_file_truncate(const sdi_os *os, sdi_file *file, uint64_t size) {
    if (size > INT64_MAX) return sdi_posix_error(EFBIG);
    simdrive_status status = sdi_posix_check_limit(file, size);
    if (status != SIMDRIVE_OK) {
        sdi_file_info info; /* cutting a file that is past the limit already is allowed */
        simdrive_status seen = sdi_posix_file_info(os, file, &info);
        if (seen != SIMDRIVE_OK) return seen;
        if (size > info.size) return sdi_posix_error(EFBIG);
    }
    int result;
    do {
        result = ftruncate(file->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

/* 0, or -1 and errno; ENOTSUP where the system has no call for it. */
static int punch(int fd, off_t offset, off_t size) {
#if defined(FALLOC_FL_PUNCH_HOLE)
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
#elif defined(F_PUNCHHOLE)
    struct fpunchhole range = {.fp_offset = offset, .fp_length = size};
    return fcntl(fd, F_PUNCHHOLE, &range);
#else
    (void)fd, (void)offset, (void)size;
    errno = ENOTSUP;
    return -1;
#endif
}

simdrive_status sdi_posix_punch_hole(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
    if (size == 0) return SIMDRIVE_OK;
    if (offset > INT64_MAX || size > INT64_MAX - offset) return sdi_posix_error(EFBIG);
    int result;
    do {
        result = punch(file->fd, (off_t)offset, (off_t)size);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return SIMDRIVE_OK;
    /* EINVAL: macOS, of a range that is not made of the file system's blocks. */
    int error = errno;
    simdrive_status status = sdi_posix_error(error);
    bool cannot = error == ENOTSUP || error == ENOSYS || error == EINVAL;
    return cannot ? SIMDRIVE_ERROR_UNSUPPORTED : status;
}

#if defined(__linux__) && defined(FALLOC_FL_KEEP_SIZE)
/* File systems that write a block where it is. Those that may put it elsewhere, always (btrfs) or when it is shared
 * with a copy (xfs), need space for that again, and when there is none they answer a store into a map with a signal. */
static bool writes_in_place(int fd) {
    enum { EXT4 = 0xEF53, TMPFS = 0x01021994 };
    struct statfs found;
    return fstatfs(fd, &found) == 0 && (found.f_type == EXT4 || found.f_type == TMPFS);
}
#endif

simdrive_status sdi_posix_set_aside(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
#if defined(__linux__) && defined(FALLOC_FL_KEEP_SIZE)
    if (offset > INT64_MAX || size > INT64_MAX - offset) return sdi_posix_error(EFBIG);
    if (!writes_in_place(file->fd)) return SIMDRIVE_ERROR_UNSUPPORTED;
    simdrive_status status = sdi_posix_check_limit(file, offset + size);
    if (status != SIMDRIVE_OK) return status;
    int result;
    do {
        result = fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return SIMDRIVE_OK;
    int error = errno;
    status = sdi_posix_error(error);
    return error == ENOTSUP || error == ENOSYS ? SIMDRIVE_ERROR_UNSUPPORTED : status;
#else
    (void)file, (void)offset, (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
#endif
}

#if defined(__APPLE__)
/* fsync() of macOS leaves the data in the drive's cache. Where F_FULLFSYNC is unknown (network volumes), it is all
 * there is; a F_FULLFSYNC that really failed is not followed by anything (O5). */
static int sync_once(int fd, bool full_metadata) {
    (void)full_metadata;
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY && errno != ENODEV) return -1;
    return fsync(fd);
}
#else
static int sync_once(int fd, bool full_metadata) {
    return full_metadata ? fsync(fd) : fdatasync(fd);
}
#endif

int sdi_posix_sync(int fd, bool full_metadata) {
    int result;
    do { /* an interrupted sync has not failed: the system has reported no lost data to anybody */
        result = sync_once(fd, full_metadata);
    } while (result != 0 && errno == EINTR);
    return result;
}

simdrive_status sdi_posix_file_sync(const sdi_os *os, sdi_file *file) {
    (void)os;
    return sdi_posix_sync(file->fd, false) == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

void sdi_posix_begin_write_back(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
#if defined(__linux__)
    sync_file_range(file->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE); /* an error is kept for the sync */
#else
    (void)file, (void)offset, (void)size;
#endif
}
