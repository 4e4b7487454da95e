/* SPDX-License-Identifier: Apache-2.0
 *
 * findings.c — the list of damage that a check has found.
 */
#include "findings.h"

#include <inttypes.h>
#include <stdlib.h>

simdrive_status sdi_cli_findings_add(void *user, const simdrive_finding *finding) {
    sdi_cli_findings *findings = user;
    if (findings->count == findings->capacity) {
        size_t capacity = findings->capacity == 0 ? 16 : findings->capacity * 2;
        simdrive_finding *items = realloc(findings->items, capacity * sizeof *items);
        if (items == NULL) return SIMDRIVE_ERROR_NO_MEMORY;
        findings->items = items;
        findings->capacity = capacity;
    }
    findings->items[findings->count++] = *finding;
    return SIMDRIVE_OK;
}

void sdi_cli_findings_release(sdi_cli_findings *findings) {
    free(findings->items);
    *findings = (sdi_cli_findings){0};
}

const char *sdi_cli_damage_name(simdrive_damage damage) {
    switch (damage) {
    case SIMDRIVE_DAMAGE_NONE: return "none";
    case SIMDRIVE_DAMAGE_TAIL: return "tail";
    case SIMDRIVE_DAMAGE_MIDDLE: return "middle";
    case SIMDRIVE_DAMAGE_AMBIGUOUS: return "ambiguous";
    }
    return "unknown";
}

void sdi_cli_findings_json(sdi_cli_json *json, const sdi_cli_findings *findings, const simdrive_report *report) {
    sdi_cli_json_number(json, "entries_checked", report->entries_checked);
    sdi_cli_json_number(json, "bytes_checked", report->bytes_checked);
    sdi_cli_json_list(json, "corrupt");
    for (size_t i = 0; i < findings->count; i++) {
        const simdrive_finding *finding = &findings->items[i];
        sdi_cli_json_object(json, NULL);
        sdi_cli_json_number(json, "offset", finding->offset);
        sdi_cli_json_number(json, "end", finding->end);
        sdi_cli_json_hash(json, "key_hash", finding->key_hash);
        sdi_cli_json_bool(json, "live", finding->live);
        sdi_cli_json_text(json, "reason", finding->reason != NULL ? finding->reason : "");
        sdi_cli_json_object_end(json);
    }
    sdi_cli_json_list_end(json);
    sdi_cli_json_number(json, "damaged_tail_bytes", report->damaged_tail_bytes);
    sdi_cli_json_number(json, "room_ahead_bytes", report->room_ahead_bytes);
}

void sdi_cli_findings_print(const sdi_cli_findings *findings) {
    for (size_t i = 0; i < findings->count; i++) {
        const simdrive_finding *finding = &findings->items[i];
        sdi_cli_print("damaged: offset %" PRIu64 ", key hash %016" PRIx64 ", %s: %s\n", finding->offset,
                      finding->key_hash, finding->live ? "live" : "stale",
                      finding->reason != NULL ? finding->reason : "");
    }
}
