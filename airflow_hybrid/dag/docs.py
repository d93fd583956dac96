# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people see of a DAG as a whole: its documentation in Airflow's UI, as Markdown.

Airflow's own *Code* shows the DAG file, which names a CWL document and says little else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from airflow_hybrid.cwl.type_names import describe
from airflow_hybrid.model import JsonValue, Port, WorkflowGraph
from airflow_hybrid.model.locations import is_uri
from airflow_hybrid.printable import printable, printable_lines, redacted, shortened

MOST_CHARACTERS = 16_000
"""of a document: Airflow keeps the text with each version of the DAG, and loads it whenever it loads the DAG"""
_MOST_ROWS = 100
_LONGEST_CELL = 300
_LONG_SYMBOL = re.compile(r"\S*#(?:[^\s,/]*/)*")


def dag_doc(graph: WorkflowGraph, defaults: Mapping[str, JsonValue], hybrid_file: str, hybrid_text: str) -> str:
    """Label and documentation of the document, tables of inputs and outputs, the document and the hybrid file.

    :param defaults: of inputs, in the place of the document's: values, and templates as they are written.
    :param hybrid_file: path of the hybrid file; empty: none.
    :param hybrid_text: its text without secrets.
    """
    parts = [f"# {graph.label}" if graph.label else "", graph.doc]
    inputs = [_input_row(port, defaults) for port in graph.inputs]
    parts.append(_table("Inputs", ("input", "type", "default", "what it is"), inputs))
    outputs = [(_code(output.name), _type(output.type)) for output in graph.outputs]
    parts.append(_table("Outputs", ("output", "type"), outputs))
    parts.append(_document(graph.source))
    if hybrid_text:
        about = f"## Hybrid file `{os.path.basename(hybrid_file)}`\n\nWithout comments and what could be a secret."
        parts.append(f"{about}\n\n{_block(hybrid_text)}")
    return "\n\n".join(part for part in parts if part)


def _input_row(port: Port, defaults: Mapping[str, JsonValue]) -> Sequence[str]:
    value = defaults.get(port.name)
    if value is None:
        value = port.default
    default = _code(json.dumps(value, ensure_ascii=False)) if port.has_default or value is not None else ""
    return _code(port.name), _type(port.type), default, _cell(" ".join(text for text in (port.label, port.doc) if text))


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [f"## {title}", "", _line(heads), _line("---" for _ in heads), *(_line(row) for row in rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines += ["", f"and {len(rows) - _MOST_ROWS} more"]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _type(kind: object) -> str:
    return _cell(_LONG_SYMBOL.sub("", describe(kind)))


def _code(text: str) -> str:
    """Text of a cell as code. Backticks cannot be escaped in code, and bars end a cell even there."""
    return f"`{_cell(text).replace('`', chr(39))}`"


def _cell(text: str) -> str:
    return shortened(printable(" ".join(text.split())), _LONGEST_CELL).replace("|", "\\|")


def _document(source: str) -> str:
    """The text of a document of this machine; of any other its address."""
    path, _, _ = source.partition("#")
    path = path.removeprefix("file://")
    if is_uri(path):
        return f"## Document\n\n`{printable(path)}`"
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(MOST_CHARACTERS + 1)
    except OSError:
        return ""  # a compiled document needs its source no more
    return f"## Document `{printable(os.path.basename(path))}`\n\n{_block(''.join(_bounded(text)))}"


def _bounded(text: str) -> Iterator[str]:
    if len(text) <= MOST_CHARACTERS:
        yield redacted(printable_lines(text))
        return
    yield redacted(printable_lines(text[: text.rfind("\n", 0, MOST_CHARACTERS) + 1]))
    yield "# the document goes on\n"


def _block(text: str) -> str:
    """Text as code, with a fence that it cannot end."""
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"
