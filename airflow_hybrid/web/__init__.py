# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What this package adds to Airflow's web server, below ``/airflow_hybrid``; only the API server imports it."""
