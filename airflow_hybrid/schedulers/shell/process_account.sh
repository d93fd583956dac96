# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints what became of launchers. process_status.sh stands above it.
#
# @IDS@: ids of launchers, quoted.
# stdout: `R ID`, some process of its session is alive; `G ID REASON`, it is gone.
# shellcheck disable=SC2154 # ah_boot: set above; ah_state, ah_session, ah_started: set by ah_stat

# shellcheck disable=SC2043 # the mark becomes several words
for ah_i in @IDS@; do
    ah_p=${ah_i#*:} ah_p=${ah_p%%:*}
    if [ "${ah_i%%:*}" != "$ah_boot" ]; then
        echo "G $ah_i the host was restarted"
        continue
    fi
    ah_stat "$ah_p" 2>/dev/null && [ "$ah_started" != "${ah_i##*:}" ] && ah_p=none
    ah_left=
    for ah_q in /proc/[0-9]*; do # jobs may outlive a launcher that was killed
        { ah_stat "${ah_q#/proc/}" 2>/dev/null && [ "$ah_session" = "$ah_p" ] && [ "$ah_state" != Z ]; } || continue
        ah_left=1
        break
    done
    if [ -n "$ah_left" ]; then echo "R $ah_i"; else echo "G $ah_i its launcher has ended or was killed"; fi
done
