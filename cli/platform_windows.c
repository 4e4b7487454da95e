/* SPDX-License-Identifier: Apache-2.0
 *
 * platform_windows.c — platform.h for Windows.
 */
#include "platform.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <shellapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static volatile LONG caught_signal;

static char *to_utf8(const wchar_t *wide) {
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    if (text != NULL) WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

static wchar_t *to_wide(const char *text) {
    int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    wchar_t *wide = size > 0 ? malloc((size_t)size * sizeof *wide) : NULL;
    if (wide != NULL) MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, size);
    return wide;
}

void sdi_cli_platform_start(int *argc, char ***argv) {
    _setmode(SDI_CLI_STDIN, _O_BINARY);
    _setmode(SDI_CLI_STDOUT, _O_BINARY);
    SetConsoleOutputCP(CP_UTF8);
    int count = 0;
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &count);
    char **utf8 = wide != NULL ? calloc((size_t)count + 1, sizeof *utf8) : NULL;
    if (utf8 == NULL) return;
    for (int i = 0; i < count; i++) {
        utf8[i] = to_utf8(wide[i]);
        if (utf8[i] == NULL) return;
    }
    LocalFree(wide);
    *argc = count;
    *argv = utf8;
}

bool sdi_cli_is_terminal(int stream) {
    return _isatty(stream) != 0;
}

bool sdi_cli_terminal_draws(void) {
    HANDLE console = GetStdHandle(STD_ERROR_HANDLE);
    DWORD mode;
    return GetConsoleMode(console, &mode) &&
           SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

unsigned sdi_cli_terminal_columns(void) {
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (!GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &info)) return 80;
    return (unsigned)(info.srWindow.Right - info.srWindow.Left + 1);
}

ptrdiff_t sdi_cli_read_stdin(void *buffer, size_t capacity) {
    return _read(SDI_CLI_STDIN, buffer, capacity > 1u << 30 ? 1u << 30 : (unsigned)capacity);
}

uint64_t sdi_cli_monotonic_ns(void) {
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)((double)ticks.QuadPart * 1e9 / (double)frequency.QuadPart);
}

const char *sdi_cli_system_text(int os_error) {
    static char text[256];
    DWORD length = FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, (DWORD)os_error, 0,
                                  text, sizeof text, NULL);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) text[--length] = '\0';
    if (length == 0) snprintf(text, sizeof text, "system error %d", os_error);
    return text;
}

static BOOL WINAPI remember(DWORD event) {
    (void)event;
    return InterlockedExchange(&caught_signal, 1) == 0;
}

void sdi_cli_interrupts_catch(void) {
    SetConsoleCtrlHandler(remember, TRUE);
}

bool sdi_cli_interrupted(void) {
    return caught_signal != 0;
}

void sdi_cli_interrupts_obey(void) {
    if (caught_signal != 0) ExitProcess(STATUS_CONTROL_C_EXIT);
}

void sdi_cli_interrupts_forget(void) {
    InterlockedExchange(&caught_signal, 0);
}

bool sdi_cli_output_is_closed(void) {
    return false;
}

static bool identify(const char *path, BY_HANDLE_FILE_INFORMATION *info) {
    wchar_t *wide = to_wide(path);
    if (wide == NULL) return false;
    HANDLE file = CreateFileW(wide, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS, NULL);
    free(wide);
    if (file == INVALID_HANDLE_VALUE) return false;
    bool known = GetFileInformationByHandle(file, info) != 0;
    CloseHandle(file);
    return known;
}

bool sdi_cli_same_file(const char *a, const char *b) {
    BY_HANDLE_FILE_INFORMATION first, second;
    return identify(a, &first) && identify(b, &second) && first.dwVolumeSerialNumber == second.dwVolumeSerialNumber &&
           first.nFileIndexHigh == second.nFileIndexHigh && first.nFileIndexLow == second.nFileIndexLow;
}

bool sdi_cli_remove_file(const char *path) {
    wchar_t *wide = to_wide(path);
    bool removed = wide != NULL && DeleteFileW(wide);
    free(wide);
    return removed;
}

FILE *sdi_cli_create_file(const char *path) {
    wchar_t *wide = to_wide(path);
    errno = EINVAL;
    int opened = wide != NULL ? _wopen(wide, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE) : -1;
    free(wide);
    if (opened < 0) return NULL;
    FILE *file = _fdopen(opened, "wb");
    if (file == NULL) _close(opened);
    return file;
}

bool sdi_cli_finish_file(FILE *file, const char *path, bool sync) {
    (void)path; /* names are durable with the file there */
    bool done = fflush(file) == 0 && (!sync || _commit(_fileno(file)) == 0);
    int os_error = errno;
    if (fclose(file) != 0 && done) {
        done = false;
        os_error = errno;
    }
    errno = os_error;
    return done;
}

/* Reclaiming is not supported here, so nothing is ever reported of it. */
uint64_t sdi_cli_disk_bytes(const char *path) {
    (void)path;
    return 0;
}
