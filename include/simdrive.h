/* SPDX-License-Identifier: Apache-2.0
 *
 * simdrive.h — SIMD R Drive in C: an append-only, single-file store of aligned binary payloads.
 *
 * This header is the manual; it reads from top to bottom.
 *
 *   1. The model            5. Opening and closing      9. Streams, in and out
 *   2. Guarantees           6. Reading                 10. Iteration
 *   3. Limits               7. Entries                 11. Many stores: copy, transfer, nesting
 *   4. Status codes         8. Writing                 12. Care: sync, compact, verify, salvage, backup
 *                                                      13. Over time: changes, history, statistics
 *
 * 1. THE MODEL
 *
 *   A store is one file. It holds entries, one after the other: a payload (one byte or more, any
 *   bytes), and 20 bytes of metadata behind it. Payloads start on 64-byte boundaries, in the file and
 *   in memory, so that a reader can use them in place as arrays of floats, SIMD vectors, or another
 *   store. A key is any sequence of bytes, the empty one included; the file keeps the 64-bit XXH3 hash
 *   of it, not the key itself, so two keys with one hash are one key. Writing a key again appends a new
 *   entry, which is the one found from then on; deleting appends a tombstone. Compaction (section 12)
 *   gives the space of what is no longer found back.
 *
 *       simdrive_store *store = NULL;
 *       simdrive_entry entry = {0};
 *       if (simdrive_open("weights.store", NULL, &store) == SIMDRIVE_OK &&
 *           simdrive_write(store, "layer-1", 7, floats, sizeof floats, NULL) == SIMDRIVE_OK &&
 *           simdrive_read(store, "layer-1", 7, &entry) == SIMDRIVE_OK) {
 *           const float *weights = entry.data;        // in place, 64-byte aligned, no copy
 *           use(weights, entry.size / sizeof *weights);
 *           simdrive_entry_release(&entry);
 *       }
 *       simdrive_close(store);
 *
 * 2. GUARANTEES
 *
 *   - Opening never changes a file. A file that is not a store is refused and stays as it was.
 *   - A call that fails changes nothing: neither the file's content nor what the handle shows.
 *   - A write that returned SIMDRIVE_OK survives the death of the process. It survives the loss of
 *     power when it was synced (section 12; the default is not to sync).
 *   - A batch is all or nothing, also when the process dies in the middle of it, and under SIMDRIVE_SYNC_COMMIT
 *     when power is lost. Under the other policies nothing orders what the system writes to the disk: a loss of
 *     power may leave part of what was not synced yet.
 *   - An entry, once acquired, keeps its bytes valid until it is released, whatever happens to the
 *     store in the meantime: overwritten, deleted, compacted, closed, in any thread.
 *   - Reading a key takes no lock, and readers never wait for writers, nor for compaction, and but a moment for
 *     simdrive_reclaim() (section 12). Iterating and visiting
 *     take a lock for a moment, when they meet keys that have changed since they began.
 *   - One writer: a second attempt to open a store for writing, in this or another process, fails at
 *     once with SIMDRIVE_ERROR_LOCKED. The lock goes with the process that holds it.
 *
 * 3. LIMITS
 *
 *   - An empty payload cannot be stored, nor one that is the single byte 0x00 (that is how the format
 *     writes a tombstone). Both are refused with SIMDRIVE_ERROR_INVALID_PAYLOAD.
 *   - A store reaches at most 2^48 - 1 bytes.
 *   - Bytes are read through a memory map. When another program cuts the file short while it is open,
 *     touching the missing bytes through `entry.data` raises SIGBUS, as with any mapped file. Use
 *     simdrive_read_copy() on files that others may cut.
 *   - Keys are hashed without a secret. Who can choose keys freely can find two with one hash. Don't
 *     use keys taken from strangers as they are where one stranger must not overwrite another's value.
 *   - After fork() the child must not use a store handle of its parent, not even to close it.
 *
 * THREADS
 *
 *   Every function may be called from every thread at any time on the same store, with these exceptions,
 *   which are the caller's to keep: a store must not be closed while another call on it is running; one
 *   `simdrive_entry`, `simdrive_iterator`, `simdrive_reader`, `simdrive_stream`, `simdrive_session`,
 *   `simdrive_changes` or `simdrive_history` object is used by one thread at a time (it may move from thread to
 *   thread). A simdrive_changes_next() that waits is a call on its store.
 *
 * OWNERSHIP
 *
 *   Pointers handed in are used during the call only, and never kept. What a function gives out through
 *   an out-parameter is released by the function named there. Out-parameters may be NULL where it says so,
 *   and on failure are set to NULL or zero unless it says otherwise. Release and close functions accept
 *   NULL and do nothing then.
 *
 * OPTIONS
 *
 *   Options are structs whose first member is their size. Zero means default in every other member:
 *
 *       simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
 *
 *   NULL instead of a pointer to options means all defaults.
 */
#ifndef SIMDRIVE_H
#define SIMDRIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(SIMDRIVE_SHARED)
#ifdef SIMDRIVE_BUILDING
#define SIMDRIVE_API __declspec(dllexport)
#else
#define SIMDRIVE_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define SIMDRIVE_API __attribute__((visibility("default")))
#else
#define SIMDRIVE_API
#endif

#if defined(__GNUC__)
#define SIMDRIVE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SIMDRIVE_MUST_CHECK
#endif

#define SIMDRIVE_VERSION_MAJOR 0
#define SIMDRIVE_VERSION_MINOR 1
#define SIMDRIVE_VERSION_PATCH 0

/* ===== 4. Status codes =================================================================== */

/* One list of every status: name, number, text. Numbers never change their meaning.
 * What the caller should do is said in the comment behind each. */
#define SIMDRIVE_STATUS_LIST(X)                                                                      \
    X(OK, 0, "done")                                                                                 \
    /* no live entry under that key: not a failure of the store */                                   \
    X(NOT_FOUND, 1, "no such key")                                                                   \
    /* an iteration, a stream or a walk has no more to give */                                       \
    X(END, 2, "no more entries")                                                                     \
    /* the store was compacted: offsets that were known before mean nothing now */                   \
    X(COMPACTED, 3, "store was compacted; earlier offsets are void")                                 \
    /* a mistake in the call itself: a NULL that is not allowed, an unknown option */                \
    X(ERROR_INVALID_ARGUMENT, 16, "invalid argument")                                                \
    /* empty payload, or the single byte 00: see LIMITS */                                           \
    X(ERROR_INVALID_PAYLOAD, 17, "payload cannot be stored: it is empty or the single byte 00")      \
    /* would pass 2^48 - 1 bytes: compact, or begin another store */                                 \
    X(ERROR_TOO_LARGE, 18, "store would grow past the largest size of the format")                   \
    /* a write through a handle opened read-only, or on a nested store */                            \
    X(ERROR_READ_ONLY, 19, "store is open for reading only")                                         \
    /* this handle has an open stream, or a callback called back into the store: finish that first */\
    X(ERROR_BUSY, 20, "store is busy with a stream or a callback of the caller")                     \
    /* the callback of the caller asked to stop; nothing was stored */                               \
    X(ERROR_CANCELLED, 21, "cancelled by the caller's callback")                                     \
    /* the operating system refused; the reason is in simdrive_last_os_error() */                    \
    X(ERROR_IO, 32, "input or output error")                                                         \
    /* the file or its folder does not exist */                                                      \
    X(ERROR_NO_SUCH_FILE, 33, "no such file or folder")                                              \
    /* permission denied, or a read-only file system */                                              \
    X(ERROR_PERMISSION, 34, "permission denied")                                                     \
    /* disk, quota or file-size limit is full: free space and call again on the same handle */       \
    X(ERROR_NO_SPACE, 35, "no space left")                                                           \
    /* memory or address space is short: the call changed nothing */                                 \
    X(ERROR_NO_MEMORY, 36, "out of memory")                                                          \
    /* another handle or process has the store open for writing */                                   \
    X(ERROR_LOCKED, 37, "store is open for writing elsewhere")                                       \
    /* a file of that name exists already and is not to be overwritten */                            \
    X(ERROR_EXISTS, 38, "target exists already")                                                     \
    /* not a regular file */                                                                         \
    X(ERROR_NOT_A_FILE, 39, "not a regular file")                                                    \
    /* an earlier sync failed: what it covered may be lost. Reads go on; close and open again */     \
    X(ERROR_POISONED, 40, "an earlier sync or rollback failed; reopen the store")                    \
    /* nothing in the file is a chain of entries: it was left as it is */                            \
    X(ERROR_NOT_A_STORE, 48, "not a store")                                                          \
    /* a checksum does not match, or the chain is broken in its middle: verify, then salvage */      \
    X(ERROR_CORRUPT, 49, "store is damaged")                                                         \
    /* typed view: size or address do not fit the element: use simdrive_entry_copy_elements() */     \
    X(ERROR_UNALIGNED, 50, "payload does not fit the element size")                                  \
    /* the file needs a build of the library with another payload alignment */                       \
    X(ERROR_ALIGNMENT, 51, "store was written with another payload alignment")                       \
    /* this system cannot do it, or not with this file: see simdrive_compact() */                    \
    X(ERROR_UNSUPPORTED, 52, "not supported on this system")                                         \
    /* a compaction moved what was there, or it never was an offset of this store: begin anew */     \
    X(ERROR_STALE_OFFSET, 53, "no entry of this store ends at that offset")

typedef enum simdrive_status {
#define SIMDRIVE_STATUS_ENUM(name, number, text) SIMDRIVE_##name = number,
    SIMDRIVE_STATUS_LIST(SIMDRIVE_STATUS_ENUM)
#undef SIMDRIVE_STATUS_ENUM
} simdrive_status;

/* Name ("SIMDRIVE_ERROR_LOCKED") and one-line text of a status. Static strings, never NULL, also for
 * numbers that are no status. Thread-safe, no cost. */
SIMDRIVE_API const char *simdrive_status_name(simdrive_status status);
SIMDRIVE_API const char *simdrive_status_text(simdrive_status status);

/* The operating system's error number (errno; GetLastError on Windows) behind the last status of this
 * thread that was not SIMDRIVE_OK; 0 when the cause was not the operating system. */
SIMDRIVE_API int simdrive_last_os_error(void);

/* "MAJOR.MINOR.PATCH" of the library that is running, and its payload alignment in bytes. */
SIMDRIVE_API const char *simdrive_version(void);
SIMDRIVE_API size_t simdrive_alignment(void);

/* The instruction sets chosen at run time for copying and checksums, e.g. "avx512+vpclmulqdq". */
SIMDRIVE_API const char *simdrive_kernels(void);

/* Opaque objects. */
typedef struct simdrive_store simdrive_store;
typedef struct simdrive_session simdrive_session;
typedef struct simdrive_iterator simdrive_iterator;
typedef struct simdrive_reader simdrive_reader;
typedef struct simdrive_stream simdrive_stream;
typedef struct simdrive_changes simdrive_changes;
typedef struct simdrive_history simdrive_history;

/* A sequence of bytes lent by the caller for the time of a call: a key, or a payload. */
typedef struct simdrive_bytes {
    const void *data;
    size_t size;
} simdrive_bytes;

/* ===== 5. Opening and closing ============================================================ */

/* Checksum of the payloads that are written. A store that has entries goes on with the kind of its last
 * entry, whatever is asked for. Reading accepts both. */
typedef enum simdrive_checksum_kind {
    SIMDRIVE_CHECKSUM_DEFAULT = 0, /* CRC-32C in a new store */
    SIMDRIVE_CHECKSUM_CRC32C = 1,  /* Castagnoli, as the format's documentation names it */
    SIMDRIVE_CHECKSUM_CRC32 = 2    /* ISO-HDLC (zlib's), as the Rust implementation writes and checks it */
} simdrive_checksum_kind;

/* When a write is safe from the loss of power. All of them survive the death of the process. */
typedef enum simdrive_sync_policy {
    SIMDRIVE_SYNC_NONE = 0,     /* when simdrive_sync() is called, or the system gets round to it */
    SIMDRIVE_SYNC_COMMIT = 1,   /* before each write returns */
    SIMDRIVE_SYNC_INTERVAL = 2  /* at most `sync_interval_ms` later, by a thread of the store */
} simdrive_sync_policy;

/* The saved index: a file `<store>.index` beside the store, from which opening takes the index instead of walking over
 * all entries. It is derived data and may be removed at any time, as long as nobody has the store open. It is used only
 * when it belongs to this very file, and each part of it only when its checksum is right; what was written after it was
 * saved is walked over. Only writers save it: when they close, and now and then while they write. */
typedef enum simdrive_saved_index {
    SIMDRIVE_SAVED_INDEX_AUTO = 0,  /* used when there is one; saved when opening without it would be slow */
    SIMDRIVE_SAVED_INDEX_OFF = 1,   /* neither used nor saved */
    SIMDRIVE_SAVED_INDEX_ALWAYS = 2 /* saved on each close after a change, however small the store is */
} simdrive_saved_index;

/* How entries get into the file.
 *
 * APPEND_MAP is for stores that get many small entries one by one: they are stored into a writable map of the file's
 * end instead of being handed to the system, each in a small part of the time. Larger ones (together more than 64 KiB),
 * batches, streams and the first entry of a file go the ordinary way. The price:
 *   - While the store is open the file is up to 1 MiB longer than its entries, with zeros at its end, and up to 256 MiB
 *     of disk space behind them are set aside. Closing gives both back. After a crash the next write cuts the zeros
 *     off; space that is still set aside then is used up by later writes, or given back by such a handle's closing.
 *   - What closing leaves is byte for byte what ordinary writes leave.
 *   - A kill of the process at any instruction leaves whole entries, as with ordinary writes. A loss of power may take
 *     what was not synced, as with ordinary writes; but a page of memory may be on its way to the disk while an entry
 *     is stored into it, so it is likelier that opening then refuses writers with ERROR_CORRUPT and simdrive_salvage()
 *     has to make a store of what is there.
 *   - Memory around the end of the file can be written to. A stray pointer of the program may damage the store.
 *   - Readers in other processes that wait for changes are not woken by such a write; they look once a second.
 *   - A disk that fails, or another program that cuts the file, ends the process with SIGBUS.
 * It needs Linux 5.14, and ext4 or tmpfs: file systems that never need more space to write to a block again. Elsewhere
 * writes are ordinary. So are all writes under SIMDRIVE_SYNC_COMMIT, where the sync is what takes the time. */
typedef enum simdrive_append_mode {
    SIMDRIVE_APPEND_WRITE = 0,
    SIMDRIVE_APPEND_MAP = 1
} simdrive_append_mode;

typedef struct simdrive_open_options {
    size_t struct_size;                /* sizeof(simdrive_open_options) */
    bool read_only;                    /* no lock, no write permission needed; the file must exist */
    bool must_exist;                   /* SIMDRIVE_ERROR_NO_SUCH_FILE instead of creating the file */
    bool must_create;                  /* SIMDRIVE_ERROR_EXISTS when the file is there already */
    bool reset_foreign;                /* writers: take a file that is not a store as an empty one. The first
                                          write keeps its old bytes aside as for a damaged tail */
    bool verify_all;                   /* check every payload's checksum, not only the last 64 MiB */
    bool check_on_read;                /* check a payload's checksum each time it is given out: what fails is
                                          treated as an entry that opening found corrupt. Costs a look at all
                                          of the payload, also where only a part of it is copied */
    simdrive_checksum_kind checksum;   /* for a new store */
    simdrive_sync_policy sync;         /* default SIMDRIVE_SYNC_NONE */
    uint32_t sync_interval_ms;         /* default 1000 */
    uint32_t file_mode;                /* permission bits of a new file; default 0666 less the umask */
    uint64_t map_reserve_bytes;        /* address range set aside so that the file grows without a new map;
                                          default 64 GiB or four times the file, less where it is short */
    uint64_t quarantine_max_bytes;     /* largest damaged tail that the first write keeps aside; default
                                          1 GiB. A larger one is cut off without a copy,
                                          unless there are whole entries in it */
    uint64_t at_offset;                /* read_only: the store as it was when its tail was here (a tail that a
                                          write or simdrive_revision gave, of an entry that is intact); 0: as it
                                          is. What lies behind it counts for nothing but the file's size. Values
                                          that were live then and reclaimed since are corrupt. Never refreshed */
    simdrive_saved_index saved_index;
    uint32_t compact_stale_percent;    /* compact in a thread of the library when at least so much of the file
                                          is stale; 0: never by itself. See simdrive_compact_begin() */
    uint64_t compact_min_bytes;        /* ... and at least so many bytes; default 64 MiB */
    simdrive_append_mode append;       /* writers: default SIMDRIVE_APPEND_WRITE */
} simdrive_open_options;

/* What opening found, besides the entries. */
typedef enum simdrive_damage {
    SIMDRIVE_DAMAGE_NONE = 0,
    SIMDRIVE_DAMAGE_TAIL = 1,   /* bytes behind the last complete entry: ignored. The first write moves them to
                                   `<store>.tail-<offset>`, right before its own bytes go to the file: they
                                   have moved also when the system refuses those. A call that has nothing to
                                   write, or is refused for its arguments, leaves them */
    SIMDRIVE_DAMAGE_MIDDLE = 2, /* the chain is broken: opens for reading only, shows what can be reached */
    SIMDRIVE_DAMAGE_AMBIGUOUS = 3 /* more than one tail is plausible: opens for reading only, the longer chain */
} simdrive_damage;

/* Opens the store at `path` (UTF-8 on Windows; bytes elsewhere), creating an empty file when there is none.
 *
 *   options  NULL for defaults: read and write, create, page-cache durability.
 *   out      the handle; close it with simdrive_close().
 *
 * Never changes an existing file, damaged or not (section 2); an empty or all-zero file is an empty store.
 * A writer holds the store's lock until it closes. A damaged tail is not an error: see simdrive_info.
 *
 * Errors: ERROR_LOCKED; ERROR_STALE_OFFSET, no intact entry ends at `at_offset`; ERROR_NOT_A_STORE, the file is
 * something else and was left alone; ERROR_CORRUPT, the chain is broken in its middle and the store was to be opened
 * for writing (reading is possible: read_only); ERROR_NO_SUCH_FILE, ERROR_EXISTS,
 * ERROR_NOT_A_FILE, ERROR_PERMISSION, ERROR_NO_MEMORY, ERROR_IO.
 *
 * Cost: one look at each entry's metadata, newest to oldest, and the checksums of the last 64 MiB. Time in
 * proportion to the file's bytes when the tail is damaged. Memory: 10 to 16 bytes for each key.
 *
 * With a saved index: a few milliseconds at most. Then only the last entries are looked at, some thousands of them and
 * those written after the index was saved. A damaged link or checksum before them is not noticed, and may give wrong
 * bytes of its entry, where checksums are not asked for (`check_on_read`, simdrive_entry_is_valid()). */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_open(const char *path,
                                                               const simdrive_open_options *options,
                                                               simdrive_store **out);

/* Lets a handle that was opened read-only see what a writer in another process has done since it was opened, or
 * refreshed last: appends, whole batches only, and compaction. Entries and iterators taken before stay as they are;
 * sessions follow. Any thread may call it at any time; others go on reading meanwhile.
 *
 *   changed  whether there was anything new; may be NULL.
 *
 * Cost: one look at the path when nothing has happened, otherwise time in proportion to what was added. On a writing
 * handle, on a store in memory and on one damaged in its middle it does nothing. ERROR_NO_SUCH_FILE when the path is
 * gone: what was there can still be read. ERROR_IO when the file was cut behind the library's back. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_refresh(simdrive_store *store, bool *changed);

/* Waits until there is more, or else, than at the tail `known` (simdrive_tail()): OK then, and a read-only handle has
 * been refreshed; END when `timeout_ms` passed first (0: does not wait; UINT32_MAX: no limit), or at once for a store
 * that cannot change: in memory, opened with `at_offset`, damaged in its middle. On a read-only handle errors are those
 * of simdrive_refresh(). Woken by the system where it can tell that a file changes, and looks once a second in any
 * case; otherwise it looks at intervals of 100 ms. Takes no writer's place. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_wait(simdrive_store *store, uint64_t known,
                                                               uint32_t timeout_ms);

/* Closes the handle, and syncs first under SIMDRIVE_SYNC_INTERVAL. Entries, iterators, readers, sessions, changes
 * and histories taken from it stay usable until they are released. An open stream is aborted. NULL does nothing.
 * Returns the status of that sync; the handle is gone in any case. */
SIMDRIVE_API simdrive_status simdrive_close(simdrive_store *store);

/* What a store is at this moment. Byte counts are of the file, padding included. */
typedef struct simdrive_info {
    size_t struct_size;               /* sizeof(simdrive_info), set by the caller */
    uint64_t file_size;               /* bytes of the file, a damaged tail included, room ahead not */
    uint64_t tail;                    /* end of the last complete entry: where the next one begins */
    uint64_t entries;                 /* live entries, one for each key; those that are corrupt count too */
    uint64_t tombstones;              /* tombstones in the file */
    uint64_t stale_entries;           /* payload entries that a newer write or a delete has replaced */
    uint64_t live_bytes;              /* payload bytes of the live entries */
    uint64_t stale_bytes;             /* payload bytes of the stale entries */
    uint64_t damaged_tail_bytes;      /* bytes behind `tail` that belong to no entry */
    uint64_t corrupt_entries;         /* entries whose checksum was found wrong at opening */
    uint64_t durable_tail;            /* everything before it was synced through this handle */
    uint64_t index_bytes;             /* memory of the index */
    uint64_t quarantined_bytes;       /* damaged bytes kept aside by a write through this handle */
    simdrive_damage damage;           /* what opening found */
    simdrive_checksum_kind checksum;  /* kind that new entries get */
    bool read_only;
    bool poisoned;                    /* writes are refused with ERROR_POISONED */
    bool append_map_wanted;           /* the handle writes, and was opened with SIMDRIVE_APPEND_MAP */
    bool append_map_used;             /* room is made: the next small entry is stored into the map */
    simdrive_status append_map_status; /* why the last entry that could have been was not: ERROR_UNSUPPORTED, by the
                                          system, the file system, or SIMDRIVE_SYNC_COMMIT; or what failed, and is
                                          tried again. OK: nothing was in the way */
    uint64_t room_ahead_bytes;        /* zeros behind the tail, where entries will be: set aside by such a handle, this
                                         one or another, or left by it. Neither damage nor part of file_size */
} simdrive_info;

/* Fills `info` (struct_size set by the caller). No cost but one look at the file's size. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_get_info(const simdrive_store *store, simdrive_info *info);

/* Single figures of it, for convenience. `count` is the number of live entries. */
SIMDRIVE_API uint64_t simdrive_count(const simdrive_store *store);
SIMDRIVE_API bool simdrive_is_empty(const simdrive_store *store);
SIMDRIVE_API uint64_t simdrive_tail(const simdrive_store *store);

/* The path it was opened with; lives as long as the handle. "" for a store in memory. */
SIMDRIVE_API const char *simdrive_path(const simdrive_store *store);

/* ===== 6. Reading ======================================================================== */

/* XXH3-64 with seed 0 of the key: what the file keeps of it. All `_hash` functions below take it. These three cannot
 * refuse a key that is NULL and has a size, which is a mistake everywhere else: they take it for the empty key. */
SIMDRIVE_API uint64_t simdrive_hash_key(const void *key, size_t key_size);

/* The same for `count` keys; hashes[i] belongs to keys[i]. */
SIMDRIVE_API void simdrive_hash_keys(const simdrive_bytes *keys, size_t count, uint64_t *hashes);

/* Writes the 16-byte key that `key` has within `name_space`: the two hashes, little-endian. Use it as an
 * ordinary key. */
SIMDRIVE_API void simdrive_namespaced_key(const void *name_space, size_t name_space_size, const void *key,
                                          size_t key_size, unsigned char out[16]);

/* An entry acquired for reading. `data` and `size` are the payload, in place; the rest is the library's.
 * Zero it before the first use; release it exactly once with simdrive_entry_release(). */
typedef struct simdrive_entry {
    const void *data;     /* first byte of the payload, aligned to simdrive_alignment(); never NULL in a
                             valid entry */
    size_t size;          /* bytes of the payload, at least 1 */
    uint64_t private_start;
    void *private_pin;
} simdrive_entry;

/* Acquires the live entry of a key, without copying it.
 *
 *   entry  filled on success; release it with simdrive_entry_release(). Left zero on failure.
 *
 * NOT_FOUND when there is none. ERROR_CORRUPT when the entry's checksum was found wrong at opening, or is now
 * and the store was opened with `check_on_read`; the damaged bytes are not given out.
 * Takes no lock, makes no system call. Cost: two cache misses. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read(simdrive_store *store, const void *key, size_t key_size,
                                                               simdrive_entry *entry);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_hash(simdrive_store *store, uint64_t key_hash,
                                                                    simdrive_entry *entry);

/* Acquires the entries of `count` keys at once, in the order asked; much faster than as many single reads,
 * because the cache misses overlap.
 *
 *   entries  array of `count`; entries[i] belongs to keys[i]; `data` is NULL where there is no such key or
 *            the entry is corrupt. Release all with simdrive_entries_release().
 *   found    how many are there; may be NULL.
 *
 * Returns OK also when keys are missing; ERROR_CORRUPT when at least one entry was left out as corrupt (the
 * others are valid and must be released); ERROR_INVALID_ARGUMENT, and nothing read, when a key is NULL and has a size.
 * */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_batch(simdrive_store *store, const simdrive_bytes *keys,
                                                                     size_t count, simdrive_entry *entries,
                                                                     size_t *found);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_batch_hash(simdrive_store *store,
                                                                          const uint64_t *key_hashes, size_t count,
                                                                          simdrive_entry *entries, size_t *found);

/* Copies up to `capacity` bytes of the payload, beginning `offset` bytes into it, to `buffer`.
 *
 *   payload_size  the size of the whole payload; may be NULL. Filled also when capacity is 0.
 *   copied        how many bytes were copied; 0 when `offset` is at or behind the end; may be NULL.
 *
 * Looks at the file's length first, and reads the payload with system calls, not through the map: a file that others
 * have cut short gives ERROR_IO instead of SIGBUS. With `check_on_read` all of the payload is read, however little is
 * copied, and ERROR_CORRUPT leaves zeros in `buffer`. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_copy(simdrive_store *store, const void *key,
                                                                    size_t key_size, uint64_t offset, void *buffer,
                                                                    size_t capacity, uint64_t *payload_size,
                                                                    size_t *copied);

/* Whether there is a live entry. False also for NULL. */
SIMDRIVE_API bool simdrive_exists(simdrive_store *store, const void *key, size_t key_size);
SIMDRIVE_API bool simdrive_exists_hash(simdrive_store *store, uint64_t key_hash);

/* What the file keeps about an entry. Offsets count from the start of the store. */
typedef struct simdrive_metadata {
    uint64_t key_hash;
    uint64_t prev_offset;  /* end of the entry before: where this one's padding begins */
    uint64_t start;        /* first byte of the payload */
    uint64_t end;          /* byte behind the payload; the metadata is the 20 bytes from here */
    uint64_t size;         /* end - start */
    uint64_t total_size;   /* size and the 20 bytes of metadata */
    uint32_t checksum;     /* as stored */
} simdrive_metadata;

/* Metadata of the live entry of a key. NOT_FOUND when there is none. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_metadata(simdrive_store *store, const void *key,
                                                                        size_t key_size, simdrive_metadata *metadata);

/* Acquires the newest live entry of the store that is not corrupt (see simdrive_iterator_next()). NOT_FOUND when the
 * store has none. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_read_last(simdrive_store *store, simdrive_entry *entry);

/* A session pins the store once for many reads: the loop over it writes to no memory at all. What it gives
 * out is valid until the session ends, and needs no release. End a session now and then: the space of what was
 * compacted away meanwhile returns only then. A session that outlives its store reads on in the file it has seen last:
 * when that was compacted away before the store was closed, without what was written after. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_session_begin(simdrive_store *store, simdrive_session **out);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_session_read(simdrive_session *session, const void *key,
                                                                       size_t key_size, simdrive_bytes *payload);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_session_read_hash(simdrive_session *session,
                                                                            uint64_t key_hash,
                                                                            simdrive_bytes *payload);

/* payloads[i] belongs to key_hashes[i]; `data` is NULL where there is no such key. Returns as
 * simdrive_read_batch_hash(). */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_session_read_batch_hash(simdrive_session *session,
                                                                                  const uint64_t *key_hashes,
                                                                                  size_t count,
                                                                                  simdrive_bytes *payloads,
                                                                                  size_t *found);
SIMDRIVE_API void simdrive_session_end(simdrive_session *session);

/* ===== 7. Entries ======================================================================== */

/* Releases an entry and zeroes it; nothing happens to one that is zero already. The entry may have been
 * acquired in another thread, and the store may be closed. */
SIMDRIVE_API void simdrive_entry_release(simdrive_entry *entry);
SIMDRIVE_API void simdrive_entries_release(simdrive_entry *entries, size_t count);

/* The functions below take an entry that was acquired; of one that is zero they say nothing but zeros: size 0, hash 0,
 * not intact. */

/* A second handle to the same bytes, to be released on its own. */
SIMDRIVE_API void simdrive_entry_clone(const simdrive_entry *entry, simdrive_entry *out);

/* Hash, offsets, stored checksum of an entry. */
SIMDRIVE_API void simdrive_entry_metadata(const simdrive_entry *entry, simdrive_metadata *metadata);
SIMDRIVE_API uint64_t simdrive_entry_key_hash(const simdrive_entry *entry);
SIMDRIVE_API uint32_t simdrive_entry_checksum(const simdrive_entry *entry);

/* Payload bytes and the 20 bytes of metadata. */
SIMDRIVE_API uint64_t simdrive_entry_total_size(const simdrive_entry *entry);

/* Where the payload is in the file, and in memory: first byte, and the byte behind the last. */
SIMDRIVE_API void simdrive_entry_offset_range(const simdrive_entry *entry, uint64_t *start, uint64_t *end);
SIMDRIVE_API void simdrive_entry_address_range(const simdrive_entry *entry, uintptr_t *start, uintptr_t *end);

/* Computes the payload's checksum and compares it with the stored one (either kind). Reads all of the
 * payload. */
SIMDRIVE_API bool simdrive_entry_is_valid(const simdrive_entry *entry);

/* The payload as an array of elements of `element_size` bytes, in place.
 *
 *   elements, count  the array; `elements` lives as long as the entry.
 *
 * ERROR_UNALIGNED when the size is not a multiple of `element_size`, or the address not one of the largest power
 * of two that divides it (at most the alignment of the store). */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_entry_elements(const simdrive_entry *entry,
                                                                         size_t element_size, const void **elements,
                                                                         size_t *count);

/* Copies whole elements to `buffer`, for payloads that cannot be viewed in place: at most `capacity` elements,
 * a rest of fewer bytes than an element left out. Returns how many were copied. */
SIMDRIVE_API size_t simdrive_entry_copy_elements(const simdrive_entry *entry, size_t element_size, void *buffer,
                                                 size_t capacity);

/* ===== 8. Writing ======================================================================== */

/* Appends an entry. From its return on every reader of this handle finds it.
 *
 *   tail  the store's tail behind the new entry; may be NULL.
 *
 * Errors: ERROR_INVALID_PAYLOAD, ERROR_TOO_LARGE, ERROR_READ_ONLY, ERROR_BUSY, ERROR_NO_SPACE, ERROR_NO_MEMORY,
 * ERROR_POISONED, ERROR_IO; nothing was stored then, and the handle can be used again (but for POISONED).
 * Waits for other threads' writes. Cost: one system call, and a sync where the policy says so; large payloads
 * are not copied in user space. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write(simdrive_store *store, const void *key,
                                                                size_t key_size, const void *data, size_t size,
                                                                uint64_t *tail);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write_hash(simdrive_store *store, uint64_t key_hash,
                                                                     const void *data, size_t size, uint64_t *tail);

/* One change of a batch. */
typedef enum simdrive_operation { SIMDRIVE_PUT = 0, SIMDRIVE_DELETE = 1 } simdrive_operation;

typedef struct simdrive_change {
    simdrive_operation operation;
    uint64_t key_hash;       /* simdrive_hash_key() */
    simdrive_bytes payload;  /* of a PUT */
} simdrive_change;

/* How a batch meets a crash. */
typedef enum simdrive_batch_mode {
    SIMDRIVE_BATCH_ATOMIC = 0, /* all of it or nothing: one small write more, and one sync more where synced */
    SIMDRIVE_BATCH_PLAIN = 1   /* a prefix of it may be left. Under SIMDRIVE_SYNC_COMMIT it takes that sync too, unless
                                  each entry but the last lies within one sector of 512 bytes */
} simdrive_batch_mode;

/* Appends entries for keys[i] and payloads[i], all or nothing. When a key stands in it twice, the last wins.
 * Other threads may see the first entries of it a moment before the last. `tail` as above. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write_batch(simdrive_store *store,
                                                                      const simdrive_bytes *keys,
                                                                      const simdrive_bytes *payloads, size_t count,
                                                                      uint64_t *tail);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write_batch_hash(simdrive_store *store,
                                                                           const uint64_t *key_hashes,
                                                                           const simdrive_bytes *payloads,
                                                                           size_t count, uint64_t *tail);

/* The general form: puts and deletes mixed, in order. A delete of a key that is not there (in the store, or
 * through an earlier change of the same batch) writes nothing. `count` 0 does nothing. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_apply(simdrive_store *store, const simdrive_change *changes,
                                                                size_t count, simdrive_batch_mode mode,
                                                                uint64_t *tail);

/* Appends a tombstone: the key is not found any more. NOT_FOUND, and no write at all, when it is not there. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_delete(simdrive_store *store, const void *key,
                                                                 size_t key_size, uint64_t *tail);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_delete_hash(simdrive_store *store, uint64_t key_hash,
                                                                      uint64_t *tail);

/* Deletes many, all or nothing. `deleted` (may be NULL) says how many were there. OK also when none was. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_delete_batch(simdrive_store *store,
                                                                       const simdrive_bytes *keys, size_t count,
                                                                       size_t *deleted, uint64_t *tail);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_delete_batch_hash(simdrive_store *store,
                                                                            const uint64_t *key_hashes, size_t count,
                                                                            size_t *deleted, uint64_t *tail);

/* Writes the payload of `old_key` under `new_key` and deletes `old_key`, all or nothing. An entry of `new_key` is
 * replaced. NOT_FOUND when there is no `old_key`; ERROR_INVALID_ARGUMENT when both have one hash; ERROR_CORRUPT
 * when the payload's checksum is wrong. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_rename(simdrive_store *store, const void *old_key,
                                                                 size_t old_key_size, const void *new_key,
                                                                 size_t new_key_size, uint64_t *tail);

/* ===== 9. Streams, in and out ============================================================ */

/* Pull: where the bytes of a payload come from. Fills up to `capacity` bytes of `buffer`.
 *
 *   produced  how many bytes were filled; 0 with SIMDRIVE_OK means the end.
 *
 * Returns SIMDRIVE_OK, or anything else to give up: then nothing is stored, and the writing function returns that
 * same status. It is called with the writer's place held: it must not write to the same store (ERROR_BUSY), but
 * may read from it. It may write to another store, but then no source of that store's may write to this one: two that
 * run at once, each waiting for the other's store, would wait for ever. */
typedef simdrive_status (*simdrive_source)(void *user, void *buffer, size_t capacity, size_t *produced);

/* Appends one entry from a source of any length with a buffer of `buffer_size` bytes (0: 512 KiB). The store is as
 * before when the source fails, gives nothing at all, or gives the single byte 00 (ERROR_INVALID_PAYLOAD). */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write_stream(simdrive_store *store, const void *key,
                                                                       size_t key_size, simdrive_source source,
                                                                       void *user, size_t buffer_size,
                                                                       uint64_t *tail);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_write_stream_hash(simdrive_store *store, uint64_t key_hash,
                                                                            simdrive_source source, void *user,
                                                                            size_t buffer_size, uint64_t *tail);

/* Push: the same the other way round. While a pushed stream is open, every other write through this handle
 * returns ERROR_BUSY. Ends with exactly one of commit and abort, which free `stream`.
 *
 * append    any number of bytes, also 0. After it failed, only abort is possible.
 * commit    makes the entry visible; on failure the store is as before. `tail` may be NULL.
 * abort     takes everything back; NULL does nothing. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_stream_begin(simdrive_store *store, const void *key,
                                                                       size_t key_size, size_t buffer_size,
                                                                       simdrive_stream **out);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_stream_begin_hash(simdrive_store *store, uint64_t key_hash,
                                                                            size_t buffer_size,
                                                                            simdrive_stream **out);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_stream_append(simdrive_stream *stream, const void *data,
                                                                        size_t size);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_stream_commit(simdrive_stream *stream, uint64_t *tail);
SIMDRIVE_API simdrive_status simdrive_stream_abort(simdrive_stream *stream);

/* Reads a payload piece by piece with system calls, for payloads larger than memory: nothing of it is mapped. Holds the
 * entry; the checksum is computed on the way. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_reader_open(simdrive_store *store, const void *key,
                                                                      size_t key_size, simdrive_reader **out);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_reader_open_entry(const simdrive_entry *entry,
                                                                            simdrive_reader **out);

/* Copies the next bytes, at most `capacity`; `copied` 0 with SIMDRIVE_OK never happens for a capacity above 0. END
 * when all was read and the checksum is right; ERROR_CORRUPT in its place when it is not. Reads with system calls and
 * never raises SIGBUS: ERROR_IO when the file was cut short. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_reader_next(simdrive_reader *reader, void *buffer,
                                                                      size_t capacity, size_t *copied);
SIMDRIVE_API uint64_t simdrive_reader_size(const simdrive_reader *reader);
SIMDRIVE_API void simdrive_reader_close(simdrive_reader *reader);

/* ===== 10. Iteration ===================================================================== */

/* Walks the entries that are live at the moment of the call, newest to oldest, each key once, whatever is written
 * meanwhile. Memory: some bytes for each key that changes during the walk. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_iterate(simdrive_store *store, simdrive_iterator **out);

/* The next entry, acquired: release it. END when there are no more. Corrupt entries are left out, those that opening
 * found and, with `check_on_read`, those that fail the check now; simdrive_verify() tells which they are. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_iterator_next(simdrive_iterator *iterator,
                                                                        simdrive_entry *entry);

/* The same, but lent: valid until the next call on this iterator or its close, not to be released. Cheaper. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_iterator_peek_next(simdrive_iterator *iterator,
                                                                             const simdrive_entry **entry);
SIMDRIVE_API void simdrive_iterator_close(simdrive_iterator *iterator);

/* Called for each entry, from several threads at once; `entry` is lent for the time of the call. Anything but
 * SIMDRIVE_OK ends the visit. `thread` counts from 0. */
typedef simdrive_status (*simdrive_visitor)(void *user, unsigned thread, const simdrive_entry *entry);

/* Visits all entries live at the moment of the call, each once, in no given order, with `threads` threads (0: one
 * for each processor). Corrupt ones are left out as by an iterator. Returns what the first visitor that did not return
 * OK gave, otherwise OK. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_visit(simdrive_store *store, unsigned threads,
                                                                simdrive_visitor visitor, void *user);

/* ===== 11. Many stores: copy, transfer, nesting ========================================== */

/* Copies the entry of `key` to `target`, under the same key. `target` is another handle, open for writing. The
 * checksum is verified on the way (ERROR_CORRUPT). NOT_FOUND when there is none. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_copy(simdrive_store *store, const void *key,
                                                               size_t key_size, simdrive_store *target,
                                                               uint64_t *tail);

/* The same, then deletes it here. The key is never in neither store; after a crash it may be in both. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_transfer(simdrive_store *store, const void *key,
                                                                   size_t key_size, simdrive_store *target,
                                                                   uint64_t *tail);

/* Opens a store that is the payload of an entry of another one, in place, for reading. It keeps the entry's bytes
 * valid by itself: `entry` may be released right after. Entries of it are aligned as those of any store. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_open_nested(const simdrive_entry *entry,
                                                                      simdrive_store **out);

/* Opens a store that is in memory, for reading: `size` bytes at `data`, aligned to simdrive_alignment() and
 * unchanged until the handle is closed and everything taken from it is released. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_open_memory(const void *data, size_t size,
                                                                      simdrive_store **out);

/* ===== 12. Care: sync, compact, verify, salvage, backup ================================== */

/* Makes everything written so far safe from the loss of power. `durable_tail` (may be NULL): everything before it
 * is. A failed sync is never repeated: what it covered may be lost, and the handle refuses further writes with
 * ERROR_POISONED until the store is opened again. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_sync(simdrive_store *store, uint64_t *durable_tail);

/* Progress of long work: `done` of `total` bytes. Called at least every 64 MiB, in the calling thread. Anything but
 * SIMDRIVE_OK cancels it (ERROR_CANCELLED), and the store is as before. */
typedef simdrive_status (*simdrive_progress)(void *user, uint64_t done, uint64_t total);

typedef struct simdrive_work_options {
    size_t struct_size;        /* sizeof(simdrive_work_options) */
    simdrive_progress progress;
    void *user;
} simdrive_work_options;

/* How many bytes compaction would take off the file, to the byte. Cost: a walk over all entries. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_estimate_compaction(simdrive_store *store,
                                                                              uint64_t *saved_bytes);

/* Rewrites the store without stale entries and tombstones, in the order they were written, into a new file beside it,
 * which then takes its place: synced, atomically, with mode and owner kept and symbolic links followed. Readers and
 * writers go on; writers wait only while the last few entries are copied and the files change places. The handle goes
 * on with the new file, offsets change. What was acquired before stays valid; the old file's space returns when the
 * last of it is released. When there is nothing to gain, nothing is done.
 *
 *   saved_bytes  by how much the file is shorter; may be NULL.
 *
 * Checksums are verified, not recomputed: ERROR_CORRUPT when an entry is damaged, and the store stays as it was.
 * ERROR_BUSY when a compaction is running already; ERROR_NO_SPACE when both files do not fit on the disk;
 * ERROR_UNSUPPORTED when the file has a second name (a hard link), which would go on naming the old file: copy it with
 * simdrive_backup() or remove that name, then compact. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_compact(simdrive_store *store,
                                                                  const simdrive_work_options *options,
                                                                  uint64_t *saved_bytes);

/* The same in a thread of the library. Returns as soon as it runs; ERROR_BUSY when a compaction runs already, also one
 * that was started by `compact_stale_percent`. `options->progress` is called in that thread, which must not close the
 * store. Closing the store cancels it and waits for its end.
 *
 * With `compact_stale_percent` one is begun after a write, or after opening, when stale payloads, their metadata and
 * padding, and tombstones are that part of the file and `compact_min_bytes`. After one that gave nothing back, because
 * it failed, say, the next is not begun before a quarter more is stale. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_compact_begin(simdrive_store *store,
                                                                        const simdrive_work_options *options);

/* Waits until no compaction runs, or `timeout_ms` have passed (END; UINT32_MAX: no limit). Otherwise returns the
 * outcome of the last one that ended, whoever ran it, and what it saved; OK and 0 when there was none. ERROR_BUSY where
 * it would be waiting for itself: in the callback of the compaction, or in a thread that has a stream open. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_compact_wait(simdrive_store *store, uint32_t timeout_ms,
                                                                       uint64_t *saved_bytes);

/* Asks the running compaction, in whatever thread, to stop: it ends with ERROR_CANCELLED soon after, and the store is
 * as before. Too late when the files have changed places. Does nothing when none runs. Returns at once. */
SIMDRIVE_API void simdrive_compact_cancel(simdrive_store *store);

/* Gives the disk space of stale payloads back in place, without rewriting the file, where the file system can punch
 * holes: whole pages (4 KiB) of payloads that a newer write or a delete has replaced read as zeros from then on. Links
 * and metadata stay, offsets too. Pays for large payloads; unlike compaction it needs no free space and copies nothing.
 * Syncs the store first.
 *
 *   reclaimed_bytes  by how much the file takes less of the disk; may be NULL.
 *
 * Replaced payloads are not to be had again: history and changes tell them as `reclaimed`. ERROR_BUSY when entries,
 * iterators or sessions of this handle are held, or another handle, of this or another process, has the store open:
 * they might be looking at what would go. ERROR_UNSUPPORTED where holes cannot be punched, or other
 * processes' readers cannot be told (systems other than Linux). Programs that read the file without this library are
 * never seen: none may be looking at what was replaced.
 *
 * Reads and writes go on, and see nothing of it but short waits: reads once, at the beginning, usually for microseconds
 * and never for more than 50 ms, writes for up to 64 MiB of holes at a time. No compaction runs meanwhile (ERROR_BUSY).
 * When it ends early, since a reader came (ERROR_BUSY), it was cancelled or the system refused, what was given back
 * until then is told in `reclaimed_bytes`; nothing that can be read has changed. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_reclaim(simdrive_store *store,
                                                                  const simdrive_work_options *options,
                                                                  uint64_t *reclaimed_bytes);

/* One finding of a verification or salvage. */
typedef struct simdrive_finding {
    uint64_t offset;      /* where the damaged entry's payload starts, as far as that is known */
    uint64_t end;         /* where its metadata starts */
    uint64_t key_hash;
    bool live;            /* the key cannot be read because of it */
    const char *reason;   /* a static string */
} simdrive_finding;

typedef struct simdrive_report {
    size_t struct_size;             /* sizeof(simdrive_report), set by the caller */
    uint64_t entries_checked;       /* payload entries, live and stale, and tombstones */
    uint64_t entries_corrupt;
    uint64_t bytes_checked;         /* payload bytes whose checksum was computed */
    uint64_t damaged_tail_bytes;
    uint64_t entries_written;       /* salvage and backup: entries in the new file, or what was added to it; of a
                                       backup stale ones and tombstones too */
    uint64_t bytes_written;         /* salvage and backup: size of the new file, or what was added to it */
    simdrive_damage damage;
    uint64_t entries_reclaimed;     /* stale entries whose payload was given back: no damage */
    uint64_t room_ahead_bytes;      /* zeros behind the last entry: no damage (see simdrive_info) */
} simdrive_report;

/* Called for each finding; may be NULL. Anything but SIMDRIVE_OK cancels. */
typedef simdrive_status (*simdrive_finding_handler)(void *user, const simdrive_finding *finding);

/* Checks every entry: link, padding, checksum. Works on a handle of any kind, also of a damaged store opened
 * read-only. Returns OK when all is well, ERROR_CORRUPT when anything was found; `report` (may be NULL) is filled in
 * both cases. A damaged tail alone is reported, and not an error: opening passes over it. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_verify(simdrive_store *store,
                                                                 const simdrive_work_options *options,
                                                                 simdrive_finding_handler handler,
                                                                 void *handler_user, simdrive_report *report);

/* Writes what can be saved of the damaged store at `path` to a new store `out_path`, which must not exist: for each
 * key its newest intact entry, oldest first, checksums verified. Opens `path` for reading only and never changes it.
 * OK when something or nothing was to be saved, told in the report; ERROR_NOT_A_STORE when there is no entry in it. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_salvage(const char *path, const char *out_path,
                                                                  const simdrive_work_options *options,
                                                                  simdrive_finding_handler handler,
                                                                  void *handler_user, simdrive_report *report);

/* Copies the store, up to its tail at the moment of the call, to a new file `out_path`, which must not exist; writers
 * go on. The copy is synced and has the same bytes, stale entries included; what was a hole in the file is one in the
 * copy. Temporary names are used until it is complete. A store that is damaged is copied as it is. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_backup(simdrive_store *store, const char *out_path,
                                                                 const simdrive_work_options *options,
                                                                 simdrive_report *report);

/* Brings an earlier backup at `out_path` up to date by appending what is new, all or nothing, synced. All of the
 * backup's links, key hashes and checksums are compared with those of the store first, and the payloads of its last
 * 64 MiB are checked: ERROR_STALE_OFFSET, and the backup is as it was, when it is no earlier state of this store, as
 * after a compaction: make a new one then. ERROR_CORRUPT, and the same, when the backup is damaged, or the chain of
 * the store is: what is damaged does not go into a backup that is not. ERROR_LOCKED when somebody has the backup open
 * for writing, ERROR_INVALID_ARGUMENT when it is the store itself, ERROR_NO_SUCH_FILE when there is none.
 *
 * A backup that an earlier call left incomplete (a crash) is completed: bytes behind its last entry are cut off once
 * the rest has proven to be the store's. An empty file is replaced by a complete backup. Nothing is written when
 * nothing is new. `report->bytes_written` and `entries_written` are what was appended.
 *
 * Cost: opening the backup, and a look at the metadata of all of its entries, here and there. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_backup_update(simdrive_store *store, const char *out_path,
                                                                        const simdrive_work_options *options,
                                                                        simdrive_report *report);

/* A place in the order of writes. `check` ties it to the file and the entry: a position of another file, or from before
 * a compaction, is recognised by it. With `check` 0 only the offset is looked at. */
typedef struct simdrive_position {
    uint64_t offset; /* a tail; 0: before everything */
    uint64_t check;
} simdrive_position;

/* The position of the tail at this moment. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_get_position(simdrive_store *store,
                                                                       simdrive_position *position);

/* Takes `size` bytes at `data`, lent for the time of the call. Anything but SIMDRIVE_OK gives up, with that status. */
typedef simdrive_status (*simdrive_sink)(void *user, const void *data, size_t size);

/* Hands the store's bytes, in order, from `since` (NULL: from the beginning) to its tail at the moment of the call, to
 * `sink`, while writers go on: a backup to a pipe or a network. Bytes from a position on, put behind a copy of the
 * bytes before it, make a whole store again.
 *
 *   end  the position to give as `since` the next time; may be NULL, or the object that `since` is.
 *
 * ERROR_STALE_OFFSET when `since` is no position of this store. A damaged store's bytes are given as they are; a
 * position is behind an entry that can be reached then. Read with system calls, not through the map. Cost besides the
 * bytes: with `since`, a look at the metadata of each entry behind it. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_backup_stream(simdrive_store *store,
                                                                        const simdrive_position *since,
                                                                        simdrive_sink sink, void *sink_user,
                                                                        const simdrive_work_options *options,
                                                                        simdrive_position *end,
                                                                        simdrive_report *report);

/* ===== 13. Over time: changes, history, statistics ======================================= */

/* One committed write or delete. */
typedef struct simdrive_event {
    simdrive_operation operation;
    bool reclaimed;             /* of a PUT: a later one has replaced it and its payload was given back: data is NULL */
    uint64_t key_hash;
    simdrive_bytes payload;     /* of a PUT; lent until the next call on the same object */
    simdrive_position position; /* behind it: where to begin to get what came after it */
} simdrive_event;

/* Delivers each write and delete from a position on, in the order in which they were made.
 *
 *   since  NULL: from the first entry that is in the file.
 *
 * ERROR_STALE_OFFSET when `since` is no position of this store any more: what was missed cannot be told; begin with
 * NULL, or with a new backup and its position. Holds the file as an iterator does. Memory: 33 KiB, and at most 4 bytes
 * for each 1000 entries that are still to be delivered. Cost: each entry's metadata is looked at three times, its
 * payload once, for the checksum. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_changes_begin(simdrive_store *store,
                                                                        const simdrive_position *since,
                                                                        simdrive_changes **out);

/* The next one. Works on writing and read-only handles; the latter are refreshed. Batches come when they are complete,
 * but one event at a time.
 *
 *   timeout_ms  how long to wait for one: 0 not at all, UINT32_MAX without limit.
 *
 * END when there was none within that time; call again. END at once when there never will be: a store that cannot
 * change (see simdrive_wait()), or one that was closed since; what its file had is delivered first.
 *
 * COMPACTED, once, after the last event of a file that was compacted away: the next call goes on in the new file.
 * `event->position` is where, when that is known (on the handle that has compacted, and once since the last call):
 * nothing is missed. Otherwise its offset is 0: all that is in the new file follows, since it cannot be told which of
 * it is new; of keys that were deleted meanwhile nothing may be told, so begin with an empty picture.
 *
 * ERROR_CORRUPT when an entry's checksum is wrong: `event` has its key hash and position; the next call passes over it.
 * ERROR_STALE_OFFSET when the links that led there do not any more: others have changed the file; begin anew. On a
 * read-only handle the errors of simdrive_refresh(), when all that was seen before has been delivered; the next call
 * tries again. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_changes_next(simdrive_changes *changes, uint32_t timeout_ms,
                                                                       simdrive_event *event);
SIMDRIVE_API void simdrive_changes_end(simdrive_changes *changes);

/* A version of a key. */
typedef struct simdrive_revision {
    simdrive_operation operation;
    bool live;              /* what a read found when the walk began, if only that it is corrupt */
    bool corrupt;           /* the checksum is wrong: payload.data is NULL */
    bool reclaimed;         /* given back by simdrive_reclaim(): payload.data is NULL */
    simdrive_bytes payload; /* of a PUT; lent until the next call on the same object; size also without data */
    uint64_t offset;        /* the tail behind it: opening with `at_offset` here shows it as the newest */
    uint32_t checksum;
} simdrive_revision;

/* Walks the versions of one key, deletes too, newest first, as far back as no compaction has removed them. Cost: a look
 * at each entry's metadata, for the format has no chain for one key. NOT_FOUND when the key never was there. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_history_begin(simdrive_store *store, const void *key,
                                                                        size_t key_size, simdrive_history **out);
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_history_begin_hash(simdrive_store *store, uint64_t key_hash,
                                                                             simdrive_history **out);
/* END when there are no more. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_history_next(simdrive_history *history,
                                                                       simdrive_revision *revision);
SIMDRIVE_API void simdrive_history_end(simdrive_history *history);

/* How long something took, since the handle was opened. Percentiles are upper bounds, at most 1/16 too high. */
typedef struct simdrive_latency {
    uint64_t count;
    uint64_t total_ns;
    uint64_t p50_ns, p90_ns, p99_ns, p999_ns;
    uint64_t max_ns;
} simdrive_latency;

/* Figures of a handle. Those of the file are as of now, those of work since the handle was opened. */
typedef struct simdrive_statistics {
    size_t struct_size; /* sizeof(simdrive_statistics), set by the caller */

    /* the file: file_size = live + stale + padding + metadata + damaged tail, tombstones' bytes being metadata, and
     * what a damaged chain does not lead to being padding. Bytes of a write under way, or that a read-only handle has
     * not been refreshed to, are in none of them */
    uint64_t file_size;
    uint64_t disk_bytes; /* that the file takes on the disk; less where holes were punched. In memory: 0 */
    uint64_t tail, durable_tail;
    uint64_t entries, stale_entries, tombstones;
    uint64_t live_bytes, stale_bytes, padding_bytes, metadata_bytes, damaged_tail_bytes;

    /* the index; its load is index_keys / index_slots */
    uint64_t index_bytes, index_keys, index_slots;
    uint64_t index_saves;      /* how often it was saved */
    uint64_t index_saved_tail; /* what the saved index covers, as far as this handle knows; 0: there is none */

    /* what is held */
    uint64_t generations; /* files that are open: 1, and one more for each compacted away that is still in use */
    uint64_t held_bytes;  /* size of the files compacted away: given back when the last pin of each goes */
    uint64_t pins;        /* entries, iterators, readers and sessions that hold one of them */

    /* work done through this handle: zeros when it is read-only */
    uint64_t writes, deletes; /* entries and tombstones appended */
    uint64_t bytes_written;   /* to the store, padding and metadata included */
    uint64_t commits;         /* groups of changes that went in together */
    uint64_t batches;         /* calls that were given several changes, and did not fail */
    uint64_t syncs;           /* of the file, failed ones too, but for those of a compaction's new file */
    simdrive_latency commit;  /* of one in 16 calls that write, delete or apply, waiting for other writers included;
                                 those that failed, streams and renames are not timed */
    simdrive_latency sync;    /* of each */

    /* compaction */
    bool compaction_runs;
    uint64_t compaction_done, compaction_total; /* bytes, of the running one */
    uint64_t compactions, compactions_failed;
    simdrive_status compaction_status; /* of the last that ended */
    uint64_t compaction_saved_bytes;   /* by all */
    uint64_t compaction_pause_max_ns;  /* the longest that writers were kept out by one */
    uint64_t reclaimed_bytes;

    /* the opening of the file that is open */
    uint64_t open_ns;
    uint64_t open_entries_walked; /* tombstones too: all of them, or those behind the saved index */
    bool open_from_saved_index;
    simdrive_damage damage;
    uint64_t corrupt_entries;
    uint64_t quarantined_bytes;
    bool read_only, poisoned;

    /* as in simdrive_info */
    bool append_map_wanted, append_map_used;
    simdrive_status append_map_status;
    uint64_t room_ahead_bytes;
} simdrive_statistics;

/* Fills `statistics`, as far as `struct_size` says that the caller knows it. Stops nobody: each figure was right at a
 * moment of the call, and those of the file, with writes, deletes, bytes_written and commits, at one and the same.
 * Nothing is filled when the system cannot tell about the file: ERROR_IO. Cost: a look at the file, some
 * microseconds. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_get_statistics(const simdrive_store *store,
                                                                         simdrive_statistics *statistics);

/* The same in the text format of Prometheus (exposition format 0.0.4): metrics `simdrive_*` with a label `store`. Each
 * member has one, as far as `struct_size` reaches; `commit` and `sync` are summaries. Texts of several stores cannot be
 * put one behind the other as they are: the format wants all samples of a metric side by side.
 *
 *   label     its value, UTF-8 (other bytes become U+FFFD); escaped as the format wants.
 *   buffer    gets at most `capacity` bytes, the NUL included; may be NULL when capacity is 0.
 *   size      the length of the whole text, without the NUL: when that is not below `capacity`, it was cut off.
 *             May be NULL. */
SIMDRIVE_API SIMDRIVE_MUST_CHECK simdrive_status simdrive_format_metrics(const simdrive_statistics *statistics,
                                                                         const char *label, char *buffer,
                                                                         size_t capacity, size_t *size);

#ifdef __cplusplus
}
#endif

#endif /* SIMDRIVE_H */
