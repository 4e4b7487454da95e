/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_copy.c — `copy KEY TARGET` and `move KEY TARGET`: an entry goes to another store under its key. A move syncs the
 * target before it deletes here, so that no loss of power leaves the key in neither store.
 */
#include "command_table.h"
#include "keys.h"
#include "opening.h"
#include "output.h"
#include "platform.h"

static void report(const sdi_cli *cli, const sdi_cli_key *key, uint64_t target_tail) {
    sdi_cli_detail(cli, "'%s' is in '%s' now", key->text, cli->operands[1]);
    if (!cli->options.json) return;
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_key_json(&json, key);
    sdi_cli_json_text(&json, "target", cli->operands[1]);
    sdi_cli_json_number(&json, "target_tail", target_tail);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

/* The target is opened, and perhaps created, only when there is something to bring. */
static sdi_cli_exit bring(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *key, bool move) {
    const char *target_path = cli->operands[1];
    sdi_cli_target target = {0};
    uint64_t tail = 0;
    const void *data = key->key.data;
    size_t size = key->key.size;
    if (!simdrive_exists(store, data, size)) {
        return sdi_cli_fail(SIMDRIVE_NOT_FOUND, "%s '%s' from '%s'", cli->command->name, key->text, cli->store_path);
    }
    sdi_cli_exit status = sdi_cli_open_creating(cli, target_path, move ? SIMDRIVE_SYNC_COMMIT : SIMDRIVE_SYNC_NONE,
                                                &target);
    if (status == SDI_CLI_DONE) {
        simdrive_status done = move ? simdrive_transfer(store, data, size, target.store, NULL)
                                    : simdrive_copy(store, data, size, target.store, NULL);
        if (done != SIMDRIVE_OK) {
            status = sdi_cli_fail(done, "%s '%s' to '%s'", cli->command->name, key->text, target_path);
        }
        tail = simdrive_tail(target.store);
    }
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, key, tail);
    return status;
}

static sdi_cli_exit refuse_same(const sdi_cli *cli) {
    if (!sdi_cli_same_file(cli->store_path, cli->operands[1])) return SDI_CLI_DONE;
    return sdi_cli_usage_error(cli->command->name, "'%s' and '%s' are the same store; give another target",
                               cli->store_path, cli->operands[1]);
}

sdi_cli_exit sdi_cli_copy(const sdi_cli *cli) {
    sdi_cli_key key;
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    if (status == SDI_CLI_DONE) status = refuse_same(cli);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status == SDI_CLI_DONE) status = bring(cli, store, &key, false);
    simdrive_close(store);
    sdi_cli_key_release(&key);
    return status;
}

sdi_cli_exit sdi_cli_move(const sdi_cli *cli) {
    sdi_cli_key key;
    sdi_cli_target source = {0};
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    if (status == SDI_CLI_DONE) status = refuse_same(cli);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_existing(cli, cli->store_path, &source);
    if (status == SDI_CLI_DONE) status = bring(cli, source.store, &key, true);
    status = sdi_cli_target_finish(&source, status);
    sdi_cli_key_release(&key);
    return status;
}
