# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is run: the documents, their inputs, and what must come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DOCUMENTS = Path(__file__).resolve().parent / "cwl"


class WrongOutputs(Exception):  # noqa: N818 - says what happened
    """A run ended well and did not deliver what it should: its time does not count."""


@dataclass(frozen=True)
class Case:
    """One workflow at one size on one site.

    :ivar document: name of a file in ``benchmarks/cwl``, without the extension.
    :ivar jobs: commands that it runs.
    :ivar site: ``local``, or ``slurm``: a Slurm that is reached by SSH.
    """

    document: str
    jobs: int
    site: str = "local"

    @property
    def name(self) -> str:
        size = "" if self.document == "one" else f"-{self.jobs}"
        return f"{self.document}{size}-{self.site}"

    @property
    def path(self) -> Path:
        return DOCUMENTS / f"{self.document}.cwl"

    def inputs(self, salt: str = "") -> dict[str, Any]:
        """The CWL input object.

        :param salt: makes the values of each run different, so that nothing can be reused from an earlier one.
        """
        if self.document == "scatter":
            return {"msgs": [f"m{salt}-{k:05d}" for k in range(self.jobs)]}
        return {"msg": f"m{salt}"}

    def check(self, outputs: Mapping[str, Any], salt: str, outdir: Path) -> None:
        """Every output file is in ``outdir``, in order, and holds what its job was to print.

        :raises WrongOutputs: with the first one that does not.
        """
        given = self.inputs(salt)
        expected = given["msgs"] if "msgs" in given else [given["msg"]]
        found = outputs.get("out")
        files = found if isinstance(found, list) else [found]
        if len(files) != len(expected):
            raise WrongOutputs(f"{len(files)} output files and not {len(expected)}")
        for text, file in zip(expected, files, strict=True):
            path = _path(file).resolve()
            if outdir.resolve() not in path.parents:
                raise WrongOutputs(f"{path} is not in {outdir}")
            if not path.is_file() or path.read_text() != f"{text}\n":
                raise WrongOutputs(f"{path} does not hold {text!r}")

    def write_inputs(self, folder: Path, salt: str) -> Path:
        file = folder / "inputs.json"
        file.write_text(json.dumps(self.inputs(salt)))
        return file


def _path(file: Any) -> Path:
    if not isinstance(file, dict) or file.get("class") != "File":
        raise WrongOutputs(f"{file!r} is not a File")
    location = file.get("location") or file.get("path") or ""
    return Path(unquote(urlsplit(location).path) if "://" in location else location)


CASES = (
    Case("one", 1),
    Case("chain", 10),
    Case("chain", 10, "slurm"),
    Case("scatter", 100),
    Case("scatter", 1000),
    Case("scatter", 3000),
    Case("scatter", 100, "slurm"),
    Case("scatter", 1000, "slurm"),
)

COST_CASES = (Case("scatter", 1000), Case("scatter", 10_000))
"""CPU time per job at these sizes; peak memory at the last"""
