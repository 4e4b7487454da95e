/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_delete.c — `delete KEY...`: those that are there, all or nothing; those that are not are told.
 */
#include <stdlib.h>

#include "keys.h"
#include "opening.h"
#include "output.h"

typedef struct deletion {
    sdi_cli_key *keys;
    simdrive_bytes *plain; /* the same, as the library takes them */
    bool *present;
    size_t count;
    size_t deleted;
    uint64_t tail;
} deletion;

static sdi_cli_exit delete_keys(const sdi_cli *cli, simdrive_store *store, deletion *work) {
    for (size_t i = 0; i < work->count; i++) {
        work->plain[i] = work->keys[i].key;
        work->present[i] = simdrive_exists(store, work->plain[i].data, work->plain[i].size);
    }
    simdrive_status status = simdrive_delete_batch(store, work->plain, work->count, &work->deleted, NULL);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "delete from '%s'", cli->store_path);
    work->tail = simdrive_tail(store);
    return SDI_CLI_DONE;
}

/* NOT_FOUND when at least one key was not there; the others are deleted all the same. */
static sdi_cli_exit tell_missing(const sdi_cli *cli, const deletion *work) {
    sdi_cli_exit status = SDI_CLI_DONE;
    for (size_t i = 0; i < work->count; i++) {
        if (work->present[i]) continue;
        status = sdi_cli_fail(SIMDRIVE_NOT_FOUND, "delete '%s' from '%s'", work->keys[i].text, cli->store_path);
    }
    return status;
}

static void report(const sdi_cli *cli, const deletion *work) {
    sdi_cli_detail(cli, "deleted %zu keys", work->deleted);
    if (!cli->options.json) return;
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_number(&json, "deleted", work->deleted);
    sdi_cli_json_number(&json, "tail", work->tail);
    sdi_cli_json_list(&json, "keys");
    for (size_t i = 0; i < work->count; i++) {
        sdi_cli_json_object(&json, NULL);
        sdi_cli_key_json(&json, &work->keys[i]);
        sdi_cli_json_bool(&json, "deleted", work->present[i]);
        sdi_cli_json_object_end(&json);
    }
    sdi_cli_json_list_end(&json);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

sdi_cli_exit sdi_cli_delete(const sdi_cli *cli) {
    deletion work = {.count = cli->operand_count};
    sdi_cli_target target = {0};
    work.plain = calloc(work.count, sizeof *work.plain);
    work.present = calloc(work.count, sizeof *work.present);
    sdi_cli_exit status = work.plain == NULL || work.present == NULL
                              ? sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "keep the keys")
                              : sdi_cli_keys_parse(cli, &work.keys);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_existing(cli, cli->store_path, &target);
    if (status == SDI_CLI_DONE) status = delete_keys(cli, target.store, &work);
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) {
        report(cli, &work);
        status = tell_missing(cli, &work);
    }
    sdi_cli_keys_release(work.keys, work.count);
    free(work.plain);
    free(work.present);
    return status;
}
