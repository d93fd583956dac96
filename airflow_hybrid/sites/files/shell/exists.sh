# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# q PATH KIND READ [s]: prints whether a copy exists. digest.sh comes before it.
#
# KIND: `f` or `d`; READ is 1 if its digest is needed; s: it is in the store, where no symbolic link may lead to it.
# stdout: a line `+DIGEST`, or `-` if there is none.

q() {
    d=
    if [ "$4" = s ] && { [ -h "${1%/*}" ] || [ -h "${1%/*/*}" ]; }; then
        printf "%s\n" - # zsh's `echo -` prints nothing, as if the copy existed
        return
    fi
    case $2 in d) [ -d "$1" ] ;; *) [ -f "$1" ] ;; esac || {
        printf "%s\n" -
        return
    }
    if [ "$3" = 1 ]; then d=$(dig "$1"); fi
    echo "+$d"
}
