# Licensed under the Apache License, Version 2.0; see the LICENSE file.
# shellcheck shell=sh
# Begins a script file: it starts itself anew without the variables of a site that change what programs do, and without
# what was given to the programs of a queue system only (CLIENT_LIBRARIES in clean_shell.py).
#
# @CLEAN@: a command that begins with env and takes those variables away.

[ "${ah_clean-}" = 1 ] || ! command -v env >/dev/null 2>&1 ||
    exec @CLEAN@ ah_clean=1 /bin/sh "$0" "$@"
set +Ceuf
unset ah_clean
if [ -n "${AIRFLOW_HYBRID_CLIENT_LIBRARIES-}" ]; then
    [ "${LD_LIBRARY_PATH-}" != "$AIRFLOW_HYBRID_CLIENT_LIBRARIES" ] || unset LD_LIBRARY_PATH
    unset AIRFLOW_HYBRID_CLIENT_LIBRARIES SLURM_JWT
fi
