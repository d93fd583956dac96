# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How this package starts Python: modules are never loaded from the current folder, which may be anybody's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_BEFORE_311 = "import sys; del sys.path[0]; import runpy; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"


def module_command(module: str, version: tuple[int, ...] = sys.version_info[:2]) -> list[str]:
    """The argument vector that runs a module as ``python -m`` does, whatever is in the current folder.

    :param version: of this interpreter; ``-P`` exists since 3.11 (https://docs.python.org/3/using/cmdline.html).
    """
    if version >= (3, 11):
        return [sys.executable, "-P", "-m", module]
    return [sys.executable, "-c", _BEFORE_311.format(module)]


def module_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the current folder in ``PYTHONPATH``, for a program and its children.

    An empty entry, as from `PYTHONPATH=$PYTHONPATH:/more`, means the current folder, and relative entries are in it.
    """
    variables = dict(environment)
    folders = [folder for folder in variables.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(folder)]
    if folders:
        variables["PYTHONPATH"] = os.pathsep.join(folders)
    variables["PYTHONSAFEPATH"] = "1"
    return variables
