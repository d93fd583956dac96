# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints what a batch directory says of its jobs.
#
# @B@: the directory, quoted; @META@: a command that prints `meta.json`, or `:`.
# stdout: sections `#meta`, `#ids` (of the parts, in order, and then of what was submitted besides), `#ec` and `#c`
# (`ec/JOB:LINE`, `c/JOB:LINE`), `#end`; before `#ids` may stand `#absent`, `#cancelled`, `#full` (the disk is), `#submitted`
# (seconds since 1970).

cd @B@ 2>/dev/null || {
    echo '#absent'
    echo '#end'
    exit 0
}
echo '#meta'
@META@
[ -e manifest ] && [ -d ec ] || echo '#absent'
[ ! -e cancelled ] || echo '#cancelled'
[ ! -e disk ] || ! read -r ah_p <disk || [ "$ah_p" != full ] || echo '#full'
[ ! -e jobid.0 ] || {
    echo '#submitted'
    find jobid.0 -printf '%T@\n'
}
echo '#ids'
ah_p=0
while [ -e "jobid.$ah_p" ]; do
    cat "jobid.$ah_p"
    ah_p=$((ah_p + 1))
done
[ ! -s jobid ] || cat also.* 2>/dev/null
echo '#ec'
find ec -type f -exec grep -H '' {} +
echo '#c'
find c -type f -exec grep -H '' {} +
echo '#end'
