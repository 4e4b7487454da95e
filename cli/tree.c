/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c — walks to the folder of a path with one openat() for each name, so that neither ".." nor a symbolic link
 * leads out of the tree, even when somebody changes the tree meanwhile.
 */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void sdi_cli_tree_start(sdi_cli_tree *tree, int root) {
    *tree = (sdi_cli_tree){.root = root, .folder = -1};
}

void sdi_cli_tree_end(sdi_cli_tree *tree) {
    if (tree->folder >= 0) close(tree->folder);
    free(tree->folder_path);
    *tree = (sdi_cli_tree){.root = -1, .folder = -1};
}

static bool copy_name(const char *from, size_t size, char name[NAME_MAX + 1]) {
    if (size > NAME_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(name, from, size);
    name[size] = '\0';
    return true;
}

/* Opens the folder of that path below the root; -1 (errno). */
static int descend(int root, const char *path, size_t size) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int folder = openat(root, ".", flags);
    const char *end = path + size;
    while (folder >= 0 && path < end) {
        char name[NAME_MAX + 1];
        const char *slash = memchr(path, '/', (size_t)(end - path));
        const char *name_end = slash != NULL ? slash : end;
        int next = copy_name(path, (size_t)(name_end - path), name) ? openat(folder, name, flags) : -1;
        int os_error = errno;
        close(folder);
        errno = os_error;
        folder = next;
        path = slash != NULL ? slash + 1 : end;
    }
    return folder;
}

int sdi_cli_tree_parent(sdi_cli_tree *tree, simdrive_bytes path, char name[NAME_MAX + 1]) {
    const char *bytes = path.data;
    size_t start = path.size;
    while (start > 0 && bytes[start - 1] != '/') start--;
    if (!copy_name(path.size > 0 ? bytes + start : ".", path.size > 0 ? path.size - start : 1, name)) return -1;
    size_t size = start > 0 ? start - 1 : 0;
    if (tree->folder >= 0 && tree->folder_size == size &&
        (size == 0 || memcmp(tree->folder_path, bytes, size) == 0)) {
        return tree->folder;
    }
    char *kept = malloc(size + 1);
    if (kept == NULL) return -1;
    if (size > 0) memcpy(kept, bytes, size);
    if (tree->folder >= 0) close(tree->folder);
    free(tree->folder_path);
    tree->folder_path = kept;
    tree->folder_size = size;
    tree->folder = descend(tree->root, kept, size);
    return tree->folder;
}
