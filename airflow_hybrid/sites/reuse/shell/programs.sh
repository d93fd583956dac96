# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Looks up which programs a shell would run, and which files exist.
#
# @T@: the task directory, quoted; @VARIABLES@: commands that print variables; @PATH@: a command that sets PATH, or nothing;
# @BLOCKS@: size of the largest file that is read, in blocks of 512 bytes.
# stdin: lines `w WORD` (a program), `c COMMAND` (anything that the shell can run), `p PATH`.
# stdout: names of jobs that the task has begun; `#environment`, umask and variables; `#found` and what was found:
# `w NAME<tab>PATH`, `c NAME`, `d PATH` (a folder), `f PATH`, `b PATH` (too large), `i PATH<tab>INTERPRETER`; `#end`.
# shellcheck disable=SC2016 # text for the shell that xargs starts

cat -- @T@/*/manifest 2>/dev/null
echo '#environment'
set -f
umask
@VARIABLES@
echo '#found'
@PATH@
# the file that a shell runs for a name: ah_p
ah_program() {
    ah_rest=$PATH:
    while [ -n "$ah_rest" ]; do
        ah_p=${ah_rest%%:*}/$1
        ah_rest=${ah_rest#*:}
        if [ -f "$ah_p" ] && [ -x "$ah_p" ]; then return 0; fi
    done
    return 1
}
# the interpreter of the script $1
ah_interpreter() {
    [ -x "$1" ] || return 0
    # not by `read`, which reads a large file without a newline byte by byte
    ah_first=$(head -c 250 "$1" 2>/dev/null | tr -d '\0' | head -n 1)
    case $ah_first in '#!'*) ;; *) return 0 ;; esac
    # shellcheck disable=SC2034 # ah_more: words that are not needed
    IFS=' ' read -r ah_runs ah_second ah_third ah_more <<AH
${ah_first#??}
AH
    printf 'i %s\t%s\n' "$1" "$ah_runs"
    case $ah_runs in */env) ;; *) return 0 ;; esac
    for ah_word in "$ah_second" "$ah_third"; do
        case $ah_word in '' | -* | *=*) continue ;; esac
        if ah_program "$ah_word"; then printf 'i %s\t%s\n' "$1" "$ah_p"; fi
        return 0
    done
}
ah_all() {
    while IFS= read -r ah_line; do
        ah_name=${ah_line#? }
        case $ah_line in
        w*) if ah_program "$ah_name"; then
            printf 'w %s\t%s\n' "$ah_name" "$ah_p"
            ah_interpreter "$ah_p"
        fi ;;
        c*) if command -v "$ah_name" >/dev/null 2>&1; then printf 'c %s\n' "$ah_name"; fi ;;
        p*) if [ -d "$ah_name" ]; then
            printf 'd %s\n' "$ah_name"
        elif [ -f "$ah_name" ]; then
            printf 'f %s\n' "$ah_name"
            ah_interpreter "$ah_name"
        fi ;;
        esac
    done
}
ah_said=$(ah_all)
printf '%s\n' "$ah_said"
printf '%s\n' "$ah_said" | sed -n 's/^f //p' | tr '\n' '\0' |
    xargs -0 -r sh -c 'find -L "$@" -prune -size +@BLOCKS@ -print' sh | sed 's/^/b /'
echo '#end'
