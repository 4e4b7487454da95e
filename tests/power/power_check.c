/* SPDX-License-Identifier: Apache-2.0
 *
 * power_check.c — judges the store of a machine whose power was cut.
 *
 *   power_check --image FILE --store FILE --seed N --lanes N --largest BYTES --synced commit|explicit [--next]
 *
 * `image` is the disk, whose end says what was acknowledged as safe (marks.h); `store` the store on it, as the file
 * system shows it now. With `commit` each lane must be at a state that its history has, at the acknowledged one or a
 * later one, and there may be no damage but a tail. With `explicit` each key must have a value that it had at that
 * state or later; a key that was written to since may be corrupt, and the store may open for reading only; what can be
 * read is right in any case. No file at all is an empty store. With --next the marks are moved to the state that was
 * found, for the next machine to go on from. Tells what it found in one line; exit status 1, and why, when it may not
 * be. */
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "judge.h"
#include "marks.h"
#include "require.h"

enum { AHEAD = 200 /* operations of a lane that may be in the store and not noted, at most */ };

typedef struct check {
    kill_history history;
    const char *store_path;
    bool explicit_syncs, next;
    int image;
    off_t marks;
} check;

static void refuse(const char *reason) {
    fprintf(stderr, "violation: %s\n", reason);
    exit(1);
}

static off_t place_of(const check *c, unsigned lane) {
    return c->marks + (off_t)lane * POWER_MARK_BLOCK;
}

static uint64_t acknowledged(const check *c, unsigned lane) {
    power_mark mark = {0, 0};
    REQUIRE(pread(c->image, &mark, sizeof mark, place_of(c, lane)) == sizeof mark);
    REQUIRE(mark.check == (mark.number ? kill_mix(mark.number, lane) : 0));
    return mark.number;
}

static void move_mark(const check *c, unsigned lane, uint64_t number) {
    power_mark mark = {number, number ? kill_mix(number, lane) : 0};
    REQUIRE(pwrite(c->image, &mark, sizeof mark, place_of(c, lane)) == sizeof mark);
}

static void judge_lane(const check *c, simdrive_store *store, unsigned lane) {
    char reason[KILL_REASON_MAX] = "";
    uint64_t from = acknowledged(c, lane), corrupt = 0;
    kill_sight sight = {0};
    kill_state state = {0};
    kill_place place = {0, 0};
    for (uint64_t number = 1; number <= from; number++) kill_state_advance(&state, &c->history, lane, number);
    if (store && !kill_see(store, lane, UINT64_MAX, &sight, reason)) refuse(reason);
    if (c->explicit_syncs ? !kill_find_each(&c->history, lane, &state, from, from + AHEAD, &sight, reason)
                          : !kill_find(&c->history, lane, &state, from, from + AHEAD, &sight, &place, reason))
        refuse(reason);
    for (unsigned key = 0; key < KILL_KEYS; key++) corrupt += sight.corrupt[key];
    if (c->explicit_syncs)
        printf(" lane %u acknowledged %llu corrupt %llu", lane, (unsigned long long)from, (unsigned long long)corrupt);
    else
        printf(" lane %u acknowledged %llu found %llu + %u", lane, (unsigned long long)from,
               (unsigned long long)place.number, place.steps);
    if (c->next) move_mark(c, lane, place.number);
}

static simdrive_store *open_store(const check *c) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true, .verify_all = true};
    simdrive_store *store = NULL;
    if (access(c->store_path, F_OK) != 0) return NULL;
    if (simdrive_open(c->store_path, &options, &store) != SIMDRIVE_OK) refuse("the store cannot be opened");
    return store;
}

static void judge(const check *c) {
    static const char *const names[] = {"none", "tail", "middle", "ambiguous"};
    char reason[KILL_REASON_MAX] = "";
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_store *store = open_store(c);
    if (store) REQUIRE_OK(simdrive_get_info(store, &info));
    printf("damage %s", names[info.damage]);
    if (!c->explicit_syncs && info.damage > SIMDRIVE_DAMAGE_TAIL) refuse("more than a damaged tail");
    for (unsigned lane = 0; lane < c->history.lanes; lane++) judge_lane(c, store, lane);
    printf("\n");
    if (store && !c->explicit_syncs && !kill_judge_whole(store, &c->history, reason)) refuse(reason);
    REQUIRE_OK(simdrive_close(store));
}

int main(int count, char **arguments) {
    static const struct option known[] = {{"image", 1, NULL, 'i'},   {"store", 1, NULL, 'p'},  {"seed", 1, NULL, 's'},
                                          {"lanes", 1, NULL, 'l'},   {"largest", 1, NULL, 'b'},
                                          {"synced", 1, NULL, 'y'},  {"next", 0, NULL, 'n'},   {NULL, 0, NULL, 0}};
    static check c = {.image = -1};
    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (option) {
        case 'i': c.image = open(optarg, O_RDWR | O_CLOEXEC); break;
        case 'p': c.store_path = optarg; break;
        case 's': c.history.seed = strtoull(optarg, NULL, 0); break;
        case 'l': c.history.lanes = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'b': c.history.largest = strtoull(optarg, NULL, 0); break;
        case 'y': c.explicit_syncs = strcmp(optarg, "explicit") == 0; break;
        case 'n': c.next = true; break;
        default: return 2;
        }
    }
    struct stat image;
    if (c.image < 0 || !c.store_path || c.history.lanes < 1 || c.history.lanes > KILL_LANES) return 2;
    REQUIRE(fstat(c.image, &image) == 0);
    c.marks = image.st_size - POWER_MARKS_SIZE;
    judge(&c);
    return 0;
}
