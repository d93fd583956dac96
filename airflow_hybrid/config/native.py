# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The native options that a service of a queue system may name, and their types.

Only names and types, to detect misspellings: values are passed on as they are, and ``options`` passes options that are
not in the table. The names of ``slurm``, ``pbs`` and ``flux`` are StreamFlow's; beyond them, those of sbatch
(https://slurm.schedmd.com/sbatch.html), of qsub (OpenPBS's and Grid Engine's manual pages) and of flux-submit(1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.templates import is_template

STRING, INTEGER, BOOLEAN, MAPPING, LIST = "a string", "an integer", "true or false", "a mapping", "a list"
_JSON_TYPES = {STRING: ("string", "number"), INTEGER: ("integer",), BOOLEAN: ("boolean",), MAPPING: ("object",),
               LIST: ("array",)}  # fmt: skip
_CWL_TYPES: Mapping[str, JsonValue] = {
    STRING: "string",
    INTEGER: "long",
    BOOLEAN: "boolean",
    MAPPING: {"type": "record", "fields": []},
    LIST: {"type": "array", "items": "string"},
}
_ARRAYS = "arrays are made from the jobs of a step"
_NAME = "jobs are found by their names"


@dataclass(frozen=True)
class Native:
    """The options of one queue system. A value may be a template, whatever its type.

    :ivar program: the command that submits; for messages.
    :ivar directive: prefix of the option lines of a template.
    :ivar options: name -> types that a value may have.
    :ivar not_yours: options that are accepted but ignored, and why.
    """

    program: str
    directive: str
    options: Mapping[str, tuple[str, ...]]
    not_yours: Mapping[str, str]

    def canonical(self, name: str) -> str:
        """``cpus-per-task``, ``cpus_per_task`` and ``cpusPerTask`` -> ``cpusPerTask``; other names unchanged."""
        if name in self.options:
            return name
        plain = name.replace("_", "-")
        return next((known for known in self.options if _kebab(known) == plain), name)

    def type_problem(self, name: str, value: Any) -> str | None:
        """The problem with a value of a known option, or None. A number is allowed where a string is expected."""
        types = self.options[name]
        if is_template(value):
            return None
        kinds = {bool: BOOLEAN, int: INTEGER, float: STRING, str: STRING, dict: MAPPING, list: LIST}
        kind = kinds.get(type(value))
        if kind in types or (kind == INTEGER and STRING in types):
            return None
        return f"must be {' or '.join(types)}, not {value!r}"

    def cwl_type(self, name: str) -> JsonValue:
        """The CWL type of a known option's values; of what is in ``options``, that of texts."""
        types = self.options.get(name, (STRING,))
        return [_CWL_TYPES[kind] for kind in types]

    def service_json_schema(self) -> dict[str, Any]:
        """The JSON schema of one service."""
        properties = {name: _json_schema(kinds) for name, kinds in self.options.items()}
        fixed_properties = {
            "file": {"type": "string", "description": f"Path of a Jinja2 template with {self.directive} lines."},
            "options": {
                "type": "object",
                "description": f"Further {self.program} options by their own names. (airflow_hybrid)",
            },
        }
        return {
            "type": "object",
            "properties": {**fixed_properties, **dict(sorted(properties.items()))},
            "propertyNames": {"type": "string"},
        }


def _json_schema(kinds: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of an option whose values are of some of the types, or a template."""
    types = sorted({name for kind in kinds for name in _JSON_TYPES[kind]})
    if "string" in types:
        return {"type": types}
    return {"anyOf": [{"type": types}, {"type": "string", "pattern": r"\{[{%#]"}]}


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _table(*typed: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    """``(names, type)`` pairs -> name -> types."""
    types_by_name: dict[str, tuple[str, ...]] = {}
    for names, kind in typed:
        for name in names.split():
            types_by_name[name] = (*types_by_name.get(name, ()), kind)
    return types_by_name


_SLURM = _table(
    (
        """account acctgFreq array batch bb bbf begin clusterConstraint clusters comment constraint container
        containerId cpuFreq cpusPerGpu deadline delayBoot dependency distribution exclude export exportFile
        extraNodeInfo gid gpuBind gpuFreq gpus gpusPerNode gpusPerSocket gpusPerTask gres gresFlags hint jobName
        licenses mailType mailUser mcsLabel mem memBind memPerCpu memPerGpu network nodefile nodelist nodes openMode
        partition power prefer priority profile propagate qos reservation signal switches time timeMin tresBind
        tresPerTask uid wckey exclusive getUserEnv""",
        STRING,
    ),
    (
        """coreSpec coresPerSocket cpusPerGpu cpusPerTask delayBoot mincpus nice ntasks ntasksPerCore ntasksPerGpu
        ntasksPerNode ntasksPerSocket socketsPerNode threadSpec threadsPerCore tmp exportFile gid uid""",
        INTEGER,
    ),
    (
        """contiguous exclusive getUserEnv ignorePBS noKill noRequeue overcommit oversubscribe reboot requeue
        spreadJob useMinNodes waitAllNodes""",
        BOOLEAN,
    ),
)
_PBS = _table(
    (
        """account begin checkpoint destination jobName mailList mailOptions prefix project queue shellList userList
        variableList""",
        STRING,
    ),
    ("priority", INTEGER),
    ("exportAllVariables rerunnable", BOOLEAN),
    ("additionalAttributes resources", MAPPING),
)
_SGE = _table(
    (
        """account begin gpu jobName mailList mailOptions memory mpiPe pe project queue shell variableList""",
        STRING,
    ),
    ("priority", INTEGER),
    ("exportAllVariables rerunnable", BOOLEAN),
    ("resources", MAPPING),
)
_FLUX = _table(
    ("bank beginTime dependency flags jobName queue requires taskmap timeLimit signal", STRING),
    (
        """cores coresPerSlot coresPerTask gpusPerNode gpusPerSlot gpusPerTask nodes nslots ntasks tasksPerCore
        tasksPerNode urgency""",
        INTEGER,
    ),
    ("exclusive labelIO unbuffered", BOOLEAN),
    ("brokerOpts env envFile envRemove rlimit", LIST),
    ("setattr setopt", MAPPING),
)
_TASKS = "the script is started once; cores are asked for by `coresPerTask`, or by the document"

NATIVE: Mapping[str, Native] = {
    "slurm": Native("sbatch", "#SBATCH", _SLURM, {"array": _ARRAYS, "jobName": _NAME}),
    "pbs": Native("qsub", "#PBS", _PBS, {"jobName": _NAME}),
    "sge": Native("qsub", "#$", _SGE, {"jobName": _NAME}),
    "flux": Native(
        "flux submit",
        "#flux:",
        _FLUX,
        {
            "jobName": _NAME,
            "brokerOpts": "no Flux instance is started for a job",
            "nslots": _TASKS,
            "ntasks": _TASKS,
            "tasksPerCore": _TASKS,
            "tasksPerNode": _TASKS,
        },
    ),
}
"""by type of the deployment"""
