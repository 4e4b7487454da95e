/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_history.c — `history KEY`: the versions of a key, newest to oldest. A damaged one is told, and then the command
 * has failed, too.
 */
#include <inttypes.h>

#include "keys.h"
#include "opening.h"
#include "output.h"

static const char *name_of(const simdrive_revision *revision) {
    return revision->operation == SIMDRIVE_DELETE ? "delete" : "put";
}

static bool print_text(const simdrive_revision *revision) {
    return sdi_cli_print("%14" PRIu64 "  %-6s %12zu%s%s%s\n", revision->offset, name_of(revision),
                         revision->payload.size, revision->live ? "  live" : "", revision->corrupt ? "  damaged" : "",
                         revision->reclaimed ? "  reclaimed" : "");
}

static bool print_json(const simdrive_revision *revision) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "operation", name_of(revision));
    sdi_cli_json_number(&json, "offset", revision->offset);
    sdi_cli_json_number(&json, "size", revision->payload.size);
    sdi_cli_json_number(&json, "checksum", revision->checksum);
    sdi_cli_json_bool(&json, "live", revision->live);
    sdi_cli_json_bool(&json, "damaged", revision->corrupt);
    sdi_cli_json_bool(&json, "reclaimed", revision->reclaimed);
    sdi_cli_json_object_end(&json);
    return sdi_cli_print("\n");
}

static sdi_cli_exit print_all(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *key) {
    simdrive_history *history = NULL;
    simdrive_revision revision;
    bool damaged = false, going_on = true;
    simdrive_status status = simdrive_history_begin(store, key->key.data, key->key.size, &history);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "find '%s' in '%s'", key->text, cli->store_path);
    while (going_on && (status = simdrive_history_next(history, &revision)) == SIMDRIVE_OK) {
        damaged |= revision.corrupt;
        going_on = (cli->options.json ? print_json : print_text)(&revision);
    }
    simdrive_history_end(history);
    if (status == SIMDRIVE_ERROR_CORRUPT || (damaged && going_on))
        return sdi_cli_fail(SIMDRIVE_ERROR_CORRUPT, "trust all versions of '%s' in '%s'", key->text, cli->store_path);
    return SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_history(const sdi_cli *cli) {
    sdi_cli_key key;
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status == SDI_CLI_DONE) status = print_all(cli, store, &key);
    simdrive_close(store);
    sdi_cli_key_release(&key);
    return status;
}
