# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docs/reference/hybrid-file.md`` from the models: ``python -m airflow_hybrid.config.reference FILE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from airflow_hybrid.config.connectors import SUPPORTED_TYPES
from airflow_hybrid.config.connectors.containers import AS_IN
from airflow_hybrid.config.native import NATIVE
from airflow_hybrid.config.schema import json_schema

_OURS = "(airflow_hybrid)"
_ORDER: dict[str, str] = {
    "HybridModel": "The file",
    "WorkflowModel": "workflows.<name>",
    "CwlConfig": "workflows.<name>.config",
    "StepBinding": "workflows.<name>.bindings[]: a step",
    "PortBindingModel": "workflows.<name>.bindings[]: a port",
    "RetryModel": "workflows.<name>.bindings[].retry",
    "OnModel": "workflows.<name>.bindings[].on",
    "FailureRuleModel": "workflows.<name>.bindings[].on.<state>, on.exit.<code>",
    "ResourcesModel": "workflows.<name>.bindings[].resources",
    "TargetModel": "target",
    "DagModel": "workflows.<name>.dag",
    "DefaultArgs": "workflows.<name>.dag.default_args",
    "DockerMapping": "workflows.<name>.config.docker[]",
    "DockerConfig": "workflows.<name>.config.docker[].deployment",
    "LocalDeployment": "deployments.<name>",
    "WrapsModel": "deployments.<name>.wraps",
    "ContainersModel": "deployments.<name>.containers",
    "LocalConfig": "deployments.<name>.config of type local",
    "SshConfig": "deployments.<name>.config of type ssh",
    "Connection": "A node, tunnel or dataTransferConnection of ssh",
    "SlurmConfig": "deployments.<name>.config of type slurm",
    "ComposeConfig": "deployments.<name>.config of type docker-compose",
    "ContainerConfig": "deployments.<name>.config of type docker, podman",
    "ApptainerConfig": "deployments.<name>.config of type singularity, apptainer",
    "CharliecloudConfig": "deployments.<name>.config of type charliecloud",
    "PbsConfig": "deployments.<name>.config of type pbs",
    "SgeConfig": "deployments.<name>.config of type sge",
    "FluxConfig": "deployments.<name>.config of type flux",
    "MpiModel": "deployments.<name>.config.mpi",
    "HelmConfig": "deployments.<name>.config of type helm",
    "KubernetesConfig": "deployments.<name>.config of type kubernetes",
    "KubernetesStorage": "deployments.<name>.config.storage of type kubernetes",
    "KubernetesService": "deployments.<name>.config.services.<name> of type kubernetes",
    "LinkModel": "links[]",
    "SchedulingModel": "scheduling",
    "FailureManagerModel": "failureManager",
    "Configured": "scheduling.policies.<name>, bindingFilters.<name>",
}

_MOST_ROWS = 50
"""maximum rows of a table; if there are more keys, a program's own options are listed below it"""

_INTRODUCTION = """\
<!-- Made from the models by `python -m airflow_hybrid.config.reference`; a test compares them. -->
# The hybrid file

The format is StreamFlow's `streamflow.yml` v1.0: a valid file works unchanged. Extensions of airflow_hybrid are
marked **+**. Settings of StreamFlow's engine that Airflow replaces are accepted, with one line in the log.

    version: v1.0
    workflows:
      train:
        type: cwl
        config: {file: main.cwl, settings: inputs.yml}
        bindings:
          - {step: /, target: {deployment: cloud}}
          - {step: /variant/train, target: {deployment: cluster, service: gpu}}
        dag: {schedule: "@daily", start_date: 2026-01-01, retries: 1}
    deployments:
      cloud:
        type: ssh
        config: {conn_id: cloud}
        workdir: /data/work
      login:
        type: ssh
        config: {nodes: [login.example.org], username: me, sshKey: ~/.ssh/id_ed25519}
      cluster:
        type: slurm
        wraps: login
        workdir: /scratch/me
        config:
          services:
            gpu: {partition: gpu, gpus: "1", time: "01:00:00"}

Rules that hold everywhere:

- YAML 1.2: `yes`, `no`, `on` and `off` are strings, and so is `01:00:00`. A key may occur once.
- Names of workflows and deployments match `{name}`.
- Paths of files are relative to the hybrid file's folder; `~` is the home of the user that runs Airflow.
  Folders of a remote `workdir` are the host's: `~` and `$NAME` are resolved there.
- A password, token or private key in the file is an error: use an Airflow Connection, or a file.
- A deployment called `local`, this machine, always exists; steps that no binding names run on it.
- The binding with the longest path that matches a step takes precedence. It inherits missing settings (targets,
  filters, `scatter`, `max_mapped`, `max_iterations`, `reuse`, `logs`, `retries`, `retry_delay`, `retry`,
  `on`, `resources`, `policy`, and `fuse` unless it is `true`) from the next shorter path with them.
- All problems of a file are reported together, each as `file:line: path: message`.

`airflow hybrid schema` prints the JSON schema, for editors; `airflow hybrid compile FILE` checks a file.
"""


def reference() -> Iterator[str]:
    """Yield the page's lines."""
    schema = json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    definitions["HybridModel"] = schema
    name_pattern = next(iter(schema["properties"]["deployments"]["patternProperties"]))
    yield _INTRODUCTION.replace("{name}", name_pattern)
    for model, title in _ORDER.items():
        yield f"## {title.replace('<', '&lt;')}" if "<" in title else f"## {title}"
        yield ""
        yield from _section(model, definitions[model])
    yield "## Options of a queue system's service"
    yield ""
    yield "`file` (path of a Jinja2 template with `{{streamflow_command}}` where the job's command belongs),"
    yield "`options` (**+** options that are not in the list, by their own names), and the native options of the type:"
    yield "`cpusPerTask`, `cpus-per-task` and `cpus_per_task` are the same."
    yield "Options of a service take precedence over the document."
    yield ""
    for kind, native in NATIVE.items():
        names = ", ".join(f"`{name}`" for name in sorted(native.options) if name not in native.not_yours)
        yield f"`{kind}` ({native.program}): {names}."
        yield ""
        for name, reason in native.not_yours.items():
            yield f"`{name}` of `{kind}` is accepted and has no effect: {reason}."
        yield ""


def _section(model: str, definition: dict[str, Any]) -> Iterator[str]:
    if model == "LocalDeployment":
        yield "`type` is one of"
        yield f"{', '.join(f'`{kind}`' for kind in SUPPORTED_TYPES)},"
        yield "or a type of another package (entry points `airflow_hybrid.connectors` and"
        yield "`airflow_hybrid.schedulers`)."
        yield "Other types of StreamFlow are accepted as long as no binding uses them."
        yield ""
    elif model != "HybridModel":
        yield definition["description"].replace(_OURS, "**+**")
        yield ""
    yield "| key | type | |"
    yield "|---|---|---|"
    required = definition.get("required", [])
    native: dict[str, list[str]] = {}
    for key, value in definition["properties"].items():
        text = value.get("description", "")
        if text.startswith(f"{AS_IN} `") and len(definition["properties"]) > _MOST_ROWS:
            native.setdefault(text, []).append(key)
            continue
        ours = " **+**" if _OURS in text else ""
        text = text.replace(_OURS, "").strip()
        if key in required and not (model == "LocalDeployment" and key == "type"):
            text += " **Required.**"
        default = value.get("default")
        if default not in (None, [], {}, False) and "efault" not in text:
            text += f" Default: `{default}`."
        kind = "string" if model == "LocalDeployment" and key == "type" else _type(value)
        kind = "mapping" if model == "LocalDeployment" and key == "config" else kind
        yield f"| `{key}`{ours} | {kind} | {text} |".replace("|  |", "| |")
    yield ""
    for text, keys in native.items():
        yield f"{text.rstrip('.')}: {', '.join(f'`{key}`' for key in sorted(keys))}."
        yield ""


def _type(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{value['const']}`"
    if "$ref" in value:
        return "mapping"
    if "anyOf" in value or "oneOf" in value:
        kinds = [_type(v) for v in value.get("anyOf", []) + value.get("oneOf", []) if v.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value and "type" not in value:  # values of several types
        return " or ".join(f"`{json.dumps(item)}`".replace('"', "") for item in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if value.get("type") == "object":
        return "mapping of names" if "patternProperties" in value else "mapping"
    return str(value.get("type", "any"))


def main(path: str) -> None:
    """Write the page to ``path``."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(reference()).rstrip() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
