# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Apache Airflow provider that runs CWL workflows across clusters, clouds and this machine.

The public API: :func:`load_dags`, :class:`HybridDag`, :class:`HybridOperator`. They are imported when first used, so
that importing a part of the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_hybrid.version import __version__

__all__ = ["HybridDag", "HybridOperator", "__version__", "load_dags"]

if TYPE_CHECKING:
    from airflow_hybrid.dag.hybrid_dag import HybridDag, load_dags
    from airflow_hybrid.operators.hybrid import HybridOperator


def __getattr__(name: str) -> Any:
    if name in ("HybridDag", "load_dags"):
        from airflow_hybrid.dag import hybrid_dag as dag

        return getattr(dag, name)
    if name == "HybridOperator":
        from airflow_hybrid.operators.hybrid import HybridOperator

        return HybridOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
