/* SPDX-License-Identifier: Apache-2.0
 *
 * opening.c — opens and finishes stores for the commands.
 */
#include "opening.h"

#include <inttypes.h>

#include "output.h"
#include "platform.h"

static void tell_damage(const sdi_cli *cli, simdrive_store *store, const char *path) {
    simdrive_info info = {.struct_size = sizeof info};
    if (simdrive_get_info(store, &info) != SIMDRIVE_OK) return;
    if (info.damage == SIMDRIVE_DAMAGE_TAIL) {
        sdi_cli_note(cli, "'%s' has %" PRIu64 " bytes behind its last complete entry that belong to none; they are "
                     "passed over, and the next write moves them to '%s.tail-%" PRIu64 "'", path,
                     info.damaged_tail_bytes, path, info.tail);
    } else if (info.damage != SIMDRIVE_DAMAGE_NONE) {
        sdi_cli_note(cli, "'%s' is damaged and shown as far as it can be reached; run verify, then salvage", path);
    }
    if (info.corrupt_entries > 0 && cli->options.at > 0) {
        sdi_cli_note(cli, "%" PRIu64 " values of '%s' as it was at %" PRIu64 " cannot be given: their space was "
                     "given back by reclaim since, or they are damaged", info.corrupt_entries, path, cli->options.at);
    } else if (info.corrupt_entries > 0) {
        sdi_cli_note(cli, "'%s' has %" PRIu64 " damaged entries; run verify, then salvage", path,
                     info.corrupt_entries);
    }
    sdi_cli_detail(cli, "opened '%s': %" PRIu64 " entries, tail %" PRIu64 ", kernels %s", path, info.entries,
                   info.tail, simdrive_kernels());
}

sdi_cli_exit sdi_cli_open_reading(const sdi_cli *cli, const char *path, simdrive_store **out) {
    simdrive_open_options options = {.struct_size = sizeof options,
                                     .read_only = true,
                                     .at_offset = cli->options.at,
                                     .saved_index = cli->options.saved_index};
    simdrive_status status = simdrive_open(path, &options, out);
    if (status == SIMDRIVE_ERROR_STALE_OFFSET)
        return sdi_cli_fail(status, "open '%s' as it was at %" PRIu64, path, cli->options.at);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "open '%s'", path);
    tell_damage(cli, *out, path);
    return SDI_CLI_DONE;
}

static simdrive_open_options writing_options(const sdi_cli *cli, simdrive_sync_policy policy) {
    return (simdrive_open_options){
        .struct_size = sizeof(simdrive_open_options),
        .checksum = cli->options.checksum,
        .saved_index = cli->options.saved_index,
        .sync = cli->options.sync ? SIMDRIVE_SYNC_COMMIT : policy,
    };
}

static sdi_cli_exit opened(const sdi_cli *cli, simdrive_status status, sdi_cli_target *target) {
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "open '%s' for writing", target->path);
    tell_damage(cli, target->store, target->path);
    return SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_open_existing(const sdi_cli *cli, const char *path, sdi_cli_target *target) {
    simdrive_open_options options = writing_options(cli, SIMDRIVE_SYNC_NONE);
    options.must_exist = true;
    *target = (sdi_cli_target){.path = path};
    return opened(cli, simdrive_open(path, &options, &target->store), target);
}

sdi_cli_exit sdi_cli_open_creating(const sdi_cli *cli, const char *path, simdrive_sync_policy policy,
                                   sdi_cli_target *target) {
    simdrive_open_options options = writing_options(cli, policy);
    *target = (sdi_cli_target){.path = path};
    /* In two steps, to know whether the file is ours to remove. */
    options.must_exist = true;
    simdrive_status status = simdrive_open(path, &options, &target->store);
    if (status == SIMDRIVE_ERROR_NO_SUCH_FILE) {
        options.must_exist = false;
        options.must_create = true;
        status = simdrive_open(path, &options, &target->store);
        target->created = status == SIMDRIVE_OK;
    }
    if (status == SIMDRIVE_ERROR_EXISTS) { /* another process was quicker, or a symbolic link leads to no file */
        options.must_create = false;
        status = simdrive_open(path, &options, &target->store);
    }
    return opened(cli, status, target);
}

sdi_cli_exit sdi_cli_target_finish(sdi_cli_target *target, sdi_cli_exit status) {
    if (target->store == NULL) return status;
    simdrive_status synced = simdrive_sync(target->store, NULL);
    if (synced != SIMDRIVE_OK && status == SDI_CLI_DONE) {
        status = sdi_cli_fail(synced, "sync '%s'", target->path);
    }
    simdrive_info info = {.struct_size = sizeof info};
    bool empty = simdrive_get_info(target->store, &info) == SIMDRIVE_OK && info.tail == 0;
    /* Removed while the lock is held: nobody else can have written to it. */
    if (target->created && status != SDI_CLI_DONE && empty) sdi_cli_remove_file(target->path);
    simdrive_close(target->store);
    target->store = NULL;
    return status;
}
