# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of ``airflow_hybrid/model``: names of images and locations."""

from __future__ import annotations

from scripts.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "images: a name is one by the grammar of registries",
        "model/image_names.py",
        "if len(name) > MAX_NAME or not grammar.fullmatch(rest):",
        "if len(name) > MAX_NAME:",
        "tests/security/documents/test_images.py",
    ),
    Mutant(
        "locations: a path that is not normal is refused",
        "model/locations.py",
        'if path != "/" and (path.startswith("//") or posixpath.normpath(path) != path.rstrip("/")):',
        "if False:",
        "tests/security/values/test_locations.py",
    ),
    Mutant(
        "locations: a file has no query that could hide what it is",
        "model/locations.py",
        'if "?" in rest or "#" in rest:',
        "if False:",
        "tests/security/values/test_locations.py",
    ),
)
