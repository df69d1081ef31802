"""What the registry gets."""

import subprocess
import sys

import pytest
import tomlkit
from PIL import Image

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.tools import release

REPOSITORY = "someone/ugc_sr"
CHANGELOG = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\nNew.\n\n## 0.1.0 (2026-11-01)\n\n- First.\n"


@pytest.fixture
def pyproject():
    return (CHECKOUT / "pyproject.toml").read_text()


def test_a_release_knows_its_addresses_and_keeps_the_rest(pyproject):
    before = tomlkit.parse(pyproject).unwrap()
    tag = f"v{before['project']['version']}"
    after = tomlkit.parse(release.prepare(pyproject, REPOSITORY, tag)).unwrap()
    urls = after["project"].pop("urls")
    assert {"Repository", "Documentation", "Bug Tracker"} == set(urls)
    assert all(REPOSITORY in url for url in urls.values())
    for name in ("Icon", "Banner"):
        assert (CHECKOUT / after["tool"]["comfy"].pop(name).split(f"/{tag}/")[1]).is_file()
    assert after == before


def test_a_tag_of_another_version_keeps_the_release_back(pyproject):
    with pytest.raises(ValueError, match=r"The tag is v9.9.9, but pyproject.toml has version"):
        release.prepare(pyproject, REPOSITORY, "v9.9.9")


def test_the_notes_are_the_section_of_the_version():
    assert release.notes(CHANGELOG, "0.1.0") == "- First."
    assert release.notes(CHANGELOG, "0.2.0") == "New."


def test_a_version_without_a_dated_section_keeps_the_release_back():
    with pytest.raises(ValueError, match=r"no section '## 0.3.0 \(YYYY-MM-DD\)'"):
        release.notes(CHANGELOG + "\n## 0.3.0 (unreleased)\n\nSoon.\n", "0.3.0")


def test_the_pictures_have_the_shapes_that_the_registry_asks_for():
    with (
        Image.open(CHECKOUT / "docs" / "icon.png") as icon,
        Image.open(CHECKOUT / "docs" / "banner.png") as banner,
    ):
        assert icon.width == icon.height <= 400
        assert banner.width * 9 == banner.height * 21


def test_requirements_are_the_dependencies(pyproject):
    requirements = (CHECKOUT / "requirements.txt").read_text().split()
    assert tomlkit.parse(pyproject)["project"]["dependencies"] == requirements


def test_the_registry_finds_nothing_to_complain_about():
    command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node", "validate"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
