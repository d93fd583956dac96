# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the author of a DAG leaves to its runs: templates, rendered as Airflow renders those of a task, and what other
tasks return (``HybridDag(..., inputs={"threshold": task.output})``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath, XComArg
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from jinja2 import TemplateError

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.templates import Render, is_template
from airflow_hybrid.printable import shortened

if TYPE_CHECKING:
    from airflow.sdk import Context

Reference = Any
"""a value in which there are references to what tasks return (``XComArg``)"""
_NONE = "\ufdd0None\ufdd0"
"""stands for None in a rendered text; Unicode has this character for a program's own use"""
_HINT = (
    "`Templates reference` in Airflow's documentation lists what there is. A run without a logical date (triggered"
    " without one, or by an asset) has no `ds` and no data interval; `dag_run.run_after` is there in every run"
)


def renderer(context: Context) -> Render:
    """What renders a template for the task's DAG run.

    It raises InputError, with the template and why it cannot be rendered.
    """
    ti: Any = context["ti"]

    def render(template: str) -> str | None:
        try:
            # texts also where the DAG renders native objects: the type of the input decides what a text becomes
            environment = ti.task.dag.get_template_env(force_sandboxed=True).overlay(finalize=_marked)
            text: str = environment.from_string(template).render(context)
        except Exception as error:  # a template may call whatever Airflow offers, Variables and Connections too
            raise InputError(
                f"the template `{shortened(template, 200)}` cannot be rendered: {error}",
                hint=_HINT,
                # what Airflow was asked for may be there the next time
                retryable=not isinstance(error, TemplateError),
            ) from error
        return None if text.strip() == _NONE else text.replace(_NONE, "None")

    return render


def filled(template: str, render: Render) -> str:
    """A text with its templates rendered.

    :raises InputError: it cannot be rendered, or has no value.
    """
    if not is_template(template):
        return template
    text = render(template)
    if not text:
        raise InputError(f"the template `{shortened(template, 200)}` has no value")
    return text


def _marked(value: Any) -> Any:
    """What an expression in a template becomes in the text: None can be told from the text ``None``."""
    return _NONE if value is None else value


def references_in(inputs: Mapping[str, Any]) -> dict[str, Reference]:
    """The inputs that have a reference to a task's value somewhere in them; a task stands for what it returns."""
    found = {name: _with_outputs(value) for name, value in inputs.items()}
    return {name: value for name, value in found.items() if next(XComArg.iter_xcom_references(value), None) is not None}


def tasks_in_words(reference: Reference) -> str:
    """The tasks that a reference names: ``task `a```."""
    names = dict.fromkeys(f"`{task.task_id}`" for task, _ in XComArg.iter_xcom_references(reference))
    return f"task{'s' if len(names) > 1 else ''} {', '.join(names)}"


def resolved(reference: Reference, context: Mapping[str, Any]) -> JsonValue:
    """The value of a reference in a task's DAG run; None where the task returned nothing."""
    if isinstance(reference, XComArg):
        return _plain(reference.resolve(context))
    if isinstance(reference, Mapping):
        return {name: resolved(item, context) for name, item in reference.items()}
    if isinstance(reference, list | tuple):
        return [resolved(item, context) for item in reference]
    return reference


def _with_outputs(value: Any) -> Any:
    if isinstance(value, BaseOperator | MappedOperator):
        return value.output
    if isinstance(value, Mapping):
        return {name: _with_outputs(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_outputs(item) for item in value]
    return value


def _plain(value: Any) -> JsonValue:
    """What a task returns, as JSON has it. (Airflow reads the values of a mapped task one by one.)

    :raises InputError: JSON has no such value.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, os.PathLike | ObjectStoragePath):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(value.tolist())
    raise InputError(
        f"what the task returned holds a value of type `{type(value).__name__}`, which JSON does not have",
        hint="return numbers, texts, lists and dictionaries",
    )
