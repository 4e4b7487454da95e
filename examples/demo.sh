#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh BUILD [DIRECTORY]: a short story on a real directory tree of this machine, told with the command line and the
# example programs of a build. Each step says what it shows, and ends the story when it is not so.
set -euo pipefail

build=$(cd -- "$1" && pwd -P)
tool=$build/simdrive
examples=$build/examples
tree=${2:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/simdrive-demo.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# --- helpers -------------------------------------------------------------------------------------------------------

step_number=0
step() {
    step_number=$((step_number + 1))
    printf '\n%d. %s\n' "$step_number" "$*"
}
tell() { printf '   %s\n' "$*"; }
fail() {
    printf '   NOT SO: %s\n' "$*" >&2
    exit 1
}
holds() { # WHAT TEST-ARGUMENT...
    local what=$1
    shift
    [ "$@" ] || fail "$what ($*)"
}
# A field of a JSON object. (Filters here read all of their input, so that nothing ends on a broken pipe.)
number() { sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p" | first 1; }
first() { awk -v count="$1" 'NR <= count'; }
info() { "$tool" -q "$1" info --json | number "$2"; }
size_of() { wc -c <"$1" | tr -d ' '; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }
# RATE BYTES MILLISECONDS
rate() { awk -v bytes="$1" -v ms="$2" 'BEGIN { printf "%.0f MiB/s", bytes / 1048576 / ((ms > 0 ? ms : 1) / 1000) }'; }
indented() { sed 's/^/   /'; }

choose_tree() {
    local candidate
    for candidate in /usr/include /usr/share/doc /usr/share /etc; do
        if [ "$(find "$candidate" -xdev -type f -size +0 2>/dev/null | head -n 200 | wc -l)" -ge 200 ]; then
            echo "$candidate"
            return
        fi
    done
    fail "no directory tree with some hundred files was found; name one: ./dev demo DIRECTORY"
}

# --- the story -----------------------------------------------------------------------------------------------------

[ -x "$tool" ] || fail "$tool is not built"
[ -n "$tree" ] || tree=$(choose_tree)
store=$work/tree.store

step "Import a real directory tree: $tree"
files=$(find "$tree" -type f | wc -l | tr -d ' ')
bytes=$(find "$tree" -type f -size +0 -exec cat {} + | wc -c | tr -d ' ')
start=$(now_ms)
"$tool" -q "$store" import "$tree"
took=$(($(now_ms) - start))
entries=$(info "$store" entries)
tell "$files files, $(mib "$bytes"), into one store of $(mib "$(size_of "$store")") with $entries entries"
tell "in $took ms: $(rate "$bytes" "$took")"
full=$(find "$tree" -type f -size +0 | wc -l | tr -d ' ')
holds "at least one entry for each file that has bytes" "$entries" -ge "$full"

step "Read them back: export the whole tree, and compare every file with the original"
start=$(now_ms)
"$tool" -q "$store" export "$work/exported"
took=$(($(now_ms) - start))
(cd -- "$tree" && find . -type f -exec cksum {} + | LC_ALL=C sort -k3) >"$work/sums.original"
(cd -- "$work/exported" && find . -type f -exec cksum {} + | LC_ALL=C sort -k3) >"$work/sums.exported"
cmp -s "$work/sums.original" "$work/sums.exported" || fail "the exported tree differs from $tree"
tell "exported in $took ms; all $files checksums are the same"
sample=$(cd -- "$tree" && find . -type f -size +20 | LC_ALL=C sort | first 1)
sample=${sample#./}
"$tool" "$store" read "$sample" >"$work/sample"
cmp -s "$work/sample" "$tree/$sample" || fail "$sample reads back differently"
tell "one by itself: '$sample', $(size_of "$work/sample") bytes, equal"
"$tool" "$store" verify --json >"$work/verify"
tell "verify: $(number entries_checked <"$work/verify") entries checked, all intact"

step "Store an array of floats, and sum it where it lies, through a typed view"
"$examples/floats" "$work/floats.store" | indented

step "Nest the store in another one, and read a file through both"
"$examples/nested" "$work/outer.store" "$store" "$sample" "$tree/$sample" | indented

step "Store an executable, take it out again, and run the copy"
"$tool" -q "$store" write bin/simdrive <"$tool"
"$tool" "$store" read bin/simdrive >"$work/simdrive-copy"
chmod +x "$work/simdrive-copy"
said=$("$work/simdrive-copy" --version)
holds "the copy says what the original says" "$said" = "$("$tool" --version)"
holds "the copy reads the store that it came from" "$(info "$store" entries)" = \
    "$("$work/simdrive-copy" "$store" info --json | number entries)"
tell "the copy, $(size_of "$work/simdrive-copy") bytes, runs: $said"

step "Cut the file in the middle of the last entry, and recover"
entries=$(info "$store" entries)
whole=$("$tool" "$store" metadata bin/simdrive --json | number prev_offset)
cut=$((whole + $(size_of "$tool") / 2))
truncate -s "$cut" "$store"
tell "the last entry has $(size_of "$tool") bytes; the file ends in the middle of them now, at byte $cut"
holds "only the last entry is lost" "$(info "$store" entries)" -eq $((entries - 1))
holds "the half entry is told as damage" "$(info "$store" damaged_tail_bytes)" -eq $((cut - whole))
holds "looking changed nothing" "$(size_of "$store")" -eq "$cut"
"$tool" -q "$store" read "$sample" | cmp -s - "$tree/$sample" || fail "$sample is not readable after the cut"
tell "$((entries - 1)) of $entries entries are there, the half one is left out, the file is as it was"
"$tool" -q "$store" write note "written after the crash"
aside=$work/tree.store.tail-$whole
[ -f "$aside" ] || fail "the damaged bytes are not kept aside"
tell "the next write kept the $(size_of "$aside") damaged bytes aside; the store is whole again"
"$tool" "$store" verify --json >"$work/verify" || fail "the store is not intact"
holds "nothing damaged is left" "$(number damaged_tail_bytes <"$work/verify")" -eq 0

step "Delete half of it, and compact"
half=$((files / 2))
(cd -- "$tree" && find . -type f -size +0 | LC_ALL=C sort | first "$half" | sed 's,^\./,,') >"$work/names"
tr '\n' '\0' <"$work/names" | xargs -0 -n 1000 "$tool" -q "$store" delete
savings=$(info "$store" compaction_savings)
before=$(size_of "$store")
start=$(now_ms)
"$tool" -q "$store" compact
took=$(($(now_ms) - start))
after=$(size_of "$store")
tell "$(wc -l <"$work/names" | tr -d ' ') files deleted; foretold: $(mib "$savings") to save"
tell "from $(mib "$before") to $(mib "$after") in $took ms"
holds "compaction saves to the byte what was foretold" $((before - after)) -eq "$savings"
"$tool" "$store" verify --json >/dev/null || fail "the compacted store is not intact"
gone=$(head -n 1 "$work/names")
if "$tool" -q "$store" read "$gone" >/dev/null 2>&1; then fail "$gone was deleted and is still there"; fi
tell "what was deleted is gone, the rest is intact"

step "Throughput on this machine"
"$tool" "$work/bench.store" bench | indented

printf '\nAll of it was so.\n'
