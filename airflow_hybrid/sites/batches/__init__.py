# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches of jobs at a location: submitted, polled, judged, cancelled."""
