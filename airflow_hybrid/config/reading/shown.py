# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A hybrid file as text for the documentation of its DAGs, without what could be a secret.

Secrets do not belong into a hybrid file, but its text may have them: an environment, a value of a chart, a URL. Who
sees a DAG is not always who may read the file. So rather too much is left out: comments, whole environments, what is
assigned to a name (``NAME=value``) or given to a program's option, values of charts, commands, and everything of
connectors that are not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from airflow_hybrid.amounts import counted
from airflow_hybrid.config.connectors import SUPPORTED_TYPES
from airflow_hybrid.printable import HIDDEN, printable_lines, redacted

MOST_CHARACTERS = 16_000
_SECRET_NAME = re.compile(
    r"(?i)pass|pwd|\bpw\b|secret|token|credential|private|api_?key|access_?key|auth|\bpat\b|sas\b"
)
_FREE = re.compile(r"(?i)^(env.*|environment|command|args|arguments|.*values|setjson|setliteral|labels?|buildargs?)$")
"""keys that hold whatever their author writes"""
_DEPLOYMENTS = ("deployments", "models")
_ASSIGNED = re.compile(r"([\w.-]+)=(\"[^\"]*\"|'[^']*'|[^\s,;]+)")
"""``NAME=value`` in a text, as in options of programs: names of variables do not tell which are secret"""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def shown(data: Mapping[str, Any]) -> str:
    """The text of a valid hybrid file.

    :param data: the file's values, as YAML has them.
    """
    kept = {key: _without_unknown(value) if key in _DEPLOYMENTS and value else value for key, value in data.items()}
    text = yaml.dump(_without_secrets(kept), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    text = printable_lines(text)
    if len(text) > MOST_CHARACTERS:
        end = text.rfind("\n", 0, MOST_CHARACTERS) + 1
        text = f"{text[:end]}# {counted(text.count(chr(10), end), 'more line')}\n"
    return text


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [HIDDEN if _is_argument(value, at) else _without_secrets(item) for at, item in enumerate(value)]
    if isinstance(value, str):
        return redacted(_ASSIGNED.sub(rf"\1={HIDDEN}", value))
    if not isinstance(value, Mapping):
        return value
    return {key: HIDDEN if _is_hidden(key, item) else _without_secrets(item) for key, item in value.items()}


def _without_unknown(deployments: Mapping[str, Any]) -> dict[str, Any]:
    """Deployments without the options of connectors of other packages: nobody here knows which of them are secret."""
    return {
        name: deployment if deployment["type"] in SUPPORTED_TYPES else {**deployment, "config": HIDDEN}
        for name, deployment in deployments.items()
    }


def _is_hidden(key: str, value: Any) -> bool:
    is_empty = value is None or isinstance(value, bool) or value in ({}, [], "")
    return not is_empty and bool(_SECRET_NAME.search(key) or _FREE.match(key))


def _is_argument(items: list[Any], at: int) -> bool:
    """Whether an item of a list is what a program's option before it is given: ``[--password, this]``."""
    before = items[at - 1] if at else None
    return isinstance(before, str) and before.startswith("-") and not str(items[at]).startswith("-")
