# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The paths of a job's folders and files at its location, and cwltool's access to them."""
