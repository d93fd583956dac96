# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints `ID NAME` for the user's jobs with the name $ah_name: first those in the queue, else those of the accounting of the
# last seven days. $ah_at is the cluster, or empty. asking.sh stands above it.
#
# Exit code 2: unknown; the programs' output is printed.
# shellcheck disable=SC2154 # ah_at, ah_name: set by ah_find
# shellcheck disable=SC2086 # ids

set -- ${ah_at:+-M "$ah_at"}
ah_l=$(ah_apart squeue -h "$@" -u "$(id -un)" -n "$ah_name" -t all -o %F) || {
    echo "$ah_l"
    exit 2
}
ah_l=${ah_l%%#said*}
for ah_w in $ah_l; do case $ah_w in *[!0-9]*) ;; *)
    echo "$ah_w${ah_at:+;$ah_at} $ah_name"
    ah_q=1
    ;;
esac done
[ -z "${ah_q:-}" ] || exit 0 # else it may have left the queue
ah_l=$(ah_apart sacct -n -X -P "$@" -u "$(id -un)" --name="$ah_name" -S now-7days -o JobID) ||
    case $ah_l in *storage\ is\ disabled* | *not\ found*) ah_l= ;; *)
        echo "$ah_l"
        exit 2
        ;;
    esac
ah_l=${ah_l%%#said*}
for ah_w in $ah_l; do
    case ${ah_w%%_*} in *[!0-9]* | '') ;; *) echo "${ah_w%%_*}${ah_at:+;$ah_at} $ah_name" ;; esac
done
