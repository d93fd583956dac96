# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""cwltool's modules, adapted once per process."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterator
from typing import Any

import cwltool.workflow_job
from cwltool.context import RuntimeContext
from cwltool.utils import get_listing
from cwltool.workflow_job import ReceiveScatterOutput

from airflow_hybrid.cwl import basic_types, corrections, growth, messages
from airflow_hybrid.cwl.javascript import node as javascript

cwltool_log = logging.getLogger("cwltool")
_serial = itertools.count()


def list_where_possible(fs: Any, value: Any, recursive: bool = True) -> None:
    """Directory listings for ``valueFrom``; left out if nobody can list (cwltool would show empty directories)."""
    if getattr(fs, "lists", True):
        get_listing(fs, value, recursive)


def _serial_name(stem: str, names: set[str] | None = None) -> str:
    return f"{stem} {next(_serial)}"


def _drain_in_turn(steps: list[Any], scatter: ReceiveScatterOutput, context: RuntimeContext) -> Iterator[Any]:
    """``parallel_steps`` in linear time: cwltool's version starts again at the first job after each job that it yields.

    A failed job does not stop the others, so a retry only has to repeat failed jobs.
    """
    active = list(enumerate(steps))
    while scatter.completed < scatter.total:
        progress, waiting = False, []
        before = scatter.completed
        for index, step in active:
            if step is None:
                continue
            ended = True
            try:
                for item in step:
                    if item is None:
                        ended = False
                        break
                    progress = True
                    yield item
            except cwltool.errors.WorkflowException as error:
                cwltool_log.error("Cannot make scatter job: %s", error)
                scatter.receive_scatter_output(index, {}, "permanentFail")
            if not ended:
                waiting.append((index, step))
        active = waiting
        if not progress and scatter.completed == before and scatter.completed < scatter.total:
            yield None


@functools.cache
def prepare() -> None:
    """Adapt cwltool's modules, once per process: unique names in constant time and memory, linear scatter."""
    messages.quiet()
    basic_types.install()
    javascript.install()
    for module in (cwltool.command_line_tool, cwltool.workflow_job):
        setattr(module, "uniquename", _serial_name)  # noqa: B010 - names of other modules' attributes
    setattr(cwltool.workflow_job, "parallel_steps", _drain_in_turn)  # noqa: B010
    setattr(cwltool.workflow_job, "get_listing", list_where_possible)  # noqa: B010
    corrections.install()
    growth.install()
