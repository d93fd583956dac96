# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bring a workflow's outputs to ``outdir``: assemble them, then move them there."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.cwl.documents.trust.roots import located
from airflow_hybrid.engine import Logger
from airflow_hybrid.errors import ConfigError, TransferError, may_pass
from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, CwlObject, FileRef, JsonValue, LineageEntry
from airflow_hybrid.model.locations import scheme_of
from airflow_hybrid.operators.gather.existing import EXISTING
from airflow_hybrid.operators.gather.objects import upload
from airflow_hybrid.operators.gather.outdir import Merged, Outdir
from airflow_hybrid.operators.gather.plan import Plan
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.removal.here import NotRemovedError, make_folder, remove_folder
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.patience import outages

__all__ = ["EXISTING", "gather"]
_INCOMING = ".airflow_hybrid-incoming-"


async def gather(
    outputs: CwlObject,
    outdir: str,
    deployments: Mapping[str, Deployment],
    links: JsonValue,
    rules: OutputRules,
) -> tuple[CwlObject, list[LineageEntry]]:
    """Bring every File and Directory of ``outputs`` to ``outdir``.

    Names are kept. The second of two outputs with the same name, and an output whose name is taken by something that
    this run did not make, is called ``name_2`` (with its secondary files). Folders are merged. Unchanged outputs of an
    earlier try of this run are replaced. Inputs of the run, and files that it passes on, are never replaced.

    :param outdir: path or ``file:`` URL of this machine, or a URL that Airflow's object storage knows (``s3://``).
    :return: the CWL output object with locations in ``outdir``, and the lineage.
    :raises TransferError: something could not be transferred, or arrived changed.
    """
    if rules.existing not in EXISTING:
        raise ConfigError(f"`existing_outputs` is {rules.existing!r}, but must be one of {', '.join(EXISTING)}")

    def inputs_and_outputs() -> Iterable[Mapping[str, Any]]:
        return chain(rules.inputs(), located(outputs))

    of_outdir = replace(rules, inputs=inputs_and_outputs)
    if "://" in outdir and scheme_of(outdir) != "file":
        folder = make_folder(_temporary(), "airflow_hybrid_outputs_")
        try:
            local = str(folder / "outputs")
            of_new_folder = replace(rules, inputs=tuple)
            value, lineage = await _to_folder(outputs, local, deployments, links, of_new_folder)
            return await asyncio.to_thread(upload, value, lineage, local, outdir, of_outdir)
        finally:
            _take_away(folder, rules.log)
    path = FileRef.parse(outdir).path if scheme_of(outdir) == "file" else os.path.abspath(outdir)
    return await _to_folder(outputs, path, deployments, links, of_outdir)


def _temporary() -> str:
    import tempfile

    return tempfile.gettempdir()


async def _to_folder(
    outputs: CwlObject,
    path: str,
    deployments: Mapping[str, Deployment],
    links: JsonValue,
    rules: OutputRules,
) -> tuple[CwlObject, list[LineageEntry]]:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        outdir = Outdir(path, rules)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        plan = Plan(outputs, outdir, deployments)
        if plan.is_empty:
            lineage: list[LineageEntry] = []
            merged = Merged()
        else:
            merged, lineage = await _bring(plan, outdir, deployments, links)
        plan.describe(merged)
        plan.warn_of_other_names(merged)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        outdir.close()
    if lineage:
        rules.log.info("%d outputs brought to %s", len(lineage), path)
    return plan.value, lineage


async def _bring(
    plan: Plan, outdir: Outdir, deployments: Mapping[str, Deployment], links: JsonValue
) -> tuple[Merged, list[LineageEntry]]:
    """Assemble everything in a temporary folder, and then move it into ``outdir``."""
    prefix = f"{_INCOMING}{hashlib.sha256(outdir.run.encode()).hexdigest()[:12]}-"
    if outdir.run:
        for left in Path(outdir.path).glob(f"{prefix}*"):  # by an earlier try that was killed
            await asyncio.to_thread(_take_away, left, outdir.log)
    folder = make_folder(outdir.path, prefix)
    try:
        tree = str(folder / "tree")
        lineage = await asyncio.to_thread(plan.assemble, tree)
        requests = plan.requests(LocalHost(), tree)
        if requests:
            mover = DataMover(Locations(deployments, Link.all_from_json(links)))
            stage = functools.partial(mover.stage, requests)
            lineage += await outages.current().through(stage, "a site with outputs", is_known=True)
        merged = await asyncio.to_thread(outdir.merge, tree)
        start = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, tree).uri + "/"

        def in_outdir(entry: LineageEntry) -> LineageEntry:
            if not entry.destination.startswith(start):
                return entry
            path_in_tree = FileRef.parse(entry.destination).path[len(tree) + 1 :]
            return replace(entry, destination=plan.uri_of(merged, path_in_tree))

        return merged, [in_outdir(entry) for entry in lineage]
    finally:
        await asyncio.to_thread(_take_away, folder, outdir.log)


def _take_away(folder: Path, log: Logger) -> None:
    """Remove a temporary folder; the outputs are complete even if that fails."""
    try:
        remove_folder(folder)
    except NotRemovedError as error:
        log.warning("%s", error)


def _unwritable(path: str, error: OSError) -> TransferError:
    return TransferError(
        f"the outputs cannot be written to {path}: {error.strerror or error}",
        hint="is the disk full, is `outdir` a folder and writable?",
        retryable=may_pass(error),
    )
