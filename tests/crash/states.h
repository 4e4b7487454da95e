/* SPDX-License-Identifier: Apache-2.0
 *
 * states.h — what a crash may leave on the disk, built from the record of a memory_os.
 *
 * A `history` goes through the record, call by call, as the system's cache and the disk would. At each point it knows
 * what is on the medium for certain, and where a loss of power has a choice:
 *   a sector  of 512 bytes that was written since the last sync: what was on the medium, or what it was in the cache
 *             after any of the writes to it since. A sector is never there by half.
 *   a size    of a file: the durable one or any it had since. Data may be there before the size, and the size before
 *             the data, which then reads as zero or as what lay there. Sectors that were cut off as a whole are gone
 *             with the size, neither sooner nor later, for no system hands out what was cut off.
 *   a name    created, renamed or removed since the last sync of the folder: happened or not, each for itself. Of a
 *             renaming that happened while the creation did not, the new name is there.
 * After a sync that failed, what it should have made durable has that choice for ever, whatever is synced later:
 * systems drop the pages.
 *
 * A state is one answer for each choice. The death of a process leaves the last answer everywhere (the cache), and of
 * the call that was under way a part, from its beginning.
 */
#ifndef CRASH_STATES_H
#define CRASH_STATES_H

#include "memory_os.h"

enum { SECTOR = 512 };

typedef struct history history;

/* Begins with the files that are in `os` now, all durable, and the record that will be made of what comes. */
history *history_begin(const memory_os *os);
void history_end(history *h);

/* Goes on by one call. */
void history_apply(history *h, const recorded_call *call);

/* The choices at this point: how many, and how many answers number `i` has (at least 2). The last answer is what the
 * cache has. Valid until the next history_apply(). */
size_t history_choices(history *h);
unsigned history_answers(const history *h, size_t i);
bool history_is_sector(const history *h, size_t i); /* else a size or a name */
void history_print_choice(const history *h, size_t i);

/* Puts the files of a state into `os`, which is empty. `answers` has one for each choice; NULL: the cache. `torn` (may
 * be NULL) is a write of which the first `torn_size` bytes are there as well. Returns a digest of the state, in which
 * random parts of names do not count, nor random bytes of a saved index. */
uint64_t history_build(history *h, const uint8_t *answers, const recorded_call *torn, size_t torn_size, memory_os *os);

#endif
