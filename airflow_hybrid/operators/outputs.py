# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The last task of a hybrid DAG: it brings the outputs to ``outdir``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.cwl.documents.trust.roots import located
from airflow_hybrid.errors import HybridError, InputError
from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.model.templates import Render
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.context.run import deployments_of_run, run_token, xcom_reader
from airflow_hybrid.operators.outdirs import Outdirs, check_own, conf_outdir, is_store, local_path, rendered_outdirs
from airflow_hybrid.operators.published.assets import OutputAsset, RunAsset, announce
from airflow_hybrid.operators.published.links import OUTDIR_XCOM, OutputsLink
from airflow_hybrid.operators.templates import renderer
from airflow_hybrid.operators.values import RETURN, Scope
from airflow_hybrid.printable import printable, printable_lines

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.operators.gather.rules import OutputRules


class OutputsOperator(HybridTask):
    """Last task of the DAG: brings the workflow's outputs to ``outdir`` and returns the CWL output object.

    :param outdirs: paths, ``file:`` or object-store URLs: a folder for each run, and the folders below which the run's
        conf may choose another (key ``outdir``).
    :param assets: of outputs; they get events if the task succeeds, and so only after all steps have.
    """

    operator_extra_links = (OutputsLink(),)
    copies_are_outputs = True

    def __init__(
        self,
        *,
        scope: Scope,
        deployments: Mapping[str, Deployment],
        outdirs: Outdirs,
        links: JsonValue = None,
        assets: Sequence[OutputAsset] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.outlets = [*(asset.outlet for asset in assets), *self.outlets]
        self.assets = tuple(assets)
        self.scope = scope
        self.deployments = dict(deployments)
        self.outdir = outdirs.run
        self.outdir_roots = list(outdirs.roots)
        self.existing = outdirs.existing
        self.links = links
        self.records = outdirs.record
        self.reports = outdirs.report

    @property
    def top_scope(self) -> Scope:
        return self.scope.top

    def run_task(self, context: Context) -> CwlObject:
        from airflow_hybrid.model.files import counted
        from airflow_hybrid.operators.gather.gathering import gather
        from airflow_hybrid.operators.gather.rules import OutputRules

        values = self.values(context, self.scope)
        outputs = values.outputs(self.scope)[0]
        assert outputs is not None
        # before anything is brought: a template may be wrong
        render = renderer(context)
        roots = rendered_outdirs(self.outdir_roots, render)
        outdir = conf_outdir(self.scope.graph, context, roots)
        if outdir is None:
            (outdir,) = rendered_outdirs([self.outdir], render)
            check_own(outdir, roots[0])
        deployments = deployments_of_run(self.deployments, context)
        ti: Any = context["ti"]
        run = run_token(ti.dag_id, ti.run_id)

        inputs = values.run_inputs(self.scope.graph)  # by Airflow's own functions, which are not thread-safe

        def input_files() -> list[Mapping[str, Any]]:
            return [*located(inputs), *default_files(self.scope)]

        rules = OutputRules(self.log, run, self.existing, input_files)
        work = gather(outputs, outdir, deployments, self.links, rules)
        value, lineage = self.run_async(work)
        self.lineage = lineage
        lineage = counted(lineage, {entry.route for entry in lineage})
        ti.xcom_push(key="lineage", value=[entry.to_json() for entry in lineage])
        ti.xcom_push(key=OUTDIR_XCOM, value=outdir if is_store(outdir) else local_path(outdir))
        self.log.info("the outputs are in %s", printable(str(outdir)))
        beside = self._beside(rules, value)
        if self.records:
            record = functools.partial(self._made_record, context, value)
            self._write_beside("record", record, outdir, deployments, beside)
        if self.reports:
            report = functools.partial(self._made_report, context, value)
            self._write_beside("report", report, outdir, deployments, beside)
        self._announce(value, render, context)
        return value

    @staticmethod
    def _beside(rules: OutputRules, outputs: CwlObject) -> OutputRules:
        """The rules for what is written beside the outputs, which it never replaces."""

        def kept() -> list[Mapping[str, Any]]:
            return [*rules.inputs(), *located(outputs)]

        return replace(rules, tidies=False, inputs=kept)

    def _write_beside(
        self,
        what: str,
        made: Callable[[], AbstractContextManager[CwlObject]],
        outdir: str,
        deployments: Mapping[str, Deployment],
        beside: OutputRules,
    ) -> None:
        """Write files about the run beside its outputs, which are complete without them.

        :param what: they are, in words: ``report``; ``made``: makes them, the main one first.
        """
        from airflow_hybrid.operators.gather.gathering import gather

        try:
            with made() as files:
                written, _ = self.run_async(gather(files, outdir, deployments, self.links, beside))
        except (HybridError, ValueError, OSError) as error:
            self.log.warning("the run's %s is not written: %s", what, printable_lines(str(error)))
            return
        except Exception:  # whatever it is: the outputs are where they belong, and the run has succeeded
            self.log.warning(
                "the run's %s is not written; its outputs are complete. The error is unexpected: please report it with"
                " what follows",
                what,
                exc_info=True,
            )
            return
        main = written[next(iter(files))]
        self.log.info("the run's %s is %s", what, printable(str(main["location"])))

    def _made_record(self, context: Context, outputs: CwlObject) -> AbstractContextManager[CwlObject]:
        from airflow_hybrid.operators.published.record_file import record_file

        return record_file(self.scope, xcom_reader(context), context, outputs)

    def _made_report(self, context: Context, outputs: CwlObject) -> AbstractContextManager[CwlObject]:
        from airflow_hybrid.operators.published.report_files import report_files

        return report_files(context, outputs, self.reports, self.log)

    def _announce(self, value: CwlObject, render: Render, context: Context) -> None:
        """:raises InputError: there is no asset for the run; what the outputs are is known nevertheless."""
        try:
            assets = [RunAsset.rendered(asset, render) for asset in self.assets]
        except InputError:
            ti: Any = context["ti"]
            ti.xcom_push(key=RETURN, value=value)
            raise
        ours = [asset.outlet for asset in self.assets]
        others = [outlet for outlet in self.outlets if outlet not in ours]
        self.outlets = [*announce(assets, value, context), *others]


def default_files(scope: Scope) -> list[Mapping[str, Any]]:
    """The files that the documents of a workflow's steps name: defaults of inputs."""
    files: list[Mapping[str, Any]] = []
    for node in scope.nodes.values():
        if node.scope is not None:
            files += default_files(node.scope)
        else:
            files += located(document_of(node.step))
    return files
