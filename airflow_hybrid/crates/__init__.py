# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Records of runs that can be handed on: Workflow Run RO-Crates (profile Provenance Run Crate), written and read back.

Values come in, a zip file goes out. What is not known of a run is left out.
"""
