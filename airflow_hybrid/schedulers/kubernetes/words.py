# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values in manifests that neither YAML nor Kubernetes may interpret. Pure.

YAML would interpret a value in the text of a template (quotes, `#`, line breaks). So a plain word replaces it until
YAML has been read. Kubernetes itself expands ``$(NAME)`` in a container's ``command``, ``args`` and values of ``env``,
and turns ``$$`` into ``$``.

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
    """Text escaped for ``command``, ``args`` and ``env``, so that a container gets it unchanged."""
    return text.replace("$", "$$")


class Words:
    """Values of a template's expressions, and the words that replace them.

    :param values: an expression with one of these values is replaced, so that YAML does not interpret it.
    """

    def __init__(self, values: Sequence[str]) -> None:
        self._values = tuple(dict.fromkeys(values))

    def stand_in(self, value: object) -> object:
        """The text that replaces the value of an expression in the template."""
        if isinstance(value, str) and value in self._values:
            return f"{_STANDS_FOR}{self._values.index(value)}-"
        return value

    def in_manifest(self, manifest: JsonValue) -> JsonValue:
        """A manifest in which the words are replaced by their values."""
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
