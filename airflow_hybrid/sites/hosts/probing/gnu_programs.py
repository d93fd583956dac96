# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Programs for which scripts need more than POSIX: GNU's findutils and coreutils. Pure text.

A shell may have programs of its own under these names: Debian's busybox, as ``/bin/sh``, prefers them whatever ``PATH``
is. So scripts call such programs through ``/usr/bin/env``, which uses only ``PATH``.
"""

from __future__ import annotations

ENV = "/usr/bin/env"
NEEDED = {"find -printf": f"{ENV} find / -prune -printf ''", "sha1sum -z": f"{ENV} sha1sum -z </dev/null"}
"""what the probe of files needs -> shell text that fails if it is missing"""
LACKS = "#lacks "
"""begins the answer of a location where one is missing"""
PACKAGES = "GNU findutils and coreutils"


def checks() -> str:
    """Shell text that ends a script with a NUL-terminated word (:data:`LACKS`) if a program is not GNU's."""
    lines = [f"{test} >/dev/null 2>&1 || {{ printf '{LACKS}{name}\\0'; exit 1; }}" for name, test in NEEDED.items()]
    return "\n".join(lines) + "\n"


def lacking(answer: bytes) -> str | None:
    """The program that the location lacks; None: it has them all."""
    word, ended, _ = answer.partition(b"\0")
    if not ended or not word.startswith(LACKS.encode()):
        return None
    return word.decode(errors="replace").removeprefix(LACKS)
