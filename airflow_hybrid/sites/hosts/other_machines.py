# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files of ``local`` deployments that another machine has: Airflow's tasks may run on several, which share no files.

A file of a local deployment is on the machine of the worker that ran its task. If not even the task's directory exists
here, the file was not lost: it never was here, or all of the task was removed.
"""

from __future__ import annotations

import os
import posixpath
import socket

from airflow_hybrid.errors import TransferError
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, producer_of

TIE = (
    "give the local deployment a `queue` (in its `config`) that the workers of one machine serve, or a `workdir` on a"
    " file system that all of Airflow's machines share"
)


def this_machine() -> str:
    """For messages."""
    return f"this machine ({socket.gethostname()})"


def on_another_machine(path: str, source: str) -> TransferError | None:
    """The error for a file that does not exist on this machine, if nothing of the task that made it is here.

    :param path: on this machine; ``source``: for the message.
    :return: None: no task made it, or the task's directory is here, so that the file itself was removed.
    """
    job = job_directory_of(path)
    if job is None:
        return None
    task_directory = posixpath.dirname(posixpath.dirname(job))
    try:
        os.lstat(task_directory)
    except (FileNotFoundError, NotADirectoryError):
        return TransferError(
            f"{source} is not on {this_machine()}, nor is anything else of {producer_of(path)}, which made it:"
            " that task ran on another machine, or its folder was removed",
            hint=f"if Airflow's tasks run on several machines, {TIE}. Then clear that task to run it again",
            retryable=False,
        )
    except OSError:
        return None  # it cannot be looked at: nobody knows
    return None
