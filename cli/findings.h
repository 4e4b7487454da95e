/* SPDX-License-Identifier: Apache-2.0
 *
 * findings.h — collects what verify, salvage and backup find, and tells damage the same way everywhere.
 */
#ifndef SDI_CLI_FINDINGS_H
#define SDI_CLI_FINDINGS_H

#include "output.h"

typedef struct sdi_cli_findings {
    simdrive_finding *items;
    size_t count;
    size_t capacity;
} sdi_cli_findings;

/* A simdrive_finding_handler; `user` is the sdi_cli_findings. */
simdrive_status sdi_cli_findings_add(void *user, const simdrive_finding *finding);
void sdi_cli_findings_release(sdi_cli_findings *findings);

/* The members that all three reports have: `entries_checked`, `bytes_checked`, `corrupt`, `damaged_tail_bytes` and
 * `room_ahead_bytes`. */
void sdi_cli_findings_json(sdi_cli_json *json, const sdi_cli_findings *findings, const simdrive_report *report);
/* "none", "tail", ...: what reports call the damage that opening found. */
const char *sdi_cli_damage_name(simdrive_damage damage);

/* One line for each finding. */
void sdi_cli_findings_print(const sdi_cli_findings *findings);

#endif
