/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.c — time that only goes forward, the number of processors, and numbers nobody else has had, on POSIX.
 */
#include "os/posix/posix.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sdi_monotonic_ns(void) {
    return nanoseconds(CLOCK_MONOTONIC);
}

unsigned sdi_processor_count(void) {
#if defined(__linux__)
    cpu_set_t allowed; /* containers and taskset give a process fewer than the machine has */
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0)
        return (unsigned)CPU_COUNT(&allowed);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* Spreads every bit of the input over the output (the finaliser of SplitMix64). */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t sdi_unique_number(void) {
    static atomic_uint_fast64_t calls;
    uint64_t number = 0;
    if (getentropy(&number, sizeof number) == 0) return number;
    /* Without the system's randomness: what differs between calls, processes and boots. */
    uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    number = mix(nanoseconds(CLOCK_REALTIME));
    number = mix(number ^ (uint64_t)getpid());
    number = mix(number + nanoseconds(CLOCK_MONOTONIC));
    return mix(number ^ call);
}
