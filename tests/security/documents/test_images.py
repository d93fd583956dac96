# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The names, paths and sizes of DockerRequirement are words for a container runtime's client, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import load_hybrid_file
from airflow_hybrid.containers import RUNTIMES, ImagePaths
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.documents.trust.images import dockerfile_problem, image_problem
from airflow_hybrid.errors import ConfigError, CwlError
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.model.image_names import id_problem, output_directory_problem, size_problem
from airflow_hybrid.sites.containers.images import obtain_command
from airflow_hybrid.sites.hosts.local import LocalHost

HINT = "\n  -> an image is named as in `docker pull` (debian:12, quay.io/org/tool@sha256:...)"


def refused(folder: Path, requirement: dict[str, Any], section: str = "requirements") -> str:
    """What is said of a document with a DockerRequirement, without its position."""
    document = folder / "main.cwl"
    tool: dict[str, Any] = {"class": "CommandLineTool", "baseCommand": "true", "inputs": [], "outputs": []}
    tool["hints"] = [{"class": "DockerRequirement", **requirement}]
    if section == "step":
        step = {"run": {**tool, "hints": []}, "in": [], "out": [], "requirements": tool["hints"]}
        tool = {"class": "Workflow", "inputs": [], "outputs": [], "steps": {"s": step}}
    elif section != "hints":
        tool[section] = tool.pop("hints")
    document.write_text(json.dumps({"cwlVersion": "v1.2", **tool}))
    with pytest.raises(CwlError) as caught:
        compile_document(str(document), cache_dir=folder / "cache")
    where, said = str(caught.value).split(": ", 1)
    assert where.startswith(f"{document}:")
    return said


@pytest.mark.parametrize(
    "name",
    [
        "--volume=/srv/outside:/host",
        "--privileged",
        "-v/:/host",
        "",
        " debian",
        "debian\n--privileged",
        "debian:12 --privileged",
        "$(id)",
        "debian@sha256:xyz",
        "Debian",
        "a//b",
        "../debian",
        "docker:///etc",
        "https://-x/y",
    ],
)
@pytest.mark.parametrize("section", ["requirements", "hints", "step"])
def test_an_option_is_not_an_image_name(tmp_path: Path, name: str, section: str) -> None:
    assert refused(tmp_path, {"dockerPull": name}, section) == f"dockerPull {name!r} is not an image name{HINT}"
    assert refused(tmp_path, {"dockerImageId": name}, section) == f"dockerImageId {name!r} is not an image name{HINT}"


def test_every_name_is_looked_at_and_told_in_one_message(tmp_path: Path) -> None:
    said = refused(tmp_path, {"dockerPull": "-a", "dockerImageId": "-b", "dockerOutputDirectory": "/etc"})
    assert said == (
        "dockerPull '-a' is not an image name; dockerImageId '-b' is not an image name; dockerOutputDirectory '/etc' "
        f"is a folder that the container needs; use for example /output{HINT}"
    )


@pytest.mark.parametrize("scheme", ["docker-archive", "oci-archive", "docker-daemon", "localimage", "dir", "file"])
def test_a_scheme_that_names_files_of_the_host_is_none(tmp_path: Path, scheme: str) -> None:
    name = f"{scheme}:///etc"
    schemes = "docker://, oras://, library://, shub://, http://, https://"
    assert refused(tmp_path, {"dockerPull": name}) == (
        f"dockerPull {name!r} is not an image name: {scheme}:// is not one of {schemes}{HINT}"
    )


@pytest.mark.parametrize("path", ["/", "//", "/images/../etc", "/images/./x", "//images/x", "/images//x", "/a\nb"])
def test_a_path_that_is_not_that_of_an_image(tmp_path: Path, path: str) -> None:
    assert refused(tmp_path, {"dockerImageId": path}) == (
        f"dockerImageId {path!r} is not the path of an image: it must be absolute, without `.`, `..` and `//`, and not "
        f"`/`{HINT}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "debian",
        "debian:12",
        "quay.io/biocontainers/bwa:0.7.17--h5bf99c6_8",
        "localhost:5000/a/b-c__d.e:V1.0_x",
        "127.0.0.1:5000/a",
        "[::1]:5000/a",
        "ghcr.io/org/tool@sha256:" + "0a" * 32,
        "debian:12@sha256:" + "0a" * 32,
        "sha256:" + "0a" * 32,
        "0a" * 32,
        "docker://debian:12",
        "library://Org/Collection/Image:Latest",
        "shub://Org/Image",
        "oras://ghcr.io/org/image:1",
        "https://depot.galaxyproject.org/singularity/bwa:0.7.17--h5bf99c6_8",
        "Tool-1.0.sif",
        "/images/tool.sif",
    ],
)
def test_names_that_registries_know_are_names(name: str) -> None:
    assert id_problem(name) is None


@pytest.mark.parametrize("path", ["/output", "/output/", "/var/spool/cwl", "/data/x", "/tmp/x", "/home/me"])
def test_output_directories_that_may_be(path: str) -> None:
    assert output_directory_problem(path) is None


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/etc/", "/usr/bin", "/dev/shm", "/proc/1", "/tmp", "/var/lib/cwl", "/var"]
)
def test_output_directories_that_would_hide_what_is_needed(path: str) -> None:
    assert output_directory_problem(path) == (
        f"dockerOutputDirectory {path!r} is a folder that the container needs; use for example /output"
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("output", "must be an absolute path without colons and commas"),
        ("--privileged", "must be an absolute path without colons and commas"),
        ("/a:/etc", "must be an absolute path without colons and commas"),
        ("/a,b", "must be an absolute path without colons and commas"),
        ("/a/../etc", "is not a normal path: it contains `.`, `..` or `//`"),
        ("//etc", "is not a normal path: it contains `.`, `..` or `//`"),
    ],
)
def test_output_directories_that_are_none(path: str, why: str) -> None:
    assert output_directory_problem(path) == f"dockerOutputDirectory {path!r} {why}"


def test_sizes() -> None:
    assert [size_problem(size) for size in ("64m", "2g", "1048576", "1.5G")] == [None] * 4
    for size in ("64m --privileged", "", "-1", "$(id)", "64mm"):
        assert size_problem(size) == f"shmSize {size!r} is not a size such as 64m or 2g"


# --- archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["dockerLoad", "dockerImport"])
def test_an_archive_lies_below_the_roots_of_the_document(tmp_path: Path, field: str) -> None:
    folder = tmp_path / "project" / "flows"
    folder.mkdir(parents=True)
    (tmp_path / "project" / ".git").mkdir()
    outside = tmp_path / "secret.tar"
    outside.write_text("")
    hint = (
        "\n  -> if it may: set [airflow_hybrid] document_roots in Airflow's configuration to the folders (or URL "
        "prefixes) that documents may read from, joined by spaces"
    )
    for location in (str(outside), outside.as_uri()):
        assert refused(folder, {field: location}) == (
            f"{field}: a document may not name {outside.as_uri()}: it is outside {tmp_path / 'project'}{hint}"
        )
    link = folder / "link.tar"
    link.symlink_to(outside)
    assert refused(folder, {field: str(link)}) == (
        f"{field}: a document may not name {link.as_uri()}: it is outside {tmp_path / 'project'}{hint}"
    )
    assert refused(folder, {field: "image.tar"}) == (
        f"{field} 'image.tar' is neither an absolute path of the machine that runs Airflow nor a URL"
    )


def test_an_archive_beside_the_document_is_taken(tmp_path: Path) -> None:
    document = tmp_path / "flows" / "main.cwl"
    document.parent.mkdir()
    requirement = {"class": "DockerRequirement", "dockerLoad": str(document.parent / "image.tar")}
    tool: dict[str, Any] = {"class": "CommandLineTool", "baseCommand": "true", "inputs": [], "outputs": []}
    document.write_text(json.dumps({"cwlVersion": "v1.2", **tool, "requirements": [requirement]}))
    assert compile_document(str(document), cache_dir=tmp_path / "cache").steps


# --- images that are files at the location ----------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["apptainer", "charliecloud"])
def test_a_document_names_image_files_of_image_folders_only(tmp_path: Path, runtime: str) -> None:
    own, extra, other = tmp_path / "work" / "images", tmp_path / "extra", tmp_path / "other"
    for folder in (own, extra, other):
        (folder / "image").mkdir(parents=True)
    (own / "link").symlink_to(other / "image")
    (own / "root").symlink_to("/")
    places = ImagePaths(str(own), allowed=(str(extra),))

    def asked(path: Path, trusted: bool = False) -> str:
        source = ImageSource(image_id=str(path), of_document=not trusted)
        command = obtain_command(RUNTIMES[runtime], source, places, str(path))
        return asyncio.run(LocalHost().run(command)).out

    why = f"#ah refused\na document may name image files below {own} and {extra} only\n"
    assert asked(own / "image") == "#ah present\n"
    assert asked(extra / "image") == "#ah present\n"
    assert asked(other / "image") == why
    assert asked(own / "link") == why
    assert asked(own / "root") == why
    assert asked(own) == why
    assert asked(other / "image", trusted=True) == "#ah present\n"
    assert os.path.isdir(own / "root")


# --- the hybrid file --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("docker", "{image: '--privileged'}", "config.image: '--privileged' is not an image name"),
        ("singularity", "{image: '--bind=/'}", "config.image: '--bind=/' is not an image name"),
        (
            "apptainer",
            "{image: /}",
            "config.image: '/' is not the path of an image: it must be absolute, without `.`, `..` and `//`, and not "
            "`/`",
        ),
        (
            "kubernetes",
            "{storage: {claim: c, image: '-x'}}",
            "config.storage.image: '-x' is not an image name",
        ),
    ],
)
def test_an_image_of_the_hybrid_file_is_a_name_too(tmp_path: Path, kind: str, config: str, said: str) -> None:
    file = tmp_path / "streamflow.yml"
    file.write_text(
        "version: v1.0\nworkflows: {w: {type: cwl, config: {file: main.cwl}}}\n"
        f"deployments: {{d: {{type: {kind}, config: {config}}}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_hybrid_file(str(file))
    assert str(caught.value) == f"{file}:3: deployments.d.{said}"


# --- registries and transports --------------------------------------------------------------------------------------

LINK_LOCAL = "is a link-local address, or that of a cloud's metadata service: nothing is fetched from there"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("169.254.77.77:80/x/y:1", "169.254.77.77"),
        ("docker://169.254.169.254/x/y", "169.254.169.254"),
        ("oras://169.254.169.254/x/y", "169.254.169.254"),
        ("library://169.254.169.254/a/b/c", "169.254.169.254"),
        ("0xA9FEA9FE/x/y", "169.254.169.254"),
        ("2852039166/x/y", "169.254.169.254"),
        ("[fe80::1]:5000/x", "fe80::1"),
        ("[::ffff:a9fe:a9fe]/x", "::ffff:a9fe:a9fe"),
    ],
)
def test_a_registry_at_a_link_local_address_is_not_asked(tmp_path: Path, name: str, host: str) -> None:
    problem = f"{name!r} names a registry that is not allowed: {host} {LINK_LOCAL}"
    assert refused(tmp_path, {"dockerPull": name}) == f"dockerPull {problem}{HINT}"
    assert refused(tmp_path, {"dockerImageId": name}) == f"dockerImageId {problem}{HINT}"
    assert refused(tmp_path, {"dockerFile": f"FROM {name}"}) == f"dockerFile: FROM {problem}{HINT}"


def test_this_host_is_no_registry_where_only_public_addresses_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("localhost:5000/a", "a.localhost/b", "127.0.0.1:5000/a", "10.0.0.1/a"):
        assert image_problem(name) is None
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__PUBLIC_ADDRESSES_ONLY", "true")
    assert refused(tmp_path, {"dockerPull": "localhost:5000/a"}) == (
        "dockerPull 'localhost:5000/a' names a registry that is not allowed: localhost (127.0.0.1) is not a public "
        f"address ([airflow_hybrid] public_addresses_only is set): nothing is fetched from there{HINT}"
    )


@pytest.mark.parametrize("name", ["http://169.254.169.254/x", "https://depot.galaxyproject.org/singularity/bwa:1"])
def test_a_document_s_image_is_not_fetched_from_the_web(tmp_path: Path, name: str) -> None:
    for field in ("dockerPull", "dockerImageId"):
        assert refused(tmp_path, {field: name}) == (
            f"{field} {name!r} is not an image of a registry: documents fetch nothing from the web{HINT}"
        )


@pytest.mark.parametrize("transport", ["dir", "oci", "oci-archive", "docker-archive", "sif", "containers-storage"])
def test_an_image_with_a_tag_is_no_file_with_a_transport(tmp_path: Path, transport: str) -> None:
    name = f"{transport}:x"
    problem = f"{name!r} is not an image name: {transport}: names files of the host, or images of another program"
    for field in ("dockerPull", "dockerImageId"):
        assert refused(tmp_path, {field: name}) == f"{field} {problem}{HINT}"
    assert refused(tmp_path, {"dockerFile": f"FROM {name}"}) == f"dockerFile: FROM {problem}{HINT}"


@pytest.mark.parametrize(
    "text",
    [
        "FROM oci-archive:/etc/x",
        "from --platform=linux/amd64 oci-archive:/etc/x AS a",
        "FROM \\\n# a comment\n\n  oci-archive:/etc/x",
        "ARG A=oci-archive B=/etc/x\nFROM $A:${B}",
        "FROM debian:12 AS a\nFROM a\nFROM 'oci-archive:/etc/x'",
    ],
)
def test_a_dockerfile_is_made_from_images_of_registries(text: str) -> None:
    assert dockerfile_problem(text) == "FROM 'oci-archive:/etc/x' is not an image name"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM debian\nCOPY --from=dir:/etc . /x", "COPY 'dir:/etc' is not an image name"),
        ("FROM debian\nONBUILD COPY --from=dir:/etc . /x", "ONBUILD 'dir:/etc' is not an image name"),
        ("FROM debian\nRUN --mount=type=bind,from=dir:/etc,target=/x ls", "RUN 'dir:/etc' is not an image name"),
        ("# syntax=dir:/etc\nFROM debian", "syntax 'dir:/etc' is not an image name"),
        ("# escape=`\nFROM debian", "the directive `# escape=`` is not supported"),
        (
            "FROM ${A:-dir:/etc}",
            "FROM '${A:-dir:/etc}' cannot be checked: an image's name may contain only $NAME and ${NAME} of an ARG",
        ),
    ],
)
def test_what_else_a_builder_takes_for_an_image(text: str, problem: str) -> None:
    assert dockerfile_problem(text) == problem


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch",
        "FROM debian:12 AS Build-1\nRUN x\nFROM build-1\nCOPY --from=Build-1 /a /b\nCOPY --from=0 /a /b",
        "ARG VERSION=12\nFROM debian:${VERSION}\nRUN echo $HOME \\\n && ls",
        "# syntax=docker/dockerfile:1\nFROM quay.io/org/tool@sha256:" + "0a" * 32,
    ],
)
def test_dockerfiles_that_are_built(text: str) -> None:
    assert dockerfile_problem(text) is None
