/* SPDX-License-Identifier: Apache-2.0
 *
 * memory_os.c — see memory_os.h. A node is a file: its bytes, its name (none once it was removed), and the maps of it.
 * It goes when it has neither a name, nor a descriptor, nor a map.
 */
#include "memory_os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef HAS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { NAME_MAX_BYTES = 128, MAP_ALIGNMENT = 4096, ROOM = 1 << 30, MAP_BEYOND_MAX = 4 << 20 };

typedef struct node node;

typedef struct map {
    uint8_t *base;
    uint64_t size;
    node *file;
    bool is_private;
    struct map *next;
} map;

struct node {
    char name[NAME_MAX_BYTES]; /* "" when it was removed */
    uint8_t *bytes;
    uint64_t size, capacity;
    uint64_t number;
    unsigned open_files;
    const void *locked_by;
    map *maps;
    node *next;
};

/* What a store holds as an sdi_file of this table. */
typedef struct open_file {
    node *file;
    bool writes;
} open_file;

struct memory_os {
    sdi_os table;
    node *nodes;
    uint64_t last_number;
};

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static void *need(void *memory) {
    if (memory == NULL) abort();
    return memory;
}

static memory_os *of_table(const sdi_os *os) {
    return os->context;
}

static node *node_of(sdi_file *file) {
    return ((open_file *)(void *)file)->file;
}

static node *find(const memory_os *memory, const char *name) {
    for (node *at = memory->nodes; at != NULL; at = at->next) {
        if (strcmp(at->name, name) == 0) return at;
    }
    return NULL;
}

static node *make(memory_os *memory, const char *name) {
    node *made = need(calloc(1, sizeof *made));
    if (strlen(name) >= sizeof made->name) abort();
    strcpy(made->name, name);
    made->number = ++memory->last_number;
    made->next = memory->nodes;
    memory->nodes = made;
    return made;
}

static void drop_if_unused(memory_os *memory, node *unused) {
    if (unused->name[0] != '\0' || unused->open_files > 0 || unused->maps != NULL) return;
    node **link = &memory->nodes;
    while (*link != unused) link = &(*link)->next;
    *link = unused->next;
    free(unused->bytes);
    free(unused);
}

static void take_name(memory_os *memory, node *file) {
    file->name[0] = '\0';
    drop_if_unused(memory, file);
}

/* What a map shows of the file follows its length: touching the rest would raise a signal elsewhere. */
static void show_length(const node *file) {
    for (map *at = file->maps; at != NULL; at = at->next) {
        uint64_t there = at->size < file->size ? at->size : file->size;
        if (at->is_private) continue;
        ASAN_UNPOISON_MEMORY_REGION(at->base, there);
        if (there < at->size) ASAN_POISON_MEMORY_REGION(at->base + there, at->size - there);
    }
}

static void resize(node *file, uint64_t size) {
    if (size > file->capacity) {
        file->capacity = size * 2;
        file->bytes = need(realloc(file->bytes, file->capacity));
    }
    uint64_t before = file->size;
    file->size = size;
    show_length(file);
    if (size <= before) return;
    memset(file->bytes + before, 0, size - before);
    for (map *at = file->maps; at != NULL; at = at->next) {
        uint64_t end = at->size < size ? at->size : size;
        if (end > before && !at->is_private) memset(at->base + before, 0, end - before);
    }
}

static void write_bytes(node *file, uint64_t offset, const void *data, uint64_t size) {
    if (size == 0) return;
    if (offset + size > file->size) resize(file, offset + size);
    memcpy(file->bytes + offset, data, size);
    for (map *at = file->maps; at != NULL; at = at->next) {
        if (at->is_private || offset >= at->size) continue;
        uint64_t part = size < at->size - offset ? size : at->size - offset;
        memcpy(at->base + offset, data, part);
    }
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static simdrive_status memory_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode,
                                   sdi_file **out) {
    memory_os *memory = of_table(os);
    node *file = find(memory, path);
    (void)mode;
    *out = NULL;
    sdi_set_os_error(0);
    if (file == NULL && (how == SDI_OPEN_READ || how == SDI_OPEN_WRITE)) return SIMDRIVE_ERROR_NO_SUCH_FILE;
    if (file != NULL && how == SDI_OPEN_CREATE_NEW) return SIMDRIVE_ERROR_EXISTS;
    if (file == NULL) file = make(memory, path);
    open_file *handle = need(calloc(1, sizeof *handle));
    handle->file = file;
    handle->writes = how != SDI_OPEN_READ;
    file->open_files++;
    *out = (sdi_file *)(void *)handle;
    return SIMDRIVE_OK;
}

static void memory_unlock(const sdi_os *os, sdi_file *file) {
    (void)os;
    if (node_of(file)->locked_by == file) node_of(file)->locked_by = NULL;
}

static void memory_close(const sdi_os *os, sdi_file *file) {
    node *closed = node_of(file);
    memory_unlock(os, file);
    closed->open_files--;
    free(file);
    drop_if_unused(of_table(os), closed);
}

static void fill_info(const node *file, sdi_file_info *out) {
    *out = (sdi_file_info){.id = {.device = 1, .number = file->number, .born = file->number},
                           .size = file->size,
                           .mode = 0600,
                           .link_count = file->name[0] != '\0',
                           .disk_bytes = file->size};
}

static simdrive_status memory_info(const sdi_os *os, sdi_file *file, sdi_file_info *out) {
    (void)os;
    fill_info(node_of(file), out);
    return SIMDRIVE_OK;
}

static simdrive_status memory_path_info(const sdi_os *os, const char *path, sdi_file_info *out) {
    const node *file = find(of_table(os), path);
    sdi_set_os_error(0);
    if (file == NULL) return SIMDRIVE_ERROR_NO_SUCH_FILE;
    fill_info(file, out);
    return SIMDRIVE_OK;
}

static simdrive_status memory_lock(const sdi_os *os, sdi_file *file) {
    node *locked = node_of(file);
    (void)os;
    sdi_set_os_error(0);
    if (locked->locked_by != NULL && locked->locked_by != file) return SIMDRIVE_ERROR_LOCKED;
    locked->locked_by = file;
    return SIMDRIVE_OK;
}

static void memory_hint(const sdi_os *os, sdi_file *file) {
    (void)os, (void)file;
}

static simdrive_status memory_succeed(const sdi_os *os, sdi_file *file) {
    (void)os, (void)file;
    return SIMDRIVE_OK;
}

/* --- bytes ------------------------------------------------------------------------------------------------------- */

static simdrive_status memory_read_at(const sdi_os *os, sdi_file *file, uint64_t offset, void *buffer, size_t size) {
    const node *from = node_of(file);
    (void)os;
    sdi_set_os_error(0);
    if (offset > from->size || size > from->size - offset) return SIMDRIVE_ERROR_IO;
    if (size > 0) memcpy(buffer, from->bytes + offset, size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_write_at(const sdi_os *os, sdi_file *file, uint64_t offset, const void *data,
                                       size_t size) {
    (void)os;
    write_bytes(node_of(file), offset, data, size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_write_pieces_at(const sdi_os *os, sdi_file *file, uint64_t offset,
                                              simdrive_bytes *pieces, size_t count) {
    (void)os;
    for (size_t i = 0; i < count; i++) {
        write_bytes(node_of(file), offset, pieces[i].data, pieces[i].size);
        offset += pieces[i].size;
    }
    return SIMDRIVE_OK;
}

static simdrive_status memory_truncate(const sdi_os *os, sdi_file *file, uint64_t size) {
    (void)os;
    resize(node_of(file), size);
    return SIMDRIVE_OK;
}

static simdrive_status memory_punch_hole(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    uint64_t end = node_of(file)->size;
    (void)os;
    if (offset >= end) return SIMDRIVE_OK;
    if (size > end - offset) size = end - offset;
    uint8_t *zeros = need(calloc(1, size));
    write_bytes(node_of(file), offset, zeros, size);
    free(zeros);
    return SIMDRIVE_OK;
}

static simdrive_status memory_set_aside(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size) {
    (void)os, (void)file, (void)offset, (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static simdrive_status memory_next_data(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t *start,
                                        uint64_t *end) {
    (void)os;
    *end = node_of(file)->size;
    *start = offset < *end ? offset : *end;
    return SIMDRIVE_OK;
}

static simdrive_status memory_space(const sdi_os *os, sdi_file *file, uint64_t *available) {
    (void)os, (void)file;
    *available = ROOM;
    return SIMDRIVE_OK;
}

static simdrive_status memory_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                         uint64_t to_offset, uint64_t size, uint64_t *copied) {
    (void)os, (void)from, (void)from_offset, (void)to, (void)to_offset, (void)size;
    *copied = 0;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static simdrive_status memory_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to) {
    (void)os, (void)from, (void)to;
    return SIMDRIVE_OK;
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static simdrive_status memory_resolve(const sdi_os *os, const char *path, char **out) {
    sdi_set_os_error(0);
    *out = NULL;
    if (find(of_table(os), path) == NULL) return SIMDRIVE_ERROR_NO_SUCH_FILE;
    *out = strcpy(need(malloc(strlen(path) + 1)), path);
    return SIMDRIVE_OK;
}

static simdrive_status give_name(const sdi_os *os, const char *from, const char *to, bool replace) {
    memory_os *memory = of_table(os);
    node *file = find(memory, from), *taken = find(memory, to);
    sdi_set_os_error(0);
    if (file == NULL) return SIMDRIVE_ERROR_NO_SUCH_FILE;
    if (file == taken) return SIMDRIVE_OK;
    if (taken != NULL && !replace) return SIMDRIVE_ERROR_EXISTS;
    if (taken != NULL) take_name(memory, taken);
    if (strlen(to) >= sizeof file->name) abort();
    strcpy(file->name, to);
    return SIMDRIVE_OK;
}

static simdrive_status memory_rename(const sdi_os *os, const char *from, const char *to) {
    return give_name(os, from, to, true);
}

static simdrive_status memory_rename_new(const sdi_os *os, const char *from, const char *to) {
    return give_name(os, from, to, false);
}

static simdrive_status memory_unlink(const sdi_os *os, const char *path) {
    node *file = find(of_table(os), path);
    sdi_set_os_error(0);
    if (file == NULL) return SIMDRIVE_ERROR_NO_SUCH_FILE;
    take_name(of_table(os), file);
    return SIMDRIVE_OK;
}

static simdrive_status memory_sync_folder_of(const sdi_os *os, const char *path) {
    (void)os, (void)path;
    return SIMDRIVE_OK;
}

static simdrive_status memory_list_folder_of(const sdi_os *os, const char *path,
                                             bool (*visit)(void *user, const char *name), void *user) {
    (void)path;
    for (const node *at = of_table(os)->nodes; at != NULL; at = at->next) {
        if (at->name[0] != '\0' && !visit(user, at->name)) break;
    }
    return SIMDRIVE_OK;
}

/* --- maps -------------------------------------------------------------------------------------------------------- */

static simdrive_status add_map(node *file, uint64_t size, bool is_private, uint8_t **out) {
    *out = NULL;
    sdi_set_os_error(0);
    map *made = need(malloc(sizeof *made));
    void *base = NULL;
    if (posix_memalign(&base, MAP_ALIGNMENT, size) != 0) abort();
    *made = (map){.base = base, .size = size, .file = file, .is_private = is_private, .next = file->maps};
    uint64_t there = size < file->size ? size : file->size;
    if (there > 0) memcpy(base, file->bytes, there);
    file->maps = made;
    show_length(file);
    *out = base;
    return SIMDRIVE_OK;
}

static simdrive_status memory_map(const sdi_os *os, sdi_file *file, uint64_t size, const uint8_t **out) {
    const open_file *handle = (const open_file *)(const void *)file;
    uint8_t *base;
    (void)os;
    *out = NULL;
    sdi_set_os_error(0);
    if (size > handle->file->size + (handle->writes ? MAP_BEYOND_MAX : 1)) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_status status = add_map(handle->file, size, false, &base);
    *out = base;
    return status;
}

static simdrive_status memory_map_private(const sdi_os *os, sdi_file *file, uint64_t size, uint8_t **out) {
    (void)os;
    return add_map(node_of(file), size, true, out);
}

static simdrive_status memory_map_shared(const sdi_os *os, sdi_file *file, uint64_t offset, uint64_t size,
                                         uint8_t **out) {
    (void)os, (void)file, (void)offset, (void)size;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static simdrive_status memory_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size) {
    (void)os, (void)base, (void)old_size, (void)new_size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static simdrive_status memory_make_present(const sdi_os *os, uint8_t *address, uint64_t size) {
    (void)os, (void)address, (void)size;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static void memory_unmap(const sdi_os *os, const uint8_t *base, uint64_t size) {
    memory_os *memory = of_table(os);
    (void)size;
    if (base == NULL) return;
    for (node *file = memory->nodes; file != NULL; file = file->next) {
        for (map **link = &file->maps; *link != NULL; link = &(*link)->next) {
            map *found = *link;
            if (found->base != base) continue;
            *link = found->next;
            ASAN_UNPOISON_MEMORY_REGION(found->base, found->size);
            free(found->base);
            free(found);
            drop_if_unused(memory, file);
            return;
        }
    }
    abort(); /* no map of ours */
}

static simdrive_status memory_watch_begin(const sdi_os *os, const char *path, sdi_watch **out) {
    (void)os, (void)path;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static void memory_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms) {
    (void)os, (void)watch, (void)timeout_ms;
}

static void memory_watch_end(const sdi_os *os, sdi_watch *watch) {
    (void)os, (void)watch;
}

static void memory_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    (void)os, (void)address, (void)size, (void)advice;
}

/* --- the table, and files behind the store's back ---------------------------------------------------------- */

memory_os *memory_os_create(void) {
    memory_os *memory = need(calloc(1, sizeof *memory));
    memory->table = (sdi_os){.context = memory,
                             .open = memory_open,
                             .close = memory_close,
                             .info = memory_info,
                             .path_info = memory_path_info,
                             .lock = memory_lock,
                             .unlock = memory_unlock,
                             .share_length = memory_hint,
                             .claim_length = memory_hint,
                             .release_length = memory_hint,
                             .share_presence = memory_hint,
                             .claim_presence = memory_succeed,
                             .release_presence = memory_hint,
                             .read_at = memory_read_at,
                             .write_at = memory_write_at,
                             .write_pieces_at = memory_write_pieces_at,
                             .truncate = memory_truncate,
                             .punch_hole = memory_punch_hole,
                             .set_aside = memory_set_aside,
                             .next_data = memory_next_data,
                             .space = memory_space,
                             .sync = memory_succeed,
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
                             .advise = memory_advise};
    return memory;
}

void memory_os_destroy(memory_os *memory) {
    while (memory->nodes != NULL) {
        node *file = memory->nodes;
        if (file->open_files > 0 || file->maps != NULL) abort();
        take_name(memory, file);
    }
    free(memory);
}

const sdi_os *memory_os_table(memory_os *memory) {
    return &memory->table;
}

void memory_os_put(memory_os *memory, const char *name, const void *bytes, size_t size) {
    node *file = find(memory, name);
    if (file == NULL) file = make(memory, name);
    if (file->open_files > 0) abort();
    resize(file, size);
    write_bytes(file, 0, bytes, size);
}

const uint8_t *memory_os_get(const memory_os *memory, const char *name, size_t *size) {
    const node *file = find(memory, name);
    *size = file != NULL ? (size_t)file->size : 0;
    if (file == NULL) return NULL;
    return file->bytes != NULL ? file->bytes : (const uint8_t *)"";
}

void memory_os_remove(memory_os *memory, const char *name) {
    node *file = find(memory, name);
    if (file != NULL) take_name(memory, file);
}

size_t memory_os_count(const memory_os *memory, const char *prefix) {
    size_t count = 0;
    for (const node *at = memory->nodes; at != NULL; at = at->next)
        count += at->name[0] != '\0' && strncmp(at->name, prefix, strlen(prefix)) == 0;
    return count;
}
