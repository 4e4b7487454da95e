/* SPDX-License-Identifier: Apache-2.0
 *
 * memory_os.h — an operating system whose files are in memory: a table of os.h for programs that open very many small
 * stores, one after the other.
 *
 *   - A map is memory of its own, of which only what is in the file can be touched, so that a sanitizer sees a read
 *     behind the file's last byte. Writes go to the file and to all of its maps. Who reads gets no map beyond the
 *     file's end, who writes one that goes a little further: addresses are short.
 *   - Names are compared as they are; there is one folder. Nothing ever fails but for what the caller does.
 *   - A file can be filled, looked at and changed behind the store's back by name.
 *
 * For one thread at a time. Running out of memory aborts.
 */
#ifndef FUZZ_MEMORY_OS_H
#define FUZZ_MEMORY_OS_H

#include "os/os.h"

/* For stores that write: how far to map ahead, since each map is a copy. */
enum { MEMORY_OS_RESERVE = 1 << 16 };

typedef struct memory_os memory_os;

memory_os *memory_os_create(void);
/* All files of the table must be closed. */
void memory_os_destroy(memory_os *memory);
const sdi_os *memory_os_table(memory_os *memory);

/* Gives the file these bytes, whether it was there or not. Not while it is open. */
void memory_os_put(memory_os *memory, const char *name, const void *bytes, size_t size);
/* The bytes of a file, and their number; NULL when there is no such file. Valid until it changes. */
const uint8_t *memory_os_get(const memory_os *memory, const char *name, size_t *size);
void memory_os_remove(memory_os *memory, const char *name);
/* How many names begin with `prefix`. */
size_t memory_os_count(const memory_os *memory, const char *prefix);

#endif
