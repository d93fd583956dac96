# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow, and connectors of other packages, import of :mod:`airflow_hybrid.sites`."""
