/* SPDX-License-Identifier: Apache-2.0 */
/* image.c — see image.h. */
#include "index/image.h"

#include <stdlib.h>
#include <string.h>

#include "digest/hash.h"
#include "index/state.h"
#include "os/os.h"

/* "sdrimg02" as a number of this machine: of another byte order, it reads as another number. */
#define MAGIC UINT64_C(0x3230676d69726473)

enum { COPY_ATTEMPTS = 10000 };

typedef struct image_record {
    uint64_t checksum; /* of the segment's bytes */
    uint32_t u;        /* where its range begins */
    uint32_t keys;
    uint8_t depth;
    uint8_t lines_log2;
    uint8_t tag_base;
    uint8_t zero[5];
} image_record;

typedef struct image_trailer {
    uint64_t magic;
    uint64_t flip, factor; /* the seed */
    uint64_t segments, segment_bytes, keys;
    uint64_t records_checksum;
    uint64_t checksum; /* of what stands before it */
} image_trailer;

_Static_assert(sizeof(image_record) == 24 && sizeof(image_trailer) == 64, "no padding: the bytes are hashed");

static size_t segment_bytes(unsigned lines_log2) {
    return (size_t)SDI_LINE_SIZE << lines_log2;
}

static uint64_t trailer_checksum(const image_trailer *trailer) {
    return sdi_hash(trailer, offsetof(image_trailer, checksum));
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

typedef struct saver {
    const sdi_index *index;
    sdi_image_sink sink;
    void *user;
    uint64_t *copy; /* of one segment */
    size_t copy_size;
    image_record *records;
    size_t count, capacity;
    image_trailer trailer;
} saver;

static bool make_room(saver *s, size_t size) {
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        image_record *records = realloc(s->records, capacity * sizeof *records);
        if (!records) return false;
        s->records = records;
        s->capacity = capacity;
    }
    if (size <= s->copy_size) return true;
    free(s->copy);
    s->copy = malloc(size);
    s->copy_size = s->copy ? size : 0;
    return s->copy != NULL;
}

static uint32_t copy_slots(const sdi_slot *segment, size_t slots, uint64_t *copy) {
    uint32_t keys = 0;
    for (size_t i = 0; i < slots; i++) {
        copy[i] = atomic_load_explicit(&segment[i], memory_order_acquire);
        keys += copy[i] != 0;
    }
    return keys;
}

/* Whether all that was empty is empty still, and what had no mark has none. Since slots only ever get taken and marked,
 * the copy then has just what was so when its last was read; offsets may be newer ones. A key that was put behind a
 * line after that was copied is noticed, for its mark came first. */
static bool copy_is_of_one_moment(const sdi_slot *segment, size_t slots, const uint64_t *copy) {
    bool same = true;
    for (size_t i = 0; i < slots; i++) {
        uint64_t now = atomic_load_explicit(&segment[i], memory_order_acquire);
        same &= (copy[i] != 0 || now == 0) & ((copy[i] ^ now) < SDI_SLOT_MARK);
    }
    return same;
}

/* The segment of u as it is at one moment after the last put that the caller knows of. ERROR_BUSY when keys come in so
 * fast that there is no such moment. */
static simdrive_status copy_segment(saver *s, uint32_t u, image_record *record) {
    for (unsigned attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
        const sdi_directory *root = atomic_load_explicit(&s->index->root, memory_order_acquire);
        const _Atomic uint64_t *word_at = &root->words[sdi_directory_at(root, u)];
        uint64_t word = atomic_load_explicit(word_at, memory_order_acquire);
        if (sdi_word_is_unchecked(word)) {
            if (!sdi_index_check_at(s->index, u)) return SIMDRIVE_ERROR_NO_MEMORY;
            continue;
        }
        unsigned lines_log2 = sdi_word_lines_log2(word);
        size_t slots = segment_bytes(lines_log2) / sizeof(sdi_slot);
        if (!make_room(s, segment_bytes(lines_log2))) return SIMDRIVE_ERROR_NO_MEMORY;
        const sdi_slot *segment = sdi_word_segment(word);
        uint32_t keys = copy_slots(segment, slots, s->copy);
        if (!copy_is_of_one_moment(segment, slots, s->copy)) continue;
        if (root != atomic_load_explicit(&s->index->root, memory_order_acquire) ||
            word != atomic_load_explicit(word_at, memory_order_acquire))
            continue;
        *record = (image_record){.checksum = sdi_hash(s->copy, segment_bytes(lines_log2)),
                                 .u = u,
                                 .keys = keys,
                                 .depth = (uint8_t)sdi_word_depth(word),
                                 .lines_log2 = (uint8_t)lines_log2,
                                 .tag_base = (uint8_t)sdi_word_tag_base(word)};
        return SIMDRIVE_OK;
    }
    return SIMDRIVE_ERROR_BUSY;
}

static simdrive_status save_segments(saver *s) {
    for (uint64_t u = 0; u < UINT64_C(1) << 32; u += UINT64_C(1) << (32 - s->records[s->count - 1].depth)) {
        image_record record;
        simdrive_status status = copy_segment(s, (uint32_t)u, &record);
        if (status == SIMDRIVE_OK) status = s->sink(s->user, s->copy, segment_bytes(record.lines_log2));
        if (status != SIMDRIVE_OK) return status;
        s->records[s->count++] = record;
        s->trailer.segment_bytes += segment_bytes(record.lines_log2);
        s->trailer.keys += record.keys;
    }
    return SIMDRIVE_OK;
}

simdrive_status sdi_index_save(const sdi_index *index, sdi_image_sink sink, void *user, uint64_t *size,
                               uint64_t *keys) {
    saver s = {.index = index, .sink = sink, .user = user};
    simdrive_status status = save_segments(&s);
    s.trailer.magic = MAGIC;
    s.trailer.flip = index->seed.flip;
    s.trailer.factor = index->seed.factor;
    s.trailer.segments = s.count;
    if (status == SIMDRIVE_OK) {
        s.trailer.records_checksum = sdi_hash(s.records, s.count * sizeof *s.records);
        s.trailer.checksum = trailer_checksum(&s.trailer);
        status = sink(user, s.records, s.count * sizeof *s.records);
    }
    if (status == SIMDRIVE_OK) status = sink(user, &s.trailer, sizeof s.trailer);
    if (size) *size = s.trailer.segment_bytes + s.count * sizeof *s.records + sizeof s.trailer;
    if (keys) *keys = s.trailer.keys;
    free(s.records);
    free(s.copy);
    return status;
}

/* --- loading ----------------------------------------------------------------------------------------------------- */

typedef struct sdi_image {
    sdi_mutex mutex; /* protects the words of unchecked segments, and all that growing an index changes */
    sdi_image_source source;
    image_record *records; /* a copy: what was found plausible stays so, whatever happens to the file */
    size_t count;
    _Atomic size_t unchecked;
} sdi_image;

static bool is_plausible(const image_record *record, uint64_t u, bool alone) {
    if (record->u != u || record->depth > SDI_DEEPEST || record->tag_base > record->depth) return false;
    if (record->depth - record->tag_base > SDI_TAG_U_BITS_SPENT) return false;
    if (record->lines_log2 > SDI_LARGEST_LINES_LOG2 || record->lines_log2 < SDI_SMALLEST_LINES_LOG2) return false;
    if (record->lines_log2 < SDI_SEGMENT_LINES_LOG2 && !alone) return false;
    return record->keys <= sdi_segment_limit(record->lines_log2);
}

/* Whether the records tile all of u, and their segments all of the image. */
static bool records_are_plausible(const image_record *records, const image_trailer *trailer, unsigned *depth) {
    uint64_t u = 0, bytes = 0, keys = 0;
    *depth = 0;
    for (size_t i = 0; i < trailer->segments; i++) {
        const image_record *record = &records[i];
        if (u >> 32 != 0 || !is_plausible(record, u, trailer->segments == 1)) return false;
        u += UINT64_C(1) << (32 - record->depth);
        bytes += segment_bytes(record->lines_log2);
        keys += record->keys;
        if (bytes > trailer->segment_bytes) return false;
        if (record->depth > *depth) *depth = record->depth;
    }
    return u == UINT64_C(1) << 32 && bytes == trailer->segment_bytes && keys == trailer->keys &&
           UINT64_C(1) << *depth <= trailer->segments * SDI_WORDS_PER_SEGMENT;
}

/* The trailer, and a copy of the records (malloc'ed), when they are whole. */
static image_record *copy_records(const sdi_image_source *source, image_trailer *trailer, unsigned *depth) {
    if (source->size < sizeof *trailer + sizeof(image_record) || source->size > SIZE_MAX) return NULL;
    memcpy(trailer, source->bytes + source->size - sizeof *trailer, sizeof *trailer);
    if (trailer->magic != MAGIC || trailer->checksum != trailer_checksum(trailer)) return NULL;
    uint64_t rest = source->size - sizeof *trailer;
    if (trailer->segments == 0 || trailer->segments > rest / sizeof(image_record)) return NULL;
    if (trailer->segment_bytes != rest - trailer->segments * sizeof(image_record)) return NULL;
    if (trailer->segment_bytes % SDI_LINE_SIZE != 0 || trailer->factor % 2 == 0) return NULL;
    size_t size = (size_t)trailer->segments * sizeof(image_record);
    image_record *records = malloc(size);
    if (!records) return NULL;
    memcpy(records, source->bytes + trailer->segment_bytes, size);
    if (sdi_hash(records, size) == trailer->records_checksum && records_are_plausible(records, trailer, depth))
        return records;
    free(records);
    return NULL;
}

/* Leads the directory to the segments, unchecked. */
static void enter_segments(sdi_index *index, const sdi_image *image) {
    uint8_t *at = image->source.bytes;
    for (size_t i = 0; i < image->count; i++) {
        const image_record *record = &image->records[i];
        uint64_t word = sdi_word_make((sdi_slot *)(void *)at, record->lines_log2, record->depth, record->tag_base);
        sdi_index_set_words(index, sdi_own_root(index), record->u, word | SDI_WORD_UNCHECKED, record->keys);
        sdi_index_count_more(index, 1, segment_bytes(record->lines_log2) / sizeof(sdi_slot));
        at += segment_bytes(record->lines_log2);
    }
}

sdi_index *sdi_index_load(const sdi_image_source *source) {
    image_trailer trailer;
    unsigned depth;
    image_record *records = copy_records(source, &trailer, &depth);
    if (!records) return NULL;
    sdi_image *image = calloc(1, sizeof *image);
    if (!image || sdi_mutex_init(&image->mutex) != SIMDRIVE_OK) {
        free(image);
        free(records);
        return NULL;
    }
    const sdi_seed seed = {trailer.flip, trailer.factor};
    sdi_index *index = sdi_index_create_bare(seed, depth, source->base);
    if (!index || !sdi_segments_lend(&index->memory, source->bytes, (size_t)trailer.segment_bytes)) {
        sdi_index_destroy(index);
        sdi_mutex_destroy(&image->mutex);
        free(image);
        free(records);
        return NULL;
    }
    image->source = *source;
    image->records = records;
    image->count = (size_t)trailer.segments;
    atomic_init(&image->unchecked, image->count);
    index->image = image;
    atomic_store_explicit(&index->keys, trailer.keys, memory_order_relaxed);
    enter_segments(index, image);
    sdi_index_count_bytes(index);
    return index;
}

void sdi_image_release(sdi_index *index) {
    sdi_image *image = index->image;
    if (!image) return;
    image->source.release(image->source.user);
    sdi_mutex_destroy(&image->mutex);
    free(image->records);
    free(image);
}

void sdi_image_lock(sdi_index *index) {
    if (index->image) sdi_mutex_lock(&index->image->mutex);
}

void sdi_image_unlock(sdi_index *index) {
    if (index->image) sdi_mutex_unlock(&index->image->mutex);
}

/* --- checking: the image's mutex is held ------------------------------------------------------------------------- */

/* The record in whose range u is. */
static size_t record_of(const sdi_image *image, uint32_t u) {
    size_t low = 0, high = image->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (image->records[middle].u <= u) low = middle;
        else high = middle;
    }
    return low;
}

/* Not that each slot is in the right place, which the checksum stands for; but what keeps the index within bounds if it
 * is not: offsets lie in the file, and each line is filled from its beginning. As there are fewer keys than slots, some
 * line is not full then, and every probe ends. */
static bool segment_is_right(const sdi_image *image, const image_record *record, uint64_t word) {
    const uint64_t *slots = (const uint64_t *)(uintptr_t)sdi_word_segment(word);
    size_t size = segment_bytes(record->lines_log2);
    uint32_t keys = 0;
    bool right = true;
    if (sdi_hash(slots, size) != record->checksum) return false;
    for (size_t i = 0; i < size / sizeof *slots; i++) {
        uint64_t offset = sdi_slot_offset(slots[i]);
        keys += slots[i] != 0;
        right &= slots[i] == 0 || (offset != SDI_INDEX_NONE && offset <= image->source.last);
        right &= slots[i] == 0 || i % SDI_LINE_SLOTS == 0 || slots[i - 1] != 0;
    }
    return right && keys == record->keys;
}

static void set_checked(sdi_index *index, uint32_t u, uint64_t word) {
    sdi_directory *root = sdi_own_root(index);
    uint64_t checked = word & ~SDI_WORD_UNCHECKED;
    size_t first = sdi_first_place(root, word, u), count = (size_t)1 << (root->depth - sdi_word_depth(word));
    for (size_t i = 0; i < count; i++) atomic_store_explicit(&root->words[first + i], checked, memory_order_release);
    atomic_fetch_sub_explicit(&index->image->unchecked, 1, memory_order_relaxed);
}

/* --- mending ----------------------------------------------------------------------------------------------------- */

typedef struct recalled_entry {
    size_t record;
    uint64_t hash, offset;
} recalled_entry;

typedef struct recalled_entries {
    const sdi_index *index;
    const uint8_t *wrong; /* for each record */
    recalled_entry *entries;
    size_t count, capacity;
} recalled_entries;

static simdrive_status collect(void *user, uint64_t hash, uint64_t offset) {
    recalled_entries *found = user;
    size_t record = record_of(found->index->image, sdi_place_of(found->index->seed, hash).u);
    if (!found->wrong[record]) return SIMDRIVE_OK;
    if (found->count == found->capacity) {
        size_t capacity = found->capacity ? found->capacity * 2 : 4096;
        recalled_entry *entries = realloc(found->entries, capacity * sizeof *entries);
        if (!entries) return SIMDRIVE_ERROR_NO_MEMORY;
        found->entries = entries;
        found->capacity = capacity;
    }
    found->entries[found->count++] = (recalled_entry){record, hash, offset};
    return SIMDRIVE_OK;
}

/* By record and key, the newest first. */
static int order(const void *a, const void *b) {
    const recalled_entry *left = a, *right = b;
    if (left->record != right->record) return left->record < right->record ? -1 : 1;
    if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
    return left->offset > right->offset ? -1 : left->offset < right->offset;
}

/* Keeps the newest of each key. */
static void thin_out(recalled_entries *found) {
    size_t kept = 0;
    if (found->count > 1) qsort(found->entries, found->count, sizeof *found->entries, order);
    for (size_t i = 0; i < found->count; i++) {
        bool same = kept > 0 && found->entries[kept - 1].hash == found->entries[i].hash;
        if (!same) found->entries[kept++] = found->entries[i];
    }
    found->count = kept;
}

/* Makes the segments that are wrong again, each from its stretch of the entries. */
static simdrive_status refill(sdi_index *index, const recalled_entries *found, const uint8_t *wrong) {
    uint64_t *hashes = malloc((found->count + 1) * sizeof *hashes);
    uint64_t *offsets = malloc((found->count + 1) * sizeof *offsets);
    simdrive_status status = hashes && offsets ? SIMDRIVE_OK : SIMDRIVE_ERROR_NO_MEMORY;
    for (size_t i = 0; i < found->count && status == SIMDRIVE_OK; i++) {
        hashes[i] = found->entries[i].hash;
        offsets[i] = found->entries[i].offset;
    }
    size_t at = 0;
    for (size_t record = 0; record < index->image->count && status == SIMDRIVE_OK; record++) {
        size_t first = at;
        if (!wrong[record]) continue;
        while (at < found->count && found->entries[at].record == record) at++;
        status = sdi_index_refill(index, index->image->records[record].u, hashes + first, offsets + first, at - first);
        if (status == SIMDRIVE_OK) atomic_fetch_sub_explicit(&index->image->unchecked, 1, memory_order_relaxed);
    }
    free(hashes);
    free(offsets);
    return status;
}

/* Looks at all segments that nobody has used yet, and makes those again that are wrong. */
static simdrive_status mend(sdi_index *index) {
    const sdi_image *image = index->image;
    uint8_t *wrong = calloc(image->count, 1);
    recalled_entries found = {.index = index, .wrong = wrong};
    if (!wrong) return SIMDRIVE_ERROR_NO_MEMORY;
    for (size_t i = 0; i < image->count; i++) {
        const image_record *record = &image->records[i];
        uint64_t word = sdi_own_word(index, record->u);
        if (!sdi_word_is_unchecked(word)) continue;
        wrong[i] = !segment_is_right(image, record, word);
        if (!wrong[i]) set_checked(index, record->u, word);
    }
    simdrive_status status = image->source.recall(sdi_own_base(index), image->source.tail, collect, &found);
    if (status == SIMDRIVE_OK) {
        thin_out(&found);
        status = refill(index, &found, wrong);
    }
    free(found.entries);
    free(wrong);
    return status;
}

bool sdi_index_check_at(const sdi_index *lent, uint32_t u) {
    sdi_index *index = (sdi_index *)(uintptr_t)lent; /* what it says does not change */
    sdi_image *image = index->image;
    simdrive_status status = SIMDRIVE_OK;
    sdi_mutex_lock(&image->mutex);
    uint64_t word = sdi_own_word(index, u);
    if (sdi_word_is_unchecked(word)) {
        const image_record *record = &image->records[record_of(image, u)];
        if (segment_is_right(image, record, word)) set_checked(index, u, word);
        else status = mend(index);
    }
    sdi_mutex_unlock(&image->mutex);
    return status == SIMDRIVE_OK;
}
