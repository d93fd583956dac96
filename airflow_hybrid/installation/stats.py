# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Metrics by Airflow's own client: StatsD, Datadog or OpenTelemetry, as its section ``[metrics]`` says."""

from __future__ import annotations

import datetime
import logging
from typing import Any

from airflow_hybrid import metrics
from airflow_hybrid.metrics import Metric

log = logging.getLogger(__name__)


class AirflowStats:
    """Sends to the SDK's client, as Airflow's tasks do.

    :param gauges: whether this process knows enough to send gauges.
    :param names_too: also send each metric under a name with the values of its tags, for servers without tags.
    """

    def __init__(self, stats: Any, hostname: str, *, gauges: bool, names_too: bool) -> None:
        self._stats = stats
        self._hostname = hostname
        self._gauges = gauges
        self._names_too = names_too

    def count(self, metric: Metric, number: int, tags: dict[str, str]) -> None:
        if self._names_too:
            self._stats.incr(self._long_name(metric, tags), number)
        self._stats.incr(metric.name, number, tags=self._clean(tags))

    def gauge(self, metric: Metric, value: int, tags: dict[str, str]) -> None:
        if not self._gauges:
            return
        tags = {**tags, "hostname": self._hostname}
        if self._names_too:
            self._stats.gauge(self._long_name(metric, tags), value)
        self._stats.gauge(metric.name, value, tags=self._clean(tags))

    def time(self, metric: Metric, seconds: float, tags: dict[str, str]) -> None:
        duration = datetime.timedelta(seconds=seconds)
        if self._names_too:
            self._stats.timing(self._long_name(metric, tags), duration)
        self._stats.timing(metric.name, duration, tags=self._clean(tags))

    def _long_name(self, metric: Metric, tags: dict[str, str]) -> str:
        values = [self._plain(tags[tag]) for tag in metric.tags]
        return ".".join((metric.name, *values))

    def _clean(self, tags: dict[str, str]) -> dict[str, str]:
        """Values without what has a meaning in a server's lines: a name may have been written by anybody."""
        return {tag: self._stats.normalize_name_for_stats(value, log_warning=False) for tag, value in tags.items()}

    def _plain(self, value: str) -> str:
        # a dot would be a level of the hierarchy: Airflow's way
        plain: str = self._stats.normalize_name_for_stats(value, log_warning=False)
        return plain.replace(".", "__")


_prepared = False


def send_metrics(*, gauges: bool) -> None:
    """Send the metrics of this process, if Airflow's configuration says so. Blocks for a moment; may be called again.

    :param gauges: see :class:`AirflowStats`.
    """
    global _prepared
    if _prepared:
        return
    _prepared = True
    try:
        client = _client(gauges=gauges)
    except Exception:  # of whatever library is configured: a job must not fail by its metrics
        log.exception("metrics are not sent by this process: Airflow's client could not be made")
        return
    if client is not None:
        metrics.send_to(client)


def _client(*, gauges: bool) -> AirflowStats | None:
    """None: Airflow sends no metrics."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
    from airflow.utils.net import get_hostname

    factory = get_stats_factory()
    if factory is NoStatsLogger:
        return None
    names_too = conf.getboolean("metrics", "legacy_names_on")
    # a task's process has done that already; the process of triggers has not
    stats.initialize(factory=factory, export_legacy_names=names_too)
    hostname = str(get_hostname())  # type: ignore[no-untyped-call]
    return AirflowStats(stats, hostname, gauges=gauges, names_too=names_too)
