/* SPDX-License-Identifier: Apache-2.0
 *
 * platform_posix.c — platform.h for Linux, macOS and other systems with POSIX.
 */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught_signal;

/* A standard stream that is closed gets a stand-in that refuses the use it is for: writing output that goes nowhere
 * has to fail, not to succeed. */
static void open_stand_in(int stream) {
    if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) return;
    int opened = open("/dev/null", stream == SDI_CLI_STDIN ? O_WRONLY : O_RDONLY);
    if (opened != stream) _exit(3);
}

void sdi_cli_platform_start(int *argc, char ***argv) {
    (void)argc, (void)argv;
    for (int stream = SDI_CLI_STDIN; stream <= SDI_CLI_STDERR; stream++) open_stand_in(stream);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

bool sdi_cli_is_terminal(int stream) {
    return isatty(stream) == 1;
}

bool sdi_cli_terminal_draws(void) {
    const char *kind = getenv("TERM");
    return sdi_cli_is_terminal(SDI_CLI_STDERR) && (kind == NULL || strcmp(kind, "dumb") != 0);
}

unsigned sdi_cli_terminal_columns(void) {
    struct winsize size;
    if (ioctl(SDI_CLI_STDERR, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

ptrdiff_t sdi_cli_read_stdin(void *buffer, size_t capacity) {
    for (;;) {
        ssize_t got = read(SDI_CLI_STDIN, buffer, capacity);
        if (got >= 0 || errno != EINTR || caught_signal != 0) return got;
    }
}

uint64_t sdi_cli_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *sdi_cli_system_text(int os_error) {
    return strerror(os_error);
}

static void remember(int signal_number) {
    caught_signal = signal_number;
}

void sdi_cli_interrupts_catch(void) {
    /* No SA_RESTART: a read that waits for input has to return. */
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction before;
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) {
            sigaction(signals[i], &action, NULL);
        }
    }
}

bool sdi_cli_interrupted(void) {
    return caught_signal != 0;
}

void sdi_cli_interrupts_obey(void) {
    if (caught_signal == 0) return;
    signal(caught_signal, SIG_DFL);
    raise(caught_signal);
}

bool sdi_cli_same_file(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

bool sdi_cli_file_exists(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

bool sdi_cli_remove_file(const char *path) {
    return unlink(path) == 0;
}
