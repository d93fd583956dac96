# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shell that runs our text at a location: without the variables of a site that change what programs do.

What a profile sets for people (``POSIXLY_CORRECT``: operands end options; ``TAR_OPTIONS``, ``CDPATH``, bash's
``SHELLOPTS`` with ``noclobber``) would break scripts. Jobs do not get them either.
"""

from __future__ import annotations

CHANGES_PROGRAMS = (
    "POSIXLY_CORRECT", "POSIX_ME_HARDER", "_POSIX2_VERSION",
    "CDPATH", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS",
    "GREP_OPTIONS", "GREP_COLOR", "GREP_COLORS", "TAR_OPTIONS", "TAPE",
    "GZIP", "BZIP2", "BZIP", "XZ_OPT", "XZ_DEFAULTS", "ZSTD_CLEVEL", "ZSTD_NBTHREADS",
    "BLOCK_SIZE", "BLOCKSIZE", "DF_BLOCK_SIZE", "DU_BLOCK_SIZE", "LS_BLOCK_SIZE", "QUOTING_STYLE", "TIME_STYLE",
    # what Slurm's clients print by default: squeue(1), sacct(1), sinfo(1)
    "SLURM_TIME_FORMAT", "SQUEUE_ACCOUNT", "SQUEUE_ARRAY", "SQUEUE_FORMAT", "SQUEUE_FORMAT2", "SQUEUE_NAMES",
    "SQUEUE_PARTITION", "SQUEUE_QOS", "SQUEUE_SORT", "SQUEUE_STATES", "SQUEUE_USERS", "SACCT_FORMAT", "SINFO_FORMAT",
)  # fmt: skip
CLEAN_ENV = ("env", *(word for name in CHANGES_PROGRAMS for word in ("-u", name)))
"""``env -u NAME`` is in GNU coreutils, busybox and the BSDs"""
CLEAN_SHELL = (*CLEAN_ENV, "/bin/sh")
"""begins the argument vector of a shell; no word of it needs quotes in any shell"""
CLIENT_LIBRARIES = "AIRFLOW_HYBRID_CLIENT_LIBRARIES"
"""where programs of a queue system were given a ``LD_LIBRARY_PATH`` of Airflow's: its value, which jobs do not get"""
CLEAN_RESTART = f"""[ "${{ah_clean-}}" = 1 ] || ! command -v env >/dev/null 2>&1 ||
    exec {" ".join(CLEAN_ENV)} ah_clean=1 /bin/sh "$0" "$@"
set +Ceuf
unset ah_clean
if [ -n "${{{CLIENT_LIBRARIES}-}}" ]; then
    [ "${{LD_LIBRARY_PATH-}}" != "${CLIENT_LIBRARIES}" ] || unset LD_LIBRARY_PATH
    unset {CLIENT_LIBRARIES} SLURM_JWT
fi
"""
"""begins a script file, which starts itself anew in such an environment; an image for jobs need not have ``env``"""
