# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from airflow.cli.cli_config import GroupCommand

from airflow_hybrid.cli import commands as cli

ROOT = Path(__file__).parents[3]


def parse(*words: str) -> argparse.Namespace:
    """Parse ``airflow hybrid <words>`` as Airflow does."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    (group,) = cli.get_hybrid_cli_commands()
    assert isinstance(group, GroupCommand)
    for command in group.subcommands:
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
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path))
    run("compile", str(ROOT / "dags/hello/streamflow.yml"))
    out = capsys.readouterr().out
    assert "step    /split" in out
    assert "-> left" in out
    assert "/summarise" in out


def test_compile_prints_the_graph_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path))
    run("compile", "--json", str(ROOT / "dags/hello/main.cwl"))
    (graph,) = json.loads(capsys.readouterr().out).values()
    assert {s["path"] for s in graph["steps"]} >= {"/split", "/count", "/summarise"}


def test_compile_ends_with_the_message_of_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path))
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "FOLDER/job.yml: cannot read the inputs file: No such file or directory"),
        ("times: many", "FOLDER/job.yml: input 'times' must be int, not \"many\""),
        (
            "file: {class: File, path: nope.txt}",
            "FOLDER/job.yml: input 'file': FOLDER/nope.txt: No such file or directory",
        ),
        ("file: {class: File, path: 5}", "FOLDER/job.yml: input 'file': `path` of a File must be a string, not 5"),
        ("tims: 3", None),
        ("times: 3", None),
    ],
)
def test_compile_checks_the_settings(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: str | None,
    said: str | None,
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: {times: int, file: File}\noutputs: []\n"
    )
    (tmp_path / "streamflow.yml").write_text(
        "version: v1.0\nworkflows: {main: {type: cwl, config: {file: main.cwl, settings: job.yml}}}\n"
    )
    if settings is not None:
        (tmp_path / "job.yml").write_text(settings)
    if said is not None:
        with pytest.raises(SystemExit) as ended:
            run("compile", str(tmp_path / "streamflow.yml"))
        assert str(ended.value) == said.replace("FOLDER", str(tmp_path))
        return
    run("compile", str(tmp_path / "streamflow.yml"))
    notice = f"{tmp_path}/job.yml: 'tims' is not an input of main: runs ignore it\n  -> did you mean `times`?\n"
    assert capsys.readouterr().err == (notice if settings == "tims: 3" else "")


@pytest.mark.parametrize("words", [["--tool-help", "main.cwl"], ["main.cwl", "--tool-help"]])
def test_the_runner_shows_a_document_s_inputs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    from airflow_hybrid.runner.__main__ import main

    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: {times: int}\noutputs: []\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    shown = capfd.readouterr()
    assert "--times TIMES" in shown.out + shown.err


def test_an_error_of_the_runner_that_nobody_foresaw_is_one_message(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_hybrid.runner import __main__ as runner

    def fail(args: argparse.Namespace, home_type: type) -> None:
        raise KeyError("what")

    monkeypatch.setattr(runner, "_run", fail)
    assert runner.main(["main.cwl"]) == 1
    assert capfd.readouterr().err == (
        "airflow-hybrid-runner: KeyError: 'what'\n"
        "  -> this error is unexpected: run again with --verbose, and report what that prints\n"
    )


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (
            "0h",
            "--older-than 0h: an age of nothing would take the folders of runs that have just ended\n"
            "  -> give a greater number: 30m, 12h, 7d, 2w",
        ),
        ("7", "--older-than 7: this is not an age\n  -> give a number and a unit: 30m, 12h, 7d, 2w"),
        ("-1h", "--older-than -1h: this is not an age\n  -> give a number and a unit: 30m, 12h, 7d, 2w"),
    ],
)
def test_an_age_that_is_none_is_told(age: str, said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run("cleanup", "f.yml", f"--older-than={age}")
    assert str(ended.value) == said
