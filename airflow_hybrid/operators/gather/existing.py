# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What to do with outputs whose names are taken. Imported whenever a DAG file is parsed."""

from __future__ import annotations

RENAME, FAIL, REPLACE = "rename", "fail", "replace"
EXISTING = (RENAME, FAIL, REPLACE)
"""What to do with an output if something that this run did not make has its name. Other people's files and the run's
inputs are never replaced: ``rename`` gives the output the next free name (``name_2``), ``fail`` is an error;
``replace`` also renames, but replaces unchanged outputs of earlier runs."""
