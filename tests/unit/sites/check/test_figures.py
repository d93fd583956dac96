# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Figures of a check: what a site says is counted, or left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.sites.check.findings import Findings
from airflow_hybrid.sites.check.queues import try_connections
from tests.unit.sites.shell_hosts import ShellHost

ALL = "   1     0 init\n"
ONE = ALL + "  50     9 sshd\n  51    50 bash\n  52    51 ps\n"
SEVERAL = ONE + "  60     9 sshd-session\n  61    60 sh\n  62    60 sftp-server\n  63    61 sleep\n  70     9 sshd\n"
ROOT = "   9     1 sshd\n" + ONE


@pytest.mark.parametrize(
    ("processes", "connections", "sessions"),
    [
        (ONE, "1 SSH connection is", "1 session"),
        (SEVERAL, "3 SSH connections are", "3 sessions"),
        (ROOT, "1 SSH connection is", "1 session"),
    ],
)
async def test_connections_and_their_sessions_are_counted(
    processes: str, connections: str, sessions: str, tmp_path: Path
) -> None:
    findings = Findings("hpc", "login")
    await try_connections(findings, host_with(tmp_path, f"cat <<'EOF'\n{processes}EOF\n"), 20)
    (finding,) = findings.entries
    assert (finding.what, finding.result) == ("connections", "ok")
    assert finding.detail == (
        f"{connections} open there as this user, from everywhere, with {sessions} (the one of this check, too)"
    )
    assert dict(finding.figures) == {"SSH": f"{connections.split()[0]} open, {sessions}"}


@pytest.mark.parametrize("program", ["exit 1", "echo not what was asked"])
async def test_a_ps_that_cannot_say_makes_no_finding(program: str, tmp_path: Path) -> None:
    findings = Findings("hpc", "login")
    await try_connections(findings, host_with(tmp_path, program), 20)
    assert findings.entries == []


def host_with(folder: Path, ps: str) -> ShellHost:
    program = folder / "ps"
    program.write_text(f"#!/bin/sh\n{ps}\n")
    program.chmod(0o755)
    return ShellHost("dash", {"PATH": f"{folder}:/usr/bin:/bin", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"})
