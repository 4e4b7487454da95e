/* SPDX-License-Identifier: Apache-2.0
 *
 * thread_number.c — small numbers, taken and given back.
 *
 * A set bit in `taken` is a number in use. No lock: a fork while another thread holds one would leave the child waiting
 * for ever. Beyond the table, numbers only grow.
 */
#include "os/thread_number.h"

#include <stdatomic.h>
#include <stdint.h>

enum { WORD_COUNT = 64, WORD_BITS = 64 };

static atomic_uint_least64_t taken[WORD_COUNT];
static atomic_uint numbers_beyond;

/* A bit that was clear, or WORD_BITS when there is none. */
static unsigned take_from_word(unsigned word) {
    uint_least64_t seen = atomic_load_explicit(&taken[word], memory_order_relaxed);
    while (seen != UINT64_MAX) {
        unsigned bit = (unsigned)__builtin_ctzll(~seen);
        /* Acquire pairs with the release of who had the number before: what it did under that number is seen. */
        if (atomic_compare_exchange_weak_explicit(&taken[word], &seen, seen | UINT64_C(1) << bit,
                                                  memory_order_acquire, memory_order_relaxed))
            return bit;
    }
    return WORD_BITS;
}

unsigned sdi_number_take(void) {
    for (unsigned word = 0; word < WORD_COUNT; word++) {
        unsigned bit = take_from_word(word);
        if (bit < WORD_BITS) return word * WORD_BITS + bit;
    }
    return WORD_COUNT * WORD_BITS + atomic_fetch_add(&numbers_beyond, 1);
}

void sdi_number_give_back(unsigned number) {
    if (number >= WORD_COUNT * WORD_BITS) return;
    uint64_t bit = UINT64_C(1) << (number % WORD_BITS);
    atomic_fetch_and_explicit(&taken[number / WORD_BITS], ~bit, memory_order_release);
}
