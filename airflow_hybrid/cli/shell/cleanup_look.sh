# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Prints every run's folder without a recent change.
#
# @WORKDIR@: the work directory, quoted; @FOLDERS@: names of DAGs' folders in it, quoted; @MINUTES@: how old they must be;
# @MARKED@: patterns of the markers of the task directories of a run in `$r`.
# stdout: a line SIZE<tab>PATH<tab>PROOF for each: KiB, the path below the work directory, and `ours` where it holds task
# directories that carry our marker, else `-`.
# find prints the first entry that is younger; a folder of which it prints nothing is old.
# shellcheck disable=SC2043 # the marks become several words

cd -- @WORKDIR@ 2>/dev/null || exit 0
for d in @FOLDERS@; do
    for r in "$d"/*; do
        { [ -d "$r" ] && [ ! -h "$r" ] && [ ! -h "$d" ]; } || continue
        # where it cannot be said, it is not old
        { young=$(find "./$r" -mmin -@MINUTES@ -print -quit) && [ -z "$young" ]; } || continue
        p=-
        for m in @MARKED@; do [ ! -f "$m" ] || p=ours; done
        k=$(du -sk "./$r" 2>/dev/null)
        printf '%s\t%s\t%s\n' "${k%%[!0-9]*}" "$r" "$p"
    done
done
