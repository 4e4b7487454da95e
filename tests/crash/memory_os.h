/* SPDX-License-Identifier: Apache-2.0
 *
 * memory_os.h — an operating system whose files are in memory: a table of os.h for the crash explorer, which opens
 * many thousand stores a second. One folder, no permissions. It records what was done to it, so that states.h can
 * build from the record what a crash leaves.
 *
 * A file's bytes have a fixed place in memory, which is the map of it that the engine is given; so a map may be larger
 * than the file, and shows what is written later (O6 of os.h). What the engine stores into a writable map is noticed at
 * the next call that changes something, by comparing, and recorded as one CALL_STORE in the order of addresses.
 *
 * For one thread at a time.
 */
#ifndef CRASH_MEMORY_OS_H
#define CRASH_MEMORY_OS_H

#include "os/os.h"

enum { MEMORY_FILES = 48, MEMORY_NAME = 56 };

/* No file grows larger: then the disk is full. */
#define MEMORY_FILE_MAX ((size_t)12 << 20)

/* One file, with a name or without; its number in the record is its place in `memory_os.files`. */
typedef struct memory_file {
    char name[MEMORY_NAME]; /* "" when it has none */
    uint8_t *bytes;         /* NULL: there is no such file. Zeros behind the end */
    size_t size;
    size_t used;            /* all is zero from here on */
    uint64_t number, born;  /* of sdi_file_id */
    bool locked;
    uint8_t *shadow; /* the bytes as the record has them, where a writable map was made; else NULL */
} memory_file;

typedef enum call_kind {
    CALL_CREATE,             /* file, name; offset and size: number and birth of sdi_file_id */
    CALL_WRITE,              /* file, offset, size, data; a hole punched, too */
    CALL_STORE,              /* the same, through a map */
    CALL_TRUNCATE,           /* file, size */
    CALL_SYNC,               /* file */
    CALL_SYNC_FAILED,        /* file */
    CALL_RENAME,             /* file, name, to_name */
    CALL_UNLINK,             /* file, name */
    CALL_SYNC_FOLDER,
    CALL_SYNC_FOLDER_FAILED,
    CALL_MARK                /* mark: the explorer's own */
} call_kind;

typedef struct recorded_call {
    call_kind kind;
    unsigned file;
    char name[MEMORY_NAME], to_name[MEMORY_NAME];
    uint64_t offset, size;
    uint8_t *data;
    unsigned mark;
} recorded_call;

typedef struct memory_os {
    sdi_os table;
    memory_file files[MEMORY_FILES];
    uint64_t last_number;
    uint64_t changes; /* calls that changed a file or a name */
    bool recording;
    recorded_call *log;
    size_t log_count, log_capacity;
    uint64_t syncs;     /* of files and of the folder, since recording began */
    uint64_t fail_sync; /* the how many-th of them fails; 0: none */
} memory_os;

memory_os *memory_os_create(void);
void memory_os_destroy(memory_os *os);

/* No files any more. Everything that was opened must have been closed. */
void memory_os_clear(memory_os *os);

memory_file *memory_os_find(memory_os *os, const char *name);
/* A new file at place `place`, which is free; its bytes are for the caller to write, who then sets size and used. */
memory_file *memory_os_put(memory_os *os, unsigned place, const char *name, uint64_t number, uint64_t born);
unsigned memory_os_place(const memory_os *os, const memory_file *file);

/* Begins an empty record, or (false) ends it and keeps what is there. */
void memory_os_record(memory_os *os, bool on);
void memory_os_mark(memory_os *os, unsigned mark);
/* Bytes that get into a file, or behind its end, durably, whatever wrote them: recorded as a write and a sync. */
void memory_os_damage(memory_os *os, memory_file *file, uint64_t offset, const uint8_t *bytes, size_t size);

#endif
