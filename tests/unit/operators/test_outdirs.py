# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the conf of a run may send its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.dag.outdirs import outdirs_of
from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.operators import outdirs
from airflow_hybrid.operators.outdirs import check_own, chosen_outdir, rendered_outdirs


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine: Airflow's home with its DAGs, and a folder for outputs."""
    site = tmp_path.resolve() / "srv"
    for name in ("airflow/dags", "airflow/logs", "airflow/hybrid_outputs", "out"):
        (site / name).mkdir(parents=True)
    kept = [(f"{site}/airflow/dags", "the DAGs"), (f"{site}/airflow", "Airflow's own files")]
    monkeypatch.setattr(outdirs, "_protected", lambda: kept)
    return site


def refused(value: Any, roots: list[str]) -> str:
    with pytest.raises(InputError) as caught:
        chosen_outdir(value, roots)
    return str(caught.value)


def test_a_folder_below_one_that_the_dag_allows_is_taken(site: Path) -> None:
    for value in (f"{site}/out", f"{site}/out/new/deep", f"file://{site}/out/a%20b"):
        assert chosen_outdir(value, ["s3://b/x", f"{site}/out"]) == value
    assert chosen_outdir(None, [f"{site}/out"]) is None


@pytest.mark.parametrize("inside", ["../airflow/dags", "../out2", "..", "x/../../y"])
def test_what_is_not_below_is_refused(site: Path, inside: str) -> None:
    value = f"{site}/out/{inside}"
    assert refused(value, [f"{site}/out"]) == (
        f"conf key 'outdir': {value!r} is not below a folder that the DAG allows\n"
        f"  -> this DAG allows: {site}/out; its author may name more of them (`outdirs`)"
    )


def test_a_link_that_leads_out_is_refused(site: Path) -> None:
    (site / "out/link").symlink_to(site / "airflow/dags")
    assert refused(f"{site}/out/link/x", [f"{site}/out"]) == (
        f"conf key 'outdir': '{site}/out/link/x' is not below a folder that the DAG allows\n"
        f"  -> this DAG allows: {site}/out; its author may name more of them (`outdirs`)"
    )


def test_airflows_own_files_and_the_dags_are_refused_though_a_root_holds_them(site: Path) -> None:
    allowed = f"  -> this DAG allows: {site}; its author may name more of them (`outdirs`)"
    assert refused(f"{site}/airflow/dags/sub", [f"{site}"]) == (
        f"conf key 'outdir': '{site}/airflow/dags/sub' is among the DAGs ({site}/airflow/dags)\n{allowed}"
    )
    assert refused(f"{site}/airflow/logs", [f"{site}"]) == (
        f"conf key 'outdir': '{site}/airflow/logs' is among Airflow's own files ({site}/airflow)\n{allowed}"
    )
    assert refused(f"{site}", [f"{site}"]) == (
        f"conf key 'outdir': '{site}' contains the DAGs ({site}/airflow/dags)\n{allowed}"
    )


def test_in_airflows_home_only_what_the_dag_itself_names_is_taken(site: Path) -> None:
    root = f"{site}/airflow/hybrid_outputs/d"
    assert chosen_outdir(f"{root}/mine", [root]) == f"{root}/mine"
    home = f"{site}/airflow"
    assert refused(f"{home}/dags/x", [home]) == (
        f"conf key 'outdir': '{home}/dags/x' is among the DAGs ({home}/dags)\n"
        f"  -> this DAG allows: {home}; its author may name more of them (`outdirs`)"
    )


@pytest.mark.parametrize("value", ["s3://b/x", "s3://b/x/", "s3://b/x/y z"])
def test_an_url_below_one_that_the_dag_allows_is_taken(value: str) -> None:
    assert chosen_outdir(value, ["/out", "s3://b/x/"]) == value


@pytest.mark.parametrize(
    "value",
    [
        "s3://b/xy",
        "s3://b",
        "s3://b/x/../y",
        "s3://b/x/%2e%2e/y",
        "s3://b/x/%2E./y",
        "s3://c@b/x",
        "gs://b/x",
        "local:///etc",
    ],
)
def test_another_url_is_refused(value: str) -> None:
    assert refused(value, ["/out", "s3://b/x"]) == (
        f"conf key 'outdir': {value!r} is not below a URL that the DAG allows\n"
        "  -> this DAG allows: s3://b/x; its author may name more of them (`outdirs`)"
    )


@pytest.mark.parametrize("value", [["/out"], 3, {"a": 1}, True])
def test_what_is_no_text_is_refused(value: Any) -> None:
    assert refused(value, ["/out"]) == "conf key 'outdir': must be a string: a path or a URL"


@pytest.mark.parametrize(("outdir", "root"), [("/out/..", "/out"), ("s3://b/x/..", "s3://b/x")])
def test_the_id_of_a_run_does_not_lead_out(outdir: str, root: str) -> None:
    check_own(f"{root}/scheduled__2026", root)
    check_own(root, root)
    with pytest.raises(InputError) as caught:
        check_own(outdir, root)
    assert str(caught.value) == f"`outdir`: the run's outputs would go to {outdir}, which is not below {root}"


def test_an_input_in_the_path_leads_neither_out_nor_to_the_dags(site: Path) -> None:
    (site / "out/link").symlink_to(site / "airflow")
    for outdir, root, problem in (
        (f"{site}/out/../airflow/dags", f"{site}/out", f"is not below {site}/out"),
        (f"{site}/out/link/x", f"{site}/out", f"is not below {site}/out"),
        (f"{site}/airflow/dags/x", str(site), f"is among the DAGs ({site}/airflow/dags)"),
        (str(site), str(site), f"contains the DAGs ({site}/airflow/dags)"),
    ):
        with pytest.raises(InputError) as caught:
            check_own(outdir, root)
        assert str(caught.value) == f"`outdir`: the run's outputs would go to {outdir}, which {problem}"
    check_own(f"{site}/airflow/hybrid_outputs/d/run", f"{site}/airflow/hybrid_outputs/d")


@pytest.mark.parametrize(
    ("outdir", "root"),
    [
        ("/results", "/results"),
        ("/results/{{ ds }}", "/results/{{ ds }}"),
        ("/results/{{ params.x }}", "/results"),
        ("/results/of-{{ params.x }}/{{ ds }}", "/results"),
        ("/results/{{ ds }}/{{ dag_run.conf['x'] }}/a", "/results/{{ ds }}"),
        ("{{ var.value.results }}/{{ run_id }}", "{{ var.value.results }}"),
        ("{{ mine() }}/x", "{{ mine() }}/x"),
        ("/results/{% if params.x %}a{% endif %}/b", "/results"),
        ("/results/{{ params.x | strange }}", "/results"),
        ("s3://bucket/{{ params.x }}", "s3://bucket"),
        ("{% raw %}/a{{b/c{% endraw %}", "{% raw %}/a{{b/c{% endraw %}"),
        ("{%- raw -%}/a{{b/c{%- endraw -%}{{ run_id }}", "{%- raw -%}/a{{b{%- endraw -%}"),
        ("/{{ params.x }}", "/"),
    ],
)
def test_the_folder_of_all_runs_is_what_no_run_chooses(outdir: str, root: str) -> None:
    assert outdirs_of(outdir, macros=["mine"]).roots == (root,)


@pytest.mark.parametrize("outdir", ["{{ params.x }}/y", "{{ ti.xcom_pull('a') }}", "x{{ params.x }}"])
def test_a_run_may_not_choose_all_of_the_path(outdir: str) -> None:
    with pytest.raises(ConfigError) as caught:
        outdirs_of(outdir)
    assert str(caught.value) == (
        f"`outdir` is {outdir!r}: a run may choose all of it\n"
        "  -> begin it with a folder: outputs go nowhere else than there"
    )


def test_a_template_without_a_date_is_told_once() -> None:
    def render(template: str) -> str:
        raise InputError(f"the template `{template}` cannot be rendered: 'ds' is undefined")

    with pytest.raises(InputError) as caught:
        rendered_outdirs(["/a", "/b/{{ ds }}"], render)
    assert str(caught.value) == "`outdir`: the template `/b/{{ ds }}` cannot be rendered: 'ds' is undefined"
    assert rendered_outdirs(["/a"], render) == ["/a"]
