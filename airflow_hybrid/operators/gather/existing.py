# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What may become of outputs under whose names something is. Whoever parses a DAG file imports this."""

from __future__ import annotations

RENAME, FAIL, REPLACE = "rename", "fail", "replace"
EXISTING = (RENAME, FAIL, REPLACE)
"""What becomes of an output under whose name there is something that this run did not make. Nothing of others is ever
replaced, and no input of the run: ``rename`` gives it the next free name (``name_2``), ``fail`` is an error;
``replace`` renames, too, but replaces outputs of earlier runs that are as they were left."""
