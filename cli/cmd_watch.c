/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_watch.c — `watch`: each write and delete as a line, as soon as it can be seen. It waits in slices, so that it
 * notices soon when it is interrupted, or when nobody reads its output any more.
 */
#include <inttypes.h>
#include <stdio.h>

#include "opening.h"
#include "output.h"
#include "position.h"
#include "platform.h"

enum { SLICE_MS = 250 };

static const char *name_of(simdrive_status status, const simdrive_event *event) {
    if (status == SIMDRIVE_COMPACTED) return "compacted";
    if (status == SIMDRIVE_ERROR_CORRUPT) return "damaged";
    return event->operation == SIMDRIVE_DELETE ? "delete" : "put";
}

static void print_text(simdrive_status status, const simdrive_event *event) {
    sdi_cli_print("%14" PRIu64 "  %-9s", event->position.offset, name_of(status, event));
    if (status != SIMDRIVE_COMPACTED) sdi_cli_print(" %016" PRIx64, event->key_hash);
    if (status == SIMDRIVE_OK) sdi_cli_print(" %12zu", event->payload.size);
    sdi_cli_print(event->reclaimed ? "  reclaimed\n" : "\n");
}

static void print_json(simdrive_status status, const simdrive_event *event) {
    sdi_cli_json json = {0};
    char position[SDI_CLI_POSITION_SIZE];
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "operation", name_of(status, event));
    if (status != SIMDRIVE_COMPACTED) sdi_cli_json_hash(&json, "key_hash", event->key_hash);
    if (status == SIMDRIVE_OK) {
        sdi_cli_json_number(&json, "size", event->payload.size);
        sdi_cli_json_bool(&json, "reclaimed", event->reclaimed);
    }
    sdi_cli_json_number(&json, "offset", event->position.offset);
    sdi_cli_json_hash(&json, "check", event->position.check);
    sdi_cli_json_text(&json, "position", sdi_cli_format_position(&event->position, position));
    sdi_cli_json_object_end(&json);
    sdi_cli_print("\n");
}

/* Whether to go on waiting after a slice in which nothing came. */
static bool keep_waiting(const sdi_cli *cli, uint64_t quiet_since) {
    uint64_t quiet_ms = (sdi_cli_monotonic_ns() - quiet_since) / 1000000;
    return !cli->options.no_wait &&
           (cli->options.timeout_ms == 0 || quiet_ms < cli->options.timeout_ms);
}

static uint32_t slice(const sdi_cli *cli) {
    if (cli->options.no_wait) return 0;
    uint64_t timeout = cli->options.timeout_ms;
    return timeout > 0 && timeout < SLICE_MS ? (uint32_t)timeout : SLICE_MS;
}

/* Prints what comes until there is a reason to end. */
static sdi_cli_exit print_all(const sdi_cli *cli, simdrive_changes *changes, bool can_change) {
    uint64_t printed = 0, quiet_since = sdi_cli_monotonic_ns();
    bool damaged = false, going_on = true;
    while (going_on && !sdi_cli_interrupted()) {
        simdrive_event event;
        simdrive_status status = simdrive_changes_next(changes, slice(cli), &event);
        if (status == SIMDRIVE_END) {
            if (sdi_cli_output_is_closed()) return SDI_CLI_IO; /* as when a line cannot be written */
            going_on = can_change && keep_waiting(cli, quiet_since);
            continue;
        }
        if (status != SIMDRIVE_OK && status != SIMDRIVE_COMPACTED && status != SIMDRIVE_ERROR_CORRUPT)
            return sdi_cli_fail(status, "watch '%s'", cli->store_path);
        if (status == SIMDRIVE_ERROR_CORRUPT)
            sdi_cli_error("the entry before %" PRIu64 " is damaged and passed over", event.position.offset);
        damaged |= status == SIMDRIVE_ERROR_CORRUPT;
        (cli->options.json ? print_json : print_text)(status, &event);
        if (status != SIMDRIVE_COMPACTED) printed++;
        going_on = sdi_cli_output_flush() && (cli->options.count == 0 || printed < cli->options.count);
        quiet_since = sdi_cli_monotonic_ns();
    }
    return damaged ? SDI_CLI_DAMAGED : SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_watch(const sdi_cli *cli) {
    simdrive_store *store = NULL;
    simdrive_changes *changes = NULL;
    simdrive_position since = cli->options.since;
    simdrive_info info = {.struct_size = sizeof info};
    sdi_cli_exit exit_status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (exit_status != SDI_CLI_DONE) return exit_status;
    simdrive_status status = simdrive_get_info(store, &info);
    if (status == SIMDRIVE_OK && (cli->options.given & SDI_CLI_BIT(SINCE)) == 0)
        status = simdrive_get_position(store, &since);
    if (status == SIMDRIVE_OK) status = simdrive_changes_begin(store, &since, &changes);
    if (status == SIMDRIVE_OK) {
        sdi_cli_interrupts_catch();
        exit_status = print_all(cli, changes, info.damage <= SIMDRIVE_DAMAGE_TAIL);
        sdi_cli_interrupts_forget();
    } else {
        exit_status = sdi_cli_fail(status, "watch '%s' from %" PRIu64 " on", cli->store_path, since.offset);
    }
    simdrive_changes_end(changes);
    simdrive_close(store);
    return exit_status;
}
