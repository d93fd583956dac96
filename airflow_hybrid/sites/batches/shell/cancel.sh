# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Cancels every batch under a task directory, and any that would still come. common.sh and the scheduler's functions stand
# above it.
#
# @MARK@: name of the file that says so in the task directory; @LAST@: number of the last try of which batches are to be
# cancelled; nothing: all are.
# Verdicts: done, failed (some were not cancelled), locked, nodir, foreign, missing.
# shellcheck disable=SC2154 # ah_T: set by common.sh
# shellcheck disable=SC2034 # ah_site: read to be left out of ah_name, and used

ah_make "$ah_T" 2>/dev/null
: >>"$ah_T/@MARK@" # no submit goes beyond this
# whether the batch $1 is to be cancelled: a<try>-<digest>
ah_meant() {
    ah_a=${1#a} ah_a=${ah_a%%-*} ah_last=@LAST@
    case $ah_last:$ah_a in :* | *:'' | *:*[!0-9]*) return 0 ;; esac
    [ "$ah_a" -le "$ah_last" ]
}
# runners look at this before each job
ah_mark() {
    for ah_d in "$ah_T"/*/manifest; do
        ah_d=${ah_d%/manifest}
        [ -d "$ah_d" ] && ah_meant "${ah_d##*/}" && : >>"$ah_d/cancelled"
    done
}
ah_mark
ah_lock
ah_mark # what was submitted in the meantime
ah_bad=
for ah_d in "$ah_T"/*/manifest; do
    ah_d=${ah_d%/manifest}
    { ah_meant "${ah_d##*/}" && cd "$ah_d" 2>/dev/null; } || continue
    for ah_f in submitting.*; do
        [ -e "$ah_f" ] || continue
        read -r ah_name ah_site <"$ah_f"
        ah_id=
        [ ! -s "jobid.${ah_f#submitting.}" ] || read -r ah_id <"jobid.${ah_f#submitting.}"
        case $ah_id in
        '' | -)
            [ -n "$ah_name" ] || continue # nothing is submitted before its name is written
            ah_x=$(ah_cancel_name "$ah_name" "$ah_site" 2>&1)
            ;;
        *) ah_x=$(ah_cancel "$ah_id" 2>&1) ;;
        esac || ah_bad="$ah_bad$ah_x "
    done
    for ah_f in also.*; do # what is not followed
        { [ -e "$ah_f" ] && read -r ah_id <"$ah_f"; } || continue
        ah_x=$(ah_cancel "$ah_id" 2>&1) || ah_bad="$ah_bad$ah_x "
    done
done
# containers outlive the clients that started them; those that are not there may be under way
ah_unbox() {
    ah_late=
    for ah_f in "$ah_T"/*/*/box; do
        ah_d=${ah_f%/*/box}
        { [ -e "$ah_f" ] && [ ! -h "${ah_f%/*}" ] && ah_meant "${ah_d##*/}"; } || continue
        read -r ah_client ah_name <"$ah_f" || continue
        case $ah_client in docker | podman) ;; *) continue ;; esac
        "$ah_client" kill "$ah_name" || [ -n "$1" ] || { ah_late=1 && continue; }
        "$ah_client" rm -f "$ah_name" && rm -f "$ah_f"
    done >/dev/null 2>&1 </dev/null
}
ah_unbox ''
if [ -n "$ah_late" ]; then
    sleep 1
    ah_unbox last
fi
[ -z "$ah_bad" ] || ah_end failed "$ah_bad"
[ -e "$ah_T/@MARK@" ] || ah_end failed 'the marker could not be written'
ah_end "done"
