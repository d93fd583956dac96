# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A location is taken apart once: what is judged is what is used, in whatever form somebody wrote it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.engine.placing.places import ref_of
from airflow_hybrid.errors import CwlError, InputError, TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.model.locations import Location
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.sites.files.nofollow import opened

HINT = (
    "if it may: set [airflow_hybrid] document_roots in Airflow's configuration to the folders (or URL prefixes) that "
    "documents may read from, joined by spaces"
)
UP = "/../../../../../../../../../../usr/bin/ls"


def document_with(tmp_path: Path, location: str, kind: str = "File") -> Path:
    document = tmp_path / "place" / "of" / "main.cwl"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
        f"inputs: {{f: {{type: {kind}, default: {{class: {kind}, location: '{location}'}}}}}}\n"
    )
    return document


def refused(tmp_path: Path, location: str, kind: str = "File") -> str:
    document = document_with(tmp_path, location, kind)
    graph = compile_document(str(document), cache_dir=tmp_path / "cache")
    with pytest.raises(CwlError) as error:
        validate_inputs(graph, {}, str(tmp_path))
    assert error.value.hint == HINT
    column = {"File": 35, "Directory": 40}[kind]
    assert error.value.where == f"{document}:5:{column}"
    return error.value.message


@pytest.mark.parametrize("kind", ["File", "Directory"])
@pytest.mark.parametrize("sign", ["?", "#"])
def test_a_default_with_a_query_or_fragment_names_no_file(tmp_path: Path, sign: str, kind: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    location = f"file://{tmp_path}/secret.txt{sign}{UP}"
    assert refused(tmp_path, location, kind) == (
        "a document may not name such a file: a file URI has no query or fragment (percent-encode '?' and '#'): "
        f"{location!r}"
    )


@pytest.mark.parametrize("climb", ["..", "%2e%2e", ".%2E"])
def test_a_default_that_climbs_names_no_file(tmp_path: Path, climb: str) -> None:
    location = f"file:///usr/bin/{climb}/lib/os-release"
    assert refused(tmp_path, location) == (
        f"a document may not name such a file: the path in {location!r} is not normal"
    )


@pytest.mark.parametrize(
    "location",
    [
        f"s3://conn@bucket{UP}",
        f"ftp://169.254.77.77{UP}",
        f"gs://bucket{UP}",
        "hybrid://site/localhost/usr/bin/ls",
        "http://127.0.0.1:18765/internal",
        "https://example.org/a",
    ],
)
def test_a_default_is_fetched_from_nowhere(tmp_path: Path, location: str) -> None:
    assert refused(tmp_path, location) == f"a document may not load {location}: only files"


def test_url_prefixes_are_roots_and_no_way_out_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__DOCUMENT_ROOTS", "https://example.org/data")
    document = document_with(tmp_path, "HTTPS://example.org/data/a")
    order = validate_inputs(compile_document(str(document), cache_dir=tmp_path / "cache"), {}, str(tmp_path))
    assert order == {"f": {"class": "File", "location": "https://example.org/data/a", "basename": "a"}}
    location = "https://example.org/data/%2e%2e/secret"
    assert refused(tmp_path, location) == f"a document may not load {location}: only files"


@pytest.mark.parametrize("scheme", ["FILE:", "FILE://", "file:"])
def test_the_normal_form_is_kept(tmp_path: Path, scheme: str) -> None:
    document = document_with(tmp_path, f"{scheme}{tmp_path}/place/a%62")
    (tmp_path / "place" / "ab").write_text("x")
    graph = compile_document(str(document), cache_dir=tmp_path / "cache")
    assert graph.inputs[0].default == {"class": "File", "location": f"file://{tmp_path}/place/ab"}
    given = {"f": {"class": "File", "path": f"{scheme}{tmp_path}/place/a%62"}}
    assert validate_inputs(graph, given, "/")["f"]["location"] == f"file://{tmp_path}/place/ab"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("hybrid://site/localhost/srv/f", "the input {0} is not below the work directory of a deployment of this DAG"),
        ("HYBRID://site/localhost/srv/f", "the input {0} is not below the work directory of a deployment of this DAG"),
        (" hybrid://site/localhost/srv/f", "an input cannot be used: {0!r} is not a URI"),
        ("\thybrid://site/localhost/srv/f", "an input cannot be used: {0!r} is not a URI"),
        ("hy\nbrid://site/localhost/srv/f", "an input cannot be used: {0!r} is not a URI"),
        (
            "hybrid:\n//site/localhost/srv/f",
            "an input cannot be used: {0!r} is not a URI: it contains a blank or a control character "
            "(percent-encode it)",
        ),
        ("hybrid:///site", "an input cannot be used: not the URI of a file at a location: {0!r}"),
    ],
)
def test_a_deployment_s_file_is_one_in_every_spelling(location: str, said: str) -> None:
    origins = Origins(Ground({"site": Deployment("site", "local", workdir="/work")}), "dag", "run", {}, {}, str)
    for key in ("location", "path"):
        with pytest.raises(InputError) as error:
            origins.check_given({"x": {"class": "File", key: location}})
        assert error.value.message == said.format(location)


@pytest.mark.parametrize("location", [" hybrid://site/n/f", "hy\nbrid://site/n/f", "\tfile:///etc/passwd"])
def test_what_is_no_uri_is_no_file(location: str) -> None:
    assert ref_of({"location": location}) is None
    with pytest.raises(ValueError, match="not a hybrid: or file: URI"):
        FileRef.parse(location)
    with pytest.raises(ValueError) as error:
        Location.parse(location)
    assert str(error.value) == f"{location!r} is not a URI"


def test_an_input_is_never_read_in_two_ways(tmp_path: Path) -> None:
    document = document_with(tmp_path, "main.cwl")
    graph = compile_document(str(document), cache_dir=tmp_path / "cache")
    location = f"file://{document}?/../x"
    with pytest.raises(InputError) as error:
        validate_inputs(graph, {"f": {"class": "File", "location": location}}, "/")
    assert error.value.message == (
        f"input 'f': a file URI has no query or fragment (percent-encode '?' and '#'): {location!r}"
    )


# --- work directories -----------------------------------------------------------------------------------------------


def ground(deployment: Deployment) -> Origins:
    return Origins(Ground({"site": deployment}), "dag", "run", {}, {}, str)


def test_the_default_work_directory_of_this_machine_is_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    origins = ground(Deployment("site", "local"))
    own = origins.own_folder("task", -1)
    end = f"airflow_hybrid/site/{own}/g0-0a/a1-0f/0/out/f"
    good = {"class": "File", "location": f"file://{tmp_path}/home/{end}"}
    assert origins.strangers([good], own) == []
    for place in ("planted", "home/airflow_hybrid/site/x", "home/airflow_hybrid"):
        planted = {"class": "File", "location": f"file://{tmp_path}/{place}/{end}"}
        assert origins.strangers([planted], own) == [planted]


@pytest.mark.parametrize("between", ["x", "other/run/task/g0-0a/a1-0f/0/out", "airflow_hybrid_2"])
def test_a_task_s_folder_lies_in_the_work_directory_itself(between: str) -> None:
    origins = ground(Deployment("site", "ssh"))
    own = origins.own_folder("task", -1)
    ref = FileRef("site", "node", f"/home/u/airflow_hybrid/{between}/{own}/g0-0a/a1-0f/0/out/f")
    planted = {"class": "File", "location": ref.uri}
    assert origins.strangers([planted], own) == [planted]


def test_another_spelling_of_a_good_location_is_none() -> None:
    origins = ground(Deployment("site", "ssh"))
    own = origins.own_folder("task", -1)
    uri = FileRef("site", "node", f"/home/u/airflow_hybrid/{own}/g0-0a/a1-0f/0/out/f").uri
    assert origins.strangers([{"class": "File", "location": uri}], own) == []
    odd = {"class": "File", "location": uri.replace("hybrid:", "HYBRID:")}
    assert origins.strangers([odd], own) == [odd]


@pytest.mark.parametrize("link", ["dag", "dag/run", "dag/run/task", "dag/run/task/g0-0a", "dag/run/task/g0-0a/a1-0f"])
def test_no_link_is_followed_on_the_way_from_the_work_directory(tmp_path: Path, link: str) -> None:
    path = "dag/run/task/g0-0a/a1-0f/0/out/private"
    victim = tmp_path / "victim" / path
    victim.parent.mkdir(parents=True)
    victim.write_text("private")
    planted = tmp_path / "planted" / link
    planted.parent.mkdir(parents=True)
    planted.symlink_to(tmp_path / "victim" / link)
    read = tmp_path / "planted" / path
    assert os.path.exists(read)
    with pytest.raises(TransferError) as error, opened(str(read)):
        pass
    assert error.value.message == (f"a symbolic link has replaced {read} or a folder above it: it is not followed")
