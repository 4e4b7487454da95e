/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_os.c — see fault_os.h. Each member of the table goes the same way: begin() counts, calls the hook and asks
 * the plans for a verdict; the native call is made as far as the verdict lets it; what changed is logged.
 */
#include "fault_os.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAN_MAX = 8, PAGE = 4096 };

/* What the store holds as an sdi_file of this table. */
typedef struct fault_file {
    sdi_file *native;
    char *path;
    uint64_t number; /* in the log of that round */
    uint64_t round;  /* 0 when nothing was recorded yet */
} fault_file;

typedef struct known_file {
    sdi_file_id id;
    uint64_t number;
} known_file;

typedef struct armed_plan {
    sdi_fault_plan plan;
    uint64_t seen; /* calls that matched since it was armed */
} armed_plan;

struct sdi_fault_os {
    sdi_os table;
    const sdi_os *native;
    sdi_fault_hook hook;
    void *hook_user;

    sdi_mutex mutex; /* guards all below; held through a change while recording, so that the log has their order */
    uint64_t counts[SDI_FAULT_KIND_COUNT];
    armed_plan plans[PLAN_MAX];
    size_t plan_count;
    uint64_t fired;
    bool recording;
    uint64_t round; /* how many logs were begun */
    sdi_fault_op *log;
    size_t log_count;
    size_t log_capacity;
    known_file *known;
    size_t known_count;
    uint64_t last_number;
};

/* What the plans decided about a call. */
typedef struct verdict {
    bool fails;
    simdrive_status status;
    int os_error;
    uint64_t effect;
} verdict;

static const struct {
    const char *name;
    bool can_fail;
    bool changes;
} kinds[SDI_FAULT_KIND_COUNT] = {
    [SDI_FAULT_OPEN] = {"open", true, false},
    [SDI_FAULT_INFO] = {"info", true, false},
    [SDI_FAULT_PATH_INFO] = {"path_info", true, false},
    [SDI_FAULT_LOCK] = {"lock", true, false},
    [SDI_FAULT_READ_AT] = {"read_at", true, false},
    [SDI_FAULT_WRITE_AT] = {"write_at", true, true},
    [SDI_FAULT_WRITE_PIECES_AT] = {"write_pieces_at", true, true},
    [SDI_FAULT_TRUNCATE] = {"truncate", true, true},
    [SDI_FAULT_PUNCH_HOLE] = {"punch_hole", true, true},
    [SDI_FAULT_SET_ASIDE] = {"set_aside", true, false},
    [SDI_FAULT_NEXT_DATA] = {"next_data", true, false},
    [SDI_FAULT_SYNC] = {"sync", true, true},
    [SDI_FAULT_COPY_RANGE] = {"copy_range", true, true},
    [SDI_FAULT_COPY_ATTRIBUTES] = {"copy_attributes", true, true},
    [SDI_FAULT_RESOLVE] = {"resolve", true, false},
    [SDI_FAULT_RENAME] = {"rename", true, true},
    [SDI_FAULT_RENAME_NEW] = {"rename_new", true, true},
    [SDI_FAULT_UNLINK] = {"unlink", true, true},
    [SDI_FAULT_SYNC_FOLDER_OF] = {"sync_folder_of", true, true},
    [SDI_FAULT_LIST_FOLDER_OF] = {"list_folder_of", true, false},
    [SDI_FAULT_MAP] = {"map", true, false},
    [SDI_FAULT_MAKE_PRESENT] = {"make_present", true, false},
    [SDI_FAULT_WATCH_BEGIN] = {"watch_begin", true, false},
    [SDI_FAULT_CLOSE] = {"close", false, false},
    [SDI_FAULT_UNMAP] = {"unmap", false, false},
    [SDI_FAULT_ADVISE] = {"advise", false, false},
};

/* --- memory, which a test has ---------------------------------------------------------------------------------- */

static void *need(void *memory) {
    if (memory == NULL) {
        fputs("fault_os: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(need(malloc(size)), text, size);
}

static uint8_t *allocate_bytes(uint64_t size) {
    assert(size <= SIZE_MAX);
    return need(malloc(size > 0 ? (size_t)size : 1));
}

/* --- counting and failing -------------------------------------------------------------------------------------- */

static bool matches(sdi_fault_kind wanted, sdi_fault_kind kind) {
    if (wanted == SDI_FAULT_ANY) return kinds[kind].can_fail;
    if (wanted == SDI_FAULT_ANY_CHANGE) return kinds[kind].changes;
    return wanted == kind;
}

static verdict judge(sdi_fault_os *faults, sdi_fault_kind kind) {
    verdict result = {0};
    for (size_t i = 0; i < faults->plan_count; i++) {
        armed_plan *armed = &faults->plans[i];
        if (!kinds[kind].can_fail || !matches(armed->plan.kind, kind)) continue;
        armed->seen++;
        bool due = armed->plan.for_ever ? armed->seen >= armed->plan.nth : armed->seen == armed->plan.nth;
        if (!due || result.fails) continue;
        result = (verdict){true, armed->plan.status, armed->plan.os_error, armed->plan.effect};
        faults->fired++;
    }
    return result;
}

static verdict begin(sdi_fault_os *faults, sdi_fault_kind kind, const char *path) {
    if (faults->hook != NULL) faults->hook(faults->hook_user, kind, path);
    sdi_mutex_lock(&faults->mutex);
    faults->counts[kind]++;
    verdict result = judge(faults, kind);
    sdi_mutex_unlock(&faults->mutex);
    return result;
}

static simdrive_status fail(verdict with) {
    sdi_set_os_error(with.os_error);
    return with.status;
}

static sdi_fault_os *faults_of(const sdi_os *os) {
    return os->context;
}

static fault_file *file_of(sdi_file *file) {
    return (fault_file *)(void *)file;
}

/* --- recording ------------------------------------------------------------------------------------------------- */

static void clear_log(sdi_fault_os *faults) {
    for (size_t i = 0; i < faults->log_count; i++) {
        free(faults->log[i].path);
        free(faults->log[i].to_path);
        free(faults->log[i].data);
    }
    faults->round++;
    faults->log_count = 0;
    faults->known_count = 0;
    faults->last_number = 0;
}

static void append(sdi_fault_os *faults, sdi_fault_op op) {
    if (faults->log_count == faults->log_capacity) {
        faults->log_capacity = faults->log_capacity > 0 ? faults->log_capacity * 2 : 64;
        faults->log = need(realloc(faults->log, faults->log_capacity * sizeof *faults->log));
    }
    faults->log[faults->log_count++] = op;
}

static void log_name(sdi_fault_os *faults, sdi_fault_op_kind kind, const char *path, const char *to_path) {
    if (!faults->recording) return;
    sdi_fault_op op = {.kind = kind, .path = copy_text(path)};
    if (to_path != NULL) op.to_path = copy_text(to_path);
    append(faults, op);
}

static known_file *find_known(sdi_fault_os *faults, sdi_file_id id) {
    for (size_t i = 0; i < faults->known_count; i++) {
        sdi_file_id other = faults->known[i].id;
        if (other.device == id.device && other.number == id.number) return &faults->known[i];
    }
    return NULL;
}

static uint64_t learn(sdi_fault_os *faults, sdi_file_id id) {
    known_file *known = find_known(faults, id); /* a new file may have the system's number of a removed one */
    if (known == NULL) {
        faults->known = need(realloc(faults->known, (faults->known_count + 1) * sizeof *faults->known));
        known = &faults->known[faults->known_count++];
        known->id = id;
    }
    known->number = ++faults->last_number;
    return known->number;
}

static uint8_t *read_back(sdi_fault_os *faults, fault_file *file, uint64_t offset, uint64_t size) {
    uint8_t *data = allocate_bytes(size);
    simdrive_status status = faults->native->read_at(faults->native, file->native, offset, data, (size_t)size);
    if (status != SIMDRIVE_OK) {
        fputs("fault_os: cannot read what was just written\n", stderr);
        abort();
    }
    return data;
}

/* Gives the file its number in the log, and logs where it comes from. */
static void identify(sdi_fault_os *faults, fault_file *file, bool created) {
    if (!faults->recording || file->round == faults->round) return;
    file->round = faults->round;
    sdi_file_info info;
    if (faults->native->info(faults->native, file->native, &info) != SIMDRIVE_OK) abort();
    known_file *known = created ? NULL : find_known(faults, info.id);
    if (known != NULL) {
        file->number = known->number;
        return;
    }
    file->number = learn(faults, info.id);
    sdi_fault_op op = {.kind = SDI_OP_CREATE, .file = file->number, .path = copy_text(file->path)};
    if (!created) {
        op.kind = SDI_OP_ATTACH;
        op.size = info.size;
        op.data = read_back(faults, file, 0, info.size);
    }
    append(faults, op);
}

static void log_bytes(sdi_fault_os *faults, fault_file *file, uint64_t offset, uint64_t size) {
    if (!faults->recording || size == 0) return;
    append(faults, (sdi_fault_op){.kind = SDI_OP_WRITE,
                                  .file = file->number,
                                  .offset = offset,
                                  .size = size,
                                  .data = read_back(faults, file, offset, size)});
}

/* Opened before recording began: it is seen now, before it changes. */
static void begin_change(sdi_fault_os *faults, fault_file *file) {
    sdi_mutex_lock(&faults->mutex);
    identify(faults, file, false);
}

static void end_change(sdi_fault_os *faults) {
    sdi_mutex_unlock(&faults->mutex);
}

/* --- the table: files ------------------------------------------------------------------------------------------ */

static simdrive_status fault_open(const sdi_os *os, const char *path, sdi_open_mode how, uint32_t mode,
                                  sdi_file **out) {
    sdi_fault_os *faults = faults_of(os);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_OPEN, path);
    if (judged.fails) return fail(judged);

    sdi_mutex_lock(&faults->mutex);
    sdi_file_info before;
    bool missing = faults->recording && (how == SDI_OPEN_CREATE || how == SDI_OPEN_CREATE_NEW) &&
                   faults->native->path_info(faults->native, path, &before) == SIMDRIVE_ERROR_NO_SUCH_FILE;
    sdi_file *native = NULL;
    simdrive_status status = faults->native->open(faults->native, path, how, mode, &native);
    if (status == SIMDRIVE_OK) {
        fault_file *file = need(calloc(1, sizeof *file));
        file->native = native;
        file->path = copy_text(path);
        identify(faults, file, missing);
        *out = (sdi_file *)(void *)file;
    }
    sdi_mutex_unlock(&faults->mutex);
    return status;
}

static void fault_close(const sdi_os *os, sdi_file *opened) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    if (file == NULL) return;
    begin(faults, SDI_FAULT_CLOSE, file->path);
    faults->native->close(faults->native, file->native);
    free(file->path);
    free(file);
}

static simdrive_status fault_info(const sdi_os *os, sdi_file *opened, sdi_file_info *out) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    *out = (sdi_file_info){0};
    verdict judged = begin(faults, SDI_FAULT_INFO, file->path);
    return judged.fails ? fail(judged) : faults->native->info(faults->native, file->native, out);
}

static simdrive_status fault_path_info(const sdi_os *os, const char *path, sdi_file_info *out) {
    sdi_fault_os *faults = faults_of(os);
    *out = (sdi_file_info){0};
    verdict judged = begin(faults, SDI_FAULT_PATH_INFO, path);
    return judged.fails ? fail(judged) : faults->native->path_info(faults->native, path, out);
}

static simdrive_status fault_lock(const sdi_os *os, sdi_file *opened) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_LOCK, file->path);
    return judged.fails ? fail(judged) : faults->native->lock(faults->native, file->native);
}

static void fault_share_length(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->share_length(faults_of(os)->native, file_of(opened)->native);
}

static void fault_claim_length(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->claim_length(faults_of(os)->native, file_of(opened)->native);
}

static void fault_release_length(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->release_length(faults_of(os)->native, file_of(opened)->native);
}

static void fault_share_presence(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->share_presence(faults_of(os)->native, file_of(opened)->native);
}

static simdrive_status fault_claim_presence(const sdi_os *os, sdi_file *opened) {
    return faults_of(os)->native->claim_presence(faults_of(os)->native, file_of(opened)->native);
}

static void fault_release_presence(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->release_presence(faults_of(os)->native, file_of(opened)->native);
}

/* Whoever asks goes on without an answer, so its failure is not simulated. */
static simdrive_status fault_space(const sdi_os *os, sdi_file *opened, uint64_t *available) {
    return faults_of(os)->native->space(faults_of(os)->native, file_of(opened)->native, available);
}

/* Cannot fail, and changes nothing that a crash could leave. */
static void fault_unlock(const sdi_os *os, sdi_file *opened) {
    faults_of(os)->native->unlock(faults_of(os)->native, file_of(opened)->native);
}

static simdrive_status fault_read_at(const sdi_os *os, sdi_file *opened, uint64_t offset, void *buffer, size_t size) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_READ_AT, file->path);
    return judged.fails ? fail(judged) : faults->native->read_at(faults->native, file->native, offset, buffer, size);
}

static uint64_t bytes_let_through(verdict judged, uint64_t size) {
    return judged.fails && judged.effect < size ? judged.effect : size;
}

static simdrive_status fault_write_at(const sdi_os *os, sdi_file *opened, uint64_t offset, const void *data,
                                      size_t size) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_WRITE_AT, file->path);
    size_t part = (size_t)bytes_let_through(judged, size);
    begin_change(faults, file);
    simdrive_status status = faults->native->write_at(faults->native, file->native, offset, data, part);
    if (status == SIMDRIVE_OK) log_bytes(faults, file, offset, part);
    end_change(faults);
    return judged.fails ? fail(judged) : status;
}

/* Cuts the pieces to their first `size` bytes; gives the sum of what is left. */
static uint64_t cut_pieces(simdrive_bytes *pieces, size_t count, uint64_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > size - sum) pieces[i].size = (size_t)(size - sum);
        sum += pieces[i].size;
    }
    return sum;
}

static simdrive_status fault_write_pieces_at(const sdi_os *os, sdi_file *opened, uint64_t offset,
                                             simdrive_bytes *pieces, size_t count) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_WRITE_PIECES_AT, file->path);
    uint64_t part = cut_pieces(pieces, count, bytes_let_through(judged, UINT64_MAX));
    begin_change(faults, file);
    simdrive_status status = faults->native->write_pieces_at(faults->native, file->native, offset, pieces, count);
    if (status == SIMDRIVE_OK) log_bytes(faults, file, offset, part);
    end_change(faults);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_truncate(const sdi_os *os, sdi_file *opened, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_TRUNCATE, file->path);
    if (judged.fails && judged.effect == 0) return fail(judged);
    begin_change(faults, file);
    simdrive_status status = faults->native->truncate(faults->native, file->native, size);
    if (status == SIMDRIVE_OK && faults->recording)
        append(faults, (sdi_fault_op){.kind = SDI_OP_TRUNCATE, .file = file->number, .size = size});
    end_change(faults);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_punch_hole(const sdi_os *os, sdi_file *opened, uint64_t offset, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_PUNCH_HOLE, file->path);
    uint64_t part = bytes_let_through(judged, size);
    if (part < size) part -= part % PAGE; /* no system leaves less */
    begin_change(faults, file);
    simdrive_status status = faults->native->punch_hole(faults->native, file->native, offset, part);
    if (status == SIMDRIVE_OK) log_bytes(faults, file, offset, part);
    end_change(faults);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_set_aside(const sdi_os *os, sdi_file *opened, uint64_t offset, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_SET_ASIDE, file->path);
    return judged.fails ? fail(judged) : faults->native->set_aside(faults->native, file->native, offset, size);
}

static simdrive_status fault_next_data(const sdi_os *os, sdi_file *opened, uint64_t offset, uint64_t *start,
                                       uint64_t *end) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    *start = *end = 0;
    verdict judged = begin(faults, SDI_FAULT_NEXT_DATA, file->path);
    return judged.fails ? fail(judged) : faults->native->next_data(faults->native, file->native, offset, start, end);
}

static simdrive_status fault_sync(const sdi_os *os, sdi_file *opened) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    verdict judged = begin(faults, SDI_FAULT_SYNC, file->path);
    if (judged.fails && judged.effect == 0) return fail(judged);
    begin_change(faults, file);
    simdrive_status status = faults->native->sync(faults->native, file->native);
    if (status == SIMDRIVE_OK && faults->recording)
        append(faults, (sdi_fault_op){.kind = SDI_OP_SYNC, .file = file->number});
    end_change(faults);
    return judged.fails ? fail(judged) : status;
}

/* A hint that changes nothing of what a crash may leave: not counted. */
static void fault_begin_write_back(const sdi_os *os, sdi_file *opened, uint64_t offset, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    faults->native->begin_write_back(faults->native, file_of(opened)->native, offset, size);
}

static simdrive_status fault_copy_range(const sdi_os *os, sdi_file *from, uint64_t from_offset, sdi_file *to,
                                        uint64_t to_offset, uint64_t size, uint64_t *copied) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(to);
    *copied = 0;
    verdict judged = begin(faults, SDI_FAULT_COPY_RANGE, file->path);
    begin_change(faults, file);
    simdrive_status status =
        faults->native->copy_range(faults->native, file_of(from)->native, from_offset, file->native, to_offset,
                                   bytes_let_through(judged, size), copied);
    if (status == SIMDRIVE_OK) log_bytes(faults, file, to_offset, *copied);
    end_change(faults);
    if (!judged.fails) return status;
    *copied = 0;
    return fail(judged);
}

static simdrive_status fault_copy_attributes(const sdi_os *os, sdi_file *from, sdi_file *to) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_COPY_ATTRIBUTES, file_of(to)->path);
    if (judged.fails && judged.effect == 0) return fail(judged);
    simdrive_status status =
        faults->native->copy_attributes(faults->native, file_of(from)->native, file_of(to)->native);
    return judged.fails ? fail(judged) : status;
}

/* --- the table: names ------------------------------------------------------------------------------------------ */

static simdrive_status fault_resolve(const sdi_os *os, const char *path, char **out) {
    sdi_fault_os *faults = faults_of(os);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_RESOLVE, path);
    return judged.fails ? fail(judged) : faults->native->resolve(faults->native, path, out);
}

static simdrive_status fault_rename(const sdi_os *os, const char *from, const char *to) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_RENAME, from);
    if (judged.fails && judged.effect == 0) return fail(judged);
    sdi_mutex_lock(&faults->mutex);
    simdrive_status status = faults->native->rename(faults->native, from, to);
    if (status == SIMDRIVE_OK) log_name(faults, SDI_OP_RENAME, from, to);
    sdi_mutex_unlock(&faults->mutex);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_rename_new(const sdi_os *os, const char *from, const char *to) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_RENAME_NEW, from);
    if (judged.fails && judged.effect == 0) return fail(judged);
    sdi_mutex_lock(&faults->mutex);
    simdrive_status status = faults->native->rename_new(faults->native, from, to);
    if (status == SIMDRIVE_OK) log_name(faults, SDI_OP_RENAME, from, to);
    sdi_mutex_unlock(&faults->mutex);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_unlink(const sdi_os *os, const char *path) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_UNLINK, path);
    if (judged.fails && judged.effect == 0) return fail(judged);
    sdi_mutex_lock(&faults->mutex);
    simdrive_status status = faults->native->unlink(faults->native, path);
    if (status == SIMDRIVE_OK) log_name(faults, SDI_OP_UNLINK, path, NULL);
    sdi_mutex_unlock(&faults->mutex);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_sync_folder_of(const sdi_os *os, const char *path) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_SYNC_FOLDER_OF, path);
    if (judged.fails && judged.effect == 0) return fail(judged);
    sdi_mutex_lock(&faults->mutex);
    simdrive_status status = faults->native->sync_folder_of(faults->native, path);
    if (status == SIMDRIVE_OK) log_name(faults, SDI_OP_SYNC_FOLDER, path, NULL);
    sdi_mutex_unlock(&faults->mutex);
    return judged.fails ? fail(judged) : status;
}

static simdrive_status fault_list_folder_of(const sdi_os *os, const char *path,
                                            bool (*visit)(void *user, const char *name), void *user) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_LIST_FOLDER_OF, path);
    return judged.fails ? fail(judged) : faults->native->list_folder_of(faults->native, path, visit, user);
}

/* --- the table: maps ------------------------------------------------------------------------------------------- */

static simdrive_status fault_map(const sdi_os *os, sdi_file *opened, uint64_t size, const uint8_t **out) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_MAP, file->path);
    return judged.fails ? fail(judged) : faults->native->map(faults->native, file->native, size, out);
}

static simdrive_status fault_map_private(const sdi_os *os, sdi_file *opened, uint64_t size, uint8_t **out) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_MAP, file->path);
    return judged.fails ? fail(judged) : faults->native->map_private(faults->native, file->native, size, out);
}

static simdrive_status fault_map_shared(const sdi_os *os, sdi_file *opened, uint64_t offset, uint64_t size,
                                        uint8_t **out) {
    sdi_fault_os *faults = faults_of(os);
    fault_file *file = file_of(opened);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_MAP, file->path);
    return judged.fails ? fail(judged) : faults->native->map_shared(faults->native, file->native, offset, size, out);
}

static simdrive_status fault_make_present(const sdi_os *os, uint8_t *address, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    verdict judged = begin(faults, SDI_FAULT_MAKE_PRESENT, NULL);
    return judged.fails ? fail(judged) : faults->native->make_present(faults->native, address, size);
}

/* Never: so that tests see the other way, a second map of the same file, each time. */
static simdrive_status fault_map_grow(const sdi_os *os, const uint8_t *base, uint64_t old_size, uint64_t new_size) {
    (void)os;
    (void)base;
    (void)old_size;
    (void)new_size;
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

static void fault_unmap(const sdi_os *os, const uint8_t *base, uint64_t size) {
    sdi_fault_os *faults = faults_of(os);
    begin(faults, SDI_FAULT_UNMAP, NULL);
    faults->native->unmap(faults->native, base, size);
}

static bool fault_advise(const sdi_os *os, const uint8_t *address, uint64_t size, sdi_advice advice) {
    sdi_fault_os *faults = faults_of(os);
    begin(faults, SDI_FAULT_ADVISE, NULL);
    return faults->native->advise(faults->native, address, size, advice);
}

/* --- the table: watches ---------------------------------------------------------------------------------------- */

static simdrive_status fault_watch_begin(const sdi_os *os, const char *path, sdi_watch **out) {
    sdi_fault_os *faults = faults_of(os);
    *out = NULL;
    verdict judged = begin(faults, SDI_FAULT_WATCH_BEGIN, path);
    return judged.fails ? fail(judged) : faults->native->watch_begin(faults->native, path, out);
}

static void fault_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms) {
    faults_of(os)->native->watch_wait(faults_of(os)->native, watch, timeout_ms);
}

static void fault_watch_end(const sdi_os *os, sdi_watch *watch) {
    faults_of(os)->native->watch_end(faults_of(os)->native, watch);
}

/* --- the test's side ------------------------------------------------------------------------------------------- */

sdi_fault_os *sdi_fault_os_create(void) {
    sdi_fault_os *faults = need(calloc(1, sizeof *faults));
    faults->native = sdi_os_native();
    if (sdi_mutex_init(&faults->mutex) != SIMDRIVE_OK) abort();
    faults->table = (sdi_os){
        .context = faults,
        .open = fault_open,
        .close = fault_close,
        .info = fault_info,
        .path_info = fault_path_info,
        .lock = fault_lock,
        .unlock = fault_unlock,
        .share_length = fault_share_length,
        .claim_length = fault_claim_length,
        .release_length = fault_release_length,
        .share_presence = fault_share_presence,
        .claim_presence = fault_claim_presence,
        .release_presence = fault_release_presence,
        .space = fault_space,
        .read_at = fault_read_at,
        .write_at = fault_write_at,
        .write_pieces_at = fault_write_pieces_at,
        .truncate = fault_truncate,
        .punch_hole = fault_punch_hole,
        .set_aside = fault_set_aside,
        .next_data = fault_next_data,
        .sync = fault_sync,
        .begin_write_back = fault_begin_write_back,
        .copy_range = fault_copy_range,
        .copy_attributes = fault_copy_attributes,
        .resolve = fault_resolve,
        .rename = fault_rename,
        .rename_new = fault_rename_new,
        .unlink = fault_unlink,
        .sync_folder_of = fault_sync_folder_of,
        .list_folder_of = fault_list_folder_of,
        .map = fault_map,
        .map_private = fault_map_private,
        .map_shared = fault_map_shared,
        .make_present = fault_make_present,
        .map_grow = fault_map_grow,
        .unmap = fault_unmap,
        .watch_begin = fault_watch_begin,
        .watch_wait = fault_watch_wait,
        .watch_end = fault_watch_end,
        .advise = fault_advise,
    };
    return faults;
}

void sdi_fault_os_destroy(sdi_fault_os *faults) {
    if (faults == NULL) return;
    clear_log(faults);
    free(faults->log);
    free(faults->known);
    sdi_mutex_destroy(&faults->mutex);
    free(faults);
}

const sdi_os *sdi_fault_os_table(sdi_fault_os *faults) {
    return &faults->table;
}

uint64_t sdi_fault_os_count(sdi_fault_os *faults, sdi_fault_kind kind) {
    uint64_t sum = 0;
    sdi_mutex_lock(&faults->mutex);
    for (int i = 0; i < SDI_FAULT_KIND_COUNT; i++)
        if (matches(kind, (sdi_fault_kind)i)) sum += faults->counts[i];
    sdi_mutex_unlock(&faults->mutex);
    return sum;
}

const char *sdi_fault_kind_name(sdi_fault_kind kind) {
    if (kind == SDI_FAULT_ANY) return "any";
    if (kind == SDI_FAULT_ANY_CHANGE) return "any change";
    return kinds[kind].name;
}

void sdi_fault_os_arm(sdi_fault_os *faults, const sdi_fault_plan *plan) {
    assert(plan->nth > 0 && plan->status != SIMDRIVE_OK);
    sdi_mutex_lock(&faults->mutex);
    assert(faults->plan_count < PLAN_MAX);
    faults->plans[faults->plan_count++] = (armed_plan){.plan = *plan};
    sdi_mutex_unlock(&faults->mutex);
}

uint64_t sdi_fault_os_disarm(sdi_fault_os *faults) {
    sdi_mutex_lock(&faults->mutex);
    uint64_t fired = faults->fired;
    faults->fired = 0;
    faults->plan_count = 0;
    sdi_mutex_unlock(&faults->mutex);
    return fired;
}

void sdi_fault_os_set_hook(sdi_fault_os *faults, sdi_fault_hook hook, void *user) {
    faults->hook = hook;
    faults->hook_user = user;
}

void sdi_fault_os_record(sdi_fault_os *faults, bool on) {
    sdi_mutex_lock(&faults->mutex);
    if (on) clear_log(faults);
    faults->recording = on;
    sdi_mutex_unlock(&faults->mutex);
}

void sdi_fault_os_mark(sdi_fault_os *faults, uint64_t mark) {
    sdi_mutex_lock(&faults->mutex);
    if (faults->recording) append(faults, (sdi_fault_op){.kind = SDI_OP_MARK, .mark = mark});
    sdi_mutex_unlock(&faults->mutex);
}

const sdi_fault_op *sdi_fault_os_log(sdi_fault_os *faults, size_t *count) {
    sdi_mutex_lock(&faults->mutex);
    *count = faults->log_count;
    const sdi_fault_op *log = faults->log;
    sdi_mutex_unlock(&faults->mutex);
    return log;
}
