# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the outputs of a DAG's runs go, and which folder contains all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import jinja2
from jinja2.meta import find_undeclared_variables

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.operators.gather.existing import RENAME
from airflow_hybrid.operators.outdirs import Outdirs

_RUN_ID = "/{{ run_id }}"
_PARTS = re.compile(
    r"(\{%[-+]? *raw *[-+]?%\}.*?\{%[-+]? *endraw *[-+]?%\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL
)
_RAW = re.compile(r"(\{%[-+]? *raw *[-+]?%\})(.*?)(\{%[-+]? *endraw *[-+]?%\})", re.DOTALL)
_OF_THE_AUTHOR = frozenset(
    {
        "conn", "dag", "data_interval_end", "data_interval_start", "ds", "ds_nodash", "logical_date", "macros", "ts",
        "ts_nodash", "ts_nodash_with_tz", "var",
    }
)  # fmt: skip
"""names in templates whose values no run chooses, or which are dates"""


def outdirs_of(
    outdir: str | None, further: Sequence[str] = (), existing: str = RENAME, macros: Collection[str] | None = None
) -> Outdirs:
    """:param outdir: as in :class:`airflow_hybrid.HybridDag`; ``further``: its ``outdirs``.

    :param macros: names of functions that the DAG's author gives to templates.
    :raises ConfigError: a run may choose all of ``outdir``.
    """
    if outdir is None:
        from airflow.configuration import AIRFLOW_HOME

        outdir = f"{AIRFLOW_HOME}/hybrid_outputs/{{{{ dag.dag_id }}}}{_RUN_ID}"
    elif "{{" not in outdir and "{%" not in outdir:
        outdir = outdir.rstrip("/") + _RUN_ID
    return Outdirs(outdir, (_root_of(outdir, macros or ()), *further), existing)


def _root_of(outdir: str, macros: Collection[str]) -> str:
    """The folder of ``outdir`` above everything that a run may choose, as a template."""
    before, root = "", ""
    for part in _PARTS.split(outdir):
        raw = _RAW.fullmatch(part)
        begin, text, end = raw.groups() if raw else ("", part, "")
        if not raw and _PARTS.fullmatch(part):
            if not _is_of_the_author(part, macros):
                break
        elif "/" in text:
            root = before + begin + text.rpartition("/")[0] + end
        before += part
    else:
        root = outdir
    if not root and not outdir.startswith("/"):
        raise ConfigError(
            f"`outdir` is {outdir!r}: a run may choose all of it",
            hint="begin it with a folder: outputs go nowhere else than there",
        )
    return root or "/"


def _is_of_the_author(template: str, macros: Collection[str]) -> bool:
    """Whether no run chooses what an expression becomes."""
    if not template.startswith("{{"):
        return False
    try:
        names = find_undeclared_variables(jinja2.Environment().parse(template))
    except jinja2.TemplateError:
        return False
    return names <= _OF_THE_AUTHOR | set(macros)
