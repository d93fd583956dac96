# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a step's tool is and asks for, in words: for people who look at its task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cwltool.process import Process

from airflow_hybrid.cwl.documents.resolved import plain_json, text
from airflow_hybrid.model import JsonValue

_RESOURCES = (("cores", "cores"), ("ram", "MiB of memory"), ("tmpdir", "MiB for temporary files"),
              ("outdir", "MiB for outputs"))  # fmt: skip
"""fields of ResourceRequirement without Min and Max (CWL v1.2 CommandLineTool, 5.18), and what they are of"""


_VARYING = re.compile(r"\b(Date|random|DateTimeFormat)\b")
"""what JavaScript (ECMAScript 5.1, and its Internationalization API) has that gives another value each time"""


def varies(process: Process, step: Mapping[str, Any]) -> bool:
    """Whether a process's expressions, or those of its step, may have another value each time they are evaluated.

    A date that is written down counts as well.
    """
    libraries, _ = process.get_requirement("InlineJavascriptRequirement")
    parts = [process.tool, step.get("in"), libraries or {}]
    return any(_VARYING.search(words) for words in _texts(plain_json(parts)))


def _texts(value: JsonValue) -> Iterator[str]:
    """All texts of a value, with the names of its members."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def tool_doc(process: Process) -> str:
    """The tool's own documentation: its ``doc``, else its ``label``."""
    return text(process.tool.get("doc")) or text(process.tool.get("label"))


def needs_of(process: Process) -> tuple[str, ...]:
    """What a job of a tool asks for, as it is written: a line for its container, one for its resources.

    An expression stays one: ``$(inputs.threads) cores``.
    """
    lines = []
    container, is_required = process.get_requirement("DockerRequirement")
    if container:
        image = container.get("dockerPull") or container.get("dockerImageId") or "an image that is built or imported"
        lines.append(f"container: `{image}`" + ("" if is_required else " (a hint)"))
    resources, _ = process.get_requirement("ResourceRequirement")
    amounts = [_amount(resources, name, unit) for name, unit in _RESOURCES] if resources else []
    if any(amounts):
        lines.append("each job asks for " + ", ".join(amount for amount in amounts if amount))
    return tuple(lines)


def _amount(resources: Mapping[str, Any], name: str, unit: str) -> str:
    least, most = resources.get(f"{name}Min"), resources.get(f"{name}Max")
    shown = least if least is not None else most
    if shown is None:
        return ""
    amount = f"{shown:g}" if isinstance(shown, int | float) else f"`{shown}`"
    return f"{amount} core" if (name, amount) == ("cores", "1") else f"{amount} {unit}"
