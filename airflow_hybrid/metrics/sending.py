# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where metrics go: to a receiver that a room with Airflow gives; to nowhere without one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from airflow_hybrid.metrics.table import Metric

log = logging.getLogger(__name__)


class Receiver(Protocol):
    """Sends metrics. Its calls must not wait for anything."""

    def count(self, metric: Metric, number: int, tags: dict[str, str]) -> None:
        """Add to a counter."""

    def gauge(self, metric: Metric, value: int, tags: dict[str, str]) -> None:
        """Set a gauge of this process."""

    def time(self, metric: Metric, seconds: float, tags: dict[str, str]) -> None:
        """Send a duration."""


_receiver: Receiver | None = None
_levels: Counter[tuple[Metric, str]] = Counter()


def send_to(receiver: Receiver | None) -> None:
    """Send this process's metrics to ``receiver`` from now on; None: nowhere."""
    global _receiver
    _receiver = receiver


def count(metric: Metric, number: int, *, deployment: str, **tags: str) -> None:
    """Add to a counter: once per batch, not per job."""
    if _receiver is not None and number:
        _send(_receiver.count, metric, number, {"deployment": deployment, **tags})


def time(metric: Metric, seconds: float, *, deployment: str, **tags: str) -> None:
    """Send a duration."""
    if _receiver is not None:
        _send(_receiver.time, metric, seconds, {"deployment": deployment, **tags})


def change(metric: Metric, by: int, *, deployment: str) -> None:
    """Change a gauge, which is the sum of all changes in this process."""
    if not by:
        return
    _levels[metric, deployment] += by
    if _receiver is not None:
        _send(_receiver.gauge, metric, _levels[metric, deployment], {"deployment": deployment})


def _send(send: Callable[[Metric, float, dict[str, str]], None] | Callable[[Metric, int, dict[str, str]], None],
          metric: Metric, value: float, tags: dict[str, str]) -> None:  # fmt: skip
    try:
        send(metric, value, tags)  # type: ignore[arg-type]
    except Exception:  # of whatever library sends it: a job must not fail by a metric
        log.exception("metrics are not sent by this process any more: %s could not be sent", metric.name)
        send_to(None)
