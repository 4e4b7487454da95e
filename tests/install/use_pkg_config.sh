#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# use_pkg_config.sh PREFIX LIBDIR VERSION: a program is built against the installed library by what pkg-config says,
# shared and static, and runs.
set -eu
prefix=$1 libdir=$2 version=$3
consumer=$(cd "$(dirname "$0")/consumer" && pwd)
command -v pkg-config >/dev/null || exit 77
PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
export PKG_CONFIG_PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# The tree was moved after it was installed: the prefix follows the .pc file.
ask() { pkg-config --define-prefix "$@" simdrive; }

# build PROGRAM FLAGS...: flags come from pkg-config, which escapes spaces for the shell
build() {
    program=$1
    shift
    eval "\"${CC:-cc}\" -std=c11 -Wall -Wextra -Werror \"\$consumer/consumer.c\" -o \"\$program\" $*"
}

[ "$(ask --modversion)" = "$version" ]
build shared "$(ask --cflags --libs)"
LD_LIBRARY_PATH=$prefix/$libdir ./shared "$version" shared.store
build static "$(ask --cflags)" "-Wl,-Bstatic" "$(ask --static --libs)" "-Wl,-Bdynamic"
./static "$version" static.store
