# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A listener of Airflow, and a sender of e-mails, which note what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.listeners import hookimpl

note: Callable[[str, str, Any], None] = print


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    note("heard success", task_instance.task_id, None)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    note("heard failure", task_instance.task_id, error)


def mailed(to: Any, subject: str, html_content: str, **_: Any) -> None:
    """An e-mail backend (``[email] email_backend``)."""
    note(f"mail to {', '.join(to)}", "the job failed" if "the job failed<br>" in html_content else subject, None)
