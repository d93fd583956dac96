# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Submits a batch unless that was done before. common.sh, the scheduler's functions and ah_named PART (-> ah_name) stand
# above it; ah_start PART submits a part: 0 and ah_id, 2: it is not known whether it did, 1: it was refused; ah_said: why.
#
# @B@: the batch directory, quoted; @ATTEMPT@: number of the try; @KNOWN@: tokens of the batches that the caller knows of,
# each between blanks, quoted; @PARTS@: number of parts, each of which is submitted by itself; @TAR@: a command that
# unpacks stdin.
# stdin: an archive of the batch directory.
# Verdicts: submitted or attached, with a report of the batch; conflict, with reports of other batches of the task;
# cancelled, missing (a program), locked, nodir, foreign, unpack, refused, unknown.
# shellcheck disable=SC2154 # ah_T, ah_id, ah_said, ah_name: set by the text above it
# shellcheck disable=SC2194 # @KNOWN@ becomes a value

ah_B=@B@ ah_parts=@PARTS@ ah_try=@ATTEMPT@
ah_lost='a process on another host has taken it over'
for ah_x in tar sed xargs find grep ln readlink stat $(ah_need); do
    command -v "$ah_x" >/dev/null 2>&1 || ah_end missing "$ah_x"
done
# part $1 was submitted by another host as well, or will be: its id is found beside that one
ah_besides() {
    ah_x=$ah_id ah_id=
    [ ! -s "$ah_B/jobid.$1" ] || read -r ah_id <"$ah_B/jobid.$1"
    { cd "$ah_B" && ah_keep_also "$ah_x" "$1"; } || ah_cancel "$ah_x"
    ah_end locked "$ah_lost"
}
ah_lock
for ah_f in "$ah_T/cancelled" "$ah_T"/cancelled.*; do # of this try or a later one; or of all
    [ -e "$ah_f" ] || continue
    { [ "$ah_f" != "$ah_T/cancelled" ] && [ "${ah_f##*.}" -lt "$ah_try" ]; } || ah_end cancelled
done
if [ -s "$ah_B/jobid" ]; then
    cd "$ah_B" && ah_report && ah_end attached
fi
ah_found=
for ah_d in "$ah_T"/*/manifest; do # begun by an earlier try that the caller does not know of
    [ -e "$ah_d" ] || continue
    ah_d=${ah_d%/manifest}
    case @KNOWN@ in *" ${ah_d##*/} "*) continue ;; esac
    cd "$ah_d" || continue
    ah_resolve || ah_end unknown "$ah_said"
    set -- jobid.*
    [ -e "$1" ] || continue
    ah_report
    ah_found=1
done
[ -z "$ah_found" ] || ah_end conflict
if [ -e "$ah_B/manifest" ] && cd "$ah_B"; then
    ah_resolve || ah_end unknown "$ah_said"
    set -- submitting.*
    [ -e "$1" ] || { cd / && ah_drop "$ah_B"; } # nothing was submitted: begin anew
fi
if [ ! -e "$ah_B/manifest" ]; then
    ah_N=$ah_T/.new.${ah_B##*/}
    ah_drop "$ah_N"
    ah_drop "$ah_B"
    if ah_x=$({ ah_make "$ah_N" && cd "$ah_N" && @TAR@ && mkdir c ec f &&
        sed 's,.*,./&/out ./&/tmp,' manifest | xargs mkdir -p && [ -s manifest ]; } 2>&1) &&
        ah_x=$(mv "$ah_N" "$ah_B" 2>&1); then :; else
        ah_why=$ah_x
        ah_drop "$ah_N"
        ah_end unpack "$ah_why"
    fi
fi
cd "$ah_B" || ah_end nodir
ah_k=0
while [ $ah_k -lt "$ah_parts" ]; do
    if [ ! -s "jobid.$ah_k" ]; then
        ah_held || ah_end locked "$ah_lost"
        ah_named $ah_k
        # in one step: on a full disk, a name that is empty or cut off would be looked for, and found among others
        { echo "$ah_name" | cat >|.submitting && mv -f .submitting "submitting.$ah_k"; } 2>/dev/null ||
            ah_end unpack 'the batch directory cannot be written to'
        ah_start $ah_k
        case $? in
        0)
            ah_held || ah_besides $ah_k
            ah_keep $ah_k || ah_end unknown "the id $ah_id cannot be recorded" # the next call looks it up
            ;;
        2) ah_end unknown "$ah_said" ;; # the next call looks it up
        *)
            ah_why=$ah_said
            # shellcheck disable=SC2046 # several ids
            for ah_f in jobid.* also.*; do [ ! -s "$ah_f" ] || ah_cancel $(cat "$ah_f"); done
            cd /
            ah_drop "$ah_B"
            ah_end refused "$ah_why"
            ;;
        esac
    fi
    ah_k=$((ah_k + 1))
done
ah_k=0 ah_bad=
while [ $ah_k -lt "$ah_parts" ]; do
    cat "jobid.$ah_k" || ah_bad=1
    ah_k=$((ah_k + 1))
done >|jobid.new
{ [ -z "$ah_bad" ] && mv -f jobid.new jobid; } || ah_end unknown 'the ids cannot be recorded'
ah_report
ah_end submitted
