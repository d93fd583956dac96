# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Submits the elements of a part that are not submitted yet; each is a job, and all have one name.
#
# @NAME@: their name; @COUNT@: how many there are; @SUBMIT@: flux submit with its options; @COMMAND@: what each runs.
# stdout: the name, as the id. Exit code 1: they are not all submitted; stderr says `communication ended` if some are.

ah_l=$(flux jobs -a -n -c 0 --name=@NAME@ -o '{id.dec}') || exit 1
# shellcheck disable=SC2086 # ids
set -- $ah_l
ah_n=@COUNT@
[ $# -ge "$ah_n" ] || @SUBMIT@ --cc=$#-$((ah_n - 1)) @COMMAND@ || {
    [ -z "$(flux jobs -a -n -c 1 --name=@NAME@ -o '{id.dec}')" ] || echo "communication ended after a part" >&2
    exit 1
}
echo @NAME@
