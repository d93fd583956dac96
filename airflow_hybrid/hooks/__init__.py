# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The parts of :mod:`airflow_hybrid.sites` that Airflow and connectors of other packages import."""
