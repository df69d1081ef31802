"""Tests a copy of the last commit with another Python, PyTorch or ComfyUI.

    python tools/matrix.py --python python3.13
    python tools/matrix.py --pin torch==2.5.1 --pin torchvision==0.20.1 --pin torchaudio==2.5.1
    python tools/matrix.py --comfyui ../ComfyUI-0.27.0 -- -m comfy tests/nodes

Arguments after `--` are passed to pytest; by default all but slow, deep and browser tests are run. The copy
and its environment (7 GB below TMPDIR) are deleted at the end, the downloads stay in uv's cache.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from sources import run

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".venv" / "bin" / "uv"
TESTS = ("-m", "not slow and not deep", "--ignore", "tests/browser")


def main() -> None:
    """Set up the copy, run its tests, and exit with their status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default="python3", help="the interpreter")
    parser.add_argument(
        "--pin", action="append", default=[], metavar="NAME==VERSION", help="instead of what the lock has"
    )
    parser.add_argument("--comfyui", type=Path, help="its folder, instead of what `make setup` brings")
    parser.add_argument("tests", nargs="*", default=TESTS, help="arguments of pytest")
    options = parser.parse_args()
    cache = subprocess.run([UV, "cache", "dir"], check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "ugc_sr")
        run("git", "clone", "--quiet", ROOT, copy)
        if options.pin:
            lock(copy, options.python, options.pin)
        setup = ("make", "-C", copy, "setup", f"PYTHON={options.python}")
        run(*setup, XDG_CACHE_HOME=str(Path(folder, "cache")), UV_CACHE_DIR=cache)
        host = (options.comfyui or copy / ".host" / "ComfyUI").resolve()
        ended = subprocess.run(
            [copy / ".venv" / "bin" / "python", "-m", "pytest", *options.tests],
            cwd=copy,
            env=os.environ | {"COMFYUI_PATH": str(host), "OMP_NUM_THREADS": "1"},
            check=False,
        )
    sys.exit(ended.returncode)


def lock(copy: Path, python: str, pins: list[str]) -> None:
    """Lock the copy again for one Python: the pins, their requirements, the rest as in the present lock."""
    wanted, locked = copy / "requirements.in", copy / "requirements.lock"
    pinned = {name(pin) for pin in pins}
    lines = [line for line in wanted.read_text().splitlines() if name(line) not in pinned]
    wanted.write_text("\n".join([*lines, *pins, ""]))
    command = [UV, "pip", "compile", "--quiet", "--python", python, "--generate-hashes", "--no-annotate"]
    run(*command, "--no-emit-index-url", "--no-header", wanted, "--output-file", locked)


def name(requirement: str) -> str:
    """Return the name of the package in a line of requirements."""
    return re.split(r"[\s\[=<>~]", requirement, maxsplit=1)[0].lower()


if __name__ == "__main__":
    main()
