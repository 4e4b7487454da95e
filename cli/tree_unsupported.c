/* SPDX-License-Identifier: Apache-2.0
 *
 * tree_unsupported.c — import and export where the system has no Unix file tree: they say so.
 */
#include "output.h"

sdi_cli_exit sdi_cli_import(const sdi_cli *cli) {
    return sdi_cli_fail(SIMDRIVE_ERROR_UNSUPPORTED, "import '%s'", cli->operands[0]);
}

sdi_cli_exit sdi_cli_export(const sdi_cli *cli) {
    return sdi_cli_fail(SIMDRIVE_ERROR_UNSUPPORTED, "export to '%s'", cli->operands[0]);
}
