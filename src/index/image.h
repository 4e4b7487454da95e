/* SPDX-License-Identifier: Apache-2.0 */
/* image.h — an index as a sequence of bytes: written while it is in use, and later used where it lies, without being
 * read.
 *
 *   ┌───────────┬───────────┬─   ─┬───────────┬──────────────────────────────────┬─────────┐
 *   │ segment 0 │ segment 1 │ ... │ segment n │ records: one for each segment    │ trailer │
 *   └───────────┴───────────┴─   ─┴───────────┴──────────────────────────────────┴─────────┘
 *
 * Segments lie there as they do in memory (layout.h), in the order of their ranges of u. A record has its segment's
 * depth, lines, tag base, number of keys, and checksum. The trailer has the seed, sums, and checksums of the records
 * and of itself. All in the byte order of the machine, which the trailer's first word tells.
 *
 * Loading looks at the records and the trailer alone. A segment is looked at when it is first used (L5): its checksum,
 * and that no slot leads beyond what the image covers. So bytes from a disk are never trusted, and opening costs the
 * same however many keys there are. When a segment turns out to be wrong, all that are left are looked at, and those
 * that are wrong are made again from what `recall` tells, once.
 *
 * Checks are made by whoever comes first, a reader too, under the image's mutex, which the writer takes while an index
 * with an image grows. Nobody takes it for a segment that was checked.
 *
 * Saving copies segment by segment beside a writer. Each copy is of one moment, for a line that is not full ends the
 * probes of keys behind it: a segment is copied again when it was replaced, or a slot was taken, meanwhile. What is put
 * into it after it was copied is put again by whoever loads the image. So an image holds at least every put that had
 * returned when saving began, and none that had not begun when saving ended.
 *
 * What this module knows: the index. What it must not know: files, stores. */
#ifndef SDI_INDEX_IMAGE_H
#define SDI_INDEX_IMAGE_H

#include "index/index.h"

/* Takes the next bytes; anything but OK ends the saving, with that status. */
typedef simdrive_status (*sdi_image_sink)(void *user, const void *bytes, size_t size);

/* Hands out the image's bytes. Beside the writer and readers. ERROR_BUSY when keys come in faster than they can be
 * copied; ERROR_NO_MEMORY. `size` and `keys` (may be NULL): of the image. */
simdrive_status sdi_index_save(const sdi_index *index, sdi_image_sink sink, void *user, uint64_t *size,
                               uint64_t *keys);

/* Told of an entry, in sdi_recall. */
typedef simdrive_status (*sdi_recall_visitor)(void *user, uint64_t hash, uint64_t offset);

/* Calls `visit` with each entry of the file that ends at `tail`, newest first; ends when that does not return OK. */
typedef simdrive_status (*sdi_recall)(const uint8_t *base, uint64_t tail, sdi_recall_visitor visit,
                                      void *visit_user);

typedef struct sdi_image_source {
    uint8_t *bytes; /* of the image: aligned to 4096 and private to the index, which writes into it */
    uint64_t size;
    const uint8_t *base;          /* of the file, as for sdi_index_create() */
    uint64_t tail;                /* of what the image covers */
    uint64_t last;                /* no slot leads beyond this offset */
    sdi_recall recall;
    void (*release)(void *user);  /* called when the index needs the bytes no more */
    void *user;
} sdi_image_source;

/* An index on an image. NULL, and nothing was released, when it is not one, or not of this build, or there is no
 * memory. */
sdi_index *sdi_index_load(const sdi_image_source *source);

#endif
