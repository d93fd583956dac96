# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# ah_way FOLDER PATH: whether nothing below the folder, on the way to the path, is a symbolic link, and the path is none.
# shellcheck disable=SC2329 # for the text below it

ah_way() {
    ah_w=$1 ah_v=${2#"$1"/}
    while :; do
        ah_w=$ah_w/${ah_v%%/*}
        [ ! -h "$ah_w" ] || return 1
        case $ah_v in */*) ah_v=${ah_v#*/} ;; *) return 0 ;; esac
    done
}
