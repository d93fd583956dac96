# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Reads stdin into a temporary file, which commit.sh renames. digest.sh and begin.sh (with what it needs) come before it.
#
# stdout: `SIZE DIGEST`. Exit code 1: it cannot be written, and nothing of it is left.
# shellcheck disable=SC2154 # R, N, T: set by begin.sh
# shellcheck disable=SC2015 # both commands have to work

begin || exit 1
cat >"$T/f" && echo "$(siz "$T/f")" "$(dig "$T/f")" || {
    ah_rm "$R" "$N"
    exit 1
}
