# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# The runner on a plain host: workers that take jobs while the host, and the deployment, have cores for them. runner.sh
# stands above it.
#
# Set below it, for ah_launch: ah_me; ah_cores, what the deployment may use (empty: what the host has); ah_of, which
# deployment that is; ah_share, thousandths of a core that one job takes; ah_patience, hundredths of a second after which
# who waits is not overtaken; ah_most, the most jobs at a time.
# Files of the user's folder of this host, under a lock: `slots/PID`, who has cores (start time, thousandths, deployment);
# `slots/t.PID`, the tool that runs in them; `slots/m.PID`, the memory that it used; `slots/w.*`, who waits.
# shellcheck disable=SC2154 # variables that are set above and below it
# shellcheck disable=SC2034 # words of a line that are not needed; variables that other functions use
# shellcheck disable=SC2329 # functions that the last lines call

# this (sub)shell's process id and start time
ah_me_proc() {
    read -r ah_line </proc/self/stat
    ah_pid=${ah_line%% *}
    # shellcheck disable=SC2086 # the fields of proc(5)
    set -- ${ah_line##*") "}
    ah_started=${20}
}
# process id, start time: whether that process is there, and no zombie
ah_alive() {
    # shellcheck disable=SC2086 # the fields of proc(5)
    read -r ah_line <"/proc/$1/stat" && ah_s=$2 && set -- ${ah_line##*") "} && [ "$1" != Z ] && [ "${20}" = "$ah_s" ]
} 2>/dev/null
# -> ah_used, ah_used_own: thousandths of cores of all jobs of this user, and of this deployment
ah_count_slots() {
    ah_used=0 ah_used_own=0
    for ah_f in "$ah_slots"/[0-9]*; do
        { read -r ah_s ah_c && { read -r ah_o || ah_o=; }; } <"$ah_f" || continue
        ah_p=${ah_f##*/}
        # what is no number would end this shell
        case $ah_s$ah_c in *[!0-9]*) rm -f "$ah_f" "$ah_slots/t.$ah_p" "$ah_slots/m.$ah_p" && continue ;; esac
        if ah_alive "$ah_p" "$ah_s" ||
            { read -r ah_x ah_y <"$ah_slots/t.$ah_p" && ah_alive "$ah_x" "$ah_y"; }; then
            # its own, or that of the tool that a killed worker has left
            ah_used=$((ah_used + ah_c))
            [ "$ah_o" != "$ah_of" ] || ah_used_own=$((ah_used_own + ah_c))
        else
            rm -f "$ah_f" "$ah_slots/t.$ah_p" "$ah_slots/m.$ah_p"
        fi
    done 2>/dev/null
}
# thousandths that are to stay free of the host, and of what the deployment may use; -> ah_why
ah_fits() {
    ah_why=deployment
    [ $((ah_used_own + ah_share + $2)) -le "$ah_own_most" ] || return 1
    ah_why=host
    [ $((ah_used + ah_share + $1)) -le "$ah_host_most" ]
}
# whether it would take the room of somebody who has waited for long, and longer
ah_overtakes() {
    for ah_f in "$ah_slots"/w.*; do
        { read -r ah_p ah_s ah_since ah_c ah_x && read -r ah_o; } <"$ah_f" || continue
        case $ah_since$ah_c in *[!0-9]*) continue ;; esac
        { [ "$ah_p" != "$ah_pid" ] && ah_alive "$ah_p" "$ah_s"; } || continue
        # those who want the same stand in one line
        [ "$ah_f" != "$ah_line_up" ] || [ -n "$ah_waits" ] || return 0
        [ "$ah_since" -lt "$ah_arrived" ] || continue
        [ $((ah_t - ah_since)) -ge "$ah_patience" ] || continue
        # who waits for the own deployment's jobs to end has no use for room of the host
        ah_keep=0 ah_keep_own=0
        [ "$ah_x" = deployment ] || ah_keep=$ah_c
        [ "$ah_o" != "$ah_of" ] || ah_keep_own=$ah_c
        ah_fits "$ah_keep" "$ah_keep_own" || return 0
    done 2>/dev/null
    return 1
}
# under the host's lock, which nobody holds while waiting: take a slot, if there is room for one job
ah_try_slot() {
    exec 8>>"$ah_slots/lock"
    flock 8 8>&8
    [ -z "$ah_signal" ] || exit 0
    ah_now
    : "${ah_arrived:=$ah_t}"
    ah_count_slots
    ah_taken=
    if ah_fits 0 0 && ! ah_overtakes; then
        {
            echo "$ah_started $ah_share"
            echo "$ah_of"
        } >|"$ah_slots/$ah_pid"
        ah_taken=1
    elif [ -n "$ah_waits" ]; then # others read it under the same lock, and so never half of it
        {
            echo "$ah_pid $ah_started $ah_arrived $ah_share $ah_why"
            echo "$ah_of"
        } >|"$ah_line_up"
    fi
    exec 8>&-
    [ -n "$ah_taken" ]
}
# wait until there is room for one job; of those who want the same one asks, the others queue up behind it
ah_slot() {
    ah_arrived='' ah_waits='' ah_line_up=$ah_slots/w.$ah_of.$ah_own_most.$ah_host_most.$ah_share
    ah_try_slot && return 0
    exec 6>>"$ah_line_up"
    flock 6 6>&6
    ah_waits=1
    while :; do
        [ -z "$ah_signal" ] || exit 0
        ah_try_slot && break
        sleep 0.2
    done
    : >|"$ah_line_up"
    exec 6>&-
}
# takes jobs in order, and gives its slot back from time to time
ah_worker() {
    ah_me_proc
    ah_signals
    [ -z "$ah_timer" ] || ah_timer=$ah_slots/m.$ah_pid
    ah_j=0
    while :; do
        while [ -e "c/$ah_j" ]; do ah_j=$((ah_j + 1)); done
        [ $ah_j -lt "$ah_n" ] || return 0
        ah_stop && return 0
        ah_slot
        ah_now
        ah_count_cpu
        ah_began=$ah_t
        while [ $ah_j -lt "$ah_n" ] && [ $((ah_t - ah_began)) -lt "$ah_pack" ]; do
            ah_take $ah_j
            ah_j=$((ah_j + 1))
        done
        rm -f "$ah_slots/$ah_pid" "$ah_slots/t.$ah_pid" "$ah_slots/m.$ah_pid"
    done
}
# as many workers as the host can feed
ah_launch() {
    # per host and user, whatever the work directory
    ah_own || exit 73
    ah_slots=$ah_mine/slots
    mkdir -p "$ah_slots" || exit 73
    find "$ah_slots" -name 'w.*' -mtime +1 -exec rm -f {} + 2>/dev/null # who waits writes his
    # a deployment's `cores` is of its own jobs (and may be more than the host has: that is its user's choice)
    ah_host_most=$(($(nproc) * 1000))
    ah_cores=${ah_cores:-$((ah_host_most / 1000))}
    ah_own_most=$((ah_cores * 1000))
    [ $ah_host_most -ge $ah_own_most ] || ah_host_most=$ah_own_most
    [ "$ah_share" -le $((ah_cores * 1000)) ] || ah_share=$((ah_cores * 1000))
    ah_w=$((ah_cores * 1000 / ah_share))
    [ $ah_w -le "$ah_most" ] || ah_w=$ah_most
    [ "$ah_w" -le "$ah_n" ] || ah_w=$ah_n
    ah_find_memory
    ah_find_time "$ah_slots"
    while [ "$ah_w" -gt 0 ]; do
        ah_worker &
        ah_w=$((ah_w - 1))
    done
    wait
}
