# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# The runner: pulls the jobs of a batch and runs one after the other. launcher.sh stands below it, and then what a
# scheduler adds.
#
# Set above it: ah_B, the batch directory; ah_n, the number of its jobs; ah_pack, hundredths of a second for which an
# element takes further jobs; ah_shard, the number of jobs in a file `jobs.N.sh`, each of which is a function ah_jJOB.
# Functions of removal/shell/functions.sh and of memory.sh stand above it, too.
# Set below it, for an element of an array (ah_element): ah_me, its id; ah_first, its own job; ah_restarts, how often it
# was begun before; ah_reserved, exit codes that mean something else to the scheduler; ah_drained, called when no job is
# left; ah_group, for ah_find_peak, or nothing; ah_timed, if time(1) is to measure where that finds nothing.
# Files of the batch directory: `c/JOB`, who runs it; `ec/JOB`, how it ended: exit code (`-`: it was not started),
# hundredths of a second, what was noticed (words, node=, at=: hundredths of a second since 1970, cpu=: hundredths of a
# second of processor time, mem=: MiB); `f/JOB`, it did not end well; `cancelled`, no further job is begun; `disk`, `full` where it was.
# Exit codes: of the first job that failed; 73, 74: its files cannot be written.
# shellcheck disable=SC2154 # variables that are set above and below it
# shellcheck disable=SC2034 # words of a line that are not needed; variables that other functions use
# shellcheck disable=SC2329 # functions that jobs and the last lines call
# shellcheck disable=SC2317 # the same

cd "$ah_B" || exit 73
ah_node=$(uname -n)
if [ -r /proc/uptime ]; then
    ah_now() {
        read -r ah_t ah_x </proc/uptime
        ah_t=$((${ah_t%.*} * 100 + 1${ah_t#*.} - 100))
    }
else
    ah_now() { ah_t=$(($(date +%s) * 100)); }
fi
# when ah_now counted 0, in hundredths of a second since 1970
ah_now
ah_epoch=$(date +%s%N)
case $ah_epoch in
*[!0-9]*) ah_epoch=$(($(date +%s) * 100 - ah_t)) ;; # this date knows no parts of a second
*) ah_epoch=$((ah_epoch / 10000000 - ah_t)) ;;
esac
# -> ah_cpu: hundredths of a second of processor time of what this shell started and saw end (proc(5), cutime and cstime)
ah_count_cpu() {
    ah_cpu='' ah_c=''
    { read -r ah_x ah_c ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_x ah_u ah_s ah_x; } \
        2>/dev/null </proc/self/stat
    case $ah_c in '('*')') ah_cpu=$((ah_u + ah_s)) ;; esac # a name with a space moves the other fields
}
ah_loaded=' ' ah_failed=0 ah_reserved='' ah_signal='' ah_memory='' ah_slots='' ah_last='' ah_last_said=''
ah_group=''
# a shell that waits for a job hears of a signal when the job has ended: it is noted beside the exit code
ah_signals() {
    for ah_x in TERM INT HUP USR1 USR2 XCPU; do
        # shellcheck disable=SC2064 # the signal that it is set for
        trap "ah_signal=$ah_x" "$ah_x"
    done
}
# whether no further job is to be begun
ah_stop() {
    [ -n "$ah_signal" ] || [ -e cancelled ]
}
# the file system takes nothing more
ah_full() {
    { echo full 1<>"$ah_B/disk"; } 2>/dev/null
    echo "airflow_hybrid: the file system of $ah_B is full" >&2
}
# how the job $ah_i ended: in a file of its own, or else behind its claim
ah_note() {
    case $1 in
    '0 '*) [ ! -e "$ah_B/f/$ah_i" ] || rm -f "$ah_B/f/$ah_i" ;; # it was begun anew
    *) { true >|"$ah_B/f/$ah_i"; } 2>/dev/null ;;
    esac
    { echo "$1" >|"$ah_B/ec/$ah_i" && [ -s "$ah_B/ec/$ah_i" ]; } 2>/dev/null && return 0
    ah_full
    { echo "ended $1" >>"$ah_B/c/$ah_i"; } 2>/dev/null && return 0
    sleep 1 # a file system that copies what is overwritten may have room again soon
    echo "$1" >|"$ah_B/ec/$ah_i"
}
# a relative path: there is no link on it
ah_straight() {
    ah_p='' ah_r=$1
    while :; do
        ah_p=$ah_p${ah_r%%/*}
        [ ! -h "$ah_p" ] || return 1
        case $ah_r in */*) ah_p=$ah_p/ ah_r=${ah_r#*/} ;; *) return 0 ;; esac
    done
}
# in a job's subshell: it could not be started
ah_bad() {
    ah_note "- $1"
    exit 71
}
# -> ah_mine: a folder on this host that is this user's and nobody else's, whatever others laid in /tmp
ah_own() {
    # mkdir follows no link and makes no folder that is there; in /tmp (sticky) nobody else can put one in its place
    # shellcheck disable=SC3067 # dash, bash, busybox, ksh and zsh have -O
    for ah_mine in "/tmp/airflow_hybrid-$(id -u)" "$ah_B/host-$(uname -n)"; do
        mkdir -m 700 "$ah_mine" 2>/dev/null
        [ -d "$ah_mine" ] && [ ! -h "$ah_mine" ] && [ -O "$ah_mine" ] && chmod 700 "$ah_mine" && return 0
    done
    echo "airflow_hybrid: there is no folder for locks of this host, not in /tmp and not in $ah_B" >&2
    return 1
}
# -> ah_memory, ah_kills: where the kernel counts what it killed here for lack of memory (cgroups(7), v2, v1)
ah_find_memory() {
    ah_kills=0
    [ -r /proc/self/cgroup ] || return 0
    while IFS=: read -r ah_x ah_y ah_path; do
        case ,$ah_y, in
        *,memory,*) ah_path=/sys/fs/cgroup/memory${ah_path%/}/memory.oom_control ;;
        ,,) ah_path=/sys/fs/cgroup${ah_path%/}/memory.events ;;
        *) continue ;;
        esac
        [ ! -r "$ah_path" ] || ah_memory=$ah_path
    done </proc/self/cgroup
    ah_count_kills
}
# -> ah_kills
ah_count_kills() {
    ah_kills=0
    [ -r "$ah_memory" ] || return 0
    while read -r ah_x ah_y; do
        [ "$ah_x" != oom_kill ] || ah_kills=$ah_y
    done <"$ah_memory"
}
# brings an image to this host, unless it is there: once, whoever needs it
ah_image() {
    sh -c "$1" && return 0
    ah_own || return 1
    (exec 8>>"$ah_mine/image.lock" && flock 8 && { sh -c "$1" || sh -c "$2"; })
}
# something of the kind of $1 to mount it at
ah_point() {
    if [ -d "$1" ]; then
        mkdir -p "$2"
    else
        mkdir -p "${2%/*}"
        [ -e "$2" ] || : >>"$2"
    fi 2>/dev/null
}
# pairs: path in the container, path here. Absolute links in the output directory lead to what is meant
ah_relink() {
    # shellcheck disable=SC2016 # the text is for the shell that is started
    /usr/bin/env find . -type l -lname '/*' -exec sh -c '
        ah_l=$1 ah_t=$(readlink -- "$1" && echo x) ah_t=${ah_t%?x}
        shift
        while [ $# -gt 1 ]; do
            case $ah_t in "$1" | "$1"/*) exec ln -sfn -- "$2${ah_t#"$1"}" "$ah_l" ;; esac
            shift 2
        done' sh {} "$@" ';'
}
# client, name of a container: it ends, and nothing of it is left
ah_unbox() {
    # killed first: `podman rm` asks politely, and must not be interrupted while it waits
    case $1 in docker | podman)
        "$1" kill "$2"
        "$1" rm -f "$2"
        ;;
    esac >/dev/null 2>&1 </dev/null
    rm -f ../box
}
# a job in a container is ended by a signal. The client ends first: it may have been started a moment ago, and would start
# the container later
ah_end_box() {
    trap '' TERM INT HUP
    case $ah_client in docker | podman)
        [ "$!" = "$ah_before" ] || ah_run=$!
        if [ -n "$ah_run" ]; then
            # timeout(1) and the client that it has started are a process group
            kill -s KILL -- "-$ah_run" || kill -s KILL "$ah_run"
            wait "$ah_run"
        fi
        # if it is not there: what a daemon was asked for a moment ago is there soon
        "$ah_client" kill "$ah_name" || sleep 1
        ;;
    esac >/dev/null 2>&1 </dev/null
    ah_unbox "$ah_client" "$ah_name"
    exit 143
}
# client, name of the container, command: the job ends with its container, and the container with the job
ah_box() {
    [ ! -e ../box ] || ah_unbox "$1" "$2"
    echo "$1 $2" >|../box
    ah_client=$1 ah_name=$2 ah_run='' ah_before=$!
    shift 2
    trap ah_end_box TERM INT HUP
    exec 7<&0
    case $ah_client in
    docker | podman) "$@" <&7 7<&- & ;; # the container's processes are no children of its client
    *) ah_exec "$@" <&7 7<&- & ;;
    esac
    ah_run=$!
    wait "$ah_run"
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
# the element ends as its first job that failed, unless that would mean something else to the scheduler
ah_fail() {
    case $ah_reserved in
    all) ;;
    *" $ah_code "*) ah_failed=1 ;;
    *) ah_failed=$ah_code ;;
    esac
}
# in a job's subshell, which becomes the tool: it has the slot of its worker, even if that is killed
ah_note_tool() {
    [ -n "$ah_slots" ] && read -r ah_line </proc/self/stat || return 0
    ah_x=${ah_line%% *}
    # shellcheck disable=SC2086 # the fields of proc(5)
    set -- ${ah_line##*") "}
    echo "$ah_x ${20}" >|"$ah_slots/t.$ah_pid"
}
# the job $1, which is ours; ah_t and ah_cpu were read a moment ago, and are again at its end
ah_run() {
    ah_i=$1 ah_k=$(($1 / ah_shard))
    case $ah_loaded in *" $ah_k "*) ;; *)
        # shellcheck disable=SC1090 # written with the batch
        . "$ah_B/jobs.$ah_k.sh"
        ah_loaded="$ah_loaded$ah_k "
        ;;
    esac
    ah_t0=$ah_t
    ah_kills0=$ah_kills
    ah_cpu0=$ah_cpu
    # where it cannot be written to, time(1) would not begin
    [ -z "$ah_timer" ] || { true >|"$ah_timer"; } 2>/dev/null || ah_timer=
    (
        ah_note_tool
        ah_j"$ah_i"
    )
    ah_code=$?
    [ $ah_code -lt 256 ] || ah_code=$((ah_code - 128)) # how ksh tells a signal
    unset -f "ah_j$ah_i"
    ah_now
    ah_count_cpu
    ah_read_used
    # whoever ends the whole element (time limit, requeue, cancel) signals the tool first: then this is no exit code
    case $ah_code in 137 | 143) sleep 1 ;; esac
    [ $ah_failed != 0 ] || ah_fail
    [ $ah_code = 71 ] && [ -s "ec/$ah_i" ] && return 0
    ah_count_kills
    ah_marks=${ah_signal:+ $ah_signal}
    [ "$ah_kills" = "$ah_kills0" ] || ah_marks="$ah_marks oom=$((ah_kills - ah_kills0))"
    # a signal so soon after the job before had ended may have been on its way when that ended
    [ -z "$ah_signal" ] || [ $((ah_t - ah_t0)) -gt 100 ] || ah_doubt
    ah_last=$ah_i ah_last_said="$ah_code $((ah_t - ah_t0))$ah_marks"
    ah_last_more="node=$ah_node at=$((ah_epoch + ah_t0))${ah_cpu0:+${ah_cpu:+ cpu=$((ah_cpu - ah_cpu0))}}"
    ah_last_more="$ah_last_more${ah_used:+ mem=$ah_used}"
    ah_note "$ah_last_said $ah_last_more"
}
# Adds the runner's signal to what was noted of the job that ended last. Processes are signalled one after the other: a
# tool that ends itself when it is signalled may be faster than the signal to its runner.
ah_doubt() {
    case $ah_last:$ah_last_said in : | *[A-Z]*) return 0 ;; esac
    ah_this=$ah_i ah_i=$ah_last
    ah_note "$ah_last_said $ah_signal $ah_last_more"
    ah_i=$ah_this
}
# before an element ends that ran a job: a signal that is on its way is waited for
ah_leave() {
    [ -n "$ah_signal$ah_last" ] || return 0
    [ -n "$ah_signal" ] || sleep 0.1 2>/dev/null # not every sleep knows parts of a second
    [ -z "$ah_signal" ] || ah_doubt
}
# run the job $1; 1 if another runner has it
ah_take() {
    [ -e "c/$1" ] && return 1
    if ah_stop; then
        ah_leave
        exit "$ah_failed"
    fi
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
# whether the job $ah_j left no exit code, or one that a signal made doubtful
ah_unfinished() {
    [ -s "ec/$ah_j" ] || return 0
    read -r ah_x ah_y ah_marks <"ec/$ah_j"
    case $ah_x:$ah_marks in -:*) return 1 ;; *[A-Z]*) return 0 ;; *) return 1 ;; esac
}
# put back into the queue: jobs that this element had begun are begun anew
ah_again() {
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
                ah_count_cpu
                ah_run $ah_j
            else
                ah_i=$ah_j
                ah_note "- it cannot begin anew: $ah_why"
            fi
        fi
        ah_j=$((ah_j + 1))
    done <manifest
}
# one element of an array: its own job and, while it is young, others; ends as the first that failed
ah_element() {
    [ "$ah_restarts" = 0 ] && [ -e c/all ] && return 0
    ah_signals
    ah_find_memory
    ah_find_peak "$ah_group"
    if [ -n "$ah_timed" ] && [ -z "$ah_peak" ] && ah_own 2>/dev/null; then
        ah_find_time "$ah_mine"
        ah_timed=$ah_timer
        trap 'rm -f "$ah_timed"' EXIT
    fi
    ah_now
    ah_began=$ah_t
    [ "$ah_restarts" = 0 ] || ah_again
    [ -e c/all ] && return "$ah_failed"
    ah_count_cpu
    ah_take "$ah_first"
    # from the end, where elements start last; who was signalled may be begun again, and has then work left
    ah_j=$ah_n
    while [ $((ah_t - ah_began)) -lt "$ah_pack" ] && [ -z "$ah_signal" ]; do
        ah_j=$((ah_j - 1))
        if [ $ah_j -lt 0 ]; then
            true >|c/all
            ah_drained
            break
        fi
        ah_take $ah_j
    done
    ah_leave
    return "$ah_failed"
}
