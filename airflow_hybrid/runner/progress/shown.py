# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether a runner shows the progress of its run, and where from."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_hybrid.runner.progress.terminal import drawing, is_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from airflow_hybrid.model.outline import DagOutline
    from airflow_hybrid.runner.progress.following import RunProgress


class ShownProgress:
    """What is drawn: at first that Airflow starts, which takes seconds, and then a run."""

    def __init__(self, *, is_drawn: bool) -> None:
        self.is_drawn = is_drawn
        self._began = time.monotonic()
        self._progress: RunProgress | None = None

    def of(self, dag: Any) -> RunProgress | None:
        """What the run of ``dag`` has to tell of itself; None: nobody wants to know."""
        if not self.is_drawn:
            return None
        # importing these loads Airflow
        from airflow_hybrid.model.outline import DagOutline
        from airflow_hybrid.operators.values import OUTPUTS_TASK
        from airflow_hybrid.runner.progress.following import RunProgress

        outline = DagOutline.from_text(dag.task_dict[OUTPUTS_TASK].doc_json)
        self._progress = RunProgress(outline, lambda: _planned(dag.dag_id, outline))
        return self._progress

    def draw(self, columns: int, rows: int, encoding: str) -> RenderableType:
        from airflow_hybrid.runner.progress.lines import drawn, starting

        if self._progress is None:
            return starting(time.monotonic() - self._began)
        return drawn(self._progress.view(), columns, rows, encoding)


@contextlib.contextmanager
def shown_progress(*, is_wanted: bool) -> Iterator[ShownProgress]:
    """Show the progress of a run while it goes on, if it is wanted and stderr is a terminal."""
    shown = ShownProgress(is_drawn=is_wanted and is_terminal())
    if not shown.is_drawn:
        yield shown
        return
    with drawing(shown.draw):
        yield shown


def _planned(dag_id: str, outline: DagOutline) -> Mapping[str, int]:
    """What the plans of the run have found: the only one in the database of a runner."""
    from airflow.utils.session import create_session

    from airflow_hybrid.runs.jobs import latest_runs
    from airflow_hybrid.runs.overview import planned_of_run

    with create_session() as session:
        (run,) = latest_runs(session, dag_id, 1)
        return planned_of_run(session, run, outline)
