# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Notes about jobs that nobody wants any more, and that may still run: their sites were away when they were cancelled.

One file each in a folder of Airflow's home, so that whoever comes first can end them: the process that was told to, a
triggerer of this machine, a later try of the task, or ``airflow hybrid cleanup``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.spec import FragmentSpec, TaskIdentity
from airflow_hybrid.settings import airflow_home

FOLDER = "airflow_hybrid_unended"
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Unended:
    """A note: the jobs of a fragment, up to its try, are to be cancelled.

    :ivar path: of its file; None: it could not be written.
    :ivar spec: what is needed to find them, without document and inputs.
    """

    path: Path | None
    spec: FragmentSpec

    @property
    def title(self) -> str:
        """For messages: DAG, run and task."""
        identity = self.spec.identity
        index = f"[{identity.map_index}]" if identity.map_index >= 0 else ""
        return f"{identity.dag_id} {identity.run_id} {identity.task_id}{index}"

    def remove(self) -> None:
        """The jobs are cancelled."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def note(spec: FragmentSpec, log: Logger) -> Unended:
    """Write a note; one that cannot be written is logged, and the jobs are cancelled without."""
    bare = replace(spec, document=None, instances=(), originals={})
    path = _path(spec.identity)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(bare.to_json(), stream)
        os.replace(temporary, path)
    except OSError as error:
        log.warning("what is to be cancelled cannot be noted in %s: %s", path.parent, error.strerror or error)
        return Unended(None, bare)
    return Unended(path, bare)


def noted(log: Logger) -> list[Unended]:
    """All notes; one that cannot be read is logged, and left."""
    found = [read(path, log) for path in sorted(_folder().glob("*.json"))]
    return [one for one in found if one is not None]


def before(identity: TaskIdentity) -> list[Path]:
    """The notes about earlier tries of a task, those before it was cleared among them."""
    earlier = [replace(identity, try_number=number) for number in range(1, identity.try_number)]
    return [path for path in map(_path, _with_generations(earlier)) if path.exists()]


def read(path: Path, log: Logger) -> Unended | None:
    """One note; None: it is not there any more, or cannot be read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # reading anything else could take forever
            raise ValueError("it is not a file")
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too long")
        spec = FragmentSpec.from_json(json.loads(path.read_text(encoding="utf-8")))
        if type(spec.identity.try_number) is not int or _path(spec.identity).name != path.name:
            raise ValueError("it is about another task than its name says")
    except FileNotFoundError:  # somebody else was faster
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("the note %s about jobs that are to be cancelled cannot be read: %s", path, error)
        return None
    return Unended(path, spec)


def _with_generations(tries: list[TaskIdentity]) -> Iterator[TaskIdentity]:
    for identity in tries:
        for generation in range(identity.generation + 1):
            yield replace(identity, generation=generation)


def _folder() -> Path:
    return Path(airflow_home(), FOLDER)


def _path(identity: TaskIdentity) -> Path:
    name = f"{identity.directory} {identity.try_number}"
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
