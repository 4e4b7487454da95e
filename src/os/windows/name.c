/* SPDX-License-Identifier: Apache-2.0
 *
 * name.c — names of files, and the folders that hold them, on Windows.
 */
#include "os/windows/win.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* What SetFileInformationByHandle() takes as FileRenameInfoEx; not in every version of the system's headers. */
typedef struct rename_request {
    DWORD flags;
    HANDLE root;
    DWORD name_bytes;
    wchar_t name[];
} rename_request;

enum { RENAME_INFO_EX = 22, RENAME_REPLACE = 1, RENAME_POSIX = 2 };

/* --- UTF-8 and UTF-16 ------------------------------------------------------------------------------------------ */

static wchar_t *decode(const char *text) {
    int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    wchar_t *wide = size > 0 ? malloc((size_t)size * sizeof *wide) : NULL;
    if (wide != NULL) MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, size);
    else if (size > 0) SetLastError(ERROR_OUTOFMEMORY);
    return wide;
}

char *sdi_win_narrow(const wchar_t *text) {
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *narrow = size > 0 ? malloc((size_t)size) : NULL;
    if (narrow != NULL) WideCharToMultiByte(CP_UTF8, 0, text, -1, narrow, size, NULL, NULL);
    else if (size > 0) SetLastError(ERROR_OUTOFMEMORY);
    return narrow;
}

static bool begins_with(const wchar_t *text, const wchar_t *prefix) {
    return wcsncmp(text, prefix, wcslen(prefix)) == 0;
}

/* Names beyond MAX_PATH are taken only with a mark that says so; it wants them absolute. */
static const wchar_t *mark_for(const wchar_t *full) {
    if (wcslen(full) < MAX_PATH - 13 || begins_with(full, L"\\\\?\\") || begins_with(full, L"\\\\.\\")) return L"";
    return begins_with(full, L"\\\\") ? L"\\\\?\\UNC" : L"\\\\?\\";
}

wchar_t *sdi_win_widen(const char *path) {
    enum { MARK_MAX = 8 };
    wchar_t *given = decode(path);
    if (given == NULL) return NULL;
    DWORD size = GetFullPathNameW(given, 0, NULL, NULL);
    wchar_t *full = size > 0 ? malloc((size + MARK_MAX) * sizeof *full) : NULL;
    if (full != NULL && GetFullPathNameW(given, size, full, NULL) < size) {
        const wchar_t *mark = mark_for(full);
        size_t length = wcslen(mark);
        bool network = length > 4;
        wchar_t *rest = full + (network ? 1 : 0); /* "\\server" becomes "\\?\UNC\server" */
        memmove(full + length, rest, (wcslen(rest) + 1) * sizeof *full);
        memcpy(full, mark, length * sizeof *full);
    } else if (full != NULL) {
        free(full);
        full = NULL;
        SetLastError(ERROR_PATH_NOT_FOUND); /* the current folder changed in between */
    } else if (size > 0) {
        SetLastError(ERROR_OUTOFMEMORY);
    }
    free(given);
    return full;
}

/* --- the table ------------------------------------------------------------------------------------------------- */

/* The name without the mark of sdi_win_widen(), which other programs do not expect. */
static wchar_t *without_mark(wchar_t *full) {
    if (begins_with(full, L"\\\\?\\UNC\\")) {
        full[6] = L'\\';
        return full + 6;
    }
    return begins_with(full, L"\\\\?\\") ? full + 4 : full;
}

static simdrive_status final_name(HANDLE handle, char **out) {
    DWORD size = GetFinalPathNameByHandleW(handle, NULL, 0, FILE_NAME_NORMALIZED);
    if (size == 0) return sdi_win_last_error();
    wchar_t *full = malloc((size + 1) * sizeof *full);
    if (full == NULL) return sdi_win_error(ERROR_OUTOFMEMORY);
    DWORD length = GetFinalPathNameByHandleW(handle, full, size + 1, FILE_NAME_NORMALIZED);
    if (length > 0 && length <= size) *out = sdi_win_narrow(without_mark(full));
    simdrive_status status = *out != NULL ? SIMDRIVE_OK : sdi_win_last_error();
    free(full);
    return status;
}

simdrive_status sdi_win_resolve(const sdi_os *os, const char *path, char **out) {
    (void)os;
    *out = NULL;
    wchar_t *wide = sdi_win_widen(path);
    if (wide == NULL) return sdi_win_last_error();
    HANDLE handle = sdi_win_open_any(wide, FILE_READ_ATTRIBUTES);
    simdrive_status status = handle != INVALID_HANDLE_VALUE ? final_name(handle, out) : sdi_win_last_error();
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    free(wide);
    return status;
}

/* Replaces a file that is open and mapped, as readers of the old one need it: they keep what they have. */
static bool rename_over_open_file(const wchar_t *from, const wchar_t *to) {
    size_t name_bytes = wcslen(to) * sizeof *to;
    size_t size = sizeof(rename_request) + name_bytes + sizeof *to;
    rename_request *request = calloc(1, size);
    if (request == NULL) return false;
    request->flags = RENAME_REPLACE | RENAME_POSIX;
    request->name_bytes = (DWORD)name_bytes;
    memcpy(request->name, to, name_bytes);
    HANDLE handle = sdi_win_open_any(from, DELETE | SYNCHRONIZE);
    bool done = handle != INVALID_HANDLE_VALUE &&
                SetFileInformationByHandle(handle, (FILE_INFO_BY_HANDLE_CLASS)RENAME_INFO_EX, request, (DWORD)size);
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    free(request);
    return done;
}

static simdrive_status rename_wide(const char *from, const char *to, bool replace) {
    wchar_t *wide_from = sdi_win_widen(from);
    wchar_t *wide_to = wide_from != NULL ? sdi_win_widen(to) : NULL;
    DWORD flags = MOVEFILE_WRITE_THROUGH | (replace ? MOVEFILE_REPLACE_EXISTING : 0);
    bool done = wide_to != NULL && ((replace && rename_over_open_file(wide_from, wide_to)) ||
                                    MoveFileExW(wide_from, wide_to, flags));
    simdrive_status status = done ? SIMDRIVE_OK : sdi_win_last_error();
    free(wide_to);
    free(wide_from);
    return status;
}

simdrive_status sdi_win_rename(const sdi_os *os, const char *from, const char *to) {
    (void)os;
    return rename_wide(from, to, true);
}

simdrive_status sdi_win_rename_new(const sdi_os *os, const char *from, const char *to) {
    (void)os;
    return rename_wide(from, to, false);
}

simdrive_status sdi_win_unlink(const sdi_os *os, const char *path) {
    (void)os;
    wchar_t *wide = sdi_win_widen(path);
    simdrive_status status = wide != NULL && DeleteFileW(wide) ? SIMDRIVE_OK : sdi_win_last_error();
    free(wide);
    return status;
}

/* The folder that holds `path`, with a last backslash and room for one character more; freed with free(). */
static wchar_t *folder_of(const char *path) {
    wchar_t *full = sdi_win_widen(path);
    wchar_t *last = full != NULL ? wcsrchr(full, L'\\') : NULL;
    wchar_t *folder = NULL;
    if (last != NULL) {
        size_t length = (size_t)(last - full) + 1;
        folder = calloc(length + 2, sizeof *folder);
        if (folder != NULL) memcpy(folder, full, length * sizeof *folder);
        else SetLastError(ERROR_OUTOFMEMORY);
    } else if (full != NULL) {
        SetLastError(ERROR_PATH_NOT_FOUND);
    }
    free(full);
    return folder;
}

/* The journal of NTFS orders names by itself; who may not flush a folder relies on that alone. */
simdrive_status sdi_win_sync_folder_of(const sdi_os *os, const char *path) {
    (void)os;
    wchar_t *folder = folder_of(path);
    if (folder == NULL) return sdi_win_last_error();
    HANDLE handle = sdi_win_open_any(folder, GENERIC_READ | GENERIC_WRITE);
    simdrive_status status = SIMDRIVE_OK;
    if (handle == INVALID_HANDLE_VALUE || !FlushFileBuffers(handle)) {
        DWORD error = GetLastError();
        bool not_for_us =
            error == ERROR_ACCESS_DENIED || error == ERROR_INVALID_FUNCTION || error == ERROR_NOT_SUPPORTED;
        if (!not_for_us) status = sdi_win_error(error);
    }
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    free(folder);
    return status;
}

/* Whether to go on. */
static bool visit_name(const wchar_t *wide, bool (*visit)(void *user, const char *name), void *user,
                       simdrive_status *status) {
    if (wcscmp(wide, L".") == 0 || wcscmp(wide, L"..") == 0) return true;
    char *name = sdi_win_narrow(wide);
    if (name == NULL) {
        *status = sdi_win_last_error();
        return false;
    }
    bool more = visit(user, name);
    free(name);
    return more;
}

simdrive_status sdi_win_list_folder_of(const sdi_os *os, const char *path,
                                       bool (*visit)(void *user, const char *name), void *user) {
    (void)os;
    WIN32_FIND_DATAW found;
    wchar_t *pattern = folder_of(path);
    if (pattern == NULL) return sdi_win_last_error();
    pattern[wcslen(pattern)] = L'*';
    HANDLE search = FindFirstFileW(pattern, &found);
    simdrive_status status = search != INVALID_HANDLE_VALUE ? SIMDRIVE_OK : sdi_win_last_error();
    free(pattern);
    if (search == INVALID_HANDLE_VALUE) return status;
    while (visit_name(found.cFileName, visit, user, &status)) {
        if (FindNextFileW(search, &found)) continue;
        if (GetLastError() != ERROR_NO_MORE_FILES) status = sdi_win_last_error();
        break;
    }
    FindClose(search);
    return status;
}
