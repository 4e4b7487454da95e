/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_libc.h — a C library whose calls fail on demand, one at a time.
 *
 * The program is linked so that each call listed here, wherever it stands in the library, goes through fault_libc.c
 * (the linker's --wrap; tests/store/CMakeLists.txt has the list). So the code that talks to the system is tested too,
 * which a table of os.h in its place would leave out: interruptions, short transfers, error numbers, allocations,
 * threads. Nothing is counted and nothing fails but between begin and end:
 *
 *     fault_libc_begin(&(fault_plan){.kind = CALL_PWRITE, .nth = 3, .times = 1, .error = ENOSPC});
 *     ...calls of the library...
 *     bool happened = fault_libc_end() > 0;
 *
 * May be used by many threads at once, but begin and end by one. What is live, in blocks and mapped bytes, is counted
 * always, so that a test can compare it before and after.
 */
#ifndef FAULT_LIBC_H
#define FAULT_LIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of calls: name, class. The 64-bit forms of the names count as the plain ones. */
#define CALL_LIST(X)                                                                                                   \
    X(MALLOC, malloc, MEMORY)                                                                                          \
    X(CALLOC, calloc, MEMORY)                                                                                          \
    X(REALLOC, realloc, MEMORY)                                                                                        \
    X(ALIGNED_ALLOC, aligned_alloc, MEMORY)                                                                            \
    X(STRNDUP, strndup, MEMORY)                                                                                        \
    X(MMAP_MEMORY, mmap_memory, MEMORY)                                                                                \
    X(MMAP_FILE, mmap_file, MEMORY)                                                                                    \
    X(MREMAP, mremap, MEMORY)                                                                                          \
    X(MUTEX_INIT, pthread_mutex_init, THREAD)                                                                          \
    X(COND_INIT, pthread_cond_init, THREAD)                                                                            \
    X(CONDATTR_INIT, pthread_condattr_init, THREAD)                                                                    \
    X(ATTR_INIT, pthread_attr_init, THREAD)                                                                            \
    X(THREAD_CREATE, pthread_create, THREAD)                                                                           \
    X(OPEN, open, FILE)                                                                                                \
    X(CLOSE, close, HINT)                                                                                              \
    X(STAT, stat, HINT)                                                                                                \
    X(FSTAT, fstat, FILE)                                                                                              \
    X(STATX, statx, FILE)                                                                                              \
    X(FCNTL, fcntl, FILE)                                                                                              \
    X(LOCK, lock, FILE)                                                                                                \
    X(LOCK_BYTE, lock_byte, HINT)                                                                                      \
    X(PREAD, pread, FILE)                                                                                              \
    X(PWRITE, pwrite, FILE)                                                                                            \
    X(PWRITEV, pwritev, FILE)                                                                                          \
    X(FTRUNCATE, ftruncate, FILE)                                                                                      \
    X(FALLOCATE, fallocate, FILE)                                                                                      \
    X(FDATASYNC, fdatasync, FILE)                                                                                      \
    X(FSYNC, fsync, FILE)                                                                                              \
    X(COPY_FILE_RANGE, copy_file_range, FILE)                                                                          \
    X(FCHMOD, fchmod, FILE)                                                                                            \
    X(FCHOWN, fchown, FILE)                                                                                            \
    X(REALPATH, realpath, FILE)                                                                                        \
    X(RENAME, rename, FILE)                                                                                            \
    X(RENAME_NEW, renameat2, FILE)                                                                                     \
    X(LINK, link, FILE)                                                                                                \
    X(UNLINK, unlink, FILE)                                                                                            \
    X(FDOPENDIR, fdopendir, FILE)                                                                                      \
    X(READDIR, readdir, FILE)                                                                                          \
    X(LSEEK, lseek, FILE)                                                                                              \
    X(FSTATVFS, fstatvfs, FILE)                                                                                        \
    X(FSTATFS, fstatfs, FILE)                                                                                          \
    X(INOTIFY_INIT, inotify_init1, FILE)                                                                               \
    X(INOTIFY_ADD, inotify_add_watch, FILE)                                                                            \
    X(POLL, poll, HINT)                                                                                                \
    X(MADVISE, madvise, HINT)                                                                                          \
    X(MINCORE, mincore, HINT)

typedef enum call_kind {
#define CALL_ENUM(kind, name, class) CALL_##kind,
    CALL_LIST(CALL_ENUM)
#undef CALL_ENUM
    CALL_KIND_COUNT,
    CALL_ANY_MEMORY = CALL_KIND_COUNT, /* all of class MEMORY, counted together: there is no more memory */
    CALL_ANY_FILE                      /* all of class FILE: the disk is dead */
} call_kind;

typedef enum fault_action {
    FAULT_ERROR,            /* fails with `error`, and has done nothing */
    FAULT_SHORT,            /* reads, writes and copies half of what was asked for, at least a byte */
    FAULT_SHORT_THEN_ERROR, /* that the first time, then `error` */
    FAULT_NOTHING           /* reads, writes and copies nothing and calls it a success */
} fault_action;

typedef struct fault_plan {
    call_kind kind;
    uint64_t nth;   /* 1 is the next such call */
    uint64_t times; /* how many one after the other, from that one on */
    fault_action action;
    int error;
} fault_plan;

/* NULL: counts only. */
void fault_libc_begin(const fault_plan *plan);
/* How many calls failed, or were cut short, since. */
uint64_t fault_libc_end(void);

/* Since the last begin; at most the first FAULT_LOG_MAX calls are in the log. */
enum { FAULT_LOG_MAX = 4096 };
uint64_t fault_libc_count(call_kind kind);
size_t fault_libc_log(const uint8_t **kinds);

/* What is live now. */
typedef struct fault_live {
    int64_t blocks;
    int64_t mapped_bytes;
    unsigned descriptors;
} fault_live;
fault_live fault_libc_live(void);

const char *call_kind_name(call_kind kind);

#endif
