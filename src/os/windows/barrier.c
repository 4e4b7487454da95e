/* SPDX-License-Identifier: Apache-2.0
 *
 * barrier.c — a memory barrier in all threads of the process, on Windows.
 */
#include "os/os.h"
#include "os/windows/win.h"

bool sdi_barrier_prepare(void) {
    return true;
}

bool sdi_barrier_everywhere(void) {
    FlushProcessWriteBuffers();
    return true;
}
