/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.h — turns an argument into the key that the library is asked for: bytes as they are, or from hexadecimal (-x),
 * within a namespace where one was given.
 */
#ifndef SDI_CLI_KEYS_H
#define SDI_CLI_KEYS_H

#include "cli.h"
#include "output.h"

typedef struct sdi_cli_key {
    const char *text;          /* the argument, for messages */
    unsigned char *bytes;      /* the key as the user means it */
    size_t size;
    unsigned char inner[16];   /* what stands for it in a namespace */
    simdrive_bytes key;        /* what the library is asked for: one of the two */
} sdi_cli_key;

/* SDI_CLI_DONE, or another exit status after a message. Release it in either case. It must not be moved: `key` may
 * point into it. */
sdi_cli_exit sdi_cli_key_parse(const sdi_cli *cli, const char *argument, sdi_cli_key *key);
void sdi_cli_key_release(sdi_cli_key *key);

/* All operands as keys; releases nothing on failure, so that the caller releases in either case. */
sdi_cli_exit sdi_cli_keys_parse(const sdi_cli *cli, sdi_cli_key **keys);
void sdi_cli_keys_release(sdi_cli_key *keys, size_t count);

uint64_t sdi_cli_key_hash(const sdi_cli_key *key);

/* The members `key` (see output.h for bytes that are not UTF-8) and `key_hash`. */
void sdi_cli_key_json(sdi_cli_json *json, const sdi_cli_key *key);

#endif
