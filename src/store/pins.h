/* SPDX-License-Identifier: Apache-2.0 */
/* pins.h — counts who uses something that one day must go, at the price of two ordinary stores.
 *
 * A set of pins has a slot, one cache line, for each of 64 threads, and a state. A thread takes and releases pins in
 * the slot of its number: it alone writes there, so it needs no atomic read-modify-write, which may cost a reader a
 * quarter of his time (the processor overlaps reads that follow each other, and a locked instruction hinders that).
 * Whoever else releases a pin, or has no slot of his own, pays for an atomic addition to a second pair of counters.
 *
 *   P1  All four counters of a slot only grow. Pins held in it = taken - released, both sums of two.
 *   P2  Taking: add to `taken`, then look at the state; unless the set is open, add to `released`, and it was nothing.
 *   P3  Closing: take the open state away, then sdi_barrier_everywhere(). Whoever had seen the state open before that
 *       barrier has his count seen after it, and whoever looks after it sees it closed: so from here on no pin is
 *       taken, but through one that is held in the same slot (sdi_pin_again).
 *   P4  A slot is at rest when its `released` were read first, then its `taken`, and both sums are the same. At the
 *       time between the reads nothing was held there: each release that was seen follows its pin and each pin that
 *       was taken through that one, so those are seen too, and any other that was taken before is seen by P3. Once the
 *       set is closed or paused a slot that was at rest stays so.
 *   P5  Releasing: add to `released`, then look at the state. By P3 either who closes sees the count, or who releases
 *       sees the set closed; then he changes the state (by nothing: an atomic operation on it puts all such in one
 *       order, and each sees what those before it did) and looks whether all slots are at rest. So the last one sees
 *       that they are, and the change to `drained`, which only one can make, tells one of them to clear away.
 *   P6  The memory of a set is never given back, only used again: whoever has released a pin looks at the state once
 *       more, when all may be over. A set that is used again has a new life, counted in the state, so that a change
 *       which was meant for the old one fails. A look into the new one finds what it is: nothing to do, or P4.
 *
 * Where the system has no such barrier, or a policy forbids it, both sides use sequentially consistent operations
 * instead, and P3 holds by their order (the pattern is Dekker's).
 *
 * Sources: counting both directions apart, and reading them in this order, is how the Linux kernel's sleepable RCU
 * knows that nobody is inside (McKenney, "Sleepable RCU", 2006). The one-sided barrier is membarrier(2), or
 * FlushProcessWriteBuffers() on Windows.
 *
 * All interleavings of a small model of this file, pins.c and generation.c are tried by tests/model/pins_model.c, whose
 * steps have the names and the order of what is here: change both. */
#ifndef SDI_PINS_H
#define SDI_PINS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/likely.h"
#include "os/os.h"

enum { SDI_PIN_SLOTS = 64 };

typedef struct sdi_pin {
    _Alignas(64) _Atomic uint64_t taken; /* by the thread that has the slot's number; nobody else writes it */
    _Atomic uint64_t released;           /* the same */
    _Atomic uint64_t taken_by_others;
    _Atomic uint64_t released_by_others;
    struct sdi_generation *generation;
    unsigned number;
} sdi_pin;

/* Of the state. Above them stands the number of the life. */
#define SDI_PINS_CLOSED UINT64_C(1)
#define SDI_PINS_PAUSED UINT64_C(2)    /* pins that are wanted now may be had soon */
#define SDI_PINS_DRAINABLE UINT64_C(4) /* closed, and the barrier is done */
#define SDI_PINS_DRAINED UINT64_C(8)
#define SDI_PINS_FLAGS UINT64_C(0xFF)
#define SDI_PINS_LIFE UINT64_C(0x100)

typedef struct sdi_pins {
    sdi_pin slots[SDI_PIN_SLOTS];
    unsigned char apart[48];
    _Atomic uint64_t state; /* 4 KiB from no counter: processors take such addresses for the same, for a moment */
    void (*drained)(struct sdi_generation *generation); /* clears away, once in each life, in whatever thread is last */
} sdi_pins;

/* A set in new memory. Closed and drained. */
void sdi_pins_init(sdi_pins *pins, struct sdi_generation *generation,
                   void (*drained)(struct sdi_generation *generation));
/* A new life of a set that is drained: closed, nothing pinned. */
void sdi_pins_begin(sdi_pins *pins);
void sdi_pins_open(sdi_pins *pins);
/* `drained` is called when nothing is held any more, which may be now. Where the barrier fails it is never called: the
 * file stays open and mapped, but nobody loses bytes that he holds. That happens only when a policy which forbids
 * membarrier(2) is set up after the first store was opened. */
void sdi_pins_close(sdi_pins *pins);
/* Keeps new pins out of an open set for a moment. False, and it goes on as before, when the barrier fails. */
bool sdi_pins_pause(sdi_pins *pins);
void sdi_pins_resume(sdi_pins *pins);
bool sdi_pins_slot_is_at_rest(const sdi_pin *slot);
/* How many are held; while threads are at work, of some moments close to each other. */
uint64_t sdi_pins_count(const sdi_pins *pins);

/* For the functions below: whether there is a barrier. 0 until the first set is made, and then the same for good. */
enum { SDI_PINS_BY_BARRIER = 1, SDI_PINS_BY_ORDER = 2 };
extern _Atomic int sdi_pins_way;
/* P2, and the second half of P5. */
SDI_COLD void sdi_pins_take_back(sdi_pins *pins, sdi_pin *pin);
SDI_COLD void sdi_pins_look_at_end(sdi_pins *pins);

/* A store that is seen before whatever this thread does after it, by who calls the barrier. */
static inline void sdi_pins_announce(_Atomic uint64_t *counter, uint64_t value) {
    if (SDI_OFTEN(atomic_load_explicit(&sdi_pins_way, memory_order_relaxed) == SDI_PINS_BY_BARRIER)) {
        atomic_store_explicit(counter, value, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_exchange(counter, value);
    }
}

static inline bool sdi_pins_own(const sdi_pin *pin) {
    return SDI_OFTEN(pin->number == sdi_thread_number());
}

static inline uint64_t sdi_pins_own_count(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* One more pin; NULL when the set is not open. Any thread that knows the set's memory. */
static inline sdi_pin *sdi_pins_take(sdi_pins *pins) {
    unsigned number = sdi_thread_number();
    sdi_pin *pin = &pins->slots[number % SDI_PIN_SLOTS];
    if (SDI_OFTEN(number < SDI_PIN_SLOTS))
        sdi_pins_announce(&pin->taken, sdi_pins_own_count(&pin->taken) + 1);
    else
        atomic_fetch_add(&pin->taken_by_others, 1);
    if (SDI_OFTEN((atomic_load(&pins->state) & SDI_PINS_FLAGS) == 0)) return pin;
    sdi_pins_take_back(pins, pin);
    return NULL;
}

/* More pins in the same slot; the caller holds one. */
static inline void sdi_pin_again(sdi_pin *pin, uint64_t count) {
    if (sdi_pins_own(pin))
        atomic_store_explicit(&pin->taken, sdi_pins_own_count(&pin->taken) + count, memory_order_release);
    else
        atomic_fetch_add(&pin->taken_by_others, count);
}

static inline void sdi_pins_add_released(sdi_pin *pin, uint64_t count) {
    if (sdi_pins_own(pin))
        sdi_pins_announce(&pin->released, sdi_pins_own_count(&pin->released) + count);
    else
        atomic_fetch_add(&pin->released_by_others, count);
}

/* Gives pins of one slot back, in any thread. */
static inline void sdi_unpin(sdi_pin *pin, uint64_t count) {
    sdi_pins *pins = (sdi_pins *)(void *)(pin - pin->number);
    sdi_pins_add_released(pin, count);
    if (SDI_SELDOM((atomic_load(&pins->state) & SDI_PINS_FLAGS) != 0)) sdi_pins_look_at_end(pins);
}

#endif
