# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# The runner's view of the memory that jobs use. runner.sh stands below it.
#
# ah_exec becomes a job's command, for which ah_there has looked; after the job, ah_read_used sets ah_used: the most memory that it used at a time, in
# MiB, or nothing. Who knows that is found once: on a plain host time(1), by ah_find_time; in an element that is alone in
# a cgroup the kernel, by ah_find_peak; in one of a queue system that keeps no account of memory (ah_timed) time(1), too.
# shellcheck disable=SC2034 # variables that other functions use
# shellcheck disable=SC2329 # functions that jobs and the runner call
# shellcheck disable=SC2317 # the same

ah_used='' ah_timer='' ah_times=1 ah_peak='' ah_high=0 ah_timed=''

# in a job's subshell: a program that is not there is told in a shell's words; time(1), timeout(1) and env(1) have others
ah_there() {
    ah_x=${PATH:-}:
    case $1 in
    */*) [ ! -e "$1" ] || return 0 ;;
    *)
        [ "$ah_x" != : ] || return 0 # the shell knows where to look
        while [ -n "$ah_x" ]; do
            ah_y=${ah_x%%:*}
            [ ! -e "${ah_y:-.}/$1" ] || return 0
            ah_x=${ah_x#*:}
        done
        ;;
    esac
    printf 'sh: %s: not found\n' "$1" >&2
    exit 127
}
ah_exec() {
    [ -z "$ah_timer" ] || exec /usr/bin/time -f %M -o "$ah_timer" "$@"
    exec "$@"
}
# -> ah_x: the number in the last line of a file, which may be missing
ah_last_number() {
    ah_x='' ah_y=''
    { while read -r ah_y; do ah_x=$ah_y; done <"$1"; } 2>/dev/null
    case $ah_x in '' | *[!0-9]* | ???????????????*) ah_x= ;; esac
}
# Folder for its answers. Whether time(1) is there, tells how a command was killed, and in which unit it counts memory
# (GNU time before 1.8 shows four times as much): a shell looks at its own memory and kills itself
ah_find_time() {
    [ -x /usr/bin/time ] || return 0
    ah_timer=$1/m.$$
    # shellcheck disable=SC2016 # the text is for the shell that is started
    ah_seen=$(/usr/bin/time -f %M -o "$ah_timer" /bin/sh -c 'while read -r k n u; do
        [ "$k" != VmHWM: ] || echo "$n"
    done </proc/$$/status
    kill -9 $$' 2>/dev/null)
    ah_code=$?
    ah_last_number "$ah_timer"
    rm -f "$ah_timer"
    case $ah_code:$ah_seen:$ah_x in
    137:0:* | 137::* | 137:*: | 137:*[!0-9:]*) ah_timer= ;;
    137:*)
        ah_y=$((ah_x * 10 / ah_seen))
        if [ $ah_y -ge 7 ] && [ $ah_y -lt 24 ]; then
            ah_times=1
        elif [ $ah_y -ge 28 ] && [ $ah_y -lt 96 ]; then
            ah_times=4
        else
            ah_timer=
        fi
        ;;
    *) ah_timer= ;;
    esac
}
# Part of the path of a cgroup that is this element's alone; `/` for that of a container which sees no other
ah_find_peak() {
    [ -n "$1" ] && [ -r /proc/self/cgroup ] || return 0
    while IFS=: read -r ah_x ah_y ah_path; do
        case $ah_x:,$ah_y, in
        0:,,) ah_groups=/sys/fs/cgroup ah_file=memory.peak ;; # v2
        *,memory,*) ah_groups=/sys/fs/cgroup/memory ah_file=memory.max_usage_in_bytes ;;
        *) continue ;;
        esac
        [ "$1" != / ] || ah_is_root || continue
        ah_path=${ah_path%/}/
        while :; do # to the outermost one: what srun starts is beside this shell, in another step of the job
            case $ah_path in *"$1"*) ;; *) break ;; esac
            [ ! -r "$ah_groups$ah_path$ah_file" ] || ah_peak=$ah_groups$ah_path$ah_file
            [ "$ah_path" != / ] || break
            ah_path=${ah_path%/} ah_path=${ah_path%/*}/
        done
        [ -z "$ah_peak" ] || break
    done </proc/self/cgroup
    [ -z "$ah_peak" ] || ah_read_used
}
# The cgroup $ah_path is the root of what can be seen in $ah_groups. Of v1, a container may be told its path on the host
# (mountinfo, proc(5): the root of a mount, and where it is mounted)
ah_is_root() {
    [ "$ah_path" != / ] || return 0
    while read -r ah_x ah_x ah_x ah_root ah_y ah_x; do
        [ "$ah_y" = "$ah_groups" ] && [ "$ah_root" = "$ah_path" ] && ah_path=/ && return 0
    done </proc/self/mountinfo
    return 1
}
# A cgroup's peak is a job's if it rose while the job ran
ah_read_used() {
    ah_used=
    if [ -n "$ah_timer" ]; then
        ah_last_number "$ah_timer"
        [ -z "$ah_x" ] || ah_used=$(((ah_x / ah_times + 1023) / 1024))
    elif [ -n "$ah_peak" ]; then
        ah_last_number "$ah_peak"
        [ -n "$ah_x" ] && [ "$ah_x" -gt "$ah_high" ] || return 0
        ah_high=$ah_x ah_used=$(((ah_x + 1048575) / 1048576))
    fi
}
