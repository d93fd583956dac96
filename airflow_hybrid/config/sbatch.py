# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The sbatch options that a Slurm service may name, and of which type they are.

Only names and types, to answer a misspelling: values are passed to sbatch as they are (https://slurm.schedmd.com/sbatch.html),
and ``options`` passes what is not in the table.
"""

from __future__ import annotations

import re
from typing import Any

STRING, INTEGER, BOOLEAN = "a string", "an integer", "true or false"

_STRINGS = """account acctgFreq array batch bb bbf begin clusterConstraint clusters comment constraint container
containerId cpuFreq cpusPerGpu deadline delayBoot dependency distribution exclude export exportFile extraNodeInfo
gid gpuBind gpuFreq gpus gpusPerNode gpusPerSocket gpusPerTask gres gresFlags hint jobName licenses mailType mailUser
mcsLabel mem memBind memPerCpu memPerGpu network nodefile nodelist nodes openMode partition power prefer priority
profile propagate qos reservation signal switches time timeMin tresBind tresPerTask uid wckey"""
_INTEGERS = """coreSpec coresPerSocket cpusPerGpu cpusPerTask delayBoot mincpus nice ntasks ntasksPerCore ntasksPerGpu
ntasksPerNode ntasksPerSocket socketsPerNode threadSpec threadsPerCore tmp exportFile gid uid"""
_BOOLEANS = """contiguous exclusive getUserEnv ignorePBS noKill noRequeue overcommit oversubscribe reboot requeue
spreadJob useMinNodes waitAllNodes"""
_ALSO_STRINGS = "exclusive getUserEnv"

SBATCH_OPTIONS: dict[str, tuple[str, ...]] = {}
for _names, _type in ((_STRINGS, STRING), (_ALSO_STRINGS, STRING), (_INTEGERS, INTEGER), (_BOOLEANS, BOOLEAN)):
    for _name in _names.split():
        SBATCH_OPTIONS[_name] = (*SBATCH_OPTIONS.get(_name, ()), _type)

NOT_YOURS = {
    "array": "arrays are made from the jobs of a step",
    "jobName": "the job's name is how it is found again",
}
"""Options that are accepted and left out, and why."""
_BY_LONG_OPTION = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): name for name in SBATCH_OPTIONS}


def canonical(name: str) -> str:
    """``cpus-per-task``, ``cpus_per_task`` and ``cpusPerTask`` -> ``cpusPerTask``; other names unchanged."""
    return _BY_LONG_OPTION.get(name.replace("_", "-"), name)


def type_problem(name: str, value: Any) -> str | None:
    """Say what is wrong with a value of a known option, or None. A number may stand where a string is expected."""
    types = SBATCH_OPTIONS[name]
    is_bool = isinstance(value, bool)
    if is_bool and BOOLEAN in types:
        return None
    if (
        isinstance(value, int | float)
        and not is_bool
        and (STRING in types or (isinstance(value, int) and INTEGER in types))
    ):
        return None
    if isinstance(value, str) and STRING in types:
        return None
    return f"must be {' or '.join(types)}, not {value!r}"


def service_json_schema() -> dict[str, Any]:
    """Return the JSON schema of one Slurm service."""
    json_types = {STRING: ["string", "number"], INTEGER: ["integer"], BOOLEAN: ["boolean"]}
    properties: dict[str, Any] = {
        name: {"type": sorted({t for kind in kinds for t in json_types[kind]})}
        for name, kinds in SBATCH_OPTIONS.items()
    }
    return {
        "type": "object",
        "properties": {
            "file": {"type": "string", "description": "Path of a Jinja2 template with #SBATCH lines."},
            "options": {
                "type": "object",
                "description": "Further sbatch options by their long names. (airflow_hybrid)",
            },
            **dict(sorted(properties.items())),
        },
        "propertyNames": {"type": "string"},
    }
