# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Chooses the shell of probe_open.sh. bash can have many files open at a time; every shell has descriptors 3 to 9.
#
# Exports ah_opener, an option of xargs (how many paths) and the shell; and ah_first, the shell's first descriptor.
# shellcheck disable=SC3045 # a shell whose ulimit knows no -n stays with seven

ah_opener='-n 7 sh' ah_first=3
# bash's own descriptors are from 10 on
if command -v bash >/dev/null 2>&1 && [ "$(ulimit -n)" -ge 256 ] 2>/dev/null; then ah_opener='-n 100 bash' ah_first=20; fi
export ah_opener ah_first
unset BASH_ENV # a file that bash would read first
