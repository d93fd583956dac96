# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""airflow_hybrid, StreamFlow and cwltool on the same CWL documents, side by side: ``python -m benchmarks``."""
