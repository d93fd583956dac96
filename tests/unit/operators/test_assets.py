# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs as Airflow Assets: which they are, and what their events carry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.operators.published.assets import MOST_FILES, RunAsset, announce, event_extra, parse_assets

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: []
outputs: {report: {type: stdout}, table: {type: File, outputBinding: {glob: t}}}
"""
HYBRID = """\
version: v1.0
workflows:
  daily:
    type: cwl
    config: {file: tool.cwl}
    dag:
      assets:
        report: file:///results/report
        table: {name: 'table-{{ ds }}', uri: 's3://results/table/{{ ds }}'}
"""


def file(number: int) -> dict[str, Any]:
    about = {"location": f"file:///out/{number}", "checksum": f"sha1${number:040}", "size": number}
    return {"class": "File", "basename": str(number), **about}


def about(number: int) -> dict[str, Any]:
    return {"location": f"file:///out/{number}", "checksum": f"sha1${number:040}", "size": number}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tool.cwl").write_text(TOOL)
    (tmp_path / "streamflow.yml").write_text(HYBRID)
    return tmp_path


def test_the_hybrid_file_names_the_assets_of_outputs(folder: Path) -> None:
    (dag,) = load_dags("streamflow.yml", {"__file__": str(folder / "dag.py")})
    assert dag.get_task("outputs").outlets == [
        Asset(name="file:///results/report", uri="file:///results/report"),
        AssetAlias("daily/table"),
    ]


def test_python_names_them_too(folder: Path) -> None:
    dag = HybridDag(folder / "tool.cwl", assets={"report": Asset("report", "s3://r"), "table": "s3://t"})
    assert dag.get_task("outputs").outlets == [Asset("report", "s3://r"), Asset("s3://t")]


@pytest.mark.parametrize(
    ("assets", "message"),
    [
        (
            {"reprot": "file:///r"},
            "{where}: `assets` names output `reprot`, but the workflow has no such output\n  -> did you mean `report`?",
        ),
        (
            {"report": "file:///r", "table": "file:///r"},
            "{where}: `assets`: outputs `report` and `table` are the same asset: file:///r\n"
            "  -> an asset's event is about one output: give each its own URI",
        ),
        (
            {"report": "airflow://r"},
            "{where}: `assets`: the asset of output `report` cannot be airflow://r (airflow://r): Asset scheme"
            " 'airflow' is reserved",
        ),
        (
            {"report": "file:///data/größe"},
            "{where}: `assets`: the asset of output `report` cannot be file:///data/größe (file:///data/größe): a URI"
            " has ASCII letters only: write file:///data/gr%C3%B6%C3%9Fe",
        ),
    ],
)
def test_what_cannot_be_an_asset_is_told_when_the_dag_is_made(folder: Path, assets: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HybridDag(folder / "tool.cwl", assets=assets)
    assert str(caught.value) == message.format(where=__file__)


def test_what_cannot_be_an_asset_is_no_schedule(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        HybridDag(folder / "tool.cwl", schedule=["s3://r", "airflow://r"])
    assert str(caught.value) == (
        f"{__file__}: `schedule`: no asset can be airflow://r: Asset scheme 'airflow' is reserved"
    )


def test_a_template_gives_each_run_its_asset() -> None:
    (asset,) = parse_assets({"o": {"name": "t-{{ ds }}", "uri": "s3://b/{{ ds }}"}}, ["o"], "d")
    assert asset.rendered(lambda text: text.replace("{{ ds }}", "2026-01-01")) == Asset(
        "t-2026-01-01", "s3://b/2026-01-01"
    )
    with pytest.raises(InputError) as caught:
        asset.rendered(lambda _: "")
    assert str(caught.value) == "`assets`: output 'o': the template `t-{{ ds }}` has no value"
    with pytest.raises(InputError) as caught:
        asset.rendered(lambda _: "airflow://r")
    assert str(caught.value) == (
        "`assets`: the asset of output `o` cannot be airflow://r (airflow://r): Asset scheme 'airflow' is reserved"
    )


def task_context(dag: HybridDag, task_id: str, pushed: dict[str, Any], **values: Any) -> Any:
    """What Airflow gives a task of a run that has no logical date."""

    def push(key: str, value: Any) -> None:
        pushed[key] = value

    def pull(task_ids: str, key: str, map_indexes: int) -> Any:
        return {"text": "hello"} if (task_ids, map_indexes) == ("inputs", -1) else None

    ti = SimpleNamespace(
        task=dag.get_task(task_id), dag_id=dag.dag_id, run_id="r", map_index=-1, xcom_push=push, xcom_pull=pull
    )
    run = SimpleNamespace(conf={}, triggering_user_name=None, run_type="manual")
    return {"ti": ti, "dag_run": run, "run_id": "r", "dag": dag, "params": {"text": "hello"}, **values}


UNDATED = """\
`assets`: output 'said': the template `file:///x/{{ ds }}` cannot be rendered: 'ds' is undefined
  -> `Templates reference` in Airflow's documentation lists what there is. A run without a logical date (triggered \
without one, or by an asset) has no `ds` and no data interval; `dag_run.run_after` is there in every run"""


@pytest.fixture
def saying(tmp_path: Path) -> HybridDag:
    (tmp_path / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: Workflow\ninputs: {text: string}\n"
        "outputs: {said: {type: string, outputSource: text}}\nsteps: []\n"
    )
    return HybridDag(tmp_path / "main.cwl", assets={"said": "file:///x/{{ ds }}"}, outdir=str(tmp_path / "out"))


def test_an_asset_that_the_run_cannot_have_fails_the_first_task(saying: HybridDag) -> None:
    task: Any = saying.get_task("inputs")
    with pytest.raises(InputError) as caught:
        task.run_task(task_context(saying, "inputs", {}))
    assert str(caught.value) == UNDATED
    assert task.run_task(task_context(saying, "inputs", {}, ds="2026-01-01")) == {"text": "hello"}


def test_an_asset_that_the_last_task_cannot_name_takes_no_results_away(saying: HybridDag, tmp_path: Path) -> None:
    pushed: dict[str, Any] = {}
    task: Any = saying.get_task("outputs")
    with pytest.raises(InputError) as caught:
        task.run_task(task_context(saying, "outputs", pushed))
    assert str(caught.value) == UNDATED
    assert pushed == {"lineage": [], "outdir": str(tmp_path / "out" / "r"), "return_value": {"said": "hello"}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"assets": {"said": "file:///x/{{ ds }"}},
            "`assets`: output 'said': the template `file:///x/{{ ds }` is not valid Jinja2: unexpected '}'",
        ),
        (
            {"outdir": "/x/{{ ds }"},
            "`outdir`: the template `/x/{{ ds }` is not valid Jinja2: unexpected '}'",
        ),
        (
            {"outdir": "/x", "outdirs": "/y/{% if %}"},
            "`outdirs`: the template `/y/{% if %}` is not valid Jinja2: Expected an expression, got 'end of statement"
            " block'",
        ),
        (
            {"inputs": {"text": "{{ ds"}},
            "input 'text': the template `{{ ds` is not valid Jinja2: unexpected end of template, expected 'end of"
            " print statement'.",
        ),
        (
            {"inputs": {"text": "{% debug %}"}},
            "input 'text': the template `{% debug %}` is not valid Jinja2: Encountered unknown tag 'debug'.",
        ),
    ],
)
def test_a_template_that_jinja_cannot_read_is_told_when_the_dag_is_made(
    saying: HybridDag, tmp_path: Path, options: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        HybridDag(tmp_path / "main.cwl", **options)
    assert str(caught.value) == f"{__file__}: {message}"


def test_tags_of_the_dags_own_environment_are_known(saying: HybridDag, tmp_path: Path) -> None:
    extended: dict[str, Any] = {"jinja_environment_kwargs": {"extensions": ["jinja2.ext.debug"]}}
    HybridDag(tmp_path / "main.cwl", inputs={"text": "{% debug %}"}, **extended)


def test_an_event_says_where_the_files_are_and_what_is_in_them() -> None:
    assert event_extra("report", file(1)) == {"output": "report", "class": "File", **about(1), "files": [about(1)]}
    folder = {"class": "Directory", "location": "file:///out/d", "listing": [file(1), file(2)]}
    assert event_extra("all", folder) == {
        "output": "all",
        "class": "Directory",
        "location": "file:///out/d",
        "files": [about(1), about(2)],
    }
    assert event_extra("list", [file(1), {"deep": file(2)}]) == {"output": "list", "files": [about(1), about(2)]}
    assert event_extra("n", 3) == {"output": "n", "value": 3}
    assert event_extra("long", "x" * 20_000) == {"output": "long"}


def test_an_event_is_bounded() -> None:
    extra = event_extra("many", [file(number) for number in range(MOST_FILES + 5)])
    assert (len(extra["files"]), extra["files_left_out"]) == (MOST_FILES, 5)


def test_outlets_of_the_dags_author_stay(folder: Path) -> None:
    theirs = Asset("file:///theirs")
    dag = HybridDag(folder / "tool.cwl", assets={"report": "s3://r"}, default_args={"outlets": [theirs]})
    assert dag.get_task("outputs").outlets == [Asset("s3://r"), theirs]
    assert dag.get_task("inputs").outlets == [theirs]


def test_a_run_makes_a_partition(folder: Path) -> None:
    from airflow.sdk.execution_time.context import OutletEventAccessors

    (asset,) = parse_assets({"o": {"uri": "s3://b/o", "partition": "{{ run_id }}"}}, ["o"], "d")
    context = {"outlet_events": OutletEventAccessors()}
    announce([RunAsset.rendered(asset, lambda text: text.replace("{{ run_id }}", "manual__1"))], {"o": 7}, context)
    accessor = context["outlet_events"][asset.outlet]
    assert (accessor.partition_keys, accessor.extra) == ({"manual__1"}, {"output": "o", "value": 7})


@pytest.mark.parametrize("key", [" ", "x" * 251])
def test_a_key_that_airflow_would_refuse_is_said(key: str) -> None:
    (asset,) = parse_assets({"o": {"uri": "s3://b/o", "partition": "{{ key }}"}}, ["o"], "d")
    with pytest.raises(InputError, match="no key of a partition\n  -> a key has 1 to 250 characters"):
        RunAsset.rendered(asset, lambda _: key)


def test_a_name_per_run_has_no_partitions(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse_assets({"o": {"uri": "s3://b/{{ ds }}", "partition": "{{ ds }}"}}, ["o"], "d")
    assert str(error.value) == (
        "`assets`: output `o` has a partition, and a name or URI that differs from run to run\n"
        "  -> Airflow has partitions of assets with a fixed name only"
    )


def test_the_partition_in_a_hybrid_file_is_a_template(folder: Path) -> None:
    text = HYBRID.replace("report: file:///results/report", "report: {uri: 'file:///r', partition: '{{ ds }'}")
    (folder / "streamflow.yml").write_text(text)
    with pytest.raises(ConfigError, match="partition"):
        load_dags("streamflow.yml", {"__file__": str(folder / "dag.py")})
