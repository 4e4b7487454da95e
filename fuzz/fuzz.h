/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h — what the fuzz targets share. Each is one file fuzz_NAME.c with the two functions below, linked either with
 * libFuzzer, which makes up inputs, or with replay.c, which runs those that are kept. A check that fails aborts.
 *
 * Work is counted in steps, not in time: the library's objects are built a second time with a call at each edge of
 * their control flow (-fsanitize-coverage=trace-pc). Loops over bytes are such steps too; bytes moved by the C library
 * are not.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "memory_os.h"
#include "store/store.h"
#include "support/stores.h"

/* Runs one input. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same input, made another one of at most `capacity` bytes; only where bytes alone do not get far. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);
/* libFuzzer's own mutations; given by it. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);

/* Steps since fuzz_work_begin(); 0 in builds that count none. */
void fuzz_work_begin(void);
uint64_t fuzz_work_done(void);

/* An input, read from its beginning. At its end it gives zeros. */
typedef struct fuzz_input {
    const uint8_t *at, *end;
} fuzz_input;

static inline size_t fuzz_left(const fuzz_input *input) {
    return (size_t)(input->end - input->at);
}

static inline uint8_t fuzz_byte(fuzz_input *input) {
    return input->at < input->end ? *input->at++ : 0;
}

/* 16 bits: few inputs are longer. */
static inline uint32_t fuzz_word(fuzz_input *input) {
    uint32_t low = fuzz_byte(input);
    return low | (uint32_t)fuzz_byte(input) << 8;
}

/* A place in something of `limit` bytes, above 0. */
static inline size_t fuzz_place(fuzz_input *input, size_t limit) {
    uint32_t place = fuzz_word(input);
    if (limit > 65536) place |= (uint32_t)fuzz_byte(input) << 16;
    return place % limit;
}

#endif
