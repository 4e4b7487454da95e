/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c — one open file on Windows: opening, identity, lock, size, sync, rights.
 */
#include "os/windows/win.h"

#include <stdlib.h>

enum { MODE_WRITABLE = 0644, MODE_READ_ONLY = 0444 };

/* Deleting and renaming an open file is allowed, as elsewhere. */
static const DWORD share_all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

static simdrive_status not_a_file(void) {
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_NOT_A_FILE;
}

HANDLE sdi_win_open_any(const wchar_t *path, DWORD access) {
    return CreateFileW(path, access, share_all, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
}

static bool is_folder(const wchar_t *path) {
    DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* Without security attributes no child process inherits the handle: O1. */
static simdrive_status open_handle(const wchar_t *path, sdi_open_mode how, HANDLE *out) {
    DWORD access = how == SDI_OPEN_READ ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
    DWORD disposition = how == SDI_OPEN_CREATE ? OPEN_ALWAYS : how == SDI_OPEN_CREATE_NEW ? CREATE_NEW : OPEN_EXISTING;
    *out = CreateFileW(path, access, share_all, NULL, disposition, FILE_ATTRIBUTE_NORMAL, NULL);
    if (*out == INVALID_HANDLE_VALUE) {
        simdrive_status status = sdi_win_last_error();
        return status == SIMDRIVE_ERROR_PERMISSION && is_folder(path) ? not_a_file() : status;
    }
    if (GetFileType(*out) == FILE_TYPE_DISK) return SIMDRIVE_OK;
    CloseHandle(*out);
    return not_a_file();
}

simdrive_status sdi_win_file_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode,
                                  sdi_file **out) {
    (void)os, (void)mode; /* rights come from the folder */
    *out = NULL;
    wchar_t *wide = sdi_win_widen(path);
    if (wide == NULL) return sdi_win_last_error();
    sdi_file *file = malloc(sizeof *file);
    simdrive_status status = file != NULL ? open_handle(wide, how, &file->handle) : sdi_win_error(ERROR_OUTOFMEMORY);
    free(wide);
    if (status == SIMDRIVE_OK) *out = file;
    else free(file);
    return status;
}

void sdi_win_file_close(const sdi_os *os, sdi_file *file) {
    (void)os;
    if (file == NULL) return;
    CloseHandle(file->handle);
    free(file);
}

static simdrive_status describe(HANDLE handle, sdi_file_info *out) {
    BY_HANDLE_FILE_INFORMATION found;
    FILE_STANDARD_INFO standard;
    if (!GetFileInformationByHandle(handle, &found)) return sdi_win_last_error();
    if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) return not_a_file();
    bool removed = GetFileInformationByHandleEx(handle, FileStandardInfo, &standard, sizeof standard) &&
                   standard.DeletePending;
    *out = (sdi_file_info){
        .id = {.device = found.dwVolumeSerialNumber,
               .number = (uint64_t)found.nFileIndexHigh << 32 | found.nFileIndexLow},
        .size = (uint64_t)found.nFileSizeHigh << 32 | found.nFileSizeLow,
        .mode = found.dwFileAttributes & FILE_ATTRIBUTE_READONLY ? MODE_READ_ONLY : MODE_WRITABLE,
        .link_count = removed ? 0 : found.nNumberOfLinks,
    };
    return SIMDRIVE_OK;
}

simdrive_status sdi_win_file_info(const sdi_os *os, sdi_file *file, sdi_file_info *out) {
    (void)os;
    *out = (sdi_file_info){0};
    return describe(file->handle, out);
}

simdrive_status sdi_win_path_info(const sdi_os *os, const char *path, sdi_file_info *out) {
    (void)os;
    *out = (sdi_file_info){0};
    wchar_t *wide = sdi_win_widen(path);
    if (wide == NULL) return sdi_win_last_error();
    HANDLE handle = sdi_win_open_any(wide, FILE_READ_ATTRIBUTES);
    simdrive_status status = handle != INVALID_HANDLE_VALUE ? describe(handle, out) : sdi_win_last_error();
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    free(wide);
    return status;
}

/* One byte far behind any store stands for the whole file: a locked range cannot even be read through other handles,
 * and readers are to go on. */
simdrive_status sdi_win_file_lock(const sdi_os *os, sdi_file *file) {
    (void)os;
    OVERLAPPED place = {0};
    place.Offset = 0xfffffffe;
    place.OffsetHigh = 0x7fffffff;
    if (LockFileEx(file->handle, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place))
        return SIMDRIVE_OK;
    DWORD error = GetLastError();
    simdrive_status status = sdi_win_error(error);
    return error == ERROR_IO_PENDING ? SIMDRIVE_ERROR_LOCKED : status;
}

simdrive_status sdi_win_file_space(const sdi_os *os, sdi_file *file, uint64_t *available) {
    (void)os;
    (void)file;
    *available = 0;
    return SIMDRIVE_ERROR_UNSUPPORTED; /* asked by folder there, which an open file does not tell */
}

/* Windows refuses to cut a file that anybody has mapped, so nobody need be asked to wait. */
void sdi_win_file_length_is_kept(const sdi_os *os, sdi_file *file) {
    (void)os;
    (void)file;
}

/* Holes are not punched here: no claim is ever granted, so a share need not be held. */
void sdi_win_nobody_is_present(const sdi_os *os, sdi_file *file) {
    (void)os;
    (void)file;
}

simdrive_status sdi_win_claim_presence(const sdi_os *os, sdi_file *file) {
    (void)os;
    (void)file;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

simdrive_status sdi_win_punch_hole(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
    (void)file;
    (void)offset;
    (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

simdrive_status sdi_win_set_aside(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os;
    (void)file;
    (void)offset;
    (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

void sdi_win_file_unlock(const sdi_os *os, sdi_file *file) {
    (void)os;
    OVERLAPPED place = {0};
    place.Offset = 0xfffffffe;
    place.OffsetHigh = 0x7fffffff;
    UnlockFileEx(file->handle, 0, 1, 0, &place);
}

simdrive_status sdi_win_file_truncate(const sdi_os *os, sdi_file *file, uint64_t size) {
    (void)os;
    if (size > INT64_MAX) return sdi_win_error(ERROR_FILE_TOO_LARGE);
    FILE_END_OF_FILE_INFO end;
    end.EndOfFile.QuadPart = (LONGLONG)size;
    bool done = SetFileInformationByHandle(file->handle, FileEndOfFileInfo, &end, sizeof end);
    return done ? SIMDRIVE_OK : sdi_win_last_error();
}

simdrive_status sdi_win_file_sync(const sdi_os *os, sdi_file *file) {
    (void)os;
    return FlushFileBuffers(file->handle) ? SIMDRIVE_OK : sdi_win_last_error();
}

void sdi_win_begin_write_back(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os, (void)file, (void)offset, (void)size;
}

/* The file's access list, freed with free(). NULL and the last error on failure. */
static PSECURITY_DESCRIPTOR access_list_of(HANDLE handle) {
    DWORD size = 0;
    GetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, NULL, 0, &size);
    if (GetLastError() != ERROR_INSUFFICIENT_BUFFER) return NULL;
    PSECURITY_DESCRIPTOR list = malloc(size);
    if (list == NULL) {
        SetLastError(ERROR_OUTOFMEMORY);
        return NULL;
    }
    if (GetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, list, size, &size)) return list;
    DWORD error = GetLastError();
    free(list);
    SetLastError(error);
    return NULL;
}

static bool set_access_list(HANDLE handle, PSECURITY_DESCRIPTOR list) {
    HANDLE entitled = ReOpenFile(handle, WRITE_DAC, share_all, 0); /* the store's handle cannot change rights */
    if (entitled == INVALID_HANDLE_VALUE) return false;
    bool done = SetKernelObjectSecurity(entitled, DACL_SECURITY_INFORMATION, list);
    DWORD error = GetLastError();
    CloseHandle(entitled);
    SetLastError(error);
    return done;
}

simdrive_status sdi_win_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to) {
    (void)os;
    PSECURITY_DESCRIPTOR list = access_list_of(from->handle);
    bool done = list != NULL && set_access_list(to->handle, list);
    DWORD error = GetLastError();
    free(list);
    bool no_rights_here = error == ERROR_NOT_SUPPORTED || error == ERROR_INVALID_FUNCTION; /* FAT and its like */
    return done || no_rights_here ? SIMDRIVE_OK : sdi_win_error(error);
}
