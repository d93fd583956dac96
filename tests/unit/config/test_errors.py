# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a user reads who made a mistake: file, line, YAML path, what is wrong, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.config import load_hybrid_file
from airflow_hybrid.errors import ConfigError
from tests.unit.config.conftest import Load, Problems

SITES = """
deployments:
  cloud: {type: local, config: {}}
  login: {type: ssh, config: {nodes: [h]}}
  hpc: {type: slurm, wraps: login, config: {services: {gpu: {partition: g}}}}
  dc: {type: occam, config: {}}
bindingFilters:
  mix: {type: shuffle, config: {}}
"""


def workflow(binding: str = "", rest: str = "") -> str:
    bindings = f"\n    bindings: [{binding}]" if binding else ""
    return f"{SITES}workflows:\n  w:\n    type: cwl\n    config: {{file: a.cwl}}{bindings}\n    {rest}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("databse: {}", ["2: databse: unknown key `databse`", "-> did you mean `database`?"]),
        ("links: 5", ["2: links: must be a list, not 5"]),
        ("workflows: {w: {type: cwl}}", ["2: workflows.w: the key `config` is missing"]),
        (
            "workflows: {W: {type: cwl, config: {file: x}}}",
            [
                "2: workflows.W: the name 'W' is not allowed",
                "-> a name starts with a small letter, then letters, digits, . _ -",
            ],
        ),
        (
            "workflows: {w: {type: cwl, config: {file: x}}, v: {type: cwl, config: {file: x}, dag: {dag_id: w}}}",
            ["2: workflows.v.dag.dag_id: workflow `w` already has the DAG id `w`"],
        ),
        ("workflows: {w: {type: wdl, config: {file: x}}}", ["2: workflows.w.type: must be 'cwl', not 'wdl'"]),
        (
            "deployments: {a: {type: slrum, config: {}}}",
            ["2: deployments.a.type: there is no connector of type `slrum`", "-> did you mean `slurm`?"],
        ),
        (
            "deployments: {a: {type: helm, config: {chrat: x, chart: x}}}",
            ["2: deployments.a.config.chrat: unknown key `chrat`", "-> did you mean `chart`?"],
        ),
        (
            "deployments: {a: {type: helm3, config: {chart: x, noHooks: true}}}",
            ["2: deployments.a.config: `noHooks` is not supported: the chart is installed with Helm's defaults"],
        ),
        (
            "deployments: {a: {type: ssh, config: {}}}",
            ["2: deployments.a.config: an ssh deployment needs `nodes`, or `conn_id`"],
        ),
        (
            "deployments: {a: {type: ssh, config: {node: [x]}}}",
            ["2: deployments.a.config.node: unknown key `node`", "-> did you mean `nodes`?"],
        ),
        (
            "deployments: {a: {type: ssh, config: {nodes: [{hostname: x, user: me}]}}}",
            ["2: deployments.a.config.nodes[0].user: unknown key `user`", "-> write `username`"],
        ),
        (
            "deployments: {a: {type: ssh, config: {nodes: ['x:99999']}}}",
            ["2: deployments.a.config.nodes[0]: 'x:99999' is neither `host` nor `host:port`"],
        ),
        (
            "deployments: {local: {type: ssh, config: {nodes: [x]}}}",
            [
                "2: deployments.local: `local` is the machine that Airflow runs on",
                "-> give this deployment another name",
            ],
        ),
        (
            "deployments: {a: {type: local, config: {}, lazy: no}}",
            [
                "2: deployments.a.lazy: must be true or false, not 'no'",
                "-> in YAML 1.2 'no' is a string: write true or false",
            ],
        ),
        (
            "deployments: {a: {type: local, config: {}, workdir: 5}}",
            ["2: deployments.a.workdir: must be a string, not 5", '-> put it in quotes: "5"'],
        ),
        ("deployments: {a: {type: local, config: {}, workdir: ''}}", ["2: deployments.a.workdir: must not be empty"]),
        (
            "deployments: {a: {type: slurm, config: {}, wraps: a}}",
            [
                "2: deployments.a.wraps: a deployment cannot work inside itself: a -> a",
                "-> wrap what leads to the hosts",
            ],
        ),
        (
            "deployments: {a: {type: ssh, config: {nodes: [x]}, wraps: b}, b: {type: local, config: {}}}",
            ["2: deployments.a.wraps: a deployment of type ssh does not work inside another one"],
        ),
        (
            "deployments: {a: {type: slurm, wraps: logn}, login: {type: ssh, config: {nodes: [x]}}}",
            ["2: deployments.a.wraps: there is no deployment `logn`", "-> did you mean `login`?"],
        ),
        (
            "deployments: {a: {type: slurm, wraps: {deployment: l, service: s}}, l: {type: ssh, config: {nodes: [x]}}}",
            ["2: deployments.a.wraps.service: deployment `l` has no service `s`", "-> declared: none"],
        ),
        (
            "deployments: {a: {type: slurm, config: {services: {s: {partiton: x}}}}}",
            ["2: deployments.a.config.services.s.partiton: unknown key `partiton`", "-> did you mean `partition`?"],
        ),
        (
            "deployments: {a: {type: slurm, config: {services: {s: {zzz: x}}}}}",
            [
                "2: deployments.a.config.services.s.zzz: unknown key `zzz`",
                "-> other options of sbatch go into `options: {zzz: ...}`",
            ],
        ),
        (
            "deployments: {a: {type: slurm, config: {services: {s: {cpusPerTask: many}}}}}",
            ["2: deployments.a.config.services.s.cpusPerTask: must be an integer, not 'many'"],
        ),
        (
            "deployments: {a: {type: local, config: {}, scheduling_policy: fast}}",
            [
                "2: deployments.a.scheduling_policy: there is no policy `fast`",
                "-> known: data_locality, in_order, spread, load, queue_wait, cost",
            ],
        ),
        (
            "scheduling: {policies: {p: {type: data_localty, config: {}}}}",
            [
                "2: scheduling.policies.p.type: there is no policy of type `data_localty`",
                "-> did you mean `data_locality`?",
            ],
        ),
        (
            "bindingFilters: {f: {type: shufle, config: {}}}",
            ["2: bindingFilters.f.type: there is no binding filter of type `shufle`", "-> did you mean `shuffle`?"],
        ),
        (
            "bindingFilters: {f: {type: matching, config: {filters: [{target: x, job: []}]}}}",
            ["2: bindingFilters.f.config.filters[0].target: there is no deployment `x`", "-> declared: local"],
        ),
        ("links: [[local, local]]", ["2: links[0]: a link joins two different deployments"]),
        (
            "links: [[local]]",
            ["2: links[0]: a link is two names of deployments, or a mapping with `source` and `target`"],
        ),
        (
            "links: [[local, x]]",
            ["2: links[0][1]: there is no deployment `x`", "-> declared: local"],
        ),
    ],
)
def test_a_mistake_is_one_message_with_line_path_and_advice(problems: Problems, text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (
            "{step: /a, target: {deployment: hcp}}",
            ["target.deployment: there is no deployment `hcp`", "-> did you mean `hpc`?"],
        ),
        ("{step: /a, target: hcp}", ["target: there is no deployment `hcp`", "-> did you mean `hpc`?"]),
        (
            "{step: /a, target: [cloud, {model: hcp}]}",
            ["target[1].model: there is no deployment `hcp`", "-> did you mean `hpc`?"],
        ),
        (
            "{step: /a, target: {deployment: hpc, service: gpus}}",
            ["target.service: deployment `hpc` has no service `gpus`", "-> did you mean `gpu`?"],
        ),
        (
            "{step: /a, target: {deployment: dc, service: x}}",
            [
                "target: deployment `dc` has type occam, which this version does not support",
                "-> supported: local, ssh, slurm, pbs, sge, flux, docker-compose, kubernetes, helm, helm3, "
                "helm4, docker, podman, apptainer, singularity, charliecloud",
            ],
        ),
        ("{step: a, target: cloud}", ["step: a path starts with `/`: write `/a`"]),
        ("{step: /a/../b, target: cloud}", ["step: a path has no `.` or `..` in it"]),
        ("{step: /a, target: {}}", ["target: a target names one `deployment`"]),
        ("{step: /a, target: []}", ["target: must not be empty"]),
        (
            "{stp: /a, target: cloud}",
            ["the key `step` is missing", "stp: unknown key `stp`", "-> did you mean `step`?"],
        ),
        (
            "{step: /a, target: cloud, filters: [max]}",
            ["filters[0]: there is no binding filter `max`", "-> did you mean `mix`?"],
        ),
        ("{step: /a, target: cloud, scatter: btach}", ["scatter: must be 'batch', not 'btach'"]),
        (
            "{step: /a, target: cloud, maxMapped: 3}",
            ["maxMapped: unknown key `maxMapped`", "-> did you mean `max_mapped`?"],
        ),
        ("{step: /a, target: cloud, max_mapped: 0}", ["max_mapped: input should be greater than or equal to 1, got 0"]),
        (
            "{step: /a, target: cloud, max_mapped: 5000}",
            ["max_mapped: input should be less than or equal to 1024, got 5000"],
        ),
        ("{port: /a, target: {deployment: cloud}}", ["the target of a port needs `workdir`"]),
        (
            "{port: /a, target: {deployment: cloud, workdir: /x}, scatter: batch}",
            ["scatter: unknown key `scatter`", "-> known: port, target, checkpoint"],
        ),
    ],
)
def test_a_mistake_in_a_binding_names_the_binding(problems: Problems, binding: str, expected: list[str]) -> None:
    found = [
        line.replace("13: workflows.w.bindings[0]", "").removeprefix(".").removeprefix(": ")
        for line in problems(workflow(binding))
    ]
    assert found == expected


_ISO = "-> write it as ISO 8601: 2026-01-31, 2026-01-31T12:00:00+01:00"
_CRON = "-> the fields are minute (0-59), hour (0-23), day (1-31), month (1-12), day of the week (0-6)"
_INTERVAL = "-> write it as PT6H, P1D or P1DT12H"
_OUTDIR = "-> name the folders that outputs may go to: `/data/results`"


@pytest.mark.parametrize(
    ("dag", "expected"),
    [
        ("retris: 1", ["dag.retris: unknown key `retris`", "-> did you mean `retries`?"]),
        ("schedule: dayly", ["dag.schedule: 'dayly' is neither five fields of cron, nor PT6H, nor one of @once"]),
        ("start_date: soon", ["dag.start_date: must be a date or time, not 'soon'", _ISO]),
        ("start_date: 5", ["dag.start_date: must be a date or time, not 5", _ISO]),
        ("start_date: '5'", ["dag.start_date: must be a date or time, not '5'", _ISO]),
        ("start_date: tomorrow", ["dag.start_date: must be a date or time, not 'tomorrow'", _ISO]),
        ("end_date: 2026-02-30", ["dag.end_date: must be a date or time, not '2026-02-30'", _ISO]),
        ("schedule: 61 * * * *", ["dag.schedule: '61 * * * *' is not a cron expression: ", _CRON]),
        ("schedule: a b c d e", ["dag.schedule: 'a b c d e' is not a cron expression: ", _CRON]),
        ("schedule: 0 0 31 2 *", ["dag.schedule: '0 0 31 2 *' is not a cron expression: ", _CRON]),
        ("schedule: P6", ["dag.schedule: 'P6' is not an interval of ISO 8601", _INTERVAL]),
        ("schedule: PT0S", ["dag.schedule: 'PT0S' is not an interval of ISO 8601", _INTERVAL]),
        ("outdirs: [/data, /]", ["dag.outdirs: `outdirs` is `/`: the user who starts a run could", _OUTDIR]),
        ("outdirs: [/data/../..]", ["dag.outdirs: `outdirs` is `/`: the user who starts a run could", _OUTDIR]),
        ("outdirs: ['FILE:///']", ["dag.outdirs: `outdirs` is `/`: the user who starts a run could", _OUTDIR]),
        ("outdir: //", ["dag.outdir: `outdir` is `/`: the user who starts a run could", _OUTDIR]),
        ("retry_delay: a while", ["dag.retry_delay: give seconds, or a number with a unit"]),
        ("retry_delay: -5", ["dag.retry_delay: a duration cannot be negative"]),
        (
            "default_args: {start_date: 2026-01-01}",
            ["dag.default_args.start_date: unknown key", "-> it belongs to `dag` itself"],
        ),
        ("dag_id: a b", ["dag.dag_id: string should match pattern"]),
        ("tags: x", ["dag.tags: must be a list, not 'x'"]),
    ],
)
def test_a_mistake_in_the_dag_section_names_its_key(problems: Problems, dag: str, expected: list[str]) -> None:
    found = problems(workflow(rest=f"dag: {{{dag}}}"))
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.removeprefix("13: workflows.w.").startswith(start)


def test_an_unsupported_type_is_no_problem_until_a_binding_needs_it(load: Load) -> None:
    assert load(workflow("{step: /a, target: cloud}")).deployments["dc"].type == "occam"


def test_a_supported_type_inside_an_unsupported_one_is_told_when_it_is_used(problems: Problems) -> None:
    text = workflow("{step: /a, target: inner}").replace("  dc:", "  inner: {type: slurm, wraps: dc}\n  dc:")
    message = "deployment `dc` (wrapped by `inner`) has type occam, which this version does not support"
    assert problems(text)[0] == f"14: workflows.w.bindings[0].target: {message}"


def test_all_problems_of_a_file_are_told_at_once_in_its_order(problems: Problems) -> None:
    found = problems(
        """
        workflows:
          w:
            type: cwl
            config: {file: a.cwl, file: b.cwl}
            bindings: [{step: a, target: nowhere}]
        deployments:
          a: {type: slurm, wraps: b}
          b: {type: slurm, wraps: a}
          c: {typ: local}
        """
    )
    starts = [line.split(":")[0] for line in found if not line.startswith("->")]
    assert starts == sorted(starts, key=int)
    assert len([line for line in found if not line.startswith("->")]) >= 7


@pytest.mark.parametrize(
    "text",
    [
        "deployments: {a: {type: ssh, config: {nodes: [x], password: hunter2}}}",
        "deployments: {a: {type: ssh, config: {nodes: [{hostname: x, passphrase: hunter2}]}}}",
        "deployments: {a: {type: occam, config: {registry: {token: hunter2}}}}",
        "database: {type: postgres, config: {password: hunter2}}",
        'deployments: {a: {type: docker, config: {image: i, env: ["-----BEGIN OPENSSH PRIVATE KEY-----hunter2"]}}}',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(problems: Problems, text: str) -> None:
    found = problems(text)
    assert len(found) == 2
    assert "looks like a secret" in found[0] or "is a private key" in found[0]
    assert found[1].startswith("-> never put a secret into the file: use an Airflow Connection (`conn_id`)")
    assert "hunter2" not in "".join(found)


def test_names_that_users_choose_and_files_are_no_secrets(load: Load, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{streamflow_command}}")
    load("deployments: {token: {type: ssh, config: {nodes: [h], passwordFile: p, services: {secret: t}}}}")


def test_a_template_is_checked_when_the_file_is_loaded(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "syntax").write_text("#!/bin/sh\n{% if x %}\n{{streamflow_command}}")
    (tmp_path / "idle").write_text("#!/bin/sh\nsleep 1")
    found = problems(
        """
        deployments:
          a: {type: slurm, config: {services: {s: {file: syntax}, i: {file: idle}, n: {file: none}}}}
        """
    )
    found = [line.replace(f"{tmp_path}/", "") for line in found]
    assert found[0].startswith(
        "3: deployments.a.config.services.s.file: the template syntax, line 3, is not valid Jinja2"
    )
    assert found[1] == "3: deployments.a.config.services.i.file: the template idle does not use `streamflow_command`"
    assert (
        found[3]
        == "3: deployments.a.config.services.n.file: the template none cannot be read: No such file or directory"
    )


def test_a_file_that_is_not_there_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        load_hybrid_file(tmp_path / "no.yml")
    assert str(e.value) == f"{tmp_path}/no.yml: the hybrid file cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version: v1.0\na: \xff\n", ":2: not UTF-8 text\n  -> save the file as UTF-8"),
        (b"", ": a hybrid file is a mapping that starts with `version: v1.0`"),
        (b"- a\n", ": a hybrid file is a mapping that starts with `version: v1.0`"),
        (b"workflows: {}\n", ":1: the key `version` is missing"),
        (
            b"version: v2.0\n",
            ":1: version: must be 'v1.0', not 'v2.0'\n  -> this is the format's version, StreamFlow's v1.0",
        ),
    ],
)
def test_what_is_no_hybrid_file_is_told_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as e:
        load_hybrid_file(path, cache_dir=str(tmp_path))
    assert str(e.value) == f"{path}{message}"


@pytest.mark.parametrize("key", ["password", "token"])
def test_a_secret_of_this_machine_is_for_nobody(problems: Problems, key: str) -> None:
    found = problems(f"deployments: {{a: {{type: local, config: {{{key}: hunter2}}}}}}")
    assert found == [
        f"2: deployments.a.config.{key}: `{key}` looks like a secret, but this machine needs no login",
        f"-> remove it; if the file was shared, change the {key} as well",
    ]
