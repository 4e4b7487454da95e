/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h — little-endian loads and stores at any address, and arithmetic that notices overflow. */
#ifndef SDI_BYTES_H
#define SDI_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SDI_LE64(x) __builtin_bswap64(x)
#define SDI_LE32(x) __builtin_bswap32(x)
#else
#define SDI_LE64(x) (x)
#define SDI_LE32(x) (x)
#endif

static inline uint64_t sdi_load64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return SDI_LE64(value);
}

static inline uint32_t sdi_load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return SDI_LE32(value);
}

static inline void sdi_store64(uint8_t *at, uint64_t value) {
    value = SDI_LE64(value);
    memcpy(at, &value, sizeof value);
}

static inline void sdi_store32(uint8_t *at, uint32_t value) {
    value = SDI_LE32(value);
    memcpy(at, &value, sizeof value);
}

/* a + b into *sum; false, and *sum unchanged, when it does not fit. */
static inline bool sdi_add(uint64_t a, uint64_t b, uint64_t *sum) {
    if (b > UINT64_MAX - a) return false;
    *sum = a + b;
    return true;
}

#endif
