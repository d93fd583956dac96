# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Images and runtimes of the container tests, for the contract of deployments that are containers."""

from tests.containers.conftest import _apptainer, _charliecloud, images  # noqa: F401 - fixtures
