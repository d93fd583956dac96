# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches of jobs at a location: submitted, polled, judged, cancelled.

:mod:`.queue` joins a host and a scheduler; :mod:`.directory` says what is in a batch's directory, the source of truth.
"""
