# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# q PATH READ [WORK]: prints what is at a path. digest.sh and sealed.sh come before it.
#
# READ is 1 to read it; WORK is the work directory of the job that made it.
# stdout: kind, size, digest and path, each followed by a NUL. Kinds: as in sealed.sh, `-` nothing.
# shellcheck disable=SC2015 # p is set where readlink fails

q() {
    k=- p=$1 s=0 d=
    if [ -n "$3" ]; then
        sealed "$@"
    else
        if [ -L "$p" ]; then p=$(readlink -f -- "$p" && echo .) && p=${p%??} || p=$1; fi
        if [ -d "$p" ]; then k=d; elif [ -f "$p" ]; then k=f; fi
        [ $k = - ] || [ -r "$p" ] || k=x
        [ $k != d ] || find -L "$p" >/dev/null || k=x
        case $k$2 in [fd]1)
            s=$(siz "$p")
            d=$(dig "$p")
            ;;
        esac
    fi
    printf '%s\0' "$k" "$s" "$d" "$p"
}
