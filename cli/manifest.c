/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c — the form of a tree's manifest, written and read; see manifest.h.
 */
#include "manifest.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    MAGIC_SIZE = 7,
    CHECK_SIZE = 8,
    LONGEST_VARINT = 10,
    SMALLEST_NODE = 6, /* kind, five numbers of one byte */
    BLOCK_SIZE = 64 * 1024
};

static const char magic[] = "SDRTREE";
static const char reserved_namespace[] = "\xF7import\xFD";

/* Kept bytes: many pieces in few allocations. */
struct manifest_block {
    struct manifest_block *next;
    size_t used;
    size_t size;
    char bytes[];
};

/* ----- keys ----- */

void sdi_cli_manifest_key(simdrive_bytes name_space, unsigned char out[16]) {
    simdrive_namespaced_key(reserved_namespace, sizeof reserved_namespace - 1, name_space.data, name_space.size, out);
}

uint64_t sdi_cli_manifest_file_hash(simdrive_bytes name_space, simdrive_bytes path) {
    unsigned char inner[16];
    if (name_space.size == 0) return simdrive_hash_key(path.data, path.size);
    simdrive_namespaced_key(name_space.data, name_space.size, path.data, path.size, inner);
    return simdrive_hash_key(inner, sizeof inner);
}

bool sdi_cli_manifest_looks_like(const void *data, size_t size) {
    return size > MAGIC_SIZE + CHECK_SIZE && memcmp(data, magic, MAGIC_SIZE) == 0;
}

/* ----- building ----- */

bool sdi_cli_manifest_add(sdi_cli_manifest *manifest, const sdi_cli_node *node) {
    if (manifest->count == manifest->capacity) {
        size_t capacity = manifest->capacity == 0 ? 64 : manifest->capacity * 2;
        sdi_cli_node *nodes = realloc(manifest->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) return false;
        manifest->nodes = nodes;
        manifest->capacity = capacity;
    }
    manifest->nodes[manifest->count++] = *node;
    return true;
}

simdrive_bytes sdi_cli_manifest_keep(sdi_cli_manifest *manifest, const void *data, size_t size) {
    struct manifest_block *block = manifest->blocks;
    if (block == NULL || block->size - block->used <= size) {
        size_t block_size = size < BLOCK_SIZE ? BLOCK_SIZE : size + 1;
        block = malloc(sizeof *block + block_size);
        if (block == NULL) return (simdrive_bytes){NULL, 0};
        *block = (struct manifest_block){.next = manifest->blocks, .size = block_size};
        manifest->blocks = block;
    }
    char *copy = block->bytes + block->used;
    memcpy(copy, data, size);
    copy[size] = '\0';
    block->used += size + 1;
    return (simdrive_bytes){copy, size};
}

static int compare_bytes(simdrive_bytes a, simdrive_bytes b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

static int compare_nodes(const void *a, const void *b) {
    return compare_bytes(((const sdi_cli_node *)a)->path, ((const sdi_cli_node *)b)->path);
}

void sdi_cli_manifest_sort(sdi_cli_manifest *manifest) {
    qsort(manifest->nodes, manifest->count, sizeof *manifest->nodes, compare_nodes);
}

sdi_cli_node *sdi_cli_manifest_find(const sdi_cli_manifest *manifest, simdrive_bytes path) {
    sdi_cli_node wanted = {.path = path};
    if (manifest->count == 0) return NULL;
    return bsearch(&wanted, manifest->nodes, manifest->count, sizeof wanted, compare_nodes);
}

/* The path of the folder that holds `path`: "" for what is at the top. */
static simdrive_bytes parent_of(simdrive_bytes path) {
    const char *bytes = path.data;
    size_t size = path.size;
    while (size > 0 && bytes[size - 1] != '/') size--;
    return (simdrive_bytes){path.data, size > 0 ? size - 1 : 0};
}

/* Folders come before what they hold, so that the new parts have been judged when their turn comes. */
bool sdi_cli_manifest_merge(sdi_cli_manifest *manifest, const sdi_cli_manifest *old) {
    sdi_cli_manifest merged = {0};
    size_t next = 0;
    for (size_t i = 0; i < old->count; i++) {
        const sdi_cli_node *node = &old->nodes[i];
        while (next < manifest->count && compare_nodes(&manifest->nodes[next], node) < 0) {
            if (!sdi_cli_manifest_add(&merged, &manifest->nodes[next++])) goto no_memory;
        }
        if (sdi_cli_manifest_find(manifest, node->path) != NULL) continue;
        const sdi_cli_node *folder = sdi_cli_manifest_find(&merged, parent_of(node->path));
        if (folder == NULL || folder->kind != SDI_CLI_NODE_FOLDER) continue;
        if (!sdi_cli_manifest_add(&merged, node)) goto no_memory;
    }
    while (next < manifest->count) {
        if (!sdi_cli_manifest_add(&merged, &manifest->nodes[next++])) goto no_memory;
    }
    free(manifest->nodes);
    manifest->nodes = merged.nodes;
    manifest->count = merged.count;
    manifest->capacity = merged.capacity;
    return true;
no_memory:
    free(merged.nodes);
    return false;
}

void sdi_cli_manifest_release(sdi_cli_manifest *manifest) {
    while (manifest->blocks != NULL) {
        struct manifest_block *next = manifest->blocks->next;
        free(manifest->blocks);
        manifest->blocks = next;
    }
    free(manifest->nodes);
    *manifest = (sdi_cli_manifest){0};
}

/* ----- writing ----- */

static unsigned char *put_number(unsigned char *at, uint64_t number) {
    for (; number >= 0x80; number >>= 7) *at++ = (unsigned char)(number | 0x80);
    *at++ = (unsigned char)number;
    return at;
}

static unsigned char *put_bytes(unsigned char *at, simdrive_bytes bytes) {
    at = put_number(at, bytes.size);
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static uint64_t fold_sign(int64_t number) {
    uint64_t doubled = (uint64_t)number << 1;
    return number < 0 ? ~doubled : doubled;
}

static unsigned char *put_node(unsigned char *at, const sdi_cli_node *node) {
    *at++ = (unsigned char)node->kind;
    at = put_bytes(at, node->path);
    at = put_number(at, node->mode);
    at = put_number(at, fold_sign(node->mtime_s));
    at = put_number(at, node->mtime_ns);
    if (node->kind == SDI_CLI_NODE_FILE) return put_number(at, node->size);
    if (node->kind == SDI_CLI_NODE_FOLDER) return at;
    return put_bytes(at, node->content);
}

/* As much as the encoded manifest can need. */
static size_t encoded_bound(const sdi_cli_manifest *manifest) {
    size_t bound = MAGIC_SIZE + 1 + 2 * LONGEST_VARINT + manifest->name_space.size + CHECK_SIZE;
    for (size_t i = 0; i < manifest->count; i++) {
        const sdi_cli_node *node = &manifest->nodes[i];
        bound += 1 + 6 * LONGEST_VARINT + node->path.size + node->content.size;
    }
    return bound;
}

unsigned char *sdi_cli_manifest_encode(const sdi_cli_manifest *manifest, size_t *size) {
    unsigned char *bytes = malloc(encoded_bound(manifest));
    if (bytes == NULL) return NULL;
    unsigned char *at = bytes;
    memcpy(at, magic, MAGIC_SIZE);
    at += MAGIC_SIZE;
    *at++ = VERSION;
    at = put_bytes(at, manifest->name_space);
    at = put_number(at, manifest->count);
    for (size_t i = 0; i < manifest->count; i++) at = put_node(at, &manifest->nodes[i]);
    uint64_t check = simdrive_hash_key(bytes, (size_t)(at - bytes));
    for (unsigned i = 0; i < CHECK_SIZE; i++) *at++ = (unsigned char)(check >> (8 * i));
    *size = (size_t)(at - bytes);
    return bytes;
}

/* ----- reading ----- */

/* What is left to read; `bad` once anything was not there. */
typedef struct cursor {
    const unsigned char *at;
    const unsigned char *end;
    bool bad;
} cursor;

static uint64_t take_number(cursor *from) {
    uint64_t number = 0;
    for (unsigned shift = 0; from->at < from->end && shift < 7 * LONGEST_VARINT; shift += 7) {
        unsigned char byte = *from->at++;
        uint64_t bits = byte & 0x7Fu;
        if (bits << shift >> shift != bits) break;
        number |= bits << shift;
        if (byte < 0x80) return number;
    }
    from->bad = true;
    return 0;
}

static simdrive_bytes take_bytes(cursor *from) {
    uint64_t size = take_number(from);
    if (from->bad || size > (size_t)(from->end - from->at)) {
        from->bad = true;
        return (simdrive_bytes){"", 0};
    }
    simdrive_bytes bytes = {from->at, (size_t)size};
    from->at += size;
    return bytes;
}

static int64_t unfold_sign(uint64_t folded) {
    return (folded & 1) != 0 ? -(int64_t)(folded >> 1) - 1 : (int64_t)(folded >> 1);
}

static bool name_is_good(const char *name, size_t size) {
    if (size == 0 || memchr(name, '\0', size) != NULL) return false;
    return !(name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')));
}

/* M3. */
static bool path_is_good(simdrive_bytes path) {
    const char *at = path.data;
    const char *end = at + path.size;
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *name_end = slash != NULL ? slash : end;
        if (!name_is_good(at, (size_t)(name_end - at))) return false;
        if (slash == NULL) return true;
        at = slash + 1;
    }
}

static bool content_is_good(const sdi_cli_node *node) {
    const unsigned char *bytes = node->content.data;
    size_t size = node->content.size;
    switch (node->kind) {
    case SDI_CLI_NODE_SHORT: return size == 0 || (size == 1 && bytes[0] == 0);
    case SDI_CLI_NODE_LINK: return size > 0 && memchr(bytes, 0, size) == NULL;
    case SDI_CLI_NODE_FILE:
    case SDI_CLI_NODE_FOLDER: return true;
    }
    return false;
}

static void take_node(cursor *from, sdi_cli_node *node) {
    *node = (sdi_cli_node){.content = {"", 0}};
    if (from->at == from->end) {
        from->bad = true;
        return;
    }
    node->kind = (sdi_cli_node_kind)*from->at++;
    node->path = take_bytes(from);
    uint64_t mode = take_number(from);
    node->mtime_s = unfold_sign(take_number(from));
    uint64_t ns = take_number(from);
    if (node->kind == SDI_CLI_NODE_FILE) node->size = take_number(from);
    if (node->kind == SDI_CLI_NODE_SHORT || node->kind == SDI_CLI_NODE_LINK) node->content = take_bytes(from);
    if (mode > 07777 || ns >= 1000000000u) from->bad = true;
    node->mode = (uint32_t)mode;
    node->mtime_ns = (uint32_t)ns;
}

/* M1 to M4 for a node that comes behind those already taken. */
static bool node_fits(const sdi_cli_manifest *manifest, const sdi_cli_node *node) {
    if (!content_is_good(node)) return false;
    if (manifest->count == 0) return node->kind == SDI_CLI_NODE_FOLDER && node->path.size == 0;
    if (compare_nodes(&manifest->nodes[manifest->count - 1], node) >= 0) return false;
    if (!path_is_good(node->path)) return false;
    const sdi_cli_node *folder = sdi_cli_manifest_find(manifest, parent_of(node->path));
    return folder != NULL && folder->kind == SDI_CLI_NODE_FOLDER;
}

simdrive_status sdi_cli_manifest_decode(const void *data, size_t size, sdi_cli_manifest *manifest) {
    const unsigned char *bytes = data;
    *manifest = (sdi_cli_manifest){0};
    if (!sdi_cli_manifest_looks_like(data, size)) return SIMDRIVE_ERROR_CORRUPT;
    uint64_t check = 0;
    for (unsigned i = 0; i < CHECK_SIZE; i++) check |= (uint64_t)bytes[size - CHECK_SIZE + i] << (8 * i);
    if (check != simdrive_hash_key(bytes, size - CHECK_SIZE)) return SIMDRIVE_ERROR_CORRUPT;
    if (bytes[MAGIC_SIZE] != VERSION) return SIMDRIVE_ERROR_UNSUPPORTED;

    cursor from = {bytes + MAGIC_SIZE + 1, bytes + size - CHECK_SIZE, false};
    manifest->name_space = take_bytes(&from);
    uint64_t count = take_number(&from);
    if (from.bad || count > (size_t)(from.end - from.at) / SMALLEST_NODE + 1) return SIMDRIVE_ERROR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        sdi_cli_node node;
        take_node(&from, &node);
        if (from.bad || !node_fits(manifest, &node)) return SIMDRIVE_ERROR_CORRUPT;
        if (!sdi_cli_manifest_add(manifest, &node)) return SIMDRIVE_ERROR_NO_MEMORY;
    }
    return from.at == from.end && count > 0 ? SIMDRIVE_OK : SIMDRIVE_ERROR_CORRUPT;
}
