# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The sites of tests/testbed, for tests: what is up, and the `testbed` command to do harm to them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from tests.needs import unavailable

TESTBED = os.environ.get("TESTBED_COMMAND") or str(Path(__file__).parent.parent / "testbed" / "testbed")


START_SSHD = "/usr/sbin/sshd -f /etc/ssh/site_config -E /var/log/sshd.log -o LogLevel=VERBOSE"
"""starts the sshd of a site again, with the log by which tests count sessions"""


def need(*names: str) -> dict[str, Any]:
    """The test bed's description, or skip the test."""
    path = os.environ.get("TESTBED_JSON", "")
    try:
        described: dict[str, Any] = json.loads(Path(path).read_text())
    except OSError:
        unavailable("this test", "the test bed", 'eval "$(tests/testbed/testbed up)" as root on Debian')
    missing = [name for name in names if name not in described["sites"]]
    if missing:
        unavailable("this test", f"the test bed's sites {missing}", f"tests/testbed/testbed up {' '.join(missing)}")
    return described


def settings(name: str, **changes: Any) -> SshSettings:
    described = need(name)
    site = described["sites"][name]
    values = {"host": site["host"], "username": site["user"], "key_files": (site["key"],),
              "known_hosts": (described["known_hosts"],)}  # fmt: skip
    return SshSettings(**{**values, **changes})


def host(name: str, **changes: Any) -> SshHost:
    made = settings(name, **changes)
    return SshHost(name, made.host, made)


def control(*args: str) -> str:
    """Run the `testbed` command; it reads the same TESTBED_* settings as `up` did."""
    return subprocess.run([TESTBED, *args], check=True, capture_output=True, text=True, timeout=240).stdout


def end_sessions(name: str, *programs: str) -> None:
    """End the ordinary user's ssh sessions at a site, and its processes of these programs, by their pids there."""
    wanted = "\\|".join(("sshd", *programs))
    user = need(name)["sites"][name]["user"]
    inside(
        name,
        f"kill -9 $(ps -u {user} -o pid=,comm= | sed -n 's/^ *\\([0-9]*\\) \\({wanted}\\).*/\\1/p') 2>/dev/null || :",
    )


def inside(name: str, script: str) -> str:
    """Run a script as root inside a site, not by ssh."""
    return control("exec", name, "sh", "-c", script)
