# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The rules that are broken: a table for each room of the package."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant
from scripts.mutants.rules import cwl, engine, model, operators, removal, schedulers, sites

MUTANTS: tuple[Mutant, ...] = (
    *cwl.MUTANTS,
    *operators.MUTANTS,
    *engine.MUTANTS,
    *sites.MUTANTS,
    *schedulers.MUTANTS,
    *model.MUTANTS,
    *removal.MUTANTS,
)
