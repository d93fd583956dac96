# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job uses of its location that is neither its own nor one of its inputs, as far as its command line says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outside:
    """Names in a job's command line, environment and scripts that may mean something at the location.

    :ivar path: the value of PATH that the job sets for itself; None: the location's.
    :ivar words: what may be a program on the PATH.
    :ivar commands: what must be a program or a part of the shell, or nobody knows what runs.
    :ivar files: absolute paths that are not the job's.
    :ivar variables: names of environment variables that its shell text reads and nobody in the job sets.
    """

    path: str | None
    words: frozenset[str]
    commands: frozenset[str]
    files: frozenset[str]
    variables: frozenset[str]
