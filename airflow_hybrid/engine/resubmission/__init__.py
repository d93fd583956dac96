# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of a binding's ``on``: failed jobs are submitted again in the same try, with what the rule changes."""
