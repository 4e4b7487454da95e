#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_exports.sh SOURCE LIBRARY: the functions that simdrive.h declares, packaging/simdrive.exports and the symbols
# that the library defines for others are one and the same list.
set -eu
source=$1 library=$2
LC_ALL=C
export LC_ALL
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

awk -f "$source/cmake/header-functions.awk" "$source/include/simdrive.h" | sort >"$folder/header"
grep '^[a-z]' "$source/packaging/simdrive.exports" >"$folder/list"
"${NM:-nm}" -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$folder/library"

[ -s "$folder/header" ] || { echo "no function was found in simdrive.h" >&2; exit 1; }
diff -u "$folder/header" "$folder/list" || { echo "packaging/simdrive.exports differs from simdrive.h" >&2; exit 1; }
diff -u "$folder/list" "$folder/library" || { echo "$library exports something else than the list" >&2; exit 1; }
