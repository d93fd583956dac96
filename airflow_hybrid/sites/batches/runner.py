# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner: shell text that pulls the jobs of a batch and runs one after the other."""

from __future__ import annotations

from airflow_hybrid.model.clean_shell import CLEAN_RESTART
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.batches.script import SHARD, shell_word


def runner(directory: str, jobs: int, pack_s: float, tail: str) -> str:
    """``runner.sh`` of a batch; ``tail`` comes from the scheduler."""
    head = f"ah_B={shell_word(directory)}\nah_n={jobs}\nah_pack={round(pack_s * 100)}\nah_shard={SHARD}\n"
    return f"#!/bin/sh\n{CLEAN_RESTART}{head}{removal.functions()}{RUNNER}{tail}"


RUNNER = r"""cd "$ah_B" || exit 73
ah_node=$(uname -n)
[ -r /proc/uptime ] &&
    ah_now() { read -r ah_t ah_x </proc/uptime; ah_t=$((${ah_t%.*} * 100 + 1${ah_t#*.} - 100)); } ||
    ah_now() { ah_t=$(($(date +%s) * 100)); }
ah_loaded=' ' ah_failed=0 ah_reserved='' ah_signal='' ah_memory='' ah_slots=''
ah_signals() { # a shell that waits for a job hears of a signal when the job has ended: it is noted beside the exit code
    for ah_x in TERM INT HUP USR1 USR2 XCPU; do
        trap "ah_signal=$ah_x" "$ah_x"
    done
}
ah_stop() { # whether no further job is to be begun
    [ -n "$ah_signal" ] || [ -e cancelled ]
}
ah_full() { # the file system takes nothing more
    { echo full 1<> "$ah_B/disk"; } 2>/dev/null
    echo "airflow_hybrid: the file system of $ah_B is full" >&2
}
ah_note() { # how the job $ah_i ended: in a file of its own, or else behind its claim
    { echo "$1" >|"$ah_B/ec/$ah_i" && [ -s "$ah_B/ec/$ah_i" ]; } 2>/dev/null && return 0
    ah_full
    { echo "ended $1" >>"$ah_B/c/$ah_i"; } 2>/dev/null && return 0
    sleep 1 # a file system that copies what is overwritten may have room again soon
    echo "$1" >|"$ah_B/ec/$ah_i"
}
ah_straight() { # a relative path: there is no link on it
    ah_p='' ah_r=$1
    while :; do
        ah_p=$ah_p${ah_r%%/*}
        [ ! -h "$ah_p" ] || return 1
        case $ah_r in */*) ah_p=$ah_p/ ah_r=${ah_r#*/} ;; *) return 0 ;; esac
    done
}
ah_bad() { # in a job's subshell: it could not be started
    ah_note "- $1"
    exit 71
}
ah_own() { # -> ah_mine: a folder on this host that is this user's and nobody else's, whatever others laid in /tmp
    # mkdir follows no link and makes no folder that is there; in /tmp (sticky) nobody else can put one in its place
    for ah_mine in "/tmp/airflow_hybrid-$(id -u)" "$ah_B/host-$(uname -n)"; do
        mkdir -m 700 "$ah_mine" 2>/dev/null
        [ -d "$ah_mine" ] && [ ! -h "$ah_mine" ] && [ -O "$ah_mine" ] && chmod 700 "$ah_mine" && return 0
    done
    echo "airflow_hybrid: there is no folder for locks of this host, not in /tmp and not in $ah_B" >&2
    return 1
}
ah_find_memory() { # -> ah_memory: where the kernel counts what it killed here for lack of memory (cgroups(7), v2, v1)
    [ -r /proc/self/cgroup ] || return 0
    while IFS=: read -r ah_x ah_y ah_path; do
        case ,$ah_y, in
        *,memory,*) ah_path=/sys/fs/cgroup/memory${ah_path%/}/memory.oom_control ;;
        ,,) ah_path=/sys/fs/cgroup${ah_path%/}/memory.events ;;
        *) continue ;;
        esac
        [ ! -r "$ah_path" ] || ah_memory=$ah_path
    done </proc/self/cgroup
}
ah_count_kills() { # -> ah_kills
    ah_kills=0
    [ -r "$ah_memory" ] || return 0
    while read -r ah_x ah_y; do
        [ "$ah_x" != oom_kill ] || ah_kills=$ah_y
    done <"$ah_memory"
}
ah_image() { # brings an image to this host, unless it is there: once, whoever needs it
    sh -c "$1" && return 0
    ah_own || return 1
    (exec 8>>"$ah_mine/image.lock" && flock 8 && { sh -c "$1" || sh -c "$2"; })
}
ah_point() { # something of the kind of $1 to mount it at
    if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "${2%/*}" && [ -e "$2" ] || : >>"$2"; fi 2>/dev/null
}
ah_relink() { # pairs: path in the container, path here. Absolute links in the output directory lead to what is meant
    /usr/bin/env find . -type l -lname '/*' -exec sh -c '
        ah_l=$1 ah_t=$(readlink -- "$1" && echo x) ah_t=${ah_t%?x}
        shift
        while [ $# -gt 1 ]; do
            case $ah_t in "$1" | "$1"/*) exec ln -sfn -- "$2${ah_t#"$1"}" "$ah_l" ;; esac
            shift 2
        done' sh {} "$@" ';'
}
ah_unbox() { # client, name of a container: it ends, and nothing of it is left
    # killed first: `podman rm` asks politely, and must not be interrupted while it waits
    case $1 in docker | podman) "$1" kill "$2"; "$1" rm -f "$2" ;; esac >/dev/null 2>&1 </dev/null
    rm -f ../box
}
ah_box() { # client, name of the container, command: the job ends with its container, and the container with the job
    [ ! -e ../box ] || ah_unbox "$1" "$2"
    echo "$1 $2" >|../box
    ah_client=$1 ah_name=$2
    shift 2
    trap 'ah_unbox "$ah_client" "$ah_name"; exit 143' TERM INT HUP
    exec 7<&0
    "$@" <&7 7<&- &
    wait $!
    ah_code=$?
    # the daemon's containers are in cgroups of its own, where the runner cannot count
    if [ "$ah_client" = docker ] &&
        [ "$(docker inspect --format '{{.State.OOMKilled}}' "$ah_name" 2>/dev/null </dev/null)" = true ]; then
        { echo oom >>"$ah_B/c/$ah_i"; } 2>/dev/null
    fi
    # its time was up, or the client was killed: the container need not know
    case $ah_client:$ah_code in *:124 | *:137 | *:143) ah_unbox "$ah_client" "$ah_name" ;; esac
    [ "$ah_client" != docker ] || docker rm -f "$ah_name" >/dev/null 2>&1 </dev/null
    rm -f ../box
    ah_links
    exit $ah_code
}
ah_fail() { # the element ends as its first job that failed, unless that would mean something else to the scheduler
    case $ah_reserved in
    all) ;;
    *" $ah_code "*) ah_failed=1 ;;
    *) ah_failed=$ah_code ;;
    esac
}
ah_note_tool() { # in a job's subshell, which becomes the tool: it has the slot of its worker, even if that is killed
    [ -n "$ah_slots" ] && read -r ah_line </proc/self/stat || return 0
    ah_x=${ah_line%% *}
    set -- ${ah_line##*") "}
    echo "$ah_x ${20}" >|"$ah_slots/t.$ah_pid"
}
ah_run() { # the job $1, which is ours; ah_t was read a moment ago, and is again at its end
    ah_i=$1 ah_k=$(($1 / ah_shard))
    case $ah_loaded in *" $ah_k "*) ;; *)
        . "$ah_B/jobs.$ah_k.sh"
        ah_loaded="$ah_loaded$ah_k " ;;
    esac
    ah_t0=$ah_t
    ah_count_kills
    ah_kills0=$ah_kills
    (ah_note_tool; ah_j"$ah_i")
    ah_code=$?
    [ $ah_code -lt 256 ] || ah_code=$((ah_code - 128)) # how ksh tells a signal
    unset -f "ah_j$ah_i"
    ah_now
    # whoever ends the whole element (time limit, requeue, cancel) signals the tool first: then this is no exit code
    case $ah_code in 137 | 143) sleep 1 ;; esac
    [ $ah_failed != 0 ] || ah_fail
    [ $ah_code = 71 ] && [ -s "ec/$ah_i" ] && return 0
    ah_count_kills
    ah_marks=${ah_signal:+ $ah_signal}
    [ "$ah_kills" = "$ah_kills0" ] || ah_marks="$ah_marks oom=$((ah_kills - ah_kills0))"
    ah_note "$ah_code $((ah_t - ah_t0))$ah_marks node=$ah_node"
}
ah_take() { # run the job $1; 1 if another runner has it
    [ -e "c/$1" ] && return 1
    ah_stop && exit "$ah_failed"
    set -C
    if { true >"c/$1"; } 2>/dev/null; then
        set +C
        if { echo "$ah_me" >|"c/$1" && [ -s "c/$1" ]; } 2>/dev/null; then
            ah_run "$1"
        else # it is ours, and cannot be begun
            ah_full
            exit 74
        fi
    else
        set +C
        [ -e "c/$1" ] && return 1
        echo "airflow_hybrid: cannot write to $ah_B/c" >&2
        exit 73
    fi
}
ah_unfinished() { # whether the job $ah_j left no exit code, or one that a signal made doubtful
    [ -s "ec/$ah_j" ] || return 0
    read -r ah_x ah_y ah_marks <"ec/$ah_j"
    case $ah_x:$ah_marks in -:*) return 1 ;; *[A-Z]*) return 0 ;; *) return 1 ;; esac
}
ah_again() { # put back into the queue: jobs that this element had begun are begun anew
    ah_j=0
    while read -r ah_key; do
        if [ -e "c/$ah_j" ] && read -r ah_x <"c/$ah_j" && [ "$ah_x" = "$ah_me" ] && ah_unfinished; then
            ah_x=
            [ ! -f "./$ah_key/box" ] || read -r ah_x <"./$ah_key/box" # its container may still run
            ah_old="$ah_key/out $ah_key/tmp"
            [ ! -e stage.tar ] || ah_old=$ah_key # whole: the job may have put links where its inputs go
            if ah_why=$(for ah_f in $ah_old; do ah_rm "$ah_B" "$ah_f" || exit; done 2>&1); then
                mkdir -p "./$ah_key/out" "./$ah_key/tmp"
                [ -z "$ah_x" ] || echo "$ah_x" >"./$ah_key/box"
                [ ! -e stage.tar ] || tar -xof stage.tar "./$ah_key" 2>/dev/null
                ah_run $ah_j
            else
                ah_i=$ah_j
                ah_note "- it cannot begin anew: $ah_why"
            fi
        fi
        ah_j=$((ah_j + 1))
    done <manifest
}
ah_element() { # one element of an array: its own job and, while it is young, others; ends as the first that failed
    [ "$ah_restarts" = 0 ] && [ -e c/all ] && return 0
    ah_signals
    ah_find_memory
    ah_now
    ah_began=$ah_t
    [ "$ah_restarts" = 0 ] || ah_again
    [ -e c/all ] && return "$ah_failed"
    ah_take "$ah_first"
    ah_j=$ah_n # from the end, where elements start last
    while [ $((ah_t - ah_began)) -lt $ah_pack ]; do
        [ -z "$ah_signal" ] || return "$ah_failed" # who was signalled may be begun again, and has then work left
        ah_j=$((ah_j - 1))
        if [ $ah_j -lt 0 ]; then
            true >|c/all
            ah_drained
            return "$ah_failed"
        fi
        ah_take $ah_j
    done
    return "$ah_failed"
}
ah_me_proc() { # this (sub)shell's process id and start time
    read -r ah_line </proc/self/stat
    ah_pid=${ah_line%% *}
    set -- ${ah_line##*") "}
    ah_started=${20}
}
ah_alive() { # process id, start time: whether that process is there
    read -r ah_line <"/proc/$1/stat" && ah_s=$2 && set -- ${ah_line##*") "} && [ "${20}" = "$ah_s" ]
} 2>/dev/null
ah_count_slots() { # -> ah_used, ah_used_own: thousandths of cores of all jobs of this user, and of this deployment
    ah_used=0 ah_used_own=0
    for ah_f in "$ah_slots"/[0-9]*; do
        { read -r ah_s ah_c && { read -r ah_o || ah_o=; }; } <"$ah_f" || continue
        ah_p=${ah_f##*/}
        if ah_alive "$ah_p" "$ah_s" ||
            { read -r ah_x ah_y <"$ah_slots/t.$ah_p" && ah_alive "$ah_x" "$ah_y"; }; then
            # its own, or that of the tool that a killed worker has left
            ah_used=$((ah_used + ah_c))
            [ "$ah_o" != "$ah_of" ] || ah_used_own=$((ah_used_own + ah_c))
        else
            rm -f "$ah_f" "$ah_slots/t.$ah_p"
        fi
    done 2>/dev/null
}
ah_fits() { # thousandths that are to stay free of the host, and of what the deployment may use; -> ah_why
    ah_why=deployment
    [ $((ah_used_own + ah_share + $2)) -le $ah_own_most ] || return 1
    ah_why=host
    [ $((ah_used + ah_share + $1)) -le $ah_host_most ]
}
ah_overtakes() { # whether it would take the room of somebody who has waited for long, and longer
    for ah_f in "$ah_slots"/w.*; do
        { read -r ah_p ah_s ah_since ah_c ah_x && read -r ah_o; } <"$ah_f" || continue
        [ "$ah_p" != "$ah_pid" ] && ah_alive "$ah_p" "$ah_s" || continue
        # those who want the same stand in one line
        [ "$ah_f" != "$ah_line_up" ] || [ -n "$ah_waits" ] || return 0
        [ "$ah_since" -lt "$ah_arrived" ] && [ $((ah_t - ah_since)) -ge $ah_patience ] || continue
        # who waits for the own deployment's jobs to end has no use for room of the host
        ah_keep=0 ah_keep_own=0
        [ "$ah_x" = deployment ] || ah_keep=$ah_c
        [ "$ah_o" != "$ah_of" ] || ah_keep_own=$ah_c
        ah_fits $ah_keep $ah_keep_own || return 0
    done 2>/dev/null
    return 1
}
ah_try_slot() { # under the host's lock, which nobody holds while waiting: take a slot, if there is room for one job
    exec 8>>"$ah_slots/lock"
    flock 8 8>&8
    [ -z "$ah_signal" ] || exit 0
    ah_now
    : "${ah_arrived:=$ah_t}"
    ah_count_slots
    ah_taken=
    if ah_fits 0 0 && ! ah_overtakes; then
        { echo "$ah_started $ah_share"; echo "$ah_of"; } >|"$ah_slots/$ah_pid"
        ah_taken=1
    elif [ -n "$ah_waits" ]; then # others read it under the same lock, and so never half of it
        { echo "$ah_pid $ah_started $ah_arrived $ah_share $ah_why"; echo "$ah_of"; } >|"$ah_line_up"
    fi
    exec 8>&-
    [ -n "$ah_taken" ]
}
ah_slot() { # wait until there is room for one job; of those who want the same one asks, the others queue up behind it
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
ah_worker() { # takes jobs in order, and gives its slot back from time to time
    ah_me_proc
    ah_signals
    ah_j=0
    while :; do
        while [ -e "c/$ah_j" ]; do ah_j=$((ah_j + 1)); done
        [ $ah_j -lt $ah_n ] || return 0
        ah_stop && return 0
        ah_slot
        ah_now
        ah_began=$ah_t
        while [ $ah_j -lt $ah_n ] && [ $((ah_t - ah_began)) -lt $ah_pack ]; do
            ah_take $ah_j
            ah_j=$((ah_j + 1))
        done
        rm -f "$ah_slots/$ah_pid" "$ah_slots/t.$ah_pid"
    done
}
ah_launch() { # as many workers as the host can feed
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
    [ $ah_share -le $((ah_cores * 1000)) ] || ah_share=$((ah_cores * 1000))
    ah_w=$((ah_cores * 1000 / ah_share))
    [ $ah_w -le $ah_most ] || ah_w=$ah_most
    [ $ah_w -le $ah_n ] || ah_w=$ah_n
    ah_find_memory
    while [ $ah_w -gt 0 ]; do
        ah_worker &
        ah_w=$((ah_w - 1))
    done
    wait
}
"""
