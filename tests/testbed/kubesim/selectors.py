# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which objects a list, a watch or a deletion of many is about.

After https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and field-selectors/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .objects import Key, Kind, KubeObject


@dataclass(frozen=True)
class Selection:
    """Objects of a kind.

    :ivar namespace: None: those of all.
    :ivar labels: a label selector; empty: any.
    :ivar fields: a field selector; empty: any.
    """

    kind: Kind
    namespace: str | None
    labels: str
    fields: str

    def matches(self, key: Key, value: KubeObject) -> bool:
        """Whether an object is one of them."""
        if key.kind is not self.kind or self.namespace not in (None, key.namespace):
            return False
        labels = value["metadata"].get("labels") or {}
        return all(_labels_match(term.strip(), labels) for term in _terms(self.labels)) and all(
            _field_matches(term, value) for term in self.fields.split(",") if term
        )


def _terms(selector: str) -> Iterator[str]:
    """Split at commas, except those inside parentheses."""
    depth, term = 0, ""
    for character in selector:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            if term:
                yield term
            term = ""
        else:
            term += character
    if term:
        yield term


def _labels_match(term: str, labels: Mapping[str, str]) -> bool:
    if " in (" in term:
        name, values = term.split(" in (", 1)
        return labels.get(name) in [value.strip() for value in values.rstrip(")").split(",")]
    if "!=" in term:
        name, value = term.split("!=", 1)
        return labels.get(name.strip()) != value.strip()
    if "=" in term:
        name, value = term.replace("==", "=").split("=", 1)
        return labels.get(name.strip()) == value.strip()
    if term.startswith("!"):
        return term[1:] not in labels
    return term in labels


def _field_matches(term: str, value: KubeObject) -> bool:
    path, wanted = term.replace("!=", "=").replace("==", "=").split("=", 1)
    found: Any = value
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    same = bool((found or "") == wanted)
    return same != ("!=" in term)
