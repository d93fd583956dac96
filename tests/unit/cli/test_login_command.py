# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid login`` as a person calls it: on a terminal, with a password that is not shown."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from airflow_hybrid.cli import logins
from airflow_hybrid.errors import ConfigError
from tests.raising import raising
from tests.unit.sites.hosts.logins.one_time import OneTimeSite, serving

FILE = """\
version: v1.0
workflows: {{}}
deployments:
  gate:
    type: ssh
    config: {{nodes: ["127.0.0.1:{port}"], username: anna, login: interactive, host_key: "{host_key}"}}
  here: {{type: local, config: {{}}}}
"""


def on_a_terminal(command: list[str], answers: dict[str, str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command on a terminal of its own, and type an answer after each prompt.

    :return: its exit code, and what the terminal showed.
    """
    master, terminal = pty.openpty()
    # the first terminal that the leader of a session opens becomes its own (tty(4))
    opens = ["/bin/sh", "-c", 'exec <"$0" >"$0" 2>&1; exec "$@"', os.ttyname(terminal)]
    process = subprocess.Popen([*opens, *command], start_new_session=True, env=environment)
    os.set_inheritable(terminal, False)
    begun = False
    shown, waiting = "", dict(answers)
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # nobody has the terminal any more
            break
        if not begun:  # the command has the terminal open: its end is the end of what is shown
            os.close(terminal)
            begun = True
        shown += data.decode()
        for prompt in [prompt for prompt in waiting if prompt in shown]:
            os.write(master, f"{waiting.pop(prompt)}\n".encode())
    os.close(master)
    return process.wait(), shown.replace("\r\n", "\n")


def test_a_person_logs_in_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tempfile.mkdtemp(prefix="ahl", dir="/tmp")  # the path of a socket must be short
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "hybrid.yml"
    command = [sys.executable, "-m", "airflow", "hybrid", "login", "gate", "--hybrid-file", str(file)]
    with serving(OneTimeSite({"123456"})) as site:
        file.write_text(FILE.format(port=site.port, host_key=site.host_key))
        at = f"anna@127.0.0.1:{site.port}"
        answers = {f"{at} asks: Password: ": "secret", f"{at} asks: Verification code: ": "123456"}
        try:
            code, shown = on_a_terminal(command, answers, dict(os.environ))
            assert (code, site.tried) == (0, [["secret", "123456"]]), shown
            assert f"{at}: logged in, for Airflow's processes on " in shown
            assert "secret" not in shown and f"{at} asks: Verification code: 123456\n" in shown
            assert [line.split()[:2] for line in logins.table()] == [["DEPLOYMENT", "HOST"], ["gate", at]]
        finally:
            if any(line.endswith("open") for line in logins.table()):
                logins.end("gate")
            shutil.rmtree(folder)
    with raising(ConfigError, "there is no deployment `gat` in the hybrid files\n  -> did you mean `gate`?"):
        logins.log_in("gat", [str(file)], None)
    with raising(ConfigError, "deployment `here` is not reached by SSH: nobody has to log in"):
        logins.log_in("here", [str(file)], None)
