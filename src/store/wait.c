/* SPDX-License-Identifier: Apache-2.0 */
/* wait.c — sleeping until a store has changed.
 *
 * On a handle that writes, who waits sleeps on a condition of the store. Before he looks at the tail he calls attention
 * to himself in the word of the writer's place (sdi_place_attend): whoever leaves the place after that takes the mutex
 * to do so, and wakes those who wait there (sdi_place_free). No wake-up is lost: who waits looks at the tail, and falls
 * asleep, under that same mutex. What was published by those who left the place before is seen by his look, for both
 * change the same word; who leaves it later finds him asleep.
 *
 * On a handle that follows a writer in another process: begin a watch, look (refresh), then wait on the watch. What is
 * written between the look and the wait is in the watch already. It is looked each second in any case, for network file
 * systems do not tell; where there is no watch to be had, ten times a second.
 */
#include "store/store.h"

enum { LOOK_WITH_WATCH_MS = 1000, LOOK_WITHOUT_MS = 100, NS_PER_MS = 1000000 };

uint64_t sdi_deadline(uint32_t timeout_ms) {
    return timeout_ms == UINT32_MAX ? UINT64_MAX : sdi_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
}

uint32_t sdi_time_left_ms(uint64_t deadline) {
    if (deadline == UINT64_MAX) return UINT32_MAX;
    uint64_t now = sdi_monotonic_ns();
    return now < deadline ? (uint32_t)((deadline - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

/* Without a pin: the struct of a generation stays, and when it belongs to a later one by now, the number tells. */
static bool is_beyond(simdrive_store *store, uint64_t sequence, uint64_t tail) {
    const sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_acquire);
    return sdi_tail(generation) != tail || atomic_load_explicit(&store->sequence, memory_order_acquire) != sequence;
}

/* Sleeps until something is published through this handle; the mutex is held. */
static void sleep_until_published(simdrive_store *store, uint32_t timeout_ms) {
    store->waiting++; /* as long as it is not 0, the attention stays */
    if (timeout_ms == UINT32_MAX)
        sdi_condition_wait(&store->changed, &store->mutex);
    else
        sdi_condition_wait_ms(&store->changed, &store->mutex, timeout_ms);
    store->waiting--;
}

static simdrive_status wait_for_writers(simdrive_store *store, uint64_t sequence, uint64_t tail, uint64_t deadline) {
    bool beyond;
    uint32_t left;
    sdi_mutex_lock(&store->mutex);
    sdi_place_attend(store);
    while (!(beyond = is_beyond(store, sequence, tail)) && (left = sdi_time_left_ms(deadline)) > 0)
        sleep_until_published(store, left);
    sdi_mutex_unlock(&store->mutex);
    return beyond ? SIMDRIVE_OK : SIMDRIVE_END;
}

static void wait_for_look(simdrive_store *store, sdi_watch *watch, uint64_t sequence, uint64_t tail, uint32_t left_ms) {
    const uint32_t pause = watch ? LOOK_WITH_WATCH_MS : LOOK_WITHOUT_MS;
    if (left_ms > pause) left_ms = pause;
    if (watch) {
        store->os->watch_wait(store->os, watch, left_ms);
        return;
    }
    /* Perhaps another thread refreshes the handle. Each look of his wakes who sleeps here; who looked then without need
     * would wake him in turn. */
    uint64_t until = sdi_deadline(left_ms);
    sdi_mutex_lock(&store->mutex);
    sdi_place_attend(store);
    while (!is_beyond(store, sequence, tail) && (left_ms = sdi_time_left_ms(until)) > 0)
        sleep_until_published(store, left_ms);
    sdi_mutex_unlock(&store->mutex);
}

static simdrive_status wait_for_file(simdrive_store *store, uint64_t sequence, uint64_t tail, uint64_t deadline) {
    sdi_watch *watch = NULL;
    bool asked = false;
    simdrive_status status;
    for (;;) {
        status = simdrive_refresh(store, NULL);
        if (status != SIMDRIVE_OK || is_beyond(store, sequence, tail)) break;
        uint32_t left = sdi_time_left_ms(deadline);
        status = SIMDRIVE_END;
        if (left == 0) break;
        if (asked) {
            wait_for_look(store, watch, sequence, tail, left);
            continue;
        }
        asked = true; /* and look again: what came before the watch is not in it */
        if (store->os->watch_begin(store->os, store->real_path, &watch) != SIMDRIVE_OK) watch = NULL;
    }
    if (watch) {
        int os_error = sdi_get_os_error();
        store->os->watch_end(store->os, watch);
        sdi_set_os_error(os_error);
    }
    return status;
}

simdrive_status sdi_wait_beyond(simdrive_store *store, uint64_t sequence, uint64_t tail, uint64_t deadline) {
    if (!store->options.read_only) return wait_for_writers(store, sequence, tail, deadline);
    if (is_beyond(store, sequence, tail)) return SIMDRIVE_OK;
    sdi_pin *pin = sdi_pin_current(store);
    bool follows = sdi_can_follow(pin->generation);
    sdi_unpin(pin, 1);
    return follows ? wait_for_file(store, sequence, tail, deadline) : SIMDRIVE_END;
}

simdrive_status simdrive_wait(simdrive_store *store, uint64_t known, uint32_t timeout_ms) {
    if (!store) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    uint64_t sequence = atomic_load_explicit(&store->sequence, memory_order_acquire);
    return sdi_wait_beyond(store, sequence, known, sdi_deadline(timeout_ms));
}
