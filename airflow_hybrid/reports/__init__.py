# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reports about runs: plain values become HTML, SVG, CSV and JSON. No I/O, no Airflow."""
