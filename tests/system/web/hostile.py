# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A workflow whose names, logs and outputs try to be more than text on a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCRIPT = "<img src=x onerror=alert(1)>"
LONG = "n" * 200
STEP = f"{SCRIPT}{LONG[:60]}"
ENDS_WITH_0 = "silent"
"""a step whose job fails with exit code 0: its output is missing"""
MARKDOWN = f"""\
# {SCRIPT}

<script>alert(2)</script> [a link](javascript:alert(3))
![a picture](x.png" onerror="alert(4)) <iframe src="//example.org">

| {SCRIPT} | {LONG} |
|---|---|
| <svg onload=alert(5)> | b |
"""
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="alert(6)"><script>alert(7)</script>
<image href="http://example.org/x.png"/><rect width="40" height="40" fill="teal"/></svg>
"""
FILES = {
    "page.md": MARKDOWN,
    "picture.svg": PICTURE,
    "table.csv": f"{SCRIPT},{LONG}\n=cmd(),\u202egnp.exe\n",
    "page.html": f"<script>alert(8)</script>{SCRIPT}",
    f"{SCRIPT}\u202egnp.txt": "a\u202eb \x1b[31mred\x1b[0m\n",
    f"{LONG}.txt": f"{LONG * 20}\n",
}
LOG = f"{SCRIPT}\u202e \x1b[31mred\x1b[0m \x1b]0;title\x07 <script>alert(9)</script> {LONG * 5}\n"


def write_workflow(folder: Path, name: str) -> None:
    """Write ``<name>.cwl``, which makes :data:`FILES`.

    With the input ``bad`` its jobs fail: that of :data:`STEP` writes :data:`LOG`, and that of :data:`ENDS_WITH_0` has
    exit code 0, but not its output.
    """
    listing = [{"entryname": f"made/{file}", "entry": _literal(text)} for file, text in FILES.items()]
    tool = {
        "class": "CommandLineTool",
        "label": SCRIPT,
        "requirements": {
            "InlineJavascriptRequirement": {},
            "InitialWorkDirRequirement": {"listing": [*listing, {"entryname": "log", "entry": _literal(LOG)}]},
        },
        "baseCommand": ["sh", "-c", 'cat log >&2; test "$0" = xfalse'],
        "arguments": ["x$(inputs.bad)"],
        "inputs": {"bad": "boolean"},
        "outputs": {"made": {"type": "File[]", "outputBinding": {"glob": "made/*"}}},
    }
    silent = {
        "class": "CommandLineTool",
        "requirements": {"InlineJavascriptRequirement": {}},
        "baseCommand": ["touch", "there"],
        "inputs": {"bad": "boolean"},
        "outputs": {"it": {"type": "File", "outputBinding": {"glob": "$(inputs.bad ? 'missing' : 'there')"}}},
    }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "label": SCRIPT,
        "doc": MARKDOWN,
        "inputs": {"bad": {"type": "boolean", "default": False, "label": SCRIPT, "doc": MARKDOWN}},
        "outputs": {"made": {"type": "File[]", "outputSource": f"{STEP}/made", "label": SCRIPT}},
        "steps": {
            STEP: {"run": tool, "label": SCRIPT, "in": {"bad": "bad"}, "out": ["made"]},
            ENDS_WITH_0: {"run": silent, "in": {"bad": "bad"}, "out": ["it"]},
        },
    }
    (folder / f"{name}.cwl").write_text(json.dumps(workflow))


def _literal(text: str) -> Any:
    """A text that is no expression, whatever it has."""
    return "$(" + json.dumps(text) + ")"
