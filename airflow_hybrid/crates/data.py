# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL values as a crate describes them: files, folders, and other values of parameters.

A File is one entity wherever it is: copies with the same name and checksum are the same file. So what one job made and
another one used is seen to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_hybrid.crates.enclosed import Enclosed
from airflow_hybrid.crates.entities import Entities, Properties, reference, references
from airflow_hybrid.model.values import JsonValue, percent_decoded
from airflow_hybrid.model.walking import location_of, map_files
from airflow_hybrid.printable import redacted

CHECKSUM = "sha1$"
_SHORTEST_TEXT = 10_000


class Data:
    """Adds values to a crate.

    :param enclosed: the files of which the crate has a copy.
    """

    def __init__(self, entities: Entities, enclosed: Enclosed) -> None:
        self._entities = entities
        self._enclosed = enclosed
        self._files: dict[tuple[Any, ...], str] = {}
        self._values: dict[tuple[str, str], str] = {}
        self._collections: dict[tuple[str, frozenset[str]], str] = {}

    def values(self, values: Mapping[str, JsonValue], parameters: Mapping[str, str]) -> Iterator[str]:
        """Add the values of ports.

        :param parameters: name of a port -> id of its parameter; ports without one, and those without a value, are left
            out.
        :returns: ids of the entities that stand for them.
        """
        for name, value in values.items():
            if value is not None and name in parameters:
                yield self._value(value, name, parameters[name])

    def _value(self, value: JsonValue, name: str, parameter: str) -> str:
        if isinstance(value, Mapping) and value.get("class") in ("File", "Directory"):
            identifier = self.file(value)
            self._is_example(identifier, parameter)
            return identifier
        described = self._described(value, name)
        key = (parameter, json.dumps(described, sort_keys=True, default=str))
        if key not in self._values:
            properties = {"name": name, "value": described, "exampleOfWork": [reference(parameter)]}
            self._values[key] = self._entities.add(self._entities.number("value"), "PropertyValue", properties)
        return self._values[key]

    def _is_example(self, identifier: str, parameter: str) -> None:
        entity = self._entities.all[identifier]
        if reference(parameter) not in entity.get("exampleOfWork", []):
            self._entities.link(identifier, "exampleOfWork", parameter)

    def _described(self, value: JsonValue, name: str) -> JsonValue:
        """A value as the value of a property: files as references, the fields of a record as properties."""
        if isinstance(value, Mapping):
            if value.get("class") in ("File", "Directory"):
                return reference(self.file(value))
            fields = []
            for key, field in value.items():
                if field is not None:
                    described = {"name": str(key), "value": self._described(field, f"{name}/{key}")}
                    fields.append(self._entities.add(self._entities.number("field"), "PropertyValue", described))
            return [reference(field) for field in fields]
        if isinstance(value, list):
            described_items = [self._described(item, name) for item in value if item is not None]
            if any(isinstance(item, list) for item in described_items):  # JSON-LD has no lists of lists
                return json.dumps(map_files(_plain_file, value), ensure_ascii=False)
            return described_items
        return str(value)

    # --- files and folders ---------------------------------------------------------------------------------------

    def file(self, file: Mapping[str, Any]) -> str:
        """Add a File or Directory; -> its id, or that of the collection of it and its secondary files."""
        identifier = self._alone(file)
        secondaries = [item for item in file.get("secondaryFiles") or [] if isinstance(item, Mapping)]
        if not secondaries:
            return identifier
        return self._collection(identifier, [self.file(secondary) for secondary in secondaries])

    def renewed(self, before: str, now: str, size: int | None, checksum: str) -> str:
        """Add a file or folder that has taken the place of one that was lost; -> its id.

        A file with the same name and content is the same one, which is now elsewhere.
        """
        is_folder = f"{redacted(before).rstrip('/')}/" in self._entities.all
        name = percent_decoded(now.rstrip("/").rpartition("/")[2])
        kind = "Directory" if is_folder else "File"
        return self.file({"class": kind, "location": now, "basename": name, "size": size, "checksum": checksum})

    def _collection(self, main: str, others: list[str]) -> str:
        """A file and its secondary files: the same file with others is another collection."""
        key = main, frozenset(others)
        if key not in self._collections:
            identifier = self._entities.distinct(f"#collection-of-{main.lstrip('#')}")
            properties = {"mainEntity": reference(main), "hasPart": references(dict.fromkeys([main, *others]))}
            self._collections[key] = self._entities.add(identifier, "Collection", properties)
        return self._collections[key]

    def _alone(self, file: Mapping[str, Any]) -> str:
        location = redacted(str(location_of(file) or ""))
        key = _identity(file, location)
        if key not in self._files:
            self._files[key] = self._new(file, location)
        else:
            if location:
                self._also_at(self._files[key], location)
            if file["class"] == "Directory":
                self._also_holds(self._files[key], file)
        return self._files[key]

    def _also_at(self, identifier: str, location: str) -> None:
        entity = self._entities.all[identifier]
        known = entity.setdefault("contentUrl", [])
        if location != identifier and ":" in location and location not in known and len(known) < 8:
            known.append(location)
        if not known:
            del entity["contentUrl"]

    def _also_holds(self, identifier: str, file: Mapping[str, Any]) -> None:
        """One value of a folder may list what another one does not: a tool's loadListing makes listings."""
        known = {part["@id"] for part in self._entities.all[identifier].get("hasPart", [])}
        for member in dict.fromkeys(self._members(file)):
            if member not in known:
                self._entities.link(identifier, "hasPart", member)

    def _new(self, file: Mapping[str, Any], location: str) -> str:
        is_folder = file["class"] == "Directory"
        name = str(file.get("basename") or percent_decoded(location.rstrip("/").rpartition("/")[2]))
        properties: Properties = {"name": name}
        copy = None if is_folder else self._enclosed.name_of(file)
        if copy is not None:
            properties["alternateName"] = name
            properties["contentUrl"] = [location] if ":" in location else None
        identifier = copy or location
        if copy is None and not _is_place(location):  # a value only, which is nowhere
            identifier = self._entities.number("literal")
        if is_folder:
            return self._folder(file, identifier.rstrip("/") + "/", properties)
        checksum, size = str(file.get("checksum") or ""), file.get("size")
        properties["sha1"] = checksum.removeprefix(CHECKSUM) if checksum.startswith(CHECKSUM) else None
        properties["contentSize"] = None if size is None else str(size)
        contents = file.get("contents")
        properties["text"] = contents if isinstance(contents, str) and len(contents) < _SHORTEST_TEXT else None
        properties["encodingFormat"] = file.get("format")
        if identifier.startswith("#"):
            return self._entities.add(identifier, "CreativeWork", properties)
        self._entities.data[identifier] = None
        return self._entities.add(identifier, "File", properties)

    def _folder(self, file: Mapping[str, Any], identifier: str, properties: Properties) -> str:
        properties["hasPart"] = references(self._members(file))
        if not identifier.startswith("#"):
            self._entities.data[identifier] = None
        return self._entities.add(identifier, "Dataset", properties)

    def _members(self, folder: Mapping[str, Any]) -> list[str]:
        return [self.file(member) for member in folder.get("listing") or [] if isinstance(member, Mapping)]


def _identity(file: Mapping[str, Any], location: str) -> tuple[Any, ...]:
    checksum = file.get("checksum")
    if checksum and file["class"] == "File":
        return str(checksum), file.get("size"), file.get("basename") or location.rpartition("/")[2]
    return (location or id(file),)


def _is_place(location: str) -> bool:
    """Whether a location can be an id: an absolute path or a URL. A relative one may be the id of another entity."""
    try:
        return location.startswith("/") or urlsplit(location).scheme not in ("", "_")
    except ValueError:
        return False


def _plain_file(file: dict[str, Any]) -> JsonValue:
    return redacted(str(location_of(file) or file.get("basename") or ""))
