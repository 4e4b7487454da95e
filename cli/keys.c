/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c — keys from arguments.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool decode_hex(const char *text, size_t length, unsigned char *bytes) {
    if (length % 2 != 0) return false;
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return false;
        bytes[i / 2] = (unsigned char)(high * 16 + low);
    }
    return true;
}

sdi_cli_exit sdi_cli_key_parse(const sdi_cli *cli, const char *argument, sdi_cli_key *key) {
    const char *name_space = cli->options.name_space;
    size_t length = strlen(argument);
    *key = (sdi_cli_key){.text = argument, .bytes = malloc(length + 1), .size = length};
    if (key->bytes == NULL) return sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "keep the key");
    if (!cli->options.hex) {
        memcpy(key->bytes, argument, length);
    } else if (decode_hex(argument, length, key->bytes)) {
        key->size = length / 2;
    } else {
        return sdi_cli_usage_error(NULL, "the key '%s' is not hexadecimal; give two digits for each byte", argument);
    }
    key->key = (simdrive_bytes){key->bytes, key->size};
    if (name_space[0] != '\0') {
        simdrive_namespaced_key(name_space, strlen(name_space), key->bytes, key->size, key->inner);
        key->key = (simdrive_bytes){key->inner, sizeof key->inner};
    }
    return SDI_CLI_DONE;
}

void sdi_cli_key_release(sdi_cli_key *key) {
    free(key->bytes);
    key->bytes = NULL;
}

sdi_cli_exit sdi_cli_keys_parse(const sdi_cli *cli, sdi_cli_key **keys) {
    *keys = calloc(cli->operand_count, sizeof **keys);
    if (*keys == NULL) return sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "keep the keys");
    for (size_t i = 0; i < cli->operand_count; i++) {
        sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[i], &(*keys)[i]);
        if (status != SDI_CLI_DONE) return status;
    }
    return SDI_CLI_DONE;
}

void sdi_cli_keys_release(sdi_cli_key *keys, size_t count) {
    for (size_t i = 0; keys != NULL && i < count; i++) sdi_cli_key_release(&keys[i]);
    free(keys);
}

uint64_t sdi_cli_key_hash(const sdi_cli_key *key) {
    return simdrive_hash_key(key->key.data, key->key.size);
}

void sdi_cli_key_json(sdi_cli_json *json, const sdi_cli_key *key) {
    sdi_cli_json_bytes(json, "key", key->bytes, key->size);
    sdi_cli_json_hash(json, "key_hash", sdi_cli_key_hash(key));
}
