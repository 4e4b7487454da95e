/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h — what import keeps of a folder tree beside the bytes of its files, so that export gives back the same.
 *
 * A store holds one manifest for each namespace that was imported into. It is an ordinary entry, under the namespaced
 * key of the reserved namespace (byte F7, "import", byte FD) and the import's namespace (empty where none was given).
 * The files themselves are entries under their paths, or under the namespaced key of namespace and path.
 *
 * Form, version 1; integers of fixed size are little-endian, `v` is a variable-length one (seven bits a byte, lowest
 * first, the high bit says that more follow, ten bytes at most):
 *
 *     8 bytes   "SDRTREE" and the version, byte 01
 *     v, bytes  the namespace: its size, and itself
 *     v         count of nodes
 *     nodes     see below
 *     8 bytes   XXH3-64, seed 0, of all bytes before
 *
 *     node:  1 byte    kind: 1 file, 2 short file, 3 folder, 4 symbolic link
 *            v, bytes  path below the imported folder: its size, and itself
 *            v         permission bits (07777)
 *            v         modification time, seconds since 1970, sign folded in: 0, -1, 1, -2 are 0, 1, 2, 3
 *            v         its nanoseconds
 *            file      v, size at the time of the import. The bytes are the entry of its key
 *            short     v, bytes: content that no entry can hold: nothing, or the single byte 00
 *            link      v, bytes: where it leads
 *
 * Invariants, all of them checked when a manifest is read, for its bytes are not trusted:
 *   M1  Nodes stand in the order of their paths' bytes, each path once.
 *   M2  The first node is the imported folder itself: a folder with the empty path. No other path is empty.
 *   M3  A path is relative: names joined by single slashes; no name is "." or "..", none holds a byte 00.
 *   M4  What stands above a node is a folder, and has its own node.
 *   M5  No bytes are left over.
 */
#ifndef SDI_CLI_MANIFEST_H
#define SDI_CLI_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simdrive.h"

typedef enum sdi_cli_node_kind {
    SDI_CLI_NODE_FILE = 1,
    SDI_CLI_NODE_SHORT = 2,
    SDI_CLI_NODE_FOLDER = 3,
    SDI_CLI_NODE_LINK = 4
} sdi_cli_node_kind;

typedef struct sdi_cli_node {
    sdi_cli_node_kind kind;
    uint32_t mode;
    uint32_t mtime_ns;
    int64_t mtime_s;
    simdrive_bytes path;
    simdrive_bytes content; /* of a short file or a link */
    uint64_t size;          /* of a file */
} sdi_cli_node;

/* Paths and contents are borrowed, or kept by sdi_cli_manifest_keep(). */
typedef struct sdi_cli_manifest {
    simdrive_bytes name_space;
    sdi_cli_node *nodes;
    size_t count;
    size_t capacity;
    struct manifest_block *blocks;
} sdi_cli_manifest;

/* The key under which the manifest of a namespace is kept. */
void sdi_cli_manifest_key(simdrive_bytes name_space, unsigned char out[16]);

/* The key hash of a file of the tree. */
uint64_t sdi_cli_manifest_file_hash(simdrive_bytes name_space, simdrive_bytes path);

/* Whether the bytes begin like a manifest of any version. */
bool sdi_cli_manifest_looks_like(const void *data, size_t size);

/* Appends a node. False when memory is short. */
bool sdi_cli_manifest_add(sdi_cli_manifest *manifest, const sdi_cli_node *node);

/* A copy of the bytes (with a 00 behind them) that lives as long as the manifest; data is NULL when memory is short. */
simdrive_bytes sdi_cli_manifest_keep(sdi_cli_manifest *manifest, const void *data, size_t size);

/* Brings the nodes into the order of M1. */
void sdi_cli_manifest_sort(sdi_cli_manifest *manifest);

/* The node with that path, in a sorted manifest; NULL when there is none. */
sdi_cli_node *sdi_cli_manifest_find(const sdi_cli_manifest *manifest, simdrive_bytes path);

/* Takes over the nodes of `old` (a manifest of the same namespace) that `manifest` has no node for, and whose folders
 * are still folders. Their bytes stay borrowed from it. Both are sorted, before and after. False when memory is
 * short. */
bool sdi_cli_manifest_merge(sdi_cli_manifest *manifest, const sdi_cli_manifest *old);

/* The bytes of a sorted manifest, to be freed; NULL when memory is short. */
unsigned char *sdi_cli_manifest_encode(const sdi_cli_manifest *manifest, size_t *size);

/* OK; ERROR_CORRUPT when a byte is not as it should be; ERROR_UNSUPPORTED for a later version; ERROR_NO_MEMORY. The
 * manifest borrows from `data`. Release it in each case. */
simdrive_status sdi_cli_manifest_decode(const void *data, size_t size, sdi_cli_manifest *manifest);

void sdi_cli_manifest_release(sdi_cli_manifest *manifest);

#endif
