# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shell that runs our text at a location, without a site's variables that change how programs behave.

Variables that a profile sets for people (``POSIXLY_CORRECT``: operands end options; ``TAR_OPTIONS``, ``CDPATH``, bash's
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
"""sbatch(1), INPUT ENVIRONMENT VARIABLES. The hybrid file decides what a job is and what it gets (or a template, over
whose directives the variables would take precedence). Variables for a site's general rules stay: account, partition,
QOS, reservation, constraint, wckey, the exported environment, binding."""
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
    # of all its clients: the format of times and indexes, and the exit code of failures
    "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "SLURM_EXIT_ERROR",
    # qsub(1B) of PBS and Torque: the prefix of directives, how long a client waits for a server
    "PBS_DPREFIX", "PBS_CLIENTRETRY", "PBS_QSTAT_EXECONLY", "PBSDEBUG",
    # sge_intro(1): traces on stdout, other formats of lines and columns
    "SGE_DEBUG_LEVEL", "SGE_DEBUG_TARGET", "SGE_SINGLE_LINE", "SGE_LONG_JOB_NAMES", "SGE_LONG_QNAMES",
    # flux-jobs(1), flux-environment(7): columns, and the format of ids
    "FLUX_JOBS_FORMAT_DEFAULT", "FLUX_F58_FORCE_ASCII",
)  # fmt: skip
"""Variables that the clients of queue systems treat like command line options (manual pages, ENVIRONMENT VARIABLES).
Variables that they need to find their cluster stay (``SLURM_CONF``, ``SLURM_CLUSTERS``,
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
"""start of a shell's argument vector; none of its words needs quotes in any shell"""
CLIENT_LIBRARIES = "AIRFLOW_HYBRID_CLIENT_LIBRARIES"
"""the value of Airflow's ``LD_LIBRARY_PATH`` if a queue system's programs were given one; jobs do not get it"""


def clean_restart() -> str:
    """The first lines of a script file, which restarts itself in such an environment.

    (An image for jobs need not have ``env``.)
    """
    return shell_text.filled(__package__, "clean_restart.sh", {"CLEAN": " ".join(CLEAN_ENV)})
