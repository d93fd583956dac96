# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files as OpenLineage's datasets: named by its rules, with size and checksum. Only :func:`to_openlineage` imports it.

A file of Airflow's machine is ``file`` and its path; one at a site ``file://<deployment>/<location>`` and its path
(the rules have ``file://<host>`` for files elsewhere: a location is a host only in its deployment). What has a host or
a bucket keeps it: ``s3://bucket`` and the key, ``https://host`` and the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_hybrid.model.files import ROUTES_OF_JOBS, ROUTES_OF_OUTPUTS, LineageEntry
from airflow_hybrid.model.locations import FILES, Location
from airflow_hybrid.model.values import SCHEME, JsonValue, percent_encoded
from airflow_hybrid.model.walking import files

MOST_FILES = 1_000
"""datasets of one event, inputs or outputs: what receives it keeps a row for each"""
_LONGEST_NAME = 4_096
_FORMATS = {"avro": "avro", "csv": "csv", "json": "json", "orc": "orc", "parquet": "parquet", "txt": "text",
            "xml": "xml"}  # fmt: skip
"""formats that OpenLineage has a word for, by the ends of files' names"""


@dataclass(frozen=True)
class FileData:
    """A file or folder of an event.

    :ivar uri: without query, which may be a signature, and without a user.
    :ivar size: bytes; ``checksum``: as CWL writes it, ``sha1$...``.
    :ivar many: it stands for all files in a folder.
    """

    namespace: str
    name: str
    uri: str
    size: int | None = None
    checksum: str | None = None
    many: bool = False


@dataclass(frozen=True)
class TaskFiles:
    """What a task read and made.

    :ivar left_out: files that are too many for an event.
    """

    inputs: tuple[FileData, ...] = ()
    outputs: tuple[FileData, ...] = ()
    left_out: int = 0


def files_of(given: JsonValue, entries: Iterable[LineageEntry], *, copies: bool = False) -> TaskFiles:
    """The files of a task. What it made and then read itself is an output only.

    :param given: its inputs as CWL has them. Its lineage has only those that had to be looked at or moved.
    :param copies: whether a copy is what the task is for, and so its output; otherwise it only brings an input to jobs.
    """
    inputs: dict[tuple[str, str], FileData] = {}
    outputs: dict[tuple[str, str], FileData] = {}
    for file in files(given):
        _add_value(inputs, file)
    for entry in entries:
        if entry.route in ROUTES_OF_JOBS:
            continue
        made = entry.route in ROUTES_OF_OUTPUTS
        if made or copies:
            _add(outputs, entry.destination, entry)
        if not made:
            _add(inputs, entry.source, entry)
    read = [file for key, file in inputs.items() if key not in outputs]
    left_out = sum(max(0, len(some) - MOST_FILES) for some in (read, outputs))
    return TaskFiles(tuple(read[:MOST_FILES]), tuple(outputs.values())[:MOST_FILES], left_out)


def entries_from_xcom(value: Any) -> list[LineageEntry]:
    """The lineage in an XCom, which a user may have changed; what is no entry is left out."""
    entries: list[LineageEntry] = []
    for item in value if isinstance(value, list) else ():
        try:
            entry = LineageEntry.from_json(item)
        except TypeError:
            continue
        texts = (entry.source, entry.destination, entry.route, entry.checksum or "", entry.note)
        if all(isinstance(text, str) for text in texts) and type(entry.bytes) is int:
            entries.append(entry)
    return entries


def _add(known: dict[tuple[str, str], FileData], uri: str, entry: LineageEntry) -> None:
    named = named_file(uri)
    if named is not None and (named.namespace, named.name) not in known:
        many = bool(entry.note)
        known[named.namespace, named.name] = replace(named, size=entry.bytes, checksum=entry.checksum, many=many)


def _add_value(known: dict[tuple[str, str], FileData], file: Mapping[str, Any]) -> None:
    location, size, checksum = file.get("location"), file.get("size"), file.get("checksum")
    named = named_file(location) if isinstance(location, str) else None
    if named is not None:
        known[named.namespace, named.name] = replace(
            named,
            size=size if type(size) is int else None,
            checksum=checksum if isinstance(checksum, str) else None,
        )


def named_file(uri: str) -> FileData | None:
    """A location by OpenLineage's rules; None: it is no file's (a literal), or is longer than any name."""
    try:
        place = Location.parse(uri.rstrip("/") if uri.endswith("/") else uri)
    except ValueError:
        return None
    path = place.path
    if not _can_be_sent(path):
        path = percent_encoded(path)
    if len(path) > _LONGEST_NAME:
        return None
    if place.scheme == "file":
        return FileData("file", path, place.uri)
    if place.scheme == SCHEME:
        site = f"{percent_encoded(place.host, safe='')}/{percent_encoded(place.site, safe='')}"
        return FileData(f"file://{site}", path, place.uri)
    host = place.host.rpartition("@")[2]
    if place.scheme in FILES or not host:
        return None
    namespace = f"{place.scheme}://{percent_encoded(host, safe=':[]')}"
    return FileData(namespace, path.lstrip("/") or "/", f"{namespace}{percent_encoded(place.path)}")


def _can_be_sent(text: str) -> bool:
    """Whether a name is text: at sites, file names are bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_openlineage(of_task: TaskFiles) -> tuple[list[Any], list[Any]]:
    """The datasets of a task's inputs and outputs, as the client's objects."""
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset, output_statistics_output_dataset

    read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet
    made = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    inputs = [
        InputDataset(file.namespace, file.name, facets=_facets(file), inputFacets=_sizes("inputStatistics", read, file))
        for file in of_task.inputs
    ]
    outputs = [
        OutputDataset(
            file.namespace, file.name, facets=_facets(file), outputFacets=_sizes("outputStatistics", made, file)
        )
        for file in of_task.outputs
    ]
    return inputs, outputs


def _sizes(name: str, kind: Any, file: FileData) -> dict[str, Any]:
    if file.size is None:
        return {}
    return {name: kind(size=file.size, fileCount=None if file.many else 1)}


def _facets(file: FileData) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset, datasource_dataset, storage_dataset

    facets: dict[str, Any] = {
        "dataSource": datasource_dataset.DatasourceDatasetFacet(name=file.namespace, uri=file.uri),
        "storage": storage_dataset.StorageDatasetFacet(storageLayer="file", fileFormat=_format_of(file.name)),
    }
    if file.checksum is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=file.checksum)
    return facets


def _format_of(name: str) -> str | None:
    return _FORMATS.get(name.rpartition("/")[2].rpartition(".")[2].lower())


def lineage_of(given: JsonValue, entries: Sequence[LineageEntry], *, copies: bool = False) -> Any:
    """What the provider asks an operator for: the files of a task (``OperatorLineage``)."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    inputs, outputs = to_openlineage(files_of(given, entries, copies=copies))
    return OperatorLineage(inputs=inputs, outputs=outputs)
