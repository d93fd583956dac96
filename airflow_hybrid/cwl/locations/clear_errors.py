# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Translate errors of cwltool while a job is made, built or collected into errors that name the job."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from cwltool.errors import WorkflowException
from schema_salad.exceptions import ValidationException

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.locations.file_access import OUTPUT_DOCUMENT
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FactsNeeded


@contextlib.contextmanager
def clear_errors(label: str, owner: str, *, prefix: str = "", reads_document: bool = False) -> Iterator[None]:
    """Turn cwltool's exceptions into a CwlError that names the job; a request for facts is passed on.

    :param label: names the job; ``prefix`` precedes cwltool's message.
    :param owner: the document whose JavaScript process evaluates the expressions.
    :param reads_document: JSON is read from the tool's own document of its outputs.
    """
    try:
        with messages.caught(), javascript.process_of(owner):
            yield
    except FactsNeeded:
        raise
    except CwlError as error:
        error.where = error.where or label
        raise
    except Exception as error:
        raise CwlError(prefix + _text_of(error, reads_document), where=label) from error


def _text_of(error: Exception, reads_document: bool) -> str:
    if isinstance(error, RecursionError):
        return messages.TOO_DEEP
    if isinstance(error, json.JSONDecodeError) and reads_document:
        return f"{OUTPUT_DOCUMENT} is not JSON: {error}"
    if isinstance(error, WorkflowException | ValidationException):
        return messages.plain(str(error))[1]
    return f"{type(error).__name__}: {error}"
