/* SPDX-License-Identifier: Apache-2.0
 *
 * name.c — names of files, and the folders that hold them, on POSIX.
 */
#include "os/posix/posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

simdrive_status sdi_posix_resolve(const sdi_os *os, const char *path, char **out) {
    (void)os;
    *out = realpath(path, NULL);
    return *out != NULL ? SIMDRIVE_OK : sdi_posix_error(errno);
}

simdrive_status sdi_posix_rename(const sdi_os *os, const char *from, const char *to) {
    (void)os;
    return rename(from, to) == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

/* 0; or -1 and errno, which is ENOSYS where the system or the file system has no such rename. */
static int rename_without_replacing(const char *from, const char *to) {
#if defined(__linux__) && defined(SYS_renameat2)
    const unsigned no_replace = 1; /* RENAME_NOREPLACE, which older C libraries do not name */
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, no_replace) == 0) return 0;
    if (errno == EINVAL) errno = ENOSYS;
    return -1;
#elif defined(__APPLE__)
    if (renamex_np(from, to, RENAME_EXCL) == 0) return 0;
    if (errno == ENOTSUP || errno == EINVAL) errno = ENOSYS;
    return -1;
#else
    (void)from, (void)to;
    errno = ENOSYS;
    return -1;
#endif
}

/* Two names for a moment, never none; a crash between the two steps leaves both. */
static int link_then_unlink(const char *from, const char *to) {
    if (link(from, to) != 0) return -1;
    if (unlink(from) == 0) return 0;
    int error = errno;
    unlink(to);
    errno = error;
    return -1;
}

simdrive_status sdi_posix_rename_new(const sdi_os *os, const char *from, const char *to) {
    (void)os;
    int result = rename_without_replacing(from, to);
    if (result != 0 && errno == ENOSYS) result = link_then_unlink(from, to);
    return result == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

simdrive_status sdi_posix_unlink(const sdi_os *os, const char *path) {
    (void)os;
    return unlink(path) == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
}

/* Descriptor of the folder that holds `path`; -1 and errno on failure. */
static int open_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return sdi_posix_open(".", O_RDONLY | O_DIRECTORY, 0);
    size_t length = (size_t)(slash - path);
    if (length == 0) length = 1; /* the root is its own name */
    char *folder = strndup(path, length);
    if (folder == NULL) return -1;
    int fd = sdi_posix_open(folder, O_RDONLY | O_DIRECTORY, 0);
    int error = errno;
    free(folder);
    errno = error;
    return fd;
}

simdrive_status sdi_posix_sync_folder_of(const sdi_os *os, const char *path) {
    (void)os;
    int fd = open_folder_of(path);
    if (fd < 0) return sdi_posix_error(errno);
    simdrive_status status = SIMDRIVE_OK;
    if (sdi_posix_sync(fd, true) != 0) {
        bool nothing_to_sync = errno == EINVAL || errno == ENOTSUP; /* file systems that order names themselves */
        if (!nothing_to_sync) status = sdi_posix_error(errno);
    }
    close(fd);
    return status;
}

static simdrive_status visit_names(DIR *folder, bool (*visit)(void *user, const char *name), void *user) {
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(folder);
        if (found == NULL) return errno == 0 ? SIMDRIVE_OK : sdi_posix_error(errno);
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
        if (!visit(user, found->d_name)) return SIMDRIVE_OK;
    }
}

simdrive_status sdi_posix_list_folder_of(const sdi_os *os, const char *path,
                                         bool (*visit)(void *user, const char *name), void *user) {
    (void)os;
    int fd = open_folder_of(path);
    if (fd < 0) return sdi_posix_error(errno);
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        simdrive_status status = sdi_posix_error(errno);
        close(fd);
        return status;
    }
    simdrive_status status = visit_names(folder, visit, user);
    closedir(folder);
    return status;
}
