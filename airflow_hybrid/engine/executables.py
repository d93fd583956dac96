# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which input files are executable by their owner: files on this machine are read, sites are asked."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.placing.places import ref_of
from airflow_hybrid.errors import CommandError, SiteError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, CwlObject, FileRef
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.store import executables_word
from airflow_hybrid.sites.hosts.base import FOLDER_BYTES, PATH_BYTES, Command, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.job_folders import job_directory_of
from airflow_hybrid.sites.hosts.joining import run_joined


def words_for(files: Sequence[CwlObject], deployments: Mapping[str, Deployment]) -> dict[str, str]:
    """The result of :func:`airflow_hybrid.sites.files.store.executables_word` for Files and Directories, by location.

    Files that are not on this machine, or cannot be read, are left out. Blocks; follows links, as a copy does.
    """
    words: dict[str, str] = {}
    for file in files:
        ref = ref_of(file)
        if ref is not None and _is_here(ref, deployments):
            word = executables_word(_names(ref.path))
            if word:
                words[file["location"]] = word
    return words


async def words_at_sites(files: Sequence[CwlObject], locations: Locations, log: Logger) -> dict[str, str]:
    """The same for files elsewhere, with one command per site; files on this machine are left out.

    A site that does not answer only causes a warning: all of its files may have been copied already.
    """
    asked: dict[tuple[str, str], dict[str, FileRef]] = {}
    for file in files:
        ref = ref_of(file)
        if ref is not None and not _is_here(ref, locations.deployments):
            asked.setdefault((ref.deployment, ref.location), {})[file["location"]] = ref
    words_by_location: dict[str, str] = {}
    for refs in asked.values():
        try:
            host = await locations.host_of(next(iter(refs.values())))
            names = await _names_at(host, [ref.path for ref in refs.values()])
        except SiteError as error:
            log.warning("it is unknown which of %d input files are executable: %s", len(refs), error)
            continue
        words = {location: executables_word(here) for location, here in zip(refs, names, strict=True)}
        words_by_location.update({location: word for location, word in words.items() if word})
    return words_by_location


async def _names_at(host: Host, paths: Sequence[str]) -> list[list[str]]:
    """For each path, the names of the executable files in it, as :func:`_names` gives them."""
    # links in a job's own outputs are not followed: they are not copied either
    items = (f"{'P' if job_directory_of(path) else 'L'}{path}\0" for path in paths)
    text = f"/usr/bin/env xargs -0 -r sh -c {shlex.quote(_LOOK)} sh\nprintf '#end\\0'"
    stdin = "".join(items).encode(errors="surrogateescape")
    command = Command(text, stdin, settings.current().look_timeout, "look for executables")
    with answers_up_to(answer_bytes(len(paths), PATH_BYTES, FOLDER_BYTES)):
        answer = await run_joined(host, "executables", command)
    fields = answer.out.split("\0")
    names_by_path: list[list[str]] = [[]]
    for entry in fields[:-2]:
        if entry:
            names_by_path[-1].append(entry[1:] and f"/{entry[1:]}")
        else:
            names_by_path.append([])
    if fields[-2:] != ["#end", ""] or len(names_by_path) != len(paths) + 1:
        raise CommandError(
            f"the look for executables was not answered ({len(names_by_path) - 1} of {len(paths)})", answer.end
        )
    return names_by_path[:-1]


# staging reports files that cannot be read
_LOOK = r"""for ah_f; do
    /usr/bin/env find "-${ah_f%"${ah_f#?}"}" "${ah_f#?}" -type f -perm -100 -printf 'x%P\0' 2>/dev/null
    printf '\0'
done
"""


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
        return False  # staging reports what is wrong with it
    return stat.S_ISREG(mode) and mode & stat.S_IXUSR != 0
