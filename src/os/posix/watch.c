/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c — being told that a file changes, on POSIX: by inotify on Linux, by nothing elsewhere.
 *
 * Two things are watched: the file, for it being written to or cut, and the folder it is in, for another file taking
 * its name, as a compaction does. The watch on the file stays with the file that had the name at the beginning; who was
 * told of another one begins a new watch.
 *
 *   - Events queue up from watch_begin() on, so nothing between it and watch_wait() is lost.
 *   - What happens to other names in the folder wakes nobody: those events are read and dropped.
 *   - When the queue has overflowed, anything may have happened: the wait ends.
 *   - Changes made on another machine, through a network file system, are not told. Callers look now and then anyway.
 */
#include "os/posix/posix.h"

#include <stdlib.h>

#if defined(__linux__)

#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { EVENT_BYTES = 4096 }; /* read at once; at least one event, whose name has up to NAME_MAX bytes */

#define FILE_EVENTS (IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define FOLDER_EVENTS (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

struct sdi_watch {
    int fd;
    int file; /* inotify's numbers of the two watches; `folder` is -1 when the folder cannot be watched */
    int folder;
    char name[]; /* of the file, in its folder */
};

/* The folder of a path: of the length returned; 0 when the path has none. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return 0;
    return slash == path ? 1 : (size_t)(slash - path);
}

static int watch_folder(int fd, const char *path) {
    size_t length = folder_length(path);
    char *folder = malloc(length + 2);
    if (folder == NULL) return -1;
    memcpy(folder, length > 0 ? path : ".", length > 0 ? length : 1);
    folder[length > 0 ? length : 1] = '\0';
    int watch = inotify_add_watch(fd, folder, FOLDER_EVENTS);
    free(folder);
    return watch;
}

/* The system's limits on watches are no failure of the store: who asks goes on without one. */
static simdrive_status refuse(int error) {
    simdrive_status status = sdi_posix_error(error);
    return error == EMFILE || error == ENFILE || error == ENOSPC || error == ENOSYS ? SIMDRIVE_ERROR_UNSUPPORTED
                                                                                    : status;
}

simdrive_status sdi_posix_watch_begin(const sdi_os *os, const char *path, sdi_watch **out) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    (void)os;
    *out = NULL;
    sdi_watch *watch = malloc(sizeof *watch + strlen(name) + 1);
    if (watch == NULL) return sdi_posix_error(ENOMEM);
    strcpy(watch->name, name);
    watch->fd = sdi_posix_leave_standard(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    watch->file = watch->fd >= 0 ? inotify_add_watch(watch->fd, path, FILE_EVENTS) : -1;
    if (watch->file < 0) {
        simdrive_status status = refuse(errno);
        sdi_posix_watch_end(os, watch);
        return status;
    }
    watch->folder = watch_folder(watch->fd, path);
    *out = watch;
    return SIMDRIVE_OK;
}

static bool concerns_us(const sdi_watch *watch, const struct inotify_event *event, const char *name) {
    if (event->mask & IN_Q_OVERFLOW) return true;
    if (event->wd == watch->file) return true;
    return event->wd == watch->folder && event->len > 0 && strcmp(name, watch->name) == 0;
}

/* Takes what is queued; whether any of it is about the file or its name. */
static bool take_events(sdi_watch *watch) {
    char buffer[EVENT_BYTES];
    bool any = false;
    for (;;) {
        ssize_t got = read(watch->fd, buffer, sizeof buffer);
        if (got <= 0) return any;
        for (size_t at = 0; at + sizeof(struct inotify_event) <= (size_t)got;) {
            struct inotify_event event;
            memcpy(&event, buffer + at, sizeof event);
            any |= concerns_us(watch, &event, buffer + at + sizeof event);
            at += sizeof event + event.len;
        }
    }
}

void sdi_posix_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms) {
    struct pollfd queue = {.fd = watch->fd, .events = POLLIN};
    uint64_t until = sdi_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
    (void)os;
    for (;;) {
        uint64_t now = sdi_monotonic_ns();
        uint64_t left = now < until ? (until - now + 999999) / 1000000 : 0;
        int ready = poll(&queue, 1, left < INT_MAX ? (int)left : INT_MAX);
        if (ready <= 0 || take_events(watch) || left == 0) return;
    }
}

void sdi_posix_watch_end(const sdi_os *os, sdi_watch *watch) {
    (void)os;
    if (watch == NULL) return;
    if (watch->fd >= 0) close(watch->fd); /* its watches go with it */
    free(watch);
}

#else

simdrive_status sdi_posix_watch_begin(const sdi_os *os, const char *path, sdi_watch **out) {
    (void)os, (void)path;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

void sdi_posix_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms) {
    (void)os, (void)watch, (void)timeout_ms;
}

void sdi_posix_watch_end(const sdi_os *os, sdi_watch *watch) {
    (void)os, (void)watch;
}

#endif
