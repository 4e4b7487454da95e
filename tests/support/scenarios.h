/* SPDX-License-Identifier: Apache-2.0
 *
 * scenarios.h — for every public function a piece of work that calls it, and what the store must hold after it. The
 * test of failing calls lets each call inside of `run` fail in turn; all else runs undisturbed.
 */
#ifndef TEST_SCENARIOS_H
#define TEST_SCENARIOS_H

#include "stores.h"

typedef struct test_scene {
    test_folder folder;
    char path[TEST_PATH_MAX], other_path[TEST_PATH_MAX], out_path[TEST_PATH_MAX];
    test_image before, other_before; /* what the two stores hold at the beginning */
    simdrive_open_options options;
    simdrive_store *store;  /* the one that the work is done with; NULL before opening and after closing */
    simdrive_store *other;  /* a second store, for work between two */
    simdrive_store *reader_handle; /* the first store once more, opened for reading only */
    simdrive_store *made;   /* a store that the work opens besides */
    simdrive_entry entry, entries[4];
    simdrive_session *session;
    simdrive_iterator *iterator;
    simdrive_reader *reader;
    simdrive_stream *stream;
    simdrive_changes *changes;
    simdrive_history *history;
    uint8_t *memory; /* a store in memory */
} test_scene;

typedef struct test_scenario {
    const char *name;
    const char *functions; /* those that `run` calls, with spaces between them, without "simdrive_" */
    void (*prepare)(test_scene *scene); /* before the calls fail; NULL: the stores are open, nothing more */
    simdrive_status (*run)(test_scene *scene);
    void (*change)(test_image *image);       /* what success makes of the store; NULL: nothing */
    void (*change_other)(test_image *image, const test_image *from); /* and of the second one */
    simdrive_open_options options;
    simdrive_status success; /* what the work returns when nothing fails */
    unsigned traits;
} test_scenario;

enum {
    TRAIT_OPENS = 1,       /* the store is not open at the beginning */
    TRAIT_NEW_FILE = 2,    /* nor is there a file */
    TRAIT_NO_READER = 4,   /* no other handle may have it open */
    TRAIT_SWAPS = 8,       /* puts another file in its place: may be done although it tells an error */
    TRAIT_PUNCHES = 16,    /* changes bytes of stale entries */
    TRAIT_READ_ONLY = 32,  /* the handle is opened for reading only */
    TRAIT_HALF = 64,       /* several changes one after the other: some may be there without the rest */
    TRAIT_KEEPS = 128,     /* the second store may have changed although the work failed */
    TRAIT_DAMAGED = 256,   /* with bytes behind the tail */
    TRAIT_SILENT = 512,    /* makes no call that could fail */
    TRAIT_BACKGROUND = 1024, /* a thread of the library does it: its failure is told by later calls */
    TRAIT_LONG = 2048      /* very many entries: not checked one by one; short runs let only memory and threads fail */
};

extern const test_scenario TEST_SCENARIOS[];
extern const size_t TEST_SCENARIO_COUNT;

void test_scene_begin(test_scene *scene, const test_scenario *scenario);
/* Releases what the work left, and closes the stores. */
void test_scene_close(test_scene *scene);
void test_scene_end(test_scene *scene);

#endif
