#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# use_cmake_package.sh PREFIX VERSION: a CMake project that says find_package(simdrive) builds against the installed
# library, shared and static, and runs; a version that does not fit is refused.
set -eu
prefix=$1 version=$2
cmake=${CMAKE:-cmake}
consumer=$(cd "$(dirname "$0")/consumer" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

configure() { "$cmake" -S "$consumer" -B "$folder/$1" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED="$2" >"$folder/log" 2>&1; }

configure build "$version" || { cat "$folder/log" >&2; exit 1; }
"$cmake" --build "$folder/build" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
"$folder/build/shared" "$version" "$folder/shared.store"
"$folder/build/static" "$version" "$folder/static.store"
if configure refused 99.0; then
    echo "version 99.0 was accepted" >&2
    exit 1
fi
