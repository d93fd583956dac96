# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The jobs of a step and its inputs, in cwltool's order."""
