# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Functions of a plain host for commands about batch directories (sites/batches/shell/common.sh says what they are).
# process_stat.sh stands above it. An id is BOOT-ID:PROCESS:START-TIME of a launcher.
# shellcheck disable=SC2154 # ah_state, ah_session, ah_started: set by ah_stat

# ends every process of the launchers' sessions
ah_cancel() {
    read -r ah_boot </proc/sys/kernel/random/boot_id
    for ah_signal in TERM TERM KILL KILL 0; do # the last one only looks
        ah_found=
        for ah_c; do
            [ "${ah_c%%:*}" = "$ah_boot" ] || continue
            ah_pid=${ah_c#*:} ah_pid=${ah_pid%%:*}
            if ah_stat "$ah_pid" 2>/dev/null && [ "$ah_started" != "${ah_c##*:}" ]; then continue; fi
            for ah_p in /proc/[0-9]*; do
                ah_stat "${ah_p#/proc/}" 2>/dev/null || continue
                { [ "$ah_session" = "$ah_pid" ] && [ "$ah_state" != Z ]; } || continue
                kill -s "$ah_signal" "${ah_p#/proc/}" 2>/dev/null && ah_found=1
            done
        done
        [ -n "$ah_found" ] || return 0
        sleep 0.3
    done
    echo 'some of its processes do not end'
    return 1
}
ah_cancel_name() { :; }
ah_need() { command -v setsid >/dev/null 2>&1 || echo setsid; }
# the launcher writes its id itself, while the lock is held: no id, no launcher
# shellcheck disable=SC2034 # for the command
ah_find() { ah_id=; }
