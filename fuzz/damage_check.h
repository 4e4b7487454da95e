/* SPDX-License-Identifier: Apache-2.0
 *
 * damage_check.h — a store whose bytes are known, the same bytes with damage, and what must hold of them.
 *
 * An entry is *hit* when a byte of it differs, its padding included, or is not there any more; or when a sector below
 * it was made zero, for that looks like a write that a crash has cut short, and all above like the rest of it. Then:
 *   - opening for reading never fails for lack of an entry when one is not hit, and leaves the file as it is;
 *   - no read gives bytes that were not written under that key;
 *   - reading with checks, what salvage makes, and what a writer sees that is admitted, differ from the undamaged
 *     store in at most one key for each entry hit;
 *   - verification says so when anything but a key hash differs;
 *   - what salvage makes is whole.
 */
#ifndef FUZZ_DAMAGE_CHECK_H
#define FUZZ_DAMAGE_CHECK_H

#include "memory_os.h"
#include "store/store.h"
#include "support/stores.h"

typedef struct damage_case {
    test_image image; /* as it was */
    test_view view;
    uint8_t *bytes; /* with damage */
    size_t size;
    memory_os *memory;
    uint64_t states, lost_in_reading, lost_by_salvage, hit; /* sums over all that were checked */
} damage_case;

/* From an image of at least one entry, which it owns from then on. */
void damage_begin(damage_case *damaged, const test_image *image);
void damage_end(damage_case *damaged);
/* Bytes and size are those of the image again. */
void damage_undo(damage_case *damaged);

/* Checks all of the above, or without `thorough` reading alone. */
void damage_check(damage_case *damaged, bool thorough);

#endif
