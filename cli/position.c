/* SPDX-License-Identifier: Apache-2.0
 *
 * position.c — reads and writes positions, without any of the leniency of strtoull(): no sign, no blanks.
 */
#include "position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_DIGITS = 16 };

/* The number at `*text` in decimal, which must begin with a digit; `*text` is moved behind it. */
static bool take_offset(const char **text, uint64_t *offset) {
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (at == *text) return false;
    *text = at;
    *offset = value;
    return true;
}

static bool take_check(const char *text, uint64_t *check) {
    static const char digits[] = "0123456789abcdefABCDEF";
    uint64_t value = 0;
    if (strlen(text) != CHECK_DIGITS) return false;
    for (; *text != '\0'; text++) {
        const char *digit = strchr(digits, *text);
        if (digit == NULL) return false;
        unsigned number = (unsigned)(digit - digits);
        value = value << 4 | (number < 16 ? number : number - 6);
    }
    *check = value;
    return true;
}

bool sdi_cli_parse_position(const char *text, simdrive_position *out) {
    simdrive_position found = {0};
    *out = found;
    if (!take_offset(&text, &found.offset)) return false;
    if (*text == ':' && !take_check(text + 1, &found.check)) return false;
    if (*text != ':' && *text != '\0') return false;
    *out = found;
    return true;
}

const char *sdi_cli_format_position(const simdrive_position *position, char *text) {
    snprintf(text, SDI_CLI_POSITION_SIZE, "%" PRIu64 ":%016" PRIx64, position->offset, position->check);
    return text;
}
