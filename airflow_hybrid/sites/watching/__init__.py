# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that appear at a site: one command looks for all watches of the site, and a file counts when it is complete."""
