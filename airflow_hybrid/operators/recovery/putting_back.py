# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Lost files that have checkpoints are put back, before any job is run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_hybrid.amounts import counted, size
from airflow_hybrid.config import Link
from airflow_hybrid.config.rendering import rendered_deployments
from airflow_hybrid.model import JsonValue, LineageEntry
from airflow_hybrid.operators.context.run import deployments_of_run
from airflow_hybrid.operators.recovery.producers import Producer
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.operators.templates import renderer

if TYPE_CHECKING:
    from airflow.sdk import Context

PUT_BACK_XCOM = "put_back"
"""key of the XCom with what a task has put back: ``{"file", "from", "bytes", "times"}``"""
MOST_TIMES = 3
"""that a task puts the same file back: something removes it while the run works"""
_MOST_PUBLISHED = 100


@dataclass(frozen=True)
class Made:
    """What a task has made: its settings, the value that it has published, and which files of it are lost."""

    setup: StepSetup
    value: JsonValue
    lost: Sequence[str]


class PuttingBack:
    """What a task puts back from checkpoints.

    :ivar entries: for people, by the URI of each file.
    """

    def __init__(self, log: Any, context: Context, published: JsonValue = None) -> None:
        """:param published: by an earlier worker of the same try; what is no such list counts as none."""
        self._log = log
        self._context = context
        self._times: Counter[str] = Counter()
        self.entries: dict[str, JsonValue] = {}
        for line in published if isinstance(published, list) else []:
            if isinstance(line, Mapping) and isinstance(line.get("times"), int):
                self._times[str(line.get("file"))] = line["times"]
                self.entries[str(line.get("file"))] = dict(line)

    def to_json(self) -> JsonValue:
        return list(self.entries.values())[-_MOST_PUBLISHED:]

    async def put_back(self, made: Made, producer: Producer) -> set[str]:
        """Put back what has a checkpoint; -> the URIs of the lost files that are there again."""
        from airflow_hybrid.engine.checkpoints.originals import lost_originals
        from airflow_hybrid.engine.checkpoints.putting_back import put_back

        checkpoints = made.setup.checkpoints
        wanted = [uri for uri in made.lost if self._times[uri] < MOST_TIMES]
        originals = lost_originals(made.value, wanted) if checkpoints else {}
        if not originals:
            return set()
        deployments = deployments_of_run(made.setup.deployments, self._context)
        entries = await put_back(
            list({original.ref.uri: original for original in originals.values()}.values()),
            checkpoints,
            rendered_deployments(deployments, renderer(self._context)),
            Link.all_from_json(made.setup.links),
            self._log,
        )
        there = {entry.destination: entry for entry in entries}
        back = {uri: there[original.ref.uri] for uri, original in originals.items() if original.ref.uri in there}
        for uri, entry in back.items():
            self._note(uri, entry)
        if back:
            self._log.warning(
                "%s that task %s made were gone, and were put back from checkpoints: %s (%s)",
                counted(len(back), "file"), producer.title, ", ".join(sorted(_places(entries))),
                size(sum(entry.bytes for entry in entries)),
            )  # fmt: skip
        return set(back)

    def _note(self, uri: str, entry: LineageEntry) -> None:
        self._times[uri] += 1
        line = {"file": uri, "from": entry.source, "bytes": entry.bytes, "times": self._times[uri]}
        self.entries.pop(uri, None)
        self.entries[uri] = line


def _places(entries: Sequence[LineageEntry]) -> set[str]:
    from airflow_hybrid.engine.checkpoints.putting_back import source_of

    return {source_of(entry) for entry in entries}
