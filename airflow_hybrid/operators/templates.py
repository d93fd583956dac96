# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Templates of a hybrid file, rendered as Airflow renders those of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from airflow_hybrid.errors import InputError
from airflow_hybrid.model.templates import Render
from airflow_hybrid.printable import shortened

if TYPE_CHECKING:
    from airflow.sdk import Context

_HINT = (
    "`Templates reference` in Airflow's documentation lists what there is. A run without a logical date (triggered"
    " without one, or by an asset) has no `ds` and no data interval; `dag_run.run_after` is there in every run"
)


def renderer(context: Context) -> Render:
    """What renders a template for the task's DAG run.

    It raises InputError, with the template and why it cannot be rendered.
    """
    ti: Any = context["ti"]

    def render(template: str) -> Any:
        try:
            return ti.task.render_template(template, context)
        except Exception as error:  # a template may call whatever Airflow offers, Variables and Connections too
            raise InputError(
                f"the template `{shortened(template, 200)}` cannot be rendered: {error}",
                hint=_HINT,
                # what Airflow was asked for may be there the next time
                retryable=not isinstance(error, TemplateError),
            ) from error

    return render
