# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Runs a command in a pod, whose API gives no end of stdin: stdin comes in frames.
#
# stdin: a line SIZE and so many bytes, the command; then frames, each a line SIZE and so many bytes, of its stdin; a frame
# of 0 is its end. Exit code: that of the command; 125: there was none.
# The frames are copied by a process of their own, which tells its id first: it has to end with the command, and of its end
# the shell need not tell.
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
