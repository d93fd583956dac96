# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Folders that cannot be roots of documents: Airflow's own, and those of everybody."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from airflow_hybrid import settings

_NEVER = (
    "/",
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/home",
    "/Users",
    "/root",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var",
)
"""folders that are never a root, even if configured as one"""


@dataclass(frozen=True)
class AirflowFolders:
    """The folders of Airflow's own files (settings, keys, passwords, logs) and of the user's DAGs.

    :ivar home: real path; ``dags``: real path. ``own``: real paths of Airflow's files and folders elsewhere.
    """

    home: str
    dags: str
    own: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> AirflowFolders:
        """Those of this process, from its environment and ``airflow.cfg`` (without importing Airflow)."""
        home = settings.airflow_home()
        dags = settings.core_option("core", "dags_folder", os.path.join(home, "dags"))
        logs = settings.core_option("logging", "base_log_folder", os.path.join(home, "logs"))
        own = (os.path.realpath(settings.airflow_cfg_path()), os.path.realpath(logs))
        return cls(os.path.realpath(home), os.path.realpath(dags), own)

    def holds(self, path: str, root: str) -> bool:
        """Whether a real path, below ``root``, is one of Airflow's own files.

        The DAGs folder in the home is not, nor a folder in the home that was made a root itself.
        """
        if any(is_below(path, own) for own in self.own):
            return True
        if not is_below(path, self.home):
            return False
        of_the_user = [folder for folder in (self.dags, root) if folder != self.home and is_below(folder, self.home)]
        return not any(is_below(path, folder) for folder in of_the_user)

    def lies_in(self, path: str) -> bool:
        """Whether the folder with a real path has Airflow's own files below it."""
        return any(own != path and is_below(own, path) for own in (self.home, *self.own))


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is the folder or inside it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_home(folder: str) -> bool:
    homes = {os.path.realpath(os.path.expanduser("~")), os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir), "/root"}
    return folder in homes or os.path.dirname(folder) in ("/home", "/Users")


def why_no_root(folder: str, airflow: AirflowFolders) -> str | None:
    """The reason why a folder, by its real path, can never be a root of documents; None if it can."""
    if folder in _NEVER:
        return "everybody's files are in it"
    if is_home(folder):
        return "it is a home directory"
    if folder == airflow.home:
        return "it is Airflow's home, with its settings, keys and logs"
    return None
