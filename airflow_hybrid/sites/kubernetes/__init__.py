# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: a cluster's API, pods as hosts, and batches as Indexed Jobs."""
