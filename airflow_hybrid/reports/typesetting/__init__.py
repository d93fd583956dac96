# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A report as PDF and PNG, set by Typst. What a run says is data: it is never part of a document's source."""
