# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Estimates when a job would start at OpenPBS, from free CPUs and waiting jobs. asking.sh comes before it.
#
# @NODES@: pbs_nodes.sh, which prints the number of free groups of CPUs; @CHUNKS@: how many the job needs; @QUEUE@: name of
# the queue, quoted, '' for any; @LIMIT@: how long an answer may take, in seconds.
# stdout: `wait SECONDS`, or `said WORDS` if that is unknown.

ah_queue=@QUEUE@ ah_chunks=@CHUNKS@
ah_f=$(
    @NODES@
)
if [ -n "$ah_queue" ] && ah_asks @LIMIT@ qstat -Q -f "$ah_queue" 2>/dev/null | grep -q '^ *started = False'; then
    echo "said the queue $ah_queue is stopped"
elif [ -n "$ah_f" ] && [ "$ah_f" -ge "$ah_chunks" ]; then
    echo "wait 0"
else
    ah_t=$(ah_asks @LIMIT@ qstat -f 2>/dev/null | awk -v queue="$ah_queue" '
        function end() { if (s == "Q" && (queue == "" || q == queue)) { n++; if (d) print "at " d } s = q = d = "" }
        /^Job Id:/ { end() }
        /^    job_state = / { s = $3 }
        /^    queue = / { q = $3 }
        /^    estimated.start_time = / { sub(/.* = /, ""); d = $0 }
        END { end(); print "jobs " n + 0 }')
    ah_w=$(printf '%s\n' "$ah_t" | sed -n 's/^at //p' |
        while read -r ah_d; do date -d "$ah_d" +%s; done | sort -n | tail -n 1)
    ah_n=$(printf '%s\n' "$ah_t" | sed -n 's/^jobs //p')
    if [ -n "$ah_w" ]; then
        echo "wait $((ah_w - $(date +%s)))"
    else
        echo "said no CPUs are free, $ah_n jobs wait, the site has no estimate"
    fi
fi
