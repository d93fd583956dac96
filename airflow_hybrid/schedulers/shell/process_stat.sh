# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# ah_stat PROCESS: reads /proc/PROCESS/stat; 1 if there is no such process.
#
# Sets ah_state, ah_session (its id) and ah_started, the start time in ticks after the host's start.
# proc(5): the second field of stat is a name in parentheses and may hold anything; field 22 is the start time.

# process id -> ah_state, ah_session, ah_started; 1 if there is no such process
ah_stat() {
    read -r ah_line <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # fields
    set -- ${ah_line##*") "}
    # shellcheck disable=SC2034 # for the text below it
    ah_state=$1 ah_session=$4 ah_started=${20}
}
