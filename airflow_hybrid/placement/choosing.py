# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Capacity first, then the policy."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model import Resources
from airflow_hybrid.placement.candidates import Candidate, Choice
from airflow_hybrid.placement.policies import DEFAULT_POLICY, POLICIES, Candidates, Policy


def choose(
    candidates: Sequence[Candidate], resources: Resources | None = None, policy: Policy | str | None = None
) -> Choice:
    """Pick one of ``candidates``, which are in the order of the binding's targets.

    :param resources: what the job asks for.
    :param policy: one, or the name of one in :data:`POLICIES`; default ``data_locality``.
    :raises ConfigError: no candidate, none that could ever hold the job, no such policy, or one that does not work.
    """
    needs = resources or Resources()
    if not isinstance(policy, Policy):
        kind = POLICIES.get(policy or DEFAULT_POLICY)
        if kind is None:
            raise ConfigError(f"there is no policy {policy!r}", hint=f"there are: {', '.join(POLICIES)}")
        policy = kind()
    if not candidates:
        raise ConfigError("the binding has no location")
    able = [(index, c) for index, c in enumerate(candidates) if c.can_hold(needs)]
    if not able:
        raise ConfigError(
            f"no location can hold a job of {counted(needs.all_cores, 'core')} and {needs.ram_mib} MiB: "
            + ", ".join(f"{c.title} has {_has(c)}" for c in candidates)
        )
    ready = [(index, c) for index, c in able if c.has_room(needs)]
    choice = _chosen(policy, ready or able, needs)
    if not ready:
        return Choice(choice.index, f"all are busy; {choice.reason}")
    full = [c.title for _, c in able if c.max_jobs is not None and c.jobs >= c.max_jobs]
    return Choice(choice.index, choice.reason + (f"; full: {', '.join(full)}" if full else ""))


def _chosen(policy: Policy, candidates: Candidates, resources: Resources) -> Choice:
    """What the policy, which may be of another package, chooses.

    :raises ConfigError: it fails, or gives what is no choice among the candidates.
    """
    name = f"the policy {type(policy).__module__}.{type(policy).__qualname__}"
    try:
        choice = policy.choose(candidates, resources)
    except HybridError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{name} failed: {type(error).__name__}: {error}",
            where=f"{frame.filename}:{frame.lineno}",
            hint="docs/how-to/placement.md says what a policy is given",
        ) from error
    if not isinstance(choice, Choice) or choice.index not in dict(candidates):
        raise ConfigError(f"{name} chose {choice!r}, which is not one of its candidates")
    return choice


def _has(candidate: Candidate) -> str:
    cores = "an unknown number of cores" if candidate.cores is None else counted(candidate.cores, "core")
    memory = "" if candidate.memory_mib is None else f" and {candidate.memory_mib} MiB"
    return f"{cores}{memory}"
