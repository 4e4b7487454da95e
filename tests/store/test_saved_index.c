/* SPDX-License-Identifier: Apache-2.0
 *
 * test_saved_index.c — the saved index beside a store changes nothing but the time that opening takes: whatever is in
 * the file of that name, a store opened with it shows what one opened without it shows. It is written by writers only,
 * beside others and beside compaction, and never over a file of somebody else.
 *
 * saved_index.c is compiled into this program, so that its header can be read and made hostile here. */
#include "store/saved_index.c"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "builder.h"
#include "check.h"
#include "files.h"
#include "stores.h"

enum { NOBODY = 1234 };

typedef struct bench {
    test_folder folder;
    char path[TEST_PATH_MAX], index[TEST_PATH_MAX], other[TEST_PATH_MAX], other_index[TEST_PATH_MAX];
    test_image image; /* what the store must show */
    test_random random;
} bench;

static void bench_begin(bench *b, uint64_t stream) {
    memset(b, 0, sizeof *b);
    b->folder = test_folder_create();
    test_path(&b->folder, "store", b->path);
    test_path(&b->folder, "store.index", b->index);
    test_path(&b->folder, "other", b->other);
    test_path(&b->folder, "other.index", b->other_index);
    b->random = test_random_begin(stream);
}

static void bench_end(bench *b) {
    test_image_free(&b->image);
    test_folder_remove(&b->folder);
}

static simdrive_status try_open(const char *path, simdrive_saved_index saved_index, bool read_only,
                                simdrive_store **store) {
    simdrive_open_options options = {
        .struct_size = sizeof options, .saved_index = saved_index, .read_only = read_only, .must_exist = false};
    return simdrive_open(path, &options, store);
}

static simdrive_store *open_with(const char *path, simdrive_saved_index saved_index, bool read_only) {
    simdrive_store *store = NULL;
    CHECK_OK(try_open(path, saved_index, read_only, &store));
    return store;
}

static bool is_used(const simdrive_store *store) {
    return atomic_load(&store->stats.index_saved_tail) != 0;
}

static bool opens_with_index(const char *path) {
    simdrive_store *store = open_with(path, SIMDRIVE_SAVED_INDEX_AUTO, true);
    bool used = is_used(store);
    CHECK_OK(simdrive_close(store));
    return used;
}

/* --- writing, in the store and in the model ----------------------------------------------------------------------- */

static size_t random_payload(bench *b, uint8_t *payload, size_t most) {
    size_t size = 1 + (size_t)test_random_below(&b->random, most);
    test_random_fill(&b->random, payload, size);
    payload[0] |= 1;
    return size;
}

static void write_one(bench *b, simdrive_store *store, uint64_t key) {
    uint8_t payload[300];
    size_t size = random_payload(b, payload, sizeof payload);
    CHECK_OK(simdrive_write_hash(store, test_key_hash(key), payload, size, NULL));
    test_image_put(&b->image, test_key_hash(key), payload, size);
}

static void delete_one(bench *b, simdrive_store *store, uint64_t key) {
    bool is_there = test_image_find(&b->image, test_key_hash(key)) != NULL;
    CHECK_STATUS(is_there ? SIMDRIVE_OK : SIMDRIVE_NOT_FOUND, simdrive_delete_hash(store, test_key_hash(key), NULL));
    if (is_there) test_image_delete(&b->image, test_key_hash(key));
}

static void write_batch(bench *b, simdrive_store *store, uint64_t range) {
    enum { BATCH = 20 };
    uint8_t bytes[BATCH][40];
    uint64_t hashes[BATCH];
    simdrive_bytes payloads[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        hashes[i] = test_key_hash(test_random_below(&b->random, range));
        payloads[i] = (simdrive_bytes){bytes[i], random_payload(b, bytes[i], sizeof bytes[i])};
        test_image_put(&b->image, hashes[i], bytes[i], payloads[i].size);
    }
    CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, BATCH, NULL));
}

static void write_stream(bench *b, simdrive_store *store, uint64_t key) {
    uint8_t payload[500];
    test_source source = {.bytes = payload, .size = random_payload(b, payload, sizeof payload), .piece = 77};
    CHECK_OK(simdrive_write_stream_hash(store, test_key_hash(key), test_source_read, &source, 0, NULL));
    test_image_put(&b->image, test_key_hash(key), payload, source.size);
}

static void write_something(bench *b, simdrive_store *store, uint64_t range) {
    uint64_t key = test_random_below(&b->random, range);
    switch (test_random_below(&b->random, 8)) {
    case 0: delete_one(b, store, key); break;
    case 1: write_batch(b, store, range); break;
    case 2: write_stream(b, store, key); break;
    default: write_one(b, store, key); break;
    }
}

/* A store with an index that covers all of it. */
static void make_saved(bench *b, uint64_t writes) {
    simdrive_store *store = open_with(b->path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    for (uint64_t i = 0; i < writes; i++) write_something(b, store, writes);
    if (b->image.count == 0) write_one(b, store, 1);
    CHECK_OK(simdrive_close(store));
    CHECK(test_file_exists(b->index) && opens_with_index(b->path));
}

static void write_without(bench *b, uint64_t writes) {
    simdrive_store *store = open_with(b->path, SIMDRIVE_SAVED_INDEX_OFF, false);
    for (uint64_t i = 0; i < writes; i++) write_one(b, store, test_random_below(&b->random, 30));
    CHECK_OK(simdrive_close(store));
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

/* All but the memory that the index takes. */
static void check_same_figures(const simdrive_store *with, const simdrive_store *without) {
    simdrive_info a = test_info(with), c = test_info(without);
    CHECK_U64(c.file_size, a.file_size);
    CHECK_U64(c.tail, a.tail);
    CHECK_U64(c.entries, a.entries);
    CHECK_U64(c.tombstones, a.tombstones);
    CHECK_U64(c.stale_entries, a.stale_entries);
    CHECK_U64(c.live_bytes, a.live_bytes);
    CHECK_U64(c.stale_bytes, a.stale_bytes);
    CHECK_U64(c.damaged_tail_bytes, a.damaged_tail_bytes);
    CHECK_U64(c.corrupt_entries, a.corrupt_entries);
    CHECK_U64(c.durable_tail, a.durable_tail);
    CHECK_U64(c.quarantined_bytes, a.quarantined_bytes);
    CHECK_U64(c.damage, a.damage);
    CHECK_U64(c.checksum, a.checksum);
    CHECK_U64(c.read_only, a.read_only);
    CHECK_U64(c.poisoned, a.poisoned);
}

/* Each key of the model is answered alike, by handles with and without the index. */
static void check_same_answers(bench *b, simdrive_store *with, simdrive_store *without) {
    for (size_t i = 0; i < b->image.count; i++) {
        simdrive_entry a = {0}, c = {0};
        uint64_t hash = b->image.records[i].key_hash;
        simdrive_status status = simdrive_read_hash(without, hash, &c);
        CHECK_STATUS(status, simdrive_read_hash(with, hash, &a));
        CHECK(a.size == c.size && (a.size == 0 || memcmp(a.data, c.data, a.size) == 0));
        simdrive_entry_release(&a);
        simdrive_entry_release(&c);
    }
}

/* Opened in any way, the store is as the model, with the index and without. Returns whether it was used. */
static bool check_store(bench *b) {
    simdrive_store *without = open_with(b->path, SIMDRIVE_SAVED_INDEX_OFF, true);
    simdrive_store *with = open_with(b->path, SIMDRIVE_SAVED_INDEX_AUTO, true);
    bool used = is_used(with);
    test_check_shows(with, &b->image);
    check_same_figures(with, without);
    CHECK_OK(simdrive_close(with));
    CHECK_OK(simdrive_close(without));
    without = open_with(b->path, SIMDRIVE_SAVED_INDEX_OFF, false);
    simdrive_info info = test_info(without);
    CHECK_OK(simdrive_close(without));
    with = open_with(b->path, SIMDRIVE_SAVED_INDEX_AUTO, false);
    CHECK_U64(info.tail, test_info(with).tail);
    CHECK_U64(info.entries, test_info(with).entries);
    CHECK_U64(info.checksum, test_info(with).checksum);
    test_check_shows(with, &b->image);
    CHECK(is_used(with) == used);
    CHECK_OK(simdrive_close(with));
    return used;
}

/* The same where the store may be damaged, and readers may see less than the model. */
static void check_alike(bench *b) {
    for (int read_only = 0; read_only < 2; read_only++) {
        simdrive_store *with = NULL, *without = NULL;
        simdrive_info info = {0};
        simdrive_status status = try_open(b->path, SIMDRIVE_SAVED_INDEX_OFF, read_only != 0, &without);
        if (!read_only && status == SIMDRIVE_OK) {
            info = test_info(without);
            CHECK_OK(simdrive_close(without)); /* one writer at a time */
        }
        CHECK_STATUS(status, try_open(b->path, SIMDRIVE_SAVED_INDEX_AUTO, read_only != 0, &with));
        if (status != SIMDRIVE_OK) continue;
        if (read_only) {
            check_same_figures(with, without);
            check_same_answers(b, with, without);
            CHECK_OK(simdrive_close(without));
        } else {
            simdrive_info found = test_info(with);
            CHECK(info.tail == found.tail && info.entries == found.entries && info.damage == found.damage &&
                  info.damaged_tail_bytes == found.damaged_tail_bytes);
        }
        CHECK_OK(simdrive_close(with));
    }
}

static void poke(const char *path, uint64_t offset, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

static saved_header header_of(const char *index) {
    size_t size;
    uint8_t *bytes = test_file_get(index, &size);
    saved_header header;
    CHECK(bytes && size > sizeof header);
    memcpy(&header, bytes, sizeof header);
    free(bytes);
    return header;
}

static void put_header(const char *index, saved_header header) {
    header.checksum = header_checksum(&header);
    poke(index, 0, &header, sizeof header);
}

/* --- histories ---------------------------------------------------------------------------------------------------- */

static void run_session(bench *b, uint64_t range) {
    simdrive_saved_index saved_index = (simdrive_saved_index)test_random_below(&b->random, 3);
    simdrive_open_options options = {.struct_size = sizeof options, .saved_index = saved_index};
    if (test_random_below(&b->random, 4) == 0) options.sync = SIMDRIVE_SYNC_COMMIT;
    if (test_random_below(&b->random, 4) == 0) options.checksum = SIMDRIVE_CHECKSUM_CRC32;
    simdrive_store *store = NULL;
    CHECK_OK(simdrive_open(b->path, &options, &store));
    if (saved_index == SIMDRIVE_SAVED_INDEX_OFF) CHECK(!is_used(store));
    b->image.checksum = test_info(store).checksum;
    uint64_t before = simdrive_tail(store), writes = test_random_below(&b->random, 12);
    for (uint64_t i = 0; i < writes; i++) write_something(b, store, range);
    if (test_random_below(&b->random, 6) == 0) {
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        test_image_compact(&b->image);
    }
    if (test_random_below(&b->random, 6) == 0) CHECK_OK(simdrive_sync(store, NULL));
    test_check_shows(store, &b->image);
    bool changed = simdrive_tail(store) != before;
    CHECK_OK(simdrive_close(store));
    bool used = b->image.count > 0 && check_store(b);
    if (changed && saved_index == SIMDRIVE_SAVED_INDEX_ALWAYS && b->image.count > 0) CHECK(used);
}

static void histories_are_as_without_it(void **state) {
    (void)state;
    uint64_t rounds = test_exhaustive() ? 400 : 25;
    for (uint64_t round = 0; round < rounds; round++) {
        bench b;
        bench_begin(&b, 1000 + round);
        uint64_t range = round % 3 == 0 ? 4 : 60;
        for (uint64_t session = 0; session < 14; session++) {
            test_context("history %llu, session %llu", (unsigned long long)round, (unsigned long long)session);
            run_session(&b, range);
        }
        bench_end(&b);
    }
}

/* Key n has the number n + change. */
static void write_numbers(simdrive_store *store, uint64_t first, uint64_t count, uint64_t change) {
    enum { BATCH = 500 };
    uint64_t numbers[BATCH], hashes[BATCH];
    simdrive_bytes payloads[BATCH];
    for (uint64_t done = 0; done < count; done += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            numbers[i] = first + done + i + change;
            hashes[i] = test_key_hash(first + done + i);
            payloads[i] = (simdrive_bytes){&numbers[i], sizeof numbers[i]};
        }
        CHECK_OK(simdrive_write_batch_hash(store, hashes, payloads, BATCH, NULL));
    }
}

static void check_numbers(simdrive_store *store, uint64_t first, uint64_t count, uint64_t change) {
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t number = n + change;
        simdrive_entry entry = {0};
        CHECK_OK(simdrive_read_hash(store, test_key_hash(n), &entry));
        CHECK(entry.size == sizeof number && memcmp(entry.data, &number, sizeof number) == 0);
        simdrive_entry_release(&entry);
    }
}

static void many_keys_in_many_segments(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1100);
    test_context("many keys");
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_numbers(store, 0, 40000, 0);
    CHECK_OK(simdrive_close(store));
    store = open_with(b.path, SIMDRIVE_SAVED_INDEX_OFF, false);
    write_numbers(store, 10000, 5000, 7);
    write_numbers(store, 40000, 5000, 0);
    CHECK_OK(simdrive_close(store));
    for (int round = 0; round < 4; round++) {
        size_t size = test_file_size(b.index);
        for (int i = 0; round > 1 && i < 4; i++) {
            uint64_t word = test_random_next(&b.random);
            poke(b.index, HEADER_PAGE + test_random_below(&b.random, size / 2), &word, sizeof word);
        }
        bool read_only = round % 2 == 0;
        store = open_with(b.path, read_only ? SIMDRIVE_SAVED_INDEX_ALWAYS : SIMDRIVE_SAVED_INDEX_AUTO, read_only);
        CHECK(is_used(store));
        check_numbers(store, 0, 10000, 0);
        check_numbers(store, 10000, 5000, 7);
        check_numbers(store, 15000, 30000, 0);
        for (uint64_t n = 45000; n < 46000; n++) CHECK(!simdrive_exists_hash(store, test_key_hash(n)));
        CHECK_U64(45000, simdrive_count(store));
        CHECK_OK(simdrive_close(store));
    }
    bench_end(&b);
}

/* --- damaged, and hostile ----------------------------------------------------------------------------------------- */

static void damaged_bytes_do_no_harm(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1200);
    make_saved(&b, 40);
    write_without(&b, 5);
    size_t size;
    uint8_t *bytes = test_file_get(b.index, &size);
    CHECK(check_store(&b));
    for (size_t at = 0; at < sizeof(saved_header); at++) {
        uint8_t changed = (uint8_t)(bytes[at] ^ (1u << at % 8));
        test_context("byte %zu of the header changed", at);
        poke(b.index, at, &changed, 1);
        CHECK(!check_store(&b));
        poke(b.index, at, &bytes[at], 1);
    }
    for (int round = 0; round < (test_exhaustive() ? 5000 : 300); round++) {
        uint64_t at = HEADER_PAGE + test_random_below(&b.random, size - HEADER_PAGE);
        uint8_t changed = (uint8_t)(bytes[at] ^ (1 + test_random_below(&b.random, 255)));
        test_context("byte %llu changed", (unsigned long long)at);
        poke(b.index, at, &changed, 1);
        check_store(&b);
        poke(b.index, at, &bytes[at], 1);
    }
    CHECK(check_store(&b));
    for (size_t length = 0; length < size; length += length < 140 || length + 200 > size ? 1 : 61) {
        test_context("index of %zu of %zu bytes", length, size);
        test_file_put(b.index, bytes, length);
        CHECK(!check_store(&b));
    }
    free(bytes);
    bench_end(&b);
}

static void hostile_headers_do_no_harm(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1210);
    make_saved(&b, 60);
    write_without(&b, 5);
    const saved_header header = header_of(b.index);
    size_t size;
    uint8_t *file = test_file_get(b.path, &size);
    const uint64_t apart = SIMDRIVE_ALIGNMENT > 64 ? SIMDRIVE_ALIGNMENT / 64 : 1; /* the file is as much larger */
    for (uint64_t tail = 0; tail < size + 100; tail += tail + 100 < header.tail ? 61 * apart : 3 * apart) {
        saved_header hostile = header;
        test_context("tail %llu of %llu in the header", (unsigned long long)tail, (unsigned long long)size);
        if (tail == header.tail) continue;
        hostile.tail = tail;
        hostile.low = tail < header.low ? tail : header.low;
        if (tail <= size) hostile.chain = chain_digest(file, tail);
        put_header(b.index, hostile);
        simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        if (!is_used(store)) test_check_shows(store, &b.image);
        for (size_t i = 0; i < b.image.count; i++) simdrive_exists_hash(store, b.image.records[i].key_hash);
        CHECK_OK(simdrive_close(store));
    }
    for (uint64_t low = 0; low < header.tail + 100; low += low + 100 < header.tail ? 37 * apart : 1) {
        saved_header hostile = header;
        test_context("low %llu in the header", (unsigned long long)low);
        hostile.low = low;
        put_header(b.index, hostile);
        simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        test_check_shows(store, &b.image);
        CHECK_OK(simdrive_close(store));
    }
    const uint64_t sizes[] = {0, 1, header.image_size - 1, header.image_size + 1, UINT64_MAX, UINT64_MAX - HEADER_PAGE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        saved_header hostile = header;
        hostile.image_size = sizes[i];
        put_header(b.index, hostile);
        CHECK(!check_store(&b));
    }
    saved_header hostile = header;
    hostile.alignment = 2 * SIMDRIVE_ALIGNMENT;
    put_header(b.index, hostile);
    CHECK(!check_store(&b));
    hostile = header;
    hostile.chain ^= 1;
    put_header(b.index, hostile);
    CHECK(!check_store(&b));
    hostile = header;
    hostile.file_number ^= 1;
    put_header(b.index, hostile);
    CHECK(!check_store(&b));
    hostile = header;
    hostile.file_born ^= 1;
    put_header(b.index, hostile);
    CHECK(!check_store(&b));
    put_header(b.index, header);
    CHECK(check_store(&b));
    free(file);
    bench_end(&b);
}

/* --- of another file, or of this one as it was -------------------------------------------------------------------- */

static void an_index_of_another_store_is_ignored(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1300);
    test_context("index of another store");
    make_saved(&b, 40);
    simdrive_store *other = open_with(b.other, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    CHECK_OK(simdrive_write(other, "key", 3, "value", 5, NULL));
    CHECK_OK(simdrive_close(other));
    CHECK(rename(b.other_index, b.index) == 0);
    CHECK(!check_store(&b));
    make_saved(&b, 5); /* and is replaced */
    CHECK(check_store(&b));
    bench_end(&b);
}

static void an_index_from_before_a_compaction_is_ignored(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1310);
    test_context("index from before a compaction");
    for (int round = 0; round < 6; round++) {
        make_saved(&b, 40);
        simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_OFF, false);
        write_one(&b, store, 1);
        write_one(&b, store, 1);
        CHECK_OK(simdrive_compact(store, NULL, NULL));
        test_image_compact(&b.image);
        CHECK_OK(simdrive_close(store));
        CHECK(!check_store(&b));
        write_without(&b, (uint64_t)round * 8);
        CHECK(!check_store(&b));
    }
    bench_end(&b);
}

/* The same file gets the bytes of another store: its number and its birth stay. */
static void bytes_copied_over_the_file_are_noticed(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 30; round++) {
        bench b, from;
        bench_begin(&b, 1320 + round);
        bench_begin(&from, 1420 + round);
        test_context("other bytes in the same file, round %llu", (unsigned long long)round);
        make_saved(&b, 30 + round);
        if (round % 2) { /* of the same length */
            test_image_clone(&b.image, &from.image);
            test_record *record = &from.image.records[from.image.count - 1 - round % 10];
            uint64_t hash = test_key_hash(777);
            sdi_store64(from.image.bytes + record->end, hash);
            record->key_hash = hash;
        } else {
            make_saved(&from, 45);
        }
        test_file_put(b.path, from.image.bytes, from.image.size);
        test_image was = b.image;
        b.image = from.image;
        CHECK(!check_store(&b));
        b.image = was;
        test_file_put(b.path, b.image.bytes, b.image.size);
        CHECK(check_store(&b)); /* the old bytes again */
        bench_end(&from);
        bench_end(&b);
    }
}

/* The file is cut at the n-th entry, and written again to at least the old length. */
static void a_cut_and_rewritten_file_is_noticed(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1330);
    make_saved(&b, 12);
    write_without(&b, 6);
    size_t size, covered = (size_t)header_of(b.index).tail;
    uint8_t *bytes = test_file_get(b.path, &size);
    for (size_t cut = 0; cut < size; cut += cut + 300 < size ? 29 : 3) {
        bench again = b;
        test_context("cut to %zu of %zu, the index covers %zu", cut, size, covered);
        memset(&again.image, 0, sizeof again.image);
        test_file_put(b.path, bytes, size);
        test_file_truncate(b.path, cut);
        check_alike(&b);
        size_t complete = test_image_complete(&b.image, cut);
        if (complete == 0) continue;
        test_image_parse(&again.image, bytes, b.image.records[complete - 1].tail);
        test_file_truncate(b.path, again.image.size);
        CHECK(check_store(&again) == (again.image.size >= covered));
        while (test_file_size(b.path) < size) write_without(&again, 1);
        CHECK(check_store(&again) == (b.image.records[complete - 1].tail >= covered));
        test_image_free(&again.image);
    }
    free(bytes);
    bench_end(&b);
}

static void a_moved_file_keeps_its_index_and_a_copy_does_not(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1340);
    test_context("moved and copied");
    make_saved(&b, 40);
    CHECK(rename(b.path, b.other) == 0 && rename(b.index, b.other_index) == 0);
    memcpy(b.path, b.other, sizeof b.path);
    memcpy(b.index, b.other_index, sizeof b.index);
    CHECK(check_store(&b));
    test_path(&b.folder, "copy", b.path);
    test_path(&b.folder, "copy.index", b.index);
    test_file_copy(b.other, b.path);
    test_file_copy(b.other_index, b.index);
    CHECK(!check_store(&b));
    make_saved(&b, 3);
    char link_path[TEST_PATH_MAX]; /* by another name, it is the same store: the index is beside the file */
    CHECK(symlink("copy", test_path(&b.folder, "link", link_path)) == 0);
    CHECK(opens_with_index(link_path));
    bench_end(&b);
}

/* --- behind the index --------------------------------------------------------------------------------------------- */

static void any_cut_behind_the_index_is_a_torn_tail(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1400);
    make_saved(&b, 20);
    write_without(&b, 5);
    size_t size, covered = (size_t)header_of(b.index).tail;
    uint8_t *bytes = test_file_get(b.path, &size);
    for (size_t cut = covered; cut < size; cut++) {
        test_context("%zu of %zu bytes, the index covers %zu", cut, size, covered);
        test_file_put(b.path, bytes, cut);
        check_alike(&b);
    }
    /* The first write moves the torn bytes aside, as without an index. */
    bench again = b;
    memset(&again.image, 0, sizeof again.image);
    test_file_put(b.path, bytes, size - 7);
    test_image_parse(&again.image, bytes, b.image.records[b.image.count - 2].tail);
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    CHECK(test_info(store).damaged_tail_bytes > 0 && test_info(store).damage == SIMDRIVE_DAMAGE_TAIL);
    write_one(&again, store, 3);
    CHECK(test_info(store).quarantined_bytes > 0);
    CHECK_OK(simdrive_close(store));
    CHECK_U64(1, test_folder_count(&b.folder, "store.tail-", NULL));
    CHECK(check_store(&again));
    test_image_free(&again.image);
    free(bytes);
    bench_end(&b);
}

/* The newest entry has its checksum looked at even when the index covers it. */
static void damage_of_the_newest_entry_is_seen(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1405);
    make_saved(&b, 20);
    uint64_t key = 3;
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_one(&b, store, key);
    CHECK_OK(simdrive_close(store));
    const test_record *record = &b.image.records[b.image.count - 1];
    for (size_t at = record->start; at < record->tail; at++) {
        uint8_t changed = (uint8_t)(b.image.bytes[at] ^ (1u << at % 8));
        test_context("byte %zu of the newest entry changed", at - record->start);
        poke(b.path, at, &changed, 1);
        CHECK(!opens_with_index(b.path));
        check_alike(&b);
        poke(b.path, at, &b.image.bytes[at], 1);
    }
    CHECK(check_store(&b));
    bench_end(&b);
}

static void any_damage_behind_the_index_is_seen_as_without_it(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1410);
    make_saved(&b, 20);
    write_without(&b, 7);
    size_t size, covered = (size_t)header_of(b.index).tail;
    uint8_t *bytes = test_file_get(b.path, &size);
    for (size_t at = covered - TEST_METADATA_SIZE; at < size; at++) {
        uint8_t changed = (uint8_t)(bytes[at] ^ (1u << test_random_below(&b.random, 8)));
        test_context("byte %zu of %zu changed, the index covers %zu", at, size, covered);
        poke(b.path, at, &changed, 1);
        check_alike(&b);
        poke(b.path, at, &bytes[at], 1);
    }
    uint8_t garbage[700];
    for (int round = 0; round < 40; round++) {
        test_context("garbage behind the last entry, round %d", round);
        size_t length = 1 + (size_t)test_random_below(&b.random, sizeof garbage);
        test_random_fill(&b.random, garbage, length);
        if (round % 4 == 0) memset(garbage, 0, length);
        test_file_put(b.path, bytes, size);
        test_file_append(b.path, garbage, length);
        check_alike(&b);
    }
    free(bytes);
    bench_end(&b);
}

/* --- boot, owner -------------------------------------------------------------------------------------------------- */

static void unsynced_it_is_good_until_the_machine_starts_anew(void **state) {
    (void)state;
    uint8_t boot[SDI_BOOT_ID_BYTES];
    if (!sdi_boot_id(boot)) skip();
    for (int synced = 0; synced < 2; synced++) {
        bench b;
        bench_begin(&b, 1500);
        test_context("another boot, synced: %d", synced);
        simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
        write_one(&b, store, 1);
        write_one(&b, store, 2);
        if (synced) CHECK_OK(simdrive_sync(store, NULL));
        CHECK_OK(simdrive_close(store));
        saved_header header = header_of(b.index);
        CHECK_U64(synced, header.synced);
        CHECK(memcmp(header.boot, boot, sizeof boot) == 0);
        header.boot[5] ^= 1;
        put_header(b.index, header);
        CHECK(check_store(&b) == (synced == 1));
        store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
        write_one(&b, store, 2); /* not synced any more */
        CHECK_OK(simdrive_close(store));
        CHECK_U64(0, header_of(b.index).synced);
        bench_end(&b);
    }
}

static void an_index_of_another_owner_is_ignored(void **state) {
    (void)state;
    if (getuid() != 0) skip();
    bench b;
    bench_begin(&b, 1510);
    test_context("another owner");
    make_saved(&b, 20);
    CHECK(chown(b.index, NOBODY, NOBODY) == 0);
    CHECK(!check_store(&b));
    CHECK(chown(b.path, NOBODY, NOBODY) == 0);
    CHECK(check_store(&b));
    make_saved(&b, 3); /* a new one belongs to whom the store belongs to */
    struct stat found;
    CHECK(stat(b.index, &found) == 0 && found.st_uid == NOBODY && found.st_gid == NOBODY);
    CHECK(chmod(b.path, 0640) == 0);
    make_saved(&b, 3);
    CHECK(stat(b.index, &found) == 0 && (found.st_mode & 07777) == 0640);
    bench_end(&b);
}

/* --- who writes it, and over what --------------------------------------------------------------------------------- */

static void readers_write_nothing(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1600);
    test_context("readers");
    write_without(&b, 20);
    for (int with_index = 0; with_index < 2; with_index++) {
        if (with_index) make_saved(&b, 5);
        size_t names = test_folder_count(&b.folder, "", NULL), size = 0;
        uint8_t *bytes = with_index ? test_file_get(b.index, &size) : NULL;
        struct stat before, after;
        if (with_index) CHECK(stat(b.index, &before) == 0);
        for (int round = 0; round < 3; round++) {
            simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, true);
            test_check_shows(store, &b.image);
            write_without(&b, 3);
            CHECK_OK(simdrive_refresh(store, NULL));
            test_check_shows(store, &b.image);
            CHECK_OK(simdrive_close(store));
            CHECK_U64(names, test_folder_count(&b.folder, "", NULL));
        }
        if (with_index) {
            CHECK(test_file_equals(b.index, bytes, size));
            CHECK(stat(b.index, &after) == 0 && before.st_ino == after.st_ino && before.st_mtime == after.st_mtime);
        }
        free(bytes);
    }
    bench_end(&b);
}

static void off_neither_uses_nor_writes_it(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1610);
    test_context("off, automatic");
    write_without(&b, 20);
    CHECK(!test_file_exists(b.index));
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, false);
    write_one(&b, store, 1);
    CHECK_OK(simdrive_close(store));
    CHECK(!test_file_exists(b.index)); /* opening so few entries is not slow */
    make_saved(&b, 4);
    uint64_t tail = header_of(b.index).tail;
    write_without(&b, 4);
    CHECK_U64(tail, header_of(b.index).tail);
    store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    CHECK_OK(simdrive_close(store)); /* it is behind */
    CHECK_U64(b.image.size, header_of(b.index).tail);
    simdrive_open_options options = {.struct_size = sizeof options, .verify_all = true};
    CHECK_OK(simdrive_open(b.path, &options, &store));
    CHECK(!is_used(store));
    CHECK_OK(simdrive_close(store));
    bench_end(&b);
}

static void close_with_always(bench *b) {
    simdrive_store *store = open_with(b->path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_one(b, store, 5);
    test_check_shows(store, &b->image);
    CHECK_OK(simdrive_close(store));
}

static void a_foreign_file_of_that_name_is_left_alone(void **state) {
    (void)state;
    static const char *const contents[] = {"", "me", "mine, and not an index", "sdrindx"};
    bench b;
    bench_begin(&b, 1620);
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        test_context("foreign content %zu", i);
        test_file_put(b.index, contents[i], strlen(contents[i]));
        close_with_always(&b);
        CHECK(test_file_equals(b.index, contents[i], strlen(contents[i])));
    }
    CHECK(unlink(b.index) == 0);
    test_context("a folder of that name");
    CHECK(mkdir(b.index, 0700) == 0);
    close_with_always(&b);
    struct stat found;
    CHECK(lstat(b.index, &found) == 0 && S_ISDIR(found.st_mode));
    CHECK(rmdir(b.index) == 0);
    test_context("a pipe of that name");
    CHECK(mkfifo(b.index, 0600) == 0);
    close_with_always(&b);
    CHECK(lstat(b.index, &found) == 0 && S_ISFIFO(found.st_mode));
    CHECK(unlink(b.index) == 0);
    test_context("a link to nothing");
    CHECK(symlink("nowhere", b.index) == 0);
    close_with_always(&b);
    CHECK(lstat(b.index, &found) == 0 && S_ISLNK(found.st_mode));
    CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
    CHECK(unlink(b.index) == 0);
    test_context("a link to a file of the user");
    test_file_put(b.other, "my own bytes", 12);
    CHECK(symlink("other", b.index) == 0);
    close_with_always(&b);
    CHECK(lstat(b.index, &found) == 0 && S_ISLNK(found.st_mode));
    CHECK(test_file_equals(b.other, "my own bytes", 12));
    CHECK(unlink(b.index) == 0);
    test_context("a store of that name");
    simdrive_store *other = test_open(b.index);
    CHECK_OK(simdrive_write(other, "k", 1, "value of another store", 22, NULL));
    close_with_always(&b);
    CHECK_OK(simdrive_close(other));
    other = test_open_read_only(b.index);
    CHECK_U64(1, simdrive_count(other));
    CHECK_OK(simdrive_close(other));
    CHECK(!check_store(&b));
    bench_end(&b);
}

/* As a user who may not read what is there, and in a folder where he may not write. */
static void use_without_rights(void *user) {
    bench *b = user;
    if (getuid() == 0) CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    write_without(b, 5);
    test_file_put(b->index, "mine", 4);
    CHECK(chmod(b->index, 0) == 0);
    close_with_always(b);
    CHECK_U64(4, test_file_size(b->index));
    CHECK_U64(2, test_folder_count(&b->folder, "", NULL));
    CHECK(unlink(b->index) == 0);
    CHECK(chmod(b->path, 0600) == 0);
}

static void use_locked_folder(void *user) {
    bench *b = user;
    if (getuid() == 0) CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    close_with_always(b);
    CHECK(!test_file_exists(b->index));
}

static void without_rights_nothing_is_saved(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1630);
    test_context("without rights");
    CHECK(chmod(b.folder.path, 0777) == 0);
    CHECK(test_in_child(use_without_rights, &b));
    CHECK(chmod(b.folder.path, 0555) == 0);
    size_t size;
    uint8_t *bytes = test_file_get(b.path, &size);
    test_image_parse(&b.image, bytes, size); /* what the child wrote */
    CHECK(test_in_child(use_locked_folder, &b));
    CHECK(chmod(b.folder.path, 0700) == 0);
    free(bytes);
    bench_end(&b);
}

static void leftovers_are_removed_unless_at_work(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1640);
    test_context("leftovers");
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_one(&b, store, 1);
    char *dead = sdi_temporary_path(store, TEMPORARY_INFIX), *at_work = sdi_temporary_path(store, TEMPORARY_INFIX);
    char mine[TEST_PATH_MAX];
    test_file_put(dead, "half an index", 13);
    test_file_put(at_work, "half an index", 13);
    test_file_put(test_path(&b.folder, "store.index-0123456789abcdef", mine), "mine", 4);
    sdi_file *file = NULL;
    const sdi_os *os = sdi_os_native();
    CHECK_OK(os->open(os, at_work, SDI_OPEN_WRITE, 0, &file));
    CHECK_OK(os->lock(os, file));
    CHECK_OK(simdrive_close(store));
    CHECK(!test_file_exists(dead) && test_file_exists(at_work) && test_file_exists(mine));
    os->close(os, file);
    close_with_always(&b);
    CHECK(!test_file_exists(at_work) && test_file_exists(mine));
    CHECK(check_store(&b));
    free(dead);
    free(at_work);
    bench_end(&b);
}

/* --- while others work -------------------------------------------------------------------------------------------- */

/* The next write starts saving in the thread. */
static void make_due(simdrive_store *store) {
    CHECK_OK(sdi_place_take(store, false));
    store->saved.next = 0;
    store->saved.last_ns = 1;
    sdi_place_leave(store);
}

static void wait_for_saves(simdrive_store *store, uint64_t saves) {
    while (atomic_load(&store->stats.index_saves) < saves && atomic_load(&store->saved.thread_runs)) sdi_thread_yield();
}

static void saved_in_a_thread_beside_writes(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1700);
    for (int round = 0; round < 12; round++) {
        test_context("saved in a thread, round %d", round);
        simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, false);
        for (uint64_t i = 0; i < 30; i++) {
            if (i % 5 == 0) make_due(store);
            write_something(&b, store, 200);
        }
        if (round % 2) wait_for_saves(store, 1);
        CHECK_OK(simdrive_close(store));
        CHECK(check_store(&b));
        CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
    }
    bench_end(&b);
}

static struct {
    simdrive_store *store;
    char *path;
    _Atomic uint64_t written; /* numbers below are in the store */
    _Atomic bool done;
} crowd;

static void write_on(void *user) {
    (void)user;
    for (uint64_t n = 0; n < 20000 && !atomic_load(&crowd.done); n += 500) {
        make_due(crowd.store);
        write_numbers(crowd.store, n, 500, 0);
        write_numbers(crowd.store, n / 2 / 500 * 500, 500, 0);
        atomic_store(&crowd.written, n + 500);
    }
    atomic_store(&crowd.done, true);
}

static void open_again_and_again(void *user) {
    (void)user;
    do {
        uint64_t written = atomic_load(&crowd.written);
        simdrive_store *store = open_with(crowd.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        for (uint64_t n = 0; n < written; n += 1 + written / 300) {
            uint64_t number = 0;
            simdrive_entry entry = {0};
            CHECK_OK(simdrive_read_hash(store, test_key_hash(n), &entry));
            memcpy(&number, entry.data, sizeof number);
            CHECK_U64(n, number);
            simdrive_entry_release(&entry);
        }
        CHECK(simdrive_count(store) >= written);
        CHECK_OK(simdrive_close(store));
    } while (!atomic_load(&crowd.done));
}

static void compact_again_and_again(void *user) {
    (void)user;
    do {
        simdrive_status status = simdrive_compact(crowd.store, NULL, NULL);
        CHECK(status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_BUSY);
    } while (!atomic_load(&crowd.done));
}

static void saved_beside_readers_and_compaction(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        bench b;
        sdi_thread threads[3];
        bench_begin(&b, 1710);
        test_context("crowd, round %d", round);
        crowd.store = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, false);
        crowd.path = b.path;
        atomic_store(&crowd.done, false);
        atomic_store(&crowd.written, 0);
        CHECK_OK(sdi_thread_start(&threads[0], write_on, NULL));
        CHECK_OK(sdi_thread_start(&threads[1], open_again_and_again, NULL));
        bool compacts = round % 2 == 1;
        if (compacts) CHECK_OK(sdi_thread_start(&threads[2], compact_again_and_again, NULL));
        for (int i = 0; i < (compacts ? 3 : 2); i++) sdi_thread_join(&threads[i]);
        CHECK(crowd.written >= 20000);
        check_numbers(crowd.store, 0, crowd.written, 0);
        while (atomic_load(&crowd.store->saved.thread_runs)) sdi_thread_yield();
        make_due(crowd.store);
        write_numbers(crowd.store, 0, 500, 1);
        CHECK_OK(simdrive_close(crowd.store)); /* while it is saved */
        CHECK(opens_with_index(b.path));
        simdrive_store *with = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        simdrive_store *without = open_with(b.path, SIMDRIVE_SAVED_INDEX_OFF, true);
        check_same_figures(with, without);
        check_numbers(with, 0, 500, 1);
        check_numbers(with, 500, crowd.written - 500, 0);
        CHECK_OK(simdrive_close(with));
        CHECK_OK(simdrive_close(without));
        CHECK_U64(2, test_folder_count(&b.folder, "", NULL));
        bench_end(&b);
    }
}

/* A process that is gone without closing anything. */
static void die_while_saving(bench *b, uint64_t round) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_become_child();
        simdrive_store *store = open_with(b->path, SIMDRIVE_SAVED_INDEX_AUTO, false);
        uint64_t batches = 1 + test_random_below(&b->random, 12);
        for (uint64_t n = 0; n < batches; n++) {
            make_due(store);
            write_numbers(store, (round + n) % 20 * 500, 500, 0);
        }
        if (round % 3 == 0) wait_for_saves(store, 1);
        raise(SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_process_may_die_while_saving(void **state) {
    (void)state;
    bench b;
    bench_begin(&b, 1720);
    size_t used = 0;
    for (uint64_t round = 0; round < 30; round++) {
        test_context("dead process, round %llu", (unsigned long long)round);
        test_random_next(&b.random);
        die_while_saving(&b, round);
        simdrive_store *without = open_with(b.path, SIMDRIVE_SAVED_INDEX_OFF, true);
        simdrive_store *with = open_with(b.path, SIMDRIVE_SAVED_INDEX_AUTO, true);
        used += is_used(with);
        check_same_figures(with, without);
        for (uint64_t n = 0; n < 10000; n += 3) {
            bool is_there = simdrive_exists_hash(without, test_key_hash(n));
            CHECK(simdrive_exists_hash(with, test_key_hash(n)) == is_there);
            if (is_there) check_numbers(with, n, 1, 0);
        }
        CHECK_OK(simdrive_close(with));
        CHECK_OK(simdrive_close(without));
    }
    CHECK(used > 5);
    simdrive_store *store = open_with(b.path, SIMDRIVE_SAVED_INDEX_ALWAYS, false);
    write_numbers(store, 0, 500, 0);
    CHECK_OK(simdrive_close(store));
    CHECK_U64(2, test_folder_count(&b.folder, "", NULL)); /* what the dead left is gone */
    bench_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_are_as_without_it),
        cmocka_unit_test(many_keys_in_many_segments),
        cmocka_unit_test(damaged_bytes_do_no_harm),
        cmocka_unit_test(hostile_headers_do_no_harm),
        cmocka_unit_test(an_index_of_another_store_is_ignored),
        cmocka_unit_test(an_index_from_before_a_compaction_is_ignored),
        cmocka_unit_test(bytes_copied_over_the_file_are_noticed),
        cmocka_unit_test(a_cut_and_rewritten_file_is_noticed),
        cmocka_unit_test(a_moved_file_keeps_its_index_and_a_copy_does_not),
        cmocka_unit_test(any_cut_behind_the_index_is_a_torn_tail),
        cmocka_unit_test(damage_of_the_newest_entry_is_seen),
        cmocka_unit_test(any_damage_behind_the_index_is_seen_as_without_it),
        cmocka_unit_test(unsynced_it_is_good_until_the_machine_starts_anew),
        cmocka_unit_test(an_index_of_another_owner_is_ignored),
        cmocka_unit_test(readers_write_nothing),
        cmocka_unit_test(off_neither_uses_nor_writes_it),
        cmocka_unit_test(a_foreign_file_of_that_name_is_left_alone),
        cmocka_unit_test(without_rights_nothing_is_saved),
        cmocka_unit_test(leftovers_are_removed_unless_at_work),
        cmocka_unit_test(saved_in_a_thread_beside_writes),
        cmocka_unit_test(saved_beside_readers_and_compaction),
        cmocka_unit_test(a_process_may_die_while_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
