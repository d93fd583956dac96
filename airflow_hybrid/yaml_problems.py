# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a YAML parser says is wrong with a text, for a message. Pure."""

from __future__ import annotations

from typing import Any


def yaml_problem(error: Any) -> str:
    """The parser's words: the problem, and what was read when it was found.

    :param error: a ``MarkedYAMLError`` of PyYAML or ruamel.yaml. Its words are in two parts, and sometimes the problem
        ends the sentence that the context begins ("expected ..., but found ...").
    """
    problem = str(error.problem or error)
    if not error.context:
        return problem
    if problem.startswith("but "):
        return f"{error.context}, {problem}"
    return f"{problem} ({error.context})"


def placed_yaml_problem(error: Any) -> str:
    """:func:`yaml_problem` after its line and column, for a text that has no name. Any error of the parser will do."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {yaml_problem(error)}"
