/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_metadata.c — `metadata KEY`: where an entry is, and whether its checksum is right.
 */
#include <inttypes.h>

#include "keys.h"
#include "opening.h"
#include "output.h"

static void report_json(const sdi_cli_key *key, const simdrive_metadata *data, bool valid) {
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_key_json(&json, key);
    sdi_cli_json_number(&json, "size", data->size);
    sdi_cli_json_number(&json, "total_size", data->total_size);
    sdi_cli_json_number(&json, "start", data->start);
    sdi_cli_json_number(&json, "end", data->end);
    sdi_cli_json_number(&json, "prev_offset", data->prev_offset);
    sdi_cli_json_number(&json, "checksum", data->checksum);
    sdi_cli_json_bool(&json, "checksum_valid", valid);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static void report_text(const sdi_cli_key *key, const simdrive_metadata *data, bool valid) {
    sdi_cli_print("key             ");
    sdi_cli_print_escaped(key->bytes, key->size);
    sdi_cli_print("\nkey_hash        %016" PRIx64 "\nsize            %" PRIu64 "\ntotal_size      %" PRIu64
                  "\nstart           %" PRIu64 "\nend             %" PRIu64 "\nprev_offset     %" PRIu64
                  "\nchecksum        %08" PRIx32 "\nchecksum_valid  %s\n",
                  data->key_hash, data->size, data->total_size, data->start, data->end, data->prev_offset,
                  data->checksum, valid ? "yes" : "no");
}

/* A wrong checksum is reported, and then the command has failed, too. A payload that opening found damaged is not
 * given out by read, but its metadata is. */
static sdi_cli_exit describe(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *key) {
    simdrive_metadata data;
    simdrive_entry entry = {0};
    simdrive_status status = simdrive_read_metadata(store, key->key.data, key->key.size, &data);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "find '%s' in '%s'", key->text, cli->store_path);
    status = simdrive_read(store, key->key.data, key->key.size, &entry);
    bool valid = status == SIMDRIVE_OK && simdrive_entry_is_valid(&entry);
    simdrive_entry_release(&entry);
    if (cli->options.json) {
        report_json(key, &data, valid);
    } else {
        report_text(key, &data, valid);
    }
    if (valid) return SDI_CLI_DONE;
    return sdi_cli_fail(status == SIMDRIVE_OK ? SIMDRIVE_ERROR_CORRUPT : status, "trust '%s' in '%s'", key->text,
                        cli->store_path);
}

sdi_cli_exit sdi_cli_metadata(const sdi_cli *cli) {
    sdi_cli_key key;
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status == SDI_CLI_DONE) status = describe(cli, store, &key);
    simdrive_close(store);
    sdi_cli_key_release(&key);
    return status;
}
