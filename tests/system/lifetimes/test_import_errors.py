# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A DAG file with an error in what it loads shows one clear message as Airflow's import error."""

from __future__ import annotations

import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

HYBRID = """version: v1.0
workflows:
  broken_{name}:
    type: cwl
    config: {{file: {document}}}
    bindings:
      - step: {step}
        target: {{deployment: {deployment}}}
{more}deployments:
  here: {{type: local, config: {{}}}}
"""
TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs:
  count: {type: int, inputBinding: {}}
outputs: {out: stdout}
"""
MISMATCH = """cwlVersion: v1.2
class: Workflow
inputs: {text: string}
steps:
  count:
    run: broken_tool.cwl
    in: {count: text}
    out: [out]
outputs: {}
"""
GOOD = {"document": "broken_tool.cwl", "step": "/", "deployment": "here", "more": ""}
CASES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "cwl": ({**GOOD, "document": "broken.cwl"}, ("broken.cwl:5:7", "there is no type 'intt' (did you mean 'int'?)")),
    "types": ({**GOOD, "document": "broken_types.cwl"}, ("broken_types.cwl:", "string", "int")),
    "step": ({**GOOD, "step": "/brokn_tool"}, ("broken_step.yml:7", "/brokn_tool", "did you mean", "/broken_tool")),
    "deployment": ({**GOOD, "deployment": "hre"}, ("broken_deployment.yml:8", "hre", "here")),
    "key": ({**GOOD, "more": "    bindigs: []\n"}, ("broken_key.yml:9", "bindigs", "bindings")),
    "schedule": ({**GOOD, "more": '    dag: {schedule: "@daily"}\n'}, ("broken_schedule", "no default: count")),
}


@pytest.fixture(scope="module")
def errors(airflow: AirflowStack, dags: Dags) -> dict[str, str]:
    folder = dags.folder / "documents"
    (folder / "broken_tool.cwl").write_text(TOOL)
    (folder / "broken.cwl").write_text(
        TOOL.replace("type: int", "type: intt").replace("inputs:\n  count", "inputs:\n  n")
    )
    (folder / "broken_types.cwl").write_text(MISMATCH)
    for name, (values, _) in CASES.items():
        (folder / f"broken_{name}.yml").write_text(HYBRID.format(name=name, **values))
    for name in CASES:
        code = f"from airflow_hybrid import load_dags\n\nload_dags('documents/broken_{name}.yml', globals())\n"
        (dags.folder / f"broken_{name}.py").write_text(code)

    def found() -> dict[str, str] | None:
        seen = {file: text for file, text in airflow.api.import_errors().items() if "broken_" in file}
        return seen if len(seen) == len(CASES) else None

    try:
        return wait_for(found, 120, lambda: str(airflow.api.import_errors()))
    finally:
        for name in CASES:
            (dags.folder / f"broken_{name}.py").unlink()


@pytest.mark.parametrize("name", CASES)
def test_the_import_error_says_what_and_where(errors: dict[str, str], name: str) -> None:
    text = next(text for file, text in errors.items() if file.endswith(f"broken_{name}.py"))
    message = text.split("airflow_hybrid.errors.", 1)[1]
    for part in CASES[name][1]:
        assert part in message
    assert "During handling" not in text and "direct cause" not in text
