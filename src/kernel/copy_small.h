/* SPDX-License-Identifier: Apache-2.0 */
/* copy_small.h — copies of up to 16 bytes, which no vector loop serves: two overlapping words, no loop. */
#ifndef SDI_COPY_SMALL_H
#define SDI_COPY_SMALL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void copy_up_to_16(uint8_t *to, const uint8_t *from, size_t size) {
    if (size >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + size - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + size - 8, &last, 8);
    } else if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + size - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + size - 4, &last, 4);
    } else if (size > 0) {
        uint8_t first = from[0], middle = from[size / 2], last = from[size - 1];
        to[0] = first;
        to[size / 2] = middle;
        to[size - 1] = last;
    }
}

#endif
