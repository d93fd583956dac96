# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid cleanup``: removes what ended or unknown runs have left at the sites.

That is four kinds of things: jobs of tasks that were stopped while their site was away; deployments that were made
for a run and still exist (Airflow or its machine was killed before the teardown); checkpoints whose time is over; and,
only with a minimum age, the runs' folders in work directories. Queued and running runs, and what another Airflow made,
are not touched.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from airflow_hybrid import shell_text
from airflow_hybrid.amounts import counted
from airflow_hybrid.config import Deployment, WorkflowConfig, for_run, is_store, load_hybrid_file
from airflow_hybrid.engine import FragmentExecution, unended
from airflow_hybrid.engine.checkpoints.expiry import expired, remove_expired
from airflow_hybrid.engine.checkpoints.objects import ObjectStore
from airflow_hybrid.engine.checkpoints.stores import checkpoints_at
from airflow_hybrid.engine.unended import Unended
from airflow_hybrid.errors import HybridError, SiteError
from airflow_hybrid.model import Checkpoint
from airflow_hybrid.model.task_folders import RUN_FOLDER, run_folder
from airflow_hybrid.operators.base import in_worker
from airflow_hybrid.operators.context.run import instance_id, run_token
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.printable import redacted
from airflow_hybrid.removal import MARKER
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.base import FOLDER_BYTES, answers_up_to

log = logging.getLogger(__name__)
Runs = Mapping[tuple[str, str], str]
"""(DAG id, run id) -> state"""
_UNPROVEN = (
    f"which has no marker (`{MARKER}`): an older version of airflow_hybrid, or somebody else, made it. "
    "If nobody needs it, remove it by hand"
)


@dataclass
class CleanupScope:
    """Where to look: DAGs, their deployments, and the work directories that bindings name.

    :ivar workdirs: (deployment, service, work directory or None for the deployment's own).
    :ivar skipped: deployments that are not looked at here.
    :ivar stores: URLs of object stores with checkpoints.
    """

    deployments: dict[str, Deployment]
    dag_ids: set[str]
    workdirs: set[tuple[str, str | None, str | None]] = field(default_factory=set)
    skipped: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Leftover:
    """One thing to be removed.

    :ivar at: the location; ``what``: description for people; ``run``: the run that it belongs to, if known.
    :ivar token: of a deployment that was made for a run; ``path``: otherwise the folder of a run in ``workdir``.
    """

    scope: int
    deployment: str
    at: str
    what: str
    run: str
    token: str = ""
    service: str | None = None
    workdir: str = ""
    path: str = ""
    checkpoints: str = ""
    """their folder, of which what has expired is removed"""

    def __str__(self) -> str:
        if self.checkpoints:
            where = f"{self.deployment} at {self.at}: " if self.deployment else ""
            return f"{where}{self.what} in {self.at if is_store(self.checkpoints) else self.checkpoints}"
        return f"{self.deployment} at {self.at}: {self.what} of {self.run}"


@dataclass(frozen=True)
class _WorkPlace:
    """A work directory of a deployment.

    :ivar scope: number of the scope that it is in.
    :ivar workdir: None: the deployment's own.
    """

    scope: int
    deployment: str
    service: str | None
    workdir: str | None


def scopes(file: str | None) -> list[CleanupScope]:
    """The scope of a hybrid file; without one, those of all hybrid DAGs in the DAGs folder.

    :raises ConfigError: the file is wrong.
    """
    if file is not None:
        hybrid = load_hybrid_file(file)
        places = {place for workflow in hybrid.workflows.values() for place in _checkpoints_of(workflow)}
        scope = CleanupScope(dict(hybrid.deployments), set(), stores=_stores(places))
        for name, workflow in hybrid.workflows.items():
            scope.dag_ids.add(str(workflow.dag.get("dag_id") or name))
            for binding in workflow.bindings:
                scope.workdirs.update((t.deployment, t.service, t.workdir) for t in binding.targets)
        return [scope]
    from airflow.dag_processing.dagbag import DagBag

    from airflow_hybrid.dag.hybrid_dag import HybridDag

    scopes_of_dags = []
    for dag in DagBag().dags.values():
        if isinstance(dag, HybridDag):
            targets = {(t.deployment, t.service, t.workdir) for b in dag.bindings for t in b.targets}
            setups = (getattr(task, "partial_kwargs", vars(task)).get("setup") for task in dag.tasks)
            places = {place for setup in setups if isinstance(setup, StepSetup) for place in setup.checkpoints}
            scopes_of_dags.append(CleanupScope(dict(dag.deployments), {dag.dag_id}, targets, stores=_stores(places)))
    return scopes_of_dags


def _checkpoints_of(workflow: WorkflowConfig) -> Iterator[Checkpoint]:
    for checkpoint in (workflow.checkpoint, *(binding.checkpoint for binding in workflow.bindings)):
        if checkpoint is not None:
            yield checkpoint


def _stores(checkpoints: Iterable[Checkpoint]) -> frozenset[str]:
    """Those that are URLs of object stores."""
    return frozenset(checkpoint.target for checkpoint in checkpoints if is_store(checkpoint.target))


def known_runs() -> Runs:
    """All DAG runs in Airflow's database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(select(DagRun.dag_id, DagRun.run_id, DagRun.state))
        return {(dag_id, run_id): str(getattr(state, "value", state)) for dag_id, run_id, state in rows}


def active(runs: Runs) -> list[tuple[str, str]]:
    """Runs that must not be touched."""
    return [run for run, state in runs.items() if state not in ("success", "failed")]


class Cleanup:
    """Finds leftovers and removes them.

    :param say: gets lines for the user; ``problem``: gets what could not be checked or removed.
    """

    def __init__(self, where: list[CleanupScope], say: Callable[[str], None], problem: Callable[[str], None]) -> None:
        self.scopes = where
        self.say = say
        self.problem = problem

    # --- jobs -------------------------------------------------------------------------------------------------------

    def jobs(self, *, dry_run: bool) -> int:
        """Cancel jobs of tasks that were stopped while their site was away, or only list them.

        :return: how many tasks there were.
        """
        notes = unended.noted(log)
        if dry_run:
            for note in notes:
                self.say(f"would be cancelled: jobs of {note.title}")
        else:
            in_worker(self._cancel(notes))
        return len(notes)

    async def _cancel(self, notes: Iterable[Unended]) -> None:
        for note in notes:
            try:
                await FragmentExecution(note.spec, log).cancel()
            except HybridError as error:
                self.problem(f"not cancelled: jobs of {note.title}: {error}")
            else:
                note.remove()
                self.say(f"cancelled: jobs of {note.title}")

    # --- deployments ------------------------------------------------------------------------------------------------

    def deployments(self) -> list[Leftover]:
        """Deployments whose run has ended or is unknown."""
        deployed = in_worker(self._deployed())
        runs = known_runs()  # read after the sites were asked: what was made since then is not in `deployed`
        titles = {run_token(*run): f"{run[0]} {run[1]} ({state})" for run, state in runs.items()}
        busy = {run_token(*run) for run in active(runs)}
        leftovers = []
        for leftover in deployed:
            instance = leftover.token.split("-")[1]
            if instance != instance_id():
                what = f"{leftover.deployment} at {leftover.at}: {leftover.what}"
                self.say(f"kept: {what}, made by another Airflow ({instance})")
            elif leftover.token not in busy:
                leftovers.append(replace(leftover, run=titles.get(leftover.token, "a run unknown to this Airflow")))
        return leftovers

    async def _deployed(self) -> list[Leftover]:
        leftovers: dict[tuple[str, str, str], Leftover] = {}
        for number, scope in enumerate(self.scopes):
            for name, deployment in scope.deployments.items():
                wrapped = scope.deployments.get(deployment.wraps or "")
                if not deployment.managed or (wrapped is not None and wrapped.managed):
                    continue  # what wraps a deployment of the run is removed with it
                if name in scope.skipped:
                    continue
                try:
                    connector = open_connector(scope.deployments, name)
                    at = await connector.where()
                    for deployed in await connector.deployed():
                        leftover = Leftover(number, name, at, deployed.summary, deployed.run, deployed.token)
                        leftovers.setdefault((deployed.token, name, at), leftover)
                except HybridError as error:
                    self.problem(f"deployment {name!r} could not be checked: {error}")
        return list(leftovers.values())

    # --- folders of runs --------------------------------------------------------------------------------------------

    def folders(self, older_than_s: float) -> list[Leftover]:
        """Folders of runs in which nothing has changed for ``older_than_s``."""
        return in_worker(self._folders(older_than_s, {run_folder(*run) for run in active(known_runs())}))

    async def _folders(self, older_than_s: float, busy: set[str]) -> list[Leftover]:
        leftovers: dict[tuple[str, str], Leftover] = {}
        for place in self._work_places():
            try:
                async for leftover in self._look(place, older_than_s, busy):
                    folder_at = (f"{leftover.at}:{leftover.workdir}", leftover.path)
                    leftovers.setdefault(folder_at, leftover)
            except HybridError as error:
                self.problem(f"work directories of {place.deployment!r} could not be checked: {error}")
        return list(leftovers.values())

    def _work_places(self) -> Iterator[_WorkPlace]:
        for number, scope in enumerate(self.scopes):
            workdirs = {(name, None, None) for name in scope.deployments} | scope.workdirs
            for name, service, workdir in sorted(workdirs, key=str):
                is_here = name in scope.deployments and name not in scope.skipped
                if is_here and not self._goes_by_itself(scope, name):
                    yield _WorkPlace(number, name, service, workdir)

    @staticmethod
    def _goes_by_itself(scope: CleanupScope, name: str) -> bool:
        """Whether a deployment, or one that it wraps, is made for a run, so that its folders are removed with it."""
        chain = [name]
        while (wrapped := scope.deployments[chain[-1]].wraps) and wrapped in scope.deployments and wrapped not in chain:
            chain.append(wrapped)
        return any(scope.deployments[link].managed for link in chain)

    async def _look(self, place: _WorkPlace, older_than_s: float, busy: set[str]) -> AsyncIterator[Leftover]:
        """The folders of old runs at all locations of a work directory, without those that have no marker of ours."""
        scope = self.scopes[place.scope]
        connector = open_connector(scope.deployments, place.deployment)
        for host in await connector.hosts(place.service):
            workdir = place.workdir or await connector.workdir(host, place.service)
            with answers_up_to(FOLDER_BYTES):
                result = await host.run(_look_text(workdir, scope.dag_ids, older_than_s), label="look for old runs")
            result.check(f"the work directory {workdir} could not be checked")
            for line in result.out.splitlines():
                kib, path, proof = [*line.split("\t"), "", ""][:3]
                if not RUN_FOLDER.fullmatch(path) or path in busy or not kib.isdigit():
                    continue
                if proof != "ours":
                    self.say(f"kept: {place.deployment} at {host.title}: {workdir}/{path}, {_UNPROVEN}")
                    continue
                what = f"{int(kib) / 1024:.1f} MiB in {workdir}/{path}"
                yield Leftover(
                    place.scope, place.deployment, host.title, what, path,
                    service=place.service, workdir=workdir, path=path,
                )  # fmt: skip

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def checkpoints(self) -> list[Leftover]:
        """Checkpoints whose time is over, in the work directories of deployments and in object stores."""
        return in_worker(self._checkpoints())

    async def _checkpoints(self) -> list[Leftover]:
        leftovers: dict[tuple[str, str], Leftover] = {}
        for place in self._work_places():
            if place.workdir is not None:  # checkpoints are in the deployment's own
                continue
            try:
                leftover = await self._expired(place)
            except HybridError as error:
                self.problem(f"checkpoints of {place.deployment!r} could not be checked: {error}")
                continue
            if leftover is not None:
                leftovers.setdefault((leftover.at, leftover.checkpoints), leftover)
        for url in sorted({url for scope in self.scopes for url in scope.stores}):
            try:
                names = await ObjectStore(url.rstrip("/")).expired()
            except HybridError as error:
                self.problem(f"checkpoints could not be checked: {error}")
                continue
            if names:
                what = counted(len(names), "expired checkpoint")
                leftovers[url, ""] = Leftover(0, "", redacted(url), what, "", checkpoints=url)
        return list(leftovers.values())

    async def _expired(self, place: _WorkPlace) -> Leftover | None:
        connector = open_connector(self.scopes[place.scope].deployments, place.deployment)
        if connector.storage != place.deployment:
            return None  # those of the wrapped deployment
        store = await checkpoints_at(connector)
        found = await expired(store.host, store.root)
        where = Leftover(place.scope, place.deployment, store.host.title, found.words, "", checkpoints=store.root)
        if not found.ours:
            self.say(f"kept: {place.deployment} at {where.at}: {store.root}, {_UNPROVEN}")
        return where if found.count and found.ours else None

    # --- removing ---------------------------------------------------------------------------------------------------

    def remove(self, leftovers: Iterable[Leftover]) -> None:
        """Remove each one; one that cannot be removed is reported as a problem, and the others are still removed."""
        in_worker(self._remove(list(leftovers)))

    async def _remove(self, leftovers: list[Leftover]) -> None:
        for leftover in leftovers:
            deployments = self.scopes[leftover.scope].deployments
            try:
                if leftover.token:
                    deployments = for_run(deployments, leftover.token, leftover.run)
                    await open_connector(deployments, leftover.deployment).undeploy()
                elif is_store(leftover.checkpoints):
                    objects = ObjectStore(leftover.checkpoints.rstrip("/"))
                    await objects.remove(await objects.expired())
                elif leftover.checkpoints:
                    connector = open_connector(deployments, leftover.deployment)
                    store = await checkpoints_at(connector)
                    await remove_expired(store.host, leftover.checkpoints)
                else:
                    await self._remove_folders(leftover)
            except HybridError as error:
                self.problem(f"not removed: {leftover}: {error}")
            else:
                self.say(f"removed: {leftover}")

    async def _remove_folders(self, folder: Leftover) -> None:
        connector = open_connector(self.scopes[folder.scope].deployments, folder.deployment)
        for host in await connector.hosts(folder.service):
            if host.title == folder.at:
                result = await host.run(_remove_text(folder.workdir, folder.path), timeout_s=3600, label="remove")
                if result.exit_code == 3:
                    complaint = f": {result.err.strip()[-600:]}" if result.err.strip() else ""
                    raise SiteError(f"something in {folder.workdir}/{folder.path} is left, {_UNPROVEN}{complaint}")
                result.check("the folder could not be removed")


def _look_text(workdir: str, dag_ids: Iterable[str], older_than_s: float) -> str:
    """Shell text: size (KiB), path below the work directory, and proof of every run's folder without a recent change.

    The proof is ``ours`` if it contains task directories with our marker, else ``-``.
    """
    folders = shlex.join(sorted(run_folder(dag_id) for dag_id in dag_ids))
    minutes = max(1, round(older_than_s / 60))
    values = {"WORKDIR": shlex.quote(workdir), "FOLDERS": folders, "MINUTES": str(minutes), "MARKED": _MARKED}
    return shell_text.filled(__package__, "cleanup_look.sh", values)


_MARKED = f'"$r"/*/g*/{MARKER} "$r"/*/*/g*/{MARKER}'
"""the markers of the task directories of a run; see :class:`airflow_hybrid.engine.spec.TaskIdentity`"""


def _remove_text(workdir: str, path: str) -> str:
    """Shell text that removes a run's task directories with our marker, and the folders that are empty then.

    Its exit code is 3 if something is left.
    """
    values = {"WORKDIR": shlex.quote(workdir), "PATH": shlex.quote(path), "MARKED": _MARKED}
    return removal.functions() + shell_text.filled(__package__, "cleanup_remove.sh", values)
