# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""YAML text -> plain values and the line of each.

The parser is libyaml (about a millisecond for a hybrid file; ruamel's round-trip loader takes over a hundred). Plain
scalars have their meaning in YAML 1.2 (core schema), as in StreamFlow's loader: ``on``, ``no`` and
``1:30:00`` are strings, ``0o17`` is fifteen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.yaml_problems import yaml_problem

Path = tuple[str | int, ...]
"""Where a value is in the file: keys and indexes from the root."""
_MAX_NODES = 100_000
"""Aliases are expanded; a file that grows beyond this is an accident or an attack."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}


# https://yaml.org/spec/1.2.2/#103-core-schema, and the merge key, as in ruamel's loader
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    for _char in [*_first.replace("\0", ""), *([""] if "\0" in _first else [])]:
        _Loader.yaml_implicit_resolvers.setdefault(_char, []).append(
            (f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"))
        )


@dataclass(frozen=True)
class Problem:
    """A problem at ``path``; ``line`` is set if the path alone does not determine it (duplicate keys)."""

    path: Path
    message: str
    hint: str | None = None
    line: int | None = None


@dataclass
class Document:
    """A parsed file: its values and their positions.

    :ivar name: the file's name, for messages.
    :ivar data: mappings with string keys, lists, and scalars.
    """

    name: str
    data: Any
    problems: list[Problem] = field(default_factory=list)
    _keys: dict[Path, int] = field(default_factory=dict)
    _values: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Sequence[str | int]) -> int | None:
        """Line (from 1) of the key or list item at ``path``, or of the nearest enclosing one that exists."""
        at = tuple(path)
        while True:
            if at in self._keys:
                return self._keys[at]
            if not at:
                return self._values.get(at)
            at = at[:-1]

    def where(self, path: Sequence[str | int], line: int | None = None) -> str:
        """``file:line: YAML.path`` of ``path``."""
        number = line or self.line(path)
        text = f"{self.name}:{number}" if number else self.name
        return ": ".join(part for part in (text, dotted(path)) if part)


def dotted(path: Sequence[str | int]) -> str:
    """``('workflows', 'a', 'bindings', 0, 'step')`` -> ``workflows.a.bindings[0].step``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def parse(text: str, name: str) -> Document:
    """Parse YAML ``text``; ``name`` is the file's name for messages.

    Duplicate keys, keys that are not strings and unknown tags become ``problems`` of the document.

    :raises ConfigError: the text is not YAML, or has several documents.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"not valid YAML: {yaml_problem(e)}", where=where, hint=_syntax_hint(text, mark)) from None
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        raise ConfigError(
            f"not valid YAML: the character {chr(e.character)!r} is not allowed", where=f"{name}:{line}"
        ) from None
    document = Document(name, None)
    if root is not None:
        document._values[()] = root.start_mark.line + 1
        document.data = _DocumentBuilder(document).build(root, ())
    return document


def _syntax_hint(text: str, mark: Any) -> str | None:
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return None
    line = lines[mark.line]
    if line[: len(line) - len(line.lstrip())].count("\t"):
        return "indent with spaces: YAML does not allow tabs"
    return f"the line reads: {line.strip()}" if line.strip() else None


class _DocumentBuilder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: set[int] = set()

    def problem(self, path: Path, node: Any, message: str, hint: str | None = None) -> None:
        self.document.problems.append(Problem(path, message, hint, node.start_mark.line + 1))

    def build(self, node: Any, path: Path) -> Any:
        self.count += 1
        if self.count > _MAX_NODES or id(node) in self.open:
            reason = "refers to itself" if id(node) in self.open else "has too many values"
            raise ConfigError(f"the file {reason} by its aliases", where=self.document.where(path))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.add(id(node))
        value = self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)
        self.open.discard(id(node))
        return value

    def sequence(self, node: Any, path: Path) -> list[Any]:
        self.check_tag(node, path, "seq")
        items = []
        for index, item in enumerate(node.value):
            self.document._keys[(*path, index)] = item.start_mark.line + 1
            items.append(self.build(item, (*path, index)))
        return items

    def mapping(self, node: Any, path: Path) -> dict[str, Any]:
        self.check_tag(node, path, "map")
        merged: dict[str, Any] = {}
        written: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if not isinstance(source, yaml.MappingNode):
                        self.problem(path, key_node, "`<<` takes a mapping, or a list of mappings")
                        continue
                    merged = {**self.build(source, path), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(path, key_node, "a key must be a string")
                continue
            key = key_node.value
            is_exit_code = path[-2:] == ("on", "exit") and key_node.tag == "tag:yaml.org,2002:int"
            if key_node.tag != "tag:yaml.org,2002:str" and not is_exit_code:
                self.problem((*path, key), key_node, f"the key {key} is not a string", f'put it in quotes: "{key}"')
            if key in first:
                self.problem((*path, key), key_node, f"the key `{key}` occurs twice (first in line {first[key]})")
            first.setdefault(key, key_node.start_mark.line + 1)
            self.document._keys[(*path, key)] = key_node.start_mark.line + 1
            written[key] = self.build(value_node, (*path, key))
        return {**merged, **written}

    def check_tag(self, node: Any, path: Path, tag: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{tag}":
            self.problem(path, node, f"the YAML tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not known here")

    def scalar(self, node: Any, path: Path) -> Any:
        text: str = node.value
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        try:
            if tag in ("str", "merge"):
                return text
            if tag == "null":
                return None
            if tag == "bool":
                return {"true": True, "false": False}[text.lower()]
            if tag == "int":
                return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
            if tag == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (KeyError, ValueError):
            self.problem(path, node, f"{text!r} is not a {tag}")
            return None
        self.problem(path, node, f"the YAML tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not known here")
        return text
