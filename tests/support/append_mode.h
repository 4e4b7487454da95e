/* SPDX-License-Identifier: Apache-2.0
 *
 * append_mode.h — lets the tests open their stores in another append mode than they ask for.
 *
 * Included before everything else in each test (tests/CMakeLists.txt), so the names below, wherever a test or a header
 * has them, are those of append_mode.c. With SIMDRIVE_TEST_APPEND=map in the environment (`./dev test map`) these open
 * handles that write with SIMDRIVE_APPEND_MAP; otherwise they do what the library does. The library itself knows
 * nothing of it. A file with room ahead is looked at by the tests as if it had been closed (files.c).
 *
 * A test that is about the calls of the system by which an ordinary append is made leaves out what it checks of small
 * appends then, and says why: test_appends_to_map().
 */
#ifndef TEST_APPEND_MODE_H
#define TEST_APPEND_MODE_H

#include <stdbool.h>
#include <stddef.h>

bool test_appends_to_map(void);

/* The file's size, or of a store with zeros set aside behind its entries the size without them. */
size_t test_size_without_room(const char *path, size_t size);

#define simdrive_open test_open_in_mode
#define sdi_open_with_os test_open_with_os_in_mode

#endif
