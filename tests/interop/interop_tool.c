/* SPDX-License-Identifier: Apache-2.0
 *
 * interop_tool.c — runs the line protocol of the interoperability test (README.md) on stores of this library.
 * Uses only the public header. Knows the protocol; the judging is done by the driver.
 */
#include "simdrive.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line that is being taken apart at its spaces. */
typedef struct words {
    char **items;
    size_t count;
} words;

/* The reply that is being put together: one line, grown as needed. */
typedef struct reply {
    char *text;
    size_t size;
    size_t capacity;
} reply;

static void *must_have(void *memory)
{
    if (memory == NULL) {
        fputs("interop_tool: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

static void reply_add(reply *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void reply_add(reply *out, const char *format, ...)
{
    char piece[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    size_t length = size < 0 ? 0 : (size_t)size < sizeof piece ? (size_t)size : sizeof piece - 1;
    if (out->size + length + 1 > out->capacity) {
        out->capacity = 2 * (out->capacity + length + 1);
        out->text = must_have(realloc(out->text, out->capacity));
    }
    memcpy(out->text + out->size, piece, length);
    out->size += length;
    out->text[out->size] = '\0';
}

static void reply_status(reply *out, simdrive_status status)
{
    reply_add(out, "error %s (%d)", simdrive_status_name(status), simdrive_last_os_error());
}

/* What every command that writes answers. A delete of a missing key is no failure in the protocol. */
static void reply_tail(reply *out, simdrive_store *store, simdrive_status status)
{
    if (status == SIMDRIVE_OK)
        reply_add(out, "tail %" PRIu64, simdrive_tail(store));
    else if (status == SIMDRIVE_NOT_FOUND)
        reply_add(out, "not-found");
    else
        reply_status(out, status);
}

/* Numbers that both tools draw alike: splitmix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void store_word(unsigned char *to, uint64_t word, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(word >> (8 * i));
}

/* The payload that `KIND:SEED:SIZE` names; the caller frees `data`. */
static bool payload_of(const char *spec, simdrive_bytes *payload)
{
    char kind[16];
    uint64_t seed = 0;
    size_t size = 0;
    if (sscanf(spec, "%15[a-z]:%" SCNu64 ":%zu", kind, &seed, &size) != 3)
        return false;
    bool random = strcmp(kind, "random") == 0;
    bool numbers = strcmp(kind, "numbers") == 0;
    if (!random && !numbers && strcmp(kind, "zeros") != 0)
        return false;
    unsigned char *bytes = must_have(malloc(size + 1));
    uint64_t state = seed;
    uint64_t word = 0;
    for (size_t at = 0; at < size; at += 8, word++) {
        uint64_t value = random ? next_random(&state) : numbers ? (seed & 0xFF) + word : 0;
        store_word(bytes + at, value, size - at < 8 ? size - at : 8);
    }
    if (size >= 1 && size <= 4 && strcmp(kind, "zeros") != 0)
        bytes[0] = (bytes[0] | 1) & 0x7F; /* not 00; nor FF to FFFFFFFF, whose CRC-32 and CRC-32C are the same */
    payload->data = bytes;
    payload->size = size;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A key in hexadecimal, decoded in place; `-` is the empty key. */
static bool key_of(char *text, simdrive_bytes *key)
{
    size_t size = strcmp(text, "-") == 0 ? 0 : strlen(text);
    if (size % 2 != 0)
        return false;
    for (size_t i = 0; i < size; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        text[i / 2] = (char)(high * 16 + low);
    }
    key->data = text;
    key->size = size / 2;
    return true;
}

/* `KEY SPEC KEY SPEC ...` or `KEY KEY ...`, decoded. */
typedef struct pairs {
    simdrive_bytes *keys;
    simdrive_bytes *payloads;
    size_t count;
} pairs;

static void pairs_free(pairs *all)
{
    for (size_t i = 0; all->payloads != NULL && i < all->count; i++)
        free((void *)(uintptr_t)all->payloads[i].data);
    free(all->payloads);
    free(all->keys);
}

static bool pairs_of(words line, bool with_payloads, pairs *all)
{
    size_t step = with_payloads ? 2 : 1;
    *all = (pairs){.count = (line.count - 1) / step};
    all->keys = must_have(calloc(all->count + 1, sizeof *all->keys));
    all->payloads = with_payloads ? must_have(calloc(all->count + 1, sizeof *all->payloads)) : NULL;
    bool good = (line.count - 1) % step == 0;
    for (size_t i = 0; good && i < all->count; i++) {
        good = key_of(line.items[1 + step * i], &all->keys[i]);
        if (good && with_payloads)
            good = payload_of(line.items[2 + step * i], &all->payloads[i]);
    }
    return good;
}

/* A source that gives a payload out in pieces. */
typedef struct pieces {
    const unsigned char *rest;
    size_t left;
    size_t piece;
} pieces;

static simdrive_status give_piece(void *user, void *buffer, size_t capacity, size_t *produced)
{
    pieces *source = user;
    size_t size = source->left < source->piece ? source->left : source->piece;
    size = size < capacity ? size : capacity;
    memcpy(buffer, source->rest, size);
    source->rest += size;
    source->left -= size;
    *produced = size;
    return SIMDRIVE_OK;
}

/* ----- The commands: each adds its reply and returns false when its words make no sense. ----- */

static bool command_write(simdrive_store *store, words line, reply *out)
{
    pairs all;
    bool good = pairs_of(line, true, &all) && all.count == 1;
    if (good)
        reply_tail(out, store, simdrive_write(store, all.keys[0].data, all.keys[0].size, all.payloads[0].data,
                                              all.payloads[0].size, NULL));
    pairs_free(&all);
    return good;
}

static bool command_batch(simdrive_store *store, words line, reply *out)
{
    pairs all;
    bool good = pairs_of(line, true, &all);
    if (good)
        reply_tail(out, store, simdrive_write_batch(store, all.keys, all.payloads, all.count, NULL));
    pairs_free(&all);
    return good;
}

static bool command_stream(simdrive_store *store, words line, reply *out)
{
    simdrive_bytes key;
    simdrive_bytes payload = {0};
    if (line.count != 4 || !key_of(line.items[1], &key) || !payload_of(line.items[2], &payload))
        return false;
    pieces source = {payload.data, payload.size, strtoul(line.items[3], NULL, 10)};
    reply_tail(out, store, simdrive_write_stream(store, key.data, key.size, give_piece, &source, 0, NULL));
    free((void *)(uintptr_t)payload.data);
    return true;
}

static bool command_delete(simdrive_store *store, words line, reply *out)
{
    simdrive_bytes key;
    if (line.count != 2 || !key_of(line.items[1], &key))
        return false;
    simdrive_status status = simdrive_delete(store, key.data, key.size, NULL);
    reply_tail(out, store, status == SIMDRIVE_NOT_FOUND ? SIMDRIVE_OK : status);
    return true;
}

static bool command_delete_batch(simdrive_store *store, words line, reply *out)
{
    pairs all;
    bool good = pairs_of(line, false, &all);
    if (good)
        reply_tail(out, store, simdrive_delete_batch(store, all.keys, all.count, NULL, NULL));
    pairs_free(&all);
    return good;
}

static bool command_rename(simdrive_store *store, words line, reply *out)
{
    simdrive_bytes from;
    simdrive_bytes to;
    if (line.count != 3 || !key_of(line.items[1], &from) || !key_of(line.items[2], &to))
        return false;
    reply_tail(out, store, simdrive_rename(store, from.data, from.size, to.data, to.size, NULL));
    return true;
}

static bool command_compact(simdrive_store *store, words line, reply *out)
{
    simdrive_status status = simdrive_compact(store, NULL, NULL);
    if (status == SIMDRIVE_OK)
        reply_add(out, "compacted");
    else
        reply_status(out, status);
    return line.count == 1;
}

/* Whether a key holds what `spec` names; `absent` is a key that must not be found. */
static bool holds(simdrive_store *store, simdrive_bytes key, const char *spec)
{
    simdrive_entry entry = {0};
    simdrive_status status = simdrive_read(store, key.data, key.size, &entry);
    if (strcmp(spec, "absent") == 0) {
        simdrive_entry_release(&entry);
        return status == SIMDRIVE_NOT_FOUND;
    }
    simdrive_bytes payload = {0};
    bool same = status == SIMDRIVE_OK && payload_of(spec, &payload) && entry.size == payload.size &&
                memcmp(entry.data, payload.data, payload.size) == 0;
    free((void *)(uintptr_t)payload.data);
    simdrive_entry_release(&entry);
    return same;
}

static bool command_check(simdrive_store *store, words line, reply *out)
{
    for (size_t i = 1; i + 1 < line.count; i += 2) {
        simdrive_bytes key;
        if (!key_of(line.items[i], &key))
            return false;
        if (!holds(store, key, line.items[i + 1])) {
            reply_add(out, "wrong #%zu %s", i / 2, line.items[i + 1]);
            return true;
        }
    }
    reply_add(out, "right");
    return line.count % 2 == 1;
}

static void describe(const simdrive_entry *entry, reply *out)
{
    simdrive_metadata about;
    simdrive_entry_metadata(entry, &about);
    reply_add(out, "%016" PRIx64 " %" PRIu64 " %zu %08" PRIx32 " %d %016" PRIx64, about.key_hash, about.start,
              entry->size, about.checksum, simdrive_entry_is_valid(entry),
              simdrive_hash_key(entry->data, entry->size));
}

/* How many entries the iteration shows, and a hash over their key hashes and places, in its order. */
static void describe_iteration(simdrive_store *store, reply *out)
{
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    unsigned char *seen = must_have(malloc(24));
    uint64_t count = 0;
    simdrive_status status = simdrive_iterate(store, &iterator);
    while (status == SIMDRIVE_OK && (status = simdrive_iterator_peek_next(iterator, &entry)) == SIMDRIVE_OK) {
        simdrive_metadata about;
        simdrive_entry_metadata(entry, &about);
        store_word(seen + 24 * count, about.key_hash, 8);
        store_word(seen + 24 * count + 8, about.start, 8);
        store_word(seen + 24 * count + 16, about.size, 8);
        count++;
        seen = must_have(realloc(seen, 24 * (count + 1)));
    }
    if (status == SIMDRIVE_END)
        reply_add(out, "live %" PRIu64 " %016" PRIx64, count, simdrive_hash_key(seen, 24 * count));
    else
        reply_status(out, status);
    if (status == SIMDRIVE_END && count != simdrive_count(store))
        reply_add(out, " but count is %" PRIu64, simdrive_count(store));
    simdrive_iterator_close(iterator);
    free(seen);
}

static bool command_dump(simdrive_store *store, words line, reply *out)
{
    for (size_t i = 1; i < line.count; i++) {
        simdrive_bytes key;
        if (!key_of(line.items[i], &key))
            return false;
        simdrive_entry entry = {0};
        simdrive_status status = simdrive_read(store, key.data, key.size, &entry);
        if (status == SIMDRIVE_OK)
            describe(&entry, out);
        else if (status == SIMDRIVE_NOT_FOUND)
            reply_add(out, "absent");
        else
            reply_status(out, status);
        reply_add(out, ";");
        simdrive_entry_release(&entry);
    }
    describe_iteration(store, out);
    return true;
}

static const struct command {
    const char *name;
    bool (*run)(simdrive_store *store, words line, reply *out);
} commands[] = {
    {"write", command_write},     {"batch", command_batch},
    {"stream", command_stream},   {"delete", command_delete},
    {"rename", command_rename},   {"delete-batch", command_delete_batch},
    {"compact", command_compact}, {"check", command_check},
    {"dump", command_dump},
};

/* ----- The loop ----- */

static bool open_store(words line, simdrive_store **store, reply *out)
{
    simdrive_close(*store);
    *store = NULL;
    if (line.count != 3)
        return false;
    simdrive_open_options options = {
        .struct_size = sizeof options,
        .verify_all = true,
        .checksum = strcmp(line.items[2], "crc32") == 0 ? SIMDRIVE_CHECKSUM_CRC32 : SIMDRIVE_CHECKSUM_DEFAULT,
    };
    simdrive_status status = simdrive_open(line.items[1], &options, store);
    if (status == SIMDRIVE_OK)
        reply_add(out, "opened");
    else
        reply_status(out, status);
    return true;
}

static bool run(words line, simdrive_store **store, reply *out)
{
    if (line.count == 0)
        return false;
    if (strcmp(line.items[0], "open") == 0)
        return open_store(line, store, out);
    if (strcmp(line.items[0], "close") == 0) {
        simdrive_close(*store);
        *store = NULL;
        reply_add(out, "closed");
        return true;
    }
    for (size_t i = 0; *store != NULL && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, line.items[0]) == 0)
            return commands[i].run(*store, line, out);
    return false;
}

static words split(char *text, size_t size)
{
    words line = {.items = must_have(calloc(size / 2 + 2, sizeof *line.items))};
    char *place = NULL;
    for (char *word = strtok_r(text, " \n", &place); word != NULL; word = strtok_r(NULL, " \n", &place))
        line.items[line.count++] = word;
    return line;
}

int main(void)
{
    simdrive_store *store = NULL;
    reply out = {0};
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    while ((size = getline(&text, &capacity, stdin)) > 0) {
        words line = split(text, (size_t)size);
        out.size = 0;
        if (!run(line, &store, &out))
            reply_add(&out, "error bad command");
        free(line.items);
        printf("%s\n", out.text);
        fflush(stdout);
    }
    free(text);
    free(out.text);
    simdrive_close(store);
    return 0;
}
