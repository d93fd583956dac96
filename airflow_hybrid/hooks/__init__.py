# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The public face of sites, for Airflow and for other packages."""
