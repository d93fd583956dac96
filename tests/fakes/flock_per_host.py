#!/usr/bin/python3 -SE
# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""flock(1) where locks hold per host (Lustre with `localflock`): ``flock [-n | -w SECONDS] DESCRIPTOR``.

Each host locks a byte of its own. The lock belongs to the open file, as that of flock(2): who inherits the descriptor
has it, too. $LOCK_HOST is the host; without it, its name is taken.
"""

import fcntl
import os
import struct
import sys
import time
import zlib

options, descriptor = sys.argv[1:-1], int(sys.argv[-1])
host = os.environ.get("LOCK_HOST") or os.uname().nodename
# l_type, l_whence, l_start, l_len, l_pid (fcntl(2))
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, zlib.crc32(host.encode()), 1, 0)
ends = time.monotonic() + (float(options[1]) if options[:1] == ["-w"] else 0 if options == ["-n"] else 1e9)
while True:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
        break
    except (BlockingIOError, PermissionError):
        if time.monotonic() >= ends:
            sys.exit(1)
        time.sleep(0.01)
