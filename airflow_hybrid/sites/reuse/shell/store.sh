# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Adds records to the index. removal/shell/functions.sh and sites/hosts/shell/claim.sh come before it.
#
# @R@: the index, quoted; @K@: a unique word; @FILES@: most files of one tool; more are merged into one; @RECORDS@: how many
# records of a tool are then kept, the newest.
# stdin: lines `TOOL/JOB JSON`, compressed by gzip.
# The newest record of a key is the last one in the files, in the order of their names.
# Exit codes: 73 there is no index of ours; 74 it cannot be written to.
# shellcheck disable=SC3067 # dash, bash, busybox, ksh and zsh have -O

umask 077
ah_R=@R@ ah_N=new.@K@ ah_most=@FILES@
{ ah_make "$ah_R" && [ -O "$ah_R" ] && [ ! -h "$ah_R" ] && chmod 700 "$ah_R" && ah_new "$ah_R/$ah_N"; } || exit 73
trap 'cd / && ah_rm "$ah_R" "$ah_N"' EXIT
{ cd "$ah_R/$ah_N" && gzip -dc >all && awk '{ print substr($0, 18) > substr($0, 1, 16) }' all && rm all; } || exit 74
ah_now=$(date +%s%N)
case $ah_now in *[!0-9]*) ah_now=$(date +%s)000000000 ;; esac # busybox has no nanoseconds
for ah_tool in *; do
    { [ ! -h "$ah_R/$ah_tool" ] && mkdir -p "$ah_R/$ah_tool"; } || exit 74
    # after all existing files, whatever the clock says
    for ah_last in "$ah_R/$ah_tool"/r.*; do :; done
    ah_last=${ah_last##*/r.} ah_at=$ah_now
    case ${ah_last%%.*} in
    '' | *[!0-9]*) ;;
    *) [ "${ah_last%%.*}" -lt "$ah_now" ] || ah_at=$((${ah_last%%.*} + 1)) ;;
    esac
    mv "$ah_tool" "$ah_R/$ah_tool/r.$ah_at.@K@" || exit 74
    (
        # nothing is removed from an index that we did not make
        { cd "$ah_R" && ah_marked && cd "$ah_tool"; } || exit
        set -- r.*
        [ $# -gt "$ah_most" ] || exit
        trap ah_release EXIT
        ah_claim . lock 0 || exit # somebody else does it
        set -- r.*
        for ah_last; do :; done
        cat -- "$@" | tac | awk '!had[substr($0, 1, 64)]++' | head -n @RECORDS@ | tac >one || exit
        mv -f one "$ah_last" || exit
        for ah_file; do [ "$ah_file" = "$ah_last" ] || rm -f "$ah_file"; done
    )
done
exit 0
