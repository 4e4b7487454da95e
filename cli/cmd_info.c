/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_info.c — `info`: what a store holds, and what compaction would give back.
 */
#include <inttypes.h>
#include <string.h>

#include "findings.h"
#include "opening.h"
#include "output.h"

static const char *checksum_name(simdrive_checksum_kind kind) {
    return kind == SIMDRIVE_CHECKSUM_CRC32 ? "crc32" : "crc32c";
}

/* One list for both forms of the report. */
typedef struct figure {
    const char *name;
    uint64_t value;
} figure;

enum { FIGURE_COUNT = 13 };

static void figures_of(const simdrive_info *info, uint64_t savings, figure out[FIGURE_COUNT]) {
    const figure figures[FIGURE_COUNT] = {
        {"file_size", info->file_size},
        {"tail", info->tail},
        {"entries", info->entries},
        {"tombstones", info->tombstones},
        {"stale_entries", info->stale_entries},
        {"live_bytes", info->live_bytes},
        {"stale_bytes", info->stale_bytes},
        {"compaction_savings", savings},
        {"damaged_tail_bytes", info->damaged_tail_bytes},
        {"room_ahead_bytes", info->room_ahead_bytes},
        {"corrupt_entries", info->corrupt_entries},
        {"alignment", simdrive_alignment()},
        {"index_bytes", info->index_bytes},
    };
    for (size_t i = 0; i < FIGURE_COUNT; i++) out[i] = figures[i];
}

static void report(const sdi_cli *cli, const simdrive_info *info, const figure *figures) {
    sdi_cli_json json = {0};
    if (!cli->options.json) {
        sdi_cli_print("%-20s ", "file");
        sdi_cli_print_escaped(cli->store_path, strlen(cli->store_path));
        sdi_cli_print("\n");
        for (size_t i = 0; i < FIGURE_COUNT; i++) {
            sdi_cli_print("%-20s %" PRIu64 "\n", figures[i].name, figures[i].value);
        }
        sdi_cli_print("%-20s %s\n%-20s %s\n", "checksum", checksum_name(info->checksum), "damage",
                      sdi_cli_damage_name(info->damage));
        return;
    }
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    for (size_t i = 0; i < FIGURE_COUNT; i++) sdi_cli_json_number(&json, figures[i].name, figures[i].value);
    sdi_cli_json_text(&json, "checksum", checksum_name(info->checksum));
    sdi_cli_json_text(&json, "damage", sdi_cli_damage_name(info->damage));
    sdi_cli_json_text(&json, "version", simdrive_version());
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

sdi_cli_exit sdi_cli_info(const sdi_cli *cli) {
    simdrive_store *store = NULL;
    simdrive_info info = {.struct_size = sizeof info};
    figure figures[FIGURE_COUNT];
    uint64_t savings = 0;
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) return status;
    simdrive_status got = simdrive_get_info(store, &info);
    if (got == SIMDRIVE_OK) got = simdrive_estimate_compaction(store, &savings);
    if (got == SIMDRIVE_OK) {
        figures_of(&info, savings, figures);
        report(cli, &info, figures);
    } else {
        status = sdi_cli_fail(got, "describe '%s'", cli->store_path);
    }
    simdrive_close(store);
    return status;
}
