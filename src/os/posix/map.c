/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c — maps of files on POSIX (O6): shared to be read, shared to be written to, private.
 */
#include "os/posix/posix.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

simdrive_status sdi_posix_map(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out) {
    (void)os;
    *out = NULL;
    if (size > SIZE_MAX) return sdi_posix_error(ENOMEM); /* more than there are addresses */
    void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED | MAP_NORESERVE, file->fd, 0);
    if (base == MAP_FAILED) {
        /* Nothing else than its length can be wrong: some emulators of the system call say so instead of ENOMEM. */
        return sdi_posix_error(errno == EINVAL ? ENOMEM : errno);
    }
    *out = base;
    return SIMDRIVE_OK;
}

simdrive_status sdi_posix_map_private(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out) {
    (void)os;
    *out = NULL;
    if (size > SIZE_MAX) return sdi_posix_error(ENOMEM);
    void *base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file->fd, 0);
    if (base == MAP_FAILED) return sdi_posix_error(errno);
    *out = base;
    return SIMDRIVE_OK;
}

#if defined(MADV_POPULATE_WRITE)
simdrive_status sdi_posix_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out) {
    (void)os;
    *out = NULL;
    if (size > SIZE_MAX) return sdi_posix_error(ENOMEM);
    void *base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)offset);
    if (base == MAP_FAILED) return sdi_posix_error(errno == EINVAL ? ENOMEM : errno);
    *out = base;
    return SIMDRIVE_OK;
}

/* EFAULT: a page that touching it would have answered with a signal; no page of the range is behind the file's end, so
 * there is no room for it. EINVAL: a kernel before 5.14. */
simdrive_status sdi_posix_make_present(const sdi_os *os, uint8_t *address, uint64_t size) {
    (void)os;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)address & ~(page - 1);
    uintptr_t length = (uintptr_t)address - first + (uintptr_t)size;
    int result;
    do {
        result = madvise((void *)first, length, MADV_POPULATE_WRITE);
    } while (result != 0 && (errno == EINTR || errno == EAGAIN));
    if (result == 0) return SIMDRIVE_OK;
    int error = errno;
    simdrive_status status = sdi_posix_error(error);
    if (error == EINVAL) return SIMDRIVE_ERROR_UNSUPPORTED;
    return error == EFAULT ? SIMDRIVE_ERROR_NO_SPACE : status;
}
#else
/* Without a way to see that pages are there, storing into the map could end the process. */
simdrive_status sdi_posix_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out) {
    (void)os, (void)file, (void)offset, (void)size;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

simdrive_status sdi_posix_make_present(const sdi_os *os, uint8_t *address, uint64_t size) {
    (void)os, (void)address, (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}
#endif

simdrive_status sdi_posix_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size) {
    (void)os;
#ifdef __linux__
    if (new_size > SIZE_MAX) return sdi_posix_error(ENOMEM);
    void *grown = mremap((void *)(uintptr_t)base, (size_t)old_size, (size_t)new_size, 0);
    return grown == MAP_FAILED ? sdi_posix_error(errno) : SIMDRIVE_OK;
#else
    (void)base;
    (void)old_size;
    (void)new_size;
    return SIMDRIVE_ERROR_UNSUPPORTED;
#endif
}

void sdi_posix_unmap(const sdi_os *os, const uint8_t *base, uint64_t size) {
    (void)os;
    if (base == NULL) return;
    munmap((void *)(uintptr_t)base, (size_t)size);
}

/* Linux 5.14; an older one that runs what a newer one has built says that it does not know it. */
#if defined(MADV_POPULATE_READ)
#define NEED_NOW_ADVICE MADV_POPULATE_READ
#else
#define NEED_NOW_ADVICE MADV_WILLNEED
#endif

static int advice_number(sdi_advice advice) {
    switch (advice) {
    case SDI_ADVICE_SEQUENTIAL:
        return MADV_SEQUENTIAL;
    case SDI_ADVICE_WILL_NEED:
        return MADV_WILLNEED;
    case SDI_ADVICE_NEED_NOW:
        return NEED_NOW_ADVICE;
    case SDI_ADVICE_DONT_NEED:
        return MADV_DONTNEED; /* of a shared map: the page cache keeps the bytes */
    }
    return MADV_NORMAL;
}

enum { SAMPLE = 8, LEAST_LOOKED_AT = 2 * SAMPLE /* pages */ };

#if defined(__linux__)
enum { TELLS_RESIDENCE = 1 };

/* Whether pages at both ends of the range are in memory: then the rest is, most likely, and to ask for it would cost
 * a look at every page. To who may not write to the file the system may say so although they are not; he goes without
 * the advice. */
static bool seems_resident(uintptr_t first, uintptr_t length, uintptr_t page) {
    unsigned char resident[2 * SAMPLE];
    if (length < LEAST_LOOKED_AT * page) return false;
    uintptr_t last = ((first + length - 1) & ~(page - 1)) - (SAMPLE - 1) * page;
    if (mincore((void *)first, SAMPLE * page, resident) != 0) return false;
    if (mincore((void *)last, SAMPLE * page, resident + SAMPLE) != 0) return false;
    for (unsigned i = 0; i < 2 * SAMPLE; i++) {
        if (!(resident[i] & 1)) return false;
    }
    return true;
}

#else
enum { TELLS_RESIDENCE = 0 };

static bool seems_resident(uintptr_t first, uintptr_t length, uintptr_t page) {
    (void)first, (void)length, (void)page;
    return false;
}

#endif

bool sdi_posix_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)os;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)address & ~(page - 1);
    uintptr_t length = (uintptr_t)address - first + (uintptr_t)size;
    bool to_fetch = advice == SDI_ADVICE_WILL_NEED;
    if (size == 0 || (to_fetch && seems_resident(first, length, page))) return false;
    madvise((void *)first, length, advice_number(advice)); /* a hint: nothing depends on it */
    return to_fetch && TELLS_RESIDENCE && length >= LEAST_LOOKED_AT * page;
}
