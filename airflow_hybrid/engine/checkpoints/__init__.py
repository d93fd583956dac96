# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Second copies of finished outputs: made while the run goes on, and put back when the originals are gone."""
