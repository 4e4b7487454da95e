/* SPDX-License-Identifier: Apache-2.0
 *
 * memory_os.c — see memory_os.h. Each call that changes something goes the same way: what was stored through maps is
 * recorded first (notice_stores), then the call itself; so the record has the order of both.
 */
#include "memory_os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, PRIVATE_MAPS = 64 };

/* What the store holds as an sdi_file. */
typedef struct open_file {
    memory_file *file;
    bool has_lock;
} open_file;

/* Private maps are copies; the others are the file's own memory and need no end. */
static void *private_maps[PRIVATE_MAPS];

static void *need(void *memory) {
    if (!memory) {
        fputs("memory_os: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static memory_os *os_of(const sdi_os *table) {
    return table->context;
}

static memory_file *file_of(sdi_file *file) {
    return ((open_file *)(void *)file)->file;
}

static simdrive_status fail(simdrive_status status, int number) {
    sdi_set_os_error(number);
    return status;
}

static const char *name_in(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void set_name(char *to, const char *name) {
    if (strlen(name) >= MEMORY_NAME) abort();
    memset(to, 0, MEMORY_NAME);
    memcpy(to, name, strlen(name));
}

/* --- the memory of files, which is used again --------------------------------------------------------------------- */

static uint8_t *spare[4 * MEMORY_FILES];
static size_t spare_count;

static uint8_t *take_bytes(void) {
    if (spare_count > 0) return spare[--spare_count];
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *bytes = mmap(NULL, MEMORY_FILE_MAX, PROT_READ | PROT_WRITE, flags, -1, 0);
    return need(bytes == MAP_FAILED ? NULL : bytes);
}

static void give_bytes(uint8_t *bytes, size_t used) {
    memset(bytes, 0, used);
    if (spare_count < sizeof spare / sizeof *spare)
        spare[spare_count++] = bytes;
    else
        munmap(bytes, MEMORY_FILE_MAX);
}

static void drop_file(memory_file *file) {
    /* Bytes stored through a map are not in `used`. */
    if (file->shadow && file->used < file->size) file->used = file->size;
    if (file->bytes) give_bytes(file->bytes, file->used);
    free(file->shadow);
    memset(file, 0, sizeof *file);
}

/* --- recording ---------------------------------------------------------------------------------------------------- */

static recorded_call *append(memory_os *os, call_kind kind, const memory_file *file) {
    if (os->log_count == os->log_capacity) {
        os->log_capacity = os->log_capacity ? 2 * os->log_capacity : 64;
        os->log = need(realloc(os->log, os->log_capacity * sizeof *os->log));
    }
    recorded_call *call = &os->log[os->log_count++];
    memset(call, 0, sizeof *call);
    call->kind = kind;
    if (file) call->file = memory_os_place(os, file);
    return call;
}

static void append_bytes(memory_os *os, call_kind kind, memory_file *file, uint64_t offset, uint64_t size) {
    recorded_call *call = append(os, kind, file);
    call->offset = offset;
    call->size = size;
    call->data = need(malloc(size ? (size_t)size : 1));
    memcpy(call->data, file->bytes + offset, (size_t)size);
    if (file->shadow) memcpy(file->shadow + offset, file->bytes + offset, (size_t)size);
}

static void notice_stores_in(memory_os *os, memory_file *file) {
    size_t from = 0, to = file->size;
    while (from + PAGE <= to && memcmp(file->bytes + from, file->shadow + from, PAGE) == 0) from += PAGE;
    while (from < to && file->bytes[from] == file->shadow[from]) from++;
    while (to >= from + PAGE && memcmp(file->bytes + to - PAGE, file->shadow + to - PAGE, PAGE) == 0) to -= PAGE;
    while (to > from && file->bytes[to - 1] == file->shadow[to - 1]) to--;
    if (from == to) return;
    if (to > file->used) file->used = to;
    append_bytes(os, CALL_STORE, file, from, to - from);
}

static void notice_stores(memory_os *os) {
    for (unsigned i = 0; os->recording && i < MEMORY_FILES; i++) {
        if (os->files[i].shadow) notice_stores_in(os, &os->files[i]);
    }
}

static void begin_change(memory_os *os) {
    os->changes++;
    notice_stores(os);
}

static void record_name(memory_os *os, call_kind kind, const memory_file *file, const char *name, const char *to_name) {
    if (!os->recording) return;
    recorded_call *call = append(os, kind, file);
    set_name(call->name, name);
    if (to_name) set_name(call->to_name, to_name);
}

/* Whether the sync that begins now is the one that fails. */
static bool sync_fails(memory_os *os) {
    return os->recording && ++os->syncs == os->fail_sync;
}

/* --- the table: files --------------------------------------------------------------------------------------------- */

static memory_file *create_file(memory_os *os, const char *name) {
    unsigned place = 0;
    while (place < MEMORY_FILES && os->files[place].bytes) place++;
    if (place == MEMORY_FILES) return NULL;
    os->last_number++;
    memory_file *file = memory_os_put(os, place, name, os->last_number, os->last_number * 1000);
    begin_change(os);
    if (os->recording) {
        recorded_call *call = append(os, CALL_CREATE, file);
        set_name(call->name, name);
        call->offset = file->number;
        call->size = file->born;
    }
    return file;
}

static simdrive_status memory_open(const sdi_os *table, const char *path, sdi_open_mode how, uint32_t mode,
                                   sdi_file **out) {
    memory_os *os = os_of(table);
    const char *name = name_in(path);
    memory_file *file = memory_os_find(os, name);
    (void)mode;
    *out = NULL;
    if (file && how == SDI_OPEN_CREATE_NEW) return fail(SIMDRIVE_ERROR_EXISTS, EEXIST);
    if (!file && (how == SDI_OPEN_READ || how == SDI_OPEN_WRITE)) return fail(SIMDRIVE_ERROR_NO_SUCH_FILE, ENOENT);
    if (!file) file = create_file(os, name);
    if (!file) return fail(SIMDRIVE_ERROR_NO_SPACE, ENOSPC);
    open_file *opened = need(calloc(1, sizeof *opened));
    opened->file = file;
    *out = (sdi_file *)(void *)opened;
    return SIMDRIVE_OK;
}

static void memory_unlock(const sdi_os *table, sdi_file *opened) {
    open_file *file = (open_file *)(void *)opened;
    (void)table;
    if (file->has_lock) file->file->locked = false;
    file->has_lock = false;
}

static void memory_close(const sdi_os *table, sdi_file *opened) {
    if (!opened) return;
    memory_unlock(table, opened);
    free(opened);
}

static void give_info(const memory_file *file, sdi_file_info *out) {
    *out = (sdi_file_info){.id = {.device = 1, .number = file->number, .born = file->born},
                           .size = file->size,
                           .mode = 0600,
                           .link_count = file->name[0] != 0,
                           .disk_bytes = file->size};
}

static simdrive_status memory_info(const sdi_os *table, sdi_file *opened, sdi_file_info *out) {
    (void)table;
    give_info(file_of(opened), out);
    return SIMDRIVE_OK;
}

static simdrive_status memory_path_info(const sdi_os *table, const char *path, sdi_file_info *out) {
    memory_file *file = memory_os_find(os_of(table), name_in(path));
    *out = (sdi_file_info){0};
    if (!file) return fail(SIMDRIVE_ERROR_NO_SUCH_FILE, ENOENT);
    give_info(file, out);
    return SIMDRIVE_OK;
}

static simdrive_status memory_lock(const sdi_os *table, sdi_file *opened) {
    open_file *file = (open_file *)(void *)opened;
    (void)table;
    if (file->file->locked) return fail(SIMDRIVE_ERROR_LOCKED, EAGAIN);
    file->file->locked = file->has_lock = true;
    return SIMDRIVE_OK;
}

static void memory_ignore(const sdi_os *table, sdi_file *opened) {
    (void)table;
    (void)opened;
}

static simdrive_status memory_agree(const sdi_os *table, sdi_file *opened) {
    (void)table;
    (void)opened;
    return SIMDRIVE_OK;
}

static simdrive_status memory_read_at(const sdi_os *table, sdi_file *opened, uint64_t offset, void *buffer,
                                      size_t size) {
    memory_file *file = file_of(opened);
    (void)table;
    if (offset > file->size || size > file->size - offset) return fail(SIMDRIVE_ERROR_IO, 0);
    if (size > 0) memcpy(buffer, file->bytes + offset, size);
    return SIMDRIVE_OK;
}

static void reach(memory_file *file, uint64_t end) {
    if (end > file->used) file->used = (size_t)end;
    if (end > file->size) file->size = (size_t)end;
}

static simdrive_status memory_write_pieces_at(const sdi_os *table, sdi_file *opened, uint64_t offset,
                                              simdrive_bytes *pieces, size_t count) {
    memory_os *os = os_of(table);
    memory_file *file = file_of(opened);
    uint64_t size = 0;
    begin_change(os);
    for (size_t i = 0; i < count; i++) size += pieces[i].size;
    if (offset > MEMORY_FILE_MAX || size > MEMORY_FILE_MAX - offset) return fail(SIMDRIVE_ERROR_NO_SPACE, ENOSPC);
    if (size == 0) return SIMDRIVE_OK;
    uint64_t at = offset;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > 0) memcpy(file->bytes + at, pieces[i].data, pieces[i].size);
        at += pieces[i].size;
    }
    reach(file, at);
    if (os->recording) append_bytes(os, CALL_WRITE, file, offset, size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_write_at(const sdi_os *table, sdi_file *opened, uint64_t offset, const void *data,
                                       size_t size) {
    simdrive_bytes piece = {data, size};
    return memory_write_pieces_at(table, opened, offset, &piece, 1);
}

static simdrive_status memory_truncate(const sdi_os *table, sdi_file *opened, uint64_t size) {
    memory_os *os = os_of(table);
    memory_file *file = file_of(opened);
    begin_change(os);
    if (size > MEMORY_FILE_MAX) return fail(SIMDRIVE_ERROR_NO_SPACE, ENOSPC);
    if (file->shadow && file->used < file->size) file->used = file->size; /* stores are not counted */
    if (file->used > size) {
        memset(file->bytes + size, 0, file->used - (size_t)size);
        if (file->shadow) memset(file->shadow + size, 0, file->used - (size_t)size);
        file->used = (size_t)size;
    }
    file->size = (size_t)size;
    if (os->recording) append(os, CALL_TRUNCATE, file)->size = size;
    return SIMDRIVE_OK;
}

static simdrive_status memory_punch_hole(const sdi_os *table, sdi_file *opened, uint64_t offset, uint64_t size) {
    memory_os *os = os_of(table);
    memory_file *file = file_of(opened);
    begin_change(os);
    if (offset > file->size || size > file->size - offset) return fail(SIMDRIVE_ERROR_IO, EINVAL);
    memset(file->bytes + offset, 0, (size_t)size);
    if (os->recording) append_bytes(os, CALL_WRITE, file, offset, size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_set_aside(const sdi_os *table, sdi_file *opened, uint64_t offset, uint64_t size) {
    (void)table;
    (void)opened;
    (void)offset;
    (void)size;
    return SIMDRIVE_OK;
}

static simdrive_status memory_next_data(const sdi_os *table, sdi_file *opened, uint64_t offset, uint64_t *start,
                                        uint64_t *end) {
    memory_file *file = file_of(opened);
    (void)table;
    *end = file->size;
    *start = offset < file->size ? offset : file->size;
    return SIMDRIVE_OK;
}

static simdrive_status memory_space(const sdi_os *table, sdi_file *opened, uint64_t *available) {
    (void)table;
    (void)opened;
    *available = UINT64_C(1) << 40;
    return SIMDRIVE_OK;
}

static simdrive_status memory_sync(const sdi_os *table, sdi_file *opened) {
    memory_os *os = os_of(table);
    begin_change(os);
    bool fails = sync_fails(os);
    if (os->recording) append(os, fails ? CALL_SYNC_FAILED : CALL_SYNC, file_of(opened));
    return fails ? fail(SIMDRIVE_ERROR_IO, EIO) : SIMDRIVE_OK;
}

static simdrive_status memory_copy_range(const sdi_os *table, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                         uint64_t to_offset, uint64_t size, uint64_t *copied) {
    (void)table;
    (void)from;
    (void)from_offset;
    (void)to;
    (void)to_offset;
    (void)size;
    *copied = 0;
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static simdrive_status memory_copy_attributes(const sdi_os *table, sdi_file *from, sdi_file *to) {
    (void)table;
    (void)from;
    (void)to;
    return SIMDRIVE_OK;
}

/* --- the table: names --------------------------------------------------------------------------------------------- */

static simdrive_status memory_resolve(const sdi_os *table, const char *path, char **out) {
    (void)table;
    *out = strdup(path);
    return *out ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
}

static simdrive_status memory_rename(const sdi_os *table, const char *from_path, const char *to_path) {
    memory_os *os = os_of(table);
    const char *from = name_in(from_path), *to = name_in(to_path);
    memory_file *file = memory_os_find(os, from), *replaced = memory_os_find(os, to);
    if (!file) return fail(SIMDRIVE_ERROR_NO_SUCH_FILE, ENOENT);
    begin_change(os);
    if (replaced) replaced->name[0] = 0;
    record_name(os, CALL_RENAME, file, from, to);
    set_name(file->name, to);
    return SIMDRIVE_OK;
}

static simdrive_status memory_rename_new(const sdi_os *table, const char *from, const char *to) {
    if (memory_os_find(os_of(table), name_in(to))) return fail(SIMDRIVE_ERROR_EXISTS, EEXIST);
    return memory_rename(table, from, to);
}

static simdrive_status memory_unlink(const sdi_os *table, const char *path) {
    memory_os *os = os_of(table);
    memory_file *file = memory_os_find(os, name_in(path));
    if (!file) return fail(SIMDRIVE_ERROR_NO_SUCH_FILE, ENOENT);
    begin_change(os);
    record_name(os, CALL_UNLINK, file, file->name, NULL);
    file->name[0] = 0;
    return SIMDRIVE_OK;
}

static simdrive_status memory_sync_folder_of(const sdi_os *table, const char *path) {
    memory_os *os = os_of(table);
    (void)path;
    begin_change(os);
    bool fails = sync_fails(os);
    if (os->recording) append(os, fails ? CALL_SYNC_FOLDER_FAILED : CALL_SYNC_FOLDER, NULL);
    return fails ? fail(SIMDRIVE_ERROR_IO, EIO) : SIMDRIVE_OK;
}

static simdrive_status memory_list_folder_of(const sdi_os *table, const char *path,
                                             bool (*visit)(void *user, const char *name), void *user) {
    memory_os *os = os_of(table);
    (void)path;
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        if (os->files[i].bytes && os->files[i].name[0] && !visit(user, os->files[i].name)) break;
    }
    return SIMDRIVE_OK;
}

/* --- the table: maps ---------------------------------------------------------------------------------------------- */

static simdrive_status memory_map(const sdi_os *table, sdi_file *opened, uint64_t size, const uint8_t **out) {
    (void)table;
    (void)size;
    *out = file_of(opened)->bytes;
    return SIMDRIVE_OK;
}

static simdrive_status memory_map_grow(const sdi_os *table, const uint8_t *base, uint64_t old_size, uint64_t new_size) {
    (void)table;
    (void)base;
    (void)old_size;
    (void)new_size;
    return SIMDRIVE_OK;
}

static simdrive_status memory_map_private(const sdi_os *table, sdi_file *opened, uint64_t size, uint8_t **out) {
    unsigned slot = 0;
    (void)table;
    *out = NULL;
    while (slot < PRIVATE_MAPS && private_maps[slot]) slot++;
    if (slot == PRIVATE_MAPS) return SIMDRIVE_ERROR_NO_MEMORY;
    *out = private_maps[slot] = need(aligned_alloc(PAGE, ((size_t)size + PAGE - 1) / PAGE * PAGE));
    memcpy(*out, file_of(opened)->bytes, (size_t)size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_map_shared(const sdi_os *table, sdi_file *opened, uint64_t offset, uint64_t size,
                                         uint8_t **out) {
    memory_file *file = file_of(opened);
    (void)table;
    (void)size;
    if (!file->shadow) {
        file->shadow = need(calloc(1, MEMORY_FILE_MAX));
        memcpy(file->shadow, file->bytes, file->used);
    }
    *out = file->bytes + offset;
    return SIMDRIVE_OK;
}

static simdrive_status memory_make_present(const sdi_os *table, uint8_t *address, uint64_t size) {
    (void)table;
    (void)address;
    (void)size;
    return SIMDRIVE_OK;
}

static void memory_unmap(const sdi_os *table, const uint8_t *base, uint64_t size) {
    (void)table;
    (void)size;
    for (unsigned slot = 0; slot < PRIVATE_MAPS; slot++) {
        if (private_maps[slot] != base) continue;
        free(private_maps[slot]);
        private_maps[slot] = NULL;
        return;
    }
}

static void memory_advise(const sdi_os *table, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)table;
    (void)address;
    (void)size;
    (void)advice;
}

static simdrive_status memory_watch_begin(const sdi_os *table, const char *path, sdi_watch **out) {
    (void)table;
    (void)path;
    *out = NULL;
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static void memory_watch_wait(const sdi_os *table, sdi_watch *watch, uint32_t timeout_ms) {
    (void)table;
    (void)watch;
    (void)timeout_ms;
}

static void memory_watch_end(const sdi_os *table, sdi_watch *watch) {
    (void)table;
    (void)watch;
}

/* --- the explorer's side ------------------------------------------------------------------------------------------ */

memory_os *memory_os_create(void) {
    memory_os *os = need(calloc(1, sizeof *os));
    os->table = (sdi_os){
        .context = os,
        .open = memory_open,
        .close = memory_close,
        .info = memory_info,
        .path_info = memory_path_info,
        .lock = memory_lock,
        .unlock = memory_unlock,
        .share_length = memory_ignore,
        .claim_length = memory_ignore,
        .release_length = memory_ignore,
        .share_presence = memory_ignore,
        .claim_presence = memory_agree,
        .release_presence = memory_ignore,
        .read_at = memory_read_at,
        .write_at = memory_write_at,
        .write_pieces_at = memory_write_pieces_at,
        .truncate = memory_truncate,
        .punch_hole = memory_punch_hole,
        .set_aside = memory_set_aside,
        .next_data = memory_next_data,
        .space = memory_space,
        .sync = memory_sync,
        .copy_range = memory_copy_range,
        .copy_attributes = memory_copy_attributes,
        .resolve = memory_resolve,
        .rename = memory_rename,
        .rename_new = memory_rename_new,
        .unlink = memory_unlink,
        .sync_folder_of = memory_sync_folder_of,
        .list_folder_of = memory_list_folder_of,
        .map = memory_map,
        .map_grow = memory_map_grow,
        .unmap = memory_unmap,
        .map_private = memory_map_private,
        .map_shared = memory_map_shared,
        .make_present = memory_make_present,
        .watch_begin = memory_watch_begin,
        .watch_wait = memory_watch_wait,
        .watch_end = memory_watch_end,
        .advise = memory_advise,
    };
    return os;
}

static void clear_log(memory_os *os) {
    for (size_t i = 0; i < os->log_count; i++) free(os->log[i].data);
    os->log_count = 0;
}

void memory_os_clear(memory_os *os) {
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        if (os->files[i].bytes) drop_file(&os->files[i]);
    }
}

void memory_os_destroy(memory_os *os) {
    memory_os_clear(os);
    clear_log(os);
    free(os->log);
    free(os);
}

unsigned memory_os_place(const memory_os *os, const memory_file *file) {
    return (unsigned)(file - os->files);
}

memory_file *memory_os_find(memory_os *os, const char *name) {
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        if (os->files[i].bytes && strcmp(os->files[i].name, name) == 0) return &os->files[i];
    }
    return NULL;
}

memory_file *memory_os_put(memory_os *os, unsigned place, const char *name, uint64_t number, uint64_t born) {
    memory_file *file = &os->files[place];
    if (file->bytes) abort();
    set_name(file->name, name);
    file->bytes = take_bytes();
    file->number = number;
    file->born = born;
    if (number > os->last_number) os->last_number = number;
    return file;
}

void memory_os_record(memory_os *os, bool on) {
    if (on) {
        clear_log(os);
        os->syncs = 0;
    } else {
        notice_stores(os);
    }
    os->recording = on;
}

void memory_os_mark(memory_os *os, unsigned mark) {
    notice_stores(os);
    append(os, CALL_MARK, NULL)->mark = mark;
}

void memory_os_damage(memory_os *os, memory_file *file, uint64_t offset, const uint8_t *bytes, size_t size) {
    notice_stores(os);
    memcpy(file->bytes + offset, bytes, size);
    reach(file, offset + size);
    if (!os->recording) return;
    append_bytes(os, CALL_WRITE, file, offset, size);
    append(os, CALL_SYNC, file);
}
