# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A rule of the package, and how it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One broken rule.

    :ivar file: in ``airflow_hybrid``; ``old`` stands there exactly once, and becomes ``new``.
    :ivar tests: where it is to be noticed: arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    def apply(self, package: Path) -> None:
        """Break the rule in a copy of the package.

        :raises ValueError: the text is not there exactly once.
        """
        file = package / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has {text.count(self.old)} times: {self.old}")
        file.write_text(text.replace(self.old, self.new))
