/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_salvage.c — `salvage OUT`: what is intact goes to a new store; the damaged one is never changed.
 */
#include <inttypes.h>

#include "findings.h"
#include "progress.h"

static void report_json(const sdi_cli *cli, const sdi_cli_findings *findings, const simdrive_report *report) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_text(&json, "out", cli->operands[0]);
    sdi_cli_json_number(&json, "entries_written", report->entries_written);
    sdi_cli_json_number(&json, "bytes_written", report->bytes_written);
    sdi_cli_findings_json(&json, findings, report);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static void report_text(const sdi_cli *cli, const sdi_cli_findings *findings, const simdrive_report *report) {
    sdi_cli_findings_print(findings);
    if (cli->options.verbosity < 0) return;
    sdi_cli_print("%" PRIu64 " entries, %" PRIu64 " bytes saved; %zu damaged\n", report->entries_written,
                  report->bytes_written, findings->count);
}

sdi_cli_exit sdi_cli_salvage(const sdi_cli *cli) {
    sdi_cli_progress progress;
    sdi_cli_findings findings = {0};
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_report report = {.struct_size = sizeof report};
    sdi_cli_progress_begin(&progress, cli, "salvage");
    simdrive_status status = simdrive_salvage(cli->store_path, cli->operands[0], &work, sdi_cli_findings_add,
                                              &findings, &report);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    if (status == SIMDRIVE_OK) (cli->options.json ? report_json : report_text)(cli, &findings, &report);
    sdi_cli_findings_release(&findings);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(status, "salvage '%s' to '%s'", cli->store_path, cli->operands[0]);
}
