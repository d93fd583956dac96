# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The page with a run's outputs, as HTML. All text comes from documents and jobs, so all of it is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape

from airflow_hybrid.model import JsonValue
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.web.recorded import OutputFile, RecordedOutputs

_MOST_ROWS = 1000
_LONGEST_VALUE = 2000
_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em;color:#222;background:#fff}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3em 1em .3em 0;vertical-align:top;"
    "border-bottom:1px solid #ddd}code{overflow-wrap:anywhere}.problem{background:#fde7cf;padding:.6em 1em}"
)


def outputs_page(dag_id: str, run_id: str, outputs: RecordedOutputs | None, problem: str) -> str:
    """The page as HTML.

    :param problem: why nothing can be downloaded; empty: everything can.
    """
    title = f"Outputs of {printable(dag_id)}, run {printable(run_id)}"
    parts = [f"<h1>{escape(title)}</h1>"]
    if problem:
        parts.append(f'<p class="problem">{escape(problem)}</p>')
    if outputs is not None:
        parts += _table(outputs, downloads=not problem)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _table(outputs: RecordedOutputs, *, downloads: bool) -> Iterator[str]:
    yield f"<p>In <code>{escape(printable(outputs.outdir))}</code>"
    if downloads and any(outputs.files_of(outputs.value)):
        yield ' · <a href="outputs/archive">all as one tar file</a>'
    yield "</p><table><tr><th>output</th><th>value</th><th>bytes</th><th>checksum</th></tr>"
    rows = 0
    for name, value in outputs.value.items():
        files = list(outputs.files_of(value))
        for file in files[: max(0, _MOST_ROWS - rows)]:
            yield _file_row(name, file, downloads)
        if not files and rows < _MOST_ROWS:
            yield f"<tr><td>{escape(printable(name))}</td><td><code>{escape(_text(value))}</code></td></tr>"
        rows += max(1, len(files))
    yield "</table>"
    if rows > _MOST_ROWS:
        yield f"<p>and {rows - _MOST_ROWS} more, which the tar file and task <code>outputs</code> (XCom) have</p>"


def _file_row(name: str, file: OutputFile, downloads: bool) -> str:
    shown = escape(printable(file.path)) + ("/ (tar)" if file.folder else "")
    if downloads:
        # relative to the page: wherever Airflow is mounted
        shown = f'<a href="outputs/{file.key}">{shown}</a>'
    size = "" if file.size is None else str(file.size)
    checksum = escape(printable(file.checksum or ""))
    return f"<tr><td>{escape(printable(name))}</td><td>{shown}</td><td>{size}</td><td><code>{checksum}</code></td></tr>"


def _text(value: JsonValue) -> str:
    return shortened(printable(json.dumps(value, ensure_ascii=False)), _LONGEST_VALUE)
