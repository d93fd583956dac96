# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job uses at its location besides its own files and inputs, as far as its command line shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outside:
    """Names in a job's command line, environment and scripts that may mean something at the location.

    :ivar path: the value of PATH that the job sets for itself; None: the location's.
    :ivar words: possible programs on the PATH.
    :ivar commands: words that must be programs or parts of the shell; otherwise it is unknown what runs.
    :ivar files: absolute paths that are not the job's.
    :ivar variables: names of environment variables that its shell text reads and the job does not set.
    """

    path: str | None
    words: frozenset[str]
    commands: frozenset[str]
    files: frozenset[str]
    variables: frozenset[str]
