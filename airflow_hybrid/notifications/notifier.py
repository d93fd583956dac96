# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A notifier that adds the run's summary to what other notifiers send."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.notifier import BaseNotifier

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.notifications.reading import summary_of

if TYPE_CHECKING:
    from airflow.sdk import Context

use_airflow_conf()

SUMMARY_KEY = "hybrid_summary"


class RunSummaryNotifier(BaseNotifier):
    """Reads the summary of a run, and hands it to others who send it.

    For ``on_success_callback`` and ``on_failure_callback`` of a DAG, or of tasks. In templates of the notifiers,
    ``{{ hybrid_summary }}`` is the whole text, ``{{ hybrid_summary.title }}`` one line, ``{{ hybrid_summary.html }}``
    the text for a mail in HTML. Callables find it in their context. Without any, the summary is logged.

    :param senders: notifiers of any provider, and callbacks.
    """

    def __init__(self, *senders: Callable[[Any], Any]) -> None:
        super().__init__()
        given: tuple[Any, ...] = senders
        for sender in given:
            if not callable(sender):
                hint = "give notifiers, or functions of the context"
                raise ConfigError(f"a sender of summaries is {sender!r}", hint=hint)
        self.senders = senders

    def notify(self, context: Context) -> None:
        """Send the summary by each sender. If one fails, the others send nevertheless, and then its error is raised."""
        summary = summary_of(context)
        values: dict[str, Any] = context  # type: ignore[assignment]
        values[SUMMARY_KEY] = summary
        if not self.senders:
            self.log.info("%s", summary)
        failure: Exception | None = None
        for sender in self.senders:
            try:
                sender(values)
            except Exception as error:
                self.log.exception("a summary was not sent")
                failure = error
        if failure is not None:
            raise failure
