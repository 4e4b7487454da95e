/* SPDX-License-Identifier: Apache-2.0
 *
 * win.h — what the files of the Windows door share with each other, and with nobody else.
 *
 * Windows 10 and later. Names are UTF-8 outside and UTF-16 inside.
 */
#ifndef SDI_WIN_H
#define SDI_WIN_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "os/os.h"

struct sdi_file {
    HANDLE handle;
};

/* Remembers `number` as the thread's last system error and translates it, as os.h lists it. */
simdrive_status sdi_win_error(DWORD number);
/* The same for GetLastError(). */
simdrive_status sdi_win_last_error(void);

/* The name as the system wants it, absolute, of any length; freed with free(). NULL and the last error on failure. */
wchar_t *sdi_win_widen(const char *path);
char *sdi_win_narrow(const wchar_t *text);

/* A handle for questions about whatever has that name, folders too; INVALID_HANDLE_VALUE on failure. */
HANDLE sdi_win_open_any(const wchar_t *path, DWORD access);

/* The members of the table, by file. */

/* file.c */
simdrive_status sdi_win_file_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode, sdi_file **out);
void sdi_win_file_close(const sdi_os *os, sdi_file *file);
simdrive_status sdi_win_file_info(const sdi_os *os, sdi_file *file, sdi_file_info *out);
simdrive_status sdi_win_path_info(const sdi_os *os, const char *path, sdi_file_info *out);
simdrive_status sdi_win_file_lock(const sdi_os *os, sdi_file *file);
simdrive_status sdi_win_file_space(const sdi_os *os, sdi_file *file, uint64_t *available);
void sdi_win_file_length_is_kept(const sdi_os *os, sdi_file *file);
void sdi_win_nobody_is_present(const sdi_os *os, sdi_file *file);
simdrive_status sdi_win_claim_presence(const sdi_os *os, sdi_file *file);
simdrive_status sdi_win_punch_hole(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
void sdi_win_file_unlock(const sdi_os *os, sdi_file *file);
simdrive_status sdi_win_file_truncate(const sdi_os *os, sdi_file *file, uint64_t size);
simdrive_status sdi_win_file_sync(const sdi_os *os, sdi_file *file);
void sdi_win_begin_write_back(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
simdrive_status sdi_win_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to);

/* transfer.c */
simdrive_status sdi_win_read_at(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size);
simdrive_status sdi_win_write_at(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data, size_t size);
simdrive_status sdi_win_write_pieces_at(const sdi_os *os, sdi_file *file, uint64_t offset, simdrive_bytes *pieces,
                                        size_t count);
simdrive_status sdi_win_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                   uint64_t to_offset, uint64_t size, uint64_t *copied);

simdrive_status sdi_win_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start, uint64_t *end);

simdrive_status sdi_win_set_aside(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);

/* name.c */
simdrive_status sdi_win_resolve(const sdi_os *os, const char *path, char **out);
simdrive_status sdi_win_rename(const sdi_os *os, const char *from, const char *to);
simdrive_status sdi_win_rename_new(const sdi_os *os, const char *from, const char *to);
simdrive_status sdi_win_unlink(const sdi_os *os, const char *path);
simdrive_status sdi_win_sync_folder_of(const sdi_os *os, const char *path);
simdrive_status sdi_win_list_folder_of(const sdi_os *os, const char *path,
                                       bool (*visit)(void *user, const char *name), void *user);

/* map.c */
simdrive_status sdi_win_map(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out);
simdrive_status sdi_win_map_private(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out);
simdrive_status sdi_win_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out);
simdrive_status sdi_win_make_present(const sdi_os *os, uint8_t *address, uint64_t size);
simdrive_status sdi_win_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size);
void sdi_win_unmap(const sdi_os *os, const uint8_t *base, uint64_t size);
bool sdi_win_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice);

/* watch.c */
simdrive_status sdi_win_watch_begin(const sdi_os *os, const char *path, sdi_watch **out);
void sdi_win_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms);
void sdi_win_watch_end(const sdi_os *os, sdi_watch *watch);

#endif
