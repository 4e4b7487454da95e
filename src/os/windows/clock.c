/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.c — time that only goes forward, the number of processors, and numbers nobody else has had, on Windows.
 * Nothing there tells one run of the machine from the next for certain.
 */
#define _CRT_RAND_S
#include <stdlib.h>
#include <string.h>

#include "os/windows/win.h"

uint64_t sdi_monotonic_ns(void) {
    const uint64_t second = 1000000000;
    LARGE_INTEGER frequency;
    LARGE_INTEGER now;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    uint64_t ticks = (uint64_t)now.QuadPart;
    uint64_t per_second = (uint64_t)frequency.QuadPart;
    return ticks / per_second * second + ticks % per_second * second / per_second;
}

bool sdi_boot_id(uint8_t id[SDI_BOOT_ID_BYTES]) {
    memset(id, 0, SDI_BOOT_ID_BYTES);
    return false;
}

unsigned sdi_processor_count(void) {
    DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return count > 0 ? (unsigned)count : 1;
}

uint64_t sdi_unique_number(void) {
    static volatile LONG64 calls;
    unsigned high = 0;
    unsigned low = 0;
    if (rand_s(&high) == 0 && rand_s(&low) == 0) return (uint64_t)high << 32 | low;
    /* Without the system's randomness: what differs between calls, processes and boots. */
    uint64_t call = (uint64_t)InterlockedIncrement64(&calls);
    return (sdi_monotonic_ns() ^ (uint64_t)GetCurrentProcessId() << 40) + call * UINT64_C(0x9e3779b97f4a7c15);
}
