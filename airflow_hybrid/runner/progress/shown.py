# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether a runner shows the progress of its run, and where from."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

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

    def draw(self, columns: int, rows: int, encoding: str) -> Text:
        from airflow_hybrid.runner.progress.lines import drawn, starting

        if self._progress is None:
            return starting(time.monotonic() - self._began)
        return drawn(self._progress.view(), columns, rows, encoding)


def is_terminal() -> bool:
    """Whether stderr is a terminal that can move its cursor."""
    return os.isatty(2) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


@contextlib.contextmanager
def shown_progress(*, is_wanted: bool) -> Iterator[ShownProgress]:
    """Show the progress of a run while it goes on, if it is wanted and stderr is a terminal."""
    shown = ShownProgress(is_drawn=is_wanted and is_terminal())
    with contextlib.ExitStack() as stack:
        if shown.is_drawn:
            from airflow_hybrid.runner.progress.terminal import drawing

            try:
                stack.enter_context(drawing(shown.draw))
            except OSError:  # there is no pty left: a run does not depend on it
                shown.is_drawn = False
        yield shown


def _planned(dag_id: str, outline: DagOutline) -> Mapping[str, int]:
    """What the plans of the run have found: the only one in the database of a runner."""
    from airflow.utils.session import create_session

    from airflow_hybrid.runs.jobs import latest_runs
    from airflow_hybrid.runs.overview import planned_of_run

    with create_session() as session:
        (run,) = latest_runs(session, dag_id, 1)
        return planned_of_run(session, run, outline)
