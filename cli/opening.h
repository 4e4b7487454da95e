/* SPDX-License-Identifier: Apache-2.0
 *
 * opening.h — opens stores the way commands want them, and ends a change: synced before success is reported, and no
 * empty file left behind by a command that stored nothing.
 */
#ifndef SDI_CLI_OPENING_H
#define SDI_CLI_OPENING_H

#include "cli.h"

/* All of them tell on standard error what is wrong, or worth knowing, about the store. */

/* For reading: no lock, no write permission needed. With --at, as it was. */
sdi_cli_exit sdi_cli_open_reading(const sdi_cli *cli, const char *path, simdrive_store **out);

/* A store open for writing. */
typedef struct sdi_cli_target {
    simdrive_store *store;
    const char *path;
    bool created; /* by this command */
} sdi_cli_target;

/* The store must be there. */
sdi_cli_exit sdi_cli_open_existing(const sdi_cli *cli, const char *path, sdi_cli_target *target);

/* The store is created when it is not there. `policy` is the least that --sync may ask for. */
sdi_cli_exit sdi_cli_open_creating(const sdi_cli *cli, const char *path, simdrive_sync_policy policy,
                                   sdi_cli_target *target);

/* Syncs where `status` is SDI_CLI_DONE or something was written anyway, and closes. Returns `status`, or what went
 * wrong now. Zero targets are passed over. */
sdi_cli_exit sdi_cli_target_finish(sdi_cli_target *target, sdi_cli_exit status);

#endif
