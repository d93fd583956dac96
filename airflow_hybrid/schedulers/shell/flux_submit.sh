# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Submits the elements of a part that are not submitted yet; each is a job, and all have the same name.
#
# @NAME@: their name; @COUNT@: their number; @SUBMIT@: flux submit with its options; @COMMAND@: the command of each.
# stdout: the name, as the id. Exit code 1: not all are submitted; stderr says `communication ended` if some are.

ah_l=$(flux jobs -a -n -c 0 --name=@NAME@ -o '{id.dec}') || exit 1
# shellcheck disable=SC2086 # ids
set -- $ah_l
ah_n=@COUNT@
[ $# -ge "$ah_n" ] || @SUBMIT@ --cc=$#-$((ah_n - 1)) @COMMAND@ || {
    [ -z "$(flux jobs -a -n -c 1 --name=@NAME@ -o '{id.dec}')" ] || echo "communication ended after a part" >&2
    exit 1
}
echo @NAME@
