# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shell that runs our text at a location: without the variables of a site that change what programs do.

What a profile sets for people (``POSIXLY_CORRECT``: operands end options; ``TAR_OPTIONS``, ``CDPATH``, bash's
``SHELLOPTS`` with ``noclobber``) would break scripts. Jobs do not get them either.
"""

from __future__ import annotations

from airflow_hybrid import shell_text

_SBATCH = (
    "ARRAY_INX", "BATCH", "CLUSTERS", "CONTAINER", "CONTAINER_ID", "CPUS_PER_GPU", "DEBUG", "ERROR", "EXCLUSIVE",
    "GPUS", "GPUS_PER_NODE", "GPUS_PER_SOCKET", "GPUS_PER_TASK", "GRES", "INPUT", "JOB_NAME", "MEM_PER_CPU",
    "MEM_PER_GPU", "MEM_PER_NODE", "NO_KILL", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "OVERCOMMIT", "REQUEUE", "SIGNAL",
    "SPREAD_JOB", "THREAD_SPEC", "TIMELIMIT", "TRES_PER_TASK", "USE_MIN_NODES", "WAIT", "WAIT_ALL_NODES",
)  # fmt: skip
"""sbatch(1), INPUT ENVIRONMENT VARIABLES: what a job is, and how much it is given, says the hybrid file (or a template,
over whose directives they would take precedence). What a site may want of every job stays: account, partition, QOS,
reservation, constraint, wckey, the environment that is handed on, binding."""
_SQUEUE = (
    "ACCOUNT", "ALL", "ARRAY", "ARRAY_UNIQUE", "FEDERATION", "FORMAT", "FORMAT2", "LICENSES", "LOCAL", "NAMES",
    "PARTITION", "PRIORITY", "QOS", "SIB", "SIBLING", "SORT", "STATES", "USERS",
)  # fmt: skip
_SCANCEL = (
    "ACCOUNT", "BATCH", "CRON", "CTLD", "FULL", "HURRY", "INTERACTIVE", "NAME", "PARTITION", "QOS", "STATE", "USER",
    "VERBOSE", "WCKEY",
)  # fmt: skip
QUEUE_CLIENTS = (
    *(f"SBATCH_{name}" for name in _SBATCH),
    *(f"SQUEUE_{name}" for name in _SQUEUE),
    *(f"SCANCEL_{name}" for name in _SCANCEL),
    *(f"SACCT_{name}" for name in ("FEDERATION", "FORMAT", "LOCAL")),
    *(f"SCONTROL_{name}" for name in ("ALL", "FEDERATION", "FUTURE", "LOCAL", "SIB", "SIBLING")),
    *(f"SINFO_{name}" for name in ("ALL", "FEDERATION", "FORMAT", "LOCAL", "PARTITION", "SORT")),
    # of all its clients: how times and indexes are written, and which exit code a failure has
    "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "SLURM_EXIT_ERROR",
    # qsub(1B) of PBS and Torque: what a directive begins with, how long a client waits for a server
    "PBS_DPREFIX", "PBS_CLIENTRETRY", "PBS_QSTAT_EXECONLY", "PBSDEBUG",
    # sge_intro(1): traces on stdout, lines and columns that are written in another way
    "SGE_DEBUG_LEVEL", "SGE_DEBUG_TARGET", "SGE_SINGLE_LINE", "SGE_LONG_JOB_NAMES", "SGE_LONG_QNAMES",
    # flux-jobs(1), flux-environment(7): columns, and how an id is written
    "FLUX_JOBS_FORMAT_DEFAULT", "FLUX_F58_FORCE_ASCII",
)  # fmt: skip
"""What the clients of queue systems take from the environment, as if it had been said on their command lines (manual
pages, ENVIRONMENT VARIABLES). What they need to find their cluster stays (``SLURM_CONF``, ``SLURM_CLUSTERS``,
``PBS_DEFAULT``, ``PBS_CONF_FILE``, ``SGE_ROOT``, ``FLUX_URI``)."""
CHANGES_PROGRAMS = (
    "POSIXLY_CORRECT", "POSIX_ME_HARDER", "_POSIX2_VERSION",
    "CDPATH", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS",
    "GREP_OPTIONS", "GREP_COLOR", "GREP_COLORS", "TAR_OPTIONS", "TAPE",
    "GZIP", "BZIP2", "BZIP", "XZ_OPT", "XZ_DEFAULTS", "ZSTD_CLEVEL", "ZSTD_NBTHREADS",
    "BLOCK_SIZE", "BLOCKSIZE", "DF_BLOCK_SIZE", "DU_BLOCK_SIZE", "LS_BLOCK_SIZE", "QUOTING_STYLE", "TIME_STYLE",
    *QUEUE_CLIENTS,
)  # fmt: skip
CLEAN_ENV = ("env", *(word for name in CHANGES_PROGRAMS for word in ("-u", name)))
"""``env -u NAME`` is in GNU coreutils, busybox and the BSDs"""
CLEAN_SHELL = (*CLEAN_ENV, "/bin/sh")
"""begins the argument vector of a shell; no word of it needs quotes in any shell"""
CLIENT_LIBRARIES = "AIRFLOW_HYBRID_CLIENT_LIBRARIES"
"""where programs of a queue system were given a ``LD_LIBRARY_PATH`` of Airflow's: its value, which jobs do not get"""


def clean_restart() -> str:
    """Begins a script file, which starts itself anew in such an environment.

    (An image for jobs need not have ``env``.)
    """
    return shell_text.filled(__package__, "clean_restart.sh", {"CLEAN": " ".join(CLEAN_ENV)})
