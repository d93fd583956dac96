# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Expects an error by its whole message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

E = TypeVar("E", bound=BaseException)


@contextmanager
def raising(kind: type[E] | tuple[type[E], ...], message: str) -> Iterator[pytest.ExceptionInfo[E]]:
    """``pytest.raises``, whose error says exactly this.

    ``match=`` would be found in a message that says it twice, in a wrong order, or with parts that nobody expects.
    """
    with pytest.raises(kind) as caught:
        yield caught
    assert str(caught.value) == message
