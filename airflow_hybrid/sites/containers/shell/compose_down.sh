# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Removes the containers, networks and volumes of a compose project.
#
# @ENGINE@: docker or podman; @LABEL@: a filter for everything of the project; @STOP_S@: seconds that containers have to
# stop; @NAME@: the project's name, plain.
# Exit code other than 0: something is still there.
# shellcheck disable=SC2086 # ids

every() { @ENGINE@ ps -aq --no-trunc --filter @LABEL@; }
ids=$(every) || exit
[ -z "$ids" ] || @ENGINE@ stop -t @STOP_S@ $ids >/dev/null 2>&1
[ -z "$ids" ] || @ENGINE@ rm -f -v $ids >/dev/null || exit
for kind in network volume; do
    ids=$(@ENGINE@ $kind ls -q --filter @LABEL@) || exit
    [ -z "$ids" ] || @ENGINE@ $kind rm $ids >/dev/null || exit
done
# podman-compose may have made a pod for the project
engine=@ENGINE@
if [ "$engine" = podman ]; then
    ids=$(@ENGINE@ pod ls -q --filter name="^pod_@NAME@$")
    [ -z "$ids" ] || @ENGINE@ pod rm -f $ids >/dev/null || exit
fi
[ -z "$(every)" ]
