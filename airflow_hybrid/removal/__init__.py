# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Everything that removes files: only what airflow_hybrid can prove it made, and never through a symbolic link.

A folder of ours gets a marker, a small file :data:`MARKER`, when it is made. A folder with a marker, and everything
below it, is ours; everything else belongs to somebody else and stays. :mod:`.shell` has the text for sites;
:mod:`.here` does the same on this machine.
"""

from __future__ import annotations

MARKER = ".airflow_hybrid"
"""name of the file that is written into a folder when airflow_hybrid makes it"""
MARKER_LINE = "This folder was made by airflow_hybrid, which may remove it."
"""the content of that file"""
