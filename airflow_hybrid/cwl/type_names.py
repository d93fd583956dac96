# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL types in words. Pure."""

from __future__ import annotations

from airflow_hybrid.model import JsonValue


def describe(kind: JsonValue) -> str:
    """A CWL type in words: ``File``, ``int or null``, ``array of string``, ``one of a, b``."""
    if isinstance(kind, list):
        names = [describe(item) for item in kind if item != "null"]
        return " or ".join(names + (["null"] if "null" in kind else []))
    if isinstance(kind, dict):
        if kind["type"] == "array":
            return f"array of {describe(kind['items'])}"
        if kind["type"] == "enum":
            return f"one of {', '.join(kind['symbols'])}"
        if kind["type"] == "record":
            return f"record of {', '.join(field['name'] for field in kind['fields'])}"
        return describe(kind["type"])
    return str(kind)
