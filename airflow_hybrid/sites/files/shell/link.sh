# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# k SOURCE TARGET STORED JOB: links the target to a source of the same location, by a hard link if possible, otherwise by a
# symbolic link. removal/shell/functions.sh and place.sh come before it.
#
# STORED: s, if the target is in the store, or ''; JOB: directory of the job that made the source, or ''.
# @NAME@: name of a temporary link, plain.
# stdout: a line: `ok`, `gone`, `bad`, or `link`: there is a symbolic link in the job's output. There, a hard link is made
# from the source's folder after that was checked to be the one that was meant. After a link, hard or symbolic, was made, the
# source is checked again before the link gets its name: a symbolic link that replaced the source meanwhile is not used.
# shellcheck disable=SC2164 # made ends with the code of cd
# shellcheck disable=SC2086 # STORED may be missing
# shellcheck disable=SC3013 # dash, bash, busybox, ksh and zsh have -ef

nl='
'
# path, directory of the job that made it ('': none): enters the path's folder
made() {
    [ -n "$2" ] || {
        cd -- "${1%/*}/"
        return
    }
    w=$(cd -P -- "$2" && pwd -P && echo .) || return
    v=${1#"$2"}
    w=${w%??}${v%/*}
    cd -P -- "${1%/*}/" && [ "$(pwd -P && echo .)" = "$w$nl." ] && [ ! -h "./${1##*/}" ]
}
k() {
    n=1 t=${2%/*}/@NAME@
    [ -e "$1" ] || {
        echo gone
        return
    }
    [ -z "$4" ] || (made "$1" "$4") || {
        echo link
        return
    }
    root "$2" $3
    way "$2" || {
        echo bad
        return
    }
    if [ "$1" -ef "$2" ]; then
        echo ok
        return
    fi
    # a name that is (a link to) a directory is never given to mv, which would move things into it
    if [ -d "$2" ] && [ ! -L "$2" ]; then
        echo "$2: is a directory" >&2
        echo bad
        return
    fi
    free "$2" || {
        echo bad
        return
    }
    (
        umask 077
        mkdir -p -- "${2%/*}"
    )
    if [ -d "$1" ]; then
        u=$2
        ln -sfn -- "$1" "$2" || {
            echo bad
            return
        }
    else
        [ ! -d "$2" ] || rm -f -- "$2"
        u=$t
        if (made "$1" "$4" && ln -- "./${1##*/}" "$t" 2>/dev/null); then
            [ -z "$4" ] || [ ! -h "$t" ] || n=
        else
            ln -s -- "$1" "$t" || {
                rm -f -- "$t"
                echo bad
                return
            }
        fi
    fi
    [ -z "$4" ] || { [ -n "$n" ] && (made "$1" "$4"); } || {
        rm -f -- "$u"
        echo link
        return
    }
    [ "$u" = "$2" ] || mv -f -- "$t" "$2" || {
        rm -f -- "$t"
        echo bad
        return
    }
    echo ok
}
