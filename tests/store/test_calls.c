/* SPDX-License-Identifier: Apache-2.0
 *
 * test_calls.c — every call of the system, every allocation and start of a thread fails in turn, in every public
 * function (tests/support/scenarios.c), with each error that makes sense for it, once and for ever; transfers are cut
 * short, calls interrupted.
 *
 * Each scenario runs undisturbed first, while its calls are counted. Then, for each of them and each of its faults, the
 * scene is built anew, that call fails, and these must hold:
 *   F1  the status is the one that the header gives for that error, or the work was done all the same; what is merely
 *       interrupted or cut short does not show
 *   F2  a call that failed has changed nothing: neither the file's bytes nor what the handle shows
 *   F3  the handle goes on, or is poisoned, which only a failed sync or a failed rollback may do; a poisoned one reads,
 *       refuses to write, and never syncs again
 *   F4  another handle, and the store opened anew, show the same
 *   F5  no memory, map, descriptor or temporary file is left over
 *
 * The short form takes one error in turn for each call, the long one (./dev faults) all of them.
 */
#include "support/fault_libc.h"
#include "support/scenarios.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WRAPPED_CALLS

#define FOR_EVER UINT64_MAX

/* How a call may fail, and what the work may say then; OK where it must not show. */
typedef struct call_fault {
    call_kind kind;
    fault_action action;
    int error;
    simdrive_status status;
} call_fault;

#define IO SIMDRIVE_ERROR_IO
#define FULL SIMDRIVE_ERROR_NO_SPACE
#define DENIED SIMDRIVE_ERROR_PERMISSION
#define MEMORY SIMDRIVE_ERROR_NO_MEMORY
#define HIDDEN SIMDRIVE_OK

static const call_fault FAULTS[] = {
    {CALL_MALLOC, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_CALLOC, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_REALLOC, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_ALIGNED_ALLOC, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_STRNDUP, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_MMAP_MEMORY, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_MMAP_FILE, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_MMAP_FILE, FAULT_ERROR, EACCES, DENIED},
    {CALL_MMAP_FILE, FAULT_ERROR, EAGAIN, IO},
    {CALL_MMAP_FILE, FAULT_ERROR, ENODEV, IO},
    {CALL_MREMAP, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_MREMAP, FAULT_ERROR, EFAULT, IO},
    {CALL_MUTEX_INIT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_MUTEX_INIT, FAULT_ERROR, EAGAIN, MEMORY},
    {CALL_COND_INIT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_COND_INIT, FAULT_ERROR, EAGAIN, MEMORY},
    {CALL_CONDATTR_INIT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_ATTR_INIT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_THREAD_CREATE, FAULT_ERROR, EAGAIN, MEMORY},
    {CALL_THREAD_CREATE, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_THREAD_CREATE, FAULT_ERROR, EPERM, DENIED},
    {CALL_OPEN, FAULT_ERROR, EACCES, DENIED},
    {CALL_OPEN, FAULT_ERROR, EMFILE, IO},
    {CALL_OPEN, FAULT_ERROR, ENFILE, IO},
    {CALL_OPEN, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_OPEN, FAULT_ERROR, EROFS, DENIED},
    {CALL_OPEN, FAULT_ERROR, EIO, IO},
    {CALL_OPEN, FAULT_ERROR, ENOSPC, FULL},
    {CALL_OPEN, FAULT_ERROR, EDQUOT, FULL},
    {CALL_OPEN, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_CLOSE, FAULT_ERROR, EIO, HIDDEN},
    {CALL_CLOSE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_STAT, FAULT_ERROR, EACCES, HIDDEN},
    {CALL_FSTAT, FAULT_ERROR, EIO, IO},
    {CALL_FSTAT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_STATX, FAULT_ERROR, EIO, IO},
    {CALL_STATX, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_STATX, FAULT_ERROR, EACCES, DENIED},
    {CALL_FCNTL, FAULT_ERROR, EIO, IO},
    {CALL_LOCK, FAULT_ERROR, EAGAIN, SIMDRIVE_ERROR_LOCKED},
    {CALL_LOCK, FAULT_ERROR, EACCES, SIMDRIVE_ERROR_LOCKED},
    {CALL_LOCK, FAULT_ERROR, ENOLCK, IO},
    {CALL_LOCK, FAULT_ERROR, EINVAL, HIDDEN},
    {CALL_LOCK, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_LOCK_BYTE, FAULT_ERROR, ENOLCK, SIMDRIVE_ERROR_UNSUPPORTED},
    {CALL_LOCK_BYTE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_PREAD, FAULT_ERROR, EIO, IO},
    {CALL_PREAD, FAULT_ERROR, ESTALE, IO},
    {CALL_PREAD, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_PREAD, FAULT_SHORT, 0, HIDDEN},
    {CALL_PREAD, FAULT_SHORT_THEN_ERROR, EIO, IO},
    {CALL_PREAD, FAULT_NOTHING, 0, IO},
    {CALL_PWRITE, FAULT_ERROR, ENOSPC, FULL},
    {CALL_PWRITE, FAULT_ERROR, EDQUOT, FULL},
    {CALL_PWRITE, FAULT_ERROR, EFBIG, FULL},
    {CALL_PWRITE, FAULT_ERROR, EIO, IO},
    {CALL_PWRITE, FAULT_ERROR, EPERM, DENIED},
    {CALL_PWRITE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_PWRITE, FAULT_SHORT, 0, HIDDEN},
    {CALL_PWRITE, FAULT_SHORT_THEN_ERROR, ENOSPC, FULL},
    {CALL_PWRITE, FAULT_SHORT_THEN_ERROR, EIO, IO},
    {CALL_PWRITE, FAULT_NOTHING, 0, IO},
    {CALL_PWRITEV, FAULT_ERROR, ENOSPC, FULL},
    {CALL_PWRITEV, FAULT_ERROR, EDQUOT, FULL},
    {CALL_PWRITEV, FAULT_ERROR, EFBIG, FULL},
    {CALL_PWRITEV, FAULT_ERROR, EIO, IO},
    {CALL_PWRITEV, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_PWRITEV, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_PWRITEV, FAULT_SHORT, 0, HIDDEN},
    {CALL_PWRITEV, FAULT_SHORT_THEN_ERROR, ENOSPC, FULL},
    {CALL_PWRITEV, FAULT_SHORT_THEN_ERROR, EIO, IO},
    {CALL_PWRITEV, FAULT_NOTHING, 0, IO},
    {CALL_FTRUNCATE, FAULT_ERROR, EIO, IO},
    {CALL_FTRUNCATE, FAULT_ERROR, ENOSPC, FULL},
    {CALL_FTRUNCATE, FAULT_ERROR, EPERM, DENIED},
    {CALL_FTRUNCATE, FAULT_ERROR, EROFS, DENIED},
    {CALL_FTRUNCATE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_FALLOCATE, FAULT_ERROR, ENOSPC, FULL},
    {CALL_FALLOCATE, FAULT_ERROR, EIO, IO},
    {CALL_FALLOCATE, FAULT_ERROR, EOPNOTSUPP, SIMDRIVE_ERROR_UNSUPPORTED},
    {CALL_FALLOCATE, FAULT_ERROR, ENOSYS, SIMDRIVE_ERROR_UNSUPPORTED},
    {CALL_FALLOCATE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_FDATASYNC, FAULT_ERROR, EIO, IO},
    {CALL_FDATASYNC, FAULT_ERROR, ENOSPC, FULL},
    {CALL_FDATASYNC, FAULT_ERROR, EDQUOT, FULL},
    {CALL_FDATASYNC, FAULT_ERROR, EROFS, DENIED},
    {CALL_FDATASYNC, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_FSYNC, FAULT_ERROR, EIO, IO},
    {CALL_FSYNC, FAULT_ERROR, ENOSPC, FULL},
    {CALL_FSYNC, FAULT_ERROR, EINVAL, HIDDEN},
    {CALL_FSYNC, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, EXDEV, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, ENOSYS, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, ENOSPC, FULL},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, EIO, IO},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_COPY_FILE_RANGE, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_SHORT, 0, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_NOTHING, 0, HIDDEN},
    {CALL_COPY_FILE_RANGE, FAULT_SHORT_THEN_ERROR, ENOSPC, FULL},
    {CALL_FCHMOD, FAULT_ERROR, EPERM, DENIED},
    {CALL_FCHMOD, FAULT_ERROR, EIO, IO},
    {CALL_FCHOWN, FAULT_ERROR, EPERM, HIDDEN},
    {CALL_FCHOWN, FAULT_ERROR, EIO, IO},
    {CALL_REALPATH, FAULT_ERROR, EACCES, DENIED},
    {CALL_REALPATH, FAULT_ERROR, EIO, IO},
    {CALL_REALPATH, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_RENAME, FAULT_ERROR, EACCES, DENIED},
    {CALL_RENAME, FAULT_ERROR, EIO, IO},
    {CALL_RENAME, FAULT_ERROR, ENOSPC, FULL},
    {CALL_RENAME, FAULT_ERROR, EROFS, DENIED},
    {CALL_RENAME_NEW, FAULT_ERROR, ENOSYS, HIDDEN},
    {CALL_RENAME_NEW, FAULT_ERROR, EINVAL, HIDDEN},
    {CALL_RENAME_NEW, FAULT_ERROR, EIO, IO},
    {CALL_RENAME_NEW, FAULT_ERROR, EEXIST, SIMDRIVE_ERROR_EXISTS},
    {CALL_RENAME_NEW, FAULT_ERROR, ENOSPC, FULL},
    {CALL_LINK, FAULT_ERROR, EIO, IO},
    {CALL_LINK, FAULT_ERROR, EMLINK, IO},
    {CALL_LINK, FAULT_ERROR, EPERM, DENIED},
    {CALL_LINK, FAULT_ERROR, EEXIST, SIMDRIVE_ERROR_EXISTS},
    {CALL_UNLINK, FAULT_ERROR, EACCES, HIDDEN},
    {CALL_UNLINK, FAULT_ERROR, EIO, HIDDEN},
    {CALL_FDOPENDIR, FAULT_ERROR, ENOMEM, HIDDEN},
    {CALL_READDIR, FAULT_ERROR, EIO, HIDDEN},
    {CALL_LSEEK, FAULT_ERROR, EIO, IO},
    {CALL_LSEEK, FAULT_ERROR, EINVAL, HIDDEN},
    {CALL_FSTATVFS, FAULT_ERROR, EIO, HIDDEN},
    {CALL_FSTATVFS, FAULT_ERROR, ENOSYS, HIDDEN},
    {CALL_FSTATVFS, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_FSTATFS, FAULT_ERROR, EIO, HIDDEN},
    {CALL_INOTIFY_INIT, FAULT_ERROR, EMFILE, HIDDEN},
    {CALL_INOTIFY_INIT, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_INOTIFY_ADD, FAULT_ERROR, ENOSPC, HIDDEN},
    {CALL_INOTIFY_ADD, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_POLL, FAULT_ERROR, EINTR, HIDDEN},
    {CALL_POLL, FAULT_ERROR, ENOMEM, HIDDEN},
    {CALL_MADVISE, FAULT_ERROR, ENOMEM, HIDDEN},
    {CALL_MADVISE, FAULT_ERROR, EINVAL, HIDDEN},
    {CALL_MINCORE, FAULT_ERROR, ENOMEM, HIDDEN},
    {CALL_ANY_MEMORY, FAULT_ERROR, ENOMEM, MEMORY},
    {CALL_ANY_FILE, FAULT_ERROR, EIO, IO},
};
enum { FAULT_COUNT = sizeof FAULTS / sizeof FAULTS[0] };

/* --- one round ---------------------------------------------------------------------------------------------------- */

/* What a scenario's store holds before and after, and in between where there are several steps; made once. */
typedef struct outcome {
    const test_scenario *scenario;
    test_image before, between, after, other_after;
} outcome;

typedef struct round_of {
    const outcome *o;
    const fault_plan *plan; /* NULL: nothing fails */
    simdrive_status expected;
    test_scene scene;
    simdrive_status status;
    int os_error;
    uint64_t fired;
    uint64_t tail_before;
} round_of;

static uint64_t combinations, sites, met[CALL_KIND_COUNT];

static bool has(const round_of *r, unsigned trait) {
    return (r->o->scenario->traits & trait) != 0;
}

static bool succeeded(const round_of *r) {
    return r->status == r->o->scenario->success;
}

/* F1. */
static void check_status(const round_of *r) {
    if (r->fired == 0) CHECK_STATUS(r->o->scenario->success, r->status);
    if (succeeded(r)) return;
    /* Aborting a stream is a rollback, whose failure it tells. */
    bool cut_failed = r->plan->kind == CALL_FTRUNCATE || r->plan->kind == CALL_ANY_FILE;
    if (cut_failed && r->status == SIMDRIVE_ERROR_POISONED) return;
    CHECK_STATUS(r->expected, r->status);
    bool told = r->plan->action == FAULT_ERROR && r->plan->kind >= CALL_OPEN && r->plan->times == 1;
    if (told && !has(r, TRAIT_BACKGROUND)) CHECK_U64(r->plan->error, r->os_error);
}

static bool ends_as(const round_of *r, uint64_t tail, const test_image *image) {
    return image->size == tail && (image != &r->o->between || has(r, TRAIT_BACKGROUND));
}

static const test_image *by_tail(const round_of *r, uint64_t tail) {
    if (ends_as(r, tail, &r->o->before)) return &r->o->before;
    if (ends_as(r, tail, &r->o->between)) return &r->o->between;
    CHECK_U64(r->o->after.size, tail);
    return &r->o->after;
}

/* Whether a failure may leave more than what was there. */
static bool may_be_done(const round_of *r) {
    return has(r, TRAIT_HALF | TRAIT_SWAPS | TRAIT_BACKGROUND);
}

static void check_shows(const round_of *r, simdrive_store *store, const test_image *image) {
    CHECK_U64(image->size, simdrive_tail(store));
    if (!has(r, TRAIT_LONG)) test_check_shows(store, image);
}

static bool prefixes(const char *path, const test_image *image) {
    size_t size;
    uint8_t *bytes = test_file_get(path, &size);
    bool same = bytes && size >= image->size && memcmp(bytes, image->bytes, image->size) == 0;
    free(bytes);
    return same;
}

/* The exact bytes; in stores that may have something behind them, the first ones. */
static void check_bytes(const round_of *r, const test_image *image, bool closed) {
    if (has(r, TRAIT_PUNCHES)) return;
    bool longer = has(r, TRAIT_DAMAGED) || (r->scene.options.append == SIMDRIVE_APPEND_MAP && !closed);
    if (longer) CHECK(prefixes(r->scene.path, image));
    else if (image->size > 0) CHECK(test_file_equals(r->scene.path, image->bytes, image->size));
    else CHECK(!test_file_exists(r->scene.path) || test_file_size(r->scene.path) == 0);
}

/* F2, and that the handle can be written to. Returns what the store holds then. */
static void goes_on(round_of *r, simdrive_store *store, test_image *holds) {
    simdrive_status status = simdrive_write(store, "goes on", 7, "value", 5, NULL);
    CHECK_OK(status);
    test_image_put(holds, simdrive_hash_key("goes on", 7), "value", 5);
    if (has(r, TRAIT_BACKGROUND)) {
        CHECK(simdrive_compact_wait(store, UINT32_MAX, NULL) != SIMDRIVE_END);
        if (simdrive_tail(store) != holds->size) test_image_compact(holds);
    }
    check_shows(r, store, holds);
    if (r->scene.reader_handle == NULL) return;
    CHECK_OK(simdrive_refresh(r->scene.reader_handle, NULL));
    check_shows(r, r->scene.reader_handle, holds);
}

/* F3. */
static void check_poisoned(const round_of *r) {
    call_kind kind = r->plan->kind;
    CHECK(kind == CALL_FDATASYNC || kind == CALL_FSYNC || kind == CALL_FTRUNCATE || kind >= CALL_KIND_COUNT ||
          kind == CALL_OPEN || kind == CALL_STRNDUP || r->plan->times > 1);
    fault_libc_begin(NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_write(r->scene.store, "k", 1, "v", 1, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_sync(r->scene.store, NULL));
    CHECK_STATUS(SIMDRIVE_ERROR_POISONED, simdrive_compact(r->scene.store, NULL, NULL));
    fault_libc_end();
    CHECK_U64(0, fault_libc_count(CALL_FDATASYNC) + fault_libc_count(CALL_FSYNC) + fault_libc_count(CALL_PWRITE));
}

/* The handle, after the work. `holds` gets what the store holds at the end, and is freed by the caller. */
static void check_handle(round_of *r, test_image *holds) {
    simdrive_store *store = r->scene.store;
    const test_image *shown = by_tail(r, simdrive_tail(store));
    if (simdrive_tail(store) == r->o->before.size && r->o->before.size == r->o->after.size) shown = &r->o->before;
    bool poisoned = test_info(store).poisoned;
    if (succeeded(r) && !has(r, TRAIT_BACKGROUND)) CHECK(shown->size == r->o->after.size);
    if (!succeeded(r) && !may_be_done(r) && !poisoned) CHECK_U64(r->tail_before, simdrive_tail(store));
    check_shows(r, store, shown);
    if (poisoned) {
        check_poisoned(r);
        simdrive_close(store);
        r->scene.store = store = test_open(r->scene.path);
        shown = by_tail(r, simdrive_tail(store));
        check_shows(r, store, shown);
    } else {
        check_bytes(r, shown, false);
    }
    test_image_clone(shown, holds);
    goes_on(r, store, holds);
}

static void check_read_only(round_of *r, test_image *holds) {
    if (!succeeded(r)) CHECK_U64(r->tail_before, simdrive_tail(r->scene.store));
    CHECK_OK(simdrive_refresh(r->scene.store, NULL));
    check_shows(r, r->scene.store, &r->o->before);
    test_image_clone(&r->o->before, holds);
}

/* The work has left no handle: it did not open one, or it has closed it. */
static void check_file(round_of *r, test_image *holds) {
    bool opens = has(r, TRAIT_OPENS);
    if (opens) check_bytes(r, &r->o->before, true);
    bool taken_back = r->scene.options.must_create && r->plan->times == 1 && r->plan->kind != CALL_LOCK;
    if (opens && taken_back) CHECK(!test_file_exists(r->scene.path));
    simdrive_store *store = test_open(r->scene.path);
    const test_image *shown = by_tail(r, simdrive_tail(store));
    if (opens) CHECK_U64(r->o->before.size, shown->size);
    check_shows(r, store, shown);
    test_image_clone(shown, holds);
    goes_on(r, store, holds);
    CHECK_OK(simdrive_close(store));
}

static void check_other(round_of *r) {
    if (r->scene.other == NULL) return;
    bool poisoned = test_info(r->scene.other).poisoned;
    bool any = has(r, TRAIT_KEEPS) || poisoned;
    uint64_t tail = simdrive_tail(r->scene.other);
    const test_image *with = &r->o->other_after, *without = &r->scene.other_before;
    if (succeeded(r)) CHECK_U64(with->size, tail);
    else CHECK(tail == without->size || (any && tail == with->size));
    test_check_shows(r->scene.other, tail == with->size ? with : without);
    if (!poisoned) CHECK(prefixes(r->scene.other_path, tail == with->size ? with : without));
}

/* A file made by the work is not there, or is whole. */
static void check_made_file(round_of *r) {
    if (!test_file_exists(r->scene.out_path)) {
        bool makes = strstr(r->o->scenario->functions, "backup ") || strcmp(r->o->scenario->functions, "salvage") == 0;
        CHECK(!succeeded(r) || !makes);
        return;
    }
    /* Perhaps it could not be removed either; and a file that somebody else seems to have locked is left to him. */
    if (!succeeded(r) && (r->plan->times > 1 || r->plan->kind == CALL_LOCK)) return;
    simdrive_store *store = test_open_read_only(r->scene.out_path);
    CHECK_OK(simdrive_verify(store, NULL, NULL, NULL, NULL));
    CHECK(simdrive_count(store) >= 7);
    if (succeeded(r)) CHECK_U64(test_info(store).tail, test_file_size(r->scene.out_path));
    CHECK_OK(simdrive_close(store));
}

static void check_folder(const round_of *r) {
    static const char *const prefixes_known[] = {"store.tail-", "store.index"};
    bool removal_may_fail = r->plan && (r->plan->times > 1 || r->plan->kind == CALL_UNLINK);
    if (removal_may_fail) return;
    size_t known = (size_t)test_file_exists(r->scene.path) + test_file_exists(r->scene.other_path) +
                   test_file_exists(r->scene.out_path);
    for (size_t i = 0; i < 2; i++) known += test_folder_count(&r->scene.folder, prefixes_known[i], NULL);
    CHECK_U64(known, test_folder_count(&r->scene.folder, "", NULL));
}

static void check_after(round_of *r) {
    test_image holds = {0};
    check_other(r);
    if (r->scene.store == NULL) check_file(r, &holds);
    else if (has(r, TRAIT_READ_ONLY)) check_read_only(r, &holds);
    else check_handle(r, &holds);
    test_scene_close(&r->scene);
    check_bytes(r, &holds, true);
    if (!has(r, TRAIT_LONG | TRAIT_PUNCHES)) test_check_file(r->scene.path, &holds);
    check_made_file(r);
    check_folder(r);
    test_image_free(&holds);
}

/* F5. */
static void check_live(fault_live before) {
    fault_live after = fault_libc_live();
    CHECK_U64(before.descriptors, after.descriptors);
    CHECK_U64(before.blocks, after.blocks);
    CHECK_U64(before.mapped_bytes, after.mapped_bytes);
}

/* Returns whether the fault happened. */
static bool run_round(const outcome *o, const fault_plan *plan, simdrive_status expected) {
    fault_live live = fault_libc_live();
    round_of r = {.o = o, .plan = plan, .expected = expected};
    test_scene_begin(&r.scene, o->scenario);
    r.tail_before = r.scene.store ? simdrive_tail(r.scene.store) : 0;
    fault_libc_begin(plan);
    r.status = o->scenario->run(&r.scene);
    r.os_error = simdrive_last_os_error();
    r.fired = fault_libc_end();
    for (int kind = 0; kind < CALL_KIND_COUNT; kind++) met[kind] += fault_libc_count((call_kind)kind);
    check_status(&r);
    check_after(&r);
    test_scene_end(&r.scene);
    check_live(live);
    return r.fired > 0;
}

/* --- all rounds of a scenario ------------------------------------------------------------------------------------- */

static void learn(outcome *o, const test_scenario *scenario) {
    test_scene scene;
    *o = (outcome){.scenario = scenario};
    test_scene_begin(&scene, scenario);
    test_image_clone(&scene.before, &o->before);
    test_image_clone(&scene.before, &o->between);
    test_image_clone(&scene.before, &o->after);
    test_image_clone(&scene.other_before, &o->other_after);
    if (scenario->change) scenario->change(&o->after);
    if (scenario->traits & TRAIT_BACKGROUND) test_image_put(&o->between, test_key_hash(7), "new value", 9);
    if (scenario->change_other) scenario->change_other(&o->other_after, &o->before);
    test_scene_end(&scene);
}

static void forget(outcome *o) {
    test_image_free(&o->before);
    test_image_free(&o->between);
    test_image_free(&o->after);
    test_image_free(&o->other_after);
}

static void fail_once_and_for_ever(const outcome *o, const call_fault *fault, uint64_t nth, bool both) {
    uint64_t times[] = {1, fault->error == EINTR ? 3 : FOR_EVER};
    if (fault->kind >= CALL_KIND_COUNT) times[0] = FOR_EVER;
    for (size_t i = 0; i < (both && times[0] == 1 ? 2 : 1); i++) {
        fault_plan plan = {.kind = fault->kind, .nth = nth, .times = times[i], .action = fault->action,
                           .error = fault->error};
        test_context("%s: %s number %llu, action %d, error %d, %s", o->scenario->name, call_kind_name(fault->kind),
                     (unsigned long long)nth, (int)fault->action, fault->error, times[i] == 1 ? "once" : "for ever");
        combinations += run_round(o, &plan, fault->status);
    }
}

/* In the short form one of the kind's faults, another one at each call. */
static void fail_call(const outcome *o, call_kind kind, uint64_t nth, size_t turn) {
    size_t of_kind = 0, seen = 0;
    for (size_t i = 0; i < FAULT_COUNT; i++) of_kind += FAULTS[i].kind == kind;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        if (FAULTS[i].kind != kind) continue;
        bool chosen = seen++ == turn % of_kind;
        if (test_exhaustive() || chosen) fail_once_and_for_ever(o, &FAULTS[i], nth, test_exhaustive() || nth == 1);
    }
}

/* The calls that the scenario makes, with how many of each kind. */
static uint64_t count_calls(const outcome *o, uint64_t counts[CALL_KIND_COUNT + 2]) {
    uint64_t sum = 0;
    const uint8_t *kinds;
    test_context("%s: nothing fails", o->scenario->name);
    run_round(o, NULL, SIMDRIVE_OK); /* what is made once in the life of a process is made here */
    test_scene scene;
    test_scene_begin(&scene, o->scenario);
    fault_libc_begin(NULL);
    CHECK_STATUS(o->scenario->success, o->scenario->run(&scene));
    fault_libc_end();
    size_t length = fault_libc_log(&kinds);
    CHECK(length < FAULT_LOG_MAX);
    for (int kind = 0; kind < CALL_KIND_COUNT; kind++) {
        counts[kind] = fault_libc_count((call_kind)kind);
        sum += counts[kind];
        counts[kind >= CALL_OPEN ? CALL_ANY_FILE : CALL_ANY_MEMORY] += counts[kind];
    }
    test_scene_end(&scene);
    return sum;
}

static void sweep_scenario(size_t index) {
    uint64_t counts[CALL_KIND_COUNT + 2] = {0};
    outcome o;
    learn(&o, &TEST_SCENARIOS[index]);
    uint64_t calls = count_calls(&o, counts);
    sites += calls;
    counts[CALL_LINK] = counts[CALL_RENAME_NEW]; /* which it stands for where that is missing */
    bool is_long = o.scenario->traits & TRAIT_LONG;
    if (o.scenario->traits & TRAIT_SILENT) CHECK_U64(0, calls);
    for (int kind = 0; kind < CALL_KIND_COUNT + 2; kind++) {
        if (is_long && !test_exhaustive() && kind >= CALL_OPEN) continue;
        for (uint64_t nth = 1; nth <= counts[kind]; nth++) fail_call(&o, (call_kind)kind, nth, index + (size_t)nth);
    }
    forget(&o);
}

/* What describes an open file is kept for the next one, for the life of the process: as many as were ever needed at
 * once. More than any scenario needs are made here, so that none is made later. */
static void make_spares(void) {
    enum { SPARES = 12 };
    char name[32], path[TEST_PATH_MAX];
    simdrive_store *stores[SPARES];
    test_folder folder = test_folder_create();
    for (int i = 0; i < SPARES; i++) {
        snprintf(name, sizeof name, "store-%d", i);
        stores[i] = test_open(test_path(&folder, name, path));
    }
    for (int i = 0; i < SPARES; i++) CHECK_OK(simdrive_close(stores[i]));
    test_folder_remove(&folder);
}

static void each_call_of_each_function_may_fail(void **state) {
    (void)state;
    make_spares();
    const char *only = getenv("SIMDRIVE_TEST_SCENARIO");
    for (size_t i = 0; i < TEST_SCENARIO_COUNT; i++)
        if (!only || strcmp(only, TEST_SCENARIOS[i].name) == 0) sweep_scenario(i);
    printf("%zu scenarios, %llu calls in them, %llu combinations of call, error and mode\n", TEST_SCENARIO_COUNT,
           (unsigned long long)sites, (unsigned long long)combinations);
}

/* So that a fault that is listed is one that happens, and the linker has not passed a name by. */
static void every_kind_of_call_was_met(void **state) {
    (void)state;
    if (getenv("SIMDRIVE_TEST_SCENARIO")) return;
    for (int kind = 0; kind < CALL_KIND_COUNT; kind++) {
        test_context("calls of %s", call_kind_name((call_kind)kind));
        CHECK(met[kind] > 0);
    }
}

#endif

/* --- the table is whole ------------------------------------------------------------------------------------------- */

static bool is_word_of(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == list || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '\0')) return true;
    }
    return false;
}

static void each_public_function_has_a_scenario(void **state) {
    (void)state;
    char line[256];
    size_t functions = 0;
    FILE *file = fopen(EXPORTS_FILE, "r");
    CHECK(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "simdrive_", 9) != 0) continue;
        bool found = false;
        for (size_t i = 0; i < TEST_SCENARIO_COUNT; i++) found |= is_word_of(TEST_SCENARIOS[i].functions, line + 9);
        test_context("%s has no scenario", line);
        CHECK(found);
        functions++;
    }
    fclose(file);
    CHECK(functions > 90);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_public_function_has_a_scenario),
#ifdef WRAPPED_CALLS
        cmocka_unit_test(each_call_of_each_function_may_fail),
        cmocka_unit_test(every_kind_of_call_was_met),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
