"""`make setup`: a Python environment and ComfyUI for this checkout, shared between checkouts through a cache.

The cache entry is keyed by the lock file, the code that builds it and the Python version. It is trusted only
when its `.complete` marker, written last, is there. The checkout gets a thin `.venv/` with links to its own
packages (`LINKED`) beside the cached ones, its own copy of the host in `.host/ComfyUI/`, because the host's
`custom_nodes/ugc_sr` must lead to this checkout, and links to BasicSR's source and Chromium in `.host/`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment import LOCK, ROOT, build
from sources import HOST_VERSION

# Packages of this checkout in its environment, as pyproject.toml's package-dir maps them.
LINKED = {"ugc_sr": ROOT, "benchmarks": ROOT / "tools" / "benchmarks"}

# BasicSR's files for comparisons in tests and benchmarks, and the browser of the tests.
TEST_TOOLS = ("basicsr", "chromium")

# The user's own data: never copied from the cache, never replaced in a checkout.
HOST_OWN_FOLDERS = ("custom_nodes", "input", "models", "output", "temp", "user")


def main() -> None:
    """Build the cache entry if it is missing, then link this checkout to it."""
    if sys.version_info < (3, 10):  # noqa: UP036 - it runs on whatever python3 is here
        sys.exit(
            f"This is Python {platform.python_version()}; 3.10 or newer is needed. Set PYTHON=python3.x."
        )
    started = time.monotonic()
    key = cache_key()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    entry = cache / "ugc-sr" / key  # shared by all checkouts
    if not (entry / ".complete").is_file():
        entry.parent.mkdir(parents=True, exist_ok=True)
        with locked(entry.with_name(key + ".lock")):
            if not (entry / ".complete").is_file():
                build(entry)
    with locked(ROOT / "Makefile"):
        link_environment(entry, key)
        link_host(entry, key)
        for name in TEST_TOOLS:
            link_tool(entry, name)
    print(f"ugc_sr is set up: .venv and .host/ComfyUI {HOST_VERSION} ({time.monotonic() - started:.1f} s)")


def cache_key() -> str:
    """Return a key that changes with everything that a built environment depends on."""
    digest = hashlib.sha256(LOCK.read_bytes())
    for script in ("environment.py", "sources.py", "chromium.py"):
        digest.update(Path(__file__).with_name(script).read_bytes())
    digest.update(f"{sys.version}|{sys.base_prefix}|{platform.platform()}".encode())
    return digest.hexdigest()[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system drops when this process ends, however it ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up is running, waiting for it ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link_environment(entry: Path, key: str) -> None:
    """Create `.venv`: the cached packages and commands, and links to this checkout's own packages."""
    target, marker = ROOT / ".venv", ROOT / ".venv" / ".ugc-sr"
    made_of = f"{key} {ROOT} {' '.join(LINKED)}"
    if marker.is_file() and marker.read_text() == made_of:
        return
    if target.exists() and not marker.is_file():
        sys.exit(f"{target} was not made by this script. Move it away, then run `make setup` again.")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    marker.touch()
    venv.create(target, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = entry / "venv" / "lib" / version / "site-packages"
    own = target / "lib" / version / "site-packages"
    for name, folder in LINKED.items():
        (own / name).symlink_to(os.path.relpath(folder, own), target_is_directory=True)
    # addsitedir instead of a path, since the cached packages have .pth files of their own.
    (own / "packages.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    for command in (entry / "venv" / "bin").iterdir():
        if not (target / "bin" / command.name).exists():
            (target / "bin" / command.name).symlink_to(command)
    marker.write_text(made_of)


def link_host(entry: Path, key: str) -> None:
    """Copy the host, which locates itself by its real path, with this checkout among its custom nodes."""
    target = ROOT / ".host" / "ComfyUI"
    marker = target / ".ugc-sr"
    if not marker.is_file() or marker.read_text() != key:
        target.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        for item in target.iterdir():
            if item.name not in HOST_OWN_FOLDERS:
                shutil.rmtree(item) if item.is_dir() else item.unlink()
        shutil.copytree(entry / "ComfyUI", target, dirs_exist_ok=True)
        for folder in HOST_OWN_FOLDERS:
            (target / folder).mkdir(exist_ok=True)
        marker.write_text(key)
    link = target / "custom_nodes" / "ugc_sr"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(ROOT, link.parent), target_is_directory=True)


def link_tool(entry: Path, name: str) -> None:
    """Link one of `TEST_TOOLS`; its folder is empty if the download failed."""
    link = ROOT / ".host" / name
    if not link.is_symlink() or link.readlink() != entry / name:
        link.unlink(missing_ok=True)
        link.symlink_to(entry / name, target_is_directory=True)


if __name__ == "__main__":
    main()
