# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints how many nodes of Grid Engine are free, and how many there are; nothing if that is unknown. asking.sh comes before
# it.
#
# @QUEUE@: name of a cluster queue, quoted; nothing: each. @LIMIT@: seconds for the answer.
# A line per node; below it, indented, one for each queue there: name, kind, slots as `reserved/used/all`, states
# (qhost(1), -q; older ones show `used/all`).

ah_asks @LIMIT@ qhost -q 2>/dev/null | awk -v queue=@QUEUE@ '
function add() { nodes += has; free += has && takes && !used; has = takes = used = 0 }
/^[^ ]/ { add() }
/^ / && $3 ~ /^([0-9]+\/)?[0-9]+\/[0-9]+$/ {
    parts = split($3, n, "/")
    used += n[parts - 1]
    if (queue == "" || $1 == queue) { has = 1; takes += $4 !~ /[adosuACDES]/ }
}
END { add(); if (nodes) print "nodes", free + 0, nodes }'
