/* SPDX-License-Identifier: Apache-2.0
 *
 * states.c — see states.h. For each file there are its bytes on the medium, its bytes in the cache, and for each
 * sector between the two the versions it had in the cache since.
 */
#include "states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "digest/hash.h"

enum { SIZES = 200, NAMES = 32, VERSIONS_MAX = 200 };

/* A sector as it was in the cache. `cut` is the number of the size answer by which it was last cut off as a whole
 * before that, 0 when it was not: cut off, it reads as zeros, and its old bytes are gone for good, as soon as that size
 * or a later one is on the medium, and no sooner. */
typedef struct version {
    uint8_t bytes[SECTOR];
    unsigned cut;
} version;

/* Versions of a sector since the last sync; oldest first. The first `stuck` of them a sync did not get rid of. */
typedef struct sector {
    version **versions;
    unsigned count, stuck;
} sector;

typedef struct file_history {
    bool exists;
    uint64_t number, born;
    uint8_t *durable, *cache;
    size_t capacity; /* of each, zeros behind their ends */
    size_t used;     /* both are zero from here on */
    size_t durable_size, cache_size;
    size_t sizes[SIZES]; /* since; the last is `cache_size` */
    unsigned size_count, sizes_stuck;
    sector *sectors; /* capacity / SECTOR */
    uint32_t *dirty; /* sectors that have versions */
    size_t dirty_count, dirty_capacity;
} file_history;

typedef struct name_change {
    call_kind kind;
    unsigned file;
    char name[MEMORY_NAME], to_name[MEMORY_NAME];
} name_change;

typedef struct directory {
    char names[MEMORY_FILES][MEMORY_NAME]; /* of file number i; "": none */
} directory;

typedef enum choice_kind { CHOICE_SECTOR, CHOICE_SIZE, CHOICE_NAME } choice_kind;

typedef struct choice {
    choice_kind kind;
    unsigned file;
    uint32_t index;
    unsigned answers;
} choice;

struct history {
    file_history files[MEMORY_FILES];
    directory durable;
    name_change changes[NAMES];
    unsigned change_count, changes_stuck;
    choice *choices;
    size_t choice_count, choice_capacity;
};

static void *need(void *memory) {
    if (!memory) abort();
    return memory;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void reserve(file_history *file, size_t size) {
    if (size <= file->capacity) return;
    size_t capacity = file->capacity ? file->capacity : (size_t)64 << 10;
    while (capacity < size) capacity *= 2;
    uint8_t **both[] = {&file->durable, &file->cache};
    for (unsigned i = 0; i < 2; i++) {
        *both[i] = need(realloc(*both[i], capacity));
        memset(*both[i] + file->capacity, 0, capacity - file->capacity);
    }
    file->sectors = need(realloc(file->sectors, capacity / SECTOR * sizeof *file->sectors));
    memset(file->sectors + file->capacity / SECTOR, 0,
           (capacity - file->capacity) / SECTOR * sizeof *file->sectors);
    file->capacity = capacity;
}

static const uint8_t *newest(const file_history *file, uint32_t index) {
    const sector *s = &file->sectors[index];
    return s->count > 0 ? s->versions[s->count - 1]->bytes : file->durable + (size_t)index * SECTOR;
}

/* The sector's bytes in the cache become a version, if they are another one. */
static void note_sector(file_history *file, uint32_t index, bool is_cut) {
    sector *s = &file->sectors[index];
    const uint8_t *bytes = file->cache + (size_t)index * SECTOR;
    unsigned cut = is_cut ? file->size_count : s->count > 0 ? s->versions[s->count - 1]->cut : 0;
    if (memcmp(newest(file, index), bytes, SECTOR) == 0) return;
    if (s->count == 0) {
        if (file->dirty_count == file->dirty_capacity) {
            file->dirty_capacity = file->dirty_capacity ? 2 * file->dirty_capacity : 64;
            file->dirty = need(realloc(file->dirty, file->dirty_capacity * sizeof *file->dirty));
        }
        file->dirty[file->dirty_count++] = index;
    }
    if (s->count == VERSIONS_MAX) { /* more answers than fit: the middle one is forgotten */
        free(s->versions[VERSIONS_MAX / 2]);
        memmove(s->versions + VERSIONS_MAX / 2, s->versions + VERSIONS_MAX / 2 + 1,
                (VERSIONS_MAX / 2 - 1) * sizeof *s->versions);
        s->count--;
    }
    s->versions = need(realloc(s->versions, (s->count + 1) * sizeof *s->versions));
    version *v = s->versions[s->count++] = need(malloc(sizeof *v));
    memcpy(v->bytes, bytes, SECTOR);
    v->cut = cut;
}

static void note_size(file_history *file, size_t size) {
    file->cache_size = size;
    size_t before = file->size_count > 0 ? file->sizes[file->size_count - 1] : file->durable_size;
    if (size == before) return;
    if (file->size_count == SIZES) abort();
    file->sizes[file->size_count++] = size;
}

static void write_bytes(file_history *file, uint64_t offset, const uint8_t *data, size_t size) {
    size_t end = (size_t)offset + size;
    reserve(file, (end + SECTOR - 1) / SECTOR * SECTOR);
    memcpy(file->cache + offset, data, size);
    if (end > file->used) file->used = end;
    for (size_t i = (size_t)offset / SECTOR; i * SECTOR < end; i++) note_sector(file, (uint32_t)i, false);
    if (end > file->cache_size) note_size(file, end);
}

static void truncate_file(file_history *file, size_t size) {
    reserve(file, size);
    bool is_shorter = size < file->cache_size;
    note_size(file, size);
    if (!is_shorter || size >= file->used) return;
    memset(file->cache + size, 0, file->used - size);
    for (size_t i = size / SECTOR; i * SECTOR < file->used; i++) note_sector(file, (uint32_t)i, i * SECTOR >= size);
}

static void forget_versions(sector *s) {
    for (unsigned i = 0; i < s->count; i++) free(s->versions[i]);
    free(s->versions);
    memset(s, 0, sizeof *s);
}

/* What an earlier sync has failed to make durable is made so by no later one; what was written since is. */
static void sync_file(file_history *file) {
    bool sizes_stay = file->sizes_stuck == file->size_count && file->size_count > 0;
    size_t kept = 0;
    for (size_t i = 0; i < file->dirty_count; i++) {
        uint32_t index = file->dirty[i];
        sector *s = &file->sectors[index];
        if (s->stuck == s->count) {
            for (unsigned k = 0; k < s->count && !sizes_stay; k++) s->versions[k]->cut = 0;
            file->dirty[kept++] = index;
            continue;
        }
        memcpy(file->durable + (size_t)index * SECTOR, newest(file, index), SECTOR);
        forget_versions(s);
    }
    file->dirty_count = kept;
    if (sizes_stay) return;
    file->durable_size = file->cache_size;
    file->size_count = file->sizes_stuck = 0;
}

static void fail_to_sync(file_history *file) {
    for (size_t i = 0; i < file->dirty_count; i++) {
        sector *s = &file->sectors[file->dirty[i]];
        s->stuck = s->count;
    }
    file->sizes_stuck = file->size_count;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void change_name(directory *names, const name_change *change) {
    char *own = names->names[change->file];
    const char *wanted = change->kind == CALL_RENAME ? change->to_name : change->name;
    if (change->kind == CALL_UNLINK) wanted = "";
    if (change->kind == CALL_UNLINK && strcmp(own, change->name) != 0) return;
    for (unsigned i = 0; wanted[0] && i < MEMORY_FILES; i++) {
        if (strcmp(names->names[i], wanted) == 0) names->names[i][0] = 0;
    }
    memcpy(own, wanted, strlen(wanted) + 1);
}

static void note_name(history *h, const recorded_call *call) {
    if (h->change_count == NAMES) abort();
    name_change *change = &h->changes[h->change_count++];
    change->kind = call->kind;
    change->file = call->file;
    memcpy(change->name, call->name, MEMORY_NAME);
    memcpy(change->to_name, call->to_name, MEMORY_NAME);
}

static void sync_folder(history *h) {
    if (h->changes_stuck == h->change_count) return;
    for (unsigned i = 0; i < h->change_count; i++) change_name(&h->durable, &h->changes[i]);
    h->change_count = h->changes_stuck = 0;
}

/* --- going on ----------------------------------------------------------------------------------------------------- */

static file_history *new_file(history *h, unsigned place, uint64_t number, uint64_t born) {
    file_history *file = &h->files[place];
    file->exists = true;
    file->number = number;
    file->born = born;
    reserve(file, SECTOR);
    return file;
}

history *history_begin(const memory_os *os) {
    history *h = need(calloc(1, sizeof *h));
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        const memory_file *from = &os->files[i];
        if (!from->bytes) continue;
        file_history *file = new_file(h, i, from->number, from->born);
        size_t used = file->used = from->used < from->size ? from->used : from->size;
        reserve(file, (from->size + SECTOR - 1) / SECTOR * SECTOR);
        memcpy(file->durable, from->bytes, used);
        memcpy(file->cache, from->bytes, used);
        file->durable_size = file->cache_size = from->size;
        memcpy(h->durable.names[i], from->name, MEMORY_NAME);
    }
    return h;
}

void history_end(history *h) {
    if (!h) return;
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        file_history *file = &h->files[i];
        for (size_t k = 0; k < file->dirty_count; k++) forget_versions(&file->sectors[file->dirty[k]]);
        free(file->durable);
        free(file->cache);
        free(file->sectors);
        free(file->dirty);
    }
    free(h->choices);
    free(h);
}

void history_apply(history *h, const recorded_call *call) {
    file_history *file = &h->files[call->file];
    switch (call->kind) {
    case CALL_CREATE:
        new_file(h, call->file, call->offset, call->size);
        note_name(h, call);
        break;
    case CALL_WRITE:
    case CALL_STORE: write_bytes(file, call->offset, call->data, (size_t)call->size); break;
    case CALL_TRUNCATE: truncate_file(file, (size_t)call->size); break;
    case CALL_SYNC: sync_file(file); break;
    case CALL_SYNC_FAILED: fail_to_sync(file); break;
    case CALL_RENAME:
    case CALL_UNLINK: note_name(h, call); break;
    case CALL_SYNC_FOLDER: sync_folder(h); break;
    case CALL_SYNC_FOLDER_FAILED: h->changes_stuck = h->change_count; break;
    case CALL_MARK: break;
    }
}

/* --- choices ------------------------------------------------------------------------------------------------------ */

static void add_choice(history *h, choice_kind kind, unsigned file, uint32_t index, unsigned answers) {
    if (h->choice_count == h->choice_capacity) {
        h->choice_capacity = h->choice_capacity ? 2 * h->choice_capacity : 64;
        h->choices = need(realloc(h->choices, h->choice_capacity * sizeof *h->choices));
    }
    h->choices[h->choice_count++] = (choice){kind, file, index, answers};
}

size_t history_choices(history *h) {
    h->choice_count = 0;
    for (unsigned f = 0; f < MEMORY_FILES; f++) {
        const file_history *file = &h->files[f];
        if (!file->exists) continue;
        for (size_t i = 0; i < file->dirty_count; i++)
            add_choice(h, CHOICE_SECTOR, f, file->dirty[i], 1 + file->sectors[file->dirty[i]].count);
        if (file->size_count > 0) add_choice(h, CHOICE_SIZE, f, 0, 1 + file->size_count);
    }
    for (unsigned i = 0; i < h->change_count; i++) add_choice(h, CHOICE_NAME, 0, i, 2);
    return h->choice_count;
}

unsigned history_answers(const history *h, size_t i) {
    return h->choices[i].answers;
}

bool history_is_sector(const history *h, size_t i) {
    return h->choices[i].kind == CHOICE_SECTOR;
}

void history_print_choice(const history *h, size_t i) {
    const choice *c = &h->choices[i];
    if (c->kind == CHOICE_SECTOR)
        printf("choice %zu: file %u, sector at %zu", i, c->file, (size_t)c->index * SECTOR);
    else if (c->kind == CHOICE_SIZE)
        printf("choice %zu: size of file %u", i, c->file);
    else
        printf("choice %zu: name %s %s", i, h->changes[c->index].name, h->changes[c->index].to_name);
}

/* --- building ----------------------------------------------------------------------------------------------------- */

/* How a state was chosen, as far as one file is concerned: the digest of a saved index, whose bytes are random. */
typedef struct chosen {
    uint64_t of_file[MEMORY_FILES];
} chosen;

static void put_file(const file_history *from, bool cached, memory_file *to) {
    to->size = cached ? from->cache_size : from->durable_size;
    to->used = to->size < from->used ? to->size : from->used;
    memcpy(to->bytes, cached ? from->cache : from->durable, to->used);
}

/* The answer as near to the wanted one as the size on the medium permits. */
static unsigned possible_answer(const sector *s, unsigned wanted, unsigned size_answer) {
    unsigned first = 0, last = s->count;
    while (last > 0 && s->versions[last - 1]->cut > size_answer) last--;
    for (unsigned i = 0; i < last; i++) {
        unsigned before = i > 0 ? s->versions[i - 1]->cut : 0;
        if (s->versions[i]->cut != before) first = i + 1;
    }
    return wanted < first ? first : wanted > last ? last : wanted;
}

static void put_sector(const file_history *from, uint32_t index, unsigned wanted, unsigned size_answer,
                       memory_file *to) {
    const sector *s = &from->sectors[index];
    unsigned answer = possible_answer(s, wanted, size_answer);
    size_t at = (size_t)index * SECTOR;
    if (answer == 0) return;
    memcpy(to->bytes + at, s->versions[answer - 1]->bytes, SECTOR);
    if (at + SECTOR > to->used) to->used = at + SECTOR;
}

static void put_torn(const recorded_call *torn, size_t size, memory_os *os) {
    memory_file *file = &os->files[torn->file];
    size_t end = (size_t)torn->offset + size;
    if (size == 0) return;
    memcpy(file->bytes + torn->offset, torn->data, size);
    if (end > file->used) file->used = end;
    if (end > file->size) file->size = end;
}

static uint64_t mix(uint64_t a, uint64_t b) {
    return (a ^ b) * UINT64_C(0x9E3779B97F4A7C15) + (a >> 29);
}

static uint64_t digest_name(const char *name) {
    size_t length = strlen(name), digits = 0;
    while (digits < length && strchr("0123456789abcdef", name[length - 1 - digits])) digits++;
    return sdi_hash(name, digits == 16 ? length - digits : length);
}

static uint64_t digest_file(const memory_file *file, uint64_t how) {
    size_t size = file->used < file->size ? file->used : file->size;
    while (size >= 8 && sdi_load64(file->bytes + size - 8) == 0) size -= 8;
    while (size > 0 && file->bytes[size - 1] == 0) size--;
    uint64_t bytes = strstr(file->name, ".index") ? how : sdi_hash(file->bytes, size);
    return mix(mix(digest_name(file->name), file->size), bytes);
}

/* Files without a name go; behind the end there are zeros. */
static uint64_t complete(memory_os *os, const chosen *how) {
    uint64_t digest = 0;
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        memory_file *file = &os->files[i];
        if (!file->bytes) continue;
        if (file->used > file->size) {
            memset(file->bytes + file->size, 0, file->used - file->size);
            file->used = file->size;
        }
        if (file->name[0]) digest += digest_file(file, how->of_file[i]);
    }
    return digest;
}

uint64_t history_build(history *h, const uint8_t *answers, const recorded_call *torn, size_t torn_size, memory_os *os) {
    directory names = h->durable;
    chosen how = {{0}};
    for (unsigned i = 0; i < h->change_count && !answers; i++) change_name(&names, &h->changes[i]);
    for (size_t i = 0; answers && i < h->choice_count; i++) {
        const choice *c = &h->choices[i];
        if (c->kind == CHOICE_NAME && answers[i]) change_name(&names, &h->changes[c->index]);
    }
    for (unsigned i = 0; i < MEMORY_FILES; i++) {
        const file_history *file = &h->files[i];
        if (!file->exists || !names.names[i][0]) continue;
        put_file(file, !answers, memory_os_put(os, i, names.names[i], file->number, file->born));
        how.of_file[i] = file->cache_size;
    }
    unsigned size_answers[MEMORY_FILES] = {0};
    for (size_t i = 0; answers && i < h->choice_count; i++) {
        const choice *c = &h->choices[i];
        if (c->kind != CHOICE_SIZE || !os->files[c->file].bytes) continue;
        const file_history *file = &h->files[c->file];
        os->files[c->file].size = answers[i] == 0 ? file->durable_size : file->sizes[answers[i] - 1];
        size_answers[c->file] = answers[i];
    }
    for (size_t i = 0; answers && i < h->choice_count; i++) {
        const choice *c = &h->choices[i];
        if (c->kind == CHOICE_NAME || !os->files[c->file].bytes) continue;
        if (c->kind == CHOICE_SECTOR)
            put_sector(&h->files[c->file], c->index, answers[i], size_answers[c->file], &os->files[c->file]);
        how.of_file[c->file] = mix(how.of_file[c->file], (uint64_t)i << 8 | (answers[i] + 1u));
    }
    if (torn && os->files[torn->file].bytes) {
        put_torn(torn, torn_size, os);
        how.of_file[torn->file] = mix(how.of_file[torn->file], torn->offset + torn_size);
    }
    return complete(os, &how);
}
