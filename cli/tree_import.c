/* SPDX-License-Identifier: Apache-2.0
 *
 * tree_import.c — `import DIR`: a folder tree goes into the store.
 *
 * In order: (1) look at the tree, folder by folder, and note every node; (2) store the files, small ones gathered in
 * batches, large ones streamed; (3) merge the nodes with the manifest of an earlier import; (4) write the manifest with
 * the last batch. The manifest comes last, so that it never promises a file that was not stored; an import that is
 * broken off is simply run again.
 *
 * Symbolic links are never followed below DIR. Whatever is no file, folder or symbolic link is told and left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.h"
#include "opening.h"
#include "output.h"
#include "platform.h"
#include "progress.h"
#include "tree.h"

enum {
    BATCH_FILES = 1024,
    BATCH_BYTES = 8 * 1024 * 1024,
    SMALL_FILE = 1024 * 1024, /* a larger one is streamed */
    CHANGES = BATCH_FILES + 1 /* the manifest goes with the last batch */
};

#if defined(__APPLE__)
#define MTIME(found) ((found)->st_mtimespec)
#else
#define MTIME(found) ((found)->st_mtim)
#endif

typedef struct import {
    const sdi_cli *cli;
    const char *folder;
    simdrive_bytes name_space;
    sdi_cli_tree tree;
    sdi_cli_manifest manifest; /* of this import */
    sdi_cli_manifest old;      /* of the one before, borrowed from old_entry */
    simdrive_entry old_entry;
    sdi_cli_target target;
    struct stat store;         /* of the store's file before the import */
    bool store_exists;
    sdi_cli_progress progress;
    unsigned char *bytes;      /* payloads of the batch */
    size_t used;
    simdrive_change *changes;
    size_t change_count;
    uint64_t total_bytes;
    uint64_t done_bytes;
    uint64_t files, short_files, folders, links, skipped, unreadable, stored_bytes;
} import;

/* ----- messages ----- */

static void tell_unreadable(import *work, simdrive_bytes path, int os_error) {
    sdi_cli_fail_system(os_error, "read '%s/%.*s'", work->folder, (int)path.size, (const char *)path.data);
    work->unreadable++;
}

static void tell_skipped(import *work, simdrive_bytes path, const char *why) {
    sdi_cli_error("skipped '%s/%.*s': %s", work->folder, (int)path.size, (const char *)path.data, why);
    work->skipped++;
}

static sdi_cli_exit fail_memory(const import *work) {
    return sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "import '%s'", work->folder);
}

/* ----- 1. looking at the tree ----- */

static void note_attributes(sdi_cli_node *node, const struct stat *found) {
    node->mode = found->st_mode & 07777;
    node->mtime_s = MTIME(found).tv_sec;
    node->mtime_ns = (uint32_t)MTIME(found).tv_nsec;
}

/* Reads where a link leads, however long that is. False on an error (errno). */
static bool note_link(import *work, int folder, const char *name, sdi_cli_node *node) {
    for (size_t capacity = 256;; capacity *= 2) {
        char *target = malloc(capacity);
        ssize_t size = target != NULL ? readlinkat(folder, name, target, capacity) : -1;
        if (size >= 0 && (size_t)size < capacity) {
            node->content = sdi_cli_manifest_keep(&work->manifest, target, (size_t)size);
        }
        int os_error = errno;
        free(target);
        errno = os_error;
        if (size < 0 || (size_t)size < capacity) return size >= 0 && node->content.data != NULL;
    }
}

static simdrive_bytes join(import *work, simdrive_bytes folder, const char *name) {
    size_t name_size = strlen(name);
    if (folder.size == 0) return sdi_cli_manifest_keep(&work->manifest, name, name_size);
    char *path = malloc(folder.size + 1 + name_size);
    if (path == NULL) return (simdrive_bytes){NULL, 0};
    memcpy(path, folder.data, folder.size);
    path[folder.size] = '/';
    memcpy(path + folder.size + 1, name, name_size);
    simdrive_bytes kept = sdi_cli_manifest_keep(&work->manifest, path, folder.size + 1 + name_size);
    free(path);
    return kept;
}

static bool is_the_store(const import *work, const struct stat *found) {
    return work->store_exists && work->store.st_dev == found->st_dev && work->store.st_ino == found->st_ino;
}

/* Notes what `name` in the open folder is. False when memory is short. */
static bool note_node(import *work, int folder, simdrive_bytes folder_path, const char *name) {
    struct stat found;
    sdi_cli_node node = {.path = join(work, folder_path, name), .content = {"", 0}};
    if (node.path.data == NULL) return false;
    if (fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        tell_unreadable(work, node.path, errno);
        return true;
    }
    note_attributes(&node, &found);
    if (S_ISDIR(found.st_mode)) {
        node.kind = SDI_CLI_NODE_FOLDER;
    } else if (S_ISLNK(found.st_mode)) {
        node.kind = SDI_CLI_NODE_LINK;
        if (!note_link(work, folder, name, &node)) {
            tell_unreadable(work, node.path, errno);
            return true;
        }
    } else if (!S_ISREG(found.st_mode)) {
        tell_skipped(work, node.path, "it is no file, folder or symbolic link");
        return true;
    } else if (is_the_store(work, &found)) {
        tell_skipped(work, node.path, "it is the store itself");
        return true;
    } else {
        node.kind = SDI_CLI_NODE_FILE;
        node.size = (uint64_t)found.st_size;
        work->total_bytes += node.size;
    }
    return sdi_cli_manifest_add(&work->manifest, &node);
}

static bool list_folder(import *work, simdrive_bytes path) {
    char name[NAME_MAX + 1];
    int parent = sdi_cli_tree_parent(&work->tree, path, name);
    int folder = parent >= 0 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    DIR *listing = folder >= 0 ? fdopendir(folder) : NULL;
    bool enough_memory = true;
    if (listing == NULL) {
        tell_unreadable(work, path, errno);
        if (folder >= 0) close(folder);
        return true;
    }
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(listing);
        if (found == NULL) break;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
        enough_memory = note_node(work, folder, path, found->d_name);
        if (!enough_memory) break;
    }
    if (enough_memory && errno != 0) tell_unreadable(work, path, errno);
    closedir(listing);
    return enough_memory;
}

/* The list of nodes is the list of folders still to be looked at: no recursion, however deep the tree is. */
static sdi_cli_exit look(import *work) {
    struct stat found;
    sdi_cli_node root = {.kind = SDI_CLI_NODE_FOLDER, .path = {"", 0}, .content = {"", 0}};
    if (fstat(work->tree.root, &found) != 0) return sdi_cli_fail_system(errno, "read '%s'", work->folder);
    note_attributes(&root, &found);
    work->store_exists = stat(work->cli->store_path, &work->store) == 0;
    if (!sdi_cli_manifest_add(&work->manifest, &root)) return fail_memory(work);
    for (size_t i = 0; i < work->manifest.count; i++) {
        if (sdi_cli_interrupted()) return sdi_cli_fail(SIMDRIVE_ERROR_CANCELLED, "import '%s'", work->folder);
        if (work->manifest.nodes[i].kind != SDI_CLI_NODE_FOLDER) continue;
        if (!list_folder(work, work->manifest.nodes[i].path)) return fail_memory(work);
    }
    sdi_cli_manifest_sort(&work->manifest);
    return SDI_CLI_DONE;
}

/* ----- 2. storing the files ----- */

static simdrive_status advance(import *work, uint64_t size) {
    work->done_bytes += size;
    return sdi_cli_progress_update(&work->progress, work->done_bytes, work->total_bytes);
}

static simdrive_status flush(import *work) {
    simdrive_status status = simdrive_apply(work->target.store, work->changes, work->change_count,
                                            SIMDRIVE_BATCH_ATOMIC, NULL);
    work->change_count = 0;
    work->used = 0;
    return status;
}

static void add_change(import *work, simdrive_operation operation, simdrive_bytes path, simdrive_bytes payload) {
    work->changes[work->change_count++] = (simdrive_change){
        .operation = operation,
        .key_hash = sdi_cli_manifest_file_hash(work->name_space, path),
        .payload = payload,
    };
}

static simdrive_status make_room(import *work, size_t bytes) {
    if (work->change_count < BATCH_FILES && BATCH_BYTES - work->used >= bytes) return SIMDRIVE_OK;
    return flush(work);
}

static ssize_t read_some(int file, void *buffer, size_t capacity) {
    for (;;) {
        ssize_t got = read(file, buffer, capacity);
        if (got >= 0 || errno != EINTR || sdi_cli_interrupted()) return got;
    }
}

/* A file on its way into a stream. */
typedef struct stream {
    import *work;
    int file;
    int os_error;
} stream;

static simdrive_status read_stream(void *user, void *buffer, size_t capacity, size_t *produced) {
    stream *in = user;
    ssize_t got = read_some(in->file, buffer, capacity);
    *produced = got > 0 ? (size_t)got : 0;
    if (got < 0) {
        in->os_error = errno;
        return SIMDRIVE_ERROR_IO;
    }
    return advance(in->work, *produced);
}

/* `unreadable` gets the errno when it is the file that failed, and not the store. */
static simdrive_status store_large(import *work, sdi_cli_node *node, int file, int *unreadable) {
    stream in = {work, file, 0};
    uint64_t hash = sdi_cli_manifest_file_hash(work->name_space, node->path);
    simdrive_status status = simdrive_write_stream_hash(work->target.store, hash, read_stream, &in, 0, NULL);
    if (in.os_error != 0) {
        *unreadable = in.os_error;
        return SIMDRIVE_OK;
    }
    /* It was large a moment ago, and is nearly empty now. */
    if (status == SIMDRIVE_ERROR_INVALID_PAYLOAD) {
        *unreadable = EAGAIN;
        return SIMDRIVE_OK;
    }
    if (status == SIMDRIVE_OK) work->stored_bytes += node->size;
    return status;
}

static bool is_short(const unsigned char *bytes, size_t size) {
    return size == 0 || (size == 1 && bytes[0] == 0);
}

/* Puts a file that was read into the batch. An entry that an earlier import, or anybody, has left under the key of a
 * short file would speak against the manifest: it goes. */
static void gather(import *work, sdi_cli_node *node, size_t size) {
    unsigned char *bytes = work->bytes + work->used;
    if (is_short(bytes, size)) {
        node->kind = SDI_CLI_NODE_SHORT;
        node->content = (simdrive_bytes){"\0", size};
        node->size = 0;
        add_change(work, SIMDRIVE_DELETE, node->path, (simdrive_bytes){NULL, 0});
        work->short_files++;
        return;
    }
    add_change(work, SIMDRIVE_PUT, node->path, (simdrive_bytes){bytes, size});
    node->size = size;
    work->used += size;
    work->stored_bytes += size;
}

static simdrive_status store_open_file(import *work, sdi_cli_node *node, int file, int *unreadable) {
    simdrive_status status = make_room(work, SMALL_FILE + 1);
    size_t size = 0;
    while (status == SIMDRIVE_OK && size <= SMALL_FILE) {
        ssize_t got = read_some(file, work->bytes + work->used + size, SMALL_FILE + 1 - size);
        if (got < 0) {
            *unreadable = errno;
            return SIMDRIVE_OK;
        }
        if (got == 0) {
            gather(work, node, size);
            return advance(work, size);
        }
        size += (size_t)got;
    }
    if (status != SIMDRIVE_OK) return status;
    if (lseek(file, 0, SEEK_SET) != 0) {
        *unreadable = errno;
        return SIMDRIVE_OK;
    }
    return store_large(work, node, file, unreadable);
}

/* Opens the file anew: it may be another one than the one that was looked at. */
static int open_file(import *work, sdi_cli_node *node) {
    char name[NAME_MAX + 1];
    struct stat found;
    int parent = sdi_cli_tree_parent(&work->tree, node->path, name);
    int file = parent >= 0 ? openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (file < 0) return -1;
    if (fstat(file, &found) == 0 && S_ISREG(found.st_mode)) {
        note_attributes(node, &found);
        node->size = (uint64_t)found.st_size;
        return file;
    }
    close(file);
    errno = EAGAIN;
    return -1;
}

static simdrive_status store_file(import *work, sdi_cli_node *node) {
    int unreadable = 0;
    simdrive_status status = SIMDRIVE_OK;
    int file = open_file(work, node);
    if (file >= 0) {
        status = store_open_file(work, node, file, &unreadable);
        close(file);
    } else {
        unreadable = errno;
    }
    if (sdi_cli_interrupted()) return SIMDRIVE_ERROR_CANCELLED;
    if (unreadable != 0) {
        tell_unreadable(work, node->path, unreadable);
        node->kind = 0;
    } else if (status == SIMDRIVE_OK) {
        work->files++;
        sdi_cli_detail(work->cli, "%.*s", (int)node->path.size, (const char *)node->path.data);
    }
    return status;
}

static simdrive_status store_files(import *work) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < work->manifest.count && status == SIMDRIVE_OK; i++) {
        sdi_cli_node *node = &work->manifest.nodes[i];
        if (node->kind == SDI_CLI_NODE_FILE) status = store_file(work, node);
        if (node->kind == SDI_CLI_NODE_FOLDER) work->folders++;
        if (node->kind == SDI_CLI_NODE_LINK) work->links++;
    }
    return status;
}

static void drop_unreadable(sdi_cli_manifest *manifest) {
    size_t kept = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        if (manifest->nodes[i].kind != 0) manifest->nodes[kept++] = manifest->nodes[i];
    }
    manifest->count = kept;
}

/* ----- 3. and 4. the manifest ----- */

/* An earlier manifest that cannot be read is replaced: the files of it are in the store, and that is said. */
static sdi_cli_exit load_old(import *work) {
    unsigned char key[16];
    sdi_cli_manifest_key(work->name_space, key);
    simdrive_status status = simdrive_read(work->target.store, key, sizeof key, &work->old_entry);
    if (status == SIMDRIVE_NOT_FOUND) return SDI_CLI_DONE;
    if (status == SIMDRIVE_OK) {
        status = sdi_cli_manifest_decode(work->old_entry.data, work->old_entry.size, &work->old);
    }
    if (status == SIMDRIVE_OK) return SDI_CLI_DONE;
    if (status != SIMDRIVE_ERROR_CORRUPT) {
        return sdi_cli_fail(status, "read the manifest of an earlier import in '%s'", work->cli->store_path);
    }
    sdi_cli_note(work->cli, "the manifest of an earlier import is damaged and is replaced");
    sdi_cli_manifest_release(&work->old);
    return SDI_CLI_DONE;
}

/* Entries of files that the merged manifest does not know as files any more would never be found again. */
static simdrive_status delete_replaced(import *work) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < work->old.count && status == SIMDRIVE_OK; i++) {
        const sdi_cli_node *before = &work->old.nodes[i];
        if (before->kind != SDI_CLI_NODE_FILE) continue;
        const sdi_cli_node *now = sdi_cli_manifest_find(&work->manifest, before->path);
        if (now != NULL && now->kind == SDI_CLI_NODE_FILE) continue;
        status = make_room(work, 0);
        if (status == SIMDRIVE_OK) add_change(work, SIMDRIVE_DELETE, before->path, (simdrive_bytes){NULL, 0});
    }
    return status;
}

static simdrive_status finish(import *work) {
    unsigned char key[16];
    size_t size = 0;
    drop_unreadable(&work->manifest);
    if (!sdi_cli_manifest_merge(&work->manifest, &work->old)) return SIMDRIVE_ERROR_NO_MEMORY;
    simdrive_status status = delete_replaced(work);
    if (status != SIMDRIVE_OK) return status;
    unsigned char *bytes = sdi_cli_manifest_encode(&work->manifest, &size);
    if (bytes == NULL) return SIMDRIVE_ERROR_NO_MEMORY;
    sdi_cli_manifest_key(work->name_space, key);
    work->changes[work->change_count++] = (simdrive_change){
        .key_hash = simdrive_hash_key(key, sizeof key),
        .payload = {bytes, size},
    };
    status = flush(work);
    free(bytes);
    return status;
}

/* ----- the command ----- */

static void report(const import *work) {
    const sdi_cli *cli = work->cli;
    if (!cli->options.json) {
        if (cli->options.verbosity < 0) return;
        sdi_cli_print("%" PRIu64 " files, %" PRIu64 " folders, %" PRIu64 " symbolic links, %" PRIu64
                      " bytes imported; %" PRIu64 " skipped, %" PRIu64 " unreadable\n",
                      work->files, work->folders, work->links, work->stored_bytes, work->skipped, work->unreadable);
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "folder", work->folder);
    sdi_cli_json_text(&json, "namespace", cli->options.name_space);
    sdi_cli_json_number(&json, "files", work->files);
    sdi_cli_json_number(&json, "short_files", work->short_files);
    sdi_cli_json_number(&json, "folders", work->folders);
    sdi_cli_json_number(&json, "symlinks", work->links);
    sdi_cli_json_number(&json, "bytes", work->stored_bytes);
    sdi_cli_json_number(&json, "skipped", work->skipped);
    sdi_cli_json_number(&json, "unreadable", work->unreadable);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static sdi_cli_exit store_tree(import *work) {
    sdi_cli_exit status = load_old(work);
    if (status != SDI_CLI_DONE) return status;
    simdrive_status stored = store_files(work);
    if (stored == SIMDRIVE_OK) stored = finish(work);
    sdi_cli_progress_end(&work->progress, stored == SIMDRIVE_OK);
    if (stored == SIMDRIVE_OK) return SDI_CLI_DONE;
    return sdi_cli_fail(stored, "import '%s' into '%s'", work->folder, work->cli->store_path);
}

static sdi_cli_exit run(import *work) {
    work->bytes = malloc(BATCH_BYTES);
    work->changes = malloc(CHANGES * sizeof *work->changes);
    if (work->bytes == NULL || work->changes == NULL) return fail_memory(work);
    sdi_cli_progress_begin(&work->progress, work->cli, "import");
    sdi_cli_exit status = look(work);
    if (status == SDI_CLI_DONE) {
        status = sdi_cli_open_creating(work->cli, work->cli->store_path, SIMDRIVE_SYNC_NONE, &work->target);
    }
    if (status == SDI_CLI_DONE) status = store_tree(work);
    sdi_cli_progress_end(&work->progress, false);
    simdrive_entry_release(&work->old_entry);
    status = sdi_cli_target_finish(&work->target, status);
    if (status != SDI_CLI_DONE) return status;
    report(work);
    return work->unreadable > 0 ? SDI_CLI_IO : SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_import(const sdi_cli *cli) {
    import work = {.cli = cli, .folder = cli->operands[0]};
    work.name_space = (simdrive_bytes){cli->options.name_space, strlen(cli->options.name_space)};
    work.manifest.name_space = work.name_space;
    int root = open(work.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return sdi_cli_fail_system(errno, "open the folder '%s'", work.folder);
    sdi_cli_tree_start(&work.tree, root);
    sdi_cli_exit status = run(&work);
    sdi_cli_tree_end(&work.tree);
    close(root);
    sdi_cli_manifest_release(&work.manifest);
    sdi_cli_manifest_release(&work.old);
    free(work.bytes);
    free(work.changes);
    return status;
}
