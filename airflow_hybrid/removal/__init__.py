# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The one room for removing: only what airflow_hybrid can prove it made, and never through a link.

A folder of ours gets a marker, a small file :data:`MARKER`, when it is made. What carries it, or lies below a folder
that carries it, is ours; everything else is somebody's and stays. :mod:`.shell` has the text for sites, :mod:`.here`
does the same on this machine.
"""

from __future__ import annotations

MARKER = ".airflow_hybrid"
"""name of the file that is written into a folder when airflow_hybrid makes it"""
MARKER_LINE = "This folder was made by airflow_hybrid, which may remove it."
"""what is in it"""
