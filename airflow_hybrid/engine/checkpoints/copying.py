# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Copy the outputs of jobs that have ended, while the next ones run.

The task waits for its copies before it ends, so that whoever is killed has nothing to remember: the next try finds what
is there, and copies the rest. A copy that fails is tried again, and is a warning in the end: the run goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from airflow_hybrid.amounts import counted, size
from airflow_hybrid.config import Deployment, checkpoints_of_step
from airflow_hybrid.engine.checkpoints.originals import Original, originals_of
from airflow_hybrid.engine.checkpoints.stores import open_store
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.step_run import StepRun
from airflow_hybrid.errors import HybridError, SiteError
from airflow_hybrid.model import Checkpoint, CwlObject, JsonValue, LineageEntry
from airflow_hybrid.model.walking import files
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.files.objects import is_object
from airflow_hybrid.sites.patience.backoff import Backoff

PAUSE_S, MOST_PAUSE_S = 5.0, 60.0
LIMIT_S = 120.0
"""how long copies that fail are tried again"""
Group = Sequence[Original]


class Checkpoints:
    """Copies outputs of one fragment.

    :param lineage: gets an entry for each copy.
    """

    def __init__(self, context: FragmentContext, lineage: list[LineageEntry]) -> None:
        self.context = context
        self._lineage = lineage
        self._copies: list[asyncio.Task[None]] = []
        self._later: list[tuple[str, Checkpoint, list[Group]]] = []
        """outputs of several steps in one task, of which only some are for other tasks"""

    def begin(self, run: StepRun, outputs: Mapping[str, CwlObject]) -> None:
        """Begin to copy the outputs of jobs, if their step has a checkpoint.

        :param outputs: by the key of the job.
        """
        if not outputs:
            return
        spec = self.context.spec
        step_path = run.jobs[next(iter(outputs))].job.step_path
        checkpoints = checkpoints_of_step(spec.bindings, spec.checkpoint, step_path)
        for checkpoint in checkpoints.all:
            if _is_at(run.place.host.deployment, checkpoint, spec.deployments):
                self.context.log.warning(
                    "%s: no second copies of its outputs: they are at `%s` themselves", step_path, checkpoint.target
                )
                continue
            groups: list[Group] = []
            for key, value in outputs.items():
                own = {port: made for port, made in value.items() if checkpoints.of(port) == checkpoint}
                groups.append(originals_of(own, run.jobs[key].outdir, run.place.facts))
            if len(spec.leaves) > 1:
                self._later.append((step_path, checkpoint, groups))
            else:
                self._begin(step_path, checkpoint, groups)

    def _begin(self, step_path: str, checkpoint: Checkpoint, groups: Sequence[Group]) -> None:
        groups = [group for group in groups if group]
        if groups:
            self._copies.append(asyncio.ensure_future(self._copy(step_path, checkpoint, groups)))

    async def finish(self, published: JsonValue) -> None:
        """Wait for all copies; none of them fails the task.

        :param published: the outputs of the task.
        """
        if self._later:
            locations = {str(file.get("location")) for file in files(published)}
            for step_path, checkpoint, groups in self._later:
                kept = [[original for original in group if original.ref.uri in locations] for group in groups]
                self._begin(step_path, checkpoint, kept)
        for result in await asyncio.gather(*self._copies, return_exceptions=True):
            if isinstance(result, Exception):
                self.context.log.warning(
                    "a defect of airflow_hybrid, please report it: outputs have no checkpoint: %r", result
                )
            elif isinstance(result, BaseException):
                raise result

    async def give_up(self) -> None:
        """End what is being copied: the task fails, or was stopped."""
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)

    async def _copy(self, step_path: str, checkpoint: Checkpoint, jobs: Sequence[Group]) -> None:
        """:param jobs: the outputs of each job; at first they go together, afterwards by themselves."""
        left: Sequence[Group] = [[original for job in jobs for original in job]]
        problem: HybridError | None = None
        until = time.monotonic() + LIMIT_S
        async for attempt in Backoff(PAUSE_S, MOST_PAUSE_S, spread=0.5, limit_s=LIMIT_S):
            left, problem = await self._attempt(step_path, checkpoint, left, until)
            if not left:
                return
            if attempt == 1:
                left = jobs
        number = sum(map(len, left))
        self.context.log.warning(
            "%s: %s of its outputs have no second copy at `%s`; the run goes on: %s",
            step_path, counted(number, "file"), checkpoint.target, problem,
        )  # fmt: skip

    async def _attempt(
        self, step_path: str, checkpoint: Checkpoint, groups: Sequence[Group], until: float
    ) -> tuple[Sequence[Group], HybridError | None]:
        """Copy; what is left, and why.

        :param until: the time after which nothing is begun any more when something has failed.
        """
        left: list[Group] = []
        problem: HybridError | None = None
        for number, group in enumerate(groups):
            try:
                await self._keep(step_path, checkpoint, group)
            except HybridError as error:
                problem = error
                left.append(group)
                is_away = isinstance(error, SiteError) and error.passes
                if is_away or time.monotonic() > until:
                    left.extend(groups[number + 1 :])
                    break
        return left, problem

    async def _keep(self, step_path: str, checkpoint: Checkpoint, group: Group) -> None:
        store = await open_store(self.context.spec.deployments, checkpoint)
        entries = await store.keep(group, self.context.mover, checkpoint.expire_s)
        moved = [entry for entry in entries if not entry.reused]
        self._lineage.extend(moved)
        self.context.log.info(
            "%s: second copies of %s at %s: %d made (%s), %d already there",
            step_path, counted(len(entries), "output"), store.title, len(moved),
            size(sum(entry.bytes for entry in moved)), len(entries) - len(moved),
        )  # fmt: skip


def _is_at(deployment: str, checkpoint: Checkpoint, deployments: Mapping[str, Deployment]) -> bool:
    """Whether the files of a deployment are those of the checkpoint's own."""
    target = checkpoint.target
    return not is_object(target) and open_connector(deployments, target).storage == deployment
