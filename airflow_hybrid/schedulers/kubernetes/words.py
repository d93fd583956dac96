# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Text of ours in manifests: what YAML and Kubernetes would read in it, they must not. Pure.

A value that is put into the text of a template would be read by YAML (quotes, `#`, line breaks). So a word that nothing
reads stands in its place until YAML has been read. Kubernetes itself expands ``$(NAME)`` in a container's ``command``,
``args`` and values of ``env``, and makes ``$`` of ``$$``.

Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_hybrid.model import JsonValue

_STANDS_FOR = "airflow-hybrid-word-"
_WORD = re.compile(rf"{_STANDS_FOR}(\d+)-")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_EXPANDED = ("command", "args")


def literal(text: str) -> str:
    """Text as ``command``, ``args`` and ``env`` have to hold it, so that a container gets the text itself."""
    return text.replace("$", "$$")


class Words:
    """Values of a template's expressions, and the words that stand in their places.

    :param values: an expression that is just one of these is kept out of YAML's hands.
    """

    def __init__(self, values: Sequence[str]) -> None:
        self._values = tuple(dict.fromkeys(values))

    def stand_in(self, value: object) -> object:
        """What is put into the template's text for the value of an expression."""
        if isinstance(value, str) and value in self._values:
            return f"{_STANDS_FOR}{self._values.index(value)}-"
        return value

    def in_manifest(self, manifest: JsonValue) -> JsonValue:
        """A manifest with the values in the places of their words."""
        if isinstance(manifest, str):
            return self._put(manifest)
        if isinstance(manifest, list):
            return [self.in_manifest(entry) for entry in manifest]
        if not isinstance(manifest, dict):
            return manifest
        filled: dict[str, JsonValue] = {}
        for key, value in manifest.items():
            if key in _CONTAINERS and isinstance(value, list):
                filled[key] = [self._in_container(container) for container in value]
            else:
                filled[self._put(key) if isinstance(key, str) else key] = self.in_manifest(value)
        return filled

    def _in_container(self, container: JsonValue) -> JsonValue:
        if not isinstance(container, dict):
            return self.in_manifest(container)
        filled: dict[str, JsonValue] = {}
        for key, value in container.items():
            if key in _EXPANDED and isinstance(value, list):
                filled[key] = [self._put_literally(word) for word in value]
            elif key == "env" and isinstance(value, list):
                filled[key] = [self._in_variable(variable) for variable in value]
            else:
                filled[key] = self.in_manifest(value)
        return filled

    def _in_variable(self, variable: JsonValue) -> JsonValue:
        if not isinstance(variable, dict) or "value" not in variable:
            return self.in_manifest(variable)
        return {**variable, "value": self._put_literally(variable["value"])}

    def _put(self, text: str) -> str:
        return _WORD.sub(lambda match: self._values[int(match[1])], text)

    def _put_literally(self, text: JsonValue) -> JsonValue:
        if not isinstance(text, str):
            return text
        return _WORD.sub(lambda match: literal(self._values[int(match[1])]), text)
