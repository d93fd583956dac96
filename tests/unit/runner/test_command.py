# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid run`` hands the Connections of its Airflow to the runner."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from airflow_hybrid.runner.arguments import WRONG_ARGUMENTS, parser
from airflow_hybrid.runner.command import connections, hybrid_file_of, run_command
from airflow_hybrid.runner.stdout import is_written

HYBRID_FILE = """\
version: v1.0
workflows: {w: {type: cwl, config: {file: main.cwl}}}
deployments:
  site: {type: ssh, config: {conn_id: harbour}}
  other: {type: ssh, config: {conn_id: nobody_has_it}}
"""


EXIT_CODES = (
    "0 success, 1 failure, 2 wrong arguments, 3 a recorded run that was run again has other outputs now,"
    " 33 the document needs an unsupported feature, 130 interrupted (Ctrl-C, SIGTERM),"
    " 141 nobody reads the output object."
)


def test_the_help_and_the_docs_tell_the_same_exit_codes() -> None:
    assert f"Exit code: {EXIT_CODES} Without JOB" in str(run_command().description)
    page = " ".join((Path(__file__).parents[3] / "docs/how-to/run.md").read_text().split())
    assert f"exit codes: {EXIT_CODES}" in page.replace(" ([provenance](provenance.md))", "")


def test_an_output_object_that_nobody_reads_is_left_out_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        assert not is_written(stdout, "{}")


def test_wrong_arguments_have_their_exit_code() -> None:
    with pytest.raises(SystemExit) as caught:
        parser("runner").parse_args(["--outdir"])
    assert caught.value.code == WRONG_ARGUMENTS


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for argument in run_command().args:
        argument.add_to_parser(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["--hybrid-file", "s.yml", "main.cwl", "in.yml"], "s.yml"),
        (["main.cwl", "--hybrid-file", "s.yml", "in.yml"], "s.yml"),
        (["main.cwl", "in.yml", "--hybrid-file", "s.yml"], "s.yml"),
        (["main.cwl", "in.yml", "--outdir", "out", "--hybrid-file=s.yml"], "s.yml"),
        (["main.cwl", "--name", "value"], None),
    ],
)
def test_the_hybrid_file_may_be_named_anywhere(words: list[str], file: str | None) -> None:
    assert hybrid_file_of(parsed(*words)) == file


def test_the_connections_that_its_deployments_name_are_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "streamflow.yml"
    file.write_text(HYBRID_FILE)
    (tmp_path / "main.cwl").write_text("cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: []\n")
    monkeypatch.setenv("AIRFLOW_CONN_HARBOUR", '{"conn_type": "ssh", "host": "harbour.example.org"}')
    variables = connections(str(file))
    assert list(variables) == ["AIRFLOW_CONN_HARBOUR"]
    assert '"harbour.example.org"' in variables["AIRFLOW_CONN_HARBOUR"]


def test_where_each_user_has_a_connection_that_of_the_caller_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "streamflow.yml"
    file.write_text(HYBRID_FILE.replace("harbour", '"harbour_{{ triggering_user }}"'))
    for name in ("anna", "ben"):
        monkeypatch.setenv(f"AIRFLOW_CONN_HARBOUR_{name.upper()}", f'{{"conn_type": "ssh", "host": "{name}"}}')
    monkeypatch.setattr("airflow.utils.platform.getuser", lambda: "ben")
    assert list(connections(str(file))) == ["AIRFLOW_CONN_HARBOUR_BEN"]
