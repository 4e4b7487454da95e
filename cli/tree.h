/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.h — what import and export share: reaching a node of a folder tree step by step, without ever following a
 * symbolic link below the tree's root.
 */
#ifndef SDI_CLI_TREE_H
#define SDI_CLI_TREE_H

#include <limits.h>

#include "simdrive.h"

#ifndef NAME_MAX
#define NAME_MAX 255
#endif

/* The folder that was reached last stays open: its neighbours are usually asked for next. */
typedef struct sdi_cli_tree {
    int root;           /* descriptor of the tree's root, borrowed */
    int folder;         /* descriptor of the folder reached last; -1 for none */
    char *folder_path;  /* its path below the root */
    size_t folder_size;
} sdi_cli_tree;

void sdi_cli_tree_start(sdi_cli_tree *tree, int root);
void sdi_cli_tree_end(sdi_cli_tree *tree);

/* The folder that holds `path`, and the last name of the path ("." for the empty path). Returns a descriptor that stays
 * the tree's, or -1 (errno): ELOOP or ENOTDIR where something on the way is no folder, ENAMETOOLONG. */
int sdi_cli_tree_parent(sdi_cli_tree *tree, simdrive_bytes path, char name[NAME_MAX + 1]);

#endif
