/* SPDX-License-Identifier: Apache-2.0
 *
 * kill_loop.c — a writer process that is killed at random moments, again and again, and an oracle that outlives it.
 *
 *   kill_loop [--kills N] [--minutes N] [--readers N] [--delay-ms N] [--lanes N] [--largest BYTES] [--seed N]
 *             [--folder DIR]
 *
 * The parent forks a writer (no exec: many kills a second), which runs sessions one after the other on one store: opens
 * it with options of that session, works in several threads (session.h), closes it. Before each operation it notes in
 * shared memory that it begins, and behind it that it was acknowledged; that memory is all that survives it. The parent
 * sends SIGKILL at a moment that is spread over opening, working and closing, then opens the store itself, for reading,
 * and judges (judge.h): each lane at the state behind its last acknowledged operation, or the one that was under way;
 * nothing else in the store; verification clean; no damage but a tail that is passed over; and not a byte of the file
 * changed by that opening. The next writer goes on from there, so that repairs are killed too.
 *
 * Beside it
 *   - reader processes, in half of the stretches or in all (--readers), refresh and look: what they see of a lane is
 *     one of its states between what was acknowledged before the refresh and what was begun when they have looked.
 *     They are killed now and then too. While there are readers, reclaim refuses; without them it works.
 *   - the parent tries to open the store for writing while the writer has it, which must give ERROR_LOCKED.
 *
 * A stretch is a new store with a new seed, of a few kills: then the very first write is killed often enough too.
 *
 * Replay: a seed gives the same operations and options, never the same moments. So a case that fails keeps the folder
 * with the store as the kill left it, and the log. SIGINT and SIGTERM end it early, with what was done until then told;
 * if the parent dies in another way, the others notice that they are orphans, and end. Exit status: 0 all held, 1
 * something did not, 2 wrong usage. */
#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "judge.h"
#include "require.h"
#include "session.h"

enum {
    READERS_MAX = 16,
    PATH_LENGTH = 1024,
    LONGEST_STRETCH = 40, /* kills of one store */
    SESSION_OPERATIONS = 60, /* of a lane, at most */
    RECREATE_ABOVE = 192 << 20, /* bytes of a store */
    READER_PAUSE_US = 500,
    CARE_PAUSE_US = 4000,
    READER_WHOLE = 64 << 10, /* values up to here are compared by readers byte by byte, others now and then */
    OPENED_WITHIN_MS = 60000,
    OPENING_US = 1500 /* a kill within them may come before the store is open */
};

/* What all processes share. */
typedef struct shared {
    _Atomic uint64_t begun[KILL_LANES], acknowledged[KILL_LANES];
    _Atomic uint64_t held; /* odd while a writer certainly has the store open */
    _Atomic uint64_t sessions, operations;
    _Atomic uint64_t looks, reader_openings;
    _Atomic uint64_t cares[KILL_CARES];
    _Atomic bool over; /* readers shall end */
    pid_t parent;
} shared;

typedef struct loop {
    kill_history history; /* of this stretch */
    uint64_t largest;     /* of all of them */
    char folder[PATH_LENGTH], path[PATH_LENGTH + 8];
    shared *shared;
    FILE *log;
    uint64_t random;
    uint64_t kills, minutes, delay_ms;
    unsigned readers_asked;
    unsigned readers; /* of this stretch */
    pid_t reader[READERS_MAX];
    uint64_t done[KILL_LANES]; /* state of each lane that is certain */
    kill_state states[KILL_LANES];
    uint64_t stretches, killed_opening, killed_reader, tails, under_way_left, under_way_gone, plain_parts, probes;
} loop;

static volatile sig_atomic_t asked_to_stop;

static void stop(int signal_number) {
    (void)signal_number;
    asked_to_stop = 1;
}

static uint64_t below(loop *l, uint64_t limit) {
    l->random = kill_mix(l->random, 5);
    return (l->random >> 11) % limit;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void note(loop *l, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(l->log, format, arguments);
    va_end(arguments);
    fflush(l->log);
}

static void give_up(loop *l, const char *what) {
    note(l, "FAILED: %s\n", what);
    fprintf(stderr, "kill %llu: %s\nstore and log are kept in %s\n", (unsigned long long)l->kills, what, l->folder);
    for (unsigned i = 0; i < l->readers; i++)
        if (l->reader[i] > 0) kill(l->reader[i], SIGKILL);
    exit(1);
}

/* --- the writer -------------------------------------------------------------------------------------------------- */

static void end_as_orphan(const shared *s) {
    if (getppid() != s->parent) _exit(KILL_REQUIRE_FAILED);
}

static void begun(void *user, unsigned lane, uint64_t number) {
    end_as_orphan(user);
    atomic_store(&((shared *)user)->begun[lane], number);
}

static void acknowledged(void *user, simdrive_store *store, unsigned lane, uint64_t number) {
    (void)store;
    atomic_store(&((shared *)user)->acknowledged[lane], number);
    atomic_fetch_add(&((shared *)user)->operations, 1);
}

static void change_hold(void *user) {
    atomic_fetch_add(&((shared *)user)->held, 1);
}

static void cared(void *user, kill_care what, simdrive_status status) {
    if (status == SIMDRIVE_OK) atomic_fetch_add(&((shared *)user)->cares[what], 1);
}

/* Never returns. */
static void write_until_killed(const loop *l, uint64_t seed) {
    kill_session session = {.history = &l->history, .path = l->path, .care_pause_us = CARE_PAUSE_US, .user = l->shared};
    session.opened = session.closing = change_hold;
    session.begun = begun;
    session.acknowledged = acknowledged;
    session.cared = cared;
    memcpy(session.done, l->done, sizeof session.done);
    for (;; seed++) {
        session.seed = seed;
        session.options = kill_session_options(seed);
        session.count = 1 + kill_mix(seed, 9) % SESSION_OPERATIONS;
        kill_session_run(&session);
        atomic_fetch_add(&l->shared->sessions, 1);
        for (unsigned lane = 0; lane < l->history.lanes; lane++) session.done[lane] += session.count;
    }
}

/* --- readers ----------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const loop *loop;
    simdrive_store *store;
    uint64_t random;
    uint64_t done[KILL_LANES];
    kill_state states[KILL_LANES];
} reader;

/* For whoever has to find out why: what this handle takes the file for, and what a new one shows. */
static void explain(const reader *r, unsigned lane, uint64_t from, uint64_t to) {
    char reason[KILL_REASON_MAX] = "as it may be";
    simdrive_info info = {.struct_size = sizeof info}, again = {.struct_size = sizeof again};
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *store = NULL;
    kill_sight sight;
    kill_place place;
    REQUIRE_OK(simdrive_get_info(r->store, &info));
    REQUIRE_OK(simdrive_open(r->loop->path, &options, &store));
    REQUIRE_OK(simdrive_get_info(store, &again));
    if (kill_see(store, lane, UINT64_MAX, &sight, reason))
        kill_find(&r->loop->history, lane, &r->states[lane], from, to + SESSION_OPERATIONS, &sight, &place, reason);
    fprintf(stderr, "its handle: damage %d, tail %llu of %llu; a new one: damage %d, tail %llu of %llu, %s\n",
            (int)info.damage, (unsigned long long)info.tail, (unsigned long long)info.file_size, (int)again.damage,
            (unsigned long long)again.tail, (unsigned long long)again.file_size, reason);
}

static void look(reader *r) {
    const loop *l = r->loop;
    char reason[KILL_REASON_MAX] = "";
    kill_sight sight;
    kill_place place;
    unsigned lane = (unsigned)(r->random >> 8) % l->history.lanes;
    uint64_t from = atomic_load(&l->shared->acknowledged[lane]);
    REQUIRE_OK(simdrive_refresh(r->store, NULL));
    bool good = kill_see(r->store, lane, r->random % 16 == 0 ? UINT64_MAX : READER_WHOLE, &sight, reason);
    uint64_t to = atomic_load(&l->shared->begun[lane]);
    while (r->done[lane] < from) kill_state_advance(&r->states[lane], &l->history, lane, ++r->done[lane]);
    if (!good || !kill_find(&l->history, lane, &r->states[lane], from, to, &sight, &place, reason)) {
        fprintf(stderr, "a reader: %s\n", reason);
        explain(r, lane, from, to);
        _exit(KILL_REQUIRE_FAILED);
    }
    atomic_fetch_add(&l->shared->looks, 1);
}

static void open_reader(reader *r) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    REQUIRE_OK(simdrive_close(r->store));
    REQUIRE_OK(simdrive_open(r->loop->path, &options, &r->store));
    atomic_fetch_add(&r->loop->shared->reader_openings, 1);
}

static void read_until_over(const loop *l, uint64_t seed) {
    reader r = {.loop = l, .random = seed};
    memcpy(r.done, l->done, sizeof r.done);
    memcpy(r.states, l->states, sizeof r.states);
    for (open_reader(&r); !atomic_load(&l->shared->over); look(&r)) {
        end_as_orphan(l->shared);
        r.random = kill_mix(r.random, 13);
        usleep((useconds_t)(r.random >> 20) % READER_PAUSE_US);
        if (r.random % 64 == 0) open_reader(&r);
    }
    REQUIRE_OK(simdrive_close(r.store));
    _exit(0);
}

static pid_t start(loop *l, void (*body)(const loop *l, uint64_t seed)) {
    uint64_t seed = below(l, UINT64_MAX);
    fflush(NULL);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        body(l, seed);
        _exit(KILL_REQUIRE_FAILED);
    }
    return pid;
}

static void start_readers(loop *l) {
    l->readers = l->readers_asked > 0 ? l->readers_asked : below(l, 2) ? 1 : 0;
    atomic_store(&l->shared->over, false);
    for (unsigned i = 0; i < l->readers; i++) l->reader[i] = start(l, read_until_over);
}

/* One of them dies too, and another takes its place. */
static void kill_a_reader(loop *l) {
    int status = 0;
    pid_t *victim = &l->reader[below(l, l->readers)];
    kill(*victim, SIGKILL);
    REQUIRE(waitpid(*victim, &status, 0) == *victim);
    *victim = 0;
    if (!WIFSIGNALED(status)) give_up(l, "a reader has found something wrong");
    *victim = start(l, read_until_over);
    l->killed_reader++;
}

static void end_readers(loop *l) {
    atomic_store(&l->shared->over, true);
    for (unsigned i = 0; i < l->readers; i++) {
        int status = 0;
        REQUIRE(waitpid(l->reader[i], &status, 0) == l->reader[i]);
        l->reader[i] = 0;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) give_up(l, "a reader has found something wrong");
    }
    l->readers = 0;
}

/* --- the kill ---------------------------------------------------------------------------------------------------- */

/* A second writer, here in another process. What counts is what the writer's own note said before and after. */
static void try_to_write_too(loop *l) {
    uint64_t before = atomic_load(&l->shared->held);
    simdrive_store *second = NULL;
    simdrive_status status = simdrive_open(l->path, NULL, &second);
    REQUIRE_OK(simdrive_close(second));
    if (before % 2 == 0 || atomic_load(&l->shared->held) != before) return;
    if (status != SIMDRIVE_ERROR_LOCKED) give_up(l, "a second writer was not refused");
    l->probes++;
}

static void wait_until_opened(loop *l, pid_t writer) {
    uint64_t deadline = now_ms() + OPENED_WITHIN_MS;
    while (atomic_load(&l->shared->held) == 0) {
        if (waitpid(writer, NULL, WNOHANG) != 0) give_up(l, "the writer has ended by itself");
        if (now_ms() > deadline) give_up(l, "the writer does not open the store");
        usleep(100);
    }
}

/* Short delays as likely as long ones: a session begins within the first millisecond, a large value takes some. */
static uint64_t draw_delay_us(loop *l) {
    uint64_t longest = l->delay_ms * 1000;
    return below(l, (longest >> below(l, 6)) + 1);
}

static void run_a_writer_and_kill_it(loop *l) {
    int status = 0;
    atomic_store(&l->shared->held, 0);
    pid_t writer = start(l, write_until_killed);
    if (below(l, 8) == 0) {
        usleep((useconds_t)below(l, OPENING_US));
    } else {
        wait_until_opened(l, writer);
        if (below(l, 4) == 0) try_to_write_too(l);
        usleep((useconds_t)draw_delay_us(l));
    }
    kill(writer, SIGKILL);
    REQUIRE(waitpid(writer, &status, 0) == writer);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) give_up(l, "the writer has ended by itself");
    if (atomic_load(&l->shared->held) == 0) l->killed_opening++;
    l->kills++;
}

/* --- the judgement ----------------------------------------------------------------------------------------------- */

static void judge_lane(loop *l, simdrive_store *store, unsigned lane) {
    char reason[KILL_REASON_MAX] = "";
    kill_sight sight;
    kill_place place;
    uint64_t to = atomic_load(&l->shared->begun[lane]), from = atomic_load(&l->shared->acknowledged[lane]);
    while (l->done[lane] < from) kill_state_advance(&l->states[lane], &l->history, lane, ++l->done[lane]);
    note(l, "  lane %u acknowledged %llu begun %llu", lane, (unsigned long long)from, (unsigned long long)to);
    if (!kill_see(store, lane, UINT64_MAX, &sight, reason) ||
        !kill_find(&l->history, lane, &l->states[lane], from, to, &sight, &place, reason))
        give_up(l, reason);
    note(l, " found %llu + %u\n", (unsigned long long)place.number, place.steps);
    l->under_way_left += place.number > from;
    l->under_way_gone += place.number < to && place.steps == 0;
    l->plain_parts += place.steps > 0;
    while (l->done[lane] < place.number) kill_state_advance(&l->states[lane], &l->history, lane, ++l->done[lane]);
    atomic_store(&l->shared->acknowledged[lane], l->done[lane]);
}

static bool is_as_before(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void judge(loop *l) {
    char reason[KILL_REASON_MAX] = "";
    struct stat before, after;
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    simdrive_store *store = NULL;
    if (below(l, 2)) options.saved_index = SIMDRIVE_SAVED_INDEX_OFF;
    REQUIRE(stat(l->path, &before) == 0);
    if (simdrive_open(l->path, &options, &store) != SIMDRIVE_OK) give_up(l, "the store cannot be opened");
    simdrive_info info = {.struct_size = sizeof info};
    REQUIRE_OK(simdrive_get_info(store, &info));
    note(l, "kill %llu: file %llu, tail %llu, damage %d\n", (unsigned long long)l->kills,
         (unsigned long long)info.file_size, (unsigned long long)info.tail, (int)info.damage);
    if (info.damage != SIMDRIVE_DAMAGE_NONE && info.damage != SIMDRIVE_DAMAGE_TAIL)
        give_up(l, "the store has more than a damaged tail");
    l->tails += info.damage == SIMDRIVE_DAMAGE_TAIL;
    for (unsigned lane = 0; lane < l->history.lanes; lane++) judge_lane(l, store, lane);
    if (!kill_judge_whole(store, &l->history, reason)) give_up(l, reason);
    REQUIRE_OK(simdrive_close(store));
    REQUIRE(stat(l->path, &after) == 0);
    if (!is_as_before(&before, &after)) give_up(l, "opening for reading has changed the file");
}

/* --- stretches --------------------------------------------------------------------------------------------------- */

/* Removes what is in the folder and begins with `prefix`. */
static void remove_names(const char *folder, const char *prefix) {
    DIR *listing = opendir(folder);
    REQUIRE(listing);
    for (struct dirent *item; (item = readdir(listing));) {
        if (item->d_name[0] == '.' || strncmp(item->d_name, prefix, strlen(prefix)) != 0) continue;
        REQUIRE(unlinkat(dirfd(listing), item->d_name, 0) == 0);
    }
    closedir(listing);
}

static bool is_finished(const loop *l, uint64_t kills, uint64_t until_ms) {
    return asked_to_stop || (until_ms > 0 ? now_ms() >= until_ms : l->kills >= kills);
}

/* Small values make for many operations between two kills, large ones for kills in the middle of one. */
static uint64_t draw_largest(loop *l) {
    static const unsigned shifts[] = {0, 0, 4, 8, 13};
    uint64_t largest = l->largest >> shifts[below(l, sizeof shifts / sizeof *shifts)];
    return largest > 2 * KILL_SMALLEST ? largest : 2 * KILL_SMALLEST;
}

static void run_stretch(loop *l, uint64_t kills, uint64_t until_ms) {
    uint64_t end = l->kills + 1 + below(l, LONGEST_STRETCH);
    simdrive_store *store = NULL;
    memset(l->done, 0, sizeof l->done);
    memset(l->states, 0, sizeof l->states);
    for (unsigned lane = 0; lane < KILL_LANES; lane++) {
        atomic_store(&l->shared->begun[lane], 0);
        atomic_store(&l->shared->acknowledged[lane], 0);
    }
    l->history.seed = below(l, UINT64_MAX);
    l->history.largest = draw_largest(l);
    l->stretches++;
    note(l, "stretch %llu, seed %llu, values up to %llu\n", (unsigned long long)l->stretches,
         (unsigned long long)l->history.seed, (unsigned long long)l->history.largest);
    REQUIRE_OK(simdrive_open(l->path, NULL, &store));
    REQUIRE_OK(simdrive_close(store));
    start_readers(l);
    while (l->kills < end && !is_finished(l, kills, until_ms)) {
        struct stat file;
        run_a_writer_and_kill_it(l);
        judge(l);
        remove_names(l->folder, "store.tail-"); /* what repairs have kept aside: large, in the long run */
        if (l->readers > 0 && below(l, 6) == 0) kill_a_reader(l);
        REQUIRE(stat(l->path, &file) == 0);
        if (file.st_size > RECREATE_ABOVE) break;
    }
    end_readers(l);
    remove_names(l->folder, "store");
}

static void tell(const loop *l, uint64_t took_ms) {
    const shared *s = l->shared;
    printf("%llu kills in %llu.%03llu s, 0 violations: %llu stores, %llu sessions, %llu operations acknowledged\n",
           (unsigned long long)l->kills, (unsigned long long)(took_ms / 1000), (unsigned long long)(took_ms % 1000),
           (unsigned long long)l->stretches, (unsigned long long)atomic_load(&s->sessions),
           (unsigned long long)atomic_load(&s->operations));
    printf("  killed while opening %llu; tails torn %llu; operations under way found whole %llu, not at all %llu, "
           "plain batches in part %llu\n",
           (unsigned long long)l->killed_opening, (unsigned long long)l->tails, (unsigned long long)l->under_way_left,
           (unsigned long long)l->under_way_gone, (unsigned long long)l->plain_parts);
    printf("  compactions %llu, begun in a thread %llu, reclaims %llu; looks of readers %llu, their openings %llu, "
           "readers killed %llu; second writers refused %llu\n",
           (unsigned long long)atomic_load(&s->cares[KILL_CARE_COMPACT]),
           (unsigned long long)(atomic_load(&s->cares[KILL_CARE_COMPACT_THREAD]) +
                                atomic_load(&s->cares[KILL_CARE_COMPACT_CANCELLED])),
           (unsigned long long)atomic_load(&s->cares[KILL_CARE_RECLAIM]), (unsigned long long)atomic_load(&s->looks),
           (unsigned long long)atomic_load(&s->reader_openings), (unsigned long long)l->killed_reader,
           (unsigned long long)l->probes);
}

static uint64_t number_of(const char *text) {
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 0);
    if (end == text || *end != 0) {
        fprintf(stderr, "kill_loop: not a number: %s\n", text);
        exit(2);
    }
    return value;
}

static void parse(int count, char **arguments, loop *l, uint64_t *kills, uint64_t *seed, const char **base) {
    static const struct option known[] = {{"kills", 1, NULL, 'k'},    {"minutes", 1, NULL, 'm'},
                                          {"readers", 1, NULL, 'r'},  {"delay-ms", 1, NULL, 'd'},
                                          {"lanes", 1, NULL, 'l'},    {"largest", 1, NULL, 'b'},
                                          {"seed", 1, NULL, 's'},     {"folder", 1, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (option) {
        case 'k': *kills = number_of(optarg); break;
        case 'm': l->minutes = number_of(optarg); break;
        case 'r': l->readers_asked = (unsigned)number_of(optarg); break;
        case 'd': l->delay_ms = number_of(optarg); break;
        case 'l': l->history.lanes = (unsigned)number_of(optarg); break;
        case 'b': l->largest = number_of(optarg); break;
        case 's': *seed = number_of(optarg); break;
        case 'f': *base = optarg; break;
        default: exit(2);
        }
    }
    if (l->history.lanes < 1 || l->history.lanes > KILL_LANES || l->readers_asked > READERS_MAX ||
        l->largest < KILL_SMALLEST) {
        fprintf(stderr, "kill_loop: 1 to %d lanes, up to %d readers, values of %d bytes or more\n", KILL_LANES,
                READERS_MAX, KILL_SMALLEST);
        exit(2);
    }
}

int main(int count, char **arguments) {
    static loop l = {.history = {.lanes = 3}, .largest = 16 << 20, .delay_ms = 20};
    uint64_t kills = 40, seed = 1;
    const char *base = getenv("SIMDRIVE_TEST_FOLDER");
    if (!base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir;
    if (getenv("SIMDRIVE_TEST_SEED")) seed = number_of(getenv("SIMDRIVE_TEST_SEED"));
    parse(count, arguments, &l, &kills, &seed, &base);
    l.random = kill_mix(seed, 1);
    l.shared = mmap(NULL, sizeof *l.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(l.shared != MAP_FAILED);
    l.shared->parent = getpid();
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
    REQUIRE(sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0);
    snprintf(l.folder, sizeof l.folder, "%s/simdrive-kill-XXXXXX", base);
    REQUIRE(mkdtemp(l.folder));
    snprintf(l.path, sizeof l.path, "%s/store", l.folder);
    char log_path[sizeof l.path];
    snprintf(log_path, sizeof log_path, "%s/log", l.folder);
    REQUIRE((l.log = fopen(log_path, "w")));
    printf("seed %llu, folder %s\n", (unsigned long long)seed, l.folder);

    uint64_t began = now_ms(), until = l.minutes > 0 ? began + l.minutes * 60000 : 0;
    while (!is_finished(&l, kills, until)) run_stretch(&l, kills, until);
    tell(&l, now_ms() - began);
    fclose(l.log);
    remove_names(l.folder, "");
    REQUIRE(rmdir(l.folder) == 0);
    return 0;
}
