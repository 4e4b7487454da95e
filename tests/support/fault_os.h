/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_os.h — an operating system that counts, fails on demand, and remembers.
 *
 * A table of os.h over the native one. Hand it to the store, then
 *   - count:   sdi_fault_os_count(faults, SDI_FAULT_SYNC)
 *   - fail:    the third write from now reports a full disk after 100 bytes of it reached the file:
 *                  sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_WRITE_AT, .nth = 3, .effect = 100,
 *                                                             .status = SIMDRIVE_ERROR_NO_SPACE, .os_error = ENOSPC});
 *              and for a sweep over every call that a piece of work makes:
 *                  for (uint64_t n = 1; ; n++) {
 *                      sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY, .nth = n, ...});
 *                      ...the work, and what must hold after it...
 *                      if (sdi_fault_os_disarm(faults) == 0) break;   // the work makes fewer than n calls
 *                  }
 *   - watch:   sdi_fault_os_set_hook(): runs before every call, in the calling thread, with no lock held
 *   - record:  sdi_fault_os_record() ... sdi_fault_os_log(): everything that changed files or names, with the bytes, in
 *              order, to build the states that a loss of power can leave.
 *
 * May be used by many threads at once. Files of this table are closed before it is destroyed. Running out of memory
 * aborts the test.
 */
#ifndef SDI_FAULT_OS_H
#define SDI_FAULT_OS_H

#include "os/os.h"

typedef struct sdi_fault_os sdi_fault_os;

/* One kind per member of sdi_os. The last three cannot fail: they are counted and hooked only. */
typedef enum sdi_fault_kind {
    SDI_FAULT_OPEN,
    SDI_FAULT_INFO,
    SDI_FAULT_PATH_INFO,
    SDI_FAULT_LOCK,
    SDI_FAULT_READ_AT,
    SDI_FAULT_WRITE_AT,
    SDI_FAULT_WRITE_PIECES_AT,
    SDI_FAULT_TRUNCATE,
    SDI_FAULT_PUNCH_HOLE,
    SDI_FAULT_SET_ASIDE,
    SDI_FAULT_NEXT_DATA,
    SDI_FAULT_SYNC,
    SDI_FAULT_COPY_RANGE,
    SDI_FAULT_COPY_ATTRIBUTES,
    SDI_FAULT_RESOLVE,
    SDI_FAULT_RENAME,
    SDI_FAULT_RENAME_NEW,
    SDI_FAULT_UNLINK,
    SDI_FAULT_SYNC_FOLDER_OF,
    SDI_FAULT_LIST_FOLDER_OF,
    SDI_FAULT_MAP,
    SDI_FAULT_MAKE_PRESENT,
    SDI_FAULT_WATCH_BEGIN,
    SDI_FAULT_CLOSE,
    SDI_FAULT_UNMAP,
    SDI_FAULT_ADVISE,
    SDI_FAULT_KIND_COUNT,
    SDI_FAULT_ANY = SDI_FAULT_KIND_COUNT, /* all that can fail, counted together */
    SDI_FAULT_ANY_CHANGE = SDI_FAULT_ANY + 1 /* those of them that change a file or a name, or sync */
} sdi_fault_kind;

#define SDI_FAULT_WHOLE UINT64_MAX

typedef struct sdi_fault_plan {
    sdi_fault_kind kind;
    uint64_t nth;           /* 1 is the next such call after arming */
    bool for_ever;          /* that one and all later ones, not only that one */
    simdrive_status status; /* what the call reports */
    int os_error;           /* what sdi_get_os_error() says then */
    uint64_t effect;        /* how much of the call happens all the same. Writes, holes, copy_range: the first so many
                               bytes. sync, truncate, rename, unlink, ...: nothing when 0, else everything.
                               Calls that hand something out (open, map, ...) never happen. */
} sdi_fault_plan;

sdi_fault_os *sdi_fault_os_create(void);
void sdi_fault_os_destroy(sdi_fault_os *faults);
const sdi_os *sdi_fault_os_table(sdi_fault_os *faults);

/* Calls made so far; SDI_FAULT_ANY and SDI_FAULT_ANY_CHANGE give sums. */
uint64_t sdi_fault_os_count(sdi_fault_os *faults, sdi_fault_kind kind);
const char *sdi_fault_kind_name(sdi_fault_kind kind);

/* Adds a plan; up to 8 at a time, the first that matches a call decides. */
void sdi_fault_os_arm(sdi_fault_os *faults, const sdi_fault_plan *plan);
/* Drops all plans. Returns how many calls they let fail. */
uint64_t sdi_fault_os_disarm(sdi_fault_os *faults);

/* Before each call; `path` is the name the file was opened by, or the call's first path. NULL ends it. Set it while no
 * other thread uses the table. The hook may arm, disarm and count. */
typedef void (*sdi_fault_hook)(void *user, sdi_fault_kind kind, const char *path);
void sdi_fault_os_set_hook(sdi_fault_os *faults, sdi_fault_hook hook, void *user);

/* What changed. Files are numbered from 1 in the order they are first opened while recording; a number stays with the
 * file through renames, and is never given again. */
typedef enum sdi_fault_op_kind {
    SDI_OP_ATTACH,      /* file, path: one that existed, first seen. `data`, `size`: its content at that moment */
    SDI_OP_CREATE,      /* file, path: made empty */
    SDI_OP_WRITE,       /* file, offset, data, size; copy_range and punch_hole too */
    SDI_OP_TRUNCATE,    /* file, size */
    SDI_OP_SYNC,        /* file */
    SDI_OP_RENAME,      /* path, to_path; rename_new too */
    SDI_OP_UNLINK,      /* path */
    SDI_OP_SYNC_FOLDER, /* path: of something in it */
    SDI_OP_MARK         /* mark: the test's own, see sdi_fault_os_mark() */
} sdi_fault_op_kind;

typedef struct sdi_fault_op {
    sdi_fault_op_kind kind;
    uint64_t file;
    char *path;
    char *to_path;
    uint64_t offset;
    uint8_t *data;
    uint64_t size;
    uint64_t mark;
} sdi_fault_op;

/* Begins an empty log, or (false) stops and keeps what is there. What failed without effect is not in it. */
void sdi_fault_os_record(sdi_fault_os *faults, bool on);
/* Puts a mark into the log: "up to here all is acknowledged", say. */
void sdi_fault_os_mark(sdi_fault_os *faults, uint64_t mark);
/* The log; valid until the next call that records, or sdi_fault_os_destroy(). */
const sdi_fault_op *sdi_fault_os_log(sdi_fault_os *faults, size_t *count);

#endif
