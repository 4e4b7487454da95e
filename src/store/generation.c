/* SPDX-License-Identifier: Apache-2.0 */
/* generation.c — the life of a generation: made, mapped, published, pinned, retired, drained. See store.h, S2 to S4.
 *
 * A struct goes round: from the store that has made it, to the list of those that the store may use again, and when the
 * store is gone to a list for all stores of the process, which keeps it for good (P6 of pins.h). There are as many as
 * there were generations at the same time at most, of some 6 KiB each. */
#include <string.h>

#include "store/store.h"

enum { MAP_GROWTH = 4, MODEST_RESERVE = 16 << 20, TAKE_LOOKS = 1000 };

static _Atomic(sdi_generation *) spare; /* of stores that are gone */

static void put_on(_Atomic(sdi_generation *) *list, sdi_generation *generation) {
    generation->next_free = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(list, &generation->next_free, generation, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

/* By one thread at a time: so no element can be taken and come back between the look at it and its removal. */
static sdi_generation *take_from(_Atomic(sdi_generation *) *list) {
    sdi_generation *first = atomic_load_explicit(list, memory_order_acquire);
    while (first && !atomic_compare_exchange_weak_explicit(list, &first, first->next_free, memory_order_acquire,
                                                           memory_order_acquire)) {
    }
    return first;
}

/* NULL also when another thread is at it for long. No lock: after a fork at the wrong moment nobody would open it. */
static sdi_generation *take_spare(void) {
    static atomic_flag taking = ATOMIC_FLAG_INIT;
    unsigned looks = 0;
    while (atomic_flag_test_and_set_explicit(&taking, memory_order_acquire)) {
        if (++looks == TAKE_LOOKS) return NULL;
        sdi_thread_yield();
    }
    sdi_generation *taken = take_from(&spare);
    atomic_flag_clear_explicit(&taking, memory_order_release);
    return taken;
}

static void add_to_all(simdrive_store *store, sdi_generation *generation) {
    generation->next_made = atomic_load_explicit(&store->all_generations, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&store->all_generations, &generation->next_made, generation,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

/* Everything; of the pins only the life, for a late reader may be looking at them. */
static void reset(sdi_generation *generation) {
    atomic_store_explicit(&generation->tail, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->base, NULL, memory_order_relaxed);
    atomic_store_explicit(&generation->map_size, 0, memory_order_relaxed);
    generation->index = NULL;
    memset(&generation->damage, 0, sizeof generation->damage);
    atomic_store_explicit(&generation->counters.entries, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->counters.tombstones, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->counters.stale_entries, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->counters.live_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->counters.stale_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->counters.publications, 0, memory_order_relaxed);
    generation->file = NULL;
    generation->map_count = 0;
    memset(&generation->tail_map, 0, sizeof generation->tail_map);
    memset(&generation->file_id, 0, sizeof generation->file_id);
    memset(&generation->nested, 0, sizeof generation->nested);
    generation->sequence = generation->born_tail = 0;
    atomic_store_explicit(&generation->snapshots, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->index_users, 0, memory_order_relaxed);
    atomic_store_explicit(&generation->retired, false, memory_order_relaxed);
    atomic_store_explicit(&generation->index_discarded, false, memory_order_relaxed);
    atomic_store_explicit(&generation->reclaiming, 0, memory_order_relaxed);
    generation->next_free = NULL;
    /* Who sees that it lives again sees also that it is not retired (statistics.c). */
    sdi_pins_begin(&generation->pins);
}

static void drain(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    simdrive_entry nested = generation->nested;
    sdi_generation_forget(generation);
    sdi_superseded_clear(&generation->superseded);
    sdi_tail_map_end(generation);
    for (size_t i = 0; i < generation->map_count; i++)
        store->os->unmap(store->os, generation->maps[i].base, generation->maps[i].size);
    if (generation->file) store->os->close(store->os, generation->file);
    put_on(&store->free_generations, generation);
    sdi_store_unref(store);
    simdrive_entry_release(&nested);
}

static sdi_generation *make(void) {
    sdi_generation *generation = aligned_alloc(_Alignof(sdi_generation), sizeof *generation);
    if (!generation) return NULL;
    if (sdi_superseded_init(&generation->superseded) != SIMDRIVE_OK) {
        free(generation);
        return NULL;
    }
    sdi_pins_init(&generation->pins, generation, drain);
    return generation;
}

sdi_generation *sdi_generation_create(simdrive_store *store) {
    /* Only the holder of the writer's place does so. */
    sdi_generation *generation = take_from(&store->free_generations);
    bool is_known = generation != NULL; /* to the store's list of all */
    if (!generation) generation = take_spare();
    if (!generation) generation = make();
    if (!generation) return NULL;
    generation->store = store;
    reset(generation);
    if (!is_known) add_to_all(store, generation);
    atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
    return generation;
}

/* Readers map what is there; those that follow a writer, twice as much from the second time on, for the number of maps
 * is limited. */
static uint64_t wanted_map_size(const sdi_generation *generation, uint64_t size, uint64_t modest) {
    const simdrive_store *store = generation->store;
    if (store->options.read_only) return generation->map_count == 0 ? size : modest;
    if (store->options.map_reserve_bytes > size) return store->options.map_reserve_bytes;
    if (store->options.map_reserve_bytes == 0 && SDI_MAP_RESERVE_DEFAULT / MAP_GROWTH > size)
        return SDI_MAP_RESERVE_DEFAULT;
    return size * MAP_GROWTH;
}

/* The last map, grown where it is. */
static simdrive_status grow_last(sdi_generation *generation, uint64_t size) {
    const sdi_os *os = generation->store->os;
    if (generation->map_count == 0) return SIMDRIVE_ERROR_UNSUPPORTED;
    size_t last = generation->map_count - 1;
    simdrive_status status =
        os->map_grow(os, generation->maps[last].base, generation->maps[last].size, size);
    if (status == SIMDRIVE_OK) generation->maps[last].size = size;
    return status;
}

/* One more map of the file, from its beginning; the others stay for those who look at them. */
static simdrive_status add_map(sdi_generation *generation, uint64_t size) {
    const sdi_os *os = generation->store->os;
    const uint8_t *base = NULL;
    if (generation->map_count == SDI_MAX_MAPS) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_status status = os->map(os, generation->file, size, &base);
    if (status != SIMDRIVE_OK) return status;
    generation->maps[generation->map_count].base = base;
    generation->maps[generation->map_count].size = size;
    generation->map_count++;
    if (generation->index) sdi_index_set_base(generation->index, base);
    atomic_store_explicit(&generation->base, base, memory_order_release);
    return SIMDRIVE_OK;
}

simdrive_status sdi_generation_map(sdi_generation *generation, uint64_t size) {
    if (size <= atomic_load_explicit(&generation->map_size, memory_order_relaxed)) return SIMDRIVE_OK;
    /* Address space may be short, or the system unable to map beyond the file: then ask for less. */
    uint64_t modest = size + (size > MODEST_RESERVE ? size : MODEST_RESERVE);
    const uint64_t wanted[] = {wanted_map_size(generation, size, modest), modest, size};
    simdrive_status status = SIMDRIVE_ERROR_NO_MEMORY;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (wanted[i] > SIZE_MAX / 2 || (i > 0 && wanted[i] >= wanted[0])) continue;
        status = grow_last(generation, wanted[i]);
        if (status != SIMDRIVE_OK) status = add_map(generation, wanted[i]);
        if (status == SIMDRIVE_OK) {
            atomic_store_explicit(&generation->map_size, wanted[i], memory_order_release);
            return status;
        }
        if (status != SIMDRIVE_ERROR_NO_MEMORY && status != SIMDRIVE_ERROR_UNSUPPORTED) return status;
    }
    return status == SIMDRIVE_ERROR_UNSUPPORTED ? SIMDRIVE_ERROR_NO_MEMORY : status;
}

void sdi_generation_publish(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    const sdi_damage_map *damage = &generation->damage;
    generation->plain = damage->repair_count == 0 && damage->corrupt_count == 0 && !store->options.check_on_read;
    generation->sequence = atomic_load_explicit(&store->sequence, memory_order_relaxed) + 1;
    /* A reader that saw this struct in an earlier life may pin it between these two lines, and finds it complete. */
    sdi_pins_open(&generation->pins);
    atomic_store_explicit(&store->current, generation, memory_order_release);
    atomic_store_explicit(&store->sequence, generation->sequence, memory_order_release);
}

void sdi_damage_free(sdi_damage_map *damage) {
    free(damage->runs);
    free(damage->repairs);
    free(damage->corrupt);
    memset(damage, 0, sizeof *damage);
}

void sdi_generation_forget(sdi_generation *generation) {
    sdi_index_destroy(generation->index);
    generation->index = NULL;
    sdi_damage_free(&generation->damage);
}

/* The index of a retired generation is of use to few; its memory need not wait for the last entry. Who comes to use it
 * counts himself before he looks whether it is retired, so that one of the two sees the other. */
static void discard_unused_index(sdi_generation *generation) {
    if (!generation->index || !atomic_load(&generation->retired) || atomic_load(&generation->index_users) != 0) return;
    if (!atomic_exchange(&generation->index_discarded, true)) sdi_index_discard(generation->index);
}

void sdi_release_index(sdi_generation *generation) {
    if (atomic_fetch_sub(&generation->index_users, 1) == 1) discard_unused_index(generation);
}

sdi_pin *sdi_pin_with_index(simdrive_store *store) {
    for (;;) {
        sdi_pin *pin = sdi_pin_at_once(store);
        if (pin) {
            atomic_fetch_add(&pin->generation->index_users, 1);
            if (!atomic_load(&pin->generation->retired)) return pin;
            sdi_release_index(pin->generation);
            sdi_unpin(pin, 1);
        }
        if (atomic_load(&store->closed)) return NULL;
        sdi_thread_yield();
    }
}

void sdi_generation_retire(sdi_generation *generation) {
    atomic_store(&generation->retired, true);
    discard_unused_index(generation);
    sdi_pins_close(&generation->pins);
}

static void free_scratch(sdi_scratch *scratch) {
    free(scratch->bytes);
    free(scratch->pieces);
    free(scratch->placed);
    free(scratch->hashes);
    free(scratch->ends);
    free(scratch->sizes);
    free(scratch->replaced);
    free(scratch->group);
}

void sdi_store_unref(simdrive_store *store) {
    if (atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) != 1) return;
    sdi_generation *generation = atomic_load_explicit(&store->free_generations, memory_order_acquire);
    while (generation) {
        sdi_generation *next = generation->next_free;
        put_on(&spare, generation);
        generation = next;
    }
    free_scratch(&store->scratch);
    sdi_condition_destroy(&store->changed);
    sdi_condition_destroy(&store->compaction.ended);
    sdi_condition_destroy(&store->sync_wanted);
    sdi_condition_destroy(&store->place_left);
    sdi_mutex_destroy(&store->mutex);
    free(store->path);
    free(store->real_path);
    free(store);
}
