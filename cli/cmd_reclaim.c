/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_reclaim.c — `reclaim`: gives the disk space of replaced and deleted values back in place.
 */
#include <inttypes.h>

#include "opening.h"
#include "output.h"
#include "platform.h"
#include "progress.h"

typedef struct reclaimed_space {
    uint64_t disk_bytes_before, disk_bytes, reclaimed_bytes, file_size;
} reclaimed_space;

static void report(const sdi_cli *cli, const reclaimed_space *space) {
    if (!cli->options.json) {
        if (cli->options.verbosity >= 0) {
            sdi_cli_print("%" PRIu64 " bytes reclaimed, %" PRIu64 " of the disk left in use\n", space->reclaimed_bytes,
                          space->disk_bytes);
        }
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_number(&json, "reclaimed_bytes", space->reclaimed_bytes);
    sdi_cli_json_number(&json, "disk_bytes_before", space->disk_bytes_before);
    sdi_cli_json_number(&json, "disk_bytes", space->disk_bytes);
    sdi_cli_json_number(&json, "file_size", space->file_size);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static sdi_cli_exit reclaim(const sdi_cli *cli, simdrive_store *store, reclaimed_space *space) {
    sdi_cli_progress progress;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_info info = {.struct_size = sizeof info};
    sdi_cli_progress_begin(&progress, cli, "reclaim");
    simdrive_status status = simdrive_reclaim(store, &work, &space->reclaimed_bytes);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    if (status == SIMDRIVE_OK) status = simdrive_get_info(store, &info);
    if (status == SIMDRIVE_OK) {
        space->file_size = info.file_size;
        space->disk_bytes = sdi_cli_disk_bytes(cli->store_path);
        space->disk_bytes_before = space->disk_bytes + space->reclaimed_bytes;
        return SDI_CLI_DONE;
    }
    if (status != SIMDRIVE_ERROR_BUSY) return sdi_cli_fail(status, "reclaim '%s'", cli->store_path);
    sdi_cli_error("cannot reclaim '%s': another process has it open for reading%s", cli->store_path,
                  space->reclaimed_bytes > 0 ? ", since some was given back" : "");
    return SDI_CLI_LOCKED;
}

sdi_cli_exit sdi_cli_reclaim(const sdi_cli *cli) {
    sdi_cli_target target;
    reclaimed_space space = {0};
    sdi_cli_exit status = sdi_cli_open_existing(cli, cli->store_path, &target);
    if (status == SDI_CLI_DONE) status = reclaim(cli, target.store, &space);
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, &space);
    return status;
}
