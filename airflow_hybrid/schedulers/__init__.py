# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Schedulers as pure text: commands out, parsed answers in; one module per queue system.

:mod:`.base` says what a scheduler is, :mod:`.batch` has what queue systems share, :mod:`.process` runs jobs as
processes of a plain host. See docs/how-to/write-a-scheduler.md.
"""
