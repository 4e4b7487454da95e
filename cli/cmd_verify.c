/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_verify.c — `verify`: checks every entry and says which are damaged.
 */
#include <inttypes.h>

#include "findings.h"
#include "opening.h"
#include "progress.h"

static void report_json(const sdi_cli *cli, const sdi_cli_findings *findings, const simdrive_report *report, bool ok) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_bool(&json, "ok", ok);
    sdi_cli_findings_json(&json, findings, report);
    sdi_cli_json_number(&json, "reclaimed", report->entries_reclaimed);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static void report_text(const sdi_cli *cli, const sdi_cli_findings *findings, const simdrive_report *report, bool ok) {
    sdi_cli_findings_print(findings);
    if (report->damaged_tail_bytes > 0) {
        sdi_cli_print("damaged tail: %" PRIu64 " bytes behind the last complete entry\n", report->damaged_tail_bytes);
    }
    if (cli->options.verbosity < 0) return;
    if (report->room_ahead_bytes > 0)
        sdi_cli_print("room ahead: %" PRIu64 " zeros behind the last entry, set aside by a writer: no damage\n",
                      report->room_ahead_bytes);
    if (report->entries_reclaimed > 0)
        sdi_cli_print("reclaimed: %" PRIu64 " replaced entries, which is no damage\n", report->entries_reclaimed);
    sdi_cli_print("%s: %" PRIu64 " entries, %" PRIu64 " bytes checked, %zu damaged\n", ok ? "ok" : "damaged",
                  report->entries_checked, report->bytes_checked, findings->count);
}

static sdi_cli_exit verify(const sdi_cli *cli, simdrive_store *store) {
    sdi_cli_progress progress;
    sdi_cli_findings findings = {0};
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_report report = {.struct_size = sizeof report};
    sdi_cli_progress_begin(&progress, cli, "verify");
    simdrive_status status = simdrive_verify(store, &work, sdi_cli_findings_add, &findings, &report);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT);
    if (status == SIMDRIVE_OK || status == SIMDRIVE_ERROR_CORRUPT) {
        (cli->options.json ? report_json : report_text)(cli, &findings, &report, status == SIMDRIVE_OK);
    }
    sdi_cli_findings_release(&findings);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    if (status != SIMDRIVE_ERROR_CORRUPT) return sdi_cli_fail(status, "verify '%s'", cli->store_path);
    sdi_cli_error("'%s' is damaged; save what is intact with 'simdrive STORE salvage OUT'", cli->store_path);
    return SDI_CLI_DAMAGED;
}

sdi_cli_exit sdi_cli_verify(const sdi_cli *cli) {
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status == SDI_CLI_DONE) status = verify(cli, store);
    simdrive_close(store);
    return status;
}
