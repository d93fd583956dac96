# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_hybrid.config import json_schema
from airflow_hybrid.config.reading.document import parse
from airflow_hybrid.config.reference import reference

ROOT = Path(__file__).parents[3]
FILES = [*sorted((Path(__file__).parent / "streamflow").glob("*.yml")), *sorted(ROOT.glob("dags/*/streamflow*.yml"))]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_json_schema_accepts_what_the_loader_accepts(validator: Any, path: Path) -> None:
    assert [e.message for e in validator.iter_errors(parse(path.read_text(), path.name).data)] == []


@pytest.mark.parametrize(
    "text",
    [
        "version: v2.0",
        "version: v1.0\nunknown: 1",
        "version: v1.0\ndeployments: {A: {type: local, config: {}}}",
        "version: v1.0\ndeployments: {a: {type: ssh, config: {nodez: [x]}}}",
        "version: v1.0\nworkflows: {w: {type: cwl, config: {}}}",
        "version: v1.0\nworkflows: {w: {type: cwl, config: {file: a}, bindings: [{step: /, target: {deploymnt: x}}]}}",
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(validator: Any, text: str) -> None:
    assert list(validator.iter_errors(parse(text, "f").data))


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    models = {"the file": schema, **schema["$defs"]}
    without = [
        f"{m}.{k}" for m, d in models.items() for k, v in d.get("properties", {}).items() if "description" not in v
    ]
    assert without == []


def test_the_reference_page_is_what_the_models_say() -> None:
    page = (ROOT / "docs/reference/hybrid-file.md").read_text()
    written = "\n".join(reference()).rstrip() + "\n"
    assert page == written, "run: python -m airflow_hybrid.config.reference docs/reference/hybrid-file.md"


def test_the_pages_example_is_a_valid_hybrid_file(validator: Any) -> None:
    page = (ROOT / "docs/reference/hybrid-file.md").read_text()
    match = re.search(r"\n\n((?:    .*\n)+)", page)
    assert match
    assert list(validator.iter_errors(parse(re.sub(r"(?m)^    ", "", match[1]), "page").data)) == []
