/* SPDX-License-Identifier: Apache-2.0 */
/* append_map.c — small entries are stored into a map of the file's end, without a call of the system for each
 * (SIMDRIVE_APPEND_MAP).
 *
 *      entries             zeros, in the file                  not in the file
 *   ...------------------|-----------------------------------|-----------------------------
 *                        tail                                ready                set_aside
 *           |- - - - - - - - - - - - - - - - - - - - - - - - - - - - -|  window: what is mapped
 *
 * Room is made ahead in three steps, each of which may fail and leaves nothing that is not true:
 *   1  Disk space is set aside behind the file's end, in large steps (set_aside).
 *   2  The file is made longer, in small steps: whoever opens it after a crash, or follows it from another process,
 *      looks through the zeros behind its entries (sdi_end_of_entries).
 *   3  The pages of that are made present in the window. So storing into them needs nothing that could be refused.
 * Whatever fails, the append goes the ordinary way, and that tells what is wrong. So do those that are too large, and
 * those that need more than one step to become valid: batches, and the first entry of a file, whose recovery is known
 * (append.c). They are written with system calls at the same tail, over the zeros if there are some.
 *
 * Invariants
 *   T1  From the tail to the file's end all bytes are zero when the writer's place is left. So padding is never stored.
 *   T2  An entry is stored in this order: payload, hash, link, checksum; the bytes of the checksum one by one. It is
 *       valid only with its checksum, which is right no sooner than its last byte that is not zero. So at each moment
 *       there are whole entries, then at most one that is not, then zeros. Recovery finds the last whole one.
 *   T3  The entries of an append are stored one after the other: each is valid alone, in the order of the chain.
 *   T4  Readers in other processes see that order too, for the checksum is stored with release order and they look at
 *       the file's length, a call of the system, between finding an entry and reading it (sdi_keep_up).
 *   T5  Behind what is stored here there are always more zeros than metadata has bytes: so zeros are known for what
 *       they are. An ordinary append over the zeros may leave fewer; whoever opens the file then finds the same tail,
 *       the long way.
 *
 * Syncing needs no msync(): Linux marks a page as changed when it is first stored into, and fdatasync() writes all
 * marked pages, whoever marked them. That protects the page again, so the next store into it is a page fault; it needs
 * no space (set_aside in os.h).
 */
#include <string.h>

#include "store/store.h"

enum {
    STEP = 1 << 20,        /* by which the file is made longer */
    MARGIN = 64,           /* T5 */
    WINDOW = 64 << 20,
    PAGES = 1 << 16,       /* a multiple of every page size */
    ASIDE_LEAST = 16 << 20, /* disk space is set aside for a sixteenth of the file, within these limits */
    ASIDE_MOST = 256 << 20,
    ASIDE_SHARE = 16
};

_Static_assert((int)MARGIN > (int)SDI_METADATA_SIZE, "T5");
_Static_assert(WINDOW >= 2 * PAGES + (int)SDI_MAPPED_MAX + MARGIN + STEP, "an append and a step must fit");

static uint64_t ready_of(const sdi_tail_map *map) {
    return atomic_load_explicit(&map->ready, memory_order_relaxed);
}

static simdrive_status status_of(const sdi_tail_map *map) {
    return (simdrive_status)atomic_load_explicit(&map->status, memory_order_relaxed);
}

/* Others only tell what it is. */
static void set_ready(sdi_tail_map *map, uint64_t ready) {
    atomic_store_explicit(&map->ready, ready, memory_order_relaxed);
}

/* --- room -------------------------------------------------------------------------------------------------------- */

/* Step 1. A disk that is nearly full may have room for a step. */
static simdrive_status set_aside(sdi_generation *generation, uint64_t tail, uint64_t length) {
    const sdi_os *os = generation->store->os;
    sdi_tail_map *map = &generation->tail_map;
    uint64_t from = map->set_aside > tail ? map->set_aside : tail, more = tail / ASIDE_SHARE;
    if (length <= map->set_aside) return SIMDRIVE_OK;
    if (more < ASIDE_LEAST) more = ASIDE_LEAST;
    if (more > ASIDE_MOST) more = ASIDE_MOST;
    more += length - from;
    simdrive_status status = os->set_aside(os, generation->file, from, more);
    if (status == SIMDRIVE_ERROR_NO_SPACE)
        status = os->set_aside(os, generation->file, from, more = length - from);
    if (status != SIMDRIVE_OK) return status;
    map->set_aside = from + more;
    atomic_store_explicit(&map->used, true, memory_order_relaxed);
    return status;
}

/* Moves the window, if the file is to be longer than it reaches. */
static simdrive_status move_window(sdi_generation *generation, uint64_t tail, uint64_t length) {
    const sdi_os *os = generation->store->os;
    sdi_tail_map *map = &generation->tail_map;
    if (map->base && length <= map->start + map->size) return SIMDRIVE_OK;
    uint64_t start = tail - tail % PAGES;
    uint8_t *base = NULL;
    simdrive_status status = os->map_shared(os, generation->file, start, WINDOW, &base);
    if (status != SIMDRIVE_OK) return status;
    sdi_tail_map_end(generation);
    map->base = base;
    map->start = start;
    map->size = WINDOW;
    set_ready(map, 0); /* what is ready is to be made present anew */
    return SIMDRIVE_OK;
}

/* Steps 2 and 3. A file that was made longer for nothing is cut again; until it is, T1 holds all the same. */
static simdrive_status lengthen(sdi_generation *generation, uint64_t tail, uint64_t length) {
    const sdi_os *os = generation->store->os;
    sdi_tail_map *map = &generation->tail_map;
    uint64_t from = ready_of(map) > tail ? ready_of(map) : tail;
    simdrive_status status = os->truncate(os, generation->file, length);
    if (status == SIMDRIVE_OK) status = os->make_present(os, map->base + (from - map->start), length - from);
    if (status == SIMDRIVE_OK) {
        set_ready(map, length);
        return status;
    }
    sdi_tail_map_forget(generation);
    sdi_cut(generation->store, generation->file, tail);
    return status;
}

static simdrive_status extend(sdi_generation *generation, uint64_t end) {
    uint64_t tail = sdi_tail(generation), length = sdi_align_up(end, STEP);
    if (length > SDI_OFFSET_MAX) return SIMDRIVE_ERROR_TOO_LARGE;
    simdrive_status status = set_aside(generation, tail, length);
    if (status == SIMDRIVE_OK) status = move_window(generation, tail, length);
    return status == SIMDRIVE_OK ? lengthen(generation, tail, length) : status;
}

bool sdi_tail_map_make_room(sdi_generation *generation, uint64_t new_tail) {
    sdi_tail_map *map = &generation->tail_map;
    if (new_tail + MARGIN <= ready_of(map)) return true;
    if (status_of(map) == SIMDRIVE_ERROR_UNSUPPORTED) return false;
    int os_error = sdi_get_os_error();
    simdrive_status status = extend(generation, new_tail + MARGIN);
    sdi_set_os_error(os_error);
    atomic_store_explicit(&map->status, status, memory_order_relaxed);
    /* Space may have been set aside before it was known. */
    if (status == SIMDRIVE_ERROR_UNSUPPORTED) sdi_tail_map_give_back(generation);
    return status == SIMDRIVE_OK;
}

void sdi_tail_map_forget(sdi_generation *generation) {
    set_ready(&generation->tail_map, 0);
    generation->tail_map.set_aside = 0;
}

void sdi_tail_map_give_back(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    if (!sdi_tail_map_is_used(generation)) return;
    int os_error = sdi_get_os_error();
    sdi_tail_map_forget(generation);
    sdi_cut(store, generation->file, sdi_tail(generation)); /* what stays is zeros: the next writer cuts them */
    sdi_set_os_error(os_error);
}

void sdi_tail_map_end(sdi_generation *generation) {
    sdi_tail_map *map = &generation->tail_map;
    if (map->base) generation->store->os->unmap(generation->store->os, map->base, map->size);
    map->base = NULL;
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

void sdi_note_behind(simdrive_store *store, uint64_t bytes, bool zero) {
    atomic_store_explicit(&store->tail_is_room, zero, memory_order_relaxed);
    atomic_store_explicit(&store->damaged_tail, bytes, memory_order_relaxed);
}

sdi_tail_state sdi_get_tail_state(const sdi_generation *generation) {
    const simdrive_store *store = generation->store;
    const simdrive_open_options *options = &store->options;
    uint64_t tail = sdi_tail(generation), ready = ready_of(&generation->tail_map);
    uint64_t behind = atomic_load_explicit(&store->damaged_tail, memory_order_relaxed);
    bool is_room = atomic_load_explicit(&store->tail_is_room, memory_order_relaxed);
    sdi_tail_state state = {.map_wanted = options->append == SIMDRIVE_APPEND_MAP && !options->read_only,
                            .map_used = ready != 0,
                            .damaged = is_room ? 0 : behind,
                            .room = is_room ? behind : 0};
    if (ready > tail) state.room = ready - tail;
    if (!state.map_wanted) return state;
    state.map_status =
        options->sync == SIMDRIVE_SYNC_COMMIT ? SIMDRIVE_ERROR_UNSUPPORTED : status_of(&generation->tail_map);
    return state;
}

/* --- storing ----------------------------------------------------------------------------------------------------- */

/* T2. Byte by byte, in rising order: the four may lie across two cache lines. */
static void store_checksum(uint8_t *at, uint32_t checksum) {
    for (unsigned i = 0; i < sizeof checksum; i++)
        atomic_store_explicit((_Atomic uint8_t *)(at + i), (uint8_t)(checksum >> (8 * i)), memory_order_release);
}

void sdi_tail_map_store(sdi_generation *generation, uint64_t prev, uint64_t end, uint64_t key_hash,
                        const simdrive_bytes *payload) {
    static const uint8_t tombstone[1] = {0}; /* in the file as it is */
    sdi_crc_kind kind = generation->store->checksum;
    uint8_t *at = generation->tail_map.base + (end - generation->tail_map.start);
    uint32_t checksum = payload ? sdi_copy_crc(kind, 0, at - payload->size, payload->data, payload->size)
                                : sdi_crc(kind, 0, tombstone, sizeof tombstone);
    sdi_store64(at, key_hash);
    sdi_store64(at + SDI_PREV_FIELD, prev);
    store_checksum(at + SDI_CHECKSUM_FIELD, checksum);
}
