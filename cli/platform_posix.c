/* SPDX-License-Identifier: Apache-2.0
 *
 * platform_posix.c — platform.h for Linux, macOS and other systems with POSIX.
 */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught_signal;

/* A byte goes through it with the signal, so that waiting for input ends however narrowly the signal came before. */
static int wake_up[2] = {-1, -1};

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

/* Returns when there is input, or the wish to stop. */
static void wait_for_input(void) {
    struct pollfd watched[2] = {{.fd = SDI_CLI_STDIN, .events = POLLIN}, {.fd = wake_up[0], .events = POLLIN}};
    while (caught_signal == 0 && poll(watched, 2, -1) < 0 && errno == EINTR) continue;
}

ptrdiff_t sdi_cli_read_stdin(void *buffer, size_t capacity) {
    for (;;) {
        wait_for_input();
        if (caught_signal != 0) {
            errno = EINTR;
            return -1;
        }
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
    int os_error = errno;
    caught_signal = signal_number;
    ssize_t written = write(wake_up[1], "", 1);
    (void)written; /* a full pipe wakes as well */
    errno = os_error;
}

static void make_wake_up(void) {
    if (wake_up[0] >= 0 || pipe(wake_up) != 0) return;
    for (int i = 0; i < 2; i++) fcntl(wake_up[i], F_SETFD, FD_CLOEXEC);
    fcntl(wake_up[1], F_SETFL, O_NONBLOCK);
}

void sdi_cli_interrupts_catch(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND};
    make_wake_up();
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

void sdi_cli_interrupts_forget(void) {
    caught_signal = 0;
}

bool sdi_cli_output_is_closed(void) {
    struct pollfd output = {.fd = SDI_CLI_STDOUT};
    return poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLNVAL)) != 0;
}

bool sdi_cli_same_file(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

bool sdi_cli_remove_file(const char *path) {
    return unlink(path) == 0;
}

FILE *sdi_cli_create_file(const char *path) {
    int opened = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (opened < 0) return NULL;
    FILE *file = fdopen(opened, "wb");
    if (file == NULL) close(opened);
    return file;
}

/* File systems that cannot sync a folder make names durable themselves, or not at all. */
static bool sync_folder_of(const char *path) {
    char *name = strdup(path);
    if (name == NULL) return false;
    int folder = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = folder >= 0 && (fsync(folder) == 0 || errno == EINVAL);
    int os_error = errno;
    if (folder >= 0) close(folder);
    free(name);
    errno = os_error;
    return synced;
}

bool sdi_cli_finish_file(FILE *file, const char *path, bool sync) {
    bool done = fflush(file) == 0 && (!sync || fsync(fileno(file)) == 0);
    int os_error = errno;
    if (fclose(file) != 0 && done) {
        done = false;
        os_error = errno;
    }
    errno = os_error;
    return done && (!sync || sync_folder_of(path));
}

uint64_t sdi_cli_disk_bytes(const char *path) {
    enum { BLOCK = 512 }; /* of st_blocks, whatever the file system's blocks are */
    struct stat found;
    return stat(path, &found) == 0 ? (uint64_t)found.st_blocks * BLOCK : 0;
}
