# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints which launchers are alive. process_stat.sh stands above it; process_account.sh may stand below it.
#
# @IDS@: ids of launchers, quoted; @HELD_S@: seconds after which a core counts as held.
# stdout: for each that is alive `R ID`, it runs, or `W ID REASON`, all its jobs wait for cores. Nothing: it is gone.
# shellcheck disable=SC2154 # ah_state, ah_session, ah_started: set by ah_stat

# session of a launcher -> ah_by: it has no core and others have; 1: it has one, or nobody has
ah_held() {
    ah_by=
    ah_few=
    # shellcheck disable=SC3067 # dash, bash, busybox, ksh and zsh have -O
    { [ -O "$ah_own" ] && [ ! -h "$ah_own" ]; } || return 1
    for ah_f in "$ah_own"/slots/[0-9]*; do
        # shellcheck disable=SC3067 # the same
        { [ -O "$ah_f" ] && [ ! -h "$ah_f" ] && read -r ah_s ah_c <"$ah_f"; } || continue
        { ah_stat "${ah_f##*/}" 2>/dev/null && [ "$ah_started" = "$ah_s" ]; } || continue
        [ "$ah_session" != "$1" ] || return 1
        ah_by="$ah_by $ah_f"
    done
    [ -n "$ah_by" ] || return 1
    # shellcheck disable=SC2086 # paths without blanks
    set -- $ah_by
    ah_now=$(date +%s) ah_long=@HELD_S@ ah_by=
    for ah_f; do # who has had one for long, and may have been left behind
        { ah_m=$(stat -c %Y "$ah_f" 2>/dev/null) && [ $((ah_now - ah_m)) -ge "$ah_long" ]; } || continue
        ah_few=$ah_few. ah_c=$(tr '\0\n' '  ' <"/proc/${ah_f##*/}/cmdline" 2>/dev/null)
        [ "$ah_few" != ..... ] || break
        ah_by="$ah_by; since $(date -d "@$ah_m" +%T) by process ${ah_f##*/} (${ah_c% })"
    done
}
read -r ah_boot </proc/sys/kernel/random/boot_id
ah_own=/tmp/airflow_hybrid-$(id -u)
# shellcheck disable=SC2043 # the mark becomes several words
for ah_i in @IDS@; do
    ah_p=${ah_i#*:} ah_p=${ah_p%%:*}
    if [ "${ah_i%%:*}" = "$ah_boot" ] && ah_stat "$ah_p" 2>/dev/null && [ "$ah_started" = "${ah_i##*:}" ] &&
        [ "$ah_state" != Z ]; then
        if ah_held "$ah_p"; then
            echo "W $ah_i they wait for cores that other jobs of this user have$ah_by"
        else echo "R $ah_i"; fi
    fi
done
