# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Input object files (CWL v1.2 "job files"): the default inputs that a hybrid file names as ``settings``.

They are read at every parse of a DAG file, so they are kept in the compile cache.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from pathlib import Path
from typing import Any

from airflow_hybrid.cwl.documents import cache
from airflow_hybrid.cwl.documents.yaml_bounds import refuse_unbounded
from airflow_hybrid.cwl.messages import TOO_DEEP
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, not_json, percent_encoded
from airflow_hybrid.model.locations import is_uri
from airflow_hybrid.model.templates import is_template
from airflow_hybrid.model.walking import map_files


def load_inputs(path: str, *, base: str | None = None, cache_dir: Path | None = None) -> CwlObject:
    """The input object in a YAML or JSON file; relative paths and locations in it are resolved against its folder.

    :param base: another folder to resolve against.
    :raises InputError: no such file, not YAML, or not an object; with line and column.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the inputs file: {error.strerror}", where=path) from error
    folder = base or posixpath.dirname(posixpath.abspath(path))
    entry = (cache_dir or cache.default_directory()) / "input-objects" / f"{_key(content, folder)}.json"
    try:
        stored: CwlObject = json.loads(entry.read_bytes())
        return stored
    except (OSError, ValueError):
        pass  # not cached yet, or not readable: read the file itself
    resolved = resolve_paths(parse_inputs(content, path), folder)
    cache.write_entry(entry, resolved)
    return resolved


def resolve_paths(value: CwlObject, folder: str) -> CwlObject:
    """A copy in which Files and Directories have absolute locations; relative ones start at ``folder``."""
    resolved: CwlObject = map_files(lambda item: _resolved(item, folder), value)
    return resolved


def _key(content: bytes, folder: str) -> str:
    return hashlib.sha256(folder.encode() + b"\0" + content).hexdigest()


def parse_inputs(content: bytes, where: str) -> CwlObject:
    """The input object in JSON or YAML text, unchanged.

    JSON is read as JSON: YAML would read JSON's surrogate pairs as two characters each.

    :param where: file name, for messages.
    :raises InputError: not YAML, not an object, or a value that JSON cannot hold.
    """
    try:
        try:
            value = json.loads(content)
        except ValueError:
            refuse_unbounded(content.decode(errors="replace"), where)
            value = _yaml(content, where)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InputError("an inputs file must contain an object: input name -> value", where=where)
        inputs = {key: _plain(item) for key, item in value.items()}
    except RecursionError as error:
        raise InputError(TOO_DEEP, where=where) from error
    for name, item in inputs.items():
        if problem := not_json(item):
            raise InputError(f"input {name!r} holds {problem}", where=where)
    return inputs


def _yaml(content: bytes, where: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    class Constructor(SafeConstructor):
        """Times stay as they were written, as in cwltool: a tool gets the text that its user sees."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", Constructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        return yaml.load(content.decode("utf-8-sig"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        position = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise InputError(f"not YAML: {error.problem}", where=position) from error
    except (YAMLError, ValueError) as error:  # ValueError: an invalid date or number; not UTF-8
        raise InputError(f"not YAML: {error}", where=where) from error


def _plain(value: Any) -> JsonValue:
    """Names that YAML reads as numbers and the like as text, as in JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    plain: JsonValue = value
    return plain


def _resolved(file: CwlObject, folder: str) -> CwlObject:
    """A File or Directory whose location is absolute; templates are as they were: who renders them resolves them."""
    location, path = file.get("location"), file.get("path")
    if is_template(path) or is_template(location):
        return file
    if isinstance(path, str) and "location" not in file:
        del file["path"]
        file["location"] = path if is_uri(path) else _uri(path, folder)
    elif isinstance(location, str) and not is_uri(location) and not location.startswith("_:"):
        # a relative URI reference: already percent-encoded
        file["location"] = f"file://{posixpath.normpath(posixpath.join(percent_encoded(folder), location))}"
    return file


def _uri(path: str, folder: str) -> str:
    return "file://" + percent_encoded(posixpath.normpath(posixpath.join(folder, path)))
