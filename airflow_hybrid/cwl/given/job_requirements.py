# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Requirements among a run's inputs (``cwl:requirements``, CWL v1.2 CommandLineTool section 3).

They are added before the process's own requirements, and steps of a workflow inherit them. So they could run any code
(an environment with LD_PRELOAD, files beside the tool, an image, a shell): the person who starts a run may only set
classes that cannot, unless the DAG allows more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, WorkflowGraph
from airflow_hybrid.model.requirements import ANY

KEY = "cwl:requirements"
KEYS = (KEY, "https://w3id.org/cwl/cwl#requirements")
NO_INPUTS = frozenset({"cwl:tool", "outputs_folder", *KEYS})
"""Keys in an input object that are not inputs, as in other runners."""
HARMLESS = ("ResourceRequirement", "ToolTimeLimit", "WorkReuse")
"""a job's resources, its time limit, whether it may be reused: plain values, no expressions"""


def split(inputs: Mapping[str, JsonValue]) -> tuple[CwlObject, JsonValue]:
    """-> the inputs alone, and the requirements among them as written (None: none)."""
    requirements = next((inputs[key] for key in KEYS if inputs.get(key)), None)
    return {key: value for key, value in inputs.items() if key not in KEYS}, requirements


def normal(requirements: JsonValue, graph: WorkflowGraph) -> list[CwlObject]:
    """Requirements in cwltool's form, checked against the standard's schema.

    :raises InputError: they are not valid, or the document is CWL v1.0, which does not have them.
    """
    if graph.cwl_version == "v1.0":
        raise InputError(
            f"{KEY!r} in the inputs is not part of CWL v1.0, in which the document is written",
            hint="use cwlVersion v1.1 or later, or put the requirement into the document",
        )
    from cwltool.context import LoadingContext
    from cwltool.load_tool import load_tool

    from airflow_hybrid.cwl import messages
    from airflow_hybrid.cwl.adapt import prepare
    from airflow_hybrid.cwl.documents.resolved import plain_json

    prepare()
    document = {
        "cwlVersion": "v1.2",
        "id": "_:requirements",
        "class": "Workflow",
        "inputs": [],
        "outputs": [],
        "steps": [],
        "requirements": copy.deepcopy(requirements),
    }
    context = LoadingContext()
    context.disable_js_validation = True
    with messages.caught():
        try:
            process = load_tool(cast(Any, document), context)
        except Exception as error:
            raise InputError(f"{KEY!r} in the inputs: {messages.plain(str(error))[1]}") from error
    checked: list[CwlObject] = plain_json(process.tool["requirements"])
    return checked


def check_allowed(requirements: Sequence[CwlObject], allowed: Collection[str]) -> None:
    """Check that a run may set these requirements (from :func:`normal`).

    :param allowed: names of classes besides :data:`HARMLESS`; :data:`ANY` among them: all.
    :raises InputError: it may not.
    """
    if ANY in allowed:
        return
    refused = []
    for requirement in requirements:
        name = str(requirement.get("class"))
        if name in allowed:
            continue
        if name not in HARMLESS:
            refused.append(name)
        elif any(mark in json.dumps(requirement) for mark in ("$(", "${")):
            refused.append(f"{name} with an expression")
    if refused:
        may = ", ".join([*HARMLESS, *sorted(allowed)])
        raise InputError(
            f"{KEY!r} in the inputs of a run may not contain {', '.join(refused)}: only {may} are allowed",
            hint="put the requirement into the document or the DAG's own inputs; or let the DAG allow it: "
            f"`dag: {{run_requirements: [{refused[0].partition(' ')[0]}]}}` in the hybrid file, or "
            "HybridDag(run_requirements=[...])",
        )


def check_files(requirements: Sequence[CwlObject], graph: WorkflowGraph) -> None:
    """Check that a run's requirements name valid images, and archives below the document's roots.

    :raises CwlError: they do not.
    """
    from airflow_hybrid.cwl.documents.trust.roots import Roots, check_image, docker_requirements

    for requirement in docker_requirements(list(requirements)):
        check_image(requirement, Roots(graph.source), f"{KEY!r} in the inputs")


def of_author(settings: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Classes of requirements in the DAG's own inputs, written by its author."""
    requirements = split(settings)[1]
    if isinstance(requirements, Mapping):
        return tuple(requirements)
    return tuple(_classes(requirements or ()))


def _classes(requirements: Iterable[JsonValue]) -> Iterable[str]:
    return (str(item.get("class")) for item in requirements if isinstance(item, Mapping))


def with_requirements(document: JsonValue, requirements: list[CwlObject], single: bool) -> JsonValue:
    """A step's document (:func:`airflow_hybrid.cwl.documents.cache.read_document`) with added ``requirements``.

    :param single: the step is the process that is run: they are added before its own.
    """
    if not requirements:
        return document
    extended = {**document, "requirements": [*(document.get("requirements") or []), *requirements]}
    if single:
        step = dict(extended["steps"][0])
        run = dict(step["run"])
        run["requirements"] = [*(run.get("requirements") or []), *requirements]
        step["run"] = run
        extended["steps"] = [step]
    return extended
