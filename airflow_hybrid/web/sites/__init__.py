# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The page Sites: the deployments of all DAGs that a user may see, and their check at a click."""
