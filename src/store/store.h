/* SPDX-License-Identifier: Apache-2.0 */
/* store.h — what the files of the store share: the handle, the generations of its file, and the small functions on the
 * way of every read.
 *
 *   simdrive_store ──current──▶ generation ──▶ file, map, index, tail, counters
 *                               generation (older: retired by a compaction, still pinned by entries)
 *
 * A generation is one file behind the path: opening makes the first, each compaction the next. Whoever looks at bytes
 * pins the generation first, and what he takes out keeps the pin. How pins are counted, without threads writing to each
 * other's cache lines, stands in pins.h.
 *
 * Invariants
 *   S1  Order of publication: bytes in the file, then the index, then `tail`. Readers look in the opposite order.
 *   S2  Bytes before `tail` never change, and the map that covers them stays until the generation is drained.
 *   S3  `current` is replaced only by the holder of the writer's place. A retired generation takes no new pins; its
 *       resources go when its last pin goes. The struct itself is used again for a later generation, of another store
 *       when this one is gone, and never freed: a reader that loses the race to pin, or has just released one, may look
 *       at its pins at any time.
 *   S4  Pins are counted as pins.h says: what is pinned stays, and what is retired and not pinned goes.
 *   S5  Only the holder of the writer's place writes to the file, the index, the counters, `poisoned` and
 *       `damaged_tail`. One exception: a compaction that has left the place may find that the folder cannot be synced,
 *       and poisons the handle then.
 *   S6  The mutex protects the queue for the writer's place. Nobody holds it while he works, nor a second lock with it.
 *   S7  A failed append leaves the file at its old length and everything in memory as it was, or poisons the handle.
 */
#ifndef SDI_STORE_H
#define SDI_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "format/format.h"
#include "format/reclaimed.h"
#include "index/index.h"
#include "os/os.h"
#include "simdrive.h"
#include "store/compaction.h"
#include "store/pins.h"
#include "store/stats.h"

enum {
    SDI_MAX_MAPS = 48, /* of one generation: each is twice the one before, unless addresses are short */
    SDI_MAPPED_MAX = 1 << 16 /* bytes of one append that is stored into the map of the file's end */
};

#define SDI_CHECK_WINDOW (UINT64_C(64) << 20)       /* checked at opening */
#define SDI_MAP_RESERVE_DEFAULT (UINT64_C(64) << 30)
#define SDI_QUARANTINE_DEFAULT (UINT64_C(1) << 30)
#define SDI_PROGRESS_STEP (UINT64_C(16) << 20)
#define SDI_COMPACT_MIN_DEFAULT (UINT64_C(64) << 20)

/* A stretch of the chain: entries whose tails are in (bottom, top], each linked to the next. A store that is whole has
 * one, from its tail to 0. Newest first. */
typedef struct sdi_run {
    uint64_t top;
    uint64_t bottom;
} sdi_run;

/* An entry whose link is damaged, and what it must have been. */
typedef struct sdi_repair {
    uint64_t end;
    uint64_t prev;
} sdi_repair;

/* What is known of damage; all empty in a store that is whole. Immutable once the generation is published. */
typedef struct sdi_damage_map {
    simdrive_damage kind;
    bool keep_tail; /* what lies behind the tail is kept aside whatever its size */
    sdi_run *runs; /* of a damaged store only, newest first; NULL when the chain is whole */
    size_t run_count;
    sdi_repair *repairs; /* by end, ascending */
    size_t repair_count;
    uint64_t *corrupt; /* ends of entries whose checksum is wrong, ascending */
    size_t corrupt_count;
} sdi_damage_map;

/* Figures that the writer keeps while readers look at them. */
typedef struct sdi_counters {
    _Atomic uint64_t entries;
    _Atomic uint64_t tombstones;
    _Atomic uint64_t stale_entries;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t stale_bytes;
    _Atomic uint64_t publications; /* groups of entries that were put in together */
} sdi_counters;

/* Which entries were replaced while snapshots were being walked: see snapshot.c. */
typedef struct sdi_superseded {
    _Atomic bool publishing; /* the writer is between two states of the index */
    sdi_mutex mutex;         /* protects what follows; nothing else is locked while it is held */
    uint64_t *ends;          /* open addressing; 0 is free */
    uint64_t *since;         /* tail at which the entry was replaced */
    size_t capacity, count;
    uint64_t lost_since; /* replacements from this tail on could not be noted; UINT64_MAX: none */
} sdi_superseded;

/* The part of a file around its tail into which entries are stored; place only, see append_map.c. */
typedef struct sdi_tail_map {
    uint8_t *base; /* NULL: none */
    uint64_t start, size; /* of it in the file */
    _Atomic uint64_t ready; /* up to here bytes may be stored; a length of the file. 0: nowhere */
    uint64_t set_aside;     /* up to here there is disk space */
    _Atomic int status;     /* simdrive_status: how the last try to make room ended */
    _Atomic bool used;      /* the file may be longer than its entries */
} sdi_tail_map;

typedef struct sdi_generation {
    sdi_pins pins;
    /* Read by everyone, written before it is published: apart from what each append writes. */
    struct simdrive_store *store;
    sdi_index *index;
    bool plain; /* no payload is corrupt or repaired, none is checked when read: an index hit needs no judgement */

    _Alignas(64) _Atomic uint64_t tail;
    _Atomic(const uint8_t *) base; /* of the largest map */
    sdi_damage_map damage;
    sdi_counters counters;
    sdi_work work_before; /* of the handle: what a look at this file must leave out (statistics.c) */

    _Atomic uint64_t map_size;
    sdi_file *file; /* NULL: a store in memory */
    struct {
        const uint8_t *base;
        uint64_t size;
    } maps[SDI_MAX_MAPS]; /* writer only */
    size_t map_count;
    sdi_tail_map tail_map;
    sdi_file_id file_id;
    simdrive_entry nested; /* the entry that holds the bytes of a nested store */
    uint64_t sequence;     /* its number in the order of publication, from 1 */
    uint64_t born_tail;    /* made by a compaction of ours: its tail when it replaced the one before; else 0 */

    _Atomic uint64_t snapshots; /* that are being walked: what is replaced must be noted for them */
    _Atomic uint64_t index_users; /* snapshots and sessions: they need the index after retirement too */
    sdi_superseded superseded;
    _Atomic bool retired;
    _Atomic bool index_discarded;
    _Atomic uint64_t reclaiming; /* stale payloads below may go at any moment; 0: none (reclaim.c) */
    struct sdi_generation *next_free;
    struct sdi_generation *next_made; /* in the store's list of all; set once */
} sdi_generation;

/* Buffers of the writer, used again from write to write. */
typedef struct sdi_scratch {
    uint8_t *bytes;
    size_t byte_capacity;
    simdrive_bytes *pieces;
    size_t piece_capacity;
    uint64_t *placed;                            /* of each change: end of its entry, or 0 */
    uint64_t *hashes, *ends, *sizes, *replaced; /* of each entry */
    size_t entry_capacity;
    simdrive_change *group; /* changes of several requests, side by side */
    size_t group_capacity;
} sdi_scratch;

/* Why somebody wants the writer's place, and what came of it: place.c. */
typedef enum sdi_turn_kind {
    SDI_TURN_ALONE,  /* to work there */
    SDI_TURN_WRITE,  /* to commit the request of which the turn is the first member; anybody may do it for him */
    SDI_TURN_PATIENT /* as ALONE, and waits for the end of a pushed stream too, until a compaction is cancelled */
} sdi_turn_kind;

typedef enum sdi_outcome {
    SDI_TURN_WAITS,
    SDI_TURN_SLEEPS, /* and is to be woken; up to here the turn has not ended */
    SDI_TURN_HAS_PLACE,
    SDI_TURN_SERVED,
    SDI_TURN_REFUSED,
    SDI_TURN_CANCELLED
} sdi_outcome;

/* Of somebody who waits for the place; on his stack. */
typedef struct sdi_turn {
    sdi_turn_kind kind;
    _Atomic unsigned state; /* sdi_outcome; the last thing that is stored before its owner may go */
    struct sdi_turn *next;  /* under mutex, while it is queued */
    sdi_condition woken;    /* made by who falls asleep */
} sdi_turn;

/* A write that waits for its commit, on its caller's stack. */
typedef struct sdi_request {
    sdi_turn turn; /* first */
    const simdrive_change *changes;
    size_t count;
    simdrive_batch_mode mode;
    size_t applied; /* changes that wrote something */
    uint64_t tail;  /* of the store behind them */
    simdrive_status status;
    int os_error;
    struct sdi_request *next; /* in the same group */
} sdi_request;

/* What a writer knows of the saved index: see saved_index.c. */
typedef struct sdi_saved_index {
    uint64_t entries;       /* of any kind, that it covers; its tail is in `stats` */
    uint64_t next;          /* writer: entries in the file at which to think of saving; UINT64_MAX: never */
    uint64_t last_ns;       /* writer: when it was saved last, or the store opened */
    sdi_thread thread;
    bool thread_started;    /* writer */
    _Atomic bool thread_runs;
} sdi_saved_index;

struct simdrive_store {
    _Atomic(sdi_generation *) current;

    const sdi_os *os;
    char *path;      /* as given */
    char *real_path; /* links resolved; NULL in memory */
    simdrive_open_options options;
    _Atomic bool folder_unsynced; /* the file's name may not be durable yet; cleared by who has synced the folder */

    sdi_mutex mutex;
    sdi_condition place_left; /* for who leaves the place and comes back: the next one has left it too */
    bool place_has_stream;    /* place, and under mutex: a pushed stream has it */
    sdi_turn *turns, *turns_end; /* under mutex: who waits for the place, in order */
    _Atomic unsigned queued;     /* how many that are; changed under mutex */
    unsigned company;         /* place: writers that the last synced group had, and that waited at its end */
    uint64_t group_ns;        /* place: what that group took */
    _Atomic uint32_t place;   /* whether it is taken, and whether leaving it concerns anybody: place.c */
    _Atomic uint64_t place_owner; /* id of the thread that has it; 0: none, or it is just coming or going */
    _Atomic uint64_t writing_calls; /* about: some of them are timed */
    unsigned processors;
    bool compacting;       /* under mutex; a reclaim too: neither runs beside the other */
    struct sdi_compaction compaction;
    simdrive_stream *open_stream; /* under mutex: a pushed stream that is neither committed nor aborted */

    _Atomic(sdi_crc_kind) checksum; /* place; others take it for a hint of which to try first */
    _Atomic bool closed; /* only what was taken out of the store is left: nothing can be pinned any more */
    _Atomic bool poisoned;
    _Atomic uint64_t damaged_tail; /* bytes behind the tail that belong to nothing, zeros included */
    _Atomic bool tail_is_room;     /* all of them are zeros: no damage, but room for entries (append_map.c) */
    _Atomic uint64_t quarantined;
    _Atomic uint64_t durable_tail;
    _Atomic bool unsynced; /* interval policy: the sync thread has something to do */
    sdi_scratch scratch;

    sdi_thread sync_thread;
    sdi_condition sync_wanted;
    bool sync_thread_runs;
    bool sync_thread_stop; /* under mutex */

    sdi_saved_index saved;
    _Atomic uint64_t sequence; /* of the current generation */
    unsigned waiting;          /* under mutex: those who sleep until something changes (wait.c) */
    sdi_condition changed;
    bool refresh_incomplete; /* place of a reader: memory ran out before all that was found was in */
    uint64_t seen_end;       /* the same: where entries ended in the file when it was looked at last */
    bool tail_was_linked;    /* the same: bytes behind the tail had all their links when they were looked at last */

    _Atomic unsigned references; /* the handle, and each generation that is not drained */
    _Atomic(sdi_generation *) free_generations;
    _Atomic(sdi_generation *) all_generations; /* that were ever made; only added to */
    sdi_stats stats;
};

/* --- generation.c ------------------------------------------------------------------------------------------------ */

/* A generation that takes no pins yet; NULL when there is no memory. Holds a reference on the store. */
sdi_generation *sdi_generation_create(simdrive_store *store);

/* Maps the file so that at least `size` bytes are covered, and more as it grows. */
simdrive_status sdi_generation_map(sdi_generation *generation, uint64_t size);

/* Frees what is known of damage, and forgets it. */
void sdi_damage_free(sdi_damage_map *damage);

/* Drops what was found in the file, of one that nobody can have seen. */
void sdi_generation_forget(sdi_generation *generation);

/* From now on readers find this one. */
void sdi_generation_publish(sdi_generation *generation);

/* Takes no more pins; its resources go with the last one, which may be now. Also for one that was never published. */
void sdi_generation_retire(sdi_generation *generation);

/* Drops one reference on the store; the last one frees it. */
void sdi_store_unref(simdrive_store *store);

/* Pins the current generation for somebody who will go on looking into its index when it is retired. NULL when the
 * store is closed, which can only be met outside of the calls on it: in a session. */
sdi_pin *sdi_pin_with_index(simdrive_store *store);
/* Ends the interest in the index; the pin stays. */
void sdi_release_index(sdi_generation *generation);

/* Pins the current generation if that can be had at once; else NULL. */
static inline sdi_pin *sdi_pin_at_once(simdrive_store *store) {
    return sdi_pins_take(&atomic_load_explicit(&store->current, memory_order_acquire)->pins);
}

/* Pins the current generation. */
static inline sdi_pin *sdi_pin_current(simdrive_store *store) {
    for (;;) {
        sdi_pin *pin = sdi_pin_at_once(store);
        if (SDI_OFTEN(pin != NULL)) return pin;
        sdi_thread_yield(); /* it is being replaced, or pins are paused, for a moment */
    }
}

/* Whether a pinned generation is the newest. If not, what was not found in it may be in the newer one. */
static inline bool sdi_is_current(simdrive_store *store, const sdi_generation *generation) {
    return atomic_load_explicit(&store->current, memory_order_acquire) == generation;
}

static inline const uint8_t *sdi_base(const sdi_generation *generation) {
    return atomic_load_explicit(&generation->base, memory_order_acquire);
}

static inline uint64_t sdi_tail(const sdi_generation *generation) {
    return atomic_load_explicit(&generation->tail, memory_order_acquire);
}

/* --- read.c ------------------------------------------------------------------------------------------------------ */

/* The record whose metadata is at `end`, repaired where it is known how. */
bool sdi_record_at(const sdi_damage_map *damage, const uint8_t *base, uint64_t end, sdi_record *out);
/* NULL when its link is as it should be. */
const sdi_repair *sdi_repair_at(const sdi_damage_map *damage, uint64_t end);
bool sdi_is_corrupt(const sdi_damage_map *damage, uint64_t end);
/* The check that `check_on_read` asks for, true without it. */
bool sdi_passes_check(const simdrive_store *store, const uint8_t *base, const sdi_record *record);

/* The live record of a key, in a pinned generation: OK, NOT_FOUND or ERROR_CORRUPT. */
simdrive_status sdi_find_record(const sdi_generation *generation, uint64_t hash, sdi_record *out,
                                const uint8_t **base);
/* What an index hit means: OK, NOT_FOUND or ERROR_CORRUPT. */
simdrive_status sdi_judge_hit(const sdi_generation *generation, sdi_index_hit hit, sdi_record *out);

/* The live record of a key, and the pin of the generation it is in (only with OK). */
simdrive_status sdi_pin_record(simdrive_store *store, uint64_t hash, sdi_pin **pin, sdi_record *record,
                               const uint8_t **base);

/* Reads bytes of the file without touching the map. (A store in memory has nothing else.) */
simdrive_status sdi_read_bytes(const sdi_generation *generation, uint64_t offset, void *buffer, size_t size);

static inline void sdi_entry_fill(simdrive_entry *entry, const uint8_t *base, const sdi_record *record, sdi_pin *pin) {
    entry->data = base + record->start;
    entry->size = (size_t)sdi_record_size(record);
    entry->private_start = record->start;
    entry->private_pin = pin;
}

static inline sdi_generation *sdi_entry_generation(const simdrive_entry *entry) {
    return ((const sdi_pin *)entry->private_pin)->generation;
}

/* --- open.c ------------------------------------------------------------------------------------------------------ */

/* simdrive_open() on another table of the system's functions, which must outlive everything taken from the store. */
simdrive_status sdi_open_with_os(const sdi_os *os, const char *path, const simdrive_open_options *options,
                                 simdrive_store **out);

/* simdrive_salvage() on another table. */
simdrive_status sdi_salvage_with_os(const sdi_os *os, const char *path, const char *out_path,
                                    const simdrive_work_options *options, simdrive_finding_handler handler,
                                    void *handler_user, simdrive_report *report);

/* Opens the store's path as the file of a new generation, and finds its entries. */
simdrive_status sdi_open_generation(sdi_generation *generation);

/* --- position.c -------------------------------------------------------------------------------------------------- */

/* The check of a position that ends at `offset`, a tail of the generation (simdrive_position). Never 0. */
uint64_t sdi_position_check(const sdi_generation *generation, uint64_t offset);
/* Whether an entry ends there, and it is the one that the position was taken behind. The chain itself is not walked. */
bool sdi_position_holds(const sdi_generation *generation, const simdrive_position *position);

/* --- saved_index.c ----------------------------------------------------------------------------------------------- */

/* Takes the index of a generation whose file is open, mapped, and `*size` bytes long, from the saved index, if there is
 * one that belongs to it, and adds what is newer, up to the file's end. False when it cannot: nothing has changed then
 * but the file's length, perhaps, beside a writer. */
bool sdi_saved_index_load(sdi_generation *generation, uint64_t *size);

/* A writer's handle has been opened, or its store compacted: decides when to save. Writer's place, or nobody else. */
void sdi_saved_index_begin(simdrive_store *store, const sdi_generation *generation);
/* Starts saving in a thread. Writer's place held. */
void sdi_saved_index_is_due(simdrive_store *store, const sdi_generation *generation);
/* On closing, when nobody else is there: waits for the thread, and saves what is worth it. */
void sdi_saved_index_end(simdrive_store *store);

/* Payload entries and tombstones in the file. */
static inline uint64_t sdi_entries_in_file(const sdi_generation *generation) {
    const sdi_counters *counters = &generation->counters;
    return atomic_load_explicit(&counters->entries, memory_order_relaxed) +
           atomic_load_explicit(&counters->stale_entries, memory_order_relaxed) +
           atomic_load_explicit(&counters->tombstones, memory_order_relaxed);
}

/* After each append. Writer's place held. */
static inline void sdi_saved_index_consider(simdrive_store *store, const sdi_generation *generation) {
    if (sdi_entries_in_file(generation) >= store->saved.next) sdi_saved_index_is_due(store, generation);
}

/* --- temporary.c ------------------------------------------------------------------------------------------------- */

/* The name of a new file beside the store, to take another name when it is complete; malloc'ed. `infix` tells what for,
 * as ".compact-". NULL when there is no memory. */
char *sdi_temporary_path(const simdrive_store *store, const char *infix);
/* Removes files of such names that were left behind by whoever died while he made them; those at work hold their lock.
 * Best effort. */
void sdi_remove_temporaries(simdrive_store *store, const char *infix);

/* --- follow.c ---------------------------------------------------------------------------------------------------- */

/* Entries that were appended, found from the end of the chain: newest first. */
typedef struct sdi_added {
    uint64_t *ends; /* malloc'ed */
    size_t count, capacity;
} sdi_added;

/* Those from tail `low` to tail `high`; ERROR_CORRUPT when no chain leads from one to the other. */
simdrive_status sdi_collect_added(const uint8_t *file, uint64_t high, uint64_t low, sdi_added *added);
/* Puts them into the index and the counters, oldest first, and moves the tail. */
simdrive_status sdi_publish_added(sdi_generation *generation, const sdi_added *added);

/* Whether a handle of this generation can ever show more than it does, by a refresh. */
bool sdi_can_follow(const sdi_generation *generation);

/* For who walks a generation that he has pinned with its index, and wants all of it: refreshes a read-only handle, and
 * reads a file that was replaced to its end. `replaced` tells whether that has happened; then `tail` is final. In any
 * case `tail` is one between two appends, never within a batch. */
simdrive_status sdi_follow(simdrive_store *store, sdi_generation *generation, uint64_t *tail, bool *replaced);

/* How the generation's file ends as it is now. */
typedef struct sdi_file_end {
    uint64_t entries; /* its length, or less where it ends with zeros that were set aside: the end of what is complete
                         before them; the generation's tail, when that is nothing new */
    uint64_t bytes;   /* behind the last byte above that tail that is not zero; or that tail */
    uint64_t file;    /* its length */
} sdi_file_end;

simdrive_status sdi_entries_end(sdi_generation *generation, sdi_file_end *out);

/* Adds what a writer in another process has appended, once the file's length stays; it was `size` at the last look.
 * The length is shared. */
simdrive_status sdi_keep_up(sdi_generation *generation, uint64_t size);

/* --- wait.c ------------------------------------------------------------------------------------------------------ */

/* The moment that is `timeout_ms` away, and how long it still takes: 0 when it has passed; UINT32_MAX: for ever. */
uint64_t sdi_deadline(uint32_t timeout_ms);
uint32_t sdi_time_left_ms(uint64_t deadline);

/* Waits until the generation of that number is no more the current one, or its tail has left `tail`: OK; END at the
 * deadline, or at once when neither can happen. Refreshes read-only handles, and gives their errors. */
simdrive_status sdi_wait_beyond(simdrive_store *store, uint64_t sequence, uint64_t tail, uint64_t deadline);

/* --- place.c: the writer's place --------------------------------------------------------------------------------- */

/* Waits for the place and takes it: ERROR_READ_ONLY, ERROR_BUSY (this thread has it, or a pushed stream), and, for
 * `append`, ERROR_POISONED. */
simdrive_status sdi_place_take(simdrive_store *store, bool append);
/* The same for the compaction, which waits for the end of a pushed stream of another thread too, until it is cancelled:
 * ERROR_CANCELLED. */
simdrive_status sdi_place_take_patiently(simdrive_store *store);
/* The same for a reader that follows a writer: it changes what it knows of the store, not the store. */
simdrive_status sdi_place_take_for_refresh(simdrive_store *store);
void sdi_place_leave(simdrive_store *store);
/* What must be so before an append; the place is taken. */
simdrive_status sdi_place_ready(simdrive_store *store);

/* Takes the place if it is free and nobody is attentive to it; leaves it if nobody has become so. */
bool sdi_place_try(simdrive_store *store);
bool sdi_place_try_leave(simdrive_store *store);
/* Takes the place when it is the turn's turn, unless something else comes of it first. */
sdi_outcome sdi_place_wait(simdrive_store *store, sdi_turn *turn);

/* With the mutex held: whoever has the place takes the mutex to leave it, for somebody is going to wait for what he
 * does there. What was published by those who left it before is visible then. */
void sdi_place_attend(simdrive_store *store);
/* Whether thread `self`, which asks, has the place. */
bool sdi_place_is_own(const simdrive_store *store, uint64_t self);
/* Leaves the place; the mutex is held. It is the next one's then, if there is one. */
void sdi_place_free(simdrive_store *store);
/* The place is a pushed stream's; the mutex is held. */
void sdi_place_keep_for_stream(simdrive_store *store);
/* Ends the turn of a compaction that was cancelled; the mutex is held. */
void sdi_place_cancel_patient(simdrive_store *store);
/* The first in the queue, or NULL; out of the queue; and at the end. The mutex and the place are held. */
sdi_turn *sdi_turn_first(simdrive_store *store);
sdi_turn *sdi_turn_take(simdrive_store *store);
void sdi_turn_end(sdi_turn *turn, sdi_outcome outcome);

/* --- commit.c ---------------------------------------------------------------------------------------------------- */

/* Waits for the place, and appends the request's changes, together with those of others who wait (commit.c). */
simdrive_status sdi_commit(simdrive_store *store, sdi_request *request);

/* --- writer.c ---------------------------------------------------------------------------------------------------- */

/* Moves damaged bytes behind the tail, if there are any, aside and cuts the file to its tail: right before the first
 * write, when nothing else can be refused any more, for a call that fails changes nothing. Writer's place held. */
simdrive_status sdi_clear_damaged_tail(simdrive_store *store, sdi_generation *generation);

/* Refuses all further writes through this handle. */
static inline void sdi_poison(simdrive_store *store) {
    atomic_store_explicit(&store->poisoned, true, memory_order_release);
}

/* Cuts a file, but not under the eyes of a reader. */
simdrive_status sdi_cut(simdrive_store *store, sdi_file *file, uint64_t size);

/* Cuts the file back after a failed append; poisons the store when that fails. Returns `status`. */
simdrive_status sdi_roll_back(simdrive_store *store, sdi_generation *generation, simdrive_status status);

/* Makes the file durable up to `tail`; poisons the store when that fails. Writer's place held. */
simdrive_status sdi_sync_file(simdrive_store *store, sdi_generation *generation, uint64_t tail);

/* Syncs when the policy is to sync each commit. */
simdrive_status sdi_sync_commit(simdrive_store *store, sdi_generation *generation, uint64_t tail);

/* --- append.c ---------------------------------------------------------------------------------------------------- */

/* Appends changes in order; deletes of keys that are not there are passed over. `applied` (may be NULL) counts what was
 * written. Writer's place held. */
simdrive_status sdi_append(simdrive_store *store, const simdrive_change *changes, size_t count,
                           simdrive_batch_mode mode, size_t *applied);

/* Entries side by side; `sizes` of payloads, 0 for a tombstone; `replaced` is filled. */
typedef struct sdi_published {
    const uint64_t *hashes, *ends, *sizes;
    uint64_t *replaced;
} sdi_published;

/* Puts entries that are in the file into the index and the counters, and publishes `tail`. Room is reserved. Parts may
 * go before: nothing of them counts, and no snapshot begins, until `tail` is published. */
void sdi_publish_part(sdi_generation *generation, const sdi_published *entries, size_t count);
void sdi_publish_entries(sdi_generation *generation, const sdi_published *entries, size_t count, uint64_t tail);

/* How many first bytes of a payload written at `tail` are held back until the entry is complete: see
 * sdi_first_write_mark. */
size_t sdi_first_write_hold(uint64_t tail, uint64_t payload_size);

/* Writes the mark of an unfinished first write, and syncs it, where that is due. To be taken back on failure. */
simdrive_status sdi_mark_first_write(simdrive_store *store, sdi_generation *generation, uint64_t tail);

/* A disk that loses power may write the second sector of an entry's metadata and not the first, in which part of the
 * key's hash is. The checksum, which is the payload's, tells it unless that sector has nothing but zeros of payload and
 * link in it, as with a tombstone. Whether it is so for an entry of these offsets, when the last `payload_bytes` of its
 * payload are zero. Then its link is held back until it is synced. */
bool sdi_key_may_tear(uint64_t prev, uint64_t start, uint64_t end, uint64_t *payload_bytes);

/* Makes the link of the entry true that was written with sdi_unpublished_prev(). */
simdrive_status sdi_write_held_link(sdi_generation *generation, uint64_t end, uint64_t prev);

bool sdi_payload_storable(const void *data, size_t size);

/* --- append_map.c ------------------------------------------------------------------------------------------------ */

/* Whether an append that ends at `new_tail` can be stored into the map of the file's end. Makes room for it there. What
 * fails leaves the file's entries as they are, and the ordinary way open. Writer's place held. */
bool sdi_tail_map_make_room(sdi_generation *generation, uint64_t new_tail);

/* Stores one entry, which ends at `end`, on top of `prev`: `payload` NULL for a tombstone. Room was made. Before it
 * returns the entry is complete; at no moment before is there one. */
void sdi_tail_map_store(sdi_generation *generation, uint64_t prev, uint64_t end, uint64_t key_hash,
                        const simdrive_bytes *payload);

/* The file is about to be cut: nothing behind its tail is set aside any more. */
void sdi_tail_map_forget(sdi_generation *generation);
/* Cuts the file to its tail, if there is more that is set aside. Nobody writes any more. */
void sdi_tail_map_give_back(sdi_generation *generation);
/* Unmaps it. */
void sdi_tail_map_end(sdi_generation *generation);

/* What a handle tells of its map, and of what is behind its tail: damaged bytes or room, never both. */
typedef struct sdi_tail_state {
    bool map_wanted, map_used;
    simdrive_status map_status;
    uint64_t damaged, room;
} sdi_tail_state;

/* The generation is pinned. */
sdi_tail_state sdi_get_tail_state(const sdi_generation *generation);
/* Notes what is behind the tail: so many bytes, all of them zero or not. Writer's place held, or nobody else there. */
void sdi_note_behind(simdrive_store *store, uint64_t bytes, bool zero);

/* Whether the file may be longer than its entries, with zeros. */
static inline bool sdi_tail_map_is_used(const sdi_generation *generation) {
    return atomic_load_explicit(&generation->tail_map.used, memory_order_relaxed);
}

/* --- walk.c ------------------------------------------------------------------------------------------------------ */

typedef enum sdi_walk_purpose {
    SDI_WALK_TO_READ, /* payloads will be looked at */
    SDI_WALK_TO_LINK, /* metadata alone */
    SDI_WALK_TO_OPEN  /* the same, through a map that nobody has used yet */
} sdi_walk_purpose;

/* A part of the file that is read ahead together. */
typedef struct sdi_stretch {
    uint64_t bottom;
    bool fetched; /* it was not in memory */
} sdi_stretch;

/* Walks entries newest to oldest, over all runs, from `tail` on, which is the end of one of them. */
typedef struct sdi_walk {
    const uint8_t *file;
    const sdi_damage_map *damage;
    uint64_t position; /* tail of the next record to give out */
    uint64_t floor;    /* tail of the first record that is not given out any more; 0 where there are runs */
    size_t run;
    bool broken; /* a link did not hold where it should */

    const sdi_os *os; /* to read ahead with; NULL: not at all. What follows is for that, and means nothing else */
    sdi_walk_purpose purpose;
    bool cold;            /* it has come to something that was not in memory */
    uint64_t above;       /* all above was let go of, or was there before */
    sdi_stretch inside;   /* that the walk is in */
    sdi_stretch asked;    /* below that, and asked for */
    uint64_t next_size;   /* how long the next one is */
    uint64_t entry_size;  /* of the last one met, padding and all */
} sdi_walk;

void sdi_walk_begin(sdi_walk *walk, const uint8_t *file, const sdi_damage_map *damage, uint64_t tail);
/* Ends the walk at `floor`, the tail of an entry of the same chain. Not where there are runs. */
void sdi_walk_end_at(sdi_walk *walk, uint64_t floor);
/* From here on, reads ahead of the walk. `file` is a map. */
void sdi_walk_read_ahead(sdi_walk *walk, const sdi_os *os, sdi_walk_purpose purpose);
/* Up to `capacity` records; 0 at the end only. */
size_t sdi_walk_block(sdi_walk *walk, sdi_record *records, size_t capacity);
/* False at the end. */
bool sdi_walk_next(sdi_walk *walk, sdi_record *record);

/* --- snapshot.c -------------------------------------------------------------------------------------------------- */

simdrive_status sdi_superseded_init(sdi_superseded *superseded);
void sdi_superseded_clear(sdi_superseded *superseded);

/* Writer, before an append: makes room to note `count` replacements, if anybody is interested. */
simdrive_status sdi_superseded_reserve(sdi_generation *generation, size_t count);

/* Writer, around the puts of an append on top of `tail`. */
void sdi_publication_begin(sdi_generation *generation, const uint64_t *hashes, size_t count, uint64_t tail);
void sdi_publication_end(sdi_generation *generation);

/* Walks the entries that were live when it began, newest to oldest, in a generation that stays pinned. */
typedef struct sdi_snapshot sdi_snapshot;

/* Pins the current generation for the snapshot; NULL `store` is not allowed. */
simdrive_status sdi_snapshot_begin(simdrive_store *store, sdi_walk_purpose purpose, sdi_snapshot **out);
void sdi_snapshot_end(sdi_snapshot *snapshot);
sdi_pin *sdi_snapshot_pin(const sdi_snapshot *snapshot);
const uint8_t *sdi_snapshot_base(const sdi_snapshot *snapshot);
uint64_t sdi_snapshot_tail(const sdi_snapshot *snapshot);
/* Whether its walk has come to something that was not in memory. */
bool sdi_snapshot_was_cold(const sdi_snapshot *snapshot);

/* Up to `capacity` records; `count` 0 at the end. Corrupt ones are given out too (sdi_is_corrupt). ERROR_NO_MEMORY;
 * ERROR_CORRUPT when a link does not hold any more. */
simdrive_status sdi_snapshot_next(sdi_snapshot *snapshot, sdi_record *records, size_t capacity, size_t *count);

/* The two halves of it: raw records in order, and which of them are live (by any thread; `records` is thinned out in
 * place). */
simdrive_status sdi_snapshot_walk(sdi_snapshot *snapshot, sdi_record *records, size_t capacity, size_t *count);
simdrive_status sdi_snapshot_select(const sdi_snapshot *snapshot, sdi_record *records, size_t *count);

/* The walk cut into pieces, newest first, with about as many live entries in each: up to `capacity`, at least 1. Each
 * is walked by one thread at a time, different ones by different threads. `samples` has room for SDI_SPLIT_SAMPLES
 * offsets for each. */
enum { SDI_SPLIT_SAMPLES = 8 };
size_t sdi_snapshot_split(const sdi_snapshot *snapshot, uint64_t *samples, sdi_walk *pieces, size_t capacity);

/* --- reclaim.c --------------------------------------------------------------------------------------------------- */

/* Whether the payload of a stale entry must not be looked at: it was given back, or may go at any moment, for a reclaim
 * is at work. The generation is pinned; false holds as long as that pin does. */
bool sdi_stale_payload_is_gone(const sdi_generation *generation, const uint8_t *file, const sdi_record *record);

/* --- statistics.c ------------------------------------------------------------------------------------------------ */

/* Before a generation is published: what is in it now was not written through this handle, but for what was written to
 * the one that it replaces (NULL: none). */
void sdi_work_begin(sdi_generation *generation, const sdi_generation *replaced);

/* --- small things ------------------------------------------------------------------------------------------------ */

/* For a failure that is not the operating system's: clears its number. Returns `status`. */
static inline simdrive_status sdi_refuse(simdrive_status status) {
    sdi_set_os_error(0);
    return status;
}

/* Copies what the caller knows of an options struct over one full of defaults; false when its size is impossible. */
bool sdi_take_struct(void *known, size_t known_size, const void *given, size_t given_size);

/* `base` + `suffix`, malloc'ed; NULL when there is no memory. */
char *sdi_path_with_suffix(const char *base, const char *suffix);

/* Reports progress; OK, or ERROR_CANCELLED. */
simdrive_status sdi_report_progress(const simdrive_work_options *options, uint64_t done, uint64_t total);
/* Fills the caller's report as far as he knows it. */
void sdi_give_report(simdrive_report *known, simdrive_report *out);
simdrive_status sdi_take_work_options(const simdrive_work_options *given, simdrive_work_options *out);

/* To be called after an append was published, outside of the place: the policy may want a compaction now. */
static inline void sdi_after_append(simdrive_store *store) {
    if (store->options.compact_stale_percent != 0) sdi_compact_when_due(store);
}

static inline bool sdi_compaction_cancelled(simdrive_store *store) {
    return atomic_load_explicit(&store->compaction.cancelled, memory_order_relaxed);
}

/* Only one thread at a time may change a counter. Who has seen the change sees also what was done before it: so
 * statistics.c knows when it has looked into the middle of a publication. */
static inline void sdi_count(_Atomic uint64_t *counter, int64_t change) {
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + (uint64_t)change, memory_order_release);
}

#endif
