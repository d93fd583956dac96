# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values that are nested more deeply than their readers follow are one message: of jobs, confs, XComs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import HybridError, InputError
from airflow_hybrid.model import is_too_deep, not_json
from airflow_hybrid.operators.given import refuse_nested
from airflow_hybrid.operators.values import Values
from tests.unit.engine.execution import run_spec, spec_of

HEAD = "cwlVersion: v1.2\nrequirements: {InlineJavascriptRequirement: {}}\ninputs: []\noutputs: {o: Any}\n"
TOOL = HEAD + (
    "class: CommandLineTool\nbaseCommand: [sh, -c]\nstdout: cwl.output.json\n"
    """arguments: ['n() { head -c LEVELS /dev/zero | tr "\\000" "$1"; }; printf "{\\"o\\": "; n [; n ]; echo "}"']\n"""
)
EXPRESSION = HEAD + (
    "class: ExpressionTool\nexpression: '${var v = []; for (var i = 1; i < LEVELS; i++) v = [v]; return {o: v}}'\n"
)
DEEP = "lists and objects nested more than 64 deep"


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def result(tmp_path: Path, document: str, levels: int) -> str:
    """What a run of a document says, without the places of its job; "" if it succeeds."""
    tool = tmp_path / "tool.cwl"
    tool.write_text(document.replace("LEVELS", str(levels)))
    work = {"work": {"type": "local", "workdir": str(tmp_path / "work")}}
    identity = TaskIdentity("dag", "run", "task", origin="origin")
    try:
        spec = spec_of(tool, {}, work, {"/": "work"}, identity)
        outcome, _ = run_spec(replace(spec, reuse=False))
    except HybridError as error:
        return plain(str(error))
    (found,) = outcome.results
    if found.status == "success":
        assert found.outputs == {"o": nested(levels)}
        return ""
    return plain(found.message)


def plain(message: str) -> str:
    """The first line of a message, without the name of the task's directory and the expression."""
    return re.sub(r"/g0-[0-9a-f]+", "/g0", message.split("\n")[0].partition(": {")[0])


@pytest.mark.parametrize(
    ("document", "levels", "said"),
    [
        (TOOL, 60, ""),
        (TOOL, 70, f"/tool at work (localhost): output 'o' holds {DEEP}"),
        (TOOL, 5_000, "/tool at work (localhost): a value contains itself, or is nested too deeply"),
        (TOOL, 300_000, "/tool at work (localhost): a value contains itself, or is nested too deeply"),
        (EXPRESSION, 60, ""),
        (EXPRESSION, 70, f"/tool: dag/run/task/g0: output 'o' holds {DEEP}"),
        (EXPRESSION, 2_000, "/tool: the expression's value is nested too deeply"),
    ],
)
def test_what_jobs_and_expressions_give(tmp_path: Path, document: str, levels: int, said: str) -> None:
    assert result(tmp_path, document, levels) == said


def test_the_levels_of_a_value_are_counted_without_calls_in_each_other() -> None:
    assert [is_too_deep(nested(levels)) for levels in (1, 64, 65, 66, 100_000)] == [False, False, False, True, True]
    assert is_too_deep({"a": {"b": nested(64)}}) and not_json(nested(100_000)) == DEEP


def test_a_conf_is_judged_before_anybody_reads_it() -> None:
    refuse_nested({"x": nested(64), "job": {"y": nested(60)}})
    with pytest.raises(InputError) as error:
        refuse_nested({"x": 1, "job": {"y": nested(900)}})
    assert str(error.value) == f"conf key 'job': it holds {DEEP}"


def test_an_xcom_is_judged_before_anybody_reads_it() -> None:
    values = Values(lambda task, key, index: {"o": nested(900)}, -1, None)  # type: ignore[arg-type]  # nothing has an origin
    with pytest.raises(HybridError) as error:
        values.xcom("first")
    assert str(error.value) == (
        f"the value 'return_value' of task 'first' holds {DEEP}: it is not used"
        "\n  -> its XCom was changed; clear that task to make it again"
    )
