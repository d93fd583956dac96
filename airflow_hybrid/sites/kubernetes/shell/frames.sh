# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Runs a command in a pod. The API cannot close stdin, so stdin comes in frames.
#
# stdin: a line SIZE and that many bytes, the command; then frames of its stdin, each a line SIZE and that many bytes; a frame
# of 0 ends it. Exit code: that of the command; 125: there was none.
# A separate process copies the frames and prints its id first: it has to end with the command, without a message from the
# shell.
# shellcheck disable=SC2015 # both commands have to work

f() { dd bs="$1" count=1 iflag=fullblock 2>/dev/null; }
# a dot, so that the text's last line ends are kept
read -r n && s=$(
    f "$n"
    echo .
) || exit 125
s=${s%.}
exec 5>&2 2>/dev/null
{
    # shellcheck disable=SC2034 # x: fields that are not needed
    read -r p x </proc/self/stat
    echo "$p"
    while read -r n && [ "$n" -gt 0 ]; do f "$n" || break; done
} | {
    read -r p
    (
        exec 2>&5 5>&-
        eval "$s"
    )
    c=$?
    kill "$p" 2>/dev/null
    exit $c
}
