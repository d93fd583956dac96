# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# ah_start PART: starts the launcher of a batch in a session of its own, which outlives the connection, without variables
# that are of the connection. sites/batches/shell/submit.sh calls it, holding the lock of the task directory.
#
# The launcher has the lock until it has written its id. Return code: 0 and ah_id; 1 and ah_said, why it did not start.
# shellcheck disable=SC2154 # ah_B, ah_T, ah_unlocked: set by the submit command
# shellcheck disable=SC2034 # ah_said: for the submit command

ah_start() {
    env -i PATH="$PATH" ${HOME+"HOME=$HOME"} ${USER+"USER=$USER"} ${LOGNAME+"LOGNAME=$LOGNAME"} \
        ${SHELL+"SHELL=$SHELL"} ${LANG+"LANG=$LANG"} ${LC_ALL+"LC_ALL=$LC_ALL"} ${LC_CTYPE+"LC_CTYPE=$LC_CTYPE"} \
        ${TZ+"TZ=$TZ"} setsid /bin/sh "$ah_B/launch.sh" </dev/null >>"$ah_B/log" 2>&1 &
    if [ -z "$ah_unlocked" ]; then
        exec 9>&-
        exec 9>>"$ah_T/lock"
        flock 9
    else # nothing tells when the launcher gives the lock up
        ah_left=20
        while [ ! -s "$ah_B/jobid.0" ] && [ "$ah_left" -gt 0 ]; do
            kill -0 $! 2>/dev/null || ah_left=$((ah_left - 1))
            sleep 0.1 2>/dev/null || sleep 1
        done
    fi
    ah_id=
    ah_said=
    [ -s "$ah_B/jobid.0" ] && read -r ah_id <"$ah_B/jobid.0" && return 0
    ah_said=$(tail -c 1000 "$ah_B/log")
    return 1
}
