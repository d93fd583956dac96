# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docs/reference/metrics.md`` from the table: ``python -m airflow_hybrid.metrics.reference FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from airflow_hybrid.metrics.table import METRICS

_INTRODUCTION = """\
<!-- Made from the table of metrics by `python -m airflow_hybrid.metrics.reference`; a test compares them. -->
# Metrics

airflow_hybrid sends its metrics by Airflow's own StatsD, Datadog or OpenTelemetry client, so everything in Airflow's
section `[metrics]` applies: where they go, `statsd_prefix`, `metrics_allow_list`, `metrics_block_list`, tags. Nothing
else has to be set, and nothing is sent where Airflow sends nothing.

    [metrics]
    statsd_on = True                 # needs: pip install 'apache-airflow[statsd]'
    statsd_host = statsd.example.org
    statsd_influxdb_enabled = True   # tags; without them use the second form below
    metrics_allow_list = hybrid,triggers,dagrun

As with Airflow's own metrics there are two forms, `hybrid.jobs.ended` with tags and, unless `[metrics] legacy_names_on`
is off, `hybrid.jobs.ended.<deployment>.<state>`, for servers that know no tags: the tags' values follow the name, in
the order of the table. In values, characters that names cannot have become `_`, and a dot becomes `__`.

Metrics are sent by the process in which a step's life takes place: the triggerer, or the worker for steps that run in
workers (`local`). Gauges come from triggerers only, because each worker process knows only its own task. `hostname` is
the triggerer's, so several triggerers add up. Counters are summed per batch: a batch of 1,000 jobs sends as much as one
of 10. A process that is killed sends nothing more; what it had submitted is counted as `reattached` by the next one.

| metric | kind | tags | |
|---|---|---|---|"""

_END = """
What to watch: `hybrid.jobs.state_unknown` that grows (a site that does not answer), `hybrid.jobs.ended` with other
states than `success`, `hybrid.jobs.queue_wait`, and Airflow's own `triggers.blocked_main_thread` and
`triggers.running`.
"""


def reference() -> Iterator[str]:
    """Yield the page's lines."""
    yield _INTRODUCTION
    for metric in METRICS:
        tags = ", ".join(f"`{tag}`" for tag in metric.tags)
        yield f"| `{metric.name}` | {metric.kind} | {tags} | {metric.description} |"
    yield _END


def main(path: str) -> None:
    """Write the page to ``path``."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(reference()).rstrip() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
