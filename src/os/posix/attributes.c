/* SPDX-License-Identifier: Apache-2.0
 *
 * attributes.c — owner, group and permission bits from one file to another on POSIX, never with more rights.
 *
 * A process without privilege often cannot keep owner or group. People then fall into another class of the mode bits
 * than before, so that the same bits would mean more:
 *   - the old owner is now of the group or of the others: these get no bit that the owner did not have;
 *   - people of the old group are now among the others, and the new group's were among the others: both classes get
 *     only what both had.
 * Access control lists hide the group's true bits behind a mask. A list is copied where owner and group were kept;
 * where it cannot be, nobody but the owner gets anything.
 */
#include "os/posix/posix.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/xattr.h>
#endif

enum { OWNER_BITS = 0700, ALL_BITS = 0777 };

static mode_t rights_after_owner_change(mode_t mode) {
    mode_t owner = (mode >> 6) & 7;
    return mode & (OWNER_BITS | owner << 3 | owner);
}

static mode_t rights_after_group_change(mode_t mode) {
    mode_t common = (mode >> 3) & mode & 7;
    return (mode & OWNER_BITS) | common << 3 | common;
}

#if defined(__linux__)
static const char acl_name[] = "system.posix_acl_access";

static bool has_acl(int fd) {
    return fgetxattr(fd, acl_name, NULL, 0) > 0;
}

static bool copy_acl(int from, int to) {
    ssize_t size = fgetxattr(from, acl_name, NULL, 0);
    void *list = size > 0 ? malloc((size_t)size) : NULL;
    bool copied = list != NULL && fgetxattr(from, acl_name, list, (size_t)size) == size &&
                  fsetxattr(to, acl_name, list, (size_t)size, 0) == 0;
    free(list);
    return copied;
}

/* A list that the new file has from its folder. Where it stays, that is what the folder's owner wanted. */
static void remove_acl(int fd) {
    fremovexattr(fd, acl_name);
}
#else
static bool has_acl(int fd) {
    (void)fd;
    return false;
}
static bool copy_acl(int from, int to) {
    (void)from, (void)to;
    return false;
}
static void remove_acl(int fd) {
    (void)fd;
}
#endif

simdrive_status sdi_posix_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to) {
    (void)os;
    struct stat wanted;
    struct stat got;
    if (fstat(from->fd, &wanted) != 0) return sdi_posix_error(errno);
    /* Before the bits: with them first, the wrong group could read meanwhile. */
    bool refused = fchown(to->fd, wanted.st_uid, wanted.st_gid) != 0;
    if (refused) refused = fchown(to->fd, (uid_t)-1, wanted.st_gid) != 0;
    if (fstat(to->fd, &got) != 0) return sdi_posix_error(errno); /* what was kept, whatever fchown() said */

    mode_t mode = wanted.st_mode & ALL_BITS;
    bool same_owner = got.st_uid == wanted.st_uid;
    bool same_group = got.st_gid == wanted.st_gid;
    if (!same_owner) mode = rights_after_owner_change(mode);
    if (!same_group) mode = rights_after_group_change(mode);
    bool listed = has_acl(from->fd);
    bool list_kept = listed && same_owner && same_group && copy_acl(from->fd, to->fd);
    if (!list_kept) remove_acl(to->fd);
    if (listed && !list_kept) mode &= OWNER_BITS;

    if (fchmod(to->fd, mode) == 0) return SIMDRIVE_OK;
    bool no_modes_here = errno == EPERM || errno == ENOSYS || errno == EOPNOTSUPP; /* FAT and its like */
    return no_modes_here ? SIMDRIVE_OK : sdi_posix_error(errno);
}
