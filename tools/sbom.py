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
    locked = [part for entry in split_lock(LOCK.read_text()).values() for part in locked_components(entry)]
    sources = [
        source_component(HOST_SDIST, HOST_SDIST_SHA256, f"brings ComfyUI {HOST_VERSION}, where git can't"),
        source_component(BASICSR_SDIST, BASICSR_SDIST_SHA256, "files to compare with; never installed"),
        browser_component(),
    ]
    weights = [weights_component(file) for file in sorted(ROOT.glob("*/**/*.safetensors")) if is_ours(file)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "ugc-super-resolution", "version": own_version()}
        },
        "components": [*locked, *sources, *weights],
    }


def locked_components(entry: str) -> list[Component]:
    """Return the components of one name in the lock: its versions for all Pythons and systems."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", entry, flags=re.MULTILINE)
    hashes = sorted(set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
    return [component(name, version, hashes) for name, version in dict.fromkeys(found)]


def source_component(pin: str, sha256: str, purpose: str) -> Component:
    """Return the component of a source package of which single files are used."""
    name, _, version = pin.partition("==")
    return component(name, version, [sha256]) | {"description": purpose, "scope": "optional"}


def browser_component() -> Component:
    """Return the component of the npm package with the tests' browser."""
    made = component(PACKAGE, VERSION, [ARCHIVE_SHA256])
    address = f"pkg:npm/{PACKAGE.replace('@', '%40')}@{VERSION}"
    return made | {"purl": address, "description": "a headless Chromium for the tests", "scope": "optional"}


def component(name: str, version: str, hashes: list[str]) -> Component:
    """Return the component of a package of the index, with the hash of each of its files."""
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower()}@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
    }


def weights_component(file: Path) -> Component:
    """Return the component of a file of weights in the checkout."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model",
        "name": file.relative_to(ROOT).as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def is_ours(file: Path) -> bool:
    """Return True if the file is part of the extension."""
    return file.relative_to(ROOT).parts[0] in ("models", "score")


def own_version() -> str:
    """Return the version that pyproject.toml states."""
    (found,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    return found


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
