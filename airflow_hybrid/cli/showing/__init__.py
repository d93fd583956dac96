# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands that show what a DAG is and what is installed; they ask no site."""
