/* SPDX-License-Identifier: Apache-2.0
 *
 * marks.h — where the guest notes what was acknowledged: behind the file system, at the end of its own disk.
 *
 * A lane has one block there. When an operation has been acknowledged as safe, its number is written to that block past
 * the page cache, and only then the lane goes on. The note is on the disk after the flush that made the operation safe,
 * so whatever disk a cut leaves, and at whatever point of its record of writes one is built again, it holds with itself
 * what must be in the store. A kill of the machine takes back no write that the disk has completed.
 */
#ifndef POWER_MARKS_H
#define POWER_MARKS_H

#include <stdint.h>

enum {
    POWER_MARK_BLOCK = 4096, /* block i is that of lane i, the last one has what the guest is to do, as text */
    POWER_MARKS_SIZE = 64 << 10, /* bytes at the end of the disk that are no part of the file system */
    POWER_SYNC_EVERY = 8 /* operations of a lane, where each is not synced by itself */
};

/* First bytes of a lane's block; zeros at the beginning. */
typedef struct power_mark {
    uint64_t number;
    uint64_t check; /* kill_mix of the number and the lane; 0 beside 0 */
} power_mark;

#endif
