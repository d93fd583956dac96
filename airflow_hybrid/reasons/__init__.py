# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a job waits or failed: what a site says, as one sentence with a remedy. Pure: text in, text out.

Each module is a table of rules for one kind of text. What no rule knows is shown as it is. The tables are tests, too
(``tests/unit/reasons``): their texts are those of the programs' sources, manuals and users' reports.
"""
