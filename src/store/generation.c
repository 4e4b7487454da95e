/* SPDX-License-Identifier: Apache-2.0 */
/* generation.c — the life of a generation: made, mapped, published, pinned, retired, drained. See store.h, S2 to S4. */
#include <string.h>

#include "store/store.h"

enum { MAP_GROWTH = 4, MODEST_RESERVE = 16 << 20 };

static sdi_generation *take_free(simdrive_store *store) {
    /* Only the holder of the writer's place takes from the list, so an element cannot come back in between. */
    sdi_generation *first = atomic_load_explicit(&store->free_generations, memory_order_acquire);
    while (first && !atomic_compare_exchange_weak_explicit(&store->free_generations, &first, first->next_free,
                                                           memory_order_acquire, memory_order_acquire)) {
    }
    return first;
}

static void give_back(simdrive_store *store, sdi_generation *generation) {
    sdi_generation *first = atomic_load_explicit(&store->free_generations, memory_order_relaxed);
    do {
        generation->next_free = first;
    } while (!atomic_compare_exchange_weak_explicit(&store->free_generations, &first, generation,
                                                    memory_order_release, memory_order_relaxed));
}

static void add_to_all(simdrive_store *store, sdi_generation *generation) {
    generation->next_made = atomic_load_explicit(&store->all_generations, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&store->all_generations, &generation->next_made, generation,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

/* Everything but the pins, which a late reader may be looking at. */
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
    /* Who sees that it lives again sees also that it is not retired (statistics.c). */
    atomic_store_explicit(&generation->open_slots, SDI_PIN_SLOTS, memory_order_release);
    generation->next_free = NULL;
}

sdi_generation *sdi_generation_create(simdrive_store *store) {
    sdi_generation *generation = take_free(store);
    if (!generation) {
        generation = aligned_alloc(_Alignof(sdi_generation), sizeof *generation);
        if (!generation) return NULL;
        for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
            atomic_init(&generation->pins[i].word, SDI_PIN_RETIRED);
            generation->pins[i].generation = generation;
        }
        generation->store = store;
        if (sdi_superseded_init(&generation->superseded) != SIMDRIVE_OK) {
            free(generation);
            return NULL;
        }
        reset(generation);
        add_to_all(store, generation);
    } else {
        reset(generation);
    }
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
    generation->sequence = atomic_load_explicit(&store->sequence, memory_order_relaxed) + 1;
    /* A reader that saw this struct in an earlier life may pin it between these two lines, and finds it complete. */
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++)
        atomic_store_explicit(&generation->pins[i].word, 0, memory_order_release);
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

static void drain(sdi_generation *generation) {
    simdrive_store *store = generation->store;
    simdrive_entry nested = generation->nested;
    sdi_generation_forget(generation);
    sdi_superseded_clear(&generation->superseded);
    sdi_tail_map_end(generation);
    for (size_t i = 0; i < generation->map_count; i++)
        store->os->unmap(store->os, generation->maps[i].base, generation->maps[i].size);
    if (generation->file) store->os->close(store->os, generation->file);
    give_back(store, generation);
    sdi_store_unref(store);
    simdrive_entry_release(&nested);
}

void sdi_pin_drained(sdi_pin *pin) {
    atomic_load_explicit(&pin->word, memory_order_acquire); /* all that others did under their pins has happened */
    sdi_generation *generation = pin->generation;
    if (atomic_fetch_sub_explicit(&generation->open_slots, 1, memory_order_acq_rel) == 1) drain(generation);
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
        sdi_pin *pin = sdi_pin_current(store);
        atomic_fetch_add(&pin->generation->index_users, 1);
        if (!atomic_load(&pin->generation->retired)) return pin;
        sdi_release_index(pin->generation);
        sdi_unpin(pin, 1);
    }
}

void sdi_generation_retire(sdi_generation *generation) {
    unsigned drained = 0;
    atomic_store(&generation->retired, true);
    discard_unused_index(generation);
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
        uint64_t before =
            atomic_fetch_or_explicit(&generation->pins[i].word, SDI_PIN_RETIRED, memory_order_acq_rel);
        if ((before & ~SDI_PIN_RETIRED) == 0) drained++;
    }
    if (drained > 0 &&
        atomic_fetch_sub_explicit(&generation->open_slots, drained, memory_order_acq_rel) == drained)
        drain(generation);
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
        sdi_superseded_destroy(&generation->superseded);
        free(generation);
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
