# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the hybrid file says about failed jobs: which are run again, how often, and with what."""
