# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which values are Jinja templates, and what becomes of those in an input object when they are rendered.

The author of a hybrid file writes templates; what a run is given by its conf is never one.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_hybrid.model.values import CwlObject, JsonValue
from airflow_hybrid.printable import shortened

if TYPE_CHECKING:
    import jinja2

_BEGINNINGS = ("{{", "{%", "{#")
_EXTENSIONS = ("jinja2.ext.debug", "jinja2.ext.do", "jinja2.ext.i18n", "jinja2.ext.loopcontrols")
_TEXT_TYPES = ("string", "Any")
_FILES = ("File", "Directory", "null")
"""types of what a text names by its path, even if it looks like a number"""

Render = Callable[[str], str | None]
"""from a template to its text; None: it is nothing but an expression whose value is None"""


def is_template(value: object) -> bool:
    """Whether a value is a text that Jinja would change.

    >>> is_template("{{ ds }}.csv"), is_template("plain")
    (True, False)
    """
    return isinstance(value, str) and any(beginning in value for beginning in _BEGINNINGS)


def holds_template(value: JsonValue) -> bool:
    """Whether a text somewhere in a value is a template; names of an object's members never are."""
    return next(_templates_in(value), None) is not None


def _templates_in(value: JsonValue) -> Iterator[str]:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            pending.extend(current.values())
        elif isinstance(current, list | tuple):
            pending.extend(current)
        elif is_template(current):
            yield current


def syntax_problem(value: JsonValue, environment: jinja2.Environment | None = None) -> str | None:
    """What is wrong with a template somewhere in a value, as text; None: each can be read.

    :param environment: of the DAG; None: the DAG is not known. Then tags of Jinja's own extensions are known, too.
    """
    for template in _templates_in(value):
        import jinja2

        environment = environment or jinja2.Environment(autoescape=False, extensions=_EXTENSIONS)
        try:
            environment.parse(template)
        except jinja2.TemplateSyntaxError as error:
            return f"the template `{shortened(template, 200)}` is not valid Jinja2: {error.message}"
    return None


def rendered(kind: JsonValue, value: JsonValue, render: Render) -> JsonValue:
    """A value of an input with its templates rendered, and typed as the input is.

    Where the input's type has no text, the rendered text is read as JSON or as a Python literal: ``"{{ 3 }}"`` is 3 for
    an ``int``. What cannot be read stays a text, which the check of the inputs then names.

    :param kind: the type of the input (CWL v1.2, section 5.1); None: texts stay texts.
    """
    if isinstance(value, str):
        if not is_template(value):
            return value
        text = render(value)
        return None if text is None else _typed(kind, text)
    if isinstance(value, list):
        items = _items_of(kind)
        return [rendered(items, item, render) for item in value]
    if isinstance(value, Mapping):
        fields = {} if value.get("class") in ("File", "Directory") else _fields_of(kind)
        return {name: rendered(fields.get(name), item, render) for name, item in value.items()}
    return value


def rendered_inputs(types: Mapping[str, JsonValue], inputs: CwlObject, render: Render) -> CwlObject:
    """An input object with its templates rendered.

    :param types: of the inputs, by name; what has no type (``cwl:requirements``) is left as it is.
    """
    return {name: rendered(types[name], item, render) if name in types else item for name, item in inputs.items()}


def _typed(kind: JsonValue, text: str) -> JsonValue:
    alternatives = _alternatives(kind)
    if not alternatives or any(name in _TEXT_TYPES or _is_enum(name) for name in alternatives):
        return text
    for read in (json.loads, _python_literal):
        try:
            value: JsonValue = read(text.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, Mapping | list) or value is None or not set(_FILES).issuperset(alternatives):
            return value
    return text


def _python_literal(text: str) -> JsonValue:
    """What Jinja writes of a Python value, as JSON has it: a tuple is a list.

    :raises ValueError, TypeError: it is none that JSON has.
    """
    value: JsonValue = json.loads(json.dumps(ast.literal_eval(text)))
    return value


def _alternatives(kind: JsonValue) -> list[JsonValue]:
    alternatives = kind if isinstance(kind, list) else [kind]
    return [name for name in alternatives if name is not None]


def _is_enum(kind: JsonValue) -> bool:
    return isinstance(kind, Mapping) and kind.get("type") == "enum"


def _items_of(kind: JsonValue) -> JsonValue:
    """The type of the items of what is an array; of several arrays, all of their items'."""
    items: list[JsonValue] = []
    for alternative in _alternatives(kind):
        if isinstance(alternative, Mapping) and alternative.get("type") == "array":
            items += _alternatives(alternative["items"])
    return items or None


def _fields_of(kind: JsonValue) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {}
    for alternative in _alternatives(kind):
        if isinstance(alternative, Mapping) and alternative.get("type") == "record":
            for field in alternative["fields"]:
                fields[str(field["name"]).rsplit("#", 1)[-1].rsplit("/", 1)[-1]] = field["type"]
    return fields
