# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands whose output nobody reads to its end, as with ``| head``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.cli.cli_config import ActionCommand

from airflow_hybrid.cli.commands import get_hybrid_cli_commands
from airflow_hybrid.cli.printing import until_nobody_reads


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


def test_every_command_does_so() -> None:
    (group,) = get_hybrid_cli_commands()
    assert all(hasattr(command.func, "__wrapped__") for command in group.subcommands)  # type: ignore[union-attr]


def test_another_broken_pipe_is_an_error() -> None:
    def fails() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        until_nobody_reads(ActionCommand(name="x", help="", func=fails, args=())).func()
