# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of a workflow as Airflow Assets, and the events of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.model.templates import Render, is_template
from airflow_hybrid.model.walking import files, is_file
from airflow_hybrid.operators.templates import filled
from airflow_hybrid.printable import shortened

MOST_FILES = 1000
"""files in an event: it is kept in Airflow's database, and is given to every run that it starts"""
_LONGEST_VALUE = 10_000
_LONGEST_NAME = 1500
"""characters of names and URIs in Airflow's tables"""
_LONGEST_KEY = 250
"""characters of a partition's key there"""
_OF_URIS = ":/?#[]@!$&'()*+,;=%~"
"""what has a meaning in a URI (RFC 3986)"""


@dataclass(frozen=True)
class OutputAsset:
    """The asset of an output of the workflow.

    :ivar name, uri: may be templates; then each run may have another asset.
    :ivar alias: name of the alias under which such assets are found; the same for all runs.
    :ivar partition: key of the partition of the asset that a run makes, which may be a template; None: none.
    """

    output: str
    name: str
    uri: str
    alias: str
    partition: str | None = None

    @property
    def outlet(self) -> Asset | AssetAlias:
        """What the DAG's last task has as an outlet: the asset, or the alias where only a run knows the asset."""
        if is_template(self.name) or is_template(self.uri):
            return AssetAlias(self.alias)
        return _asset(self.name, self.uri, self.output)

    def rendered(self, render: Render) -> Asset:
        """The asset of a run.

        :raises InputError: a template cannot be rendered, or gives no name for an asset.
        """
        try:
            name, uri = filled(self.name, render), filled(self.uri, render)
            return _asset(name, uri, self.output)
        except ConfigError as error:
            raise InputError(error.message) from error
        except InputError as error:
            error.where = error.where or f"`assets`: output {self.output!r}"
            raise

    def partition_of(self, render: Render) -> str | None:
        """The key of the partition that a run makes.

        :raises InputError: its template cannot be rendered, or gives no key.
        """
        if self.partition is None:
            return None
        try:
            key = filled(self.partition, render)
        except InputError as error:
            error.where = error.where or f"`assets`: output {self.output!r}"
            raise
        if not key.strip() or len(key) > _LONGEST_KEY:
            raise InputError(
                f"the partition of output {self.output!r} is {shortened(key, 100)!r}: no key of a partition",
                hint=f"a key has 1 to {_LONGEST_KEY} characters",
            )
        return key


@dataclass(frozen=True)
class RunAsset:
    """The asset of an output in one run."""

    of: OutputAsset
    asset: Asset
    partition: str | None = None

    @classmethod
    def rendered(cls, asset: OutputAsset, render: Render) -> RunAsset:
        """:raises InputError: a template gives no name or no key."""
        return cls(asset, asset.rendered(render), asset.partition_of(render))


def parse_assets(assets: Mapping[str, Any], outputs: Iterable[str], dag_id: str) -> tuple[OutputAsset, ...]:
    """The assets of a DAG's outputs.

    :param assets: output -> URI, ``{name, uri}``, or an Asset.
    :param outputs: names of the workflow's outputs.
    :raises ConfigError: there is no such output, or no asset can have such a name; or two have the same.
    """
    known = list(outputs)
    parsed: dict[Any, OutputAsset] = {}
    for output, named in assets.items():
        if output not in known:
            from airflow_hybrid.config.reading.messages import choices

            problem = f"`assets` names output `{output}`, but the workflow has no such output"
            raise ConfigError(problem, hint=choices(output, known, what="there are"))
        partition = named.get("partition") if isinstance(named, Mapping) else None
        asset = OutputAsset(output, *_name_and_uri(named), alias=f"{dag_id}/{output}", partition=partition)
        if partition is not None and isinstance(asset.outlet, AssetAlias):
            problem = f"`assets`: output `{output}` has a partition, and a name or URI that differs from run to run"
            raise ConfigError(problem, hint="Airflow has partitions of assets with a fixed name only")
        twin = parsed.setdefault((asset.name, asset.uri), asset)
        if twin is not asset:
            problem = f"`assets`: outputs `{twin.output}` and `{output}` are the same asset: {asset.uri}"
            raise ConfigError(problem, hint="an asset's event is about one output: give each its own URI")
        _ = asset.outlet  # refuses what Airflow would refuse
    return tuple(parsed.values())


def _name_and_uri(named: Any) -> tuple[str, str]:
    if isinstance(named, Asset):
        return named.name, named.uri
    if isinstance(named, str):
        return named, named
    name, uri = named.get("name"), named.get("uri")
    return name or uri, uri or name


def _asset(name: str, uri: str, output: str) -> Asset:
    try:
        asset = Asset(name=name, uri=uri)
        _check_kept(asset)
    except (ValueError, TypeError) as error:
        text = shortened(f"{name} ({uri})", 200)
        raise ConfigError(f"`assets`: the asset of output `{output}` cannot be {text}: {error}") from None
    return asset


def _check_kept(asset: Asset) -> None:
    """:raises ValueError: Airflow's database refuses the asset, which Airflow would say too late, and in a log only."""
    if not asset.uri.isascii():
        raise ValueError(f"a URI has ASCII letters only: write {quote(asset.uri, safe=_OF_URIS)}")
    for what, text in (("name", asset.name), ("URI", asset.uri)):
        if len(text) > _LONGEST_NAME:
            raise ValueError(f"the {what} is longer than {_LONGEST_NAME:,} characters")


def announce(assets: Iterable[RunAsset], outputs: CwlObject, context: Mapping[str, Any]) -> list[Any]:
    """Say what the events of a run carry. Airflow makes them if the task then succeeds.

    :return: the outlets that have an event: an output that is null has none.
    """
    outlets = []
    for run_asset in assets:
        output = run_asset.of.output
        value = outputs.get(output)
        if value is None:
            continue
        outlet = run_asset.of.outlet
        extra = event_extra(output, value)
        if isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(run_asset.asset, extra=extra)
        else:
            context["outlet_events"][outlet].extra = extra
            if run_asset.partition is not None:
                context["outlet_events"][outlet].add_partitions(run_asset.partition)
        outlets.append(outlet)
    return outlets


def event_extra(output: str, value: JsonValue) -> dict[str, JsonValue]:
    """What an event says of an output.

    ``files`` are all Files in it, with ``location``, ``checksum`` and ``size``, at most :data:`MOST_FILES`
    (``files_left_out`` counts the others). If the output is a single File or Directory, these three are also beside
    ``output``; if it has no File, its ``value`` is, unless that is long.
    """
    extra: dict[str, JsonValue] = {"output": output}
    if is_file(value):
        extra |= {"class": value["class"], **_about(value)}
    every = [_about(file) for file in files(value) if file["class"] == "File"]
    if every or is_file(value):
        extra["files"] = every[:MOST_FILES]
        if len(every) > MOST_FILES:
            extra["files_left_out"] = len(every) - MOST_FILES
    elif len(json.dumps(value)) <= _LONGEST_VALUE:
        extra["value"] = value
    return extra


def _about(file: Mapping[str, Any]) -> dict[str, JsonValue]:
    return {key: file[key] for key in ("location", "checksum", "size") if key in file}
