# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a step and its inputs to jobs, and from the jobs' results to outputs."""
