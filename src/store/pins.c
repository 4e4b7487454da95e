/* SPDX-License-Identifier: Apache-2.0 */
/* pins.c — the seldom parts of pins.h: opening and closing a set, and finding out who was the last. */
#include "store/pins.h"

_Atomic int sdi_pins_way;

/* Once in a process: a set that was made before must not find that the other side has changed its way. */
static void decide_on_barrier(void) {
    int undecided = 0, way = sdi_barrier_prepare() ? SDI_PINS_BY_BARRIER : SDI_PINS_BY_ORDER;
    atomic_compare_exchange_strong(&sdi_pins_way, &undecided, way);
}

void sdi_pins_init(sdi_pins *pins, struct sdi_generation *generation,
                   void (*drained)(struct sdi_generation *generation)) {
    decide_on_barrier();
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
        sdi_pin *slot = &pins->slots[i];
        atomic_init(&slot->taken, 0);
        atomic_init(&slot->released, 0);
        atomic_init(&slot->taken_by_others, 0);
        atomic_init(&slot->released_by_others, 0);
        slot->generation = generation;
        slot->number = i;
    }
    atomic_init(&pins->state, SDI_PINS_CLOSED | SDI_PINS_DRAINED);
    pins->drained = drained;
}

void sdi_pins_begin(sdi_pins *pins) {
    uint64_t life = atomic_load(&pins->state) & ~SDI_PINS_FLAGS;
    atomic_store(&pins->state, (life + SDI_PINS_LIFE) | SDI_PINS_CLOSED);
}

void sdi_pins_open(sdi_pins *pins) {
    atomic_fetch_and(&pins->state, ~SDI_PINS_FLAGS);
}

/* P3. */
static bool shut(sdi_pins *pins, uint64_t flag) {
    atomic_fetch_or(&pins->state, flag);
    return atomic_load_explicit(&sdi_pins_way, memory_order_relaxed) != SDI_PINS_BY_BARRIER || sdi_barrier_everywhere();
}

void sdi_pins_close(sdi_pins *pins) {
    if (!shut(pins, SDI_PINS_CLOSED)) return;
    atomic_fetch_or(&pins->state, SDI_PINS_DRAINABLE);
    sdi_pins_look_at_end(pins);
}

bool sdi_pins_pause(sdi_pins *pins) {
    if (shut(pins, SDI_PINS_PAUSED)) return true;
    sdi_pins_resume(pins);
    return false;
}

void sdi_pins_resume(sdi_pins *pins) {
    atomic_fetch_and(&pins->state, ~SDI_PINS_PAUSED);
}

/* P4: `released` first. */
static uint64_t held_in(const sdi_pin *slot) {
    uint64_t released = atomic_load(&slot->released) + atomic_load(&slot->released_by_others);
    return atomic_load(&slot->taken) + atomic_load(&slot->taken_by_others) - released;
}

bool sdi_pins_slot_is_at_rest(const sdi_pin *slot) {
    return held_in(slot) == 0;
}

uint64_t sdi_pins_count(const sdi_pins *pins) {
    uint64_t count = 0;
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) count += held_in(&pins->slots[i]);
    return count;
}

static bool all_are_at_rest(const sdi_pins *pins) {
    for (unsigned i = 0; i < SDI_PIN_SLOTS; i++) {
        if (!sdi_pins_slot_is_at_rest(&pins->slots[i])) return false;
    }
    return true;
}

void sdi_pins_look_at_end(sdi_pins *pins) {
    const uint64_t ready = SDI_PINS_CLOSED | SDI_PINS_DRAINABLE;
    uint64_t state = atomic_fetch_or(&pins->state, 0);
    if ((state & SDI_PINS_FLAGS) != ready || !all_are_at_rest(pins)) return;
    if (atomic_compare_exchange_strong(&pins->state, &state, state | SDI_PINS_DRAINED))
        pins->drained(pins->slots[0].generation);
}

void sdi_pins_take_back(sdi_pins *pins, sdi_pin *pin) {
    sdi_pins_add_released(pin, 1);
    sdi_pins_look_at_end(pins);
}
