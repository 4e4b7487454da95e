/* SPDX-License-Identifier: Apache-2.0
 *
 * faulty.h — a store on the fault_os table, beside the image of what it must show: what the fault tests share.
 */
#ifndef TEST_FAULTY_H
#define TEST_FAULTY_H

#include "fault_os.h"
#include "stores.h"

typedef struct test_faulty {
    test_folder folder;
    char path[TEST_PATH_MAX], other_path[TEST_PATH_MAX], out_path[TEST_PATH_MAX];
    sdi_fault_os *faults;
    simdrive_open_options options;
    simdrive_store *store;
    simdrive_store *other; /* a second store, target of copies; on the same table */
    test_image before;     /* what `store` holds when the work begins */
    test_image other_before;
} test_faulty;

/* One piece of work that is to be interrupted, and what it makes of the image. */
typedef struct test_work {
    const char *name;
    simdrive_status (*run)(test_faulty *f);
    void (*change)(test_image *image);
    uint64_t target_key;     /* number of the key that `other` gets; 0: none */
    bool keeps_on_failure;   /* `other` may have got it although the work failed */
    bool swaps_file;
} test_work;

extern const test_work TEST_WORKS[];
extern const size_t TEST_WORK_COUNT;

/* Two fresh stores with some entries, stale ones and tombstones among them, opened on a table without faults. */
void test_faulty_begin(test_faulty *f, const simdrive_open_options *options);
void test_faulty_end(test_faulty *f);

/* The status and system error that a failing call reports in round `i` of a sweep. */
typedef struct test_fault {
    simdrive_status status;
    int os_error;
    uint64_t effect;
    bool for_ever;
} test_fault;

extern const test_fault TEST_FAULTS[];
extern const size_t TEST_FAULT_COUNT;

void test_faulty_arm(test_faulty *f, const test_fault *fault, uint64_t nth);

/* Whether the file holds exactly the image's bytes, by a new handle and by comparison. */
bool test_file_is(const char *path, const test_image *image);

#endif
