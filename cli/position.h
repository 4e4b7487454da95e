/* SPDX-License-Identifier: Apache-2.0
 *
 * position.h — places in the order of writes, as they are written on the command line: OFFSET:CHECK, the offset in
 * decimal, the check in 16 hexadecimal digits. OFFSET alone is a position of which only the offset is looked at.
 */
#ifndef SDI_CLI_POSITION_H
#define SDI_CLI_POSITION_H

#include <stdbool.h>

#include "simdrive.h"

enum { SDI_CLI_POSITION_SIZE = 48 };

/* False, and zeros, for anything else. */
bool sdi_cli_parse_position(const char *text, simdrive_position *out);

/* The same back; returns `text`, which has SDI_CLI_POSITION_SIZE bytes. */
const char *sdi_cli_format_position(const simdrive_position *position, char *text);

#endif
