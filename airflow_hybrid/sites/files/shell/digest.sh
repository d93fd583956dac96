# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# dig PATH: prints the SHA-1 of a file, or of the names and digests of a tree. siz PATH: prints bytes. Symbolic links are
# followed, unless L is set and empty.
# shellcheck disable=SC2086 # ${L--L} is an option or nothing

dig() { if [ -d "$1" ]; then
    (
        LC_ALL=C
        export LC_ALL
        cd -- "$1" && {
            find ${L--L} . -type d -print0 | sort -z
            find ${L--L} . -type f -print0 | sort -z | xargs -0 -r sha1sum --
        } | sha1sum | cut -c1-40
    )
else sha1sum <"$1" | cut -c1-40; fi; }
siz() { if [ -d "$1" ]; then
    find ${L--L} "$1" -type f -print0 | xargs -0 -r stat -L -c %s -- 2>/dev/null |
        awk '{s+=$1}END{printf "%.0f",s}'
else wc -c <"$1" | tr -d ' '; fi; }
