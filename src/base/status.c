/* SPDX-License-Identifier: Apache-2.0 */
/* status.c — names and texts of the status codes, from the one list in the public header; version. */
#include "simdrive.h"

#define STRING(x) #x
#define EXPANDED(x) STRING(x)

const char *simdrive_status_name(simdrive_status status) {
    switch (status) {
#define CASE(name, number, text) \
    case SIMDRIVE_##name: return "SIMDRIVE_" #name;
        SIMDRIVE_STATUS_LIST(CASE)
#undef CASE
    }
    return "SIMDRIVE_UNKNOWN_STATUS";
}

const char *simdrive_status_text(simdrive_status status) {
    switch (status) {
#define CASE(name, number, text) \
    case SIMDRIVE_##name: return text;
        SIMDRIVE_STATUS_LIST(CASE)
#undef CASE
    }
    return "unknown status";
}

const char *simdrive_version(void) {
    return EXPANDED(SIMDRIVE_VERSION_MAJOR) "." EXPANDED(SIMDRIVE_VERSION_MINOR) "." EXPANDED(SIMDRIVE_VERSION_PATCH);
}
