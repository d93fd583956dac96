# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints the free CPUs of OpenPBS's nodes; nothing if they are unknown. asking.sh comes before it.
#
# @SHOWN@: awk expressions to print, of f (free CPUs), t (all CPUs), c (free groups of CPUs on one node), e (free nodes)
# and m (all nodes);
# @PER@: CPUs of a group.
# One line per node: name, state, ..., free and all CPUs as `6/8` in the seventh column (pbsnodes(8B), -S -j).

ah_asks 15 pbsnodes -aSj 2>/dev/null | awk '
$7 ~ /^[0-9]+\/[0-9]+$/ {
    split($7, n, "/"); t += n[2]; m++
    if ($2 !~ /down|offline|stale|unknown|maintenance|provision|sleep|unresolvable/) {
        f += n[1]; c += int(n[1] / @PER@); e += n[1] == n[2]
    }
}
END { if (t) print @SHOWN@ }'
