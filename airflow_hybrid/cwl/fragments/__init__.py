# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a step and its inputs to its jobs, in the order in which cwltool makes them."""
