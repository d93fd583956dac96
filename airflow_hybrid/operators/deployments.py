# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The setup and teardown tasks of a deployment that is made for a DAG run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import AuthenticationError, HostKeyError, HostUnreachableError, HybridError
from airflow_hybrid.operators.base import HybridTask, in_worker, was_skipped
from airflow_hybrid.operators.context.run import deployments_of_run
from airflow_hybrid.operators.identity import is_new, origin_of
from airflow_hybrid.operators.values import INPUTS_TASK

if TYPE_CHECKING:
    from airflow.sdk import Context

CLEANUP_HINT = "`airflow hybrid cleanup --dry-run` lists what ended runs have left, `airflow hybrid cleanup` removes it"


class _DeploymentTask(HybridTask):
    """:param deployment: name of the deployment; ``deployments``: it and what it wraps, by name."""

    def __init__(self, *, deployment: str, deployments: Mapping[str, Deployment], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.deployments = dict(deployments)
        self._running: Mapping[str, Deployment] | None = None

    async def _undeploy(self, deployments: Mapping[str, Deployment]) -> None:
        from airflow_hybrid.sites.connectors import open_connector

        await open_connector(deployments, self.deployment).undeploy()


class DeployOperator(_DeploymentTask):
    """Brings a deployment up for the run (an Airflow setup task).

    It may run again at any time: a deployment that is up already is left as it is. Leftovers of a failed attempt are
    removed, and so are those of a run with the same id that was deleted in Airflow.

    :param services: the services that steps are bound to, or that other deployments wrap.
    """

    def __init__(self, *, services: Collection[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.services = tuple(sorted(services))

    def run_task(self, context: Context) -> str:
        if was_skipped(context, INPUTS_TASK):
            raise AirflowSkipException(f"task {INPUTS_TASK!r} was skipped: no step will run")
        self._running = deployments_of_run(self.deployments, context)
        token = self._running[self.deployment].token
        if is_new(context):
            # anything with this token belongs to a deleted run: its files are not this run's
            self.run_async(self._undeploy(self._running))
            origin_of(context)
        self.run_async(self._deploy(self._running))
        self._running = None
        self.log.info("%s is up (%s)", self.deployment, token)
        return token

    async def _deploy(self, deployments: Mapping[str, Deployment]) -> None:
        from airflow_hybrid.sites.connectors import open_connector

        try:
            await open_connector(deployments, self.deployment).deploy(self.services)
        except (HostUnreachableError, AuthenticationError, HostKeyError):
            raise  # the deployment is unreachable now; the next attempt finds what is there
        except Exception:
            await self._roll_back(deployments)
            raise

    async def _roll_back(self, deployments: Mapping[str, Deployment]) -> None:
        try:
            await self._undeploy(deployments)
        except HybridError as error:
            self.log.error("the leftovers of the failed attempt could not be removed: %s\n  -> %s", error, CLEANUP_HINT)
        else:
            self.log.info("nothing is left of the attempt")

    when_over = "what it has made is removed"

    def end_work(self) -> None:
        """Airflow starts no teardown after a setup that was killed or has timed out."""
        if self._running is not None:
            in_worker(self._roll_back(self._running))


class UndeployOperator(_DeploymentTask):
    """Removes what was deployed for the run (an Airflow teardown task), whether its steps succeeded or not."""

    def run_task(self, context: Context) -> None:
        deployments = deployments_of_run(self.deployments, context)
        try:
            self.run_async(self._undeploy(deployments))
        except HybridError as error:
            error.hint = f"{error.hint}; {CLEANUP_HINT}" if error.hint else CLEANUP_HINT
            raise
        self.log.info("%s is gone (%s)", self.deployment, deployments[self.deployment].token)
