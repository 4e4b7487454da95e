/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_write.c — `write KEY [VALUE]`: stores the argument, or standard input streamed through a buffer.
 */
#include <errno.h>
#include <string.h>

#include "keys.h"
#include "opening.h"
#include "output.h"
#include "platform.h"

typedef struct input {
    uint64_t size;  /* bytes read so far */
    int os_error;   /* why reading failed, 0 when it did not */
} input;

static simdrive_status read_input(void *user, void *buffer, size_t capacity, size_t *produced) {
    input *in = user;
    ptrdiff_t got = sdi_cli_read_stdin(buffer, capacity);
    *produced = got > 0 ? (size_t)got : 0;
    in->size += *produced;
    if (sdi_cli_interrupted()) return SIMDRIVE_ERROR_CANCELLED;
    if (got >= 0) return SIMDRIVE_OK;
    in->os_error = errno;
    return SIMDRIVE_ERROR_IO;
}

static sdi_cli_exit write_input(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *key, uint64_t *size) {
    input in = {0};
    if (sdi_cli_is_terminal(SDI_CLI_STDIN)) sdi_cli_note(cli, "the value is read from the terminal");
    simdrive_status status = simdrive_write_stream(store, key->key.data, key->key.size, read_input, &in,
                                                   cli->options.buffer_size, NULL);
    *size = in.size;
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    if (in.os_error != 0) return sdi_cli_fail_system(in.os_error, "read the value from standard input");
    return sdi_cli_fail(status, "write '%s' to '%s'", key->text, cli->store_path);
}

static sdi_cli_exit write_argument(const sdi_cli *cli, simdrive_store *store, const sdi_cli_key *key,
                                   uint64_t *size) {
    const char *value = cli->operands[1];
    *size = strlen(value);
    simdrive_status status = simdrive_write(store, key->key.data, key->key.size, value, (size_t)*size, NULL);
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(status, "write '%s' to '%s'", key->text, cli->store_path);
}

static void report(const sdi_cli *cli, const sdi_cli_key *key, uint64_t size, uint64_t tail) {
    sdi_cli_detail(cli, "wrote '%s', %llu bytes", key->text, (unsigned long long)size);
    if (!cli->options.json) return;
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_key_json(&json, key);
    sdi_cli_json_number(&json, "size", size);
    sdi_cli_json_number(&json, "tail", tail);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

sdi_cli_exit sdi_cli_write(const sdi_cli *cli) {
    sdi_cli_key key;
    sdi_cli_target target = {0};
    uint64_t size = 0, tail = 0;
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    /* Before the store is made: a wish to stop has to find somebody who takes it away again. */
    if (cli->operand_count == 1) sdi_cli_interrupts_catch();
    if (status == SDI_CLI_DONE) {
        status = sdi_cli_open_creating(cli, cli->store_path, SIMDRIVE_SYNC_NONE, &target);
    }
    if (status == SDI_CLI_DONE) {
        status = cli->operand_count > 1 ? write_argument(cli, target.store, &key, &size)
                                        : write_input(cli, target.store, &key, &size);
        tail = simdrive_tail(target.store);
    }
    status = sdi_cli_target_finish(&target, status);
    if (status == SDI_CLI_DONE) report(cli, &key, size, tail);
    sdi_cli_key_release(&key);
    return status;
}
