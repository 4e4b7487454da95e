/* SPDX-License-Identifier: Apache-2.0
 *
 * test_pins.c — whoever closes a set of pins is told once, in each life, that nothing is held any more: not before the
 * last pin is gone, in whatever thread, and always then. Each case runs with the one-sided barrier of the system and
 * without it.
 */
#include "store/pins.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "support/check.h"

enum { LIVES = 60, THREADS = 6, CROWD = SDI_PIN_SLOTS + 8, EXCHANGE = 4 };

/* What stands in the place of a generation. */
struct sdi_generation {
    sdi_pins pins;
    _Atomic int held;    /* by anyone, as the test knows it */
    _Atomic int drained; /* how often it was said so in this life */
    _Atomic int early;   /* ... while something was held */
};

static void note_drained(struct sdi_generation *generation) {
    if (atomic_load(&generation->held) != 0) atomic_fetch_add(&generation->early, 1);
    atomic_fetch_add(&generation->drained, 1);
}

static struct sdi_generation *make(bool barrier) {
    struct sdi_generation *generation = aligned_alloc(_Alignof(struct sdi_generation), sizeof *generation);
    CHECK(generation != NULL);
    atomic_init(&generation->held, 0);
    atomic_init(&generation->drained, 0);
    atomic_init(&generation->early, 0);
    sdi_pins_init(&generation->pins, generation, note_drained);
    atomic_store(&sdi_pins_way, barrier && sdi_barrier_prepare() ? SDI_PINS_BY_BARRIER : SDI_PINS_BY_ORDER);
    return generation;
}

static void begin_life(struct sdi_generation *generation) {
    atomic_store(&generation->drained, 0);
    sdi_pins_begin(&generation->pins);
    sdi_pins_open(&generation->pins);
}

static sdi_pin *take_one(sdi_pins *pins) {
    sdi_pin *pin = sdi_pins_take(pins);
    if (!pin) abort();
    return pin;
}

/* --- one thread -------------------------------------------------------------------------------------------------- */

static void closing_tells_when_the_last_pin_is_gone(bool barrier) {
    struct sdi_generation *generation = make(barrier);
    sdi_pins *pins = &generation->pins;
    CHECK(sdi_pins_take(pins) == NULL); /* never opened */
    for (uint64_t held = 0; held < 4; held++) {
        begin_life(generation);
        sdi_pin *pin = NULL;
        for (uint64_t i = 0; i < held; i++) pin = take_one(pins);
        if (pin && held == 3) sdi_pin_again(pin, 2);
        CHECK_U64(held == 3 ? 5 : held, sdi_pins_count(pins));
        sdi_pins_close(pins);
        CHECK(sdi_pins_take(pins) == NULL);
        CHECK_U64(held == 0, (uint64_t)atomic_load(&generation->drained));
        if (pin && held == 3) sdi_unpin(pin, 2);
        for (uint64_t i = 0; pin && i < held; i++) {
            CHECK_U64(0, (uint64_t)atomic_load(&generation->drained));
            sdi_unpin(pin, 1);
        }
        CHECK_U64(1, (uint64_t)atomic_load(&generation->drained));
        CHECK(sdi_pins_take(pins) == NULL);
        CHECK_U64(1, (uint64_t)atomic_load(&generation->drained));
    }
    free(generation);
}

static void a_paused_set_takes_no_pins_and_ends_nothing(bool barrier) {
    struct sdi_generation *generation = make(barrier);
    sdi_pins *pins = &generation->pins;
    begin_life(generation);
    sdi_pin *pin = take_one(pins);
    CHECK(sdi_pins_pause(pins));
    CHECK(sdi_pins_take(pins) == NULL);
    CHECK(!sdi_pins_slot_is_at_rest(pin));
    sdi_unpin(pin, 1);
    CHECK(sdi_pins_slot_is_at_rest(pin));
    CHECK_U64(0, (uint64_t)atomic_load(&generation->drained));
    sdi_pins_resume(pins);
    pin = take_one(pins);
    sdi_pins_close(pins);
    sdi_unpin(pin, 1);
    CHECK_U64(1, (uint64_t)atomic_load(&generation->drained));
    free(generation);
}

/* --- many -------------------------------------------------------------------------------------------------------- */

typedef struct crowd {
    struct sdi_generation *generation;
    _Atomic(sdi_pin *) exchange[EXCHANGE]; /* pins that go from thread to thread */
    _Atomic unsigned long long seed;
    _Atomic bool stop;
} crowd;

static void give_back(struct sdi_generation *generation, sdi_pin *pin) {
    if (!pin) return;
    atomic_fetch_sub(&generation->held, 1);
    sdi_unpin(pin, 1);
}

static void *take_and_give(void *user) {
    crowd *all = user;
    struct sdi_generation *generation = all->generation;
    uint64_t random = atomic_fetch_add(&all->seed, 1) * UINT64_C(0x9E3779B97F4A7C15);
    while (!atomic_load_explicit(&all->stop, memory_order_relaxed)) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        sdi_pin *pin = sdi_pins_take(&generation->pins);
        if (!pin) {
            sched_yield();
        } else {
            atomic_fetch_add(&generation->held, 1);
            if (random >> 60 == 0) {
                atomic_fetch_add(&generation->held, 1);
                sdi_pin_again(pin, 1);
                give_back(generation, pin);
            }
        }
        if (pin && random >> 59 < 8) pin = atomic_exchange(&all->exchange[random >> 40 & (EXCHANGE - 1)], pin);
        if (pin && (random >> 30 & 7) == 0) { /* one that may be of another thread */
            atomic_fetch_add(&generation->held, 1);
            sdi_pin_again(pin, 1);
            give_back(generation, pin);
        }
        give_back(generation, pin);
    }
    return NULL;
}

static void wait_until_drained(struct sdi_generation *generation, crowd *all) {
    while (atomic_load(&generation->drained) == 0) {
        for (unsigned i = 0; i < EXCHANGE; i++) give_back(generation, atomic_exchange(&all->exchange[i], NULL));
        sched_yield();
    }
}

static void run_crowd(bool barrier, unsigned count, unsigned lives) {
    crowd all = {.generation = make(barrier), .seed = 1};
    pthread_t threads[CROWD];
    begin_life(all.generation);
    for (unsigned i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, take_and_give, &all) == 0);
    for (unsigned life = 0; life < lives; life++) {
        test_context("life %u of %u threads", life, count);
        for (unsigned i = 0; i < life % 7; i++) sched_yield();
        sdi_pins_close(&all.generation->pins);
        wait_until_drained(all.generation, &all);
        CHECK_U64(1, (uint64_t)atomic_load(&all.generation->drained));
        CHECK_U64(0, (uint64_t)atomic_load(&all.generation->early));
        CHECK_U64(0, (uint64_t)atomic_load(&all.generation->held));
        if (life + 1 < lives) begin_life(all.generation);
    }
    atomic_store(&all.stop, true);
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
    CHECK_U64(1, (uint64_t)atomic_load(&all.generation->drained));
    free(all.generation);
}

static void one_thread(void **state) {
    (void)state;
    for (int barrier = 0; barrier < 2; barrier++) {
        closing_tells_when_the_last_pin_is_gone(barrier);
        a_paused_set_takes_no_pins_and_ends_nothing(barrier);
    }
}

static void threads_that_take_clone_hand_over_and_release(void **state) {
    (void)state;
    for (int barrier = 0; barrier < 2; barrier++) run_crowd(barrier, THREADS, LIVES);
}

static void more_threads_than_slots(void **state) {
    (void)state;
    for (int barrier = 0; barrier < 2; barrier++) run_crowd(barrier, CROWD, LIVES / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread),
        cmocka_unit_test(threads_that_take_clone_hand_over_and_release),
        cmocka_unit_test(more_threads_than_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
