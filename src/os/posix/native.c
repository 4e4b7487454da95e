/* SPDX-License-Identifier: Apache-2.0
 *
 * native.c — the table of a POSIX system.
 */
#include "os/posix/posix.h"

static const sdi_os native = {
    .open = sdi_posix_file_open,
    .close = sdi_posix_file_close,
    .info = sdi_posix_file_info,
    .path_info = sdi_posix_path_info,
    .lock = sdi_posix_file_lock,
    .unlock = sdi_posix_file_unlock,
    .share_length = sdi_posix_share_length,
    .claim_length = sdi_posix_claim_length,
    .release_length = sdi_posix_release_length,
    .share_presence = sdi_posix_share_presence,
    .claim_presence = sdi_posix_claim_presence,
    .release_presence = sdi_posix_release_presence,
    .read_at = sdi_posix_read_at,
    .write_at = sdi_posix_write_at,
    .write_pieces_at = sdi_posix_write_pieces_at,
    .truncate = sdi_posix_file_truncate,
    .punch_hole = sdi_posix_punch_hole,
    .set_aside = sdi_posix_set_aside,
    .next_data = sdi_posix_next_data,
    .space = sdi_posix_file_space,
    .sync = sdi_posix_file_sync,
    .begin_write_back = sdi_posix_begin_write_back,
    .copy_range = sdi_posix_copy_range,
    .copy_attributes = sdi_posix_copy_attributes,
    .resolve = sdi_posix_resolve,
    .rename = sdi_posix_rename,
    .rename_new = sdi_posix_rename_new,
    .unlink = sdi_posix_unlink,
    .sync_folder_of = sdi_posix_sync_folder_of,
    .list_folder_of = sdi_posix_list_folder_of,
    .map = sdi_posix_map,
    .map_private = sdi_posix_map_private,
    .map_shared = sdi_posix_map_shared,
    .make_present = sdi_posix_make_present,
    .map_grow = sdi_posix_map_grow,
    .unmap = sdi_posix_unmap,
    .watch_begin = sdi_posix_watch_begin,
    .watch_wait = sdi_posix_watch_wait,
    .watch_end = sdi_posix_watch_end,
    .advise = sdi_posix_advise,
};

const sdi_os *sdi_os_native(void) {
    return &native;
}
