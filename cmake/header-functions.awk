# SPDX-License-Identifier: Apache-2.0
# Prints the name of every function that simdrive.h declares with SIMDRIVE_API, in the order of the header.
/^SIMDRIVE_API/ {
    line = $0
    while (line !~ /\(/ || line ~ /SIMDRIVE_MUST_CHECK[ ]*$/) {
        if ((getline more) <= 0) break
        line = line " " more
    }
    sub(/\(.*/, "", line)
    count = split(line, words, /[ *]+/)
    print words[count]
}
