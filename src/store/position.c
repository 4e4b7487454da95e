/* SPDX-License-Identifier: Apache-2.0 */
/* position.c — places in the order of writes, and how to know them again.
 *
 * An offset alone means nothing after a compaction, and may by chance be a tail again. So a position has a check: of
 * the file it is in (its number and when it was made, not its device, whose number may be another after a restart), and
 * of key hash and link of the entry it stands behind (not of its checksum, in whose place a reclaimed entry has its
 * mark). */
#include "digest/hash.h"
#include "store/store.h"

enum { ID_BYTES = 16 };

uint64_t sdi_position_check(const sdi_generation *generation, uint64_t offset) {
    uint8_t bytes[ID_BYTES + SDI_CHECKSUM_FIELD] = {0};
    sdi_store64(bytes, generation->file_id.number);
    sdi_store64(bytes + 8, generation->file_id.born);
    if (offset >= SDI_ENTRY_MIN)
        memcpy(bytes + ID_BYTES, sdi_base(generation) + offset - SDI_METADATA_SIZE, SDI_CHECKSUM_FIELD);
    uint64_t check = sdi_hash(bytes, sizeof bytes);
    return check != 0 ? check : 1;
}

bool sdi_position_holds(const sdi_generation *generation, const simdrive_position *position) {
    sdi_record record;
    uint64_t offset = position->offset;
    if (offset != 0) {
        if (offset > sdi_tail(generation) || offset < SDI_ENTRY_MIN) return false;
        uint64_t end = offset - SDI_METADATA_SIZE;
        if (!sdi_record_at(&generation->damage, sdi_base(generation), end, &record) &&
            !sdi_is_corrupt(&generation->damage, end))
            return false;
    }
    return position->check == 0 || position->check == sdi_position_check(generation, offset);
}

simdrive_status simdrive_get_position(simdrive_store *store, simdrive_position *position) {
    if (!store || !position) return sdi_refuse(SIMDRIVE_ERROR_INVALID_ARGUMENT);
    sdi_pin *pin = sdi_pin_current(store);
    position->offset = sdi_tail(pin->generation);
    position->check = sdi_position_check(pin->generation, position->offset);
    sdi_unpin(pin, 1);
    return SIMDRIVE_OK;
}
