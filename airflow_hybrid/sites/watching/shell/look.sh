# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Looks for files. It reads no file, and follows no link but those on the way to a folder.
#
# @CHECKS@: ends the script if a program is missing. @MOST@: how many files of a pattern are told, and one more.
# @LOOKS@: lines `ah_look FOLDER DEPTH PATTERN`.
# stdout: records, each followed by a NUL. Of each pattern, `D` and the folder, or `N`: there is none (or none that may be
# entered); then its files, `F` and inode, size, times of the last change (of its content, of anything), path below the folder.
# At the end `Z`.
# shellcheck disable=SC1009,SC1072,SC1073 # marks stand for whole lines

@CHECKS@
ah_look() {
    if (cd -- "$1") 2>/dev/null; then
        (
            cd -- "$1" 2>/dev/null || exit
            printf 'D%s\0' "$PWD"
            /usr/bin/env find . -mindepth "$2" -maxdepth "$2" -type f -path "$3" \
                -printf 'F%i %s %T@ %C@ %P\0' 2>/dev/null | /usr/bin/env head -z -n @MOST@
        )
    else
        printf 'N\0'
    fi
}
@LOOKS@
printf 'Z\0'
