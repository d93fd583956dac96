# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contract of connectors, as tests: what every connector must do, so that steps can run on its deployments.

A package with a connector of its own runs it like this (``pip install 'airflow-hybrid[testing]'``)::

    # tests/test_mine.py
    import pytest
    from airflow_hybrid.config import Deployment
    from airflow_hybrid.testing import ConnectorContract
    from mine import MyConnector

    class TestMine(ConnectorContract):
        @pytest.fixture
        def make_connector(self):
            return lambda: MyConnector(Deployment("mine", "mine", {"host": "..."}))

See docs/how-to/write-a-connector.md.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("airflow_hybrid.testing.hosts", "airflow_hybrid.testing.jobs")

from airflow_hybrid.testing.hosts import HostContract  # noqa: E402 - after its asserts are registered
from airflow_hybrid.testing.jobs import JobsContract  # noqa: E402
from airflow_hybrid.testing.site import Site  # noqa: E402

__all__ = ["ConnectorContract", "HostContract", "JobsContract", "Site"]


class ConnectorContract(HostContract, JobsContract):
    """The whole contract. Subclass it, name the subclass ``Test...``, and give it the fixture ``make_connector``."""
