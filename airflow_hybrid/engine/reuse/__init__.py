# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of jobs that ran before."""
