/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_backup.c — `backup OUT`: a synced copy of the store, while a writer may go on: a new file, an earlier backup that
 * is brought up to date, or a stream of bytes to standard output or to a new file, from a position on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opening.h"
#include "output.h"
#include "platform.h"
#include "position.h"
#include "progress.h"

/* What was done. */
typedef struct outcome {
    simdrive_report report;
    simdrive_position position; /* where the next one begins */
    bool appended;              /* to a backup that was there */
} outcome;

static bool to_stdout(const sdi_cli *cli) {
    return strcmp(cli->operands[0], "-") == 0;
}

static const simdrive_position *since_of(const sdi_cli *cli) {
    return cli->options.given & SDI_CLI_BIT(SINCE) ? &cli->options.since : NULL;
}

/* ----- reporting ----- */

static void report_text(const sdi_cli *cli, const outcome *done) {
    char position[SDI_CLI_POSITION_SIZE];
    const char *verb = done->appended ? "appended to" : "written to";
    const char *out = to_stdout(cli) ? "standard output" : cli->operands[0];
    sdi_cli_note(cli, "%" PRIu64 " bytes, %" PRIu64 " entries %s '%s'; for what comes behind them: --since %s",
                 done->report.bytes_written, done->report.entries_written, verb, out,
                 sdi_cli_format_position(&done->position, position));
}

static void report_json(const sdi_cli *cli, const outcome *done) {
    char position[SDI_CLI_POSITION_SIZE];
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_text(&json, "out", cli->operands[0]);
    sdi_cli_json_number(&json, "entries_written", done->report.entries_written);
    sdi_cli_json_number(&json, "bytes_written", done->report.bytes_written);
    sdi_cli_json_bool(&json, "appended", done->appended);
    sdi_cli_json_number(&json, "offset", done->position.offset);
    sdi_cli_json_hash(&json, "check", done->position.check);
    sdi_cli_json_text(&json, "position", sdi_cli_format_position(&done->position, position));
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static sdi_cli_exit fail_backup(const sdi_cli *cli, simdrive_status status) {
    return sdi_cli_fail(status, "back up '%s' to '%s'", cli->store_path, cli->operands[0]);
}

/* ----- to a file: a new one, or an earlier backup ----- */

static sdi_cli_exit fail_update(const sdi_cli *cli, simdrive_status status) {
    if (status == SIMDRIVE_ERROR_INVALID_ARGUMENT)
        return sdi_cli_usage_error("backup", "'%s' is the store itself", cli->operands[0]);
    if (status != SIMDRIVE_ERROR_STALE_OFFSET) return fail_backup(cli, status);
    sdi_cli_error("cannot back up '%s' to '%s': that file is no earlier state of this store, which may have been "
                  "compacted since; give another name, or remove that file first", cli->store_path, cli->operands[0]);
    return SDI_CLI_STALE;
}

static sdi_cli_exit copy_or_update(const sdi_cli *cli, simdrive_store *store, outcome *done) {
    sdi_cli_progress progress;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    sdi_cli_progress_begin(&progress, cli, "backup");
    simdrive_status status = simdrive_backup(store, cli->operands[0], &work, &done->report);
    done->appended = status == SIMDRIVE_ERROR_EXISTS;
    if (done->appended) status = simdrive_backup_update(store, cli->operands[0], &work, &done->report);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    /* The store is open for reading, and stays as it was when it was opened. */
    if (status == SIMDRIVE_OK) status = simdrive_get_position(store, &done->position);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return done->appended ? fail_update(cli, status) : fail_backup(cli, status);
}

/* ----- as a stream ----- */

static simdrive_status print_part(void *user, const void *data, size_t size) {
    (void)user;
    return sdi_cli_print_bytes(data, size) ? SIMDRIVE_OK : SIMDRIVE_ERROR_IO;
}

static simdrive_status write_part(void *user, const void *data, size_t size) {
    return fwrite(data, 1, size, user) == size ? SIMDRIVE_OK : SIMDRIVE_ERROR_IO;
}

static simdrive_status stream(const sdi_cli *cli, simdrive_store *store, simdrive_sink sink, void *sink_user,
                              outcome *done) {
    sdi_cli_progress progress;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    sdi_cli_progress_begin(&progress, cli, "backup");
    simdrive_status status =
        simdrive_backup_stream(store, since_of(cli), sink, sink_user, &work, &done->position, &done->report);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    return status;
}

static sdi_cli_exit stream_to_stdout(const sdi_cli *cli, simdrive_store *store, outcome *done) {
    simdrive_status status = stream(cli, store, print_part, NULL, done);
    if (!sdi_cli_flush()) return SDI_CLI_IO; /* the reason is told at the end */
    if (status != SIMDRIVE_OK) return fail_backup(cli, status);
    sdi_cli_print_to_stderr();
    return SDI_CLI_DONE;
}

static sdi_cli_exit stream_to_file(const sdi_cli *cli, simdrive_store *store, outcome *done) {
    const char *path = cli->operands[0];
    FILE *file = sdi_cli_create_file(path);
    if (file == NULL && errno == EEXIST) return fail_backup(cli, SIMDRIVE_ERROR_EXISTS);
    if (file == NULL) return sdi_cli_fail_system(errno, "create '%s'", path);
    errno = 0;
    simdrive_status status = stream(cli, store, write_part, file, done);
    int os_error = ferror(file) ? errno : 0;
    if (!sdi_cli_finish_file(file, path, status == SIMDRIVE_OK) && status == SIMDRIVE_OK) {
        os_error = errno;
        status = SIMDRIVE_ERROR_IO;
    }
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    sdi_cli_remove_file(path);
    return os_error != 0 ? sdi_cli_fail_system(os_error, "write '%s'", path) : fail_backup(cli, status);
}

sdi_cli_exit sdi_cli_backup(const sdi_cli *cli) {
    simdrive_store *store = NULL;
    outcome done = {.report = {.struct_size = sizeof done.report}};
    if (to_stdout(cli) && !cli->options.force && sdi_cli_is_terminal(SDI_CLI_STDOUT))
        return sdi_cli_usage_error("backup", "a store is binary and would upset the terminal; send it to a file or a "
                                   "pipe, or give -f");
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) return status;
    if (to_stdout(cli))
        status = stream_to_stdout(cli, store, &done);
    else if (since_of(cli) != NULL)
        status = stream_to_file(cli, store, &done);
    else
        status = copy_or_update(cli, store, &done);
    simdrive_close(store);
    if (status != SDI_CLI_DONE) return status;
    if (cli->options.json)
        report_json(cli, &done);
    else
        report_text(cli, &done);
    return SDI_CLI_DONE;
}
