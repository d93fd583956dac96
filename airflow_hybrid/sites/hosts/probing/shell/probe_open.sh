# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Reads files <root>/./<rest>. It opens several at a time, then checks that they are the files that were meant, and only then
# reads them. (A process per file would cost a second per thousand files.)
#
# ah_first: the first descriptor to use (environment).
# $1: `sums`, or how many bytes of each; further: paths, as many as can be open at a time: seven where ah_first is 3.
# stdout: records, each followed by a NUL: `KDESCRIPTOR PATH` of an opened file; `XPATH` of a file that is not the one that
# was meant, and is not read; the answer of sha1sum -z; or `ZMOST SIZE FILE` of each, then `#bytes`, their first bytes
# without separators, and `#ok` after a NUL.
# shellcheck disable=SC2154 # ah_first: from the environment
# shellcheck disable=SC2086 # ah_open: descriptors, plain words
# shellcheck disable=SC1007 # several variables are emptied in one line
# shellcheck disable=SC2059 # a number of bytes

ah_what=$1
shift
ah_root=. ah_end='
'
exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null 8</dev/null 9</dev/null
ah_with() { "$@" 3<&3 4<&4 5<&5 6<&6 7<&7 8<&8 9<&9; } # some shells keep theirs to themselves
ah_singly() { for ah_x; do ah_files "$ah_x"; done; }
ah_files() {
    ah_n=$ah_first ah_want= ah_open= ah_odd=
    for ah_a; do
        if [ "${ah_a%%/./*}" != "$ah_root" ]; then
            ah_root=${ah_a%%/./*}
            ah_at=$(cd -P -- "$ah_root/" 2>/dev/null && pwd -P && echo .)
            ah_at=${ah_at%??}
            [ "$ah_at" != / ] || ah_at=
        fi
        if [ -L "$ah_a" ]; then
            printf 'X%s\0' "$ah_a"
        elif [ -f "$ah_a" ] && eval "command exec $ah_n<\"\$ah_a\"" 2>/dev/null; then
            printf 'K%s %s\0' "$ah_n" "$ah_a"
            case $ah_at/$ah_a in *"$ah_end"*) ah_odd=1 ;; esac
            ah_want=$ah_want$ah_at/${ah_a#*/./}$ah_end
            ah_open="$ah_open /dev/fd/$ah_n"
            ah_n=$((ah_n + 1))
        fi
    done
    if [ -z "$ah_open" ]; then
        return 0
    elif [ -n "$ah_odd" ] && [ $# -gt 1 ]; then # two names with line ends could look like two others
        ah_singly "$@"
    elif [ "$(ah_with /usr/bin/env readlink -- $ah_open && echo .)" = "$ah_want." ]; then
        ah_read $ah_open
    elif [ $# -gt 1 ]; then
        ah_singly "$@"
    else
        printf 'X%s\0' "$1"
    fi
}
ah_read() {
    if [ "$ah_what" = sums ]; then
        ah_with /usr/bin/env sha1sum -z -- "$@"
    else
        ah_with /usr/bin/env stat -L --printf "Z$ah_what %s %n\0" -- "$@"
        printf '#bytes\0'
        ah_with /usr/bin/env head -q -c "$ah_what" -- "$@"
        printf '\0#ok\0'
    fi
}
ah_files "$@"
