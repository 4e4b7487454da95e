/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c — maps of files on Windows: shared and read-only, or private. None reaches beyond the file's end (O6).
 */
#include "os/windows/win.h"

simdrive_status sdi_win_map(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out) {
    (void)os;
    LARGE_INTEGER file_size;
    *out = NULL;
    if (!GetFileSizeEx(file->handle, &file_size)) return sdi_win_last_error();
    if (size > (uint64_t)file_size.QuadPart) {
        sdi_set_os_error(0);
        return SIMDRIVE_ERROR_UNSUPPORTED;
    }
    if (size > SIZE_MAX) return sdi_win_error(ERROR_NOT_ENOUGH_MEMORY);
    HANDLE section = CreateFileMappingW(file->handle, NULL, PAGE_READONLY, (DWORD)(size >> 32), (DWORD)size, NULL);
    if (section == NULL) return sdi_win_last_error();
    *out = MapViewOfFile(section, FILE_MAP_READ, 0, 0, (SIZE_T)size);
    simdrive_status status = *out != NULL ? SIMDRIVE_OK : sdi_win_last_error();
    CloseHandle(section); /* the view keeps it */
    return status;
}

simdrive_status sdi_win_map_private(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out) {
    (void)os;
    *out = NULL;
    if (size > SIZE_MAX) return sdi_win_error(ERROR_NOT_ENOUGH_MEMORY);
    HANDLE section = CreateFileMappingW(file->handle, NULL, PAGE_WRITECOPY, (DWORD)(size >> 32), (DWORD)size, NULL);
    if (section == NULL) return sdi_win_last_error();
    *out = MapViewOfFile(section, FILE_MAP_COPY, 0, 0, (SIZE_T)size);
    simdrive_status status = *out != NULL ? SIMDRIVE_OK : sdi_win_last_error();
    CloseHandle(section);
    return status;
}

/* A file cannot be cut while it is mapped, and a map does not reach beyond it. */
simdrive_status sdi_win_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out) {
    (void)os;
    (void)file;
    (void)offset;
    (void)size;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

simdrive_status sdi_win_make_present(const sdi_os *os, uint8_t *address, uint64_t size) {
    (void)os;
    (void)address;
    (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

simdrive_status sdi_win_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size) {
    (void)os;
    (void)base;
    (void)old_size;
    (void)new_size;
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

void sdi_win_unmap(const sdi_os *os, const uint8_t *base, uint64_t size) {
    (void)os, (void)size;
    if (base != NULL) UnmapViewOfFile(base);
}

bool sdi_win_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)os;
    if (advice == SDI_ADVICE_DONT_NEED || size == 0) return false;
    WIN32_MEMORY_RANGE_ENTRY range = {.VirtualAddress = (void *)(uintptr_t)address, .NumberOfBytes = (SIZE_T)size};
    PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
    return false;
}
