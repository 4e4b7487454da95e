/* SPDX-License-Identifier: Apache-2.0
 *
 * boot.c — what tells one run of the machine from the next, on POSIX.
 */
#include "os/posix/posix.h"

#include <string.h>
#include <unistd.h>
#include <fcntl.h>

/* Linux has a random number for it, as text: 32 hexadecimal digits with dashes between them. */
static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bool parse(const char *text, ssize_t size, uint8_t id[SDI_BOOT_ID_BYTES]) {
    unsigned digits = 0;
    for (ssize_t i = 0; i < size && digits < 2 * SDI_BOOT_ID_BYTES; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0) continue;
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
        digits++;
    }
    return digits == 2 * SDI_BOOT_ID_BYTES;
}

bool sdi_boot_id(uint8_t id[SDI_BOOT_ID_BYTES]) {
    char text[64];
    memset(id, 0, SDI_BOOT_ID_BYTES);
    int fd = sdi_posix_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
    if (fd < 0) return false;
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    if (parse(text, size, id)) return true;
    memset(id, 0, SDI_BOOT_ID_BYTES);
    return false;
}
