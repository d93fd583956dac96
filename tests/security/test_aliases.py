# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A few lines of YAML that stand for more values than memory holds are refused before they are built."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_hybrid.cwl.aliases import refuse_growth
from airflow_hybrid.cwl.compile import compile_document
from airflow_hybrid.cwl.settings import parse_inputs
from airflow_hybrid.errors import CwlError, InputError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
SAID = "by its aliases it has more than 1000000 values"


def test_a_job_file_that_grows_by_its_aliases_is_refused() -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as error:
        parse_inputs(LAUGHS.encode(), "job.yml")
    assert str(error.value) == f"job.yml: {SAID}" and time.monotonic() - began < 5


def test_a_document_that_grows_by_its_aliases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\n" + LAUGHS)
    with pytest.raises(CwlError, match=SAID):
        compile_document(str(tmp_path / "main.cwl"))


def test_a_value_that_holds_itself_is_refused() -> None:
    with pytest.raises(InputError) as error:
        refuse_growth("a: &a [1, *a]", "job.yml")
    assert str(error.value) == "job.yml: a value is in itself, or nested too deeply"


def test_ordinary_aliases_are_what_they_stand_for() -> None:
    assert parse_inputs(b"a: &a {x: 1}\nb: [*a, *a]\n", "job.yml") == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 1}]}
    refuse_growth("a: 'x & y * z'", "job.yml")
