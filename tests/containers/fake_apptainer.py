# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The part of apptainer's command line that is used, on podman: an image file holds the name of an image."""

import os
import re
import select
import subprocess
import sys


def die_together(name: str) -> None:
    """Apptainer's processes are its own children and end with it; podman's container would outlive its client."""
    client = os.getpid()
    if os.fork():
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    select.select([os.pidfd_open(client)], [], [])
    os.execvp("podman", ["podman", "rm", "-f", "-t", "0", "--ignore", name])


args = sys.argv[1:]
if args == ["--version"]:
    print("apptainer version 1.3.4")
    sys.exit()
if args[0] == "build":
    file, origin = args[-2:]
    name = origin.removeprefix("docker://")
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode:
        sys.exit(f"FATAL:   While performing build: conveyor failed to get: reading manifest {name}: denied")
    with open(file, "w") as image:
        image.write(name)
    sys.exit()

podman = ["podman", "run", "-i", "--rm", "--log-driver=none", "--read-only", f"--user={os.getuid()}:{os.getgid()}"]
with_value = {"--mount", "--home", "--pwd", "--network"}
flags = {"--quiet", "run", "--contain", "--ipc", "--pid", "--cleanenv", "--no-eval", "--net"}
while args[0] in with_value | flags:
    word = args.pop(0)
    value = args.pop(0) if word in with_value else ""
    if word == "--mount":
        podman.append(f"--mount={value}")
    elif word == "--home":
        source, target = value.rsplit(":", 1)
        podman += [f"--mount=type=bind,source={source},target={target}", f"--env=HOME={target}"]
    elif word == "--pwd":
        podman.append(f"--workdir={value}")
    elif word == "--network":
        podman.append(f"--network={value}")
for key, value in os.environ.items():
    if match := re.match("APPTAINERENV_(.*)", key):
        podman.append(f"--env={match[1]}={value}")
if args[0] == "--":
    args.pop(0)
with open(args[0]) as image:
    name = image.read()
container = f"fake-apptainer-{os.getpid()}"
die_together(container)
os.execvp("podman", [*podman, f"--name={container}", name, *args[1:]])
