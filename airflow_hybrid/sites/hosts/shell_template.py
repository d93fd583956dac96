# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Filling values into shell text."""

from __future__ import annotations

import re
from collections.abc import Mapping


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values where their marks (``@NAME@``) are, in one pass: a value that looks like a mark stays as it is.

    :param values: by name, each already quoted for where it stands; other marks of the template are left alone.
    """
    return re.sub(r"@([A-Z]+)@", lambda mark: values.get(mark[1], mark[0]), template)
