/* SPDX-License-Identifier: Apache-2.0
 *
 * transfer.c — bytes in and out of a file on POSIX, complete or an error (O2, O3).
 */
#include "os/posix/posix.h"

#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

/* The kernel reads the caller's pieces in place. */
_Static_assert(sizeof(simdrive_bytes) == sizeof(struct iovec) &&
                   offsetof(simdrive_bytes, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(simdrive_bytes, size) == offsetof(struct iovec, iov_len),
               "simdrive_bytes must be laid out as struct iovec");

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool fits_offset(uint64_t offset, uint64_t size) {
    return offset <= INT64_MAX && size <= INT64_MAX - offset;
}

static simdrive_status past_the_end(void) {
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_IO;
}

simdrive_status sdi_posix_read_at(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size) {
    (void)os;
    char *to = buffer;
    if (!fits_offset(offset, size)) return past_the_end();
    while (size > 0) {
        ssize_t got = pread(file->fd, to, smaller(size, SDI_TRANSFER_MAX), (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return sdi_posix_error(errno);
        if (got == 0) return past_the_end();
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return SIMDRIVE_OK;
}

static simdrive_status check_room(const sdi_file *file, uint64_t offset, uint64_t size) {
    if (!fits_offset(offset, size)) return sdi_posix_error(EFBIG);
    return size == 0 ? SIMDRIVE_OK : sdi_posix_check_limit(file, offset + size);
}

simdrive_status sdi_posix_write_at(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data, size_t size) {
    (void)os;
    const char *from = data;
    simdrive_status status = check_room(file, offset, size);
    if (status != SIMDRIVE_OK) return status;
    while (size > 0) {
        ssize_t put = pwrite(file->fd, from, smaller(size, SDI_TRANSFER_MAX), (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return sdi_posix_error(put < 0 ? errno : EIO); /* nothing taken and no reason: no progress */
        from += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return SIMDRIVE_OK;
}

/* How many pieces from the first on one call may take: at most IOV_MAX, and at most SDI_TRANSFER_MAX bytes. */
static size_t pieces_for_one_call(const simdrive_bytes *pieces, size_t count) {
    size_t room = SDI_TRANSFER_MAX;
    size_t taken = 0;
    while (taken < count && taken < IOV_MAX && pieces[taken].size <= room) {
        room -= pieces[taken].size;
        taken++;
    }
    return taken;
}

static ssize_t write_some_pieces(int fd, uint64_t offset, simdrive_bytes *pieces, size_t count) {
    size_t taken = pieces_for_one_call(pieces, count);
    if (taken <= 1) return pwrite(fd, pieces->data, smaller(pieces->size, SDI_TRANSFER_MAX), (off_t)offset);
    return pwritev(fd, (const struct iovec *)(void *)pieces, (int)taken, (off_t)offset);
}

static bool sum_of_pieces(const simdrive_bytes *pieces, size_t count, uint64_t *sum) {
    *sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > UINT64_MAX - *sum) return false;
        *sum += pieces[i].size;
    }
    return true;
}

simdrive_status sdi_posix_write_pieces_at(const sdi_os *os, sdi_file *file, uint64_t offset, simdrive_bytes *pieces,
                                          size_t count) {
    (void)os;
    uint64_t left;
    if (!sum_of_pieces(pieces, count, &left)) return sdi_posix_error(EFBIG);
    simdrive_status status = check_room(file, offset, left);
    if (status != SIMDRIVE_OK) return status;
    while (left > 0) {
        while (pieces->size == 0) { /* `left` says that one with bytes follows */
            pieces++;
            count--;
        }
        ssize_t put = write_some_pieces(file->fd, offset, pieces, count);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return sdi_posix_error(put < 0 ? errno : EIO);
        offset += (uint64_t)put;
        left -= (uint64_t)put;
        size_t done = (size_t)put;
        while (done > 0 && done >= pieces->size) {
            done -= pieces->size;
            pieces++;
            count--;
        }
        if (done > 0) {
            pieces->data = (const char *)pieces->data + done;
            pieces->size -= done;
        }
    }
    return SIMDRIVE_OK;
}

#if defined(__linux__)
/* The system cannot copy between these two: the caller can. EPERM is how some sandboxes answer calls they do not know;
 * a real lack of permission shows in the caller's own write. */
static bool means_unsupported(int number) {
    return number == EXDEV || number == EINVAL || number == ENOSYS || number == EOPNOTSUPP || number == EPERM ||
           number == EBADF || number == ETXTBSY;
}

simdrive_status sdi_posix_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                     uint64_t to_offset, uint64_t size, uint64_t *copied) {
    (void)os;
    *copied = 0;
    if (!fits_offset(from_offset, size)) return past_the_end();
    simdrive_status status = check_room(to, to_offset, size);
    if (status != SIMDRIVE_OK) return status;
    off_t read_from = (off_t)from_offset;
    off_t write_to = (off_t)to_offset;
    while (*copied < size) {
        uint64_t left = size - *copied;
        size_t step = left < SDI_TRANSFER_MAX ? (size_t)left : SDI_TRANSFER_MAX;
        ssize_t put = copy_file_range(from->fd, &read_from, to->fd, &write_to, step, 0);
        if (put < 0 && errno == EINTR) continue;
        if (put > 0) {
            *copied += (uint64_t)put;
            continue;
        }
        if (*copied > 0) return SIMDRIVE_OK; /* the next call meets what stopped this one */
        if (put < 0 && !means_unsupported(errno)) return sdi_posix_error(errno);
        /* Nothing copied without an error: the end of the file, or a file system that pretends. A read tells. */
        sdi_set_os_error(put < 0 ? errno : 0);
        return SIMDRIVE_ERROR_UNSUPPORTED;
    }
    return SIMDRIVE_OK;
}
#else
simdrive_status sdi_posix_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                     uint64_t to_offset, uint64_t size, uint64_t *copied) {
    (void)os, (void)from, (void)from_offset, (void)to, (void)to_offset, (void)size;
    *copied = 0;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}
#endif
