# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What runs in Airflow's triggerer: the trigger of a step."""
