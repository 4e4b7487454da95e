/* SPDX-License-Identifier: Apache-2.0
 *
 * memory.c — whole pages of zeroed memory on POSIX, huge ones where they pay.
 */
#include "os/posix/posix.h"

#include <sys/mman.h>
#include <unistd.h>

#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif

/* The size of a huge page on x86-64, and on arm64 with 4 KiB pages. Where it is another, only the start is aligned
 * better than needed. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* 0 when it does not fit. */
static size_t whole_pages(size_t size) {
    size_t page = page_bytes();
    return size > SIZE_MAX - (page - 1) ? 0 : (size + page - 1) & ~(page - 1);
}

static char *acquire(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED) return pages;
    sdi_set_os_error(errno);
    return NULL;
}

/* Takes more than is asked for, and gives back what lies before and behind the aligned part. */
static char *acquire_aligned(size_t size) {
    if (size > SIZE_MAX - HUGE_PAGE_BYTES) return NULL;
    size_t spare = HUGE_PAGE_BYTES - page_bytes();
    char *pages = acquire(size + spare);
    if (pages == NULL) return NULL;
    size_t before = (size_t)(-(uintptr_t)pages & (HUGE_PAGE_BYTES - 1));
    if (before > 0) munmap(pages, before);
    if (before < spare) munmap(pages + before + size, spare - before);
    return pages + before;
}

void *sdi_pages_acquire(size_t size) {
    size = whole_pages(size);
    if (size == 0) {
        sdi_set_os_error(ENOMEM);
        return NULL;
    }
    if (size < HUGE_PAGE_BYTES) return acquire(size);
    char *pages = acquire_aligned(size);
    if (pages == NULL) return acquire(size); /* address space so short that the spare part was too much */
#if defined(MADV_HUGEPAGE)
    madvise(pages, size, MADV_HUGEPAGE);
#endif
    return pages;
}

void sdi_pages_release(void *pages, size_t size) {
    if (pages != NULL) munmap(pages, whole_pages(size));
}

/* Only pages that lie in the range as a whole: their neighbours' bytes are not the caller's to drop. */
void sdi_pages_discard(void *pages, size_t size) {
    uintptr_t page = page_bytes();
    uintptr_t first = ((uintptr_t)pages + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)pages + size) & ~(page - 1);
    if (pages == NULL || end <= first) return;
#if defined(__linux__)
    madvise((void *)first, end - first, MADV_DONTNEED);
#elif defined(MADV_FREE)
    madvise((void *)first, end - first, MADV_FREE);
#endif
}
