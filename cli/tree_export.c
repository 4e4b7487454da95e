/* SPDX-License-Identifier: Apache-2.0
 *
 * tree_export.c — `export DIR`: gives back the tree that import has stored.
 *
 * The manifest is checked before anything is made (manifest.h, M1 to M5), and every node is made in a folder that was
 * reached without following a symbolic link, so that nothing is ever written outside of DIR. What is there already is
 * left alone unless -f was given. A file that is damaged in the store is not left behind half written. Set-user and
 * set-group bits of files are not given back: the owner is not either.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
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

enum { BUFFER_SIZE = 1024 * 1024 };

#define FILE_MODE_BITS 01777u

typedef struct export {
    const sdi_cli *cli;
    const char *folder;
    simdrive_bytes name_space;
    simdrive_store *store;
    simdrive_entry entry; /* the manifest */
    sdi_cli_manifest manifest;
    sdi_cli_tree tree;
    sdi_cli_progress progress;
    unsigned char *buffer;
    bool *made; /* for each node: a folder that gets its attributes at the end */
    bool made_root;
    uint64_t total_bytes, done_bytes;
    uint64_t files, folders, links, bytes, missing, damaged, failed;
} export;

static void tell_failed(export *work, const sdi_cli_node *node, int os_error) {
    sdi_cli_fail_system(os_error, "export '%.*s' to '%s'", (int)node->path.size, (const char *)node->path.data,
                        work->folder);
    work->failed++;
}

static void tell_status(export *work, const sdi_cli_node *node, simdrive_status status) {
    sdi_cli_fail(status, "export '%.*s' from '%s'", (int)node->path.size, (const char *)node->path.data,
                 work->cli->store_path);
    if (status == SIMDRIVE_NOT_FOUND) {
        work->missing++;
    } else if (status == SIMDRIVE_ERROR_CORRUPT) {
        work->damaged++;
    } else {
        work->failed++;
    }
}

static void times_of(const sdi_cli_node *node, struct timespec times[2]) {
    times[0] = (struct timespec){.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_sec = (time_t)node->mtime_s, .tv_nsec = (long)node->mtime_ns};
}

/* ----- files ----- */

static bool write_all(int file, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(file, data, size);
        if (written < 0 && errno != EINTR) return false;
        if (written < 0) continue;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* A file being made: under its own name where that must be free, otherwise under a temporary one first. */
typedef struct output_file {
    int parent;
    int file;
    char name[NAME_MAX + 1];
    char temporary[64]; /* "" when it has its own name already */
} output_file;

static bool output_create(export *work, const sdi_cli_node *node, output_file *out) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    out->temporary[0] = '\0';
    out->file = -1;
    out->parent = sdi_cli_tree_parent(&work->tree, node->path, out->name);
    if (out->parent < 0) return false;
    if (!work->cli->options.force) {
        out->file = openat(out->parent, out->name, flags, 0600);
        return out->file >= 0;
    }
    for (unsigned attempt = 0; attempt < 100 && out->file < 0; attempt++) {
        snprintf(out->temporary, sizeof out->temporary, ".simdrive-%ld-%" PRIx64 "-%u", (long)getpid(),
                 sdi_cli_monotonic_ns(), attempt);
        out->file = openat(out->parent, out->temporary, flags, 0600);
        if (out->file < 0 && errno != EEXIST) return false;
    }
    return out->file >= 0;
}

static void output_discard(output_file *out) {
    close(out->file);
    unlinkat(out->parent, out->temporary[0] != '\0' ? out->temporary : out->name, 0);
}

static bool output_finish(output_file *out, const sdi_cli_node *node) {
    struct timespec times[2];
    times_of(node, times);
    bool done = fchmod(out->file, node->mode & FILE_MODE_BITS) == 0 && futimens(out->file, times) == 0;
    if (done && out->temporary[0] != '\0') {
        done = renameat(out->parent, out->temporary, out->parent, out->name) == 0;
    }
    if (!done) {
        int os_error = errno;
        output_discard(out);
        errno = os_error;
        return false;
    }
    return close(out->file) == 0;
}

/* Copies the payload; `os_error` says when it is the file that failed. The checksum is known at the end. */
static simdrive_status copy_payload(export *work, const simdrive_entry *entry, int file, int *os_error) {
    simdrive_reader *reader = NULL;
    simdrive_status status = simdrive_reader_open_entry(entry, &reader);
    while (status == SIMDRIVE_OK) {
        size_t copied = 0;
        status = simdrive_reader_next(reader, work->buffer, BUFFER_SIZE, &copied);
        if (status != SIMDRIVE_OK) break;
        if (!write_all(file, work->buffer, copied)) {
            *os_error = errno;
            break;
        }
        work->bytes += copied;
        work->done_bytes += copied;
        status = sdi_cli_progress_update(&work->progress, work->done_bytes, work->total_bytes);
    }
    simdrive_reader_close(reader);
    return status == SIMDRIVE_END ? SIMDRIVE_OK : status;
}

/* Only the user's wish to stop ends the export; everything else is told, and the next file has its turn. */
static simdrive_status export_content(export *work, const sdi_cli_node *node, const simdrive_entry *entry) {
    output_file out;
    int os_error = 0;
    simdrive_status status = SIMDRIVE_OK;
    if (!output_create(work, node, &out)) {
        tell_failed(work, node, errno);
        return SIMDRIVE_OK;
    }
    if (entry->data != NULL) {
        status = copy_payload(work, entry, out.file, &os_error);
    } else if (!write_all(out.file, node->content.data, node->content.size)) {
        os_error = errno;
    }
    if (status != SIMDRIVE_OK || os_error != 0) {
        output_discard(&out);
    } else if (!output_finish(&out, node)) {
        os_error = errno;
    }
    if (status == SIMDRIVE_ERROR_CANCELLED) return status;
    if (status != SIMDRIVE_OK) {
        tell_status(work, node, status);
    } else if (os_error != 0) {
        tell_failed(work, node, os_error);
    } else {
        work->files++;
    }
    return SIMDRIVE_OK;
}

/* A short file has no entry, unless its key was written since the import: then that is its content. */
static simdrive_status export_file(export *work, const sdi_cli_node *node) {
    simdrive_entry entry = {0};
    uint64_t hash = sdi_cli_manifest_file_hash(work->name_space, node->path);
    simdrive_status status = simdrive_read_hash(work->store, hash, &entry);
    if (status == SIMDRIVE_OK || (status == SIMDRIVE_NOT_FOUND && node->kind == SDI_CLI_NODE_SHORT)) {
        status = export_content(work, node, &entry);
    } else {
        tell_status(work, node, status);
        status = SIMDRIVE_OK;
    }
    simdrive_entry_release(&entry);
    return status;
}

/* ----- folders and links ----- */

static void export_link(export *work, const sdi_cli_node *node) {
    char name[NAME_MAX + 1];
    struct timespec times[2];
    struct stat found;
    char *target = malloc(node->content.size + 1);
    int parent = target != NULL ? sdi_cli_tree_parent(&work->tree, node->path, name) : -1;
    bool done = false;
    if (parent >= 0) {
        memcpy(target, node->content.data, node->content.size);
        target[node->content.size] = '\0';
        times_of(node, times);
        if (work->cli->options.force && fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(found.st_mode)) {
            unlinkat(parent, name, 0);
        }
        done = symlinkat(target, parent, name) == 0 && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) == 0;
    }
    int os_error = errno;
    free(target);
    if (done) {
        work->links++;
    } else {
        tell_failed(work, node, os_error);
    }
}

/* Made open for its owner; its own mode may forbid to fill it, and comes at the end. */
static void export_folder(export *work, size_t index) {
    const sdi_cli_node *node = &work->manifest.nodes[index];
    char name[NAME_MAX + 1];
    struct stat found;
    bool force = work->cli->options.force;
    if (node->path.size == 0) {
        work->made[index] = work->made_root || force;
        work->folders++;
        return;
    }
    int parent = sdi_cli_tree_parent(&work->tree, node->path, name);
    bool made = parent >= 0 && mkdirat(parent, name, 0700) == 0;
    if (!made && parent >= 0 && errno == EEXIST) {
        if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(found.st_mode)) {
            errno = ENOTDIR;
            parent = -1;
        }
    } else if (!made) {
        parent = -1;
    }
    if (parent < 0) {
        tell_failed(work, node, errno);
        return;
    }
    work->made[index] = made || force;
    work->folders++;
}

static void finish_folder(export *work, const sdi_cli_node *node) {
    char name[NAME_MAX + 1];
    struct timespec times[2];
    times_of(node, times);
    int parent = sdi_cli_tree_parent(&work->tree, node->path, name);
    int folder = parent >= 0 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool done = folder >= 0 && fchmod(folder, node->mode) == 0 && futimens(folder, times) == 0;
    int os_error = errno;
    if (folder >= 0) close(folder);
    if (!done) tell_failed(work, node, os_error);
}

/* At the end, for making a node changes the time of its folder; and the last one first, for a folder's own mode may
 * forbid to reach what is in it. */
static void finish_folders(export *work) {
    for (size_t i = work->manifest.count; i-- > 0;) {
        if (work->made[i]) finish_folder(work, &work->manifest.nodes[i]);
    }
}

static simdrive_status export_nodes(export *work) {
    simdrive_status status = SIMDRIVE_OK;
    for (size_t i = 0; i < work->manifest.count && status == SIMDRIVE_OK; i++) {
        const sdi_cli_node *node = &work->manifest.nodes[i];
        sdi_cli_detail(work->cli, "%.*s", (int)node->path.size, (const char *)node->path.data);
        if (node->kind == SDI_CLI_NODE_FOLDER) {
            export_folder(work, i);
        } else if (node->kind == SDI_CLI_NODE_LINK) {
            export_link(work, node);
        } else {
            status = export_file(work, node);
        }
    }
    finish_folders(work);
    return status;
}

/* ----- the command ----- */

static void report(const export *work) {
    const sdi_cli *cli = work->cli;
    if (!cli->options.json) {
        if (cli->options.verbosity < 0) return;
        sdi_cli_print("%" PRIu64 " files, %" PRIu64 " folders, %" PRIu64 " symbolic links, %" PRIu64
                      " bytes exported; %" PRIu64 " missing, %" PRIu64 " damaged, %" PRIu64 " failed\n",
                      work->files, work->folders, work->links, work->bytes, work->missing, work->damaged,
                      work->failed);
        return;
    }
    sdi_cli_json json = {0};
    sdi_cli_json_object(&json, NULL);
    sdi_cli_json_text(&json, "folder", work->folder);
    sdi_cli_json_text(&json, "namespace", cli->options.name_space);
    sdi_cli_json_number(&json, "files", work->files);
    sdi_cli_json_number(&json, "folders", work->folders);
    sdi_cli_json_number(&json, "symlinks", work->links);
    sdi_cli_json_number(&json, "bytes", work->bytes);
    sdi_cli_json_number(&json, "missing", work->missing);
    sdi_cli_json_number(&json, "damaged", work->damaged);
    sdi_cli_json_number(&json, "failed", work->failed);
    sdi_cli_json_object_end(&json);
    sdi_cli_json_line_end(&json);
}

static sdi_cli_exit load_manifest(export *work) {
    unsigned char key[16];
    const char *path = work->cli->store_path;
    sdi_cli_manifest_key(work->name_space, key);
    simdrive_status status = simdrive_read(work->store, key, sizeof key, &work->entry);
    if (status == SIMDRIVE_NOT_FOUND) {
        sdi_cli_error("nothing was imported into '%s'%s%s%s; run import first, or check --namespace", path,
                      work->name_space.size > 0 ? " under the namespace '" : "", work->cli->options.name_space,
                      work->name_space.size > 0 ? "'" : "");
        return SDI_CLI_NOT_FOUND;
    }
    if (status == SIMDRIVE_OK) {
        status = sdi_cli_manifest_decode(work->entry.data, work->entry.size, &work->manifest);
    }
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "trust the manifest of the import in '%s'", path);
    for (size_t i = 0; i < work->manifest.count; i++) work->total_bytes += work->manifest.nodes[i].size;
    work->made = calloc(work->manifest.count, sizeof *work->made);
    work->buffer = malloc(BUFFER_SIZE);
    if (work->made != NULL && work->buffer != NULL) return SDI_CLI_DONE;
    return sdi_cli_fail(SIMDRIVE_ERROR_NO_MEMORY, "export '%s'", path);
}

static sdi_cli_exit open_root(export *work) {
    work->made_root = mkdir(work->folder, 0700) == 0;
    int root = work->made_root || errno == EEXIST ? open(work->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root < 0) return sdi_cli_fail_system(errno, "open the folder '%s'", work->folder);
    sdi_cli_tree_start(&work->tree, root);
    return SDI_CLI_DONE;
}

static sdi_cli_exit run(export *work) {
    sdi_cli_progress_begin(&work->progress, work->cli, "export");
    simdrive_status status = export_nodes(work);
    sdi_cli_progress_end(&work->progress, status == SIMDRIVE_OK);
    if (status != SIMDRIVE_OK) return sdi_cli_fail(status, "export to '%s'", work->folder);
    report(work);
    if (work->damaged > 0) return SDI_CLI_DAMAGED;
    if (work->failed > 0) return SDI_CLI_IO;
    return work->missing > 0 ? SDI_CLI_NOT_FOUND : SDI_CLI_DONE;
}

sdi_cli_exit sdi_cli_export(const sdi_cli *cli) {
    export work = {.cli = cli, .folder = cli->operands[0], .tree = {.root = -1, .folder = -1}};
    work.name_space = (simdrive_bytes){cli->options.name_space, strlen(cli->options.name_space)};
    sdi_cli_exit status = sdi_cli_open_reading(cli, cli->store_path, &work.store);
    if (status == SDI_CLI_DONE) status = load_manifest(&work);
    if (status == SDI_CLI_DONE) status = open_root(&work);
    if (status == SDI_CLI_DONE) status = run(&work);
    int root = work.tree.root;
    sdi_cli_tree_end(&work.tree);
    if (root >= 0) close(root);
    free(work.made);
    free(work.buffer);
    sdi_cli_manifest_release(&work.manifest);
    simdrive_entry_release(&work.entry);
    simdrive_close(work.store);
    return status;
}
