# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Policies by name: built-in ones and those of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_hybrid import placement
from airflow_hybrid.errors import ConfigError, HybridError

POLICY_GROUP = "airflow_hybrid.policies"


def find_policy(name: str, config: Mapping[str, Any]) -> placement.Policy:
    """A policy by its type: built in, or from an entry point.

    :param config: its arguments, as in ``scheduling.policies.<name>.config``.
    :raises ConfigError: there is no such policy, or it does not take these arguments.
    """
    kind: Any = placement.POLICIES.get(name)
    if kind is None:
        points = list(entry_points(group=POLICY_GROUP, name=name))
        if not points:
            known = ", ".join([*placement.POLICIES, *sorted(e.name for e in entry_points(group=POLICY_GROUP))])
            raise ConfigError(f"there is no policy {name!r}", hint=f"there are: {known}")
        kind = points[0].load()
    try:
        policy = kind(**config)
    except HybridError:
        raise
    except Exception as error:
        raise ConfigError(f"the policy {name!r} cannot be created with {dict(config)!r}: {error}") from None
    if not isinstance(policy, placement.Policy):
        raise ConfigError(f"the policy {name!r} is not a subclass of airflow_hybrid.placement.Policy")
    return policy
