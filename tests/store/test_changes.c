/* SPDX-License-Identifier: Apache-2.0
 *
 * test_changes.c — changes are delivered each once, in order, from any position: on the handle that writes, and on
 * readers in this and another process, beside writes and compactions; what is not a position is refused.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty.h"
#include "store/store.h"

enum { STRETCH = 4096 }; /* entries that changes.c finds at once */

/* --- what is delivered, against an image of the file ------------------------------------------------------------- */

static void check_event(const simdrive_event *event, const test_image *image, const test_record *record) {
    CHECK_U64(record->key_hash, event->key_hash);
    CHECK(event->operation == (record->tombstone ? SIMDRIVE_DELETE : SIMDRIVE_PUT));
    CHECK_U64(record->tail, event->position.offset);
    CHECK(event->position.check != 0 && !event->reclaimed);
    if (record->tombstone) {
        CHECK(event->payload.data == NULL && event->payload.size == 0);
        return;
    }
    CHECK_U64(test_record_size(record), event->payload.size);
    CHECK(memcmp(image->bytes + record->start, event->payload.data, event->payload.size) == 0);
}

static void check_next(simdrive_changes *changes, const test_image *image, const test_record *record) {
    simdrive_event event;
    CHECK_OK(simdrive_changes_next(changes, 0, &event));
    check_event(&event, image, record);
}

static void check_none(simdrive_changes *changes) {
    simdrive_event event;
    CHECK_STATUS(SIMDRIVE_END, simdrive_changes_next(changes, 0, &event));
    CHECK(event.payload.data == NULL && event.position.offset == 0);
}

/* --- random work, and readers of all kinds beside it ------------------------------------------------------------- */

enum { KEYS = 40, READERS = 6, MOST_EPOCHS = 40, PAYLOAD = 3000 };

/* A file behind the store's path, and how many entries it had when it took the place of the one before. */
typedef struct epoch {
    test_image image;
    size_t born;
} epoch;

/* A reader, and what is expected of it: where it is, and how far it has looked. */
typedef struct follower {
    simdrive_changes *changes;
    bool on_writer;
    size_t epoch, next, seen;
} follower;

typedef struct world {
    test_random random;
    simdrive_store *writer, *reader;
    epoch *epochs;
    size_t newest;       /* of the writer */
    size_t reader_epoch; /* that the reading handle shows */
    follower followers[READERS];
    uint8_t payload[PAYLOAD];
    simdrive_position *positions; /* that were given, and which entry they are behind */
    size_t *position_epochs, *position_nexts;
    size_t position_count, position_capacity;
} world;

static uint64_t below(world *w, uint64_t limit) {
    return test_random_below(&w->random, limit);
}

static test_image *newest(world *w) {
    return &w->epochs[w->newest].image;
}

static size_t random_payload(world *w) {
    size_t size = 2 + (size_t)below(w, below(w, 10) == 0 ? PAYLOAD - 2 : 100);
    test_random_fill(&w->random, w->payload, size);
    return size;
}

static void do_put(world *w) {
    uint64_t hash = test_key_hash(below(w, KEYS));
    size_t size = random_payload(w);
    CHECK_OK(simdrive_write_hash(w->writer, hash, w->payload, size, NULL));
    test_image_put(newest(w), hash, w->payload, size);
}

static void do_delete(world *w) {
    uint64_t hash = test_key_hash(below(w, KEYS));
    bool there = test_image_find(newest(w), hash) != NULL;
    CHECK_STATUS(there ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_delete_hash(w->writer, hash, NULL));
    if (there) test_image_delete(newest(w), hash);
}

static void do_batch(world *w) {
    simdrive_change changes[30];
    size_t count = (size_t)below(w, 30), size = random_payload(w);
    for (size_t i = 0; i < count; i++) {
        changes[i] = (simdrive_change){.operation = below(w, 4) == 0 ? SIMDRIVE_DELETE : SIMDRIVE_PUT,
                                       .key_hash = test_key_hash(below(w, KEYS)),
                                       .payload = {w->payload, size}};
        if (changes[i].operation == SIMDRIVE_PUT)
            test_image_put(newest(w), changes[i].key_hash, w->payload, size);
        else if (test_image_find(newest(w), changes[i].key_hash))
            test_image_delete(newest(w), changes[i].key_hash);
    }
    CHECK_OK(simdrive_apply(w->writer, changes, count, below(w, 2) ? SIMDRIVE_BATCH_ATOMIC : SIMDRIVE_BATCH_PLAIN,
                            NULL));
}

static void do_stream(world *w) {
    uint64_t hash = test_key_hash(below(w, KEYS));
    size_t size = random_payload(w);
    simdrive_stream *stream = NULL;
    CHECK_OK(simdrive_stream_begin_hash(w->writer, hash, 0, &stream));
    CHECK_OK(simdrive_stream_append(stream, w->payload, size));
    if (below(w, 3) == 0) {
        CHECK_OK(simdrive_stream_abort(stream));
        return;
    }
    CHECK_OK(simdrive_stream_commit(stream, NULL));
    test_image_put(newest(w), hash, w->payload, size);
}

static void do_compact(world *w) {
    uint64_t saved = 0;
    if (w->newest + 1 == MOST_EPOCHS) return;
    CHECK_OK(simdrive_compact(w->writer, NULL, &saved));
    if (saved == 0) return;
    epoch *after = &w->epochs[w->newest + 1];
    test_image_clone(newest(w), &after->image);
    test_image_compact(&after->image);
    after->born = after->image.count;
    w->newest++;
    CHECK_U64(after->image.size, simdrive_tail(w->writer));
}

static void keep_position(world *w, simdrive_position position, size_t in_epoch, size_t next) {
    if (w->position_count == w->position_capacity) {
        w->position_capacity = w->position_capacity ? 2 * w->position_capacity : 256;
        w->positions = realloc(w->positions, w->position_capacity * sizeof *w->positions);
        w->position_epochs = realloc(w->position_epochs, w->position_capacity * sizeof *w->position_epochs);
        w->position_nexts = realloc(w->position_nexts, w->position_capacity * sizeof *w->position_nexts);
        CHECK(w->positions && w->position_epochs && w->position_nexts);
    }
    w->positions[w->position_count] = position;
    w->position_epochs[w->position_count] = in_epoch;
    w->position_nexts[w->position_count++] = next;
}

static void do_position(world *w) {
    simdrive_position position;
    CHECK_OK(simdrive_get_position(w->writer, &position));
    CHECK_U64(newest(w)->size, position.offset);
    keep_position(w, position, w->newest, newest(w)->count);
}

static void follower_begin(world *w, follower *f) {
    f->on_writer = below(w, 2);
    simdrive_store *store = f->on_writer ? w->writer : w->reader;
    bool from_position = w->position_count > 0 && below(w, 4) > 0;
    size_t choice = from_position ? (size_t)below(w, w->position_count) : 0;
    if (!f->on_writer) w->reader_epoch = w->newest;
    f->epoch = w->newest;
    f->next = 0;
    f->seen = newest(w)->count;
    if (!from_position) {
        CHECK_OK(simdrive_changes_begin(store, NULL, &f->changes));
        return;
    }
    bool stale = w->position_epochs[choice] != w->newest;
    CHECK_STATUS(stale ? SIMDRIVE_ERROR_STALE_OFFSET : SIMDRIVE_OK,
                 simdrive_changes_begin(store, &w->positions[choice], &f->changes));
    CHECK(stale == (f->changes == NULL));
    f->next = w->position_nexts[choice];
}

/* What changes.c does when it has delivered all that it had seen. */
static void follower_look(world *w, follower *f) {
    if (!f->on_writer && f->epoch == w->reader_epoch) w->reader_epoch = w->newest;
    f->seen = w->epochs[f->epoch].image.count;
}

static void follower_step(world *w, follower *f) {
    simdrive_event event;
    if (f->next == f->seen) follower_look(w, f);
    if (f->next < f->seen) {
        const test_image *image = &w->epochs[f->epoch].image;
        CHECK_OK(simdrive_changes_next(f->changes, 0, &event));
        check_event(&event, image, &image->records[f->next++]);
        if (below(w, 4) == 0) keep_position(w, event.position, f->epoch, f->next);
        return;
    }
    size_t to = f->on_writer ? w->newest : w->reader_epoch;
    if (to == f->epoch) {
        check_none(f->changes);
        return;
    }
    CHECK_STATUS(SIMDRIVE_COMPACTED, simdrive_changes_next(f->changes, 0, &event));
    const epoch *now = &w->epochs[to];
    f->next = f->on_writer && to == f->epoch + 1 ? now->born : 0;
    f->seen = f->next;
    f->epoch = to;
    CHECK_U64(f->next > 0 ? now->image.records[f->next - 1].tail : 0, event.position.offset);
}

static void do_follow(world *w) {
    follower *f = &w->followers[below(w, READERS)];
    if (!f->changes) {
        follower_begin(w, f);
        return;
    }
    for (uint64_t steps = below(w, 60); steps > 0; steps--) follower_step(w, f);
    if (below(w, 12) > 0) return;
    simdrive_changes_end(f->changes);
    f->changes = NULL;
}

static void do_refresh(world *w) {
    CHECK_OK(simdrive_refresh(w->reader, NULL));
    w->reader_epoch = w->newest;
}

/* All changes of the newest file, made again, are the store. */
static void check_replay(world *w, simdrive_store *store) {
    simdrive_changes *changes = NULL;
    simdrive_event event;
    test_image replayed = {0};
    CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
    while (simdrive_changes_next(changes, 0, &event) == SIMDRIVE_OK) {
        if (event.operation == SIMDRIVE_PUT)
            test_image_put(&replayed, event.key_hash, event.payload.data, event.payload.size);
        else
            test_image_delete(&replayed, event.key_hash);
    }
    simdrive_changes_end(changes);
    CHECK_U64(newest(w)->size, replayed.size);
    CHECK(memcmp(newest(w)->bytes, replayed.bytes, replayed.size) == 0);
    test_check_shows(store, &replayed);
    test_image_free(&replayed);
}

static void run_sequence(const test_bench *b, uint64_t sequence, size_t steps) {
    static void (*const works[])(world *) = {do_put,      do_put,    do_put,    do_delete, do_batch,   do_stream,
                                             do_position, do_follow, do_follow, do_follow, do_refresh, do_compact};
    world w = {.random = test_random_begin(2000 + sequence)};
    w.epochs = calloc(MOST_EPOCHS, sizeof *w.epochs);
    CHECK(w.epochs != NULL);
    remove(b->path);
    w.writer = test_open(b->path);
    w.reader = test_open_read_only(b->path);
    for (size_t step = 0; step < steps; step++) {
        size_t work = (size_t)below(&w, sizeof works / sizeof *works);
        if (works[work] == do_compact && below(&w, 10) > 0) continue;
        test_context("sequence %llu, step %zu, work %zu", (unsigned long long)sequence, step, work);
        works[work](&w);
    }
    check_replay(&w, w.writer);
    check_replay(&w, w.reader);
    w.reader_epoch = w.newest;
    for (size_t i = 0; i < READERS; i++) {
        follower *f = &w.followers[i];
        if (!f->changes) continue;
        for (bool ended = false; !ended;) { /* to the end */
            follower_step(&w, f);
            ended = f->epoch == w.newest && f->next == newest(&w)->count;
        }
        check_none(f->changes);
    }
    CHECK_OK(simdrive_close(w.writer));
    CHECK_OK(simdrive_close(w.reader));
    for (size_t i = 0; i < READERS; i++) { /* they outlive the handles */
        if (w.followers[i].changes) check_none(w.followers[i].changes);
        simdrive_changes_end(w.followers[i].changes);
    }
    for (size_t i = 0; i <= w.newest; i++) test_image_free(&w.epochs[i].image);
    free(w.epochs);
    free(w.positions);
    free(w.position_epochs);
    free(w.position_nexts);
}

static void each_change_is_delivered_once_and_in_order(void **state) {
    for (uint64_t sequence = 0; sequence < (test_exhaustive() ? 400u : 15u); sequence++)
        run_sequence(*state, sequence, 1200);
}

/* --- many entries ------------------------------------------------------------------------------------------------ */

static void put_numbers(simdrive_store *store, uint64_t from, size_t count) {
    uint64_t *hashes = test_alloc(count * sizeof *hashes);
    simdrive_bytes *payloads = test_alloc(count * sizeof *payloads);
    for (size_t i = 0; i < count; i++) {
        hashes[i] = from + i;
        payloads[i] = (simdrive_bytes){&hashes[i], sizeof *hashes};
    }
    CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, count, NULL));
    free(hashes);
    free(payloads);
}

static void any_number_of_entries_is_delivered(void **state) {
    test_bench *b = *state;
    static const size_t counts[] = {1,       2,           STRETCH - 1,     STRETCH,        STRETCH + 1,
                                    2 * STRETCH - 1, 2 * STRETCH, 2 * STRETCH + 1, 5 * STRETCH + 77};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        test_context("%zu entries", counts[c]);
        remove(b->path);
        simdrive_store *store = test_open(b->path), *reader = test_open_read_only(b->path);
        simdrive_position before;
        simdrive_changes *changes[2] = {NULL, NULL};
        put_numbers(store, 1000000, 3);
        CHECK_OK(simdrive_get_position(store, &before));
        CHECK_OK(simdrive_changes_begin(store, &before, &changes[0]));
        CHECK_OK(simdrive_changes_begin(reader, &before, &changes[1]));
        put_numbers(store, 0, counts[c]);
        for (unsigned i = 0; i < 2; i++) {
            simdrive_event event;
            for (uint64_t n = 0; n < counts[c]; n++) {
                CHECK_OK(simdrive_changes_next(changes[i], 0, &event));
                CHECK_U64(n, event.key_hash);
            }
            check_none(changes[i]);
            simdrive_changes_end(changes[i]);
        }
        CHECK_OK(simdrive_close(reader));
        CHECK_OK(simdrive_close(store));
    }
}

/* --- positions --------------------------------------------------------------------------------------------------- */

static void only_tails_of_the_chain_are_positions(void **state) {
    test_bench *b = *state;
    test_image image = {0}, inner = {0};
    test_random random = test_random_begin(2100);
    test_context("each offset as a position");
    test_image_generate(&inner, TEST_SHAPE_TEXT, 4, 30, &random);
    test_image_put(&image, 1, inner.bytes, inner.size); /* whose chain is none of ours */
    test_image_put(&image, 2, inner.bytes, inner.size);
    test_image_put(&image, 1, "new", 3);
    test_image_delete(&image, 1);
    test_file_put(b->path, image.bytes, image.size);
    simdrive_store *stores[2] = {test_open(b->path), test_open_read_only(b->path)};
    size_t next = 0;
    for (uint64_t offset = 0; offset < image.size + 30; offset++) {
        bool tail = offset == 0 || (next < image.count && image.records[next].tail == offset);
        if (offset > 0 && tail) next++;
        for (unsigned i = 0; i < 2; i++) {
            simdrive_position since = {.offset = offset};
            simdrive_changes *changes = NULL;
            CHECK_STATUS(tail ? SIMDRIVE_OK : SIMDRIVE_ERROR_STALE_OFFSET,
                         simdrive_changes_begin(stores[i], &since, &changes));
            for (size_t n = next; tail && n < image.count; n++) check_next(changes, &image, &image.records[n]);
            if (tail) check_none(changes);
            simdrive_changes_end(changes);
            since.check = 12345;
            CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET, simdrive_changes_begin(stores[i], &since, &changes));
        }
    }
    CHECK_U64(image.count, next);
    for (unsigned i = 0; i < 2; i++) CHECK_OK(simdrive_close(stores[i]));
    test_image_free(&image);
    test_image_free(&inner);
}

static void a_position_belongs_to_one_file(void **state) {
    test_bench *b = *state;
    char copy[TEST_PATH_MAX];
    simdrive_position position;
    simdrive_changes *changes = NULL;
    test_context("positions in a copy");
    simdrive_store *store = test_open(b->path);
    put_numbers(store, 0, 10);
    CHECK_OK(simdrive_get_position(store, &position));
    CHECK_OK(simdrive_close(store));
    test_file_copy(b->path, test_path(&b->folder, "copy", copy));
    store = test_open(copy);
    CHECK_STATUS(SIMDRIVE_ERROR_STALE_OFFSET, simdrive_changes_begin(store, &position, &changes));
    position.check = 0;
    CHECK_OK(simdrive_changes_begin(store, &position, &changes));
    simdrive_changes_end(changes);
    CHECK_OK(simdrive_close(store));
    simdrive_changes_end(NULL);
    CHECK_STATUS(SIMDRIVE_ERROR_INVALID_ARGUMENT, simdrive_changes_begin(NULL, NULL, &changes));
}

static void stores_that_cannot_change_end_at_once(void **state) {
    (void)state;
    test_image image = {0};
    simdrive_store *store = NULL;
    simdrive_changes *changes = NULL;
    simdrive_event event;
    test_context("changes of a store in memory");
    test_image_put(&image, 7, "seven", 5);
    test_image_put(&image, 8, "eight", 5);
    uint8_t *bytes = aligned_alloc(64, 256);
    memcpy(bytes, image.bytes, image.size);
    CHECK_OK(simdrive_open_memory(bytes, image.size, &store));
    CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
    for (size_t i = 0; i < image.count; i++) check_next(changes, &image, &image.records[i]);
    CHECK_STATUS(SIMDRIVE_END, simdrive_changes_next(changes, UINT32_MAX, &event));
    CHECK_OK(simdrive_close(store));
    CHECK_STATUS(SIMDRIVE_END, simdrive_changes_next(changes, UINT32_MAX, &event));
    simdrive_changes_end(changes);
    free(bytes);
    test_image_free(&image);
}

/* --- damage ------------------------------------------------------------------------------------------------------ */

/* Entries are delivered as they are, or told as corrupt; never other bytes, never out of order. */
static void check_damaged(simdrive_store *store, const test_image *image, size_t damaged) {
    simdrive_changes *changes = NULL;
    simdrive_event event;
    simdrive_status status;
    size_t next = 0, delivered = 0, corrupt = 0;
    CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
    while ((status = simdrive_changes_next(changes, 0, &event)) != SIMDRIVE_END) {
        while (next < image->count && image->records[next].tail != event.position.offset) next++;
        CHECK(next < image->count);
        if (status == SIMDRIVE_OK) {
            check_event(&event, image, &image->records[next]);
            delivered++;
        } else {
            CHECK_STATUS(SIMDRIVE_ERROR_CORRUPT, status);
            CHECK(next == damaged && event.payload.data == NULL);
            corrupt++;
        }
        next++;
        simdrive_changes *later = NULL; /* from each position on, the rest can be had */
        CHECK_OK(simdrive_changes_begin(store, &event.position, &later));
        simdrive_changes_end(later);
    }
    simdrive_changes_end(changes);
    CHECK(corrupt <= 1 && delivered + 1 >= simdrive_count(store));
    CHECK(delivered + corrupt + 1 >= image->count);
}

static void damaged_stores_deliver_what_can_be_reached(void **state) {
    test_bench *b = *state;
    test_random random = test_random_begin(2200);
    test_image image = {0};
    test_image_generate(&image, TEST_SHAPE_RANDOM, 12, 60, &random);
    /* The last entry, damaged, is a damaged tail. */
    for (size_t i = 0; i + 1 < image.count; i++) {
        const test_record *record = &image.records[i];
        const size_t places[] = {record->start, record->end + 8, record->end + 12, record->end + 17};
        for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
            test_context("entry %zu damaged at %zu", i, places[p]);
            image.bytes[places[p]] ^= 0x40;
            test_file_put(b->path, image.bytes, image.size);
            image.bytes[places[p]] ^= 0x40;
            simdrive_store *store = test_open_read_only(b->path);
            check_damaged(store, &image, i);
            CHECK_OK(simdrive_close(store));
        }
    }
    test_image_free(&image);
}

static void reclaimed_payloads_are_told_from_damage(void **state) {
    test_bench *b = *state;
    enum { LARGE = 20000 };
    uint8_t *large = test_alloc(LARGE);
    test_image image = {0};
    test_random random = test_random_begin(2300);
    test_random_fill(&random, large, LARGE);
    test_context("reclaimed payloads");
    test_image_put(&image, 9, "first", 5);
    test_image_put(&image, 1, large, LARGE); /* replaced */
    test_image_put(&image, 2, large, LARGE); /* live */
    test_image_put(&image, 1, large, 100);
    test_image_put(&image, 3, large, 100); /* replaced: has no whole page */
    test_image_put(&image, 3, "last", 4);
    for (unsigned live = 0; live < 3; live++) {
        test_image punched;
        test_image_clone(&image, &punched);
        test_reclaim_record(punched.bytes, &image.records[1]);
        if (live == 1) test_reclaim_record(punched.bytes, &image.records[2]);
        if (live == 2) memset(punched.bytes + image.records[4].start, 0, 100);
        test_file_put(b->path, punched.bytes, punched.size);
        simdrive_store *store = test_open_read_only(b->path);
        simdrive_changes *changes = NULL;
        simdrive_event event;
        CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
        for (size_t i = 0; i < image.count; i++) {
            bool corrupt = (live == 1 && i == 2) || (live == 2 && i == 4);
            CHECK_STATUS(corrupt ? SIMDRIVE_ERROR_CORRUPT : SIMDRIVE_OK, simdrive_changes_next(changes, 0, &event));
            CHECK_U64(image.records[i].key_hash, event.key_hash);
            CHECK_U64(image.records[i].tail, event.position.offset);
            CHECK(event.reclaimed == (i == 1));
            if (i == 1) CHECK(event.payload.data == NULL && event.payload.size == LARGE);
        }
        check_none(changes);
        simdrive_changes_end(changes);
        CHECK_OK(simdrive_close(store));
        test_image_free(&punched);
    }
    test_image_free(&image);
    free(large);
}

/* --- failing calls ----------------------------------------------------------------------------------------------- */

/* Whatever call fails, nothing is left out, and nothing comes twice. */
static void a_failing_call_loses_no_change(void **state) {
    test_bench *b = *state;
    sdi_fault_os *faults = sdi_fault_os_create();
    simdrive_open_options options = {.struct_size = sizeof options, .read_only = true};
    for (uint64_t nth = 1, fired = 1; fired > 0; nth++) {
        simdrive_store *reader = NULL;
        simdrive_changes *changes = NULL;
        simdrive_event event;
        test_context("call %llu fails", (unsigned long long)nth);
        remove(b->path);
        simdrive_store *writer = test_open(b->path);
        put_numbers(writer, 0, 10);
        CHECK_OK(sdi_open_with_os(sdi_fault_os_table(faults), b->path, &options, &reader));
        CHECK_OK(simdrive_changes_begin(reader, NULL, &changes));
        put_numbers(writer, 10, 700);
        sdi_fault_os_arm(faults, &(sdi_fault_plan){.kind = SDI_FAULT_ANY, .nth = nth, .os_error = EIO,
                                                   .status = SIMDRIVE_ERROR_IO});
        unsigned failures = 0;
        for (uint64_t n = 0; n < 710;) {
            simdrive_status status = simdrive_changes_next(changes, 0, &event);
            if (status != SIMDRIVE_OK) {
                CHECK_STATUS(SIMDRIVE_ERROR_IO, status);
                CHECK(++failures < 3);
                continue;
            }
            CHECK_U64(n++, event.key_hash);
        }
        put_numbers(writer, 5, 10); /* something to compact, seen by nobody yet */
        CHECK_OK(simdrive_compact(writer, NULL, NULL));
        simdrive_status status = SIMDRIVE_OK;
        for (uint64_t n = 5; n <= 15;) {
            status = simdrive_changes_next(changes, 0, &event);
            if (n == 15 && status == SIMDRIVE_COMPACTED) break;
            if (status != SIMDRIVE_OK) {
                CHECK_STATUS(SIMDRIVE_ERROR_IO, status);
                CHECK(++failures < 3);
                continue;
            }
            CHECK_U64(n++, event.key_hash);
        }
        CHECK_STATUS(SIMDRIVE_COMPACTED, status);
        uint64_t count = 0;
        for (; (status = simdrive_changes_next(changes, 0, &event)) != SIMDRIVE_END; count += status == SIMDRIVE_OK)
            CHECK(status == SIMDRIVE_OK || ++failures < 3);
        CHECK_U64(710, count);
        simdrive_changes_end(changes);
        fired = sdi_fault_os_disarm(faults);
        CHECK_OK(simdrive_close(reader));
        CHECK_OK(simdrive_close(writer));
    }
    sdi_fault_os_destroy(faults);
}

/* --- beside another process -------------------------------------------------------------------------------------- */

enum { BATCH = 40, BATCHES = 400, DONE_KEY = 1000000 };

typedef struct child_work {
    const test_bench *b;
    bool compacts;
} child_work;

/* Batches of BATCH puts with the batch's number, some of whose keys are deleted by the next. */
static void child_writes(const child_work *work) {
    simdrive_store *store = test_open(work->b->path);
    for (uint64_t batch = 1; batch <= BATCHES; batch++) {
        simdrive_change changes[BATCH];
        for (uint64_t i = 0; i < BATCH; i++) {
            bool put = batch % 5 != 0 || i % 3 != 0;
            uint64_t key = put ? i + 1 : i + 1 + BATCH * (batch - 1); /* these keys were put for once */
            changes[i] = (simdrive_change){put ? SIMDRIVE_PUT : SIMDRIVE_DELETE, key, {&batch, sizeof batch}};
            if (put && batch % 5 == 4 && i % 3 == 0) changes[i].key_hash = i + 1 + BATCH * batch;
        }
        CHECK_OK(simdrive_apply(store, changes, BATCH, SIMDRIVE_BATCH_ATOMIC, NULL));
        if (work->compacts && batch % 60 == 0) CHECK_OK(simdrive_compact(store, NULL, NULL));
    }
    CHECK_OK(simdrive_write_hash(store, DONE_KEY, "done", 4, NULL));
    CHECK_OK(simdrive_close(store));
}

typedef struct replica {
    uint64_t values[BATCH * (BATCHES + 2)]; /* by key; 0: not there */
    unsigned whole; /* events of the batch that is being delivered */
    bool done, moved;
} replica;

static void replica_take(replica *r, simdrive_status status, const simdrive_event *event) {
    if (status == SIMDRIVE_END) {
        if (!r->moved) CHECK_U64(0, r->whole % BATCH); /* in the first file, batches are all there is */
        return;
    }
    if (status == SIMDRIVE_COMPACTED) {
        CHECK(r->moved || r->whole % BATCH == 0);
        CHECK_U64(0, event->position.offset);
        memset(r->values, 0, sizeof r->values);
        r->moved = true;
        return;
    }
    CHECK_OK(status);
    if (event->key_hash == DONE_KEY) {
        r->done = true;
        return;
    }
    uint64_t value = 0;
    CHECK(event->key_hash < sizeof r->values / sizeof *r->values);
    if (event->operation == SIMDRIVE_PUT) memcpy(&value, event->payload.data, sizeof value);
    r->values[event->key_hash] = value;
    r->whole++;
}

static void check_replica(const replica *r, const char *path) {
    simdrive_store *store = test_open_read_only(path);
    for (uint64_t key = 0; key < sizeof r->values / sizeof *r->values; key++) {
        simdrive_entry entry = {0};
        CHECK_STATUS(r->values[key] ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_read_hash(store, key, &entry));
        if (r->values[key]) CHECK(memcmp(entry.data, &r->values[key], sizeof r->values[key]) == 0);
        simdrive_entry_release(&entry);
    }
    CHECK_OK(simdrive_close(store));
}

static void follow_process(const test_bench *b, bool compacts, uint32_t timeout_ms) {
    const child_work work = {b, compacts};
    int how = 0;
    remove(b->path);
    CHECK_OK(simdrive_close(test_open(b->path)));
    simdrive_store *reader = test_open_read_only(b->path);
    simdrive_changes *changes = NULL;
    replica *r = calloc(1, sizeof *r);
    CHECK_OK(simdrive_changes_begin(reader, NULL, &changes));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        child_writes(&work);
        _exit(0);
    }
    while (!r->done) {
        simdrive_event event;
        replica_take(r, simdrive_changes_next(changes, timeout_ms, &event), &event);
    }
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CHECK(compacts || r->whole == BATCH * BATCHES);
    check_replica(r, b->path);
    free(r);
    simdrive_changes_end(changes);
    CHECK_OK(simdrive_close(reader));
}

static void another_process_is_followed_by_whole_batches(void **state) {
    for (unsigned round = 0; round < (test_exhaustive() ? 60u : 4u); round++) {
        test_context("beside a process, round %u", round);
        follow_process(*state, false, round % 2 ? 0 : 2000);
    }
}

static void another_process_is_followed_through_compactions(void **state) {
    for (unsigned round = 0; round < (test_exhaustive() ? 60u : 4u); round++) {
        test_context("beside a process that compacts, round %u", round);
        follow_process(*state, true, round % 2 ? 0 : 2000);
    }
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

enum { THREAD_KEYS = 300, THREAD_BATCHES = 200 };

typedef struct threads {
    simdrive_store *writer, *reader;
    atomic_bool stop;
    bool compacts;
} threads;

/* All keys at once get the same number, so that half a batch is seen at once. */
static void write_rounds(void *user) {
    threads *t = user;
    simdrive_change changes[THREAD_KEYS];
    for (uint64_t round = 1; round <= THREAD_BATCHES; round++) {
        for (uint64_t key = 0; key < THREAD_KEYS; key++)
            changes[key] = (simdrive_change){SIMDRIVE_PUT, key, {&round, sizeof round}};
        CHECK_OK(simdrive_apply(t->writer, changes, THREAD_KEYS, SIMDRIVE_BATCH_ATOMIC, NULL));
        if (t->compacts && round % 40 == 0) CHECK_OK(simdrive_compact(t->writer, NULL, NULL));
    }
    atomic_store(&t->stop, true);
}

/* Whoever walks over a handle that others refresh sees whole batches. */
static void walk_rounds(void *user) {
    threads *t = user;
    while (!atomic_load(&t->stop)) {
        simdrive_iterator *iterator = NULL;
        const simdrive_entry *entry = NULL;
        uint64_t first = 0, value, count = 0;
        CHECK_OK(simdrive_iterate(t->reader, &iterator));
        while (simdrive_iterator_peek_next(iterator, &entry) == SIMDRIVE_OK) {
            memcpy(&value, entry->data, sizeof value);
            if (count++ == 0) first = value;
            CHECK_U64(first, value);
        }
        CHECK(count == 0 || count == THREAD_KEYS);
        simdrive_iterator_close(iterator);
    }
}

static void refresh_rounds(void *user) {
    threads *t = user;
    while (!atomic_load(&t->stop)) CHECK_OK(simdrive_refresh(t->reader, NULL));
}

/* Each round is one more than the one before, unless everything came again. */
static void follow_rounds(simdrive_store *store) {
    simdrive_changes *changes = NULL;
    uint64_t round = 0, key = 0, last = 0;
    CHECK_OK(simdrive_changes_begin(store, NULL, &changes));
    while (last < THREAD_BATCHES || key != 0) {
        simdrive_event event;
        simdrive_status status = simdrive_changes_next(changes, key == 0 ? UINT32_MAX : 0, &event);
        if (status == SIMDRIVE_COMPACTED) {
            CHECK_U64(0, key);
            if (event.position.offset == 0) round = 0;
            continue;
        }
        CHECK_OK(status); /* in the middle of a batch, too, where it may not wait */
        CHECK_U64(key, event.key_hash);
        memcpy(&last, event.payload.data, sizeof last);
        if (key == 0) {
            CHECK(last == round + 1 || (round == 0 && last >= 1));
            round = last;
        }
        CHECK_U64(round, last);
        key = (key + 1) % THREAD_KEYS;
    }
    simdrive_changes_end(changes);
}

static void follow_writer(void *user) {
    follow_rounds(((threads *)user)->writer);
}

static void follow_reader(void *user) {
    follow_rounds(((threads *)user)->reader);
}

static void threads_follow_whole_batches(void **state) {
    test_bench *b = *state;
    static void (*const bodies[])(void *) = {write_rounds,  follow_writer, follow_writer, follow_reader,
                                             follow_reader, walk_rounds,   refresh_rounds};
    enum { BODIES = sizeof bodies / sizeof *bodies };
    for (unsigned round = 0; round < (test_exhaustive() ? 40u : 4u); round++) {
        threads t = {.compacts = round % 2};
        sdi_thread running[BODIES];
        test_context("threads, round %u", round);
        remove(b->path);
        t.writer = test_open(b->path);
        t.reader = test_open_read_only(b->path);
        for (size_t i = 0; i < BODIES; i++) CHECK_OK(sdi_thread_start(&running[i], bodies[i], &t));
        for (size_t i = 0; i < BODIES; i++) sdi_thread_join(&running[i]);
        CHECK_OK(simdrive_close(t.reader));
        CHECK_OK(simdrive_close(t.writer));
    }
}

#define CHANGES_TEST(test) cmocka_unit_test_setup_teardown(test, test_bench_begin, test_bench_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CHANGES_TEST(each_change_is_delivered_once_and_in_order),
        CHANGES_TEST(any_number_of_entries_is_delivered),
        CHANGES_TEST(only_tails_of_the_chain_are_positions),
        CHANGES_TEST(a_position_belongs_to_one_file),
        CHANGES_TEST(stores_that_cannot_change_end_at_once),
        CHANGES_TEST(damaged_stores_deliver_what_can_be_reached),
        CHANGES_TEST(reclaimed_payloads_are_told_from_damage),
        CHANGES_TEST(a_failing_call_loses_no_change),
        CHANGES_TEST(another_process_is_followed_by_whole_batches),
        CHANGES_TEST(another_process_is_followed_through_compactions),
        CHANGES_TEST(threads_follow_whole_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
