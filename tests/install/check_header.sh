#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_header.sh INCLUDE_FOLDER: simdrive.h compiles by itself, without a warning, as C11 and as C++17, with every
# compiler of this machine.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror"
checked=0

# check COMPILER LANGUAGE STANDARD
check() {
    command -v "$1" >/dev/null || { echo "$1: not here, left out"; return 0; }
    printf "#include <simdrive.h>\n#include <simdrive.h>\nextern int unused;\n" >"$folder/alone"
    # shellcheck disable=SC2086
    "$1" -x "$2" -std="$3" $warnings -I "$include" -fsyntax-only "$folder/alone"
    echo "$1 -std=$3: fine"
    checked=$((checked + 1))
}

include=$1
for compiler in gcc clang "${CC:-cc}"; do check "$compiler" c c11; done
for compiler in g++ clang++; do check "$compiler" c++ c++17; done
[ "$checked" -gt 0 ]
