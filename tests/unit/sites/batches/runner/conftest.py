# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shells that may be ``/bin/sh`` at a site."""

from __future__ import annotations

import pytest

from tests.unit.sites.shell_hosts import EVERY_SHELL


@pytest.fixture(params=EVERY_SHELL)
def shell(request: pytest.FixtureRequest) -> str:
    """What ``/bin/sh`` is, from system to system."""
    return str(request.param)
