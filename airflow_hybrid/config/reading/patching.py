# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Changes of a hybrid file as a patch that keeps its comments and its order."""

from __future__ import annotations

import difflib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.printable import printable

_WIDEST = 10_000
"""characters of a line: longer ones would be folded, which changes lines that nobody has asked to be changed"""


def patched(path: str, dag_id: str, resources: Mapping[str, Mapping[str, float]]) -> str:
    """The unified diff that puts ``resources`` into the bindings of a workflow.

    :param resources: step -> resources, by CWL's names.
    :raises ConfigError: the file cannot be read, or has no such workflow.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDEST
    try:
        before = Path(path).read_bytes().decode("utf-8")
        data = yaml.load(before)
        _, sequence, offset = load_yaml_guess_indent(before)
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"the hybrid file cannot be read: {error}", where=path) from None
    with_resources(_bindings(data, dag_id, path), resources)
    yaml.indent(mapping=_indent(before), sequence=sequence or 2, offset=offset or 0)
    after = io.StringIO()
    yaml.dump(data, after)
    _check_nothing_else(before, after.getvalue(), dag_id, path, resources)
    if "\r\n" in before:
        after = io.StringIO(after.getvalue().replace("\r\n", "\n").replace("\n", "\r\n"), newline="")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.getvalue().splitlines(keepends=True), path, path, n=3
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _bindings(data: Any, dag_id: str, path: str) -> list[Any]:
    """The bindings of the workflow, which may have none yet.

    :raises ConfigError: they are no list, or there is no such workflow.
    """
    workflow = _workflow(data, dag_id, path)
    if workflow.get("bindings") is None:
        workflow["bindings"] = []
    bindings = workflow["bindings"]
    if not isinstance(bindings, list):
        raise ConfigError("`bindings` is no list, so no patch can be made", where=path)
    return bindings


def _check_nothing_else(
    before: str, after: str, dag_id: str, path: str, resources: Mapping[str, Mapping[str, float]]
) -> None:
    """:raises ConfigError: the changed file says other things, too: an anchor gives one value to several places."""
    plain = YAML(typ="safe", pure=True)
    # copied without what is shared between places
    expected, changed = (json.loads(json.dumps(plain.load(text), default=str)) for text in (before, after))
    with_resources(_bindings(expected, dag_id, path), resources)
    if changed != expected:
        raise ConfigError(
            "no patch can be made: an anchor (`&name`) in the file gives what would be changed to other places, too",
            where=path,
            hint=f"add this to the workflow by hand:\n{bindings_as_yaml(resources).rstrip()}",
        )


def _indent(text: str) -> int:
    """By how many blanks a mapping in a mapping is indented in a file: by as many as the first line that is."""
    match = re.search(r"^( +)[^ #-]", text, re.MULTILINE)
    return len(match[1]) if match else 2


def _workflow(data: Any, dag_id: str, path: str) -> Any:
    """The workflow that is the DAG: it has its name, or names it.

    :raises ConfigError: there is none.
    """
    workflows = data.get("workflows") if isinstance(data, Mapping) else None
    for name, workflow in workflows.items() if isinstance(workflows, Mapping) else ():
        section = workflow.get("dag") if isinstance(workflow, Mapping) else None
        named = section.get("dag_id") if isinstance(section, Mapping) else None
        if dag_id == (named or name):
            return workflow
    raise ConfigError(
        f"no workflow in the file is DAG {printable(dag_id)}", where=path, hint="name the right one: --hybrid-file FILE"
    )


def bindings_as_yaml(resources: Mapping[str, Mapping[str, float]]) -> str:
    """Bindings with nothing but resources, for a DAG that has no hybrid file."""
    bindings: list[Any] = []
    with_resources(bindings, resources)
    yaml = YAML()
    text = io.StringIO()
    yaml.dump({"bindings": bindings}, text)
    return text.getvalue()


def with_resources(bindings: list[Any], proposed: Mapping[str, Mapping[str, float]]) -> None:
    """Put proposals into ``bindings`` of a hybrid file, as its YAML has them; the list is changed.

    A step with a binding of its own gets them there; any other gets a new one, which inherits its targets.
    """
    for step, resources in proposed.items():
        values = {name: int(value) if value == int(value) else value for name, value in resources.items()}
        binding = next((b for b in bindings if isinstance(b, dict) and _is_of(b, step)), None)
        if binding is None:
            binding = {"step": step}
            bindings.append(binding)
        present = binding.get("resources")
        if isinstance(present, dict):
            present.update(values)
        else:
            binding["resources"] = values


def _is_of(binding: Mapping[str, Any], step: str) -> bool:
    return str(binding.get("step", "")).rstrip("/") == step
