/* SPDX-License-Identifier: Apache-2.0
 *
 * memory.c — whole pages of zeroed memory on Windows. Huge ones need a privilege there that nearly no user has.
 */
#include "os/windows/win.h"

void *sdi_pages_acquire(size_t size) {
    void *pages = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (pages == NULL) sdi_set_os_error((int)GetLastError());
    return pages;
}

void sdi_pages_release(void *pages, size_t size) {
    (void)size;
    if (pages != NULL) VirtualFree(pages, 0, MEM_RELEASE);
}

/* Only pages that lie in the range as a whole: their neighbours' bytes are not the caller's to drop. */
void sdi_pages_discard(void *pages, size_t size) {
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    uintptr_t page = system.dwPageSize;
    uintptr_t first = ((uintptr_t)pages + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)pages + size) & ~(page - 1);
    if (pages != NULL && end > first) VirtualAlloc((void *)first, end - first, MEM_RESET, PAGE_READWRITE);
}
