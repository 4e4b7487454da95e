/* SPDX-License-Identifier: Apache-2.0
 *
 * transfer.c — bytes in and out of a file on Windows, complete or an error (O2, O3).
 */
#include "os/windows/win.h"

#define TRANSFER_MAX ((size_t)1 << 30)

static OVERLAPPED place_of(uint64_t offset) {
    OVERLAPPED place = {0};
    place.Offset = (DWORD)offset;
    place.OffsetHigh = (DWORD)(offset >> 32);
    return place;
}

static DWORD one_step(size_t size) {
    return (DWORD)(size < TRANSFER_MAX ? size : TRANSFER_MAX);
}

static bool fits_offset(uint64_t offset, uint64_t size) {
    return offset <= INT64_MAX && size <= INT64_MAX - offset;
}

static simdrive_status past_the_end(void) {
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_IO;
}

simdrive_status sdi_win_read_at(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size) {
    (void)os;
    char *to = buffer;
    if (!fits_offset(offset, size)) return past_the_end();
    while (size > 0) {
        OVERLAPPED place = place_of(offset);
        DWORD got = 0;
        bool done = ReadFile(file->handle, to, one_step(size), &got, &place);
        if (!done && GetLastError() != ERROR_HANDLE_EOF) return sdi_win_last_error();
        if (got == 0) return past_the_end();
        to += got;
        offset += got;
        size -= got;
    }
    return SIMDRIVE_OK;
}

simdrive_status sdi_win_write_at(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data, size_t size) {
    (void)os;
    const char *from = data;
    if (!fits_offset(offset, size)) return sdi_win_error(ERROR_FILE_TOO_LARGE);
    while (size > 0) {
        OVERLAPPED place = place_of(offset);
        DWORD put = 0;
        if (!WriteFile(file->handle, from, one_step(size), &put, &place)) return sdi_win_last_error();
        if (put == 0) return sdi_win_error(ERROR_WRITE_FAULT); /* nothing taken and no reason: no progress */
        from += put;
        offset += put;
        size -= put;
    }
    return SIMDRIVE_OK;
}

/* The system gathers whole pages of unbuffered files only, so each piece is a write. */
simdrive_status sdi_win_write_pieces_at(const sdi_os *os, sdi_file *file, uint64_t offset, simdrive_bytes *pieces,
                                        size_t count) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < count && status == SIMDRIVE_OK; i++) {
        status = sdi_win_write_at(os, file, offset, pieces[i].data, pieces[i].size);
        offset += pieces[i].size;
    }
    return status;
}

simdrive_status sdi_win_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                   uint64_t to_offset, uint64_t size, uint64_t *copied) {
    (void)os, (void)from, (void)from_offset, (void)to, (void)to_offset, (void)size;
    *copied = 0;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

/* Stores are not made sparse here, so all of the rest is data. */
simdrive_status sdi_win_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start, uint64_t *end) {
    sdi_file_info info;
    *start = *end = 0;
    simdrive_status status = sdi_win_file_info(os, file, &info);
    if (status != SIMDRIVE_OK) return status;
    *start = offset < info.size ? offset : info.size;
    *end = info.size;
    return SIMDRIVE_OK;
}
