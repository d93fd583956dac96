# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Counts the jobs of a queue, everybody's and ours, by partition; only the sums are sent. asking.sh stands above it.
#
# @ASK@: asks about all jobs; @ROWS@: makes lines `PARTITION|STATE|USER` of that, and leaves `#exit CODE` as it is;
# @WAITS@: extended regular expression of the states of jobs that wait.
# stdout: lines `queue RUNNING WAITING OURS-RUNNING OURS-WAITING PARTITION`, and `queue end` if the program succeeded. A
# program may show a user's name cut off.

{
    @ASK@ 2>/dev/null
    echo "#exit $?"
} | @ROWS@ | awk -F'|' -v me="$(id -un)" -v waits='@WAITS@' '
$0 == "#exit 0" { is_whole = 1 }
NF == 3 {
    is_own = $3 == me || (length($3) >= 12 && index(me, $3) == 1)
    if ($2 ~ waits) { waiting[$1]++; own_waiting[$1] += is_own } else { running[$1]++; own_running[$1] += is_own }
    seen[$1] = 1
}
END {
    for (name in seen)
        print "queue", running[name] + 0, waiting[name] + 0, own_running[name] + 0, own_waiting[name] + 0, name
    if (is_whole) print "queue end"
}'
