/* SPDX-License-Identifier: Apache-2.0
 *
 * guest.c — the only program of a virtual machine whose power is cut: loads what modules there are, mounts the disk,
 * and writes to a store on it without end.
 *
 * Linked statically and started by the kernel as process 1. When it has loaded what it needs, it says so on the console
 * and waits until the last block of the disk (marks.h) tells it what to do: so a machine can be saved in that moment,
 * and started from there many times, each time with another disk. What the block holds:
 *   fs=TYPE seed=N session=N lanes=N largest=BYTES synced=commit|explicit
 * With `commit` each operation is safe when it returns (SIMDRIVE_SYNC_COMMIT), and noted (marks.h); with `explicit`
 * nothing is synced by itself, and each lane calls simdrive_sync() after every few operations and notes that. It goes
 * on behind the operations that the marks say. Tells the host on its console when it has begun; if something does not
 * hold, its end is the end of the machine, which the host sees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/fs.h>

#include "marks.h"
#include "require.h"
#include "session.h"

enum { DISK_TRIES = 5000, POLL_US = 2000, CARE_PAUSE_US = 150000 };

typedef struct guest {
    kill_history history;
    int disk;
    off_t marks;
    bool explicit_syncs;
} guest;

static char task[POWER_MARK_BLOCK + 1];

/* The text behind " NAME=" in the task. */
static const char *parameter(const char *name, char out[64]) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *at = strstr(task, wanted);
    REQUIRE(at);
    snprintf(out, 64, "%s", at + strlen(wanted));
    out[strcspn(out, " \n")] = 0;
    return out;
}

static uint64_t number(const char *name) {
    char text[64];
    return strtoull(parameter(name, text), NULL, 0);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* In the order of their names. What is missing then shows soon enough. */
static void load_modules(void) {
    struct dirent **names = NULL;
    int count = scandir("/modules", &names, NULL, by_name);
    for (int i = 0; i < count; i++) {
        char path[512];
        if (names[i]->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        REQUIRE(file >= 0);
        if (syscall(SYS_finit_module, file, "", 0) != 0) printf("guest: %s: %s\n", path, strerror(errno));
        close(file);
    }
}

static void open_disk(guest *g) {
    uint64_t size = 0;
    for (int i = 0; i < DISK_TRIES && access("/dev/vda", R_OK) != 0; i++) usleep(1000);
    REQUIRE((g->disk = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC)) >= 0);
    REQUIRE(ioctl(g->disk, BLKGETSIZE64, &size) == 0);
    g->marks = (off_t)size - POWER_MARKS_SIZE;
}

/* Zeroed. O_DIRECT wants its alignment. */
static void *new_block(void) {
    void *block = NULL;
    REQUIRE(posix_memalign(&block, POWER_MARK_BLOCK, POWER_MARK_BLOCK) == 0);
    memset(block, 0, POWER_MARK_BLOCK);
    return block;
}

static void wait_for_task(const guest *g) {
    off_t last = g->marks + POWER_MARKS_SIZE - POWER_MARK_BLOCK;
    char *block = new_block();
    do {
        usleep(POLL_US);
        REQUIRE(pread(g->disk, block, POWER_MARK_BLOCK, last) == POWER_MARK_BLOCK);
    } while (block[0] != ' ');
    memcpy(task, block, POWER_MARK_BLOCK);
    free(block);
}

static void say(const char *what) {
    printf("guest: %s\n", what);
    fflush(stdout);
}

static void prepare(guest *g) {
    char text[64];
    mkdir("/data", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL); /* may be there already */
    load_modules();
    open_disk(g);
    say("ready");
    wait_for_task(g);
    REQUIRE(ioctl(g->disk, BLKFLSBUF, 0) == 0); /* what the kernel has seen may have been another disk */
    REQUIRE(mount("/dev/vda", "/data", parameter("fs", text), 0, NULL) == 0);
    g->history = (kill_history){number("seed"), number("largest"), (unsigned)number("lanes")};
    g->explicit_syncs = strcmp(parameter("synced", text), "explicit") == 0;
}

static uint64_t read_mark(const guest *g, unsigned lane) {
    power_mark *mark = new_block();
    REQUIRE(pread(g->disk, mark, POWER_MARK_BLOCK, g->marks + (off_t)lane * POWER_MARK_BLOCK) == POWER_MARK_BLOCK);
    uint64_t done = mark->number;
    free(mark);
    return done;
}

static void acknowledged(void *user, simdrive_store *store, unsigned lane, uint64_t done) {
    const guest *g = user;
    if (g->explicit_syncs && done % POWER_SYNC_EVERY != 0) return;
    if (g->explicit_syncs) {
        simdrive_status status;
        while ((status = simdrive_sync(store, NULL)) == SIMDRIVE_ERROR_BUSY) usleep(POLL_US); /* a stream of another */
        REQUIRE_OK(status);
    }
    power_mark *mark = new_block();
    mark->number = done;
    mark->check = kill_mix(done, lane);
    REQUIRE(pwrite(g->disk, mark, POWER_MARK_BLOCK, g->marks + (off_t)lane * POWER_MARK_BLOCK) == POWER_MARK_BLOCK);
    free(mark);
}

static void opened(void *user) {
    (void)user;
    say("opened");
}

int main(void) {
    static guest g;
    prepare(&g);
    kill_session session = {.history = &g.history, .path = "/data/store", .seed = number("session"), .user = &g};
    session.options = kill_session_options(session.seed);
    session.options.sync = g.explicit_syncs ? SIMDRIVE_SYNC_NONE : SIMDRIVE_SYNC_COMMIT;
    session.care_pause_us = CARE_PAUSE_US;
    session.opened = opened;
    session.acknowledged = acknowledged;
    for (unsigned lane = 0; lane < g.history.lanes; lane++) session.done[lane] = read_mark(&g, lane);
    kill_session_run(&session);
    return 1;
}
