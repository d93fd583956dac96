# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which place each job gets, and who decides: the binding, earlier choices, and the policy."""
