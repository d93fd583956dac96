# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the installed Airflow gives to this package's rooms: its configuration, and its client for metrics."""
