# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a hybrid file means once it is loaded."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_hybrid.config import HybridFile, Link, bind, load_hybrid_file
from airflow_hybrid.config.reading.checks import POLICY_TYPES
from airflow_hybrid.config.reading.document import parse
from airflow_hybrid.model import Target
from airflow_hybrid.placement import POLICIES
from tests.unit.config.conftest import Load

STREAMFLOW = sorted((Path(__file__).parents[1] / "streamflow").glob("*.yml"))
"""files that StreamFlow 0.2.0rc3's own validator accepts"""
WORKFLOW = "{type: cwl, config: {file: main.cwl}, bindings: %s}"


@pytest.mark.parametrize("path", STREAMFLOW, ids=lambda p: p.stem)
def test_a_valid_streamflow_file_is_accepted_unchanged(path: Path, tmp_path: Path) -> None:
    assert load_hybrid_file(path, cache_dir=str(tmp_path)).path == str(path)


@pytest.mark.parametrize("path", STREAMFLOW, ids=lambda p: p.stem)
def test_values_survive_json(path: Path, tmp_path: Path) -> None:
    hybrid = load_hybrid_file(path, cache_dir=str(tmp_path))
    assert HybridFile.from_json(json.loads(json.dumps(hybrid.to_json()))) == hybrid


def test_paths_start_at_the_files_folder_and_uris_stay(load: Load, tmp_path: Path) -> None:
    workflow = load("workflows: {w: {type: cwl, config: {file: cwl/main.cwl#tool, settings: ../in.yml}}}").workflows[
        "w"
    ]
    assert workflow.file == f"{tmp_path}/cwl/main.cwl#tool"
    assert workflow.settings == str(tmp_path.parent / "in.yml")
    remote = load("workflows: {w: {type: cwl, config: {file: 'https://example.org/main.cwl'}}}").workflows["w"]
    assert remote.file == "https://example.org/main.cwl"


def test_a_local_workdir_is_absolute_and_a_remote_one_stays(load: Load, tmp_path: Path) -> None:
    text = "deployments: {a: {type: local, config: {}, workdir: x}, b: {type: ssh, config: {nodes: [h]}, workdir: ~/x}}"
    deployments = load(text).deployments
    assert deployments["a"].workdir == f"{tmp_path}/x"
    assert deployments["b"].workdir == "~/x"


def test_a_charts_paths_start_at_the_files_folder_and_references_stay(load: Load, tmp_path: Path) -> None:
    text = """
    deployments:
      a: {type: helm, config: {chart: charts/box, yamlValues: v.yml, kubeconfig: kc, timeout: 5m}}
      b: {type: helm4, config: {chart: "oci://reg/box"}}
      c: {type: helm3, config: {chart: box, repo: "https://charts.example"}, external: true}
    """
    found = load(text).deployments
    assert found["a"].config["chart"] == f"{tmp_path}/charts/box" and found["a"].config["timeout"] == 300
    assert found["a"].config["yamlValues"] == [f"{tmp_path}/v.yml"]
    assert found["b"].config["chart"] == "oci://reg/box" and found["c"].config["chart"] == "box"
    assert [found[name].managed for name in "abc"] == [True, True, False]


def test_this_machine_is_always_a_deployment(load: Load) -> None:
    assert load("workflows: {}").deployments["local"].type == "local"


def test_nodes_inherit_what_they_lack_as_in_streamflow(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = (
        load(
            """
        deployments:
          a:
            type: ssh
            config:
              username: u
              sshKey: ~/.ssh/id
              tunnel: {hostname: gate, username: g}
              nodes: [h1, {hostname: 'h2:22', username: v, tunnel: {hostname: other}}, {conn_id: c, sshKey: k}]
        """
        )
        .deployments["a"]
        .config
    )
    gate = {"hostname": "gate", "username": "g", "sshKey": "/home/me/.ssh/id"}
    other = {"hostname": "other", "username": "u", "sshKey": "/home/me/.ssh/id"}
    assert config == {
        "nodes": [
            {"hostname": "h1", "username": "u", "sshKey": "/home/me/.ssh/id", "tunnel": gate},
            {"hostname": "h2:22", "username": "v", "sshKey": "/home/me/.ssh/id", "tunnel": other},
            {"conn_id": "c", "username": "u", "sshKey": f"{tmp_path}/k", "tunnel": gate},
        ]
    }


def test_an_airflow_connection_takes_the_place_of_nodes(load: Load) -> None:
    config = load("deployments: {a: {type: ssh, config: {conn_id: hpc, known_hosts: /k}}}").deployments["a"].config
    assert config == {"nodes": [{"conn_id": "hpc", "known_hosts": ["/k"]}]}


def test_a_host_key_of_the_deployment_is_that_of_its_one_node(load: Load) -> None:
    text = "deployments: {a: {type: ssh, config: {nodes: [%s], host_key: ssh-ed25519 AAAA}}}"
    assert load(text % "h").deployments["a"].config["nodes"] == [{"hostname": "h", "host_key": "ssh-ed25519 AAAA"}]
    assert all("host_key" not in node for node in load(text % "h, i").deployments["a"].config["nodes"])


def test_an_unchecked_host_key_is_not_taken_over_and_said_so(load: Load) -> None:
    hybrid = load("deployments: {a: {type: ssh, config: {nodes: [{hostname: h, checkHostKey: false}]}}}")
    assert hybrid.deployments["a"].config == {"nodes": [{"hostname": "h"}]}
    assert len(hybrid.notices) == 1
    assert "the host key is always checked" in hybrid.notices[0]


def test_inline_ssh_options_of_slurm_become_a_wrapped_deployment(load: Load) -> None:
    config = "{hostname: 'h:2222', username: u, maxConcurrentJobs: 3}"
    hybrid = load(f"deployments: {{hpc: {{type: slurm, config: {config}, workdir: /w}}}}")
    assert hybrid.deployments["hpc"].wraps == "hpc-ssh"
    assert hybrid.deployments["hpc"].config == {"maxConcurrentJobs": 3}
    assert hybrid.deployments["hpc-ssh"].config == {"nodes": [{"hostname": "h:2222", "username": "u"}]}
    assert "deprecated" in hybrid.notices[0]


def test_the_wrapped_deployment_takes_no_name_that_is_taken(load: Load) -> None:
    slurm = "hpc: {type: slurm, config: {hostname: h}}"
    hybrid = load(f"deployments: {{{slurm}, hpc-ssh: {{type: local, config: {{}}}}}}")
    assert hybrid.deployments["hpc-ssh"].type == "local"
    assert hybrid.deployments["hpc"].wraps == "hpc-ssh-ssh"
    assert hybrid.deployments["hpc-ssh-ssh"].type == "ssh"


def test_slurm_options_have_one_name_and_further_ones_pass(load: Load) -> None:
    text = "deployments: {h: {type: slurm, config: {services: {s: {%s}}}}}"
    options = "cpus-per-task: 2, mem_per_cpu: 1GB, timeMin: 1, options: {spank-x: a}, array: 1-2"
    hybrid = load(text % options)
    services = hybrid.deployments["h"].config["services"]
    assert services == {"s": {"cpusPerTask": 2, "memPerCpu": "1GB", "timeMin": 1, "spank-x": "a"}}
    assert hybrid.notices[0].endswith("`array` has no effect: arrays are made from the jobs of a step")


def test_templates_are_read_with_the_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "t.sh").write_text("{{streamflow_command}}")
    hybrid = load("deployments: {h: {type: slurm, config: {file: t.sh, services: {s: {file: t.sh, qos: x}}}}}")
    deployment = hybrid.deployments["h"]
    assert deployment.templates == {"": "{{streamflow_command}}", "s": "{{streamflow_command}}"}
    assert deployment.config["services"] == {"s": {"file": f"{tmp_path}/t.sh", "qos": "x"}}
    assert hybrid.files == (f"{tmp_path}/f.yml", f"{tmp_path}/t.sh")


def test_targets_may_be_names_mappings_and_lists(load: Load) -> None:
    bindings = "{step: /a, target: d}, {step: /b, target: {deployment: d, workdir: /w}}"
    bindings = f"[{bindings}, {{step: /c, target: [d, {{model: d, resources: 2}}]}}]"
    text = f"deployments: {{d: {{type: ssh, config: {{nodes: [h]}}}}}}\nworkflows: {{w: {WORKFLOW % bindings}}}"
    found = {b.path: b.targets for b in load(text).workflows["w"].bindings}
    assert found == {
        "/a": (Target("d"),),
        "/b": (Target("d", workdir="/w"),),
        "/c": (Target("d"), Target("d", locations=2)),
    }


def test_a_binding_takes_from_the_path_above_what_it_does_not_give(load: Load) -> None:
    text = """
    deployments: {a: {type: local, config: {}}, b: {type: local, config: {}}}
    workflows:
      w:
        type: cwl
        config: {file: main.cwl}
        bindings:
          - {step: /x/y, scatter: batch}
          - {step: /, target: a, max_mapped: 5}
          - {step: /x/, target: b, fuse: true}
    """
    bindings = {b.path: b for b in load(text).workflows["w"].bindings}
    assert list(bindings) == ["/x/y", "/", "/x"]
    assert bindings["/x/y"].targets == (Target("b"),)
    assert (bindings["/x/y"].max_mapped, bindings["/x/y"].scatter, bindings["/x/y"].fuse) == (5, "batch", None)
    assert (bindings["/x"].max_mapped, bindings["/x"].scatter, bindings["/x"].fuse) == (5, None, True)


def test_the_longest_path_wins_and_the_rest_runs_here(load: Load) -> None:
    written = "[{step: /a, target: local, max_mapped: 2}, {step: /a/b, target: local, max_mapped: 3}]"
    text = f"workflows: {{w: {WORKFLOW % written}}}"
    bindings = load(text).workflows["w"].bindings
    assert bind(bindings, "/a/b/c").max_mapped == 3
    assert bind(bindings, "/a/bc").max_mapped == 2
    assert bind(bindings, "/ab").path == "/"
    assert bind(bindings, "/ab").targets == (Target("local"),)


def test_of_two_bindings_of_one_step_the_last_holds_as_in_streamflow(load: Load) -> None:
    bindings = "[{step: /a, target: local, max_mapped: 2}, {step: /a, target: local, max_mapped: 3}]"
    text = f"workflows: {{w: {WORKFLOW % bindings}}}"
    hybrid = load(text)
    assert [b.max_mapped for b in hybrid.workflows["w"].bindings] == [3]
    assert "replaces the binding of `/a` further up" in hybrid.notices[0]


def test_port_bindings_and_filters_are_kept(tmp_path: Path) -> None:
    workflow = load_hybrid_file(STREAMFLOW[-1], cache_dir=str(tmp_path)).workflows["master"]
    assert [(p.path, p.target) for p in workflow.ports] == [
        ("/dataset", Target("frontend", workdir="/archive/dataset"))
    ]
    train = bind(workflow.bindings, "/train")
    assert [(f["name"], f["type"]) for f in train.filters] == [("shuffle-all", "shuffle"), ("by-input", "matching")]


def test_a_binding_knows_where_it_stands(load: Load, tmp_path: Path) -> None:
    text = "workflows:\n  w:\n    type: cwl\n    config: {file: a}\n    bindings:\n      - {step: /a, target: local}\n"
    assert load(text).workflows["w"].bindings[0].position == f"{tmp_path}/f.yml:7: workflows.w.bindings[0].step"


def test_links_are_one_value_per_direction(load: Load) -> None:
    text = """
    deployments: {a: {type: local, config: {}}, b: {type: local, config: {}}}
    links: [[a, local], {source: a, target: b, address: me@b.inside, identity: ~/.ssh/b}]
    """
    assert load(text).links == (
        Link("a", "local"),
        Link("local", "a"),
        Link("a", "b", "me@b.inside", "~/.ssh/b"),
    )


def test_the_policies_are_those_of_placement() -> None:
    assert set(POLICY_TYPES) == set(POLICIES)


def test_policies_are_known_by_their_type(load: Load) -> None:
    text = """
    scheduling: {policies: {mine: {type: data_locality, config: {}}}}
    deployments: {a: {type: local, config: {}, scheduling_policy: mine}}
    """
    assert load(text).deployments["a"].scheduling_policy == "data_locality"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{}", {}),
        ("{schedule: '@daily'}", {"schedule": "@daily"}),
        ("{schedule: 0 5 * * 1}", {"schedule": "0 5 * * 1"}),
        ("{schedule: PT6H}", {"schedule": timedelta(hours=6)}),
        ("{schedule: ['s3://b/x']}", {"schedule": ["s3://b/x"]}),
        ("{schedule: null}", {}),
        ("{start_date: 2026-01-31}", {"start_date": datetime(2026, 1, 31, tzinfo=timezone.utc)}),
        ("{end_date: 2026-01-31T12:00:00Z}", {"end_date": datetime(2026, 1, 31, 12, tzinfo=timezone.utc)}),
        ("{dagrun_timeout: 90}", {"dagrun_timeout": timedelta(seconds=90)}),
        ("{dagrun_timeout: 2h}", {"dagrun_timeout": timedelta(hours=2)}),
        ("{dagrun_timeout: PT5M}", {"dagrun_timeout": timedelta(minutes=5)}),
        ("{dagrun_timeout: 00:05:00}", {"dagrun_timeout": timedelta(minutes=5)}),
        ("{retries: 2, owner: me}", {"default_args": {"retries": 2, "owner": "me"}}),
        (
            "{retry_delay: 1m, default_args: {execution_timeout: 1h, pool: p}}",
            {
                "default_args": {
                    "retry_delay": timedelta(minutes=1),
                    "execution_timeout": timedelta(hours=1),
                    "pool": "p",
                }
            },
        ),
        ("{catchup: false, tags: [a], max_active_runs: 3}", {"catchup": False, "tags": ["a"], "max_active_runs": 3}),
        ("{outdir: 's3://b/{{ run_id }}', dag_id: x}", {"outdir": "s3://b/{{ run_id }}", "dag_id": "x"}),
    ],
)
def test_the_dag_section_becomes_arguments_of_the_dag(load: Load, section: str, expected: dict[str, object]) -> None:
    text = f"workflows: {{w: {{type: cwl, config: {{file: a}}, dag: {section}}}}}"
    hybrid = load(text)
    assert hybrid.workflows["w"].dag == expected
    assert HybridFile.from_json(json.loads(json.dumps(hybrid.to_json()))).workflows["w"].dag == expected


def test_a_relative_outdir_starts_at_the_files_folder(load: Load, tmp_path: Path) -> None:
    text = "workflows: {w: {type: cwl, config: {file: a}, dag: {outdir: 'out/{{ ds }}'}}}"
    assert load(text).workflows["w"].dag == {"outdir": f"{tmp_path}/out/{{{{ ds }}}}"}


def test_what_has_no_effect_is_named_in_one_line_each(tmp_path: Path) -> None:
    path = STREAMFLOW[1]
    notices = load_hybrid_file(path, cache_dir=str(tmp_path)).notices
    data = parse(path.read_text(), "x").data
    for key in ("database", "dataManager", "deploymentManager", "failureManager", "checkpointManager", "models"):
        assert key in data
        assert len([n for n in notices if f": {key}: " in n]) == 1
    assert all("\n" not in n and n.startswith(f"{path}:") for n in notices)
