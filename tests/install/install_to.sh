#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install_to.sh CMAKE BUILD PREFIX: installs afresh by way of another place, so that a path which should not be in an
# installed file leads nowhere.
set -eu
cmake=$1 build=$2 prefix=$3
rm -rf "$prefix" "$prefix.first"
"$cmake" --install "$build" --prefix "$prefix.first" >/dev/null
mv "$prefix.first" "$prefix"
leaks=$(grep -rIl -- "$build" "$prefix" || true)
if [ -n "$leaks" ]; then
    echo "these installed files name the build folder:" "$leaks" >&2
    exit 1
fi
