#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command in an empty temporary folder, which is removed afterwards.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$@"
