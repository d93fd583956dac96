# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a run's outputs may go: only below folders that the DAG allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import FileRef, WorkflowGraph
from airflow_hybrid.model.locations import scheme_of
from airflow_hybrid.model.templates import Render
from airflow_hybrid.operators.gather.existing import RENAME
from airflow_hybrid.operators.templates import filled
from airflow_hybrid.params import OUTDIR_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context


@dataclass(frozen=True)
class Outdirs:
    """Where outputs go, as templates.

    :ivar run: of one run; ``roots``: folders below which a run may choose one, first the one that contains ``run``.
    :ivar existing: what to do with outputs whose names are taken: see
        :data:`airflow_hybrid.operators.gather.existing.EXISTING`
    :ivar record: whether a record of the run is written there, too; ``report``: the formats of a
        report about it.
    """

    run: str
    roots: tuple[str, ...]
    existing: str = RENAME
    record: bool = False
    report: tuple[str, ...] = ()


def conf_outdir(graph: WorkflowGraph, context: Context, roots: Sequence[str]) -> str | None:
    """:func:`chosen_outdir` for a run's conf, in which ``outdir`` may also be an input of the workflow."""
    if any(port.name == OUTDIR_KEY for port in graph.inputs):
        return None
    conf = dict(getattr(context["dag_run"], "conf", None) or {})
    return chosen_outdir(conf.get(OUTDIR_KEY), roots)


def chosen_outdir(value: Any, roots: Sequence[str]) -> str | None:
    """The checked ``outdir`` of a run's conf; None if it has none.

    :param roots: folders of this machine and URLs of object stores; the real path must be below one of them.
    :raises InputError: it is elsewhere; or it is in, or contains, Airflow's own files or DAGs, and no root is in these.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _refused("must be a string: a path or a URL", None)
    if is_store(value):
        _check_url(value, [root for root in roots if is_store(root)])
    else:
        _check_path(value, [local_path(root) for root in roots if not is_store(root)])
    return value


def check_own(outdir: str, root: str) -> None:
    """Check the DAG's own ``outdir``, which may contain a run's id and inputs: it must stay in the folder of all runs.

    :raises InputError: it does; or it is in, or contains, Airflow's own files or DAGs, and the folder is not in these.
    """
    if is_store(outdir):
        problem = None if _url_below(outdir, root) else f"is not below {root}"
    else:
        target, around = (os.path.realpath(local_path(path)) for path in (outdir, root))
        problem = _protected_problem(target, [around]) if _below(target, around) else f"is not below {root}"
    if problem:
        raise InputError(f"the run's outputs would go to {outdir}, which {problem}", where="`outdir`")


def rendered_outdirs(templates: Sequence[str], render: Render) -> list[str]:
    """:raises InputError: a template cannot be rendered, or has no value."""
    try:
        return [filled(text, render) for text in templates]
    except InputError as error:
        error.where = error.where or "`outdir`"
        raise


def is_store(outdir: str) -> bool:
    """Whether it is a URL of an object store, and not a folder of this machine."""
    return "://" in outdir and scheme_of(outdir) != "file"


def local_path(outdir: str) -> str:
    """The path of a ``file:`` URL, or the path itself."""
    return FileRef.parse(outdir).path if scheme_of(outdir) == "file" else os.path.abspath(outdir)


def _check_path(value: str, roots: Sequence[str]) -> None:
    try:
        target = os.path.realpath(local_path(value))
    except ValueError as error:
        raise _refused(f"{value!r} is not a path: {error}", None) from None
    real = [os.path.realpath(root) for root in roots]
    around = [root for root in real if _below(target, root)]
    if not around:
        raise _refused(f"{value!r} is not below a folder that the DAG allows", roots)
    if problem := _protected_problem(target, around):
        raise _refused(f"{value!r} {problem}", roots)


def _protected_problem(target: str, around: Sequence[str]) -> str | None:
    """:param around: the allowed folders that a folder is in; all of these are real paths."""
    for protected, what in _protected():
        if _below(protected, target) and target != protected:
            return f"contains {what} ({protected})"
        if _below(target, protected) and not any(_below(root, protected) for root in around):
            return f"is among {what} ({protected})"
    return None


def _protected() -> list[tuple[str, str]]:
    from airflow.configuration import AIRFLOW_HOME, conf

    folders = [(conf.get("core", "dags_folder"), "the DAGs"), (AIRFLOW_HOME, "Airflow's own files")]
    return [(os.path.realpath(folder), what) for folder, what in folders]


def _check_url(value: str, roots: Sequence[str]) -> None:
    if not any(_url_below(value, root) for root in roots):
        raise _refused(f"{value!r} is not below a URL that the DAG allows", roots)


def _url_below(value: str, root: str) -> bool:
    path = urlsplit(value.replace("?", "%3F").replace("#", "%23")).path
    if any(unquote(name) in (".", "..") for name in path.split("/")):
        return False
    start = root.rstrip("/")
    return value == start or value.startswith(f"{start}/")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _refused(problem: str, roots: Sequence[str] | None) -> InputError:
    hint = None
    if roots is not None:
        allowed = f"this DAG allows: {', '.join(roots) or 'none of this kind'}"
        hint = f"{allowed}; its author may name more of them (`outdirs`)"
    return InputError(problem, where=f"conf key {OUTDIR_KEY!r}", hint=hint)
