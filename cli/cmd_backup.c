/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_backup.c — `backup OUT`: a synced copy of the store, while a writer may go on.
 */
#include <inttypes.h>

#include "opening.h"
#include "output.h"
#include "progress.h"

static void report(const sdi_cli *cli, const simdrive_report *written) {
    if (!cli->options.json) {
        sdi_cli_detail(cli, "%" PRIu64 " bytes copied to '%s'", written->bytes_written, cli->operands[0]);
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_text(&json, "out", cli->operands[0]);
    sdi_cli_json_number(&json, "entries_written", written->entries_written);
    sdi_cli_json_number(&json, "bytes_written", written->bytes_written);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

sdi_cli_exit sdi_cli_backup(const sdi_cli *cli) {
    sdi_cli_progress progress;
    simdrive_store *store = NULL;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_report written = {.struct_size = sizeof written};
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) return status;
    sdi_cli_progress_begin(&progress, cli, "backup");
    simdrive_status done = simdrive_backup(store, cli->operands[0], &work, &written);
    sdi_cli_progress_end(&progress, done == SIMDRIVE_OK);
    simdrive_close(store);
    if (done != SIMDRIVE_OK) {
        return sdi_cli_fail(done, "back up '%s' to '%s'", cli->store_path, cli->operands[0]);
    }
    report(cli, &written);
    return SDI_CLI_DONE;
}
