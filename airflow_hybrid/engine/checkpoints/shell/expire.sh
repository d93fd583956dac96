# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Counts or removes checkpoints that have expired. removal/shell/functions.sh comes before it.
#
# @ROOT@: the folder of the checkpoints, quoted; @REMOVE@: 1, or nothing.
# stdout: COUNT<tab>KIB<tab>PROOF: `ours` if the folder's parts carry our marker, else `-`. Nothing: there are none.
# Exit code 3: something could not be removed.
# A copy without a note is one whose task was killed before it wrote that; it goes after two days.

cd -P -- @ROOT@ 2>/dev/null || exit 0
[ -d store ] || exit 0
for ah_part in store until; do
    (! [ -h "$ah_part" ] && cd -P -- "$ah_part" && ah_marked) 2>/dev/null || {
        printf '0\t0\t-\n'
        exit 0
    }
done
ah_count=0 ah_kib=0 ah_code=0 ah_root=$PWD ah_remove=@REMOVE@
ah_expired() {
    # only notes of single contents: one at their folder's place would name many
    find until -type f -path 'until/*/*' ! -name '.*' -mmin +0 | sed 's/^until.//'
    for ah_copy in store/*/*; do
        if ! [ -e "$ah_copy" ] || [ -e "until/${ah_copy#store/}" ]; then continue; fi
        find "$ah_copy" -prune -mtime +2 | sed 's/^store.//'
    done
}
ah_list=$(ah_expired)
while IFS= read -r ah_name; do
    [ -n "$ah_name" ] || continue
    # a run may have found the copy, and prolonged its time, while others were removed
    [ ! -e "until/$ah_name" ] || [ -n "$(find "until/$ah_name" -prune -mmin +0)" ] || continue
    ah_size=$(du -sk "store/$ah_name" 2>/dev/null)
    ah_size=${ah_size%%[!0-9]*}
    ah_kib=$((ah_kib + ${ah_size:-0})) ah_count=$((ah_count + 1)) # no 0 before it: 08 would be octal
    [ -n "$ah_remove" ] || continue
    { ah_rm "$ah_root/store" "$ah_name" && ah_rm "$ah_root/until" "$ah_name"; } || ah_code=3
done <<AH
$ah_list
AH
printf '%s\t%s\tours\n' "$ah_count" "$ah_kib"
exit "$ah_code"
