/* SPDX-License-Identifier: Apache-2.0 */
/* os.h — the only door to the operating system.
 *
 * Everything the engine asks of a system goes through one table of functions, `sdi_os`. The table of this machine
 * is sdi_os_native() (posix/ or windows/, chosen by the build). Tests hand the store another table that counts
 * calls, lets the n-th one fail, or records writes to build the states that a crash can leave.
 *
 * What this module knows: files, maps, locks, names, folders, clocks, threads. What it must not know: what the
 * bytes mean.
 *
 * Invariants
 *   O1  Every descriptor is opened close-on-exec, and is never 0, 1 or 2.
 *   O2  read_at and write_at take explicit offsets; no file position is ever used.
 *   O3  Interrupted calls and short transfers are completed inside; a caller sees all or an error.
 *       After an error of write_at any prefix of the bytes may be in the file.
 *   O4  A lock belongs to the open file, dies with its last descriptor, and excludes a second one in the same
 *       process as well.
 *   O5  Nothing here retries a sync that failed.
 *   O6  A map may be larger than the file; bytes of it become readable as the file grows.
 *       Where a system cannot do that, map() fails with ERROR_UNSUPPORTED for a length beyond the file.
 *
 * Errors: functions return a simdrive_status; the system's number is left in the thread's last error
 * (sdi_set_os_error). Mapping: ENOSPC, EDQUOT, EFBIG -> ERROR_NO_SPACE; ENOMEM -> ERROR_NO_MEMORY; EACCES, EPERM,
 * EROFS -> ERROR_PERMISSION; ENOENT, ENOTDIR -> ERROR_NO_SUCH_FILE; EEXIST -> ERROR_EXISTS; EISDIR, and whatever is
 * no regular file -> ERROR_NOT_A_FILE; lock held by another -> ERROR_LOCKED; anything else -> ERROR_IO.
 */
#ifndef SDI_OS_H
#define SDI_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simdrive.h"

typedef struct sdi_file sdi_file; /* an open file; one per table: never mix tables */

/* Who a file is, whatever it is called: device and number are equal for two names of one file. A number is given again
 * when its file is gone; `born` tells the two apart. */
typedef struct sdi_file_id {
    uint64_t device;
    uint64_t number;
    uint64_t born; /* when the file was made, in nanoseconds of some epoch; 0 where nobody knows */
} sdi_file_id;

typedef struct sdi_file_info {
    sdi_file_id id;
    uint64_t size;
    uint32_t mode;       /* permission bits */
    uint32_t owner;      /* a number of the system's; 0 where files have none */
    uint32_t link_count; /* names the file has; 0 when it was removed */
    uint64_t disk_bytes; /* that it takes on the disk: less than `size` where it has holes */
} sdi_file_info;

typedef enum sdi_open_mode {
    SDI_OPEN_READ,       /* must exist */
    SDI_OPEN_WRITE,      /* must exist; read and write */
    SDI_OPEN_CREATE,     /* read and write; created empty when missing */
    SDI_OPEN_CREATE_NEW  /* read and write; ERROR_EXISTS when there is one */
} sdi_open_mode;

typedef enum sdi_advice {
    SDI_ADVICE_SEQUENTIAL, /* will be read once, in order */
    SDI_ADVICE_WILL_NEED,  /* will be read soon: begins to fetch it, and does not wait */
    SDI_ADVICE_NEED_NOW,   /* will be read at once: waits until it is there, and mapped, where the system can do that */
    SDI_ADVICE_DONT_NEED   /* resident pages may go; the bytes stay readable */
} sdi_advice;

typedef struct sdi_watch sdi_watch; /* for changes of a file, or of what its name leads to */

typedef struct sdi_os sdi_os;
struct sdi_os {
    void *context; /* of the table; handed to nobody but the table's own functions */

    /* Opens a regular file (ERROR_NOT_A_FILE otherwise). `mode` is for a new file, less the umask. */
    simdrive_status (*open)(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode, sdi_file **out);
    void (*close)(const sdi_os *os, sdi_file *file);
    simdrive_status (*info)(const sdi_os *os, sdi_file *file, sdi_file_info *out);
    simdrive_status (*path_info)(const sdi_os *os, const char *path, sdi_file_info *out); /* follows links */

    /* Exclusive, non-blocking, whole file: ERROR_LOCKED at once. */
    simdrive_status (*lock)(const sdi_os *os, sdi_file *file);
    void (*unlock)(const sdi_os *os, sdi_file *file); /* before the file's last descriptor goes */

    /* While a reader of another process looks at bytes behind the tail through a map, the file must not be cut, or the
     * system would end that reader. He holds a share; who cuts claims the file first. Both wait for each other, the one
     * who cuts not longer than a second: a reader that was stopped in the middle must not stop the writer. Hints: where
     * the system has no such locks, nothing happens. */
    void (*share_length)(const sdi_os *os, sdi_file *file);
    void (*claim_length)(const sdi_os *os, sdi_file *file);
    void (*release_length)(const sdi_os *os, sdi_file *file); /* ends either */

    /* Readers of other processes share their presence for as long as they have the file open. Whoever is about to take
     * bytes away that a reader may still look at claims it: ERROR_BUSY at once when anybody shares it,
     * ERROR_UNSUPPORTED where the system has no such locks. Sharing waits while it is claimed, which is not long. */
    void (*share_presence)(const sdi_os *os, sdi_file *file); /* a hint; ends with the file */
    simdrive_status (*claim_presence)(const sdi_os *os, sdi_file *file);
    void (*release_presence)(const sdi_os *os, sdi_file *file);

    /* All of `size` bytes, or an error; reading past the end gives ERROR_IO with os error 0. */
    simdrive_status (*read_at)(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size);
    simdrive_status (*write_at)(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data, size_t size);
    /* Gathered: the pieces one behind the other. `pieces` may be changed by the call. */
    simdrive_status (*write_pieces_at)(const sdi_os *os, sdi_file *file, uint64_t offset, simdrive_bytes *pieces,
                                       size_t count);
    simdrive_status (*truncate)(const sdi_os *os, sdi_file *file, uint64_t size);
    /* Gives the disk space of a range back: its bytes read as zero then, the file's size stays. ERROR_UNSUPPORTED, and
     * nothing has changed, where the system or the file system cannot. */
    simdrive_status (*punch_hole)(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
    /* Takes disk space for a range, also behind the file's end; its size stays. From then on no write to the range
     * needs more space, however often. ERROR_UNSUPPORTED where the system or the file system does not promise that. */
    simdrive_status (*set_aside)(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
    /* The first range at or behind `offset` that is no hole; `*start` = `*end` = the file's size when there is none.
     * Where nobody knows of holes, all of the rest. */
    simdrive_status (*next_data)(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start, uint64_t *end);
    /* Bytes that this process may still write to the file system the file is on. */
    simdrive_status (*space)(const sdi_os *os, sdi_file *file, uint64_t *available);
    simdrive_status (*sync)(const sdi_os *os, sdi_file *file); /* data, and size where needed, to the medium */
    /* Begins to write a range to the medium, and does not wait for the end: a hint, so that a sync that follows has
     * less to do. What goes wrong is told by that sync. */
    void (*begin_write_back)(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size);
    /* In-kernel or shared-extent copy of bytes between files; ERROR_UNSUPPORTED when the caller must copy itself.
     * `copied` may be less than `size`. */
    simdrive_status (*copy_range)(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                  uint64_t to_offset, uint64_t size, uint64_t *copied);

    /* Gives `to` the owner, group and permission bits of `from`, as far as the process may; bits that would give
     * rights which `from` does not are never set. */
    simdrive_status (*copy_attributes)(const sdi_os *os, sdi_file *from, sdi_file *to);

    /* The file's real name, links resolved; malloc'ed, freed with free(). */
    simdrive_status (*resolve)(const sdi_os *os, const char *path, char **out);
    /* Atomically gives the file at `from` the name `to`, replacing what has it. Same folder. */
    simdrive_status (*rename)(const sdi_os *os, const char *from, const char *to);
    /* As rename, but ERROR_EXISTS instead of replacing. */
    simdrive_status (*rename_new)(const sdi_os *os, const char *from, const char *to);
    simdrive_status (*unlink)(const sdi_os *os, const char *path);
    /* Makes creations, renames and removals in the folder that holds `path` durable. */
    simdrive_status (*sync_folder_of)(const sdi_os *os, const char *path);
    /* Calls `visit` with each name in the folder that holds `path`, until it returns false. */
    simdrive_status (*list_folder_of)(const sdi_os *os, const char *path, bool (*visit)(void *user, const char *name),
                                      void *user);

    /* Shared, read-only map of the first `size` bytes (see O6); `size` above 0. */
    simdrive_status (*map)(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out);
    /* Makes a map longer without moving it, as long as the addresses behind it are free: ERROR_NO_MEMORY when they are
     * not, ERROR_UNSUPPORTED where the system cannot. The map is as before then. */
    simdrive_status (*map_grow)(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size);
    void (*unmap)(const sdi_os *os, const uint8_t *base, uint64_t size);
    /* A private map of the first `size` bytes, all of them in the file: it may be written to, which nobody else sees.
     * Pages not written to are shared with everybody. Ended by unmap(). */
    simdrive_status (*map_private)(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out);
    /* A shared map of a range, to be written to; it may reach beyond the file. `offset` is a multiple of the page size.
     * Ended by unmap(). ERROR_UNSUPPORTED where make_present() is. */
    simdrive_status (*map_shared)(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size, uint8_t **out);
    /* Makes all pages of a range of that map present and ready to be written to, or tells why not: what cannot be had
     * is an error here, and not a signal later. The range is in the file. */
    simdrive_status (*make_present)(const sdi_os *os, uint8_t *address, uint64_t size);

    /* A watch on the file at `path`; ERROR_UNSUPPORTED where the system cannot tell of changes. What happened between
     * watch_begin() and watch_wait() counts: begin, look at the file, then wait. */
    simdrive_status (*watch_begin)(const sdi_os *os, const char *path, sdi_watch **out);
    /* Returns when the file was written to or another file has taken its name, or `timeout_ms` passed; may return
     * early. */
    void (*watch_wait)(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms);
    void (*watch_end)(const sdi_os *os, sdi_watch *watch);
    /* A hint about bytes of a map. True when the advice was to fetch them, and some were not in memory; false where
     * nobody knows. */
    bool (*advise)(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice);
};

const sdi_os *sdi_os_native(void);

/* --- not part of the table: no failure of these is worth simulating ------------------------------------------- */

/* Zeroed, private memory of whole pages, huge ones where the system grants them and `size` is large. NULL when there
 * is none. Discarded memory reads as zero from then on and costs nothing, or stays as it is (a hint). */
void *sdi_pages_acquire(size_t size);
void sdi_pages_release(void *pages, size_t size);
void sdi_pages_discard(void *pages, size_t size);

/* Mutexes, conditions and threads, thin over the system's. All are statically sized and must not be moved. */
typedef struct sdi_mutex {
    _Alignas(8) unsigned char space[64];
} sdi_mutex;
typedef struct sdi_condition {
    _Alignas(8) unsigned char space[64];
} sdi_condition;
typedef struct sdi_thread {
    _Alignas(8) unsigned char space[16];
} sdi_thread;

simdrive_status sdi_mutex_init(sdi_mutex *mutex);
void sdi_mutex_destroy(sdi_mutex *mutex);
void sdi_mutex_lock(sdi_mutex *mutex);
void sdi_mutex_unlock(sdi_mutex *mutex);
simdrive_status sdi_condition_init(sdi_condition *condition);
void sdi_condition_destroy(sdi_condition *condition);
void sdi_condition_wait(sdi_condition *condition, sdi_mutex *mutex);
/* False when `timeout_ms` passed first. */
bool sdi_condition_wait_ms(sdi_condition *condition, sdi_mutex *mutex, uint32_t timeout_ms);
void sdi_condition_wake_all(sdi_condition *condition);
simdrive_status sdi_thread_start(sdi_thread *thread, void (*run)(void *user), void *user);
void sdi_thread_join(sdi_thread *thread);
void sdi_thread_yield(void); /* lets others run */
/* Tells the processor that the thread is waiting for another one. */
static inline void sdi_thread_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A barrier on both sides of an order between threads, paid for by the side that needs it seldom: when it returns true,
 * each thread of the process has gone through a full memory barrier since it was called. False when the system refuses.
 * sdi_barrier_prepare() tells whether there is such a thing; it is called before anyone relies on it. */
bool sdi_barrier_prepare(void);
bool sdi_barrier_everywhere(void);

/* A small number of the calling thread, from 0 up, given out in the order of first use. Two live threads never share
 * one. Costs a thread-local load. */
unsigned sdi_thread_number(void);
/* A number that is never the same for two live threads, never 0, whatever library copy asks. */
uint64_t sdi_thread_id(void);

enum { SDI_BOOT_ID_BYTES = 16 };
/* What is another whenever the machine was started anew, and with it all that was not synced may be lost. False, and
 * zeros, where nobody knows. */
bool sdi_boot_id(uint8_t id[SDI_BOOT_ID_BYTES]);

uint64_t sdi_monotonic_ns(void);
unsigned sdi_processor_count(void);
/* 64 bits that nobody else has had, for temporary names; not for secrets. */
uint64_t sdi_unique_number(void);

/* The thread's last system error, see simdrive_last_os_error(). */
void sdi_set_os_error(int number);
int sdi_get_os_error(void);

#endif
