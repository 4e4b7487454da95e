/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_rename.c — `rename OLD NEW`: the payload of one key goes to another, all or nothing.
 */
#include "keys.h"
#include "opening.h"
#include "output.h"

static sdi_cli_exit rename_key(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *keys) {
    if (sdi_cli_key_hash(&keys[0]) == sdi_cli_key_hash(&keys[1])) {
        return sdi_cli_usage_error("rename", "'%s' and '%s' are the same key; give another name", keys[0].text,
                                   keys[1].text);
    }
    simdrive_status status = simdrive_rename(store, keys[0].key.data, keys[0].key.size, keys[1].key.data,
                                             keys[1].key.size, NULL);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(status, "rename '%s' in '%s'", keys[0].text, cli->store_path);
}

static void report(const sdi_cli *cli, const sdi_cli_key *keys, uint64_t tail) {
    sdi_cli_detail(cli, "'%s' is called '%s' now", keys[0].text, keys[1].text);
    if (!cli->options.json) return;
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_bytes(&json, "old_key", keys[0].bytes, keys[0].size);
    sdi_cli_key_json(&json, &keys[1]);
    sdi_cli_json_number(&json, "tail", tail);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

sdi_cli_exit sdi_cli_rename(const sdi_cli *cli) {
    sdi_cli_key *keys = NULL;
    sdi_cli_target target = {0};
    uint64_t tail = 0;
    sdi_cli_exit status = sdi_cli_keys_parse(cli, &keys);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_existing(cli, cli->store_path, &target);
    if (status == SDI_CLI_DONE) {
        status = rename_key(cli, target.store, keys);
        tail = simdrive_tail(target.store);
    }
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, keys, tail);
    sdi_cli_keys_release(keys, cli->operand_count);
    return status;
}
