/* SPDX-License-Identifier: Apache-2.0 */
/* temporary.c — files beside the store that take another name when they are complete, and what is left of them when
 * their maker dies.
 *
 * Such a file's name ends in a random number and a check of it, so that no file of somebody else is taken for one; and
 * it is removed only when its lock can be had, so that none that is at work is. */
#include <stdio.h>
#include <string.h>

#include "digest/hash.h"
#include "store/store.h"

enum { NUMBER_DIGITS = 16, INFIX_MAX = 16 };

/* Half of the number is random, half a check of that half and the store's name. */
static uint64_t checked_number(uint32_t random, const char *name) {
    uint8_t bytes[4];
    sdi_store32(bytes, random);
    uint64_t check = sdi_hash(name, strlen(name)) ^ sdi_hash(bytes, sizeof bytes);
    return (uint64_t)random << 32 | (uint32_t)check;
}

static const char *name_in_path(const char *path) {
    const char *slash = strrchr(path, '/');
#ifdef _WIN32
    const char *backslash = strrchr(path, '\\');
    if (backslash && (!slash || backslash > slash)) slash = backslash;
#endif
    return slash ? slash + 1 : path;
}

char *sdi_temporary_path(const simdrive_store *store, const char *infix) {
    char suffix[INFIX_MAX + NUMBER_DIGITS + 1];
    uint64_t number = checked_number((uint32_t)sdi_unique_number(), name_in_path(store->real_path));
    snprintf(suffix, sizeof suffix, "%.*s%016llx", INFIX_MAX, infix, (unsigned long long)number);
    return sdi_path_with_suffix(store->real_path, suffix);
}

typedef struct leftover_names {
    const char *store_name;
    const char *infix;
    char **names;
    size_t count;
} leftover_names;

static bool is_temporary_name(const leftover_names *wanted, const char *candidate) {
    size_t length = strlen(wanted->store_name), infix = strlen(wanted->infix);
    if (strncmp(candidate, wanted->store_name, length) != 0) return false;
    if (strncmp(candidate + length, wanted->infix, infix) != 0) return false;
    const char *digits = candidate + length + infix;
    if (strlen(digits) != NUMBER_DIGITS || strspn(digits, "0123456789abcdef") != NUMBER_DIGITS) return false;
    uint64_t number = strtoull(digits, NULL, 16);
    return number == checked_number((uint32_t)(number >> 32), wanted->store_name);
}

static bool collect_leftover(void *user, const char *name) {
    leftover_names *found = user;
    if (!is_temporary_name(found, name)) return true;
    char **names = realloc(found->names, (found->count + 1) * sizeof *names);
    if (!names) return false;
    found->names = names;
    names[found->count] = sdi_path_with_suffix(name, "");
    if (!names[found->count]) return false;
    found->count++;
    return true;
}

static void remove_unless_at_work(simdrive_store *store, const char *path) {
    const sdi_os *os = store->os;
    sdi_file *file = NULL;
    if (os->open(os, path, SDI_OPEN_WRITE, 0, &file) != SIMDRIVE_OK) return;
    if (os->lock(os, file) == SIMDRIVE_OK) os->unlink(os, path);
    os->close(os, file);
}

/* A file that cannot be removed is in nobody's way. */
void sdi_remove_temporaries(simdrive_store *store, const char *infix) {
    leftover_names found = {.store_name = name_in_path(store->real_path), .infix = infix};
    size_t folder = (size_t)(found.store_name - store->real_path);
    store->os->list_folder_of(store->os, store->real_path, collect_leftover, &found);
    for (size_t i = 0; i < found.count; i++) {
        char *path = malloc(folder + strlen(found.names[i]) + 1);
        if (path) {
            memcpy(path, store->real_path, folder);
            strcpy(path + folder, found.names[i]);
            remove_unless_at_work(store, path);
        }
        free(path);
        free(found.names[i]);
    }
    free(found.names);
}
