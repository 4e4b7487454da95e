/* SPDX-License-Identifier: Apache-2.0
 *
 * barrier.c — a memory barrier in all threads of the process, by membarrier(2) on Linux (since 4.14). Elsewhere
 * there is none.
 */
#include "os/os.h"

#if defined(__linux__)
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__NR_membarrier)
static bool call(int command) {
    int saved = errno;
    bool good = syscall(__NR_membarrier, command, 0, 0) == 0;
    errno = saved;
    return good;
}

bool sdi_barrier_prepare(void) {
    return call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

bool sdi_barrier_everywhere(void) {
    if (call(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
    /* A child of a fork may not be registered as its parent is. */
    if (call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && call(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
    return call(MEMBARRIER_CMD_GLOBAL);
}
#define SDI_HAVE_BARRIER 1
#endif
#endif

#if !defined(SDI_HAVE_BARRIER)
bool sdi_barrier_prepare(void) {
    return false;
}

bool sdi_barrier_everywhere(void) {
    return false;
}
#endif
