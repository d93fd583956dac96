# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Requirements that a run's inputs bring along (``cwl:requirements``, CWL v1.2 CommandLineTool section 3).

They are those of the process that is run, before its own: they hold for a workflow's steps as inherited ones do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, WorkflowGraph

KEY = "cwl:requirements"
KEYS = (KEY, "https://w3id.org/cwl/cwl#requirements")


def split(given: Mapping[str, JsonValue]) -> tuple[CwlObject, JsonValue]:
    """-> the inputs alone, and the requirements among them as they were written (None: none)."""
    found = next((given[key] for key in KEYS if given.get(key)), None)
    return {key: value for key, value in given.items() if key not in KEYS}, found


def normal(requirements: JsonValue, graph: WorkflowGraph) -> list[CwlObject]:
    """Requirements in the form in which cwltool works with them, checked by the standard's schema.

    :raises InputError: they are not valid, or the document is of CWL v1.0, which has no such thing.
    """
    if graph.cwl_version == "v1.0":
        raise InputError(
            f"{KEY!r} in the inputs is not part of CWL v1.0, in which the document is written",
            hint="use cwlVersion v1.1 or later, or put the requirement into the document",
        )
    from cwltool.context import LoadingContext
    from cwltool.load_tool import load_tool

    from airflow_hybrid.cwl import messages
    from airflow_hybrid.cwl.resolved import plain_json
    from airflow_hybrid.cwl.runtime import prepare

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
    found: list[CwlObject] = plain_json(process.tool["requirements"])
    return found


def with_requirements(document: JsonValue, requirements: list[CwlObject], single: bool) -> JsonValue:
    """A step's document (:func:`airflow_hybrid.cwl.cache.read_document`) in which ``requirements`` hold.

    :param single: the step is the process that is run: they go before its own.
    """
    if not requirements:
        return document
    found = {**document, "requirements": [*(document.get("requirements") or []), *requirements]}
    if single:
        step = dict(found["steps"][0])
        run = dict(step["run"])
        run["requirements"] = [*(run.get("requirements") or []), *requirements]
        step["run"] = run
        found["steps"] = [step]
    return found
