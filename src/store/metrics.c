/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c — statistics in the text format of Prometheus (exposition format 0.0.4).
 *
 * One table says of each member of simdrive_statistics what its metric is called, of what type it is, in what unit the
 * member is, and what it means. Numbers are put together from integers, so that no locale has a say in them:
 * nanoseconds become seconds by a point before their last nine digits. A member that the caller's struct does not have
 * yet has no line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/store.h"

#define NS_PER_S 1000000000u

typedef enum member_kind {
    NUMBER,  /* uint64_t */
    SECONDS, /* uint64_t of nanoseconds */
    FLAG,    /* bool */
    DAMAGE,  /* simdrive_damage */
    STATUS,  /* simdrive_status */
    LATENCY  /* simdrive_latency */
} member_kind;

static const char gauge[] = "gauge", counter[] = "counter", summary[] = "summary";

typedef struct metric {
    size_t offset; /* of the member */
    member_kind kind;
    const char *type;
    const char *name; /* without the prefix */
    const char *help; /* has no character that the format would want escaped */
} metric;

#define MEMBER(member) offsetof(simdrive_statistics, member)

static const metric metrics[] = {
    {MEMBER(file_size), NUMBER, gauge, "file_bytes", "Size of the file."},
    {MEMBER(disk_bytes), NUMBER, gauge, "disk_bytes", "Bytes that the file takes on the disk."},
    {MEMBER(tail), NUMBER, gauge, "tail_bytes", "End of the last complete entry, where the next one begins."},
    {MEMBER(durable_tail), NUMBER, gauge, "durable_tail_bytes", "Everything before it was synced through this handle."},
    {MEMBER(entries), NUMBER, gauge, "entries", "Live entries, one for each key."},
    {MEMBER(stale_entries), NUMBER, gauge, "stale_entries", "Entries that a newer write or a delete has replaced."},
    {MEMBER(tombstones), NUMBER, gauge, "tombstones", "Tombstones in the file."},
    {MEMBER(live_bytes), NUMBER, gauge, "live_bytes", "Payload bytes of the live entries."},
    {MEMBER(stale_bytes), NUMBER, gauge, "stale_bytes", "Payload bytes of the stale entries."},
    {MEMBER(padding_bytes), NUMBER, gauge, "padding_bytes", "Bytes between entries, which align payloads."},
    {MEMBER(metadata_bytes), NUMBER, gauge, "metadata_bytes", "Metadata of all entries, and tombstones."},
    {MEMBER(damaged_tail_bytes), NUMBER, gauge, "damaged_tail_bytes",
     "Bytes behind the tail that belong to no entry."},

    {MEMBER(index_bytes), NUMBER, gauge, "index_bytes", "Memory of the index."},
    {MEMBER(index_keys), NUMBER, gauge, "index_keys", "Keys in the index, deleted ones included."},
    {MEMBER(index_slots), NUMBER, gauge, "index_slots", "Slots of the index: its load is keys by slots."},
    {MEMBER(index_saves), NUMBER, counter, "index_saves_total", "How often the index was saved."},
    {MEMBER(index_saved_tail), NUMBER, gauge, "index_saved_tail_bytes", "Tail that the saved index covers."},

    {MEMBER(generations), NUMBER, gauge, "generations",
     "Open files: one, and one more for each compacted away that is in use."},
    {MEMBER(held_bytes), NUMBER, gauge, "held_bytes", "Size of the files that were compacted away and are in use."},
    {MEMBER(pins), NUMBER, gauge, "pins", "Entries, iterators, readers and sessions that are held."},

    {MEMBER(writes), NUMBER, counter, "writes_total", "Entries appended."},
    {MEMBER(deletes), NUMBER, counter, "deletes_total", "Tombstones appended."},
    {MEMBER(bytes_written), NUMBER, counter, "written_bytes_total", "Bytes appended, padding and metadata included."},
    {MEMBER(commits), NUMBER, counter, "commits_total", "Groups of changes that went in together."},
    {MEMBER(batches), NUMBER, counter, "batches_total", "Calls of several changes."},
    {MEMBER(syncs), NUMBER, counter, "syncs_total", "Syncs of the file."},
    {MEMBER(commit), LATENCY, summary, "commit_duration_seconds",
     "Time of one in 16 writing calls, waiting included. Quantile 1 is the longest."},
    {MEMBER(sync), LATENCY, summary, "sync_duration_seconds", "Time of each sync. Quantile 1 is the longest."},

    {MEMBER(compaction_runs), FLAG, gauge, "compaction_running", "Whether a compaction is at work."},
    {MEMBER(compaction_done), NUMBER, gauge, "compaction_done_bytes", "Bytes that the compaction at work has copied."},
    {MEMBER(compaction_total), NUMBER, gauge, "compaction_expected_bytes",
     "Bytes that the compaction at work has to copy."},
    {MEMBER(compactions), NUMBER, counter, "compactions_total", "Compactions that went well."},
    {MEMBER(compactions_failed), NUMBER, counter, "compactions_failed_total", "Compactions that did not."},
    {MEMBER(compaction_status), STATUS, gauge, "compaction_last_status",
     "Number of the status with which the last compaction ended; 0 is well."},
    {MEMBER(compaction_saved_bytes), NUMBER, counter, "compaction_saved_bytes_total",
     "By how much compactions have made the file smaller."},
    {MEMBER(compaction_pause_max_ns), SECONDS, gauge, "compaction_pause_max_seconds",
     "The longest time for which a compaction kept writers out."},
    {MEMBER(reclaimed_bytes), NUMBER, counter, "reclaimed_bytes_total",
     "Disk space of stale entries that was given back in place."},

    {MEMBER(open_ns), SECONDS, gauge, "open_duration_seconds", "How long the opening of the file took."},
    {MEMBER(open_entries_walked), NUMBER, gauge, "open_entries_walked", "Entries that opening had to look at."},
    {MEMBER(open_from_saved_index), FLAG, gauge, "open_from_saved_index", "Whether opening used a saved index."},
    {MEMBER(damage), DAMAGE, gauge, "damage", "What opening found: 0 none, 1 tail, 2 middle, 3 ambiguous."},
    {MEMBER(corrupt_entries), NUMBER, gauge, "corrupt_entries", "Entries whose checksum opening found wrong."},
    {MEMBER(quarantined_bytes), NUMBER, counter, "quarantined_bytes_total", "Damaged bytes that were kept aside."},
    {MEMBER(read_only), FLAG, gauge, "read_only", "Whether the handle is for reading only."},
    {MEMBER(poisoned), FLAG, gauge, "poisoned", "Whether writes are refused since a sync or a rollback failed."},

    {MEMBER(append_map_wanted), FLAG, gauge, "append_map_wanted", "Whether entries shall be stored into a map."},
    {MEMBER(append_map_used), FLAG, gauge, "append_map_used", "Whether small entries are stored into a map."},
    {MEMBER(append_map_status), STATUS, gauge, "append_map_status",
     "Number of the status for which that was not so the last time; 0 is none."},
    {MEMBER(room_ahead_bytes), NUMBER, gauge, "room_ahead_bytes", "Zeros behind the tail, set aside for entries."},
};

/* --- text -------------------------------------------------------------------------------------------------------- */

typedef struct text {
    char *buffer;
    size_t capacity;
    size_t size; /* of the whole text; what does not fit is counted only */
} text;

static void put(text *out, const char *bytes, size_t size) {
    size_t room = out->capacity > out->size ? out->capacity - out->size : 0;
    if (room > 0) memcpy(out->buffer + out->size, bytes, size < room ? size : room);
    out->size += size;
}

static void put_text(text *out, const char *string) {
    put(out, string, strlen(string));
}

static void put_number(text *out, uint64_t number) {
    char digits[24];
    put(out, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number));
}

static void put_seconds(text *out, uint64_t ns) {
    char digits[32];
    put(out, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64 ".%09" PRIu64, ns / NS_PER_S, ns % NS_PER_S));
}

/* Bytes of the UTF-8 character at `bytes`, which end with a NUL; 0 when they are none. */
static size_t character_size(const unsigned char *bytes) {
    /* The second byte's limits keep out overlong forms, surrogates, and what is above U+10FFFF. */
    unsigned first = bytes[0], low = 0x80, high = 0xBF;
    size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (size > 1 && (bytes[1] < low || bytes[1] > high)) return 0;
    for (size_t i = 2; i < size; i++) {
        if ((bytes[i] & 0xC0) != 0x80) return 0;
    }
    return size;
}

/* A label's value within its quotes. The format wants UTF-8, which a path need not be. */
static void put_escaped(text *out, const char *value) {
    static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
    while (*value != '\0') {
        size_t size = character_size((const unsigned char *)value);
        if (*value == '\\' || *value == '"') put(out, "\\", 1);
        if (*value == '\n')
            put_text(out, "\\n");
        else if (size == 0)
            put_text(out, replacement);
        else
            put(out, value, size);
        value += size > 0 ? size : 1;
    }
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

/* A sample's line up to its value. `quantile` may be NULL. */
static void put_sample(text *out, const metric *of, const char *suffix, const char *label, const char *quantile) {
    put_text(out, "simdrive_");
    put_text(out, of->name);
    put_text(out, suffix);
    put_text(out, "{store=\"");
    put_escaped(out, label);
    if (quantile) {
        put_text(out, "\",quantile=\"");
        put_text(out, quantile);
    }
    put_text(out, "\"} ");
}

static void put_header(text *out, const metric *of) {
    const char *const parts[] = {"# HELP simdrive_", of->name, " ",      of->help, "\n",
                                 "# TYPE simdrive_", of->name, " ",      of->type, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) put_text(out, parts[i]);
}

static void put_latency(text *out, const metric *of, const char *label, const simdrive_latency *latency) {
    const struct {
        const char *quantile;
        uint64_t ns;
    } quantiles[] = {{"0.5", latency->p50_ns},
                     {"0.9", latency->p90_ns},
                     {"0.99", latency->p99_ns},
                     {"0.999", latency->p999_ns},
                     {"1", latency->max_ns}};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        put_sample(out, of, "", label, quantiles[i].quantile);
        if (latency->count > 0)
            put_seconds(out, quantiles[i].ns);
        else
            put_text(out, "NaN"); /* of nothing there is no quantile */
        put_text(out, "\n");
    }
    put_sample(out, of, "_sum", label, NULL);
    put_seconds(out, latency->total_ns);
    put_text(out, "\n");
    put_sample(out, of, "_count", label, NULL);
    put_number(out, latency->count);
    put_text(out, "\n");
}

static size_t member_size(member_kind kind) {
    switch (kind) {
    case NUMBER:
    case SECONDS: return sizeof(uint64_t);
    case FLAG: return sizeof(bool);
    case DAMAGE: return sizeof(simdrive_damage);
    case STATUS: return sizeof(simdrive_status);
    case LATENCY: return sizeof(simdrive_latency);
    }
    return 0;
}

static void put_value(text *out, const metric *of, const void *member) {
    switch (of->kind) {
    case NUMBER: put_number(out, *(const uint64_t *)member); break;
    case SECONDS: put_seconds(out, *(const uint64_t *)member); break;
    case FLAG: put_number(out, *(const bool *)member); break;
    case DAMAGE: put_number(out, *(const simdrive_damage *)member); break;
    case STATUS: put_number(out, *(const simdrive_status *)member); break;
    case LATENCY: break;
    }
}

simdrive_status simdrive_format_metrics(const simdrive_statistics *statistics, const char *label, char *buffer,
                                        size_t capacity, size_t *size) {
    simdrive_statistics known = {0};
    text out = {buffer, capacity, 0};
    if (size) *size = 0;
    if (!statistics || statistics->struct_size < sizeof(size_t) || !label || (!buffer && capacity > 0))
        return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    size_t given = statistics->struct_size;
    memcpy(&known, statistics, given < sizeof known ? given : sizeof known);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        const metric *of = &metrics[i];
        const void *member = (const char *)&known + of->offset;
        if (of->offset + member_size(of->kind) > given) continue;
        put_header(&out, of);
        if (of->kind == LATENCY) {
            put_latency(&out, of, label, member);
            continue;
        }
        put_sample(&out, of, "", label, NULL);
        put_value(&out, of, member);
        put_text(&out, "\n");
    }
    if (capacity > 0) buffer[out.size < capacity ? out.size : capacity - 1] = '\0';
    if (size) *size = out.size;
    return SIMDRIVE_OK;
}
