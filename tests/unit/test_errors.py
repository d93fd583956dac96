# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether an attempt may be repeated is said where an error is raised."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import airflow_hybrid
from airflow_hybrid.engine.failures import failed
from airflow_hybrid.errors import (
    AuthenticationError,
    CommandEnd,
    CommandError,
    CwlError,
    DeployError,
    HybridError,
    LocationGoneError,
    SiteError,
    TransferError,
    error_from_json,
)

SET_AFTERWARDS = re.compile(r"^(?!\s*self\.)\s*\w+\.retryable = ", re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "usually"),
    [(CwlError, False), (SiteError, True), (DeployError, True), (AuthenticationError, False)],
)
def test_an_error_is_as_others_of_its_class_unless_it_says_otherwise(kind: type[HybridError], usually: bool) -> None:
    assert kind("m").retryable is usually
    assert kind("m", retryable=not usually).retryable is not usually
    assert kind("m").retryable is usually, "one error says nothing about the next"


def test_an_error_with_an_answer_of_its_own_shows_the_same_text() -> None:
    error = TransferError("the file was changed", where="hpc", hint="clear the task", retryable=False)
    assert str(error) == "hpc: the file was changed\n  -> clear the task"
    assert not error.retryable
    assert LocationGoneError("gone", retryable=True).retryable


def test_no_error_is_changed_after_it_was_made() -> None:
    package = Path(airflow_hybrid.__file__).parent
    changed = [
        str(path.relative_to(package)) for path in package.rglob("*.py") if SET_AFTERWARDS.search(path.read_text())
    ]
    assert changed == []


def test_an_error_of_another_process_is_of_the_same_class_with_the_same_message() -> None:
    end = CommandEnd("hpc", "squeue", 3, "no route")
    for error in (
        TransferError("the file was changed", where="hpc", hint="clear the task", retryable=False),
        CommandError("squeue failed", end),
        failed([], 2),
    ):
        read = error_from_json(json.loads(json.dumps(error.to_json())))
        assert (str(read), read.retryable) == (str(error), error.retryable)
        assert isinstance(error, type(read)) and type(read).__module__ == HybridError.__module__
    assert type(error_from_json({**failed([], 2).to_json(), "kind": "Path"})) is HybridError
