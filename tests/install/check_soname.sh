#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_soname.sh LIBRARY SONAME: the library has that soname, is reachable by it, needs libc and nothing else, and is
# hardened.
set -eu
library=$1 soname=$2
command -v readelf >/dev/null || exit 77
dynamic=$(readelf -dW "$library")

echo "$dynamic" | grep -qF "soname: [$soname]" || { echo "soname is not $soname" >&2; exit 1; }
[ -e "$(dirname "$library")/$soname" ] || { echo "$soname is not installed" >&2; exit 1; }
needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
others=$(echo "$needed" | grep -vE '^(libc|libpthread|ld-linux.*|ld-musl.*)\.' || true)
[ -z "$others" ] || { echo "needs more than libc: $others" >&2; exit 1; }
echo "$dynamic" | grep -q 'BIND_NOW\|FLAGS.* NOW' || { echo "is not linked with -z now" >&2; exit 1; }
readelf -lW "$library" | grep -q GNU_RELRO || { echo "is not linked with -z relro" >&2; exit 1; }
readelf -lW "$library" | grep -qE 'GNU_STACK.* RW ' || { echo "has an executable stack" >&2; exit 1; }
