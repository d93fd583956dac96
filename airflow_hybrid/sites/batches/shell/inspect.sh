# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Reports batches under a task directory; ids of which the reply was lost are looked up. common.sh and the scheduler's
# functions stand above it.
#
# @WHICH@: the token of a batch, or a pattern that all have.
# Verdicts: done, with the reports; unknown, locked, nodir, foreign, missing.
# shellcheck disable=SC2154 # ah_T, ah_said: set by the text above it

[ -d "$ah_T" ] || ah_end "done"
ah_lock
# shellcheck disable=SC2043 # the mark may become a pattern
for ah_d in "$ah_T"/@WHICH@/manifest; do
    cd "${ah_d%/manifest}" 2>/dev/null || continue
    ah_resolve || ah_end unknown "$ah_said"
    ah_report
done
ah_end "done"
