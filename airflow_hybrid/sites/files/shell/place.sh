# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Where copies are made. removal/shell/functions.sh stands above it.
#
# root TARGET [s]: makes the folder that copies are made in (s: that of the store) and sets r to it; sets o if it is ours.
# way TARGET: no link is on the way from r to the target.
# free TARGET: nothing is there but what is ours, and may be replaced.
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
            echo "$w is a link: nothing is written through it" >&2
            return 1
        fi
        case $v in */*) v=/${v#*/} ;; *) v= ;; esac
    done
}
free() { [ -n "$o" ] || { [ ! -e "$1" ] && [ ! -h "$1" ]; } ||
    {
        echo "$1 is there already, and airflow_hybrid did not make it: move it away" >&2
        return 1
    }; }
q=
