/* SPDX-License-Identifier: Apache-2.0
 *
 * extents.c — where a file has bytes, and where it has holes, on POSIX.
 *
 * lseek() is how these systems tell; it moves the file's position, which nobody uses (O2).
 */
#include "os/posix/posix.h"

#include <unistd.h>

#if defined(SEEK_DATA) && defined(SEEK_HOLE)
/* 0, or the errno. Neither call is interrupted or partial. */
static int seek(int fd, uint64_t offset, int whence, uint64_t *found) {
    if (offset > INT64_MAX) return ENXIO;
    off_t at = lseek(fd, (off_t)offset, whence);
    if (at < 0) return errno;
    *found = (uint64_t)at;
    return 0;
}

/* The file system knows nothing of holes. EINVAL is the answer of kernels that do not know the question. */
static bool means_unknown(int number) {
    /* NOLINTNEXTLINE(misc-redundant-expression): two of them are one number on some systems */
    return number == EINVAL || number == EOPNOTSUPP || number == ENOTSUP || number == ENOSYS || number == ENOTTY;
}
#endif

simdrive_status sdi_posix_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start,
                                    uint64_t *end) {
    sdi_file_info info;
    simdrive_status status = sdi_posix_file_info(os, file, &info);
    *start = *end = info.size;
    if (status != SIMDRIVE_OK || offset >= info.size) return status;
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
    int error = seek(file->fd, offset, SEEK_DATA, start);
    if (error == ENXIO) return SIMDRIVE_OK; /* a hole to the end; `start` is as it was */
    if (error == 0) error = seek(file->fd, *start, SEEK_HOLE, end);
    if (error == 0) return SIMDRIVE_OK;
    if (!means_unknown(error)) {
        *start = *end = 0;
        return sdi_posix_error(error);
    }
    *end = info.size;
#endif
    *start = offset;
    return SIMDRIVE_OK;
}
