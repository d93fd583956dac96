# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions that make and remove folders at sites.
#
# ah_make FOLDER
#     makes a folder, and those above it, for its owner only, and marks it if it is new or empty. An existing folder with
#     content is not marked.
# ah_new FOLDER
#     the same, but fails if something exists there.
# ah_rm ROOT PATH
#     removes ROOT/PATH if it, ROOT, or a folder between them has our marker. PATH is relative and plain. It does nothing
#     and returns 1, with a message on stderr, if PATH or a folder in it is a symbolic link, if nothing proves that it is
#     ours, or if another file system is mounted in it. It is no error if nothing is there. It tries three times, for jobs
#     that still write into it.
# ah_marked
#     whether the working directory has our marker.
#
# Every step down is a `cd -P` whose result is checked, and what is removed is named relative to the folder that was checked.
# So a folder that is replaced by a symbolic link meanwhile does no harm. Modes are changed only of folders: a file may have
# other names (hard links) that are not ours.
#
# @MARKER@: name of the marker, a plain file; @LINE@: its content. Neither needs quotes.

# whether the working directory has our marker
ah_marked() {
    [ ! -h ./@MARKER@ ] && [ -f ./@MARKER@ ] && read -r ah_mark <./@MARKER@ && [ "$ah_mark" = '@LINE@' ]
}
# folder, which must not exist
ah_new() (
    umask 077
    mkdir -- "$1" || exit
    echo '@LINE@' >"$1/@MARKER@" && exit
    # the disk is full: remove it (nobody else could have made the empty marker in a folder of ours)
    rm -f -- "$1/@MARKER@"
    rmdir -- "$1"
    exit 1
)
# folder
ah_make() (
    umask 077
    if ! ah_new "$1" 2>/dev/null; then
        [ -d "$1" ] || { mkdir -p -- "${1%/*}" && ah_new "$1"; } 2>/dev/null || mkdir -p -- "$1" || exit
        [ ! -h "$1" ] && [ ! -e "$1/@MARKER@" ] || exit 0
        [ -z "$(find "$1/." ! -name . -prune -print 2>&1 | head -n 1)" ] || exit 0
        echo '@LINE@' | cat >"$1/@MARKER@" && exit # cat says why it cannot write; echo of some shells does not
        rm -f -- "$1/@MARKER@"
        exit 1
    fi
)
# reason: ends the subshell of ah_rm
ah_no() {
    printf '%s\n' "airflow_hybrid: not removed: $ah_all: $1" >&2
    exit 1
}
# one step down, never through a symbolic link
ah_down() {
    ah_want=${PWD%/}/$1
    if [ -n "$ah_ours" ] && { [ ! -r "./$1" ] || [ ! -w "./$1" ] || [ ! -x "./$1" ]; }; then
        find "./$1" -prune -type d -exec chmod u+rwx '{}' ';'
    fi
    cd -P -- "./$1" 2>/dev/null || ah_no 'it cannot be entered'
    [ "$PWD" = "$ah_want" ] || ah_no 'a folder was replaced by a symbolic link'
}
# nothing is mounted below the working directory
ah_unmounted() {
    [ -r /proc/self/mounts ] || return 0
    # shellcheck disable=SC2034 # ah_x: fields that are not needed
    while read -r ah_x ah_mount ah_x; do
        case $ah_mount in *\\*)
            ah_mount=$(printf '%bx' "$(printf %s "$ah_mount" | sed 's/\\/\\0/g')") ah_mount=${ah_mount%x}
            ;;
        esac
        case $ah_mount in "$PWD" | "$PWD"/*) ah_no "a file system is mounted at $ah_mount" ;; esac
    done </proc/self/mounts
}
# what is in the working directory besides the marker: a command for all of it
ah_entries() {
    find . ! -name . -prune ! -name @MARKER@ "$@"
}
# name of a folder in the working directory: removes it, if it is ours or empty
ah_pass() (
    [ -e "./$1" ] || [ -h "./$1" ] || exit 0
    (
        ah_down "$1"
        if [ -z "$ah_ours" ] && ! ah_marked; then
            # an empty folder may be removed: nothing is lost
            [ -z "$(find . ! -name . -prune -print 2>&1 | head -n 1)" ] || ah_no 'it was not made by airflow_hybrid'
            exit 3
        fi
        ah_unmounted || exit
        ah_entries -exec rm -rf -- '{}' + 2>/dev/null
        if [ -n "$(ah_entries -print 2>&1 | head -n 1)" ]; then # folders that a job left without permissions
            find . -type d ! -perm -700 -exec chmod u+rwx '{}' ';' 2>/dev/null
            ah_entries -exec rm -rf -- '{}' +
        fi
        # the marker is removed last, so that a removal can be completed later
        [ -z "$(ah_entries -print 2>&1 | head -n 1)" ] || ah_no 'some of it could not be removed'
        rm -f ./@MARKER@
    )
    case $? in
    0) rmdir -- "./$1" && exit ;;
    3) # what somebody put into it meanwhile need not be ours
        rmdir -- "./$1"
        exit
        ;;
    *) exit 1 ;;
    esac
    # something was put into it in the meantime
    [ -h "./$1" ] || (
        set -C
        echo '@LINE@' >"./$1/@MARKER@"
    ) 2>/dev/null
    exit 1
)
# root, plain path below it
ah_rm() (
    ah_all=$1/$2 ah_path=$2 ah_ours=
    case /$ah_path/ in *//* | */./* | */../*) ah_no 'not a plain path' ;; esac
    if [ ! -e "$1" ] && [ ! -h "$1" ]; then # does it not exist, or may it not be seen?
        ah_above=$1
        until [ -z "$ah_above" ] || [ -e "$ah_above" ] || [ -h "$ah_above" ]; do ah_above=${ah_above%/*}; done
        [ -x "${ah_above:-/}" ] || ah_no "$ah_above cannot be entered"
        exit 0
    fi
    cd -P -- "$1" 2>/dev/null || ah_no 'it cannot be entered'
    while :; do
        if ah_marked; then ah_ours=1; fi
        ah_name=${ah_path%%/*}
        [ ! -h "./$ah_name" ] || ah_no 'it is a symbolic link'
        [ -e "./$ah_name" ] || exit 0
        [ "$ah_name" != "$ah_path" ] || break
        ah_path=${ah_path#*/}
        ah_down "$ah_name"
    done
    if [ ! -d "./$ah_name" ]; then
        [ -n "$ah_ours" ] || ah_no 'it was not made by airflow_hybrid'
        exec rm -f -- "./$ah_name"
    fi
    # a job that still runs may write into it meanwhile
    ah_pass "$ah_name" 2>/dev/null || ah_pass "$ah_name" 2>/dev/null || ah_pass "$ah_name"
)
