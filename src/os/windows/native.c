/* SPDX-License-Identifier: Apache-2.0
 *
 * native.c — the table of Windows.
 */
#include "os/windows/win.h"

static const sdi_os native = {
    .open = sdi_win_file_open,
    .close = sdi_win_file_close,
    .info = sdi_win_file_info,
    .path_info = sdi_win_path_info,
    .lock = sdi_win_file_lock,
    .unlock = sdi_win_file_unlock,
    .share_length = sdi_win_file_length_is_kept,
    .claim_length = sdi_win_file_length_is_kept,
    .release_length = sdi_win_file_length_is_kept,
    .share_presence = sdi_win_nobody_is_present,
    .claim_presence = sdi_win_claim_presence,
    .release_presence = sdi_win_nobody_is_present,
    .punch_hole = sdi_win_punch_hole,
    .set_aside = sdi_win_set_aside,
    .next_data = sdi_win_next_data,
    .space = sdi_win_file_space,
    .read_at = sdi_win_read_at,
    .write_at = sdi_win_write_at,
    .write_pieces_at = sdi_win_write_pieces_at,
    .truncate = sdi_win_file_truncate,
    .sync = sdi_win_file_sync,
    .begin_write_back = sdi_win_begin_write_back,
    .copy_range = sdi_win_copy_range,
    .copy_attributes = sdi_win_copy_attributes,
    .resolve = sdi_win_resolve,
    .rename = sdi_win_rename,
    .rename_new = sdi_win_rename_new,
    .unlink = sdi_win_unlink,
    .sync_folder_of = sdi_win_sync_folder_of,
    .list_folder_of = sdi_win_list_folder_of,
    .map = sdi_win_map,
    .map_private = sdi_win_map_private,
    .map_shared = sdi_win_map_shared,
    .make_present = sdi_win_make_present,
    .map_grow = sdi_win_map_grow,
    .unmap = sdi_win_unmap,
    .watch_begin = sdi_win_watch_begin,
    .watch_wait = sdi_win_watch_wait,
    .watch_end = sdi_win_watch_end,
    .advise = sdi_win_advise,
};

const sdi_os *sdi_os_native(void) {
    return &native;
}
