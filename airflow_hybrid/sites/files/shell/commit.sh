# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Renames the file of put.sh to its final name. removal/shell/functions.sh and place.sh come before it.
#
# @ROOT@, @NAME@: as in begin.sh; @TARGET@: the name, quoted; @STORED@: s, if that is in the store. Exit code 0: it is done.

R=@ROOT@ N=@NAME@
T=$R/$N P=@TARGET@
root "$P" @STORED@
way "$P" && (
    umask 077
    mkdir -p -- "${P%/*}"
) && free "$P" && [ ! -d "$P" ] && mv -f -- "$T/f" "$P"
c=$?
ah_rm "$R" "$N"
exit $c
