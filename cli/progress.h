/* SPDX-License-Identifier: Apache-2.0
 *
 * progress.h — a progress bar on standard error for long work, and the place where Ctrl-C is noticed meanwhile.
 */
#ifndef SDI_CLI_PROGRESS_H
#define SDI_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli.h"

typedef struct sdi_cli_progress {
    const char *label;
    bool items;    /* things are counted instead of bytes; set behind begin */
    bool shown;
    bool coloured;
    bool finished;
    uint64_t started_ns;
    uint64_t drawn_ns;
    uint64_t done;
    uint64_t total;
} sdi_cli_progress;

/* Draws the bar for the first time, unless it is not to be seen (--no-progress, -q, no terminal). */
void sdi_cli_progress_begin(sdi_cli_progress *progress, const sdi_cli *cli, const char *label);

/* A simdrive_progress; `user` is the sdi_cli_progress. ERROR_CANCELLED when the user asked to stop. */
simdrive_status sdi_cli_progress_update(void *user, uint64_t done, uint64_t total);

/* Draws the end (all of it when the work was `finished`), and takes the bar away. Once is enough, more does nothing. */
void sdi_cli_progress_end(sdi_cli_progress *progress, bool finished);

#endif
