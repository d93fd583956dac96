# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The summary of a run for people who are told of its end: :class:`RunSummaryNotifier`."""

from __future__ import annotations

from airflow_hybrid.notifications.notifier import RunSummaryNotifier

__all__ = ["RunSummaryNotifier"]
