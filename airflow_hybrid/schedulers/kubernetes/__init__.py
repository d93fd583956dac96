# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes as a scheduler: manifests out, parsed answers in. Pure text."""
