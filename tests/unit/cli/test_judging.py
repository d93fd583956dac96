# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid compile`` of a hybrid file: all that is wrong with it, its documents and its inputs, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_hybrid import load_dags
from airflow_hybrid.cli.judging import judge
from airflow_hybrid.errors import HybridError

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
inputs: {n: int, f: File?, e: {type: {type: enum, symbols: [a, b]}, default: a}}
outputs: []
steps:
  plain:
    in: {n: n}
    out: []
    run: {class: CommandLineTool, baseCommand: echo, inputs: {n: int}, outputs: [], requirements: REQUIREMENTS}
  boxed:
    in: {n: n}
    out: []
    run:
      class: CommandLineTool
      baseCommand: echo
      inputs: {n: int}
      outputs: []
      requirements: {DockerRequirement: {dockerPull: 'debian:12'}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    write(tmp_path / "main.cwl", DOCUMENT.replace("REQUIREMENTS", "{}"))
    return tmp_path


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def problems(folder: Path, text: str) -> str:
    with pytest.raises(HybridError) as caught:
        judge(write(folder / "f.yml", text))
    return str(caught.value).replace(f"{folder}/", "")


def test_problems_of_all_sections_files_and_inputs_are_one_message(folder: Path) -> None:
    write(folder / "job.yml", "n: many\nf: {class: File, path: nope.txt}\ne: c\n")
    text = """\
version: v1.0
deployments:
  boxes: {type: local, workdir: /data/x, containers: {required: true}}
  other: {type: local, workdir: /data/y, config: {run_as: nobody-of-that-name}}
workflows:
  w:
    type: cwl
    config: {file: main.cwl, settings: job.yml}
    bindings:
    - {step: /plain, target: boxes}
    - {step: /boxd, target: other}
  v:
    type: cwl
    config: {file: nope.cwl}
"""
    assert problems(folder, text) == (
        """\
f.yml: 7 problems
  f.yml:4: deployments.other.config.run_as: there is no user 'nobody-of-that-name' on this machine
    -> create the user on every machine that runs Airflow's workers and triggerers, or name another one
  f.yml:11: workflows.w.bindings[1].step: the workflow has no step `/boxd`
    -> did you mean `/boxed`?
  f.yml:10: workflows.w.bindings[0].step: step /plain asks for no container, but jobs of `boxes` run only in containers
    -> give the tool a DockerRequirement, or the deployment an image for such steps: """
        """`containers: {required: true, image: ...}`
  job.yml: input 'f': nope.txt: No such file or directory
  job.yml: input 'n' must be int, not "many"
  job.yml: input 'e' must be one of a, b, not "c"
  f.yml:14: workflows.v.config.file: no such CWL file: nope.cwl"""
    )


@pytest.mark.parametrize(
    "boxes",
    [
        "{type: local, workdir: /data/x, containers: {required: true, image: 'debian:12'}}",
        "{type: local, workdir: /data/x, containers: {required: false}}",
        "{type: docker, config: {image: 'debian:12'}, containers: {required: true}}",
    ],
)
def test_a_step_without_an_image_runs_where_it_gets_one(folder: Path, boxes: str) -> None:
    text = (
        f"version: v1.0\ndeployments: {{boxes: {boxes}}}\nworkflows:\n  w:\n    type: cwl\n"
        "    config: {file: main.cwl}\n    bindings: [{step: /, target: boxes}]\n"
    )
    assert judge(write(folder / "f.yml", text)).notices == ()


def test_a_container_is_required_by_what_a_deployment_wraps(folder: Path) -> None:
    text = """\
version: v1.0
deployments:
  login: {type: ssh, config: {nodes: [h]}, containers: {required: true}}
  queue: {type: slurm, config: {}, wraps: login}
workflows:
  w: {type: cwl, config: {file: main.cwl}, bindings: [{step: /, target: queue}]}
"""
    assert problems(folder, text).splitlines()[0] == (
        "f.yml:6: workflows.w.bindings[0].step: "
        "step /plain asks for no container, but jobs of `queue` run only in containers"
    )


def test_root_is_no_user_with_fewer_rights(folder: Path) -> None:
    text = "version: v1.0\ndeployments:\n  a:\n    type: local\n    config:\n      run_as: root\n"
    assert problems(folder, text) == (
        "f.yml:6: deployments.a.config.run_as: `run_as` is for a user with fewer rights than Airflow's, not for "
        "root\n  -> name another user"
    )


@pytest.mark.parametrize(
    ("requirement", "asked"), [("ramMin: 99999999", "99999999 MiB of memory"), ("coresMin: 50000", "50000 cores")]
)
def test_a_step_that_fits_no_host_is_told(folder: Path, requirement: str, asked: str) -> None:
    requirements = f"{{ResourceRequirement: {{{requirement}}}}}"
    write(folder / "main.cwl", DOCUMENT.replace("REQUIREMENTS", requirements))
    text = "version: v1.0\nworkflows: {w: {type: cwl, config: {file: main.cwl}}}\n"
    (notice,) = judge(write(folder / "f.yml", text)).notices
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    assert notice == (
        f"{folder}/main.cwl:6:3: step /plain asks for {asked}, but no host that it is bound to has more than "
        f"{memory if 'ram' in requirement else os.cpu_count()}\n"
        "  -> lower `coresMin` or `ramMin` of its ResourceRequirement, or bind it to a larger host"
    )


def test_a_wrong_hybrid_file_does_not_hide_what_is_wrong_beside_it(folder: Path) -> None:
    write(folder / "job.yml", "n: many\n")
    text = """\
version: v1.0
workflows:
  w:
    type: cwl
    config: {file: main.cwl}
    dag: {schedule: 61 * * * *}
    bindings:
    - {step: /boxd, target: local}
  v:
    type: cwl
    config: {file: main.cwl, settings: job.yml}
"""
    assert (
        problems(folder, text)
        == """\
f.yml: 3 problems
  f.yml:6: workflows.w.dag.schedule: '61 * * * *' is not a cron expression: [61 * * * *] is not acceptable, out of range
    -> the fields are minute (0-59), hour (0-23), day (1-31), month (1-12), day of the week (0-6)
  f.yml:8: workflows.w.bindings[0].step: the workflow has no step `/boxd`
    -> did you mean `/boxed`?
  job.yml: input 'n' must be int, not "many\""""
    )


def test_templates_that_jinja_cannot_read_are_told_with_their_lines(folder: Path) -> None:
    write(folder / "job.yml", "n: '{{ 1'\ne: '{{ ds }}'\n")
    text = """\
version: v1.0
deployments:
  q:
    type: slurm
    config:
      services:
        s:
          comment: "{{ ds }"
          options: {reservation: "{% if %}", licenses: "{{ ds }}"}
workflows:
  w:
    type: cwl
    config: {file: main.cwl, settings: job.yml}
    dag:
      outdir: /x/{{ ds }
      outdirs: [/y, '/z/{{']
      assets:
        o: file:///{{ ds }
        p: {name: 'p-{{', uri: 'file:///{{ ds }}'}
"""
    wrong = "is not valid Jinja2:"
    end = "unexpected end of template, expected 'end of print statement'."
    assert problems(folder, text).splitlines() == [
        "f.yml: 7 problems",
        f"  f.yml:8: deployments.q.config.services.s.comment: the template `{{{{ ds }}` {wrong} unexpected '}}'",
        f"  f.yml:9: deployments.q.config.services.s.options.reservation: the template `{{% if %}}` {wrong} Expected an"
        " expression, got 'end of statement block'",
        f"  f.yml:15: workflows.w.dag.outdir: the template `/x/{{{{ ds }}` {wrong} unexpected '}}'",
        f"  f.yml:16: workflows.w.dag.outdirs[1]: the template `/z/{{{{` {wrong} unexpected 'end of template'",
        f"  f.yml:18: workflows.w.dag.assets.o: the template `file:///{{{{ ds }}` {wrong} unexpected '}}'",
        f"  f.yml:19: workflows.w.dag.assets.p.name: the template `p-{{{{` {wrong} unexpected 'end of template'",
        f"  job.yml: input 'n': the template `{{{{ 1` {wrong} {end}",
    ]


REPORT = """\
cwlVersion: v1.2
class: Workflow
inputs: {n: int}
outputs: {report: {type: int, outputSource: n}, table: {type: int, outputSource: n}}
steps: []
"""
REFUSED = """\
version: v1.0
workflows:
  w:
    type: cwl
    config: {file: main.cwl}
    dag:
      run_requirements: REQUIREMENTS
      schedule: SCHEDULE
      assets:
        ASSETS
"""


def refused(**values: str) -> str:
    text = REFUSED
    for name, value in {"REQUIREMENTS": "any", "SCHEDULE": "", "ASSETS": "report: 's3://r'", **values}.items():
        text = text.replace(name, value)
    return text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"ASSETS": "reprt: 's3://r'"},
            "f.yml:10: workflows.w.dag.assets.reprt: `assets` names output `reprt`, but the workflow has no such"
            " output\n  -> did you mean `report`?",
        ),
        (
            {"ASSETS": "report: 'airflow://r'"},
            "f.yml:10: workflows.w.dag.assets.report: `assets`: the asset of output `report` cannot be airflow://r"
            " (airflow://r): Asset scheme 'airflow' is reserved",
        ),
        (
            {"ASSETS": "{report: 's3://r', table: 's3://r'}"},
            "f.yml:6: workflows.w.dag: `assets`: outputs `report` and `table` are the same asset: s3://r\n"
            "  -> an asset's event is about one output: give each its own URI",
        ),
        (
            {"REQUIREMENTS": "[ResourceRequirment]"},
            "f.yml:7: workflows.w.dag.run_requirements[0]: CWL has no requirement `ResourceRequirment`\n"
            "  -> did you mean `ResourceRequirement`?",
        ),
        (
            {"REQUIREMENTS": "DockerRequirment"},
            "f.yml:7: workflows.w.dag.run_requirements: CWL has no requirement `DockerRequirment`\n"
            "  -> did you mean `DockerRequirement`?",
        ),
        (
            {"SCHEDULE": "'@daily'"},
            "f.yml:6: workflows.w.dag: DAG 'w' has a schedule, but these inputs have no default: n\n"
            "  -> give them in the workflow's `config.settings` file (or `inputs=`), or as defaults in the CWL",
        ),
        (
            {"REQUIREMENTS": "Workreuse", "ASSETS": "reprt: 's3://r'"},
            "f.yml: 2 problems\n"
            "  f.yml:7: workflows.w.dag.run_requirements: CWL has no requirement `Workreuse`\n"
            "    -> did you mean `WorkReuse`?\n"
            "  f.yml:10: workflows.w.dag.assets.reprt: `assets` names output `reprt`, but the workflow has no such"
            " output\n    -> did you mean `report`?",
        ),
    ],
)
def test_what_a_dag_file_is_refused_for_is_told(folder: Path, values: dict[str, str], message: str) -> None:
    write(folder / "main.cwl", REPORT)
    assert problems(folder, refused(**values)) == message
    with pytest.raises(HybridError):
        load_dags("f.yml", {"__file__": str(folder / "dag.py")})
