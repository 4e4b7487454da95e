/* SPDX-License-Identifier: Apache-2.0
 *
 * posix.h — what the files of the POSIX door share with each other, and with nobody else.
 *
 * Included first by each of them: it chooses 64-bit file offsets before any system header is read.
 */
#ifndef SDI_POSIX_H
#define SDI_POSIX_H

#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <limits.h>
#include <sys/types.h>

#include "os/os.h"

_Static_assert(sizeof(off_t) == 8, "file offsets need 64 bits");

/* A thread-local that is read by one load. A C library that cannot place such a variable of a library which is
 * loaded late (musl) gets the general form. */
#if defined(__GLIBC__)
#define SDI_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define SDI_THREAD_LOCAL _Thread_local
#endif

/* The most bytes that one read or write of Linux moves; macOS refuses more than INT_MAX. */
#define SDI_TRANSFER_MAX ((size_t)0x7ffff000)

struct sdi_file {
    int fd;
    uint64_t size_limit; /* RLIMIT_FSIZE as it was at open: see sdi_posix_check_limit() */
};

/* Remembers `number` as the thread's last system error and translates it, as os.h lists it. */
simdrive_status sdi_posix_error(int number);

/* open(2) under O1, signals passed over. -1 and errno on failure. */
int sdi_posix_open(const char *path, int flags, mode_t mode);
/* Moves a descriptor that was just made out of the way of the standard ones (O1); -1 and errno are passed on. */
int sdi_posix_leave_standard(int fd);
/* Data to the medium: full_metadata asks for times and owners too, as folders need it. 0, or -1 and errno. */
int sdi_posix_sync(int fd, bool full_metadata);
/* ERROR_NO_SPACE when bytes up to `end` would pass the process's file size limit. The kernel would answer such a write
 * with SIGXFSZ, which kills a host program that never heard of it, before it answers with EFBIG. */
simdrive_status sdi_posix_check_limit(const sdi_file *file, uint64_t end);

/* The members of the table, by file. */

/* file.c */
simdrive_status sdi_posix_file_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode,
                                    sdi_file **out);
void sdi_posix_file_close(const sdi_os *os, sdi_file *file);
simdrive_status sdi_posix_file_info(const sdi_os *os, sdi_file *file, sdi_file_info *out);
simdrive_status sdi_posix_path_info(const sdi_os *os, const char *path, sdi_file_info *out);
simdrive_status sdi_posix_file_lock(const sdi_os *os, sdi_file *file);
void sdi_posix_share_length(const sdi_os *os, sdi_file *file);
void sdi_posix_claim_length(const sdi_os *os, sdi_file *file);
void sdi_posix_release_length(const sdi_os *os, sdi_file *file);
void sdi_posix_share_presence(const sdi_os *os, sdi_file *file);
simdrive_status sdi_posix_claim_presence(const sdi_os *os, sdi_file *file);
void sdi_posix_release_presence(const sdi_os *os, sdi_file *file);
void sdi_posix_file_unlock(const sdi_os *os, sdi_file *file);
simdrive_status sdi_posix_file_truncate(const sdi_os *os, sdi_file *file, uint64_t size);
simdrive_status sdi_posix_punch_hole(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
simdrive_status sdi_posix_set_aside(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
simdrive_status sdi_posix_file_space(const sdi_os *os, sdi_file *file, uint64_t *available);
simdrive_status sdi_posix_file_sync(const sdi_os *os, sdi_file *file);
void sdi_posix_begin_write_back(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);

/* transfer.c */
simdrive_status sdi_posix_read_at(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size);
simdrive_status sdi_posix_write_at(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data, size_t size);
simdrive_status sdi_posix_write_pieces_at(const sdi_os *os, sdi_file *file, uint64_t offset, simdrive_bytes *pieces,
                                          size_t count);
simdrive_status sdi_posix_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                     uint64_t to_offset, uint64_t size, uint64_t *copied);

/* extents.c */
simdrive_status sdi_posix_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start, uint64_t *end);

/* attributes.c */
simdrive_status sdi_posix_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to);

/* name.c */
simdrive_status sdi_posix_resolve(const sdi_os *os, const char *path, char **out);
simdrive_status sdi_posix_rename(const sdi_os *os, const char *from, const char *to);
simdrive_status sdi_posix_rename_new(const sdi_os *os, const char *from, const char *to);
simdrive_status sdi_posix_unlink(const sdi_os *os, const char *path);
simdrive_status sdi_posix_sync_folder_of(const sdi_os *os, const char *path);
simdrive_status sdi_posix_list_folder_of(const sdi_os *os, const char *path,
                                         bool (*visit)(void *user, const char *name), void *user);

/* map.c */
simdrive_status sdi_posix_map(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out);
simdrive_status sdi_posix_map_private(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out);
simdrive_status sdi_posix_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out);
simdrive_status sdi_posix_make_present(const sdi_os *os, uint8_t *address, uint64_t size);
simdrive_status sdi_posix_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size);
void sdi_posix_unmap(const sdi_os *os, const uint8_t *base, uint64_t size);
bool sdi_posix_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice);

/* watch.c */
simdrive_status sdi_posix_watch_begin(const sdi_os *os, const char *path, sdi_watch **out);
void sdi_posix_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms);
void sdi_posix_watch_end(const sdi_os *os, sdi_watch *watch);

#endif
