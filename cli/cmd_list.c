/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_list.c — `list`: the live entries, newest to oldest. The format keeps no keys, only their hashes; keys are known
 * for what import has stored, from the manifests that are found among the entries.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "manifest.h"
#include "opening.h"
#include "output.h"

typedef struct known_key {
    uint64_t hash;
    simdrive_bytes key;
    simdrive_bytes name_space;
    bool manifest;
} known_key;

/* A manifest that was found; the names borrow from the entry. */
typedef struct source {
    simdrive_entry entry;
    sdi_cli_manifest manifest;
} source;

typedef struct listing {
    source *sources;
    size_t source_count;
    known_key *keys;
    size_t key_count;
    size_t key_capacity;
} listing;

static simdrive_status add_key(listing *all, const known_key *key) {
    if (all->key_count == all->key_capacity) {
        size_t capacity = all->key_capacity == 0 ? 64 : all->key_capacity * 2;
        known_key *keys = realloc(all->keys, capacity * sizeof *keys);
        if (keys == NULL) return SIMDRIVE_ERROR_NO_MEMORY;
        all->keys = keys;
        all->key_capacity = capacity;
    }
    all->keys[all->key_count++] = *key;
    return SIMDRIVE_OK;
}

static uint64_t manifest_hash(simdrive_bytes name_space) {
    unsigned char key[16];
    sdi_cli_manifest_key(name_space, key);
    return simdrive_hash_key(key, sizeof key);
}

static simdrive_status add_names(listing *all, const sdi_cli_manifest *manifest) {
    known_key key = {manifest_hash(manifest->name_space), {"", 0}, manifest->name_space, true};
    simdrive_status status = add_key(all, &key);
    for (size_t i = 0; i < manifest->count && status == SIMDRIVE_OK; i++) {
        const sdi_cli_node *node = &manifest->nodes[i];
        if (node->kind != SDI_CLI_NODE_FILE && node->kind != SDI_CLI_NODE_SHORT) continue;
        key = (known_key){sdi_cli_manifest_file_hash(manifest->name_space, node->path), node->path,
                          manifest->name_space, false};
        status = add_key(all, &key);
    }
    return status;
}

/* Takes the entry for a manifest if it is one, and stands where the manifest of its namespace does. */
static simdrive_status consider(listing *all, const simdrive_entry *entry) {
    source found = {0};
    simdrive_status status = sdi_cli_manifest_decode(entry->data, entry->size, &found.manifest);
    if (status != SIMDRIVE_OK || simdrive_entry_key_hash(entry) != manifest_hash(found.manifest.name_space)) {
        sdi_cli_manifest_release(&found.manifest);
        return status == SIMDRIVE_ERROR_NO_MEMORY ? status : SIMDRIVE_OK;
    }
    source *sources = realloc(all->sources, (all->source_count + 1) * sizeof *sources);
    if (sources == NULL) {
        sdi_cli_manifest_release(&found.manifest);
        return SIMDRIVE_ERROR_NO_MEMORY;
    }
    all->sources = sources;
    simdrive_entry_clone(entry, &found.entry);
    all->sources[all->source_count++] = found;
    return add_names(all, &found.manifest);
}

static int compare_keys(const void *a, const void *b) {
    uint64_t first = ((const known_key *)a)->hash, second = ((const known_key *)b)->hash;
    return (first > second) - (first < second);
}

/* Walks the live entries; `print` is NULL for the walk that looks for manifests. */
static simdrive_status walk(simdrive_store *store, listing *all,
                            bool (*print)(const listing *all, const simdrive_entry *entry)) {
    simdrive_iterator *iterator = NULL;
    const simdrive_entry *entry = NULL;
    simdrive_status status = simdrive_iterate(store, &iterator);
    while (status == SIMDRIVE_OK) {
        status = simdrive_iterator_peek_next(iterator, &entry);
        if (status != SIMDRIVE_OK) break;
        if (print != NULL) {
            if (!print(all, entry)) status = SIMDRIVE_END;
        } else if (sdi_cli_manifest_looks_like(entry->data, entry->size)) {
            status = consider(all, entry);
        }
    }
    simdrive_iterator_close(iterator);
    return status == SIMDRIVE_END ? SIMDRIVE_OK : status;
}

static const known_key *find_key(const listing *all, uint64_t hash) {
    known_key wanted = {.hash = hash};
    if (all->key_count == 0) return NULL;
    return bsearch(&wanted, all->keys, all->key_count, sizeof wanted, compare_keys);
}

static bool print_text(const listing *all, const simdrive_entry *entry) {
    simdrive_metadata data;
    simdrive_entry_metadata(entry, &data);
    const known_key *known = find_key(all, data.key_hash);
    bool going_on = sdi_cli_print("%016" PRIx64 " %12" PRIu64 " %14" PRIu64, data.key_hash, data.size, data.start);
    if (known != NULL) {
        sdi_cli_print(known->manifest ? "  (manifest of import)" : "  ");
        sdi_cli_print_escaped(known->key.data, known->key.size);
    }
    if (known != NULL && known->name_space.size > 0) {
        sdi_cli_print("  [");
        sdi_cli_print_escaped(known->name_space.data, known->name_space.size);
        sdi_cli_print("]");
    }
    return sdi_cli_print("\n") && going_on;
}

static bool print_json(const listing *all, const simdrive_entry *entry) {
    simdrive_metadata data;
    sdi_cli_json json = {0};
    simdrive_entry_metadata(entry, &data);
    const known_key *known = find_key(all, data.key_hash);
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_hash(&json, "key_hash", data.key_hash);
    sdi_cli_json_number(&json, "size", data.size);
    sdi_cli_json_number(&json, "start", data.start);
    if (known != NULL && known->manifest) sdi_cli_json_bool(&json, "manifest", true);
    if (known != NULL && !known->manifest) sdi_cli_json_bytes(&json, "key", known->key.data, known->key.size);
    if (known != NULL && known->name_space.size > 0) {
        sdi_cli_json_bytes(&json, "namespace", known->name_space.data, known->name_space.size);
    }
    sdi_cli_json_object_end(&json);
    return sdi_cli_print("\n");
}

static void release(listing *all) {
    for (size_t i = 0; i < all->source_count; i++) {
        sdi_cli_manifest_release(&all->sources[i].manifest);
        simdrive_entry_release(&all->sources[i].entry);
    }
    free(all->sources);
    free(all->keys);
}

sdi_cli_exit sdi_cli_list(const sdi_cli *cli) {
    listing all = {0};
    simdrive_store *store = NULL;
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &store);
    if (status != SDI_CLI_DONE) return status;
    simdrive_status listed = walk(store, &all, NULL);
    if (all.key_count > 0) qsort(all.keys, all.key_count, sizeof *all.keys, compare_keys);
    if (listed == SIMDRIVE_OK) listed = walk(store, &all, cli->options.json ? print_json : print_text);
    if (listed != SIMDRIVE_OK) status = sdi_cli_fail(listed, "list '%s'", cli->store_path);
    release(&all);
    simdrive_close(store);
    return status;
}
