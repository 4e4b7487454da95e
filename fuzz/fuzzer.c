/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzzer.c — what a target needs when libFuzzer runs it: a failed check ends the process at once, so that the input is
 * kept.
 */
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    return 0;
}
