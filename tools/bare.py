"""Runs a command without system fonts and network: `python tools/bare.py make quick`.

The command finds no font of the system, and reaches no address but this machine's own. On systems without
namespaces (other systems than Linux, some containers) only the variables that lead to fonts are changed.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "--inside"
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts")
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


def main() -> int:
    """Run the command and return its exit status."""
    command = sys.argv[1:]
    if command[:1] == [INSIDE]:
        hide_fonts()
        start_loopback()
        return subprocess.call(command[1:])
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    with tempfile.TemporaryDirectory() as empty:
        places = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"), empty)
        enter = namespaces()
        hidden = "no fonts and no network" if enter else "no fonts where variables name them"
        print(f"{' '.join(command)}: with {hidden}", flush=True)
        inside = [*enter, sys.executable, __file__, INSIDE] if enter else []
        return subprocess.call([*inside, *command], env=os.environ | places | {"XDG_CACHE_HOME": cache})


def namespaces() -> list[str]:
    """Return the command prefix that creates new namespaces; empty if the system doesn't allow it."""
    for own in ([], ["--map-root-user"]):
        command = ["unshare", *own, "--mount", "--net"]
        try:
            tried = subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
        except OSError:
            return []
        if tried.returncode == 0:
            return command
    return []


def hide_fonts() -> None:
    """Mount an empty folder over each folder of fonts; the mounts end with the namespace."""
    for folder in FONTS:
        if Path(folder).is_dir():
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)


def start_loopback() -> None:
    """Switch on the loopback device, which is off in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))


if __name__ == "__main__":
    sys.exit(main())
