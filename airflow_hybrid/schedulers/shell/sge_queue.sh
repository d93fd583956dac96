# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints the user's jobs in the queue of a Grid Engine and, where some are in the error state, why. asking.sh stands above it.
#
# @LIMIT@: how long an answer may take, in seconds; @IDS@: ids of jobs, separated by commas.
# stdout: the answer of qstat; then `#j ID`, `#e REASON` of jobs. Exit code: that of qstat.

ah_q=$(ah_asks @LIMIT@ qstat -u "$(id -un)")
ah_rc=$?
printf '%s\n' "$ah_q"
case $ah_q in *" E"[a-z]*)
    ah_asks @LIMIT@ qstat -j @IDS@ 2>/dev/null | sed -n 's/^job_number: */#j /p;s/^error reason */#e /p'
    ;;
esac
(exit "$ah_rc")
