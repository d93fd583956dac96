# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The deployments of DAGs, and what many runs have told of each lately: for the page Sites."""
