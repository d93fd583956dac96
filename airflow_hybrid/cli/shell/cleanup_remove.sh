# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Removes a run's task directories that carry our marker, and the folders that are empty then. removal/shell/functions.sh stands
# above it.
#
# @WORKDIR@: the work directory; @PATH@: the run's folder below it; both quoted. @MARKED@: patterns of the markers of the task
# directories of a run in `$r`.
# Exit code 3: something is left.
# shellcheck disable=SC2043 # the mark becomes several words
# shellcheck disable=SC2034 # r: for @MARKED@

w=@WORKDIR@ r=@PATH@
cd -- "$w" || exit
for m in @MARKED@; do
    [ ! -f "$m" ] || ah_rm "$w" "${m%/*}"
done
[ -h "${r%/*}" ] || [ -h "$r" ] || for d in "$r"/*/* "$r"/* "$r"; do
    [ -h "$d" ] || [ -h "${d%/*}" ] || rmdir -- "$d" 2>/dev/null
done
[ ! -d "$r" ] || exit 3
