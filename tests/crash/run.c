/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c — see run.h. An operation first says what the store will show, then asks the library for it between two marks
 * in the record, and looks at what came of it: its status, what it says is durable, and that no byte before the tail
 * has changed (I5), but for those that reclaiming is for.
 */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest/hash.h"
#include "format/format.h"
#include "store/store.h"

enum { STREAM_BUFFER = 4096, LARGE = 530000, MIDDLE = 20000, BASE_ENTRIES = 9 };

/* What the source of a stream says that gives up. */
static const simdrive_status STREAM_FAILS = SIMDRIVE_ERROR_CANCELLED;

static const char *const POLICY_NAMES[POLICY_COUNT] = {"commit", "none", "interval", "map"};

char fault_message[512];

bool does_not_hold(const char *format, ...) {
    va_list arguments;
    if (fault_message[0]) return false;
    va_start(arguments, format);
    vsnprintf(fault_message, sizeof fault_message, format, arguments);
    va_end(arguments);
    return false;
}

static void *need(void *memory) {
    if (!memory) abort();
    return memory;
}

/* --- specifications ----------------------------------------------------------------------------------------------- */

bool run_spec_parse(const char *text, run_spec *spec) {
    char name[16];
    unsigned long long seed;
    memset(spec, 0, sizeof *spec);
    if (sscanf(text, "%15s %u %12s %llu %u", name, &spec->base, spec->operations, &seed, &spec->fault) != 5)
        return false;
    spec->seed = seed;
    for (unsigned p = 0; p < POLICY_COUNT; p++) {
        if (strcmp(name, POLICY_NAMES[p]) == 0) {
            spec->policy = (policy)p;
            return strspn(spec->operations, ALL_OPERATIONS) == strlen(spec->operations);
        }
    }
    return false;
}

void run_spec_print(const run_spec *spec, char *text, size_t size) {
    snprintf(text, size, "%s %u %s %llu %u", POLICY_NAMES[spec->policy], spec->base, spec->operations,
             (unsigned long long)spec->seed, spec->fault);
}

simdrive_open_options run_options(policy p, bool read_only) {
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = read_only};
    if (read_only) return options;
    if (p == POLICY_COMMIT) options.sync = SIMDRIVE_SYNC_COMMIT;
    if (p == POLICY_INTERVAL) {
        options.sync = SIMDRIVE_SYNC_INTERVAL;
        options.sync_interval_ms = 3600 * 1000; /* syncs come from the operations alone */
    }
    if (p == POLICY_MAP) options.append = SIMDRIVE_APPEND_MAP;
    return options;
}

static size_t key_name(unsigned key, char name[16]) {
    return (size_t)snprintf(name, 16, "key-%u", key);
}

uint64_t key_hash(unsigned key) {
    char name[16];
    size_t size = key_name(key, name);
    return simdrive_hash_key(name, size);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* An operation under way. */
typedef struct worker {
    run *r;
    simdrive_store *store;
    uint64_t random;
    content now; /* what the store will show */
    step *step;
    bool compacted; /* since the last backup */
    uint64_t tail_before;
    unsigned durable_floor; /* a step that closing has made durable */
} worker;

static void fill_like_text(uint64_t *random, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)('a' + random_below(random, 26));
}

/* Small numbers: they look like offsets of this file. */
static void fill_like_numbers(uint64_t *random, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = i % 8 < 2 ? (uint8_t)random_next(random) : 0;
}

static void fill_with_zeros(uint64_t *random, uint8_t *bytes, size_t size) {
    memset(bytes, 0, size);
    bytes[random_below(random, size)] = (uint8_t)(1 + random_below(random, 255));
}

/* The store's own bytes: a store within the store. */
static size_t copy_store(worker *w, uint8_t *bytes, size_t size) {
    const memory_file *file = memory_os_find(w->r->os, STORE_NAME);
    size_t tail = w->store ? (size_t)simdrive_tail(w->store) : 0;
    if (!file || tail == 0 || tail > 4 * size) return 0;
    memcpy(bytes, file->bytes, tail);
    return tail;
}

/* Equal bytes are one value, for nobody can tell them apart. */
static int add_value(run *r, uint8_t *bytes, size_t size) {
    for (unsigned i = 0; i < r->value_count; i++) {
        if (r->values[i].size != size || memcmp(r->values[i].bytes, bytes, size) != 0) continue;
        free(bytes);
        return (int)i;
    }
    if (r->value_count == VALUES_MAX) abort();
    r->values[r->value_count] = (known_value){bytes, size, sdi_hash(bytes, size)};
    return (int)r->value_count++;
}

static int new_value(worker *w, size_t size) {
    uint8_t *bytes = need(malloc(4 * size + 1));
    if (size == 0) size = 1;
    switch (random_below(&w->random, 5)) {
    case 0: fill_like_numbers(&w->random, bytes, size); break;
    case 1: fill_with_zeros(&w->random, bytes, size); break;
    case 2: {
        size_t copied = copy_store(w, bytes, size);
        if (copied > 0) size = copied;
        else fill_like_text(&w->random, bytes, size);
        break;
    }
    case 3: fill_like_text(&w->random, bytes, size); break;
    default:
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)random_next(&w->random);
    }
    if (size == 1 && bytes[0] == 0) bytes[0] = 1;
    return add_value(w->r, bytes, size);
}

/* Sizes of all kinds, but seldom large, for each sector is a choice. Below 8 bytes the first entry of a file cannot be
 * held back (append.c). */
static size_t some_size(worker *w) {
    static const size_t most[] = {40, 200, 600, 600, 1600, 6000};
    size_t limit = most[random_below(&w->random, sizeof most / sizeof *most)];
    return 8 + (size_t)random_below(&w->random, limit);
}

static unsigned some_key(worker *w, bool live) {
    unsigned from = (unsigned)random_below(&w->random, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned key = (from + i) % KEYS;
        if ((w->now.value[key] != NO_VALUE) == live) return key;
    }
    return from;
}

static simdrive_bytes bytes_of(const run *r, int v) {
    return (simdrive_bytes){r->values[v].bytes, r->values[v].size};
}

static const recorded_call *failed_sync(const run *r) {
    for (size_t i = r->os->log_count; i-- > 0;) {
        call_kind kind = r->os->log[i].kind;
        if (kind == CALL_SYNC_FAILED || kind == CALL_SYNC_FOLDER_FAILED) return &r->os->log[i];
    }
    return NULL;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static simdrive_status put(worker *w, unsigned key, size_t size) {
    int v = new_value(w, size);
    w->now.value[key] = v;
    w->step->shows = w->now;
    simdrive_bytes bytes = bytes_of(w->r, v);
    return simdrive_write_hash(w->store, key_hash(key), bytes.data, bytes.size, NULL);
}

static simdrive_status do_write(worker *w) {
    return put(w, some_key(w, false), some_size(w));
}

static simdrive_status do_overwrite(worker *w) {
    return put(w, some_key(w, true), some_size(w));
}

static simdrive_status do_delete(worker *w) {
    unsigned key = some_key(w, true);
    bool was = w->now.value[key] != NO_VALUE;
    w->now.value[key] = NO_VALUE;
    w->step->shows = w->now;
    simdrive_status status = simdrive_delete_hash(w->store, key_hash(key), NULL);
    return status == SIMDRIVE_NOT_FOUND && !was ? SIMDRIVE_OK : status;
}

static simdrive_status apply(worker *w, const size_t *sizes, unsigned count, simdrive_batch_mode mode) {
    simdrive_change changes[4];
    w->step->is_atomic = mode == SIMDRIVE_BATCH_ATOMIC;
    for (unsigned i = 0; i < count; i++) {
        bool is_delete = sizes[i] == 0;
        unsigned key = some_key(w, is_delete || i % 2 == 0);
        w->step->between[w->step->between_count++] = w->now;
        changes[i] = (simdrive_change){.operation = is_delete ? SIMDRIVE_DELETE : SIMDRIVE_PUT,
                                       .key_hash = key_hash(key)};
        w->now.value[key] = is_delete ? NO_VALUE : new_value(w, sizes[i]);
        if (!is_delete) changes[i].payload = bytes_of(w->r, w->now.value[key]);
    }
    w->step->shows = w->now;
    return simdrive_apply(w->store, changes, count, mode, NULL);
}

static simdrive_status do_batch(worker *w) {
    const size_t sizes[] = {some_size(w), some_size(w), 0, some_size(w)};
    return apply(w, sizes, 4, SIMDRIVE_BATCH_ATOMIC);
}

static simdrive_status do_plain_batch(worker *w) {
    const size_t sizes[] = {some_size(w), 0, some_size(w), some_size(w)};
    return apply(w, sizes, 4, SIMDRIVE_BATCH_PLAIN);
}

/* Written in more than one call. */
static simdrive_status do_large_batch(worker *w) {
    const size_t sizes[] = {MIDDLE, LARGE, 40};
    return apply(w, sizes, 3, SIMDRIVE_BATCH_ATOMIC);
}

static simdrive_status do_rename(worker *w) {
    unsigned from = some_key(w, true), to = (from + 1 + (unsigned)random_below(&w->random, KEYS - 1)) % KEYS;
    char old_name[16], new_name[16];
    size_t old_size = key_name(from, old_name), new_size = key_name(to, new_name);
    bool was = w->now.value[from] != NO_VALUE;
    if (was) w->now.value[to] = w->now.value[from];
    w->now.value[from] = NO_VALUE;
    w->step->shows = w->now;
    simdrive_status status = simdrive_rename(w->store, old_name, old_size, new_name, new_size, NULL);
    return status == SIMDRIVE_NOT_FOUND && !was ? SIMDRIVE_OK : status;
}

typedef struct source {
    simdrive_bytes bytes;
    size_t given, fails_at;
} source;

static simdrive_status give(void *user, void *buffer, size_t capacity, size_t *produced) {
    source *from = user;
    size_t size = from->bytes.size - from->given;
    if (size > capacity) size = capacity;
    if (size > 1000) size = 1000;
    if (from->given >= from->fails_at) return STREAM_FAILS;
    memcpy(buffer, (const uint8_t *)from->bytes.data + from->given, size);
    from->given += size;
    *produced = size;
    return SIMDRIVE_OK;
}

static simdrive_status do_stream(worker *w) {
    unsigned key = (unsigned)random_below(&w->random, KEYS);
    int v = new_value(w, 8 + (size_t)random_below(&w->random, 11000));
    source from = {.bytes = bytes_of(w->r, v), .fails_at = SIZE_MAX};
    w->now.value[key] = v;
    w->step->shows = w->now;
    return simdrive_write_stream_hash(w->store, key_hash(key), give, &from, STREAM_BUFFER, NULL);
}

static simdrive_status do_failed_stream(worker *w) {
    unsigned key = (unsigned)random_below(&w->random, KEYS);
    int v = new_value(w, 12000);
    source from = {.bytes = bytes_of(w->r, v), .fails_at = (size_t)random_below(&w->random, 11000)};
    if (from.fails_at > from.bytes.size) from.fails_at = from.bytes.size; /* a copy of the store may be shorter */
    simdrive_status status = simdrive_write_stream_hash(w->store, key_hash(key), give, &from, STREAM_BUFFER, NULL);
    return status == STREAM_FAILS ? SIMDRIVE_OK : status == SIMDRIVE_OK ? SIMDRIVE_END : status;
}

static simdrive_status do_compact(worker *w) {
    uint64_t saved = 0;
    simdrive_status status = simdrive_compact(w->store, NULL, &saved);
    if (saved > 0) w->compacted = true;
    return status;
}

static simdrive_status do_reclaim(worker *w) {
    return simdrive_reclaim(w->store, NULL, NULL);
}

static simdrive_status do_sync(worker *w) {
    return simdrive_sync(w->store, NULL);
}

static simdrive_status do_backup(worker *w) {
    bool is_update = w->step->has_backup;
    simdrive_status status;
    w->step->has_backup = true;
    if (is_update && w->compacted) { /* it may be no earlier state any more: then it stays */
        content old = w->step->backup;
        w->step->backup = w->now;
        status = simdrive_backup_update(w->store, BACKUP_PATH, NULL, NULL);
        if (status != SIMDRIVE_ERROR_STALE_OFFSET) return status;
        w->step->backup = old;
        return SIMDRIVE_OK;
    }
    w->step->backup = w->now;
    w->compacted = false;
    return is_update ? simdrive_backup_update(w->store, BACKUP_PATH, NULL, NULL)
                     : simdrive_backup(w->store, BACKUP_PATH, NULL, NULL);
}

static simdrive_status close_store(worker *w) {
    simdrive_status status = simdrive_close(w->store);
    w->store = NULL;
    if (status == SIMDRIVE_OK && w->r->spec.policy == POLICY_INTERVAL)
        w->durable_floor = (unsigned)(w->step - w->r->steps) - 1;
    return status;
}

static simdrive_status open_store(worker *w, simdrive_saved_index saved_index) {
    simdrive_open_options options = run_options(w->r->spec.policy, false);
    options.saved_index = saved_index;
    return sdi_open_with_os(&w->r->os->table, STORE_PATH, &options, &w->store);
}

static simdrive_status do_reopen(worker *w) {
    simdrive_status status = close_store(w);
    return status == SIMDRIVE_OK ? open_store(w, SIMDRIVE_SAVED_INDEX_AUTO) : status;
}

static simdrive_status do_save_index(worker *w) {
    simdrive_status status = close_store(w);
    if (status == SIMDRIVE_OK) status = open_store(w, SIMDRIVE_SAVED_INDEX_ALWAYS);
    if (status == SIMDRIVE_OK && w->r->spec.policy == POLICY_COMMIT) status = simdrive_sync(w->store, NULL);
    if (status == SIMDRIVE_OK) status = close_store(w);
    return status == SIMDRIVE_OK ? open_store(w, SIMDRIVE_SAVED_INDEX_AUTO) : status;
}

static void note_damaged(run *r, uint64_t offset, const uint8_t *bytes, size_t size) {
    free(r->damaged);
    r->damaged = need(malloc(size));
    memcpy(r->damaged, bytes, size);
    r->damaged_offset = offset;
    r->damaged_size = size;
    r->damaged_from = r->os->log_count;
}

static simdrive_status do_damage(worker *w) {
    uint8_t bytes[900];
    size_t size = 1 + (size_t)random_below(&w->random, sizeof bytes);
    uint64_t tail = simdrive_tail(w->store);
    simdrive_status status = close_store(w);
    if (status != SIMDRIVE_OK) return status;
    memory_file *file = memory_os_find(w->r->os, STORE_NAME);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(random_next(&w->random) | 1);
    if (size > 100) memset(bytes, 0, (size_t)random_below(&w->random, 64));
    /* Nothing can be told from an empty store but zeros. */
    if (tail == 0) memset(bytes, 0, size);
    memory_os_damage(w->r->os, file, file->size, bytes, size);
    if (tail > 0) note_damaged(w->r, tail, bytes, size);
    status = open_store(w, SIMDRIVE_SAVED_INDEX_AUTO);
    return status == SIMDRIVE_OK ? do_write(w) : status;
}

/* Behind the tail stands what another file has left there: a whole entry, but for the padding that its link asks for,
 * which would lie in the last entry's metadata. It is no entry of this file. */
static simdrive_status do_leave_entry(worker *w) {
    enum { PAYLOAD = 100 };
    uint8_t bytes[SIMDRIVE_ALIGNMENT + PAYLOAD + SDI_METADATA_SIZE] = {0};
    uint64_t tail = simdrive_tail(w->store), prev = tail;
    if (tail == 0) return do_write(w);
    simdrive_status status = close_store(w);
    if (status != SIMDRIVE_OK) return status;
    memory_file *file = memory_os_find(w->r->os, STORE_NAME);
    do {
        prev--;
    } while (file->bytes[prev] == 0 || sdi_payload_start(prev) == prev);
    uint64_t start = sdi_payload_start(prev);
    size_t pad = start > tail ? (size_t)(start - tail) : 0, size = pad + PAYLOAD;
    for (size_t i = pad; i < size; i++) bytes[i] = (uint8_t)random_next(&w->random);
    uint32_t crc = start < tail ? sdi_crc(SDI_CRC32C, 0, file->bytes + start, (size_t)(tail - start)) : 0;
    crc = sdi_crc(SDI_CRC32C, crc, bytes + pad, PAYLOAD);
    sdi_encode_metadata(bytes + size, key_hash(0), prev, crc);
    size += SDI_METADATA_SIZE;
    memory_os_damage(w->r->os, file, file->size, bytes, size);
    note_damaged(w->r, tail, bytes, size);
    status = open_store(w, SIMDRIVE_SAVED_INDEX_AUTO);
    return status == SIMDRIVE_OK ? do_write(w) : status;
}

/* A live payload whose damage is neither that of the last entry nor of the first, which mean something else. */
static bool find_payload(worker *w, unsigned *key, uint64_t *offset) {
    simdrive_metadata metadata;
    char name[16];
    for (*key = 0; *key < KEYS; ++*key) {
        size_t size = key_name(*key, name);
        if (simdrive_read_metadata(w->store, name, size, &metadata) != SIMDRIVE_OK) continue;
        if (metadata.prev_offset == 0 || metadata.end + SDI_METADATA_SIZE == simdrive_tail(w->store)) continue;
        *offset = metadata.start;
        return true;
    }
    return false;
}

static void flip_bit_beneath(worker *w, uint64_t offset) {
    memory_file *file = memory_os_find(w->r->os, STORE_NAME);
    const uint8_t flipped = file->bytes[offset] ^ 4;
    memory_os_damage(w->r->os, file, offset, &flipped, 1);
}

static simdrive_status flip_bit(worker *w, uint64_t offset) {
    simdrive_status status = close_store(w);
    if (status != SIMDRIVE_OK) return status;
    flip_bit_beneath(w, offset);
    return open_store(w, SIMDRIVE_SAVED_INDEX_AUTO);
}

/* A payload rots, first beneath the open store, then so that opening finds it: compaction must not give it a good
 * checksum, nor reading give it out. Then it is as it was. */
static simdrive_status do_rot(worker *w) {
    unsigned key;
    uint64_t offset, gain = 0;
    if (!find_payload(w, &key, &offset)) return SIMDRIVE_OK;
    w->step->between[0] = w->now;
    w->step->between[0].value[key] = BAD_VALUE;
    w->step->between_count = 1;
    simdrive_status status = simdrive_estimate_compaction(w->store, &gain);
    if (status != SIMDRIVE_OK) return status;
    for (unsigned found = 0; found < 2 && status == SIMDRIVE_OK; found++) {
        if (found) status = flip_bit(w, offset);
        else flip_bit_beneath(w, offset);
        if (status == SIMDRIVE_OK) status = simdrive_compact(w->store, NULL, NULL);
        if (failed_sync(w->r)) return status;
        if (status != (gain > 0 ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK)) return SIMDRIVE_END;
        status = SIMDRIVE_OK;
        if (!found) flip_bit_beneath(w, offset);
    }
    return flip_bit(w, offset);
}

static const struct {
    char letter;
    bool changes_the_past; /* as marks and holes of a reclaim do: I5 does not hold for it */
    simdrive_status (*run)(worker *w);
} OPERATIONS[] = {
    {'w', false, do_write},       {'o', false, do_overwrite},     {'d', false, do_delete},  {'b', false, do_batch},
    {'p', false, do_plain_batch}, {'B', false, do_large_batch},   {'m', false, do_rename},  {'s', false, do_stream},
    {'f', false, do_failed_stream}, {'c', false, do_compact},     {'i', false, do_save_index},
    {'r', true, do_reclaim},      {'k', false, do_backup},        {'g', false, do_damage},
    {'e', false, do_leave_entry}, {'y', false, do_sync},
    {'x', false, do_reopen},      {'z', true, do_rot},
};
enum { OPERATION_COUNT = sizeof OPERATIONS / sizeof *OPERATIONS };
const char ALL_OPERATIONS[] = "wodbpBmsfcirkgeyxz";

/* --- what came of it ---------------------------------------------------------------------------------------------- */

/* I5: from call `from` on, nothing below `tail` of the file that was the store has changed. */
static bool past_is_unchanged(const run *r, size_t from, unsigned file, uint64_t tail) {
    for (size_t i = from; i < r->os->log_count; i++) {
        const recorded_call *call = &r->os->log[i];
        if (call->file != file) continue;
        if (((call->kind == CALL_WRITE || call->kind == CALL_STORE) && call->offset < tail) ||
            (call->kind == CALL_TRUNCATE && call->size < tail))
            return does_not_hold("I5: call %zu changes bytes below the tail %llu", i, (unsigned long long)tail);
    }
    return true;
}

static simdrive_info info_of(const simdrive_store *store) {
    simdrive_info info = {.struct_size = sizeof info};
    if (simdrive_get_info(store, &info) != SIMDRIVE_OK) abort();
    return info;
}

static unsigned durable_step(const worker *w, unsigned number) {
    simdrive_info info = info_of(w->store);
    unsigned before = w->r->steps[number - 1].durable;
    if (w->r->spec.policy == POLICY_COMMIT) return number;
    if (info.durable_tail > 0 && info.durable_tail >= info.tail) return number;
    return before > w->durable_floor ? before : w->durable_floor;
}

/* --- a sync that fails -------------------------------------------------------------------------------------------- */

/* On an index nobody depends. It was made under a temporary name, and may have none by now. */
static bool may_go_unnoticed(const run *r, const recorded_call *failed) {
    for (size_t i = 0; failed->kind == CALL_SYNC_FAILED && i < r->os->log_count; i++) {
        const recorded_call *call = &r->os->log[i];
        if (call->kind == CALL_CREATE && call->file == failed->file) return strstr(call->name, ".index-") != NULL;
    }
    return false;
}

/* The folder is that of a backup, or of bytes set aside: the call tells it, and the handle has lost nothing. */
static bool is_folder_of_another(char letter) {
    return letter == 'k' || letter == 'g' || letter == 'e';
}

/* The handle after that: refuses to write, when it was its own file or name, and tells no more durable than before. */
static bool check_after_failure(worker *w, char letter, const recorded_call *failed) {
    const memory_file *store_file = memory_os_find(w->r->os, STORE_NAME);
    simdrive_info info = info_of(w->store);
    bool folder = failed->kind == CALL_SYNC_FOLDER_FAILED;
    bool own = folder ? !is_folder_of_another(letter) : store_file == &w->r->os->files[failed->file];
    if (own && !info.poisoned) return does_not_hold("a sync failed, and the handle is not poisoned");
    if (letter != 'c' && info.durable_tail > w->tail_before)
        return does_not_hold("a sync failed, and a durable tail of %llu is told, above the %llu that were acknowledged",
                             (unsigned long long)info.durable_tail, (unsigned long long)w->tail_before);
    if (!info.poisoned) return true;
    simdrive_status status = simdrive_write_hash(w->store, key_hash(0), "refused", 7, NULL);
    if (status != SIMDRIVE_ERROR_POISONED)
        return does_not_hold("a write to a poisoned handle gave %s", simdrive_status_name(status));
    uint64_t told = 0;
    status = simdrive_sync(w->store, &told);
    if (status != SIMDRIVE_ERROR_POISONED || told != info.durable_tail)
        return does_not_hold("a sync of a poisoned handle gave %s", simdrive_status_name(status));
    return true;
}

static bool is_not_repeated(const run *r, size_t failed_at) {
    const recorded_call *failed = &r->os->log[failed_at];
    for (size_t i = failed_at + 1; i < r->os->log_count; i++) {
        const recorded_call *call = &r->os->log[i];
        if (failed->kind == CALL_SYNC_FAILED ? call->kind == CALL_SYNC && call->file == failed->file
                                             : call->kind == CALL_SYNC_FOLDER)
            return does_not_hold("call %zu repeats the sync that failed in call %zu", i, failed_at);
    }
    return true;
}

static bool end_after_failure(worker *w, char letter, const recorded_call *failed) {
    size_t failed_at = (size_t)(failed - w->r->os->log); /* the record may move when it grows */
    recorded_call copy = *failed;
    bool holds = !w->store || check_after_failure(w, letter, &copy);
    if (w->store) {
        simdrive_status ignored = simdrive_close(w->store);
        (void)ignored;
        w->store = NULL;
    }
    if (copy.kind == CALL_SYNC_FOLDER_FAILED && is_folder_of_another(letter)) return holds;
    return holds && is_not_repeated(w->r, failed_at);
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

/* Whether the run goes on. `*holds` is false when something did not do what it must. */
static bool run_operation(worker *w, unsigned number, unsigned which, bool *holds) {
    run *r = w->r;
    char letter = OPERATIONS[which].letter;
    memory_file *file = memory_os_find(r->os, STORE_NAME);
    size_t from = r->os->log_count;
    unsigned place = memory_os_place(r->os, file);
    w->step = &r->steps[number];
    *w->step = r->steps[number - 1];
    w->step->between_count = 0;
    w->step->is_atomic = false;
    w->tail_before = simdrive_tail(w->store);
    memory_os_mark(r->os, MARK_BEGUN | number);
    simdrive_status status = OPERATIONS[which].run(w);
    const recorded_call *failed = failed_sync(r);
    *holds = OPERATIONS[which].changes_the_past || past_is_unchanged(r, from, place, w->tail_before);
    if (failed && (status != SIMDRIVE_OK || !may_go_unnoticed(r, failed))) {
        if (status == SIMDRIVE_OK) return *holds = does_not_hold("%c: a failed sync went unnoticed", letter);
        *holds = end_after_failure(w, letter, failed) && *holds;
        return false;
    }
    if (status != SIMDRIVE_OK)
        return *holds = does_not_hold("%c: operation %u gave %s", letter, number, simdrive_status_name(status));
    memory_os_mark(r->os, MARK_DONE | number);
    w->step->durable = durable_step(w, number);
    r->step_count = number;
    return *holds;
}

static unsigned operation_of(char letter) {
    unsigned i = 0;
    while (i < OPERATION_COUNT && OPERATIONS[i].letter != letter) i++;
    if (i == OPERATION_COUNT) abort();
    return i;
}

/* Closing is a step of its own, which changes nothing. */
static bool run_close(worker *w, unsigned number) {
    run *r = w->r;
    w->step = &r->steps[number];
    *w->step = r->steps[number - 1];
    w->step->between_count = 0;
    w->step->is_atomic = false;
    w->tail_before = simdrive_tail(w->store);
    memory_os_mark(r->os, MARK_BEGUN | number);
    simdrive_status status = close_store(w);
    const recorded_call *failed = failed_sync(r);
    if (failed && status != SIMDRIVE_OK) return true;
    if (failed && !may_go_unnoticed(r, failed)) return does_not_hold("closing: a failed sync went unnoticed");
    if (status != SIMDRIVE_OK) return does_not_hold("closing gave %s", simdrive_status_name(status));
    memory_os_mark(r->os, MARK_DONE | number);
    if (w->durable_floor > w->step->durable) w->step->durable = number;
    r->step_count = number;
    return true;
}

static bool run_operations(worker *w) {
    run *r = w->r;
    unsigned count = (unsigned)strlen(r->spec.operations);
    bool holds = true;
    simdrive_status status = open_store(w, SIMDRIVE_SAVED_INDEX_AUTO);
    if (status != SIMDRIVE_OK && failed_sync(r)) return true;
    if (status != SIMDRIVE_OK) return does_not_hold("opening gave %s", simdrive_status_name(status));
    for (unsigned i = 0; i < count && holds; i++) {
        if (!run_operation(w, i + 1, operation_of(r->spec.operations[i]), &holds)) break;
    }
    if (w->store && holds) holds = run_close(w, count + 1);
    if (w->store) holds = simdrive_close(w->store) == SIMDRIVE_OK && holds;
    return holds;
}

/* Entries of all kinds, among them large ones that were replaced, for there is something to reclaim and to compact. */
static void make_base(worker *w) {
    static const struct {
        unsigned key;
        size_t size;
    } entries[BASE_ENTRIES] = {{0, 30}, {1, 13000}, {2, 44}, {3, 9500}, {1, 500}, {4, 1}, {3, 44}, {5, 1000}, {6, 200}};
    simdrive_open_options options = run_options(POLICY_COMMIT, false);
    step unused = {0};
    bool done = sdi_open_with_os(&w->r->os->table, STORE_PATH, &options, &w->store) == SIMDRIVE_OK;
    w->step = &unused;
    for (unsigned i = 0; i < BASE_ENTRIES && done; i++) done = put(w, entries[i].key, entries[i].size) == SIMDRIVE_OK;
    w->now.value[6] = NO_VALUE;
    if (!done || simdrive_delete_hash(w->store, key_hash(6), NULL) != SIMDRIVE_OK ||
        simdrive_close(w->store) != SIMDRIVE_OK)
        abort();
    w->store = NULL;
}

void copy_files(const memory_os *from, memory_os *to) {
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        const memory_file *file = &from->files[i];
        if (!file->bytes || !file->name[0]) continue;
        memory_file *copy = memory_os_put(to, i, file->name, file->number, file->born);
        copy->size = file->size;
        copy->used = file->used < file->size ? file->used : file->size;
        memcpy(copy->bytes, file->bytes, copy->used);
    }
}

static bool record(worker *w) {
    run *r = w->r;
    copy_files(r->os, r->before);
    r->os->fail_sync = r->spec.fault;
    memory_os_record(r->os, true);
    bool holds = run_operations(w);
    memory_os_record(r->os, false);
    return holds;
}

static void begin(run *r, const run_spec *spec) {
    memset(r, 0, sizeof *r);
    r->spec = *spec;
    r->os = memory_os_create();
    r->before = memory_os_create();
}

bool run_begin(run *r, const run_spec *spec) {
    begin(r, spec);
    worker w = {.r = r, .random = spec->seed * UINT64_C(0xD1342543DE82EF95) + 1};
    for (unsigned i = 0; i < KEYS; i++) w.now.value[i] = NO_VALUE;
    if (spec->base > 0) make_base(&w);
    r->steps[0].shows = w.now;
    return record(&w);
}

bool run_begin_first_write(run *r, const run *parent, memory_os *left, const content *shows) {
    run_spec spec = {.policy = parent->spec.policy, .operations = "w", .seed = parent->spec.seed ^ 0x5EED};
    begin(r, &spec);
    worker w = {.r = r, .random = spec.seed, .now = *shows};
    memcpy(r->values, parent->values, sizeof r->values);
    r->value_count = r->own_values = parent->value_count;
    r->after_crash = true;
    r->steps[0].shows = *shows;
    copy_files(left, r->os);
    return record(&w);
}

void run_end(run *r) {
    for (unsigned i = r->own_values; i < r->value_count; i++) free(r->values[i].bytes);
    free(r->damaged);
    memory_os_destroy(r->os);
    memory_os_destroy(r->before);
}
