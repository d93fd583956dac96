# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# sealed PATH READ WORK: examines a job's output without following symbolic links. digest.sh comes before it.
#
# WORK is the work directory of the job. If READ is 1, size and digest are read: a file is opened (a folder entered), then
# identified, then read. Sets k (`f` file, `d` folder, `l` a symbolic link, or reached through one, `x` not readable), s and
# d; k is left as it is if there is nothing.
# shellcheck disable=SC2209 # v=link is a word
# shellcheck disable=SC2034 # k, s and d: for the caller
# shellcheck disable=SC2030,SC2031 # L: of one subshell

nl='
'
# path, whether to read it, work directory of the job that made it: sets k, s and d
sealed() {
    w=$(cd -P -- "$3" 2>/dev/null && pwd -P && echo .)
    w=${w%??}${1#"$3"}
    if [ -L "$1" ]; then
        v=link
    elif [ -d "$1" ]; then
        k=d v=$(in_folder "$1" "$2")
    elif [ -f "$1" ]; then
        k=f v=$(in_file "$2" 3<"$1")
    else
        return
    fi
    case $v in
    'ok '*) v=${v#ok } s=${v%% *} d=${v#* } ;;
    ok) ;;
    link) k=l ;;
    *) k=x ;;
    esac
}
# whether the open file is the one that was meant
in_file() {
    [ "$(readlink -- /dev/fd/3 3<&3 && echo .)" = "$w$nl." ] || {
        echo link
        return
    }
    if [ "$1" = 1 ]; then echo "ok $(stat -L -c %s -- /dev/fd/3 3<&3) $(sha1sum <&3 | cut -c1-40)"; else echo ok; fi
}
in_folder() (
    L=
    cd -P -- "$1" || exit
    [ "$(pwd -P && echo .)" = "$w$nl." ] || {
        echo link
        exit
    }
    find . >/dev/null || exit
    if [ "$2" = 1 ]; then echo "ok $(siz .) $(dig .)"; else echo ok; fi
)
