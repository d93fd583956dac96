# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Choose a job's location among those that its binding allows. Pure: values in, a choice and its reason out.

In order: the binding's filters, then capacity (a location that can never hold the job is left out, one with free
capacity takes precedence over a busy one), then the policy.
"""

from airflow_hybrid.placement.candidates import NOMINAL_BYTES_PER_S, Candidate, Choice
from airflow_hybrid.placement.choosing import choose
from airflow_hybrid.placement.filters import allowed
from airflow_hybrid.placement.policies import DEFAULT_POLICY, LOAD, POLICIES, WAIT, Policy

__all__ = [
    "DEFAULT_POLICY",
    "LOAD",
    "NOMINAL_BYTES_PER_S",
    "POLICIES",
    "WAIT",
    "Candidate",
    "Choice",
    "Policy",
    "allowed",
    "choose",
]
