/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_read.c — `read KEY`: the payload on standard output, its checksum verified. Without -b it is verified before the
 * first byte goes out; with -b the payload goes through a buffer of that size, and damage is told at its end.
 */
#include <stdlib.h>

#include "keys.h"
#include "opening.h"
#include "output.h"
#include "platform.h"

/* Text is UTF-8 without control characters that could do things to a terminal. */
static bool is_text(const unsigned char *data, size_t size) {
    for (size_t i = 0, length; i < size; i += length) {
        length = sdi_cli_utf8_length(data + i, size - i);
        if (length == 0) return false;
        bool layout = data[i] == '\n' || data[i] == '\r' || data[i] == '\t';
        if (data[i] == 0x7F || (data[i] < 0x20 && !layout)) return false;
        if (length == 2 && data[i] == 0xC2 && data[i + 1] < 0xA0) return false;
    }
    return true;
}

static sdi_cli_exit fail_read(const sdi_cli *cli, simdrive_status status) {
    return sdi_cli_fail(status, "read '%s' from '%s'", cli->operands[0], cli->store_path);
}

static sdi_cli_exit print_whole(const sdi_cli *cli, const simdrive_entry *entry) {
    if (!simdrive_entry_is_valid(entry)) return fail_read(cli, SIMDRIVE_ERROR_CORRUPT);
    sdi_cli_print_bytes(entry->data, entry->size);
    return SDI_CLI_DONE;
}

static sdi_cli_exit print_streamed(const sdi_cli *cli, const simdrive_entry *entry) {
    size_t buffer_size = cli->options.buffer_size;
    simdrive_reader *reader = NULL;
    unsigned char *buffer = malloc(buffer_size);
    simdrive_status status = buffer != NULL ? simdrive_reader_open_entry(entry, &reader) : SIMDRIVE_ERROR_NO_MEMORY;
    while (status == SIMDRIVE_OK) {
        size_t copied = 0;
        status = simdrive_reader_next(reader, buffer, buffer_size, &copied);
        if (status == SIMDRIVE_OK && !sdi_cli_print_bytes(buffer, copied)) break;
    }
    simdrive_reader_close(reader);
    free(buffer);
    if (status == SIMDRIVE_OK || status == SIMDRIVE_END) return SDI_CLI_DONE;
    return fail_read(cli, status);
}

static sdi_cli_exit print_entry(const sdi_cli *cli, const simdrive_entry *entry) {
    if (!cli->options.force && sdi_cli_is_terminal(SDI_CLI_STDOUT) && !is_text(entry->data, entry->size)) {
        return sdi_cli_usage_error("read", "the value of '%s' is binary and would upset the terminal; send it to a "
                                   "file or a pipe, or give -f", cli->operands[0]);
    }
    return cli->options.buffer_size > 0 ? print_streamed(cli, entry) : print_whole(cli, entry);
}

sdi_cli_exit sdi_cli_read(const sdi_cli *cli) {
    sdi_cli_key key;
    simdrive_store *store = NULL;
    simdrive_entry entry = {0};
    sdi_cli_exit status = sdi_cli_key_parse(cli, cli->operands[0], &key);
    if (status == SDI_CLI_DONE) status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) goto out;
    simdrive_status found = simdrive_read(store, key.key.data, key.key.size, &entry);
    status = found == SIMDRIVE_OK ? print_entry(cli, &entry) : fail_read(cli, found);
out:
    simdrive_entry_release(&entry);
    simdrive_close(store);
    sdi_cli_key_release(&key);
    return status;
}
