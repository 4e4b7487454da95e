/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c — Windows error numbers: the thread's last one, and what status each stands for.
 */
#include "os/windows/win.h"

#ifndef ERROR_DISK_QUOTA_EXCEEDED
#define ERROR_DISK_QUOTA_EXCEEDED 1295
#endif

static _Thread_local int last_os_error;

void sdi_set_os_error(int number) {
    last_os_error = number;
}

int sdi_get_os_error(void) {
    return last_os_error;
}

simdrive_status sdi_win_last_error(void) {
    return sdi_win_error(GetLastError());
}

simdrive_status sdi_win_error(DWORD number) {
    sdi_set_os_error((int)number);
    switch (number) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_DISK_QUOTA_EXCEEDED:
    case ERROR_FILE_TOO_LARGE:
        return SIMDRIVE_ERROR_NO_SPACE;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
        return SIMDRIVE_ERROR_NO_MEMORY;
    case ERROR_ACCESS_DENIED:
    case ERROR_WRITE_PROTECT:
    case ERROR_PRIVILEGE_NOT_HELD:
        return SIMDRIVE_ERROR_PERMISSION;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
        return SIMDRIVE_ERROR_NO_SUCH_FILE;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
        return SIMDRIVE_ERROR_EXISTS;
    case ERROR_DIRECTORY:
        return SIMDRIVE_ERROR_NOT_A_FILE;
    case ERROR_LOCK_VIOLATION:
    case ERROR_SHARING_VIOLATION:
        return SIMDRIVE_ERROR_LOCKED;
    default:
        return SIMDRIVE_ERROR_IO;
    }
}
