/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c — being told that a file changes, on Windows: not done. Callers look at intervals instead.
 */
#include "os/windows/win.h"

simdrive_status sdi_win_watch_begin(const sdi_os *os, const char *path, sdi_watch **out) {
    (void)os, (void)path;
    *out = NULL;
    sdi_set_os_error(0);
    return SIMDRIVE_ERROR_UNSUPPORTED;
}

void sdi_win_watch_wait(const sdi_os *os, sdi_watch *watch, uint32_t timeout_ms) {
    (void)os, (void)watch, (void)timeout_ms;
}

void sdi_win_watch_end(const sdi_os *os, sdi_watch *watch) {
    (void)os, (void)watch;
}
