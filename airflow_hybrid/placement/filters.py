# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""StreamFlow's binding filters ``shuffle`` and ``matching``: a job's possible targets and their order. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Target


def allowed(
    filters: Sequence[Mapping[str, Any]], targets: Sequence[Target], inputs: Mapping[str, Any], seed: str
) -> list[int]:
    """Indexes of the targets that the filters leave for a job, in the filters' order.

    :param filters: ``{name, type, config}`` each; applied one after the other.
    :param inputs: the job's input object, by port.
    :param seed: of a shuffle, so that the same job always gets the same order.
    :raises ConfigError: no target is left, or a filter does not fit the job's inputs.
    """
    left = list(range(len(targets)))
    for entry in filters:
        if entry["type"] == "shuffle":
            random.Random(f"{seed} {entry.get('name')}").shuffle(left)
            continue
        rules = list(_rules(entry.get("config") or {}))
        left = [index for index in left if any(_fits(rule, targets[index], inputs, entry) for rule in rules)]
        if not left:
            names = ", ".join(_title(target) for target in targets)
            ports = sorted({condition["port"] for _, _, conditions in rules for condition in conditions})
            values = ", ".join(f"{port} = {_plain(inputs.get(port))!r}" for port in ports)
            raise ConfigError(
                f"the binding filter `{entry.get('name')}` leaves no target for a job with {values} (of {names})",
                hint="add a rule for it, or one with `job: []`, which takes every job",
            )
    return left


Rule = tuple[str, str | None, list[dict[str, Any]]]
"""deployment, service (None: any), conditions that must all be true"""


def _rules(config: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules of StreamFlow 0.2 (``filters``: target, job with port and match) and of its later ``match``."""
    for rule in config.get("filters") or ():
        target = rule["target"]
        if isinstance(target, str):
            target = {"deployment": target}
        yield target["deployment"], target.get("service"), list(rule.get("job") or ())
    for rule in config.get("match") or ():
        conditions = [{"port": job["input"], "start": job["regex"]} for job in rule.get("job") or ()]
        yield rule["deployment"], rule.get("service"), conditions


def _fits(rule: Rule, target: Target, inputs: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    deployment, service, conditions = rule
    if target.deployment != deployment or (service is not None and target.service != service):
        return False
    return all(_holds(condition, inputs, entry) for condition in conditions)


def _holds(condition: Mapping[str, Any], inputs: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    port = condition["port"]
    where = f"binding filter `{entry.get('name')}`"
    if port not in inputs:
        raise ConfigError(
            f"the step has no input `{port}`", where=where, hint=f"it has: {', '.join(sorted(inputs)) or 'none'}"
        )
    value = inputs[port]
    if isinstance(value, (list, dict)) and not (
        isinstance(value, dict) and value.get("class") in ("File", "Directory")
    ):
        raise ConfigError(f"the input `{port}` is an array or a record; rules cannot match these", where=where)
    return all(
        test(value, condition[key], where, port) for key, test in _TESTS.items() if condition.get(key) is not None
    )


def _plain(value: Any) -> Any:
    """The text that rules compare: a file's name, or the value."""
    return value.get("basename") if isinstance(value, dict) else value


def _texts(value: Any) -> set[str]:
    """A value as text: true is `true` as in CWL, and `True` as in StreamFlow."""
    plain = _plain(value)
    if isinstance(plain, bool):
        return {str(plain), str(plain).lower()}
    return {"null", "None"} if plain is None else {str(plain)}


def _number(value: Any, where: str, port: str) -> float | None:
    """The number that ranges compare: a file's size, or the value."""
    number = value.get("size") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, (int, float, type(None))):
        raise ConfigError(f"the input `{port}` is {number!r}, which `min` and `max` cannot compare", where=where)
    return number


def _at_least(value: Any, limit: float, where: str, port: str) -> bool:
    number = _number(value, where, port)
    return number is not None and number >= limit


def _at_most(value: Any, limit: float, where: str, port: str) -> bool:
    number = _number(value, where, port)
    return number is not None and number <= limit


_TESTS: Mapping[str, Callable[[Any, Any, str, str], bool]] = {
    "match": lambda value, text, where, port: str(text) in _texts(value),
    "regex": lambda value, pattern, where, port: any(re.fullmatch(pattern, text) for text in _texts(value)),
    "start": lambda value, pattern, where, port: any(re.match(pattern, text) for text in _texts(value)),
    "min": _at_least,
    "max": _at_most,
}
"""condition -> its test; ``start`` is StreamFlow's regex, which need not match to the end"""


def _title(target: Target) -> str:
    return f"{target.deployment}/{target.service}" if target.service else target.deployment
