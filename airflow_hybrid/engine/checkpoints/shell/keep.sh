# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Notes until when checkpoints are kept. removal/shell/functions.sh comes before it.
#
# @D@: folder of the notes, quoted; @SECONDS@: from now on; @NEVER@: seconds since the epoch that stand for "for good", or
# nothing.
# stdin: names of notes (`ab/abcd...`), one per line. The mtime of a note is the time until which its content is kept; it is
# never set to an earlier time.
# Exit codes: 73 the folder is not ours; 74 it cannot be written to.

ah_D=@D@
{ ah_make "$ah_D" && cd -P -- "$ah_D" && ah_marked; } || exit 73
ah_until=@NEVER@ ah_seconds=@SECONDS@
[ -n "$ah_until" ] || ah_until=$(($(date +%s) + ah_seconds))
umask 077
ah_N=.until.$$
touch -d "@$ah_until" "$ah_N" || exit 74
trap 'rm -f "./$ah_N"' EXIT
while IFS= read -r ah_name; do
    [ "$ah_name" -nt "$ah_N" ] || { mkdir -p "${ah_name%/*}" && touch -r "$ah_N" "$ah_name"; } || exit 74
done
