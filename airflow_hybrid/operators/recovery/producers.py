# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which tasks of a DAG run have made files that are lost. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

_GENERATION = re.compile(r"g\d+-[0-9a-f]{10}(?=@|\Z)")


@dataclass(frozen=True)
class Producer:
    """A task instance that made files.

    :ivar map_index: -1 if the task is not mapped.
    :ivar mark: the last part of its task directory's name: generation and origin.
    :ivar lost: by the key of each job of which files are lost, the name of the batch that made them.
    :ivar files: URIs of the files.
    """

    task_id: str
    map_index: int
    mark: str
    lost: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """For messages: ``align[3]``."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


def producers_of(files: Iterable[str], folders: Mapping[str, str]) -> list[Producer] | None:
    """The task instances that made files; None: at least one file was made by no job of these tasks.

    :param files: URIs.
    :param folders: task ids by the tasks' folders (:func:`airflow_hybrid.model.task_folders.task_folder`).
    """
    found: dict[tuple[str, int, str], Producer] = {}
    for uri in files:
        maker = _maker(uri, folders)
        if maker is None:
            return None
        producer, key, batch = maker
        producer = found.setdefault((producer.task_id, producer.map_index, producer.mark), producer)
        producer.lost[key] = batch
        producer.files.append(uri)
    return list(found.values())


def maker_in(folders: Mapping[str, str]) -> Callable[[str], str]:
    """What tells the title of the task that made a file, by its URI; empty: none of these.

    :param folders: as for :func:`producers_of`.
    """

    def title(uri: str) -> str:
        found = _maker(uri, folders)
        return "" if found is None else found[0].title

    return title


def _maker(uri: str, folders: Mapping[str, str]) -> tuple[Producer, str, str] | None:
    """The task that made a file, and the job's key and batch."""
    try:
        ref = FileRef.of(uri)
    except ValueError:
        return None
    job = None if ref is None else job_directory_of(ref.path)
    if job is None:
        return None
    *above, generation, batch, key = job.split("/")
    mark = _GENERATION.match(generation)
    if mark is None:
        return None
    if above and above[-1].isdecimal() and (task_id := folders.get("/".join(above[-4:-1]))) is not None:
        return Producer(task_id, int(above[-1]), mark[0]), key, batch
    task_id = folders.get("/".join(above[-3:]))
    return None if task_id is None else (Producer(task_id, -1, mark[0]), key, batch)
