"""The bill of materials of a development environment, as CycloneDX 1.5: `tools/sbom.py > sbom.json`.

It lists all downloads of `make setup` with their expected hashes, and the weights in the checkout.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from chromium import ARCHIVE_SHA256, PACKAGE, VERSION
from environment import LOCK, ROOT, split_lock
from sources import BASICSR_SDIST, BASICSR_SDIST_SHA256, HOST_SDIST, HOST_SDIST_SHA256, HOST_VERSION

Component = dict[str, Any]


def bill() -> dict[str, Any]:
    """Return the bill of materials."""
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    locked = [part for entry in split_lock(LOCK.read_text()).values() for part in locked_components(entry)]
    others = {
        f"brings ComfyUI {HOST_VERSION}, where git can't": library(HOST_SDIST, [HOST_SDIST_SHA256]),
        "files to compare with; never installed": library(BASICSR_SDIST, [BASICSR_SDIST_SHA256]),
        "a headless Chromium for the tests": library(f"{PACKAGE}=={VERSION}", [ARCHIVE_SHA256], index="npm"),
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "ugc-super-resolution", "version": version}
        },
        "components": [
            *locked,
            *(part | {"description": words, "scope": "optional"} for words, part in others.items()),
            *(
                weights(file)
                for folder in ("models", "score")
                for file in sorted((ROOT / folder).rglob("*.safetensors"))
            ),
        ],
    }


def locked_components(entry: str) -> list[Component]:
    """Return the components of one name in the lock: its versions for all Pythons and systems."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(==[^\s;\\]+)", entry, flags=re.MULTILINE)
    hashes = sorted(set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
    return [library(name + version, hashes) for name, version in dict.fromkeys(pins)]


def library(pin: str, hashes: list[str], index: str = "pypi") -> Component:
    """Return the component of a package, pinned as name==version, with the hash of each of its files."""
    name, _, version = pin.partition("==")
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:{index}/{name.lower().replace('@', '%40')}@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
    }


def weights(file: Path) -> Component:
    """Return the component of a file of weights in the checkout."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model",
        "name": file.relative_to(ROOT).as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
