# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which input files their owner may execute, as far as this machine can tell without asking a site."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.places import ref_of
from airflow_hybrid.hooks.store import executables_word
from airflow_hybrid.model import LOCAL_DEPLOYMENT, CwlObject, FileRef


def words_for(files: Sequence[CwlObject], deployments: Mapping[str, Deployment]) -> dict[str, str]:
    """By location, what :func:`airflow_hybrid.hooks.store.executables_word` says of some Files and Directories.

    What is not on this machine, or cannot be read here, is left out. Blocks; links are followed, as a copy does.
    """
    found: dict[str, str] = {}
    for file in files:
        ref = ref_of(file)
        if ref is not None and _is_here(ref, deployments):
            word = executables_word(_names(ref.path))
            if word:
                found[file["location"]] = word
    return found


def _is_here(ref: FileRef, deployments: Mapping[str, Deployment]) -> bool:
    if ref.deployment == LOCAL_DEPLOYMENT:
        return True
    deployment = deployments.get(ref.deployment)
    return deployment is not None and deployment.type == "local"


def _names(path: str) -> list[str]:
    if _is_executable(path):
        return [""]
    names = []
    for folder, _, files in os.walk(path, followlinks=True):
        paths = (f"{folder}/{name}" for name in files)
        names += [at[len(path) :] for at in paths if _is_executable(at)]
    return names


def _is_executable(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # staging says what is wrong with it
    return stat.S_ISREG(mode) and mode & stat.S_IXUSR != 0
