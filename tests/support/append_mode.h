/* SPDX-License-Identifier: Apache-2.0
 *
 * append_mode.h — lets the tests open their stores in another append mode than they ask for.
 *
 * Included before everything else in each test (tests/CMakeLists.txt), so the names below, wherever a test or a header
 * has them, are those of append_mode.c. With SIMDRIVE_TEST_APPEND=map in the environment these open handles that write
 * with SIMDRIVE_APPEND_MAP; otherwise they do what the library does. The library itself knows nothing of it.
 */
#ifndef TEST_APPEND_MODE_H
#define TEST_APPEND_MODE_H

#define simdrive_open test_open_in_mode
#define sdi_open_with_os test_open_with_os_in_mode

#endif
