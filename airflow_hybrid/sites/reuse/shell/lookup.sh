# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints an index's records of a tool, those of some keys, and the jobs that a task has begun.
#
# @T@: the task directory; @R@: the index; @TOOL@: its folder for the tool; all quoted. @MOST@: how many names are listed;
# @RECORD@: bytes of the largest valid record.
# stdin: keys to look for, one per line, then `#`.
# stdout: names of jobs; `#known`, the first 16 digits of each record's key; `#records`, a line `KEY JSON` for each that was
# found, the newest; `#end`.
# shellcheck disable=SC3067 # dash, bash, busybox, ksh and zsh have -O

cat -- @T@/*/manifest 2>/dev/null
echo '#known'
ah_mine=
if cd @TOOL@ 2>/dev/null && [ -O @R@ ] && [ ! -h @R@ ]; then ah_mine=yes; fi
[ -z "$ah_mine" ] || cat r.* 2>/dev/null | cut -c 1-16 | head -n @MOST@
echo '#records'
[ -z "$ah_mine" ] || {
    cat
    cat r.* 2>/dev/null
} |
    awk '!all { if ($0 == "#") all = 1; else wanted[$0]; next }
        length($0) < @RECORD@ { key = substr($0, 1, 64); if (key in wanted) last[key] = $0 }
        END { for (key in last) print last[key] }'
echo '#end'
