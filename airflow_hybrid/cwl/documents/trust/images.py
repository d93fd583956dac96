# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Images that a document names: where a container runtime's client would connect for them. Pure.

The client runs at the site and connects by itself, so names cannot be pinned to a checked address. Literal addresses,
and names for this host, are checked here like those of any URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from airflow_hybrid.internet import RefusedError, WebAddress, refuse_addresses
from airflow_hybrid.model import image_names
from airflow_hybrid.model.locations import WEB, scheme_of

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.*?)\s*\Z")
_FROM_FLAG = re.compile(r"--from=(\S*)")
_MOUNT_FROM = re.compile(r"--mount=\S*?\bfrom=([^\s,]*)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_TRANSPORTS = frozenset(
    (
        *("docker", "docker-archive", "docker-daemon", "oci", "oci-archive"),
        *("containers-storage", "dir", "ostree", "sif", "tarball"),
    )
)
"""containers-transports(5): podman reads ``dir:x`` as a folder, not as the image ``dir`` with the tag ``x``"""


def image_problem(name: str) -> str | None:
    """A message about what is wrong with an image's name in a document; None if it may be pulled."""
    if scheme_of(name) in WEB and "://" in name:
        return f"{name!r} is not an image of a registry: documents fetch nothing from the web"
    problem = image_names.name_problem(name)
    if problem is not None:
        return problem
    transport, colon, _ = name.partition(":")
    if colon and transport in _TRANSPORTS and not name.startswith("docker://"):
        return f"{name!r} is not an image name: {transport}: names files of the host, or images of another program"
    host, slash, _ = name.rpartition("://")[2].partition("/")
    if not slash:
        return None
    try:
        refuse_host(host)
    except RefusedError as error:
        return f"{name!r} names a registry that is not allowed: {error.message}"
    return None


def refuse_host(host: str) -> None:
    """Check a host (``name``, ``name:port``, ``[address]:port``) as written; no name is looked up.

    :raises RefusedError: it is an address that nothing is fetched from, or cannot be a host.
    """
    address = WebAddress.parse(f"https://{host}/")
    if address.host == "localhost" or address.host.endswith(".localhost"):
        refuse_addresses(address.host, ["127.0.0.1"])
    elif address.is_numeric:
        refuse_addresses(address.host, [address.host])


def dockerfile_problem(text: str) -> str | None:
    """A message about the base images of a Dockerfile; None if all are of registries, or its own stages.

    A builder reads names with a transport (``oci-archive:/path``, ``dir:/path``) as files of its host. The network
    connections of a build's commands are not checked.
    """
    lines = text.splitlines()
    if problem := _directive_problem(lines):
        return problem
    stages = {"scratch"}
    arguments: dict[str, str] = {}
    for instruction, words in _instructions(lines):
        if instruction == "ARG":
            arguments.update(_defaults(words))
        for name in _images(instruction, words):
            if problem := _stage_problem(name, stages, arguments):
                return f"{instruction} {problem}"
        if instruction == "FROM":
            before, _, stage = words.rpartition(" ")
            if before.lower().endswith(" as"):
                stages.add(stage.lower())
    return None


def _directive_problem(lines: list[str]) -> str | None:
    """A message about the directives (``# syntax=image``) at the start of a Dockerfile."""
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            return None
        name, value = directive[1].lower(), directive[2]
        if name == "escape" and value != "\\":
            return f"the directive `# escape={value}` is not supported"
        if name == "syntax" and (problem := image_problem(value)):
            return f"syntax {problem}"
    return None


def _instructions(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each instruction (in capitals) and its arguments, with continued lines joined as builders do."""
    plain = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    for line in re.sub(r"\\[ \t]*(\n|\Z)", " ", plain).split("\n"):
        word, _, arguments = line.strip().replace("\t", " ").partition(" ")
        yield word.upper(), arguments.strip()


def _images(instruction: str, arguments: str) -> Iterator[str]:
    """The words of an instruction that a builder reads as images."""
    if instruction == "ONBUILD":
        nested_instruction, _, arguments = arguments.partition(" ")
        yield from _images(nested_instruction.upper(), arguments.strip())
    elif instruction == "FROM":
        words = [word for word in arguments.split() if not word.startswith("--")]
        yield words[0] if words else ""
    elif instruction in ("COPY", "ADD"):
        yield from _FROM_FLAG.findall(arguments)
    elif instruction == "RUN":
        yield from _MOUNT_FROM.findall(arguments)


def _defaults(arguments: str) -> dict[str, str]:
    """Names and default values of ARG; a value that contains another variable is unchanged."""
    pairs = (word.partition("=") for word in arguments.split())
    return {name: value.strip("\"'") for name, _, value in pairs}


def _stage_problem(name: str, stages: set[str], arguments: Mapping[str, str]) -> str | None:
    plain = _VARIABLE.sub(lambda match: arguments.get(match[1] or match[2], ""), name.strip("\"'"))
    if "$" in plain:
        return f"{name!r} cannot be checked: an image's name may contain only $NAME and ${{NAME}} of an ARG"
    if plain.lower() in stages:
        return None
    return image_problem(plain)
