/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_stats.c — `stats`: the statistics of a handle that was just opened, for people, as JSON, or for Prometheus.
 *
 * One table says what each member of simdrive_statistics is and where people find it; JSON has the members under their
 * own names. The text for Prometheus is the library's. Numbers are put together from integers: no locale has a say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "opening.h"
#include "output.h"

enum { HUMAN_SIZE = 64 };

typedef enum member_kind { BYTES, COUNT, NANOSECONDS, FLAG, DAMAGE, STATUS, LATENCY } member_kind;

typedef struct member {
    const char *name;
    size_t offset;
    member_kind kind;
    const char *group; /* that begins with this member; NULL: it goes on */
} member;

#define MEMBER(name) #name, offsetof(simdrive_statistics, name)

static const member members[] = {
    {MEMBER(file_size), BYTES, "the file"},
    {MEMBER(disk_bytes), BYTES, NULL},
    {MEMBER(tail), COUNT, NULL},
    {MEMBER(durable_tail), COUNT, NULL},
    {MEMBER(entries), COUNT, NULL},
    {MEMBER(stale_entries), COUNT, NULL},
    {MEMBER(tombstones), COUNT, NULL},
    {MEMBER(live_bytes), BYTES, NULL},
    {MEMBER(stale_bytes), BYTES, NULL},
    {MEMBER(padding_bytes), BYTES, NULL},
    {MEMBER(metadata_bytes), BYTES, NULL},
    {MEMBER(damaged_tail_bytes), BYTES, NULL},
    {MEMBER(room_ahead_bytes), BYTES, NULL},
    {MEMBER(damage), DAMAGE, "its opening"},
    {MEMBER(corrupt_entries), COUNT, NULL},
    {MEMBER(open_ns), NANOSECONDS, NULL},
    {MEMBER(open_entries_walked), COUNT, NULL},
    {MEMBER(open_from_saved_index), FLAG, NULL},
    {MEMBER(read_only), FLAG, NULL},
    {MEMBER(index_bytes), BYTES, "the index"},
    {MEMBER(index_keys), COUNT, NULL},
    {MEMBER(index_slots), COUNT, NULL},
    {MEMBER(index_saves), COUNT, NULL},
    {MEMBER(index_saved_tail), COUNT, NULL},
    {MEMBER(generations), COUNT, "held by this process"},
    {MEMBER(held_bytes), BYTES, NULL},
    {MEMBER(pins), COUNT, NULL},
    {MEMBER(writes), COUNT, "work of this process"},
    {MEMBER(deletes), COUNT, NULL},
    {MEMBER(bytes_written), BYTES, NULL},
    {MEMBER(commits), COUNT, NULL},
    {MEMBER(batches), COUNT, NULL},
    {MEMBER(syncs), COUNT, NULL},
    {MEMBER(commit), LATENCY, NULL},
    {MEMBER(sync), LATENCY, NULL},
    {MEMBER(quarantined_bytes), BYTES, NULL},
    {MEMBER(poisoned), FLAG, NULL},
    {MEMBER(append_map_wanted), FLAG, NULL},
    {MEMBER(append_map_used), FLAG, NULL},
    {MEMBER(append_map_status), STATUS, NULL},
    {MEMBER(compaction_runs), FLAG, "compaction by this process"},
    {MEMBER(compaction_done), BYTES, NULL},
    {MEMBER(compaction_total), BYTES, NULL},
    {MEMBER(compactions), COUNT, NULL},
    {MEMBER(compactions_failed), COUNT, NULL},
    {MEMBER(compaction_status), STATUS, NULL},
    {MEMBER(compaction_saved_bytes), BYTES, NULL},
    {MEMBER(compaction_pause_max_ns), NANOSECONDS, NULL},
    {MEMBER(reclaimed_bytes), BYTES, NULL},
};
enum { MEMBER_COUNT = sizeof members / sizeof *members };

/* The member's number, where it is one. */
static uint64_t number_of(const simdrive_statistics *statistics, const member *of) {
    const char *at = (const char *)statistics + of->offset;
    uint64_t number = 0;
    bool flag = false;
    if (of->kind == FLAG) {
        memcpy(&flag, at, sizeof flag);
        return flag;
    }
    if (of->kind == BYTES || of->kind == COUNT || of->kind == NANOSECONDS)
        memcpy(&number, at, sizeof number);
    return number;
}

static simdrive_status status_of(const simdrive_statistics *statistics, const member *of) {
    simdrive_status status;
    memcpy(&status, (const char *)statistics + of->offset, sizeof status);
    return status;
}

static simdrive_latency latency_of(const simdrive_statistics *statistics, const member *of) {
    simdrive_latency latency;
    memcpy(&latency, (const char *)statistics + of->offset, sizeof latency);
    return latency;
}

/* ----- for people ----- */

/* A number in the largest unit of which there is one, with a digit behind the point. */
static void in_units(char out[HUMAN_SIZE], uint64_t number, const char *const *units, uint64_t step) {
    uint64_t unit = 1;
    for (; units[1] != NULL && number / unit >= step; units++) unit *= step;
    if (unit == 1)
        snprintf(out, HUMAN_SIZE, "%" PRIu64 " %s", number, units[0]);
    else
        snprintf(out, HUMAN_SIZE, "%" PRIu64 ".%" PRIu64 " %s", number / unit, number % unit * 10 / unit, units[0]);
}

static void in_time_units(char out[HUMAN_SIZE], uint64_t ns) {
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};
    in_units(out, ns, units, 1000);
}

static void print_bytes(uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL};
    char human[HUMAN_SIZE];
    in_units(human, bytes, units, 1024);
    if (bytes < 1024)
        sdi_cli_print("%" PRIu64 "\n", bytes);
    else
        sdi_cli_print("%" PRIu64 " (%s)\n", bytes, human);
}

static void print_latency(const simdrive_latency *latency) {
    const uint64_t ns[] = {latency->p50_ns, latency->p90_ns, latency->p99_ns, latency->p999_ns, latency->max_ns};
    static const char *const names[] = {"median", "90%", "99%", "99.9%", "longest"};
    if (latency->count == 0) {
        sdi_cli_print("none timed\n");
        return;
    }
    sdi_cli_print("%" PRIu64 " timed", latency->count);
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        char human[HUMAN_SIZE];
        in_time_units(human, ns[i]);
        sdi_cli_print(", %s %s", names[i], human);
    }
    sdi_cli_print("\n");
}

static void print_member(const simdrive_statistics *statistics, const member *of) {
    uint64_t number = number_of(statistics, of);
    char human[HUMAN_SIZE];
    simdrive_latency latency;
    if (of->group != NULL) sdi_cli_print("%s\n", of->group);
    sdi_cli_print("  %-24s ", of->name);
    switch (of->kind) {
    case BYTES: print_bytes(number); break;
    case COUNT: sdi_cli_print("%" PRIu64 "\n", number); break;
    case NANOSECONDS:
        in_time_units(human, number);
        sdi_cli_print("%" PRIu64 " (%s)\n", number, human);
        break;
    case FLAG: sdi_cli_print("%s\n", number != 0 ? "yes" : "no"); break;
    case DAMAGE: sdi_cli_print("%s\n", sdi_cli_damage_name(statistics->damage)); break;
    case STATUS: sdi_cli_print("%s\n", simdrive_status_text(status_of(statistics, of))); break;
    case LATENCY:
        latency = latency_of(statistics, of);
        print_latency(&latency);
        break;
    }
}

static void report_text(const sdi_cli *cli, const simdrive_statistics *statistics) {
    sdi_cli_print("%-26s ", "file");
    sdi_cli_print_escaped(cli->store_path, strlen(cli->store_path));
    sdi_cli_print("\n");
    for (size_t i = 0; i < MEMBER_COUNT; i++) print_member(statistics, &members[i]);
}

/* ----- for programs ----- */

static void json_latency(sdi_cli_json *json, const char *name, const simdrive_latency *latency) {
    sdi_cli_json_object(json, name);
    sdi_cli_json_number(json, "count", latency->count);
    sdi_cli_json_number(json, "total_ns", latency->total_ns);
    sdi_cli_json_number(json, "p50_ns", latency->p50_ns);
    sdi_cli_json_number(json, "p90_ns", latency->p90_ns);
    sdi_cli_json_number(json, "p99_ns", latency->p99_ns);
    sdi_cli_json_number(json, "p999_ns", latency->p999_ns);
    sdi_cli_json_number(json, "max_ns", latency->max_ns);
    sdi_cli_json_object_end(json);
}

static void json_member(sdi_cli_json *json, const simdrive_statistics *statistics, const member *of) {
    simdrive_latency latency;
    switch (of->kind) {
    case BYTES:
    case COUNT:
    case NANOSECONDS: sdi_cli_json_number(json, of->name, number_of(statistics, of)); break;
    case FLAG: sdi_cli_json_bool(json, of->name, number_of(statistics, of) != 0); break;
    case DAMAGE: sdi_cli_json_text(json, of->name, sdi_cli_damage_name(statistics->damage)); break;
    case STATUS:
        sdi_cli_json_text(json, of->name, simdrive_status_name(status_of(statistics, of)));
        break;
    case LATENCY:
        latency = latency_of(statistics, of);
        json_latency(json, of->name, &latency);
        break;
    }
}

static void report_json(const sdi_cli *cli, const simdrive_statistics *statistics) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    for (size_t i = 0; i < MEMBER_COUNT; i++) json_member(&json, statistics, &members[i]);
    sdi_cli_json_text(&json, "version", simdrive_version());
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static simdrive_status report_prometheus(const sdi_cli *cli, const simdrive_statistics *statistics) {
    size_t size = 0;
    simdrive_status status = simdrive_format_metrics(statistics, cli->store_path, NULL, 0, &size);
    char *text = status == SIMDRIVE_OK ? malloc(size + 1) : NULL;
    if (status == SIMDRIVE_OK && text == NULL) status = SIMDRIVE_ERROR_NO_MEMORY;
    if (status == SIMDRIVE_OK) status = simdrive_format_metrics(statistics, cli->store_path, text, size + 1, NULL);
    if (status == SIMDRIVE_OK) sdi_cli_print_bytes(text, size);
    free(text);
    return status;
}

sdi_cli_exit sdi_cli_stats(const sdi_cli *cli) {
    simdrive_store *store = NULL;
    simdrive_statistics statistics = {.struct_size = sizeof statistics};
    if (cli->options.json && cli->options.prometheus)
        return sdi_cli_usage_error("stats", "--json and --prometheus are two forms of one report; give one of them");
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) return status;
    simdrive_status got = simdrive_get_statistics(store, &statistics);
    if (got == SIMDRIVE_OK && cli->options.prometheus)
        got = report_prometheus(cli, &statistics);
    else if (got == SIMDRIVE_OK && cli->options.json)
        report_json(cli, &statistics);
    else if (got == SIMDRIVE_OK)
        report_text(cli, &statistics);
    if (got != SIMDRIVE_OK) status = sdi_cli_fail(got, "describe '%s'", cli->store_path);
    simdrive_close(store);
    return status;
}
