# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a task's files are in every work directory: paths that everybody can tell from the task's names alone."""

from __future__ import annotations

import hashlib
import re

RUN_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""matches the result of :func:`run_folder` for a run"""


def run_folder(*names: str) -> str:
    """Relative path of the folder of a DAG run (``dag_id, run_id``), or of a DAG, in every work directory."""
    return "/".join(_safe(name) for name in names)


def task_folder(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Relative path of the folder of a task instance, with all of its generations, in every work directory."""
    folder = f"{run_folder(dag_id, run_id)}/{_safe(task_id)}"
    return f"{folder}/{map_index}" if map_index >= 0 else folder


def _safe(name: str) -> str:
    """A name that is safe as a path component anywhere; a changed name gets a digest, so that two never collide.

    Dots (of a run id's fraction of a second) are replaced too: documents cut paths at the first dot to drop a suffix.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name).lstrip("-") or "_"
    if safe == name and len(safe) <= 100:
        return safe
    return f"{safe[:90]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"
