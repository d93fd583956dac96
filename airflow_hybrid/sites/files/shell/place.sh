# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions for the folder in which copies are made. removal/shell/functions.sh comes before it.
#
# root TARGET [s]: makes the folder in which copies are made (s: that of the store) and sets r to it; sets o if it is ours.
# way TARGET: succeeds if no folder between r and the target is a symbolic link.
# free TARGET: succeeds if nothing is there, or something of ours, which may be replaced.
# shellcheck disable=SC2329 # not every script calls all of these

root() {
    r=${1%/*}
    if [ "$2" = s ]; then r=${1%/*/*/*}; fi
    [ "$r" != "$q" ] || return 0
    q=$r
    o=
    if [ "$2" = s ]; then ah_make "$r"; else (
        umask 077
        mkdir -p -- "$r"
    ); fi && if (cd -- "$r" && ah_marked); then o=1; fi
}
way() {
    w=$r
    v=${1#"$r"}
    v=${v%/*}
    while [ -n "$v" ]; do
        v=${v#/}
        w=$w/${v%%/*}
        if [ -h "$w" ]; then
            echo "$w is a symbolic link: nothing is written through it" >&2
            return 1
        fi
        case $v in */*) v=/${v#*/} ;; *) v= ;; esac
    done
}
free() { [ -n "$o" ] || { [ ! -e "$1" ] && [ ! -h "$1" ]; } ||
    {
        echo "$1 exists already, and airflow_hybrid did not make it: move it away" >&2
        return 1
    }; }
q=
