# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Programs of which scripts need more than POSIX says: GNU's findutils and coreutils. Pure text.

A shell may have programs of its own under these names: Debian's busybox, as ``/bin/sh``, prefers them whatever ``PATH``
says. So scripts call such a program by ``/usr/bin/env``, which knows only what is in ``PATH``.
"""

from __future__ import annotations

ENV = "/usr/bin/env"
NEEDED = {"find -printf": f"{ENV} find / -prune -printf ''", "sha1sum -z": f"{ENV} sha1sum -z </dev/null"}
"""what the probe of files needs -> shell text that fails where it is not there"""
LACKS = "#lacks "
"""begins the answer of a location that lacks one of them"""
PACKAGES = "GNU findutils and coreutils"


def checks() -> str:
    """Shell text that ends a script with a NUL-terminated word (:data:`LACKS`) where a program is not GNU's."""
    lines = [f"{test} >/dev/null 2>&1 || {{ printf '{LACKS}{name}\\0'; exit 1; }}" for name, test in NEEDED.items()]
    return "\n".join(lines) + "\n"


def lacking(answer: bytes) -> str | None:
    """What the location lacks, of those that are needed; None: nothing."""
    word, ended, _ = answer.partition(b"\0")
    if not ended or not word.startswith(LACKS.encode()):
        return None
    return word.decode(errors="replace").removeprefix(LACKS)
