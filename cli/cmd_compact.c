/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_compact.c — `compact`: gives back the space of what is no longer found.
 */
#include <inttypes.h>

#include "opening.h"
#include "output.h"
#include "progress.h"

static void report(const sdi_cli *cli, uint64_t before, uint64_t after) {
    if (!cli->options.json) {
        if (cli->options.verbosity >= 0) {
            sdi_cli_print("%" PRIu64 " bytes saved, %" PRIu64 " left\n", before - after, after);
        }
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_number(&json, "saved_bytes", before - after);
    sdi_cli_json_number(&json, "file_size_before", before);
    sdi_cli_json_number(&json, "file_size", after);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static sdi_cli_exit compact(const sdi_cli *cli, simdrive_store *store, uint64_t *before, uint64_t *after) {
    sdi_cli_progress progress;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_status status = simdrive_get_info(store, &info);
    *before = info.file_size;
    sdi_cli_progress_begin(&progress, cli, "compact");
    if (status == SIMDRIVE_OK) status = simdrive_compact(store, &work, NULL);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    if (status == SIMDRIVE_OK) status = simdrive_get_info(store, &info);
    *after = info.file_size;
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(status, "compact '%s'", cli->store_path);
}

sdi_cli_exit sdi_cli_compact(const sdi_cli *cli) {
    sdi_cli_target target;
    uint64_t before = 0, after = 0;
    sdi_cli_exit status = sdi_cli_open_existing(cli, cli->store_path, &target);
    if (status == SDI_CLI_DONE) status = compact(cli, target.store, &before, &after);
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, before, after);
    return status;
}
