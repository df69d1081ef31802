"""The environment that checkouts share: the packages of the lock, ComfyUI, BasicSR's files and Chromium."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import venv
from pathlib import Path

from chromium import get_chromium
from sources import get_basicsr, get_host, run, say

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"


def build(entry: Path) -> None:
    """Build a cache entry in its final place, as entry scripts hold absolute paths, and mark it complete."""
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir()
    print(f"building the environment in {entry} (some minutes, several GB)", flush=True)
    build_packages(entry / "venv")
    python = entry / "venv" / "bin" / "python"
    get_host(entry / "ComfyUI", python)
    get_basicsr(entry / "basicsr", python)
    get_chromium(entry / "chromium", python)
    (entry / ".complete").touch()


def build_packages(target: Path) -> None:
    """Install the lock into a new environment, every file checked against its hash."""
    venv.create(target, with_pip=True, symlinks=True)
    python = target / "bin" / "python"
    requirements = split_lock(LOCK.read_text())
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.txt") for name in ("uv", "sam2", "rest")}
        files["uv"].write_text(requirements.pop("uv"))
        files["sam2"].write_text(requirements.pop("sam2"))
        files["rest"].write_text("".join(requirements.values()))
        say("installing uv")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--require-hashes", "--no-deps", "-r", files["uv"])
        uv = [target / "bin" / "uv", "pip", "install", "--python", python, "--require-hashes", "--no-deps"]
        uv += [] if sys.stderr.isatty() else ["--quiet"]  # a progress bar on a terminal only
        say("installing torch, ComfyUI's requirements and ours")
        run(*uv, "-r", files["rest"])
        say("building sam2")
        # Its optional CUDA kernel only fills holes in video masks; this package uses the image encoder.
        run(*uv, "--no-build-isolation", "-r", files["sam2"], SAM2_BUILD_CUDA="0")


def split_lock(text: str) -> dict[str, str]:
    """Return name -> entries of the lock; a name with one entry per Python version keeps all of them."""
    entries: dict[str, str] = {}
    for block in re.findall(r"^\S.*(?:\n[ \t].*)*\n?", text, flags=re.MULTILINE):
        name = re.split(r"[=\s;\[]", block, maxsplit=1)[0]
        entries[name] = entries.get(name, "") + block.rstrip("\n") + "\n"
    return entries
