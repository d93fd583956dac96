# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's needs: ResourceRequirement and ToolTimeLimit (CWL v1.2 CommandLineTool 5.10 and 5.11), and cwltool's
extensions MPIRequirement and CUDARequirement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cwl_utils import expression

from airflow_hybrid.cwl.jobs.runtime import HybridTool
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import Resources

_MPI, _CUDA = "http://commonwl.org/cwltool#MPIRequirement", "http://commonwl.org/cwltool#CUDARequirement"
_RESOURCES = {"cores": "cores", "ram": "ram_mib", "tmpdir": "tmpdir_mib", "outdir": "outdir_mib"}
_RAM_MIB_IN_V1_0 = 1024
_PROCESSES = ("processes",)
_DEVICES = ("cudaDeviceCountMin", "cudaDeviceCountMax", "cudaDeviceCount")


class Wishes:
    """One tool's needs for one job.

    :param number_of: evaluates a value over the job's inputs; the second argument is its name, for messages.
    :ivar are_constant: there was no expression: every job of the tool has the same needs.
    """

    def __init__(self, tool: HybridTool, number_of: Callable[[Any, str], float | int | None]) -> None:
        self._tool = tool
        self._number_of = number_of
        self._values: dict[str, Any] = {}
        self._explicit: set[str] = set()
        self.are_constant = True

    def resources(self, cwl_version: str) -> Resources:
        """:raises CwlError: an expression fails, or its value is not a number."""
        if cwl_version == "v1.0":
            self._values["ram_mib"] = _RAM_MIB_IN_V1_0
        requirement = self._requirement("ResourceRequirement") or {}
        for name, field in _RESOURCES.items():
            self._add_bound(requirement, name, field)
        self._add_time_limit()
        self._add_count(_MPI, _PROCESSES, "processes")
        self._add_count(_CUDA, _DEVICES, "gpus")
        return Resources(**self._values, explicit=frozenset(self._explicit))

    def _add_bound(self, requirement: Mapping[str, Any], name: str, field: str) -> None:
        """The requested minimum, or else the maximum.

        :raises CwlError: the maximum is less than the minimum (CWL v1.2 CommandLineTool, 5.10: an error).
        """
        least, most = self._bound(requirement, f"{name}Min"), self._bound(requirement, f"{name}Max")
        if least is not None and most is not None and most < least:
            raise CwlError(f"{name}Max is {most:g}, less than {name}Min, which is {least:g}")
        number = most if least is None else least
        if number is not None:
            self._set(field, number if field == "cores" else math.ceil(number))

    def _bound(self, requirement: Mapping[str, Any], name: str) -> float | int | None:
        wish = requirement.get(name)
        return self._number(wish, name) if wish else None

    def _add_time_limit(self) -> None:
        seconds = (self._requirement("ToolTimeLimit") or {}).get("timelimit")
        if seconds:
            self._set("walltime_s", int(self._number(seconds, "timelimit") or 0) or None)

    def _add_count(self, requirement_class: str, names: Sequence[str], field: str) -> None:
        """The number from the first of ``names`` that is set; 1 if the requirement sets none."""
        requirement = self._requirement(requirement_class)
        if requirement is None:
            return
        name = next((name for name in names if requirement.get(name)), None)
        count = self._number(1 if name is None else requirement[name], name or names[0])
        self._set(field, math.ceil(count or 0))

    def _requirement(self, requirement_class: str) -> Any:
        return self._tool.get_requirement(requirement_class)[0]

    def _number(self, wish: Any, name: str) -> float | int | None:
        self.are_constant = self.are_constant and not expression.needs_parsing(wish)
        return self._number_of(wish, name)

    def _set(self, field: str, value: float | int | None) -> None:
        self._values[field] = value
        self._explicit.add(field)
