/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_exists.c — `exists KEY...`: which keys are there; the exit status says whether all are.
 */
#include "keys.h"
#include "opening.h"
#include "output.h"

static void report_text(const sdi_cli_key *key, bool exists) {
    sdi_cli_print(exists ? "yes " : "no  ");
    sdi_cli_print_escaped(key->bytes, key->size);
    sdi_cli_print("\n");
}

static void report_json(sdi_cli_json *json, const sdi_cli_key *key, bool exists) {
    sdi_cli_json_object(json, NULL);
    sdi_cli_key_json(json, key);
    sdi_cli_json_bool(json, "exists", exists);
    sdi_cli_json_object_end(json);
}

static sdi_cli_exit look_up(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *keys) {
    sdi_cli_json json = {0};
    size_t found = 0;
    if (cli->options.json) {
        sdi_cli_json_object(&json, NULL);
        sdi_cli_json_list(&json, "keys");
    }
    for (size_t i = 0; i < cli->operand_count; i++) {
        bool exists = simdrive_exists(store, keys[i].key.data, keys[i].key.size);
        found += exists;
        if (cli->options.json) {
            report_json(&json, &keys[i], exists);
        } else if (cli->options.verbosity >= 0) {
            report_text(&keys[i], exists);
        }
    }
    if (cli->options.json) {
        sdi_cli_json_list_end(&json);
        sdi_cli_json_number(&json, "found", found);
        sdi_cli_json_number(&json, "missing", cli->operand_count - found);
        sdi_cli_json_object_end(&json);
        sdi_cli_json_line_end(&json);
    }
    return found == cli->operand_count ? SDI_CLI_DONE : SDI_CLI_NOT_FOUND;
}

sdi_cli_exit sdi_cli_exists(const sdi_cli *cli) {
    sdi_cli_key *keys = NULL;
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_keys_parse(cli, &keys);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status == SDI_CLI_DONE) status = look_up(cli, store, keys);
    simdrive_close(store);
    sdi_cli_keys_release(keys, cli->operand_count);
    return status;
}
