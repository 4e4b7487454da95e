/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_compact.c — `compact`: gives back the space of what is no longer found.
 */
#include <inttypes.h>

#include "opening.h"
#include "output.h"
#include "platform.h"
#include "progress.h"

enum { LOOK_MS = 50 };

typedef struct outcome {
    bool compacted; /* --if-stale was not against it */
    uint64_t before, after;
    uint64_t savings; /* that were to be had */
} outcome;

static void report(const sdi_cli *cli, const outcome *found) {
    if (!cli->options.json) {
        if (cli->options.verbosity < 0) return;
        if (found->compacted) {
            sdi_cli_print("%" PRIu64 " bytes saved, %" PRIu64 " left\n", found->before - found->after, found->after);
        } else {
            sdi_cli_print("not compacted: it would save %" PRIu64 " of %" PRIu64 " bytes, less than %u %%\n",
                          found->savings, found->before, cli->options.if_stale);
        }
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "file", cli->store_path);
    sdi_cli_json_bool(&json, "compacted", found->compacted);
    sdi_cli_json_number(&json, "saved_bytes", found->before - found->after);
    sdi_cli_json_number(&json, "file_size_before", found->before);
    sdi_cli_json_number(&json, "file_size", found->after);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

/* Whether as much is stale as --if-stale wants. */
static simdrive_status look(const sdi_cli *cli, simdrive_store *store, outcome *found) {
    simdrive_info info = {.struct_size = sizeof info};
    simdrive_status status = simdrive_get_info(store, &info);
    found->compacted = true;
    found->before = found->after = info.file_size;
    if (status != SIMDRIVE_OK || cli->options.if_stale == 0) return status;
    status = simdrive_estimate_compaction(store, &found->savings);
    found->compacted = found->savings > 0 && found->savings * 100 >= info.file_size * cli->options.if_stale;
    return status;
}

/* In a thread of the library, so that an interrupt is noticed wherever it is; the progress is told too seldom. */
static simdrive_status run(simdrive_store *store, const simdrive_work_options *work) {
    simdrive_status status = simdrive_compact_begin(store, work);
    if (status != SIMDRIVE_OK) return status;
    while ((status = simdrive_compact_wait(store, LOOK_MS, NULL)) == SIMDRIVE_END) {
        if (sdi_cli_interrupted()) simdrive_compact_cancel(store);
    }
    return status;
}

static simdrive_status rewrite(const sdi_cli *cli, simdrive_store *store, outcome *found) {
    sdi_cli_progress progress;
    simdrive_work_options work = {sizeof work, sdi_cli_progress_update, &progress};
    simdrive_info info = {.struct_size = sizeof info};
    sdi_cli_progress_begin(&progress, cli, "compact");
    simdrive_status status = run(store, &work);
    sdi_cli_progress_end(&progress, status == SIMDRIVE_OK);
    if (status == SIMDRIVE_OK) status = simdrive_get_info(store, &info);
    if (status == SIMDRIVE_OK) found->after = info.file_size;
    return status;
}

static sdi_cli_exit compact(const sdi_cli *cli, simdrive_store *store, outcome *found) {
    simdrive_status status = look(cli, store, found);
    if (status == SIMDRIVE_OK && found->compacted) status = rewrite(cli, store, found);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(status, "compact '%s'", cli->store_path);
}

sdi_cli_exit sdi_cli_compact(const sdi_cli *cli) {
    sdi_cli_target target;
    outcome found = {0};
    sdi_cli_exit status = sdi_cli_open_existing(cli, cli->store_path, &target);
    if (status == SDI_CLI_DONE) status = compact(cli, target.store, &found);
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, &found);
    return status;
}
