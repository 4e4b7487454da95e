/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c — system error numbers: the thread's last one, and what status each stands for.
 */
#include "os/posix/posix.h"

static SDI_THREAD_LOCAL int last_os_error;

void sdi_set_os_error(int number) {
    last_os_error = number;
}

int sdi_get_os_error(void) {
    return last_os_error;
}

simdrive_status sdi_posix_error(int number) {
    sdi_set_os_error(number);
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return SIMDRIVE_ERROR_NO_SPACE;
    case ENOMEM:
        return SIMDRIVE_ERROR_NO_MEMORY;
    case EACCES:
    case EPERM:
    case EROFS:
        return SIMDRIVE_ERROR_PERMISSION;
    case ENOENT:
    case ENOTDIR:
        return SIMDRIVE_ERROR_NO_SUCH_FILE;
    case EEXIST:
        return SIMDRIVE_ERROR_EXISTS;
    case EISDIR:
        return SIMDRIVE_ERROR_NOT_A_FILE;
    default:
        return SIMDRIVE_ERROR_IO;
    }
}
