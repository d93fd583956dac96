# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from airflow_hybrid import cli

ROOT = Path(__file__).parents[2]


def parse(*words: str) -> argparse.Namespace:
    """Parse ``airflow hybrid <words>`` as Airflow does."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    (group,) = cli.get_hybrid_cli_commands()
    for command in group.subcommands:  # type: ignore[union-attr]
        sub = commands.add_parser(command.name)
        for arg in command.args:
            arg.add_to_parser(sub)
        sub.set_defaults(func=command.func)
    return parser.parse_args(words)


def run(*words: str) -> None:
    args = parse(*words)
    args.func(args)


def test_schema_prints_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    run("schema")
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_schema_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("schema", "--output", str(tmp_path / "s.json"))
    assert "properties" in json.loads((tmp_path / "s.json").read_text())
    assert capsys.readouterr().out == ""


def test_schema_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no/s\.json: No such file or directory"):
        run("schema", "--output", str(tmp_path / "no" / "s.json"))


def test_compile_shows_steps_and_where_they_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path))
    run("compile", str(ROOT / "dags/hello/streamflow.yml"))
    out = capsys.readouterr().out
    assert "step    /split" in out
    assert "-> left" in out
    assert "/summarise" in out


def test_compile_prints_the_graph_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path))
    run("compile", "--json", str(ROOT / "dags/hello/main.cwl"))
    (graph,) = json.loads(capsys.readouterr().out).values()
    assert {s["path"] for s in graph["steps"]} >= {"/split", "/count", "/summarise"}


def test_compile_ends_with_the_message_of_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path))
    path = tmp_path / "f.yml"
    path.write_text("version: v1.0\ndeploymnts: {}\n")
    with pytest.raises(SystemExit) as e:
        run("compile", str(path))
    assert str(e.value) == f"{path}:2: deploymnts: unknown key `deploymnts`\n  -> did you mean `deployments`?"


@pytest.mark.parametrize(
    ("cwl_type", "text"),
    [
        ("File", "File"),
        (["null", "int"], "int?"),
        (["null", "int", "string"], "(int | string)?"),
        ({"type": "array", "items": "File"}, "File[]"),
        ({"type": "array", "items": {"type": "array", "items": ["null", "int"]}}, "int?[][]"),
        ({"type": "record", "fields": []}, "record"),
        ("file:///x.cwl#kind", "kind"),
    ],
)
def test_types_are_shown_as_cwl_writes_them(cwl_type: object, text: str) -> None:
    assert cli._type(cwl_type) == text
