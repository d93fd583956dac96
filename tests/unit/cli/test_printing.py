# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands whose output nobody reads to its end, as with ``| head``, or that find no database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.cli.cli_config import ActionCommand
from sqlalchemy import create_engine, text

from airflow_hybrid.cli.commands import get_hybrid_cli_commands
from airflow_hybrid.cli.printing import guarded, print_rows


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_ends_in_silence_when_nobody_reads_on(tmp_path: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "airflow", "hybrid", "schema"]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False, timeout=800)
    finally:
        os.close(writer)
    assert b"BrokenPipe" not in done.stderr and b"Traceback" not in done.stderr
    assert done.returncode == 141  # as of a program that SIGPIPE ends


def test_every_command_is_guarded() -> None:
    (group,) = get_hybrid_cli_commands()
    assert all(hasattr(command.func, "__wrapped__") for command in group.subcommands)  # type: ignore[union-attr]


def test_another_broken_pipe_is_an_error() -> None:
    def fails() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        guarded(ActionCommand(name="x", help="", func=fails, args=())).func()


def test_a_database_without_tables_is_told_in_a_sentence() -> None:
    def asks() -> None:
        with create_engine("sqlite://").connect() as connection:
            connection.execute(text("SELECT * FROM serialized_dag"))

    with pytest.raises(SystemExit) as caught:
        guarded(ActionCommand(name="x", help="", func=asks, args=())).func()
    assert caught.value.code == (
        "Airflow's database cannot be used: no such table: serialized_dag\n"
        "  -> `airflow db migrate` makes or updates its tables; [database] sql_alchemy_conn says where it is"
    )


@pytest.mark.parametrize("text", ["[/x]", "a[b].txt", ":smile:", "[link=http://a]b[/link]"])
def test_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_rows([], "table", [{"path": text}])
    assert text in capsys.readouterr().out
