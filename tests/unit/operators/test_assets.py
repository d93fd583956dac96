# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs as Airflow Assets: which they are, and what their events carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.operators.published.assets import MOST_FILES, event_extra, parse_assets

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


def test_a_template_gives_each_run_its_asset() -> None:
    (asset,) = parse_assets({"o": {"name": "t-{{ ds }}", "uri": "s3://b/{{ ds }}"}}, ["o"], "d")
    assert asset.rendered(lambda text: text.replace("{{ ds }}", "2026-01-01")) == Asset(
        "t-2026-01-01", "s3://b/2026-01-01"
    )
    with pytest.raises(InputError) as caught:
        asset.rendered(lambda _: "")
    assert str(caught.value).startswith("`assets`: output 'o': `assets`: the asset of output `o` cannot be  ():")


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
