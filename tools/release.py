"""Prepares pyproject.toml for the registry and prints the notes: python tools/release.py OWNER/NAME TAG.

Only the public repository knows its own address, so the release workflow adds it.
"""

import re
import sys
from pathlib import Path

import tomlkit

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the addresses into pyproject.toml, or exit with the reason why it can't be released."""
    repository, tag = sys.argv[1:]
    pyproject, changelog = ROOT / "pyproject.toml", (ROOT / "CHANGELOG.md").read_text()
    try:
        ready = prepare(pyproject.read_text(), repository, tag)
        print(notes(changelog, tag.removeprefix("v")))
    except ValueError as error:
        sys.exit(str(error))
    pyproject.write_text(ready)


def prepare(pyproject: str, repository: str, tag: str) -> str:
    """Return the text of pyproject.toml with the addresses that the registry requires.

    Args:
        pyproject: its text.
        repository: OWNER/NAME on GitHub.
        tag: the release's tag, "v" and the version.

    Raises:
        ValueError: if the tag is not the version's.
    """
    document = tomlkit.parse(pyproject)
    version = document["project"]["version"]
    if tag != f"v{version}":
        raise ValueError(f"The tag is {tag}, but pyproject.toml has version {version}. Expected v{version}.")
    home = f"https://github.com/{repository}"
    raw = f"https://raw.githubusercontent.com/{repository}/{tag}"
    document["project"]["urls"] = {
        "Repository": home,
        "Documentation": f"{home}/tree/{tag}/docs",
        "Bug Tracker": f"{home}/issues",
    }
    document["tool"]["comfy"].update({"Icon": f"{raw}/docs/icon.png", "Banner": f"{raw}/docs/banner.png"})
    return tomlkit.dumps(document)


def notes(changelog: str, version: str) -> str:
    """Return the section of CHANGELOG.md on one version.

    Raises:
        ValueError: if that version has no section with a date.
    """
    section = re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)", changelog, re.M | re.S
    )
    if not section:
        raise ValueError(f"CHANGELOG.md has no section '## {version} (YYYY-MM-DD)'.")
    return section[1].strip()


if __name__ == "__main__":
    main()
