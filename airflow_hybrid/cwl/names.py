# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Names in documents: our keys in stored documents, and a class of CWL."""

from __future__ import annotations

STEP_PATH = "airflow_hybrid:path"
"""Key of a process in a stored document: path of the step that runs it."""
CWL_VERSION = "airflow_hybrid:cwlVersion"
"""Key of a process in a stored document: its original CWL version."""
FORMATS = "airflow_hybrid:formats"
"""Key of a stored document: [subject, predicate, object] triples of the file formats' ontology."""
VALUE_FROM = "StepInputExpressionRequirement"


NAMESPACES = "airflow_hybrid:namespaces"
"""Class of a pseudo requirement of a graph: the document's ``$namespaces``, for the formats of a run's files."""
