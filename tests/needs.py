# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tests need of the machine: they are skipped where it is missing, and fail where everything must be there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("AIRFLOW_HYBRID_REQUIRE_TESTBED", "") not in ("", "0")
PACKAGES = {
    "busybox": "busybox-static",
    "ksh": "ksh93u+m",
    "ksh93": "ksh93u+m",
    "useradd": "passwd",
    "sshd": "openssh-server",
    "/usr/bin/time": "time",
}
"""Debian's packages whose names are not the program's"""
SHELLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dash": ("dash",),
        "bash": ("bash", "--posix"),
        "busybox": ("busybox", "sh"),
        "ksh93": ("ksh93",),
        "zsh": ("zsh", "--emulate", "sh"),
    }
)
"""shells that are some system's ``/bin/sh``, and how they behave as under that name"""


def unavailable(what: str, needs: str, how: str) -> NoReturn:
    """Skip the test, or fail it where everything must be there."""
    message = f"{what} needs {needs}; to get it: {how}"
    if REQUIRED:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def program(name: str) -> str:
    """Path of a program that the test needs."""
    path = shutil.which(name)
    if path is None:
        unavailable("this test", name, f"apt-get install {PACKAGES.get(name, name)}")
    return path


def posix_shell(name: str) -> list[str]:
    """The arguments that begin a shell of :data:`SHELLS`."""
    program(SHELLS[name][0])
    return list(SHELLS[name])


def root(to: str) -> None:
    """The test needs to be root, ``to`` do something."""
    if os.geteuid() != 0:
        unavailable("this test", f"root, to {to}", "run it as root")
