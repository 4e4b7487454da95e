/* SPDX-License-Identifier: Apache-2.0 */
/* saved_index.c — the index in a file beside the store, so that opening need not walk over all entries.
 *
 *   STORE.index    ┌──────────────────────────┬───────────────────────────────────┐
 *                  │ header (one page)        │ image of the index (image.h)      │
 *                  └──────────────────────────┴───────────────────────────────────┘
 *
 * It is derived data: whoever doubts it walks over the store as if it were not there. What the header ties it to:
 *   the file    its number and when it was made, so that no other file takes its place;
 *   the chain   `tail`, behind which nothing is in the image, and a digest of the metadata of the last entries before
 *               it, so that a file that was cut and written again is noticed;
 *   the owner   the index belongs to whom the store belongs to: nobody else can lay one beside it;
 *   the boot    unless store and index were synced, it is good only until the machine is started anew: what a loss of
 *               power has taken from the store, the index would not know.
 *
 * Loading (any handle, no lock, nothing is written)
 *   1  Map the file privately, check header, records and chain. Pages that nobody writes to are shared by all
 *      processes.
 *   2  Find the store's tail: its length, or, for a reader beside a writer at work, as a refresh does until it is its
 *      length. Entries between `tail` and there must be linked to it, and the last ones of the store, at least
 *      those and some thousands, must have their checksums, as far back as any opening looks at them.
 *   3  Put the entries between `low` and `tail` again, for the image was made while they were written; then those
 *      behind `tail`, which count.
 *   Whatever is not as it should be ends the attempt. A segment that is found wrong later is made again (image.h).
 *
 * Saving (writers only)
 *   1  `low` is the tail now.
 *   2  The image goes to a new file beside the store, under a temporary name, while others write.
 *   3  In the writer's place: `tail`, and the counters that go with it. Then the header, and a sync when the store is
 *      synced up to there.
 *   4  The new file takes the name. A crash leaves the old index, which is behind, or the new one.
 *   On closing, and in a thread at intervals, when opening without it would be slow. A file of that name that is no
 *   index of ours is left alone, and nothing is saved.
 */
#include <string.h>

#include "digest/hash.h"
#include "index/image.h"
#include "store/recover.h"
#include "store/store.h"

/* "sdrindx1" as a number of this machine. */
#define MAGIC UINT64_C(0x3178646e69726473)
#define SUFFIX ".index"
#define TEMPORARY_INFIX ".index-"

enum {
    HEADER_PAGE = 4096,
    CHAIN_ENTRIES = 64,     /* whose metadata is in the digest */
    CHECKED_ENTRIES = 1 << 15, /* whose checksums are looked at: some milliseconds */
    PUT_GROUP = 256,
    SLOW_ENTRIES = 1 << 19, /* as many to walk over take some 20 ms, far more when they are not in memory */
    FAR_ENTRIES = 1 << 12,  /* the same for entries that are far apart, each a page of its own to read */
    SAVE_SECONDS = 60       /* between two savings while the store is written to */
};
#define FAR_BYTES (UINT64_C(256) << 20)

typedef struct saved_header {
    uint64_t magic;
    uint64_t file_number, file_born;
    uint64_t low, tail; /* all before the first is in the image, and nothing behind the second */
    uint64_t chain;
    uint64_t entries, tombstones, stale_entries, live_bytes, stale_bytes; /* at `tail` */
    uint64_t image_size;
    uint32_t alignment;
    uint32_t synced;
    uint8_t boot[SDI_BOOT_ID_BYTES];
    uint64_t checksum; /* of what stands before it */
} saved_header;

_Static_assert(sizeof(saved_header) == 128, "no padding: the bytes are hashed");

static uint64_t header_checksum(const saved_header *header) {
    return sdi_hash(header, offsetof(saved_header, checksum));
}

/* Of key hash and link of the last entries before `tail`; not of the checksum, in whose place a mark may come. */
static uint64_t chain_digest(const uint8_t *file, uint64_t tail) {
    uint64_t digest = 0;
    sdi_record record;
    for (unsigned i = 0; i < CHAIN_ENTRIES && tail >= SDI_ENTRY_MIN; i++) {
        if (!sdi_decode(file, tail - SDI_METADATA_SIZE, &record)) break;
        digest = digest * UINT64_C(0x9E3779B97F4A7C15) + sdi_hash(file + record.end, SDI_CHECKSUM_FIELD);
        tail = record.prev;
    }
    return digest;
}

/* --- loading ----------------------------------------------------------------------------------------------------- */

/* The image's memory. */
typedef struct mapped_image {
    const sdi_os *os;
    uint8_t *base;
    uint64_t size;
} mapped_image;

static void release_image(void *user) {
    mapped_image *image = user;
    image->os->unmap(image->os, image->base, image->size);
    free(image);
}

/* Whether it is of this file, and what it says of it can be relied on. */
static bool belongs(const saved_header *header, const sdi_generation *generation, uint64_t size) {
    uint8_t boot[SDI_BOOT_ID_BYTES];
    if (header->magic != MAGIC || header->checksum != header_checksum(header)) return false;
    if (header->file_number != generation->file_id.number) return false;
    if (header->file_born != generation->file_id.born) return false;
    if (header->alignment != SIMDRIVE_ALIGNMENT || header->tail > size || header->tail < SDI_ENTRY_MIN) return false;
    if (header->low > header->tail) return false;
    if (!header->synced && (!sdi_boot_id(boot) || memcmp(boot, header->boot, sizeof boot) != 0)) return false;
    return header->chain == chain_digest(sdi_base(generation), header->tail);
}

/* Step 1: the header, and the mapped bytes, which are the caller's then. */
static mapped_image *map_index(sdi_generation *generation, uint64_t size, saved_header *header) {
    simdrive_store *store = generation->store;
    const sdi_os *os = store->os;
    sdi_file *file = NULL;
    sdi_file_info info, ours;
    mapped_image *image = NULL;
    char *path = sdi_path_with_suffix(store->real_path, SUFFIX);
    if (path && os->open(os, path, SDI_OPEN_READ, 0, &file) == SIMDRIVE_OK &&
        os->info(os, file, &info) == SIMDRIVE_OK && os->info(os, generation->file, &ours) == SIMDRIVE_OK &&
        info.owner == ours.owner && info.size > HEADER_PAGE &&
        os->read_at(os, file, 0, header, sizeof *header) == SIMDRIVE_OK && belongs(header, generation, size) &&
        header->image_size == info.size - HEADER_PAGE) {
        image = malloc(sizeof *image);
        if (image) *image = (mapped_image){.os = os, .size = info.size};
        if (image && os->map_private(os, file, info.size, &image->base) != SIMDRIVE_OK) {
            free(image);
            image = NULL;
        }
    }
    if (file) os->close(os, file);
    free(path);
    return image;
}

static simdrive_status recall(const uint8_t *base, uint64_t tail, sdi_recall_visitor visit, void *visit_user) {
    sdi_record record;
    for (; tail != 0; tail = record.prev) {
        if (tail < SDI_ENTRY_MIN || !sdi_decode(base, tail - SDI_METADATA_SIZE, &record)) return SIMDRIVE_ERROR_CORRUPT;
        simdrive_status status = visit(visit_user, record.key_hash, record.end);
        if (status != SIMDRIVE_OK) return status;
    }
    return SIMDRIVE_OK;
}

/* Whether the last entries have their checksums: `at_least` so many of them. */
static bool last_entries_are_right(simdrive_store *store, const uint8_t *file, uint64_t tail, size_t at_least) {
    uint64_t window = tail > SDI_CHECK_WINDOW ? tail - SDI_CHECK_WINDOW : 0, position = tail;
    size_t count = at_least > CHECKED_ENTRIES ? at_least : CHECKED_ENTRIES;
    sdi_crc_kind kind = store->checksum;
    for (size_t i = 0; i < count && position != 0; i++) {
        sdi_record record;
        if (position < SDI_ENTRY_MIN || !sdi_decode(file, position - SDI_METADATA_SIZE, &record)) return false;
        if (i > 0 && record.end < window) break;
        bool reclaimed = i > 0 && sdi_is_reclaimed(file, &record);
        if (!reclaimed && !sdi_checksum_matches(file, &record, kind, &kind)) return false;
        if (i == 0) store->checksum = kind;
        position = record.prev;
    }
    return true;
}

/* Step 2: the store's tail, and the entries between; false when they are not all right. */
static bool find_added(sdi_generation *generation, uint64_t from, uint64_t size, uint64_t *tail, sdi_added *added) {
    simdrive_store *store = generation->store;
    const uint8_t *file = sdi_base(generation);
    *tail = size;
    if (sdi_collect_added(file, size, from, added) != SIMDRIVE_OK) {
        added->count = 0;
        if (!store->options.read_only) return false;
        if (sdi_recover_added(file, from, size, store->checksum, tail) != SIMDRIVE_OK) return false;
        if (sdi_collect_added(file, *tail, from, added) != SIMDRIVE_OK) return false;
    }
    return last_entries_are_right(store, file, *tail, added->count);
}

/* Step 3, first half. */
static bool put_again(sdi_generation *generation, uint64_t low, uint64_t tail) {
    uint64_t hashes[PUT_GROUP], ends[PUT_GROUP], replaced[PUT_GROUP];
    const uint8_t *file = sdi_base(generation);
    sdi_added between = {0};
    bool done = sdi_collect_added(file, tail, low, &between) == SIMDRIVE_OK;
    for (size_t left = between.count; done && left > 0;) {
        size_t count = left < PUT_GROUP ? left : PUT_GROUP;
        for (size_t i = 0; i < count; i++) {
            ends[i] = between.ends[left - 1 - i];
            hashes[i] = sdi_load64(file + ends[i]);
        }
        done = sdi_index_reserve(generation->index, hashes, count) == SIMDRIVE_OK;
        if (done) sdi_index_put_batch(generation->index, hashes, ends, count, replaced);
        left -= count;
    }
    free(between.ends);
    return done;
}

/* A reader beside a writer at work goes on until the file's length stays. What is left behind the tail then, other than
 * room ahead, may be damage, and entries behind that: only recovery can tell, so nothing is used, and `*size` is what
 * recovery is to look at. */
static bool reaches_end(sdi_generation *generation, uint64_t *size) {
    simdrive_store *store = generation->store;
    sdi_file_end end;
    if (!store->options.read_only) return sdi_tail(generation) == *size;
    store->seen_end = *size;
    bool followed = sdi_keep_up(generation, *size) == SIMDRIVE_OK && store->seen_end == sdi_tail(generation);
    if (followed && atomic_load_explicit(&store->damaged_tail, memory_order_relaxed) == 0) return true;
    if (sdi_entries_end(generation, &end) == SIMDRIVE_OK)
        *size = sdi_end_of_entries(sdi_base(generation), end.file, 0, store->checksum, &end.bytes);
    return false;
}

static void adopt_header(sdi_generation *generation, const saved_header *header) {
    sdi_counters *counters = &generation->counters;
    atomic_store_explicit(&counters->entries, header->entries, memory_order_relaxed);
    atomic_store_explicit(&counters->tombstones, header->tombstones, memory_order_relaxed);
    atomic_store_explicit(&counters->stale_entries, header->stale_entries, memory_order_relaxed);
    atomic_store_explicit(&counters->live_bytes, header->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&counters->stale_bytes, header->stale_bytes, memory_order_relaxed);
    atomic_store_explicit(&generation->tail, header->tail, memory_order_relaxed);
}

static bool use_image(sdi_generation *generation, mapped_image *image, const saved_header *header, uint64_t *size) {
    sdi_added added = {0};
    uint64_t tail;
    const sdi_image_source source = {
        .bytes = image->base + HEADER_PAGE,
        .size = header->image_size,
        .base = sdi_base(generation),
        .tail = header->tail,
        .last = header->tail - SDI_METADATA_SIZE,
        .recall = recall,
        .release = release_image,
        .user = image,
    };
    sdi_crc_kind checksum = generation->store->checksum;
    bool used = false;
    if (find_added(generation, header->tail, *size, &tail, &added)) generation->index = sdi_index_load(&source);
    if (generation->index) {
        adopt_header(generation, header);
        used = put_again(generation, header->low, header->tail) &&
               sdi_publish_added(generation, &added) == SIMDRIVE_OK && reaches_end(generation, size);
        if (!used) {
            adopt_header(generation, &(saved_header){0});
            sdi_generation_forget(generation);
        }
    } else {
        release_image(image);
    }
    if (!used) generation->store->checksum = checksum;
    free(added.ends);
    return used;
}

bool sdi_saved_index_load(sdi_generation *generation, uint64_t *size) {
    simdrive_store *store = generation->store;
    const simdrive_open_options *options = &store->options;
    saved_header header;
    atomic_store_explicit(&store->stats.index_saved_tail, 0, memory_order_relaxed);
    atomic_store_explicit(&store->stats.open_from_saved_index, false, memory_order_relaxed);
    store->saved.entries = 0;
    if (options->saved_index == SIMDRIVE_SAVED_INDEX_OFF || options->verify_all || *size < SDI_ENTRY_MIN) return false;
    int os_error = sdi_get_os_error();
    mapped_image *image = map_index(generation, *size, &header);
    bool used = image && use_image(generation, image, &header, size);
    sdi_set_os_error(os_error); /* whatever went wrong, opening goes on without */
    if (!used) return false;
    store->saved.entries = header.entries + header.tombstones + header.stale_entries;
    atomic_store_explicit(&store->stats.index_saved_tail, header.tail, memory_order_relaxed);
    atomic_store_explicit(&store->stats.open_from_saved_index, true, memory_order_relaxed);
    return true;
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

typedef struct save_job {
    simdrive_store *store;
    sdi_generation *generation; /* pinned, with its index */
    sdi_file *file;
    uint64_t written;
} save_job;

static simdrive_status write_image(void *user, const void *bytes, size_t size) {
    save_job *job = user;
    const sdi_os *os = job->store->os;
    simdrive_status status = os->write_at(os, job->file, HEADER_PAGE + job->written, bytes, size);
    job->written += size;
    return status;
}

/* What the store is at this moment: ERROR_CANCELLED when the generation is no longer its newest. */
static simdrive_status look(const save_job *job, saved_header *header) {
    simdrive_store *store = job->store;
    const sdi_counters *counters = &job->generation->counters;
    simdrive_status status = sdi_place_take(store, false);
    if (status != SIMDRIVE_OK) return status;
    header->tail = sdi_tail(job->generation);
    header->entries = atomic_load_explicit(&counters->entries, memory_order_relaxed);
    header->tombstones = atomic_load_explicit(&counters->tombstones, memory_order_relaxed);
    header->stale_entries = atomic_load_explicit(&counters->stale_entries, memory_order_relaxed);
    header->live_bytes = atomic_load_explicit(&counters->live_bytes, memory_order_relaxed);
    header->stale_bytes = atomic_load_explicit(&counters->stale_bytes, memory_order_relaxed);
    header->synced = atomic_load_explicit(&store->durable_tail, memory_order_relaxed) >= header->tail;
    if (!sdi_is_current(store, job->generation) || atomic_load_explicit(&store->poisoned, memory_order_relaxed))
        status = SIMDRIVE_ERROR_CANCELLED;
    sdi_place_leave(store);
    return status;
}

/* Steps 1 to 3. */
static simdrive_status write_index(save_job *job, saved_header *header) {
    const sdi_os *os = job->store->os;
    simdrive_status status = look(job, header);
    uint64_t low = header->tail;
    if (status == SIMDRIVE_OK) status = sdi_index_save(job->generation->index, write_image, job, NULL, NULL);
    if (status == SIMDRIVE_OK) status = look(job, header);
    if (status != SIMDRIVE_OK) return status;
    header->magic = MAGIC;
    header->file_number = job->generation->file_id.number;
    header->file_born = job->generation->file_id.born;
    header->low = low;
    header->chain = chain_digest(sdi_base(job->generation), header->tail);
    header->image_size = job->written;
    header->alignment = SIMDRIVE_ALIGNMENT;
    sdi_boot_id(header->boot);
    header->checksum = header_checksum(header);
    status = os->write_at(os, job->file, 0, header, sizeof *header);
    return status == SIMDRIVE_OK && header->synced ? os->sync(os, job->file) : status;
}

/* Whether the name is free, or an index of ours has it. */
static bool name_is_ours(const sdi_os *os, const char *path, bool *is_free) {
    uint64_t magic = 0;
    sdi_file *file = NULL;
    simdrive_status status = os->open(os, path, SDI_OPEN_READ, 0, &file);
    *is_free = status == SIMDRIVE_ERROR_NO_SUCH_FILE;
    if (status != SIMDRIVE_OK) return *is_free;
    status = os->read_at(os, file, 0, &magic, sizeof magic);
    os->close(os, file);
    return status == SIMDRIVE_OK && magic == MAGIC;
}

/* Unless the store was compacted in between. */
static void note_saved(const save_job *job, const saved_header *header) {
    simdrive_store *store = job->store;
    sdi_mutex_lock(&store->mutex);
    if (sdi_is_current(store, job->generation)) {
        store->saved.entries = header->entries + header->tombstones + header->stale_entries;
        atomic_store_explicit(&store->stats.index_saved_tail, header->tail, memory_order_relaxed);
    }
    sdi_mutex_unlock(&store->mutex);
    atomic_fetch_add_explicit(&store->stats.index_saves, 1, memory_order_relaxed);
}

/* Step 4. A name that was free may be somebody else's by now, or a link that leads nowhere. */
static simdrive_status give_name(const sdi_os *os, const char *temporary, const char *path, bool is_free) {
    return is_free ? os->rename_new(os, temporary, path) : os->rename(os, temporary, path);
}

static simdrive_status save_as(save_job *job, const char *temporary, const char *path, bool is_free) {
    const sdi_os *os = job->store->os;
    saved_header header = {0};
    simdrive_status status = os->open(os, temporary, SDI_OPEN_CREATE_NEW, 0600, &job->file);
    if (status != SIMDRIVE_OK) return status;
    status = os->lock(os, job->file);
    if (status == SIMDRIVE_OK) status = os->copy_attributes(os, job->generation->file, job->file);
    if (status == SIMDRIVE_OK) status = write_index(job, &header);
    if (status == SIMDRIVE_OK) status = give_name(os, temporary, path, is_free);
    os->close(os, job->file);
    if (status != SIMDRIVE_OK) {
        os->unlink(os, temporary);
        return status;
    }
    note_saved(job, &header);
    return SIMDRIVE_OK;
}

/* Saves the index of the newest generation. What fails is in nobody's way: an older index is behind, or there is none.
 */
static void save(simdrive_store *store) {
    sdi_pin *pin = sdi_pin_with_index(store);
    save_job job = {.store = store, .generation = pin->generation};
    char *path = sdi_path_with_suffix(store->real_path, SUFFIX);
    char *temporary = sdi_temporary_path(store, TEMPORARY_INFIX);
    int os_error = sdi_get_os_error();
    sdi_remove_temporaries(store, TEMPORARY_INFIX);
    bool is_free;
    if (path && temporary && name_is_ours(store->os, path, &is_free)) save_as(&job, temporary, path, is_free);
    sdi_set_os_error(os_error);
    free(temporary);
    free(path);
    sdi_release_index(pin->generation);
    sdi_unpin(pin, 1);
}

/* --- when to save ------------------------------------------------------------------------------------------------ */

/* A damaged store is not what an index is saved of: the next opening shall see the damage. */
static bool may_save(const simdrive_store *store, const sdi_generation *generation) {
    return !store->options.read_only && store->options.saved_index != SIMDRIVE_SAVED_INDEX_OFF && store->real_path &&
           generation->file && generation->damage.kind <= SIMDRIVE_DAMAGE_TAIL &&
           generation->damage.corrupt_count == 0 &&
           !atomic_load_explicit(&store->poisoned, memory_order_relaxed) &&
           atomic_load_explicit(&store->damaged_tail, memory_order_relaxed) == 0;
}

/* Whether walking over so many entries, in so many bytes, is slow. */
static bool is_slow(uint64_t entries, uint64_t bytes) {
    return entries >= SLOW_ENTRIES || (entries >= FAR_ENTRIES && bytes >= FAR_BYTES);
}

/* Entries at which the next saving is thought of: so many more that all savings together write each key a few times. */
static uint64_t next_saving(uint64_t entries) {
    uint64_t more = entries / 4, least = UINT64_C(2) * SLOW_ENTRIES;
    return entries + (more > least ? more : least);
}

void sdi_saved_index_begin(simdrive_store *store, const sdi_generation *generation) {
    sdi_saved_index *saved = &store->saved;
    sdi_mutex_lock(&store->mutex);
    if (saved->last_ns != 0) { /* what there is, is of the file that was compacted away */
        saved->entries = 0;
        atomic_store_explicit(&store->stats.index_saved_tail, 0, memory_order_relaxed);
    }
    sdi_mutex_unlock(&store->mutex);
    saved->last_ns = sdi_monotonic_ns();
    saved->next = may_save(store, generation) ? next_saving(saved->entries) : UINT64_MAX;
}

static void save_in_thread(void *user) {
    simdrive_store *store = user;
    save(store);
    atomic_store(&store->saved.thread_runs, false);
}

void sdi_saved_index_is_due(simdrive_store *store, const sdi_generation *generation) {
    sdi_saved_index *saved = &store->saved;
    uint64_t now = sdi_monotonic_ns(), entries = sdi_entries_in_file(generation);
    saved->next = entries + SLOW_ENTRIES / 8; /* when it is not the time yet */
    if (now - saved->last_ns < SAVE_SECONDS * UINT64_C(1000000000) || atomic_load(&saved->thread_runs)) return;
    if (saved->thread_started) sdi_thread_join(&saved->thread);
    saved->last_ns = now;
    saved->next = next_saving(entries);
    atomic_store(&saved->thread_runs, true);
    saved->thread_started = sdi_thread_start(&saved->thread, save_in_thread, store) == SIMDRIVE_OK;
    if (!saved->thread_started) atomic_store(&saved->thread_runs, false);
}

void sdi_saved_index_end(simdrive_store *store) {
    sdi_saved_index *saved = &store->saved;
    const sdi_generation *generation = atomic_load_explicit(&store->current, memory_order_acquire);
    if (saved->thread_started) sdi_thread_join(&saved->thread);
    saved->thread_started = false;
    if (!may_save(store, generation)) return;
    uint64_t saved_tail = atomic_load_explicit(&store->stats.index_saved_tail, memory_order_relaxed);
    uint64_t tail = sdi_tail(generation);
    bool always = store->options.saved_index == SIMDRIVE_SAVED_INDEX_ALWAYS;
    bool slow = is_slow(sdi_entries_in_file(generation) - saved->entries, tail - saved_tail);
    if (tail > 0 && (always ? tail != saved_tail : slow)) save(store);
}
